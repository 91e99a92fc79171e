//! Tests of the form of frames.

//! The shapes we speak, to and from the model.
//!
//! Never: logic, status codes, or anything that knows a store.

pub mod encoded;

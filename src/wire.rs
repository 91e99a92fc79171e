//! The shapes that we speak, to and from the model.
//!
//! Never: a status code, a rule of the registry, or I/O; a shape knows what it looks like, not when it
//! is right to say it.

pub mod amalgam8;
pub mod consul;
pub mod encoded;
pub mod eureka;
pub mod lenient;
pub mod record;

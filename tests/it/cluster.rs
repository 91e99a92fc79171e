//! Registries that replicate in memory, as processes: what a cluster promises, and what it makes of failures.
//!
//! What needs minutes or many clients is in `rolling`, which is larger when `A8_TEST_LONG` is set.
//! Never: looks at how members speak to each other.

mod directory;
mod failures;
mod members;
mod operators;
mod partitions;
mod promises;
mod rolling;
mod strangers;

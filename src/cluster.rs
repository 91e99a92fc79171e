//! Registries that replicate in memory: every member takes every call, and a living instance is lost by none.
//!
//! [`replicator`] decides (pure: no socket, no clock, no randomness of its own); what connects it to sockets and to
//! the store stands beside it.
//! Never: has a client wait for a member.

mod frame;
pub mod message;
pub mod replicated;
pub mod replication;
pub mod replicator;

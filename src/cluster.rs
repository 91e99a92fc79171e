//! Registries that replicate in memory: every member takes every call, and a living instance is lost by none.
//!
//! [`replicator`] decides (pure: no socket, no clock, no randomness of its own); what connects it to sockets and to
//! the store stands beside it.
//! Never: has a client wait for a member.

pub mod config;
mod dialling;
mod handshake;
mod interfaces;
mod link;
mod member;
mod members;
mod mesh;
pub mod message;
mod metrics;
pub mod replication;
pub mod replicator;
mod roster;
mod secret;
mod tls;
mod view;

pub use member::{ClusterError, Member};
pub use mesh::Mesh;
pub use tls::ClusterTlsError;
pub use view::View;

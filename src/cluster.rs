//! Registries that replicate in memory: every member takes every call, and a living instance is lost by none.
//!
//! [`replicator`] decides (pure: no socket, no clock, no randomness of its own); [`replication`] connects it to the
//! store, [`Mesh`] to the other members, over any kind of [`network`].
//! Never: has a client wait for a member.

pub mod config;
mod dialling;
mod frame;
mod handshake;
mod interfaces;
mod link;
mod member;
mod members;
mod mesh;
pub mod message;
mod metrics;
pub mod network;
pub mod replicated;
pub mod replication;
pub mod replicator;
mod roster;
mod secret;
mod tls;
mod view;

pub use member::{ClusterError, FLUSH_EVERY, Member};
pub use mesh::Mesh;
pub use tls::ClusterTlsError;
pub use view::View;

//! What the chapters share: a registry as a process, clients, a peer, Redis, a line that breaks, a proxy that does harm,
//! certificates and tokens.
//!
//! Never: reaches into a module of the product; here it is a program with a port.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod eureka;
pub(crate) mod faults;
pub(crate) mod kubernetes;
pub(crate) mod line;
pub(crate) mod members;
pub(crate) mod peer;
pub(crate) mod random;
pub(crate) mod real;
pub(crate) mod redis;
pub(crate) mod stores;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod upstream;

use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Client, Connection};
pub(crate) use daemon::{Daemon, Setup};
pub(crate) use eureka::Eureka;
pub(crate) use faults::{Far, Fault, FaultProxy};
pub(crate) use line::Line;
pub(crate) use peer::Peer;
pub(crate) use redis::Redis;

/// More than anything here takes on a machine that does something else as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

//! What a Eureka server says of itself (spec eureka section 1.14).
//!
//! Never: measures anything.

use crate::model::{Instance, Timestamp};

/// The state of this server.
#[derive(Debug, Clone, Copy)]
pub struct StatusDocument<'a> {
    /// `environment`
    pub environment: &'a str,
    /// `num-of-cpus`
    pub cpus: usize,
    /// `total-avail-memory`, in bytes; shown in whole mebibytes
    pub memory_total: u64,
    /// `current-memory-usage`, in bytes; shown in whole mebibytes and in percent
    pub memory_used: u64,
    /// `server-uptime`
    pub uptime: std::time::Duration,
    /// What else there is to say in general: names, which are XML names, and values.
    pub more: &'a [(&'a str, &'a str)],
    /// Addresses of all peers.
    pub peers: &'a [&'a str],
    /// Addresses of those that are available.
    pub available: &'a [&'a str],
    /// Addresses of those that are not.
    pub unavailable: &'a [&'a str],
    /// The server as an instance, and when its lease was last renewed.
    pub instance: Option<(&'a Instance, Timestamp)>,
    /// Whether enough peers are available; absent when nobody said how many that are.
    pub is_healthy: Option<bool>,
}

// === impl StatusDocument ===

impl StatusDocument<'_> {
    /// As JSON, without a member around it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        todo!()
    }

    /// As XML.
    #[must_use]
    pub fn to_xml(&self) -> Vec<u8> {
        todo!()
    }
}

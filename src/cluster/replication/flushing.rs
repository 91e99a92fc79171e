//! The loop that collects renewals for other members and tells the rules of replication that time has passed.
//!
//! Never: ends before it is told to, or sends anything itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Replication;

/// Tells a [`Replication`] of time and of renewals. One for each registry; ends after the links.
#[derive(Debug)]
pub struct Flusher {
    replication: Arc<Replication>,
    every: Duration,
}

// === impl Flusher ===

impl Flusher {
    /// A flusher that collects renewals for `every` before they are sent.
    #[must_use]
    pub fn new(replication: Arc<Replication>, every: Duration) -> Self {
        Self { replication, every }
    }

    /// Goes on until told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(self.every)).await.is_some() {
            self.replication.flush();
        }
    }
}

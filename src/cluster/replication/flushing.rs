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

/// Shortest time from one flush to the next.
const AT_LEAST: Duration = Duration::from_millis(10);

// === impl Flusher ===

impl Flusher {
    /// A flusher for rules that collect renewals for `flush` themselves.
    #[must_use]
    pub fn new(replication: Arc<Replication>, flush: Duration) -> Self {
        Self { replication, every: (flush / 2).max(AT_LEAST) }
    }

    /// Goes on until told to stop. Nothing it does can fail, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = self.every;
        while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let next = self.replication.flush();
            pause = next.since(self.replication.clock.now()).clamp(AT_LEAST, self.every);
        }
    }
}

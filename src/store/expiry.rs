//! The one task that looks for leases that have run out, whatever the number of instances.
//!
//! Never: ends before it is told to, or expires what only its own standstill made late.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::memory::MemoryStore;
use crate::model::Clock;

/// Removes expired instances from a [`MemoryStore`] and keeps its clock going.
#[derive(Debug)]
pub struct Reaper {
    store: Arc<MemoryStore>,
    clock: Arc<Clock>,
}

/// How often it looks: an instance is gone at most this and a tenth of a second after its lease.
const EVERY: Duration = Duration::from_millis(250);
/// Instances that go at once, before others may run.
const BATCH: usize = 1024;
/// Instances that are named in the log in one pass; the rest is counted.
const NAMED: usize = 100;

// === impl Reaper ===

impl Reaper {
    /// The reaper of a store.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>, clock: Arc<Clock>) -> Self {
        Self { store, clock }
    }

    /// Looks until told to stop. Nothing it does can fail, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let stood_still = self.clock.tick();
            if !stood_still.is_zero() {
                tracing::warn!(
                    seconds = stood_still.as_secs_f64(),
                    "the process stood still for {stood_still:?}; all leases are prolonged by that"
                );
            }
            self.reap().await;
            self.store.compact(self.clock.now());
        }
    }

    async fn reap(&self) {
        let now = self.clock.now();
        let mut gone = 0_usize;
        for due in self.store.due(now).chunks(BATCH) {
            self.store.expire(due, now, |namespace, instance| {
                gone += 1;
                if gone <= NAMED {
                    tracing::info!(
                        %namespace, service = %instance.service, instance = %instance.id,
                        "instance {} of {} expired", instance.id, instance.service
                    );
                }
            });
            tokio::task::yield_now().await;
        }
        if NAMED < gone {
            tracing::info!(instances = gone, "{gone} instances expired at once; the first {NAMED} are named");
        }
    }
}

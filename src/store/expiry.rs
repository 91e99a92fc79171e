//! The one task that looks for leases that have run out, whatever the number of instances.
//!
//! Never: ends before it is told to, or expires what only its own standstill made late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::memory::MemoryStore;
use crate::directory::Due;
use crate::model::{Clock, Instance, Moment, Namespace};

/// Removes expired instances from a [`MemoryStore`] and keeps its clock going.
#[derive(Debug)]
pub struct Reaper {
    store: Arc<MemoryStore>,
    leases: Arc<dyn Leases>,
    clock: Arc<Clock>,
}

/// Who decides which leases have run out.
pub trait Leases: Send + Sync + fmt::Debug {
    /// Called each time before anything else.
    fn watch(&self, now: Moment);

    /// All leases that have run out by now, those of one namespace side by side.
    fn due(&self, now: Moment) -> Vec<Due>;

    /// Removes the instances of these leases, unless they were renewed meanwhile; tells of each that is gone.
    fn expire(&self, due: &[Due], now: Moment, tell: &mut dyn FnMut(&Namespace, &Instance));
}

/// How often it looks: an instance is gone at most this and a tenth of a second after its lease.
const EVERY: Duration = Duration::from_millis(250);
/// How often renewals are counted, and leases end on a Netflix server (spec eureka section 3.5).
const MINUTE: Duration = Duration::from_secs(60);
/// After so many minutes renewals are expected only of who has a lease.
const REFRESH: u32 = 15;
/// Instances that go at once, before others may run.
const BATCH: usize = 1024;
/// Instances that are named in the log in one pass; the rest is counted.
const NAMED: usize = 100;

// === impl Reaper ===

impl Reaper {
    /// The reaper of a store.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>, clock: Arc<Clock>) -> Self {
        Self { leases: store.clone(), store, clock }
    }

    /// The reaper of a store whose leases somebody else decides about.
    #[must_use]
    pub fn of_leases(store: Arc<MemoryStore>, leases: Arc<dyn Leases>, clock: Arc<Clock>) -> Self {
        Self { store, leases, clock }
    }

    /// Looks until told to stop. Nothing it does can fail, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        let (mut minute, mut minutes) = (self.clock.now().plus(MINUTE), 0_u32);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let stood_still = self.clock.tick();
            if !stood_still.is_zero() {
                tracing::warn!(
                    seconds = stood_still.as_secs_f64(),
                    "the process stood still for {stood_still:?}; all leases are prolonged by that"
                );
            }
            let now = self.clock.now();
            self.leases.watch(now);
            let is_minute = minute <= now;
            if is_minute {
                minute = now.plus(MINUTE);
                minutes = (minutes + 1) % REFRESH;
                self.store.end_minute(minutes == 0, now);
            }
            if is_minute || !self.store.is_strict_eureka() {
                self.reap().await;
            }
            self.store.compact(self.clock.now());
        }
    }

    async fn reap(&self) {
        let now = self.clock.now();
        let mut gone = 0_usize;
        // A Netflix server removes at most so many of a hundred in one run, so its run is not divided.
        let batch = if self.store.is_strict_eureka() { usize::MAX } else { BATCH };
        for due in self.leases.due(now).chunks(batch) {
            self.leases.expire(due, now, &mut |namespace, instance| {
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

// === impl MemoryStore ===

impl Leases for MemoryStore {
    fn watch(&self, _now: Moment) {}

    fn due(&self, now: Moment) -> Vec<Due> {
        Self::due(self, now)
    }

    fn expire(&self, due: &[Due], now: Moment, tell: &mut dyn FnMut(&Namespace, &Instance)) {
        Self::expire(self, due, now, tell);
    }
}

//! Members of a cluster in this process, whose frames are handed over directly.
//!
//! Never: opens a socket, or starts anything.

use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::message::MemberId;
use a8registry::cluster::replicated::ReplicatedStore;
use a8registry::cluster::replication::Replication;
use a8registry::cluster::replicator::{Link, Settings};
use a8registry::model::Clock;
use a8registry::store::StoreMetrics;
use a8registry::store::memory::{MemoryConfig, MemoryStore};

/// A member, open to readers.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) clock: Arc<Clock>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) store: Arc<ReplicatedStore>,
}

/// How long renewals are collected.
pub(crate) const FLUSH: Duration = Duration::from_millis(100);

// === impl Member ===

impl Member {
    pub(crate) fn new(name: &str, config: MemoryConfig) -> Self {
        let clock = Arc::new(Clock::default());
        let memory = Arc::new(MemoryStore::tracking(config, clock.clone(), StoreMetrics::default()));
        let settings = Settings {
            me: MemberId(name.into()),
            incarnation: 1,
            max_ttl: Duration::from_secs(600),
            hold: Duration::from_secs(60),
            flush: FLUSH,
            frame_max: 64 << 10,
            leases: config.leases,
        };
        let replication = Replication::new(settings, memory.clone(), clock.clone());
        replication.open();
        let store = Arc::new(ReplicatedStore::new(memory.clone(), replication.clone()));
        Self { clock, memory, replication, store }
    }
}

/// Connects two members, once.
pub(crate) fn connect(pair: &[Member; 2]) {
    let [a, b] = pair;
    a.replication.connected(Link(0), MemberId("b".into()));
    b.replication.connected(Link(0), MemberId("a".into()));
}

/// Carries frames between two members until neither has any.
pub(crate) fn pump(pair: &[Member; 2]) {
    while carry(pair, usize::MAX) {}
}

/// Carries at most so many frames each way; false when there were none.
pub(crate) fn carry(pair: &[Member; 2], at_most: usize) -> bool {
    let [a, b] = pair;
    let mut has_carried = false;
    for (from, to) in [(a, b), (b, a)] {
        let frames = std::iter::from_fn(|| from.replication.next_frame(Link(0)));
        for frame in frames.take(at_most) {
            to.replication.received(Link(0), &frame).expect("no rule is broken");
            has_carried = true;
        }
    }
    has_carried
}

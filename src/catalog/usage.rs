//! Which namespaces somebody uses: catalogs that follow one world for each namespace follow only those.
//!
//! Never: grows beyond a bound; names come from clients.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::model::{Clock, Moment, Namespace};
use crate::registry::Usage;

/// The namespaces that were read or written lately; cheap to clone.
#[derive(Debug, Clone)]
pub struct InUse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<Clock>,
    /// Milliseconds of the moment of the last use.
    used: RwLock<HashMap<Namespace, AtomicU64, RandomState>>,
    grown: watch::Sender<()>,
}

/// Names that are remembered; beyond, the one that was used longest ago is forgotten.
const MAX: usize = 4096;
/// After so long without use, a namespace is not in use any more.
const IDLE: Duration = Duration::from_secs(60 * 60);

// === impl InUse ===

impl InUse {
    /// Nobody uses anything yet.
    #[must_use]
    pub fn new(clock: Arc<Clock>) -> Self {
        Self(Arc::new(Inner { clock, used: RwLock::default(), grown: watch::Sender::new(()) }))
    }

    fn note(&self, namespace: &Namespace) {
        let now = self.0.clock.now().as_millis();
        if let Some(last) = self.0.used.read().get(namespace) {
            return last.store(now, Ordering::Relaxed);
        }
        let mut used = self.0.used.write();
        if MAX <= used.len() {
            let oldest = used.iter().min_by_key(|(_, last)| last.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(namespace, _)| namespace.clone()) {
                used.remove(&oldest);
            }
        }
        used.insert(namespace.clone(), AtomicU64::new(now));
        drop(used);
        self.0.grown.send_replace(());
    }

    /// The namespaces in use, those used last first; forgets those that have been idle for an hour.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Namespace> {
        let now = self.0.clock.now();
        let mut used = self.0.used.write();
        used.retain(|_, last| now.since(Moment::from_millis(*last.get_mut())) < IDLE);
        let mut names: Vec<_> =
            used.iter().map(|(name, last)| (last.load(Ordering::Relaxed), name.clone())).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Told each time a namespace comes into use.
    #[must_use]
    pub fn grown(&self) -> watch::Receiver<()> {
        self.0.grown.subscribe()
    }
}

impl Usage for InUse {
    fn used(&self, namespace: &Namespace) {
        self.note(namespace);
    }
}

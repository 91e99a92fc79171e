//! What came from others, done to the directories: registrations of one namespace that follow each other at once.
//!
//! Never: waits, passes by the registry (what a member told of is forwarded to nobody), or logs line by line.

use std::time::Duration;

use super::metrics::Applied;
use crate::cluster::message::Key;
use crate::cluster::replicator::{Effect, Replicator};
use crate::directory::{Replica, Show};
use crate::model::{Moment, Namespace};
use crate::store::memory::MemoryStore;

/// Does effects, and remembers what could not be done.
#[derive(Debug)]
pub(super) struct Applier {
    applied: Applied,
    /// When it was last logged that instances have no place.
    told: Option<Moment>,
    /// Instances that had no place since then.
    refused: u64,
}

/// What effects are done to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) memory: &'a MemoryStore,
    pub(super) show: Show,
    pub(super) now: Moment,
}

/// Registrations of one namespace. An instance that is there twice is the same twice, because effects tell how things are
/// now.
#[derive(Debug, Default)]
struct Run {
    keys: Vec<Key>,
    replicas: Vec<Replica>,
}

/// Most registrations that are done at once.
const RUN_MAX: usize = 1024;
/// How often it is logged at most that instances have no place.
const TOLD_EVERY: Duration = Duration::from_secs(60);

// === impl Applier ===

impl Applier {
    pub(super) fn new(applied: Applied) -> Self {
        Self { applied, told: None, refused: 0 }
    }

    /// Does everything that the rules ask for.
    pub(super) fn apply(&mut self, rules: &mut Replicator, place: Place<'_>) {
        let memory = place.memory;
        loop {
            let effects = rules.effects();
            if effects.is_empty() {
                return;
            }
            let mut run = Run::default();
            for effect in effects {
                match effect {
                    Effect::Put { key, instance, renewed } => {
                        if !run.takes(&key.namespace) {
                            self.put(rules, place, &mut run);
                        }
                        run.keys.push(key);
                        run.replicas.push(Replica { instance, renewed });
                    }
                    Effect::Remove { key } => {
                        self.put(rules, place, &mut run);
                        if memory.remove_replica(&key.namespace, &key.id) {
                            self.applied.removals.inc();
                        }
                    }
                    Effect::Renew { row, key, at } => {
                        self.put(rules, place, &mut run);
                        if memory.renew_replica(&key.namespace, &key.id, row, at) {
                            self.applied.renewals.inc();
                        }
                    }
                }
            }
            self.put(rules, place, &mut run);
        }
    }

    fn put(&mut self, rules: &mut Replicator, place: Place<'_>, run: &mut Run) {
        let Run { keys, replicas } = std::mem::take(run);
        let Some(Key { namespace, .. }) = keys.first() else { return };
        let placed = place.memory.put_replicas(namespace, &replicas, place.show);
        let mut rows = match &placed {
            Ok(rows) => rows.iter(),
            Err(_) => [].iter(),
        };
        for key in &keys {
            rules.placed(key, rows.next().copied());
        }
        let count = u64::try_from(replicas.len()).unwrap_or(u64::MAX);
        match placed {
            Ok(_) => {
                self.applied.registrations.inc_by(count);
            }
            Err(error) => {
                self.applied.refusals.inc_by(count);
                self.refused = self.refused.saturating_add(count);
                self.tell_of_refusals(place.now, &error);
            }
        }
    }

    fn tell_of_refusals(&mut self, now: Moment, error: &crate::store::StoreError) {
        if self.told.is_some_and(|told| now < told.plus(TOLD_EVERY)) {
            return;
        }
        self.told = Some(now);
        let refused = std::mem::take(&mut self.refused);
        tracing::error!(
            instances = refused, %error,
            "{refused} instances that other members have found no place here: {error}; give all members the same --max_namespaces"
        );
    }
}

// === impl Run ===

impl Run {
    /// Whether an instance of a namespace may go with these.
    fn takes(&self, namespace: &Namespace) -> bool {
        self.replicas.len() < RUN_MAX && self.keys.first().is_none_or(|first| first.namespace == *namespace)
    }
}

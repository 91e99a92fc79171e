//! What came from others, done to the directories: registrations of one namespace that follow each other at once.
//!
//! Never: waits, passes by the registry (what a member told of is forwarded to nobody), or logs line by line.

use std::collections::HashSet;
use std::time::Duration;

use super::metrics::Applied;
use crate::cluster::message::Key;
use crate::cluster::replicator::{Effect, Replicator};
use crate::directory::Replica;
use crate::model::{InstanceId, Moment, Namespace};
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

/// Registrations of one namespace, each of another instance.
#[derive(Debug)]
struct Run {
    namespace: Namespace,
    ids: HashSet<InstanceId>,
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
    pub(super) fn apply(&mut self, rules: &mut Replicator, memory: &MemoryStore, now: Moment) {
        loop {
            let effects = rules.effects();
            if effects.is_empty() {
                return;
            }
            let mut run: Option<Run> = None;
            for effect in effects {
                match effect {
                    Effect::Put { key, instance, renewed } => {
                        let replica = Replica { instance, renewed };
                        if !run.as_mut().is_some_and(|run| run.takes(&key)) {
                            self.put(rules, memory, now, run.take());
                        }
                        run.get_or_insert_with(|| Run::of(&key)).replicas.push(replica);
                    }
                    Effect::Remove { key } => {
                        self.put(rules, memory, now, run.take());
                        if memory.remove_replica(&key.namespace, &key.id) {
                            self.applied.removals.inc();
                        }
                    }
                    Effect::Renew { row, key, at } => {
                        self.put(rules, memory, now, run.take());
                        if memory.renew_replica(&key.namespace, &key.id, row, at) {
                            self.applied.renewals.inc();
                        }
                    }
                }
            }
            self.put(rules, memory, now, run);
        }
    }

    fn put(&mut self, rules: &mut Replicator, memory: &MemoryStore, now: Moment, run: Option<Run>) {
        let Some(Run { namespace, replicas, .. }) = run else { return };
        let placed = memory.put_replicas(&namespace, &replicas);
        let mut rows = match &placed {
            Ok(rows) => rows.iter(),
            Err(_) => [].iter(),
        };
        for replica in &replicas {
            let id = replica.instance.id.clone();
            rules.placed(&Key { namespace: namespace.clone(), id }, rows.next().copied());
        }
        let count = u64::try_from(replicas.len()).unwrap_or(u64::MAX);
        match placed {
            Ok(_) => {
                self.applied.registrations.inc_by(count);
            }
            Err(error) => {
                self.applied.refusals.inc_by(count);
                self.refused = self.refused.saturating_add(count);
                self.tell_of_refusals(now, &error);
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
    fn of(first: &Key) -> Self {
        let Key { namespace, id } = first.clone();
        Self { namespace, ids: HashSet::from([id]), replicas: Vec::new() }
    }

    /// Whether an instance may go with these; if so, none with its id may any more.
    fn takes(&mut self, key: &Key) -> bool {
        self.replicas.len() < RUN_MAX && self.namespace == key.namespace && self.ids.insert(key.id.clone())
    }
}

//! The store in memory that other members know too: what a client writes is done here first and told to them, what
//! they tell is done here.
//!
//! Never: waits for another member, or refuses a write because one cannot be reached.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Either;

use super::message::Key;
use super::replication::Replication;
use crate::directory::{Directory, Overlay};
use crate::model::{Instance, InstanceId, Namespace, Origin, Update};
use crate::store::memory::MemoryStore;
use crate::store::{Answer, Census, Registered, Standing, Store, StoreError};

/// A [`Store`] in this process that replicates.
#[derive(Debug)]
pub struct ReplicatedStore {
    memory: Arc<MemoryStore>,
    replication: Arc<Replication>,
}

// === impl ReplicatedStore ===

impl ReplicatedStore {
    /// The store that `replication` is about.
    #[must_use]
    pub fn new(memory: Arc<MemoryStore>, replication: Arc<Replication>) -> Self {
        Self { memory, replication }
    }

    /// Who is not known before all was heard may be known elsewhere.
    fn unless_unheard(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::NoSuchInstance if !self.replication.is_open() => StoreError::Unavailable,
            error @ (StoreError::NoSuchInstance
            | StoreError::ReadOnly { .. }
            | StoreError::NamespaceFull { .. }
            | StoreError::Invalid(_)
            | StoreError::TooManyNamespaces { .. }
            | StoreError::Unavailable) => error,
        }
    }
}

impl Store for ReplicatedStore {
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
        origin: Origin,
    ) -> Answer<Result<Registered, StoreError>> {
        let registered = self.replication.written(|memory, rules, now| {
            let registered = given(memory.register(namespace, instance, origin));
            if let Ok(Registered { instance, changed: true }) = &registered
                && let Some(row) = memory.row_of(namespace, &instance.id)
            {
                rules.put(now, key(namespace, &instance.id), row, instance.clone());
            }
            registered
        });
        Either::Left(ready(registered))
    }

    fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        let renewed = given(self.memory.renew(namespace, id));
        Either::Left(ready(renewed.map_err(|error| self.unless_unheard(error))))
    }

    fn renew_if(
        &self,
        namespace: &Namespace,
        named: (&str, &str),
        judge: &mut dyn FnMut(&Arc<Instance>) -> bool,
    ) -> Answer<Result<(), StoreError>> {
        let renewed = given(self.memory.renew_if(namespace, named, judge));
        Either::Left(ready(renewed.map_err(|error| self.unless_unheard(error))))
    }

    fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<Result<Vec<Result<(), StoreError>>, StoreError>> {
        let renewed = given(self.memory.renew_many(namespace, ids));
        let judged = |renewed: Result<(), _>| renewed.map_err(|error| self.unless_unheard(error));
        Either::Left(ready(renewed.map(|each| each.into_iter().map(judged).collect())))
    }

    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let updated = self.replication.written(|memory, rules, now| {
            let before = memory.directory(namespace).and_then(|directory| directory.get(id));
            let updated = given(memory.update(namespace, id, update, origin));
            if let Ok(instance) = &updated
                && before.is_none_or(|before| !Arc::ptr_eq(&before, instance))
                && let Some(row) = memory.row_of(namespace, &instance.id)
            {
                rules.put(now, key(namespace, &instance.id), row, instance.clone());
            }
            updated
        });
        Either::Left(ready(updated.map_err(|error| self.unless_unheard(error))))
    }

    fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let gone = self.replication.written(|memory, rules, now| {
            let gone = given(memory.deregister(namespace, id, origin));
            if let Ok(instance) = &gone {
                rules.remove(now, &key(namespace, &instance.id));
            }
            gone
        });
        Either::Left(ready(gone.map_err(|error| self.unless_unheard(error))))
    }

    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>> {
        self.memory.directory(namespace)
    }

    fn overlay(&self, namespace: &Namespace, overlay: Overlay) -> Result<(), StoreError> {
        self.memory.overlay(namespace, overlay)
    }

    fn standing(&self) -> Standing {
        match self.replication.is_open() {
            true => Standing::Current,
            false => Standing::Unread,
        }
    }

    fn census(&self, largest: usize) -> Census {
        self.memory.census(largest)
    }
}

fn key(namespace: &Namespace, id: &InstanceId) -> Key {
    Key { namespace: namespace.clone(), id: id.clone() }
}

/// The store in memory answers at once.
fn given<T>(answer: Answer<Result<T, StoreError>>) -> Result<T, StoreError> {
    answer.now_or_never().unwrap_or(Err(StoreError::Unavailable))
}

#[cfg(test)]
mod tests;

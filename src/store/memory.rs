//! The store that keeps everything in this process: one directory for each namespace, leases in shared columns.
//!
//! A namespace is made by its first registration, and dropped when it holds neither an instance nor a
//! change that a reader could still ask for.
//! Never: persists anything, or makes a namespace for a reader.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::ready;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::quality::RandomState;
use futures_util::future::Either;
use parking_lot::{Mutex, RwLock};

use super::{Answer, Census, Registered, Standing, Store, StoreError, StoreMetrics};
use crate::directory::{Directory, Due, LeaseRules, LogLimits, Overlay, Placed, Refusal, Slots};
use crate::model::{Clock, Instance, Moment, Namespace, Origin, Status, Update};

/// Bounds of a store in memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryConfig {
    /// Most instances of one namespace; none is no limit.
    pub namespace_capacity: Option<usize>,
    /// Most namespaces.
    pub max_namespaces: usize,
    /// How much of its past each namespace remembers.
    pub change_log: LogLimits,
    /// How leases end.
    pub leases: LeaseRules,
}

/// A [`Store`] in this process.
#[derive(Debug)]
pub struct MemoryStore {
    config: MemoryConfig,
    clock: Arc<Clock>,
    slots: Arc<Slots>,
    hasher: RandomState,
    shards: [RwLock<HashMap<Namespace, Arc<Tenant>, RandomState>>; SHARDS],
    numbers: Mutex<Numbers>,
    /// When the logs of which namespaces are to be looked at next.
    logs: Mutex<BinaryHeap<Reverse<(Moment, u32)>>>,
    metrics: StoreMetrics,
}

#[derive(Debug)]
struct Tenant {
    namespace: Namespace,
    number: u32,
    directory: Arc<Directory>,
    /// Whether `logs` has a time for it.
    is_queued: AtomicBool,
}

/// Namespaces by the number that marks their slots.
#[derive(Debug, Default)]
struct Numbers {
    tenants: Vec<Option<Arc<Tenant>>>,
    free: Vec<u32>,
}

const SHARDS: usize = 16;

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(config: MemoryConfig, clock: Arc<Clock>, metrics: StoreMetrics) -> Self {
        Self {
            config,
            clock,
            slots: Arc::default(),
            hasher: RandomState::default(),
            shards: Default::default(),
            numbers: Mutex::default(),
            logs: Mutex::default(),
            metrics,
        }
    }

    /// All leases that have run out by now, those of one namespace side by side.
    #[must_use]
    pub fn due(&self, now: Moment) -> Vec<Due> {
        let mut due = self.slots.due(now);
        due.sort_unstable_by_key(|due| due.owner);
        due
    }

    /// Removes the instances of these leases, unless they were renewed meanwhile; tells of each that is
    /// gone.
    pub fn expire(&self, due: &[Due], now: Moment, mut tell: impl FnMut(&Namespace, &Instance)) {
        for due in due.chunk_by(|a, b| a.owner == b.owner) {
            let Some(tenant) = self.tenant_of(due[0].owner) else { continue };
            let gone = tenant.directory.expire(due, now);
            self.metrics.expirations.inc_by(u64::try_from(gone.len()).unwrap_or(u64::MAX));
            for instance in gone {
                tell(&tenant.namespace, &instance);
            }
            self.queue(&tenant);
        }
    }

    /// Whether leases end as on a Netflix server; see [`LeaseRules`].
    #[must_use]
    pub fn is_strict_eureka(&self) -> bool {
        self.config.leases.strict_eureka
    }

    /// A minute is over; with `expect_the_living`, renewals are expected only of who has a lease now.
    pub fn end_minute(&self, expect_the_living: bool, now: Moment) {
        let tenants: Vec<_> = self.numbers.lock().tenants.iter().flatten().cloned().collect();
        for tenant in tenants {
            tenant.directory.end_minute();
            if expect_the_living && self.config.leases.self_preservation {
                tenant.directory.expect_the_living(now);
            }
        }
    }

    /// Forgets changes that are too old, and drops namespaces that hold nothing any more.
    pub fn compact(&self, now: Moment) {
        while let Some(tenant) = self.next_to_compact(now) {
            tenant.is_queued.store(false, Ordering::Release);
            if tenant.directory.compact(now).is_some() {
                self.queue(&tenant);
            } else if tenant.directory.is_empty() {
                self.drop_when_empty(&tenant, now);
            }
        }
    }

    fn next_to_compact(&self, now: Moment) -> Option<Arc<Tenant>> {
        loop {
            let number = {
                let mut logs = self.logs.lock();
                let Reverse((due, number)) = *logs.peek()?;
                if now < due {
                    return None;
                }
                logs.pop();
                number
            };
            if let Some(tenant) = self.tenant_of(number) {
                return Some(tenant);
            }
        }
    }

    /// Sees to it that a namespace's log is looked at when its oldest change is too old.
    fn queue(&self, tenant: &Tenant) {
        if tenant.is_queued.load(Ordering::Acquire) || tenant.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.clock.now();
        let due = tenant.directory.compact(now).unwrap_or(now);
        self.logs.lock().push(Reverse((due, tenant.number)));
    }

    fn drop_when_empty(&self, tenant: &Tenant, now: Moment) {
        let mut shard = self.shard(&tenant.namespace).write();
        if tenant.directory.close_when_empty(now) {
            shard.remove(&tenant.namespace);
            let mut numbers = self.numbers.lock();
            if let Some(place) = numbers.tenants.get_mut(usize::try_from(tenant.number).unwrap_or(usize::MAX))
            {
                *place = None;
                numbers.free.push(tenant.number);
            }
        }
    }

    fn shard(&self, namespace: &Namespace) -> &RwLock<HashMap<Namespace, Arc<Tenant>, RandomState>> {
        let hash = self.hasher.hash_one(namespace.as_str());
        &self.shards[usize::try_from(hash >> 32).unwrap_or_default() % SHARDS]
    }

    fn tenant_of(&self, number: u32) -> Option<Arc<Tenant>> {
        self.numbers.lock().tenants.get(usize::try_from(number).ok()?)?.clone()
    }

    fn tenant(&self, namespace: &Namespace) -> Option<Arc<Tenant>> {
        self.shard(namespace).read().get(namespace).cloned()
    }

    fn tenant_or_new(&self, namespace: &Namespace) -> Result<Arc<Tenant>, StoreError> {
        if let Some(tenant) = self.tenant(namespace) {
            return Ok(tenant);
        }
        let mut shard = self.shard(namespace).write();
        if let Some(tenant) = shard.get(namespace) {
            return Ok(tenant.clone());
        }
        let mut numbers = self.numbers.lock();
        let max = self.config.max_namespaces;
        let number = match numbers.free.pop() {
            Some(number) => number,
            None if max <= numbers.tenants.len() => return Err(StoreError::TooManyNamespaces { max }),
            None => {
                numbers.tenants.push(None);
                u32::try_from(numbers.tenants.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let MemoryConfig { change_log, leases, .. } = self.config;
        let directory = Directory::new(number, self.slots.clone(), self.clock.clone(), change_log, leases);
        let tenant = Arc::new(Tenant {
            namespace: namespace.clone(),
            number,
            directory: Arc::new(directory),
            is_queued: AtomicBool::new(false),
        });
        if let Some(place) = numbers.tenants.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            *place = Some(tenant.clone());
        }
        shard.insert(namespace.clone(), tenant.clone());
        Ok(tenant)
    }

    fn register_now(
        &self,
        namespace: &Namespace,
        asked: &Instance,
        origin: Origin,
    ) -> Result<Registered, StoreError> {
        loop {
            let tenant = self.tenant_or_new(namespace)?;
            let capacity = self.config.namespace_capacity;
            match tenant.directory.place(asked, capacity, origin) {
                Ok((Placed::Renewed, instance)) => {
                    self.metrics.renewals.inc();
                    return Ok(Registered { instance, changed: false });
                }
                Ok((Placed::New | Placed::Replaced, instance)) => {
                    self.metrics.registrations.inc();
                    self.queue(&tenant);
                    return Ok(Registered { instance, changed: true });
                }
                Err(Refusal::Closed) => {} // Dropped between the look-up and now: make it anew.
                Err(Refusal::Full) => {
                    self.queue(&tenant); // It may hold nothing: a capacity of 0 is allowed.
                    return Err(StoreError::NamespaceFull { capacity: capacity.unwrap_or_default() });
                }
            }
        }
    }

    fn renew_now(&self, namespace: &Namespace, id: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let shard = self.shard(namespace).read();
        let directory = shard.get(namespace).map(|tenant| &*tenant.directory);
        self.renew_in(directory, id, now)
    }

    fn renew_in(&self, directory: Option<&Directory>, id: &str, now: Moment) -> Result<(), StoreError> {
        if directory.is_some_and(|directory| directory.renew(id, now)) {
            self.metrics.renewals.inc();
            return Ok(());
        }
        Err(self.metrics.refused(StoreError::absent(directory, id)))
    }

    fn update_now(
        &self,
        namespace: &Namespace,
        id: &str,
        update: &Update,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        let tenant = self.tenant(namespace).ok_or(StoreError::NoSuchInstance)?;
        let now = self.clock.time_of_day(self.clock.now());
        let updated = tenant.directory.update(id, origin, |instance| update.applied_to(instance, now))?;
        let instance = updated.ok_or_else(|| StoreError::absent(Some(&tenant.directory), id))?;
        self.metrics.updates.inc();
        self.queue(&tenant);
        Ok(instance)
    }

    fn deregister_now(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        let tenant = self.tenant(namespace).ok_or(StoreError::NoSuchInstance)?;
        let gone = tenant.directory.remove(id, origin);
        let gone = gone.ok_or_else(|| StoreError::absent(Some(&tenant.directory), id))?;
        self.metrics.deregistrations.inc();
        self.queue(&tenant);
        Ok(gone)
    }
}

impl Store for MemoryStore {
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
        origin: Origin,
    ) -> Answer<Result<Registered, StoreError>> {
        let registered = self.register_now(namespace, &instance, origin);
        Either::Left(ready(registered.map_err(|error| self.metrics.refused(error))))
    }

    fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        Either::Left(ready(self.renew_now(namespace, id)))
    }

    fn renew_if(
        &self,
        namespace: &Namespace,
        named: (&str, &str),
        judge: &mut dyn FnMut(&Arc<Instance>) -> bool,
    ) -> Answer<Result<(), StoreError>> {
        let mut renews = false;
        let mut judge = |instance: &Arc<Instance>| {
            renews = judge(instance);
            renews
        };
        let now = self.clock.now();
        let shard = self.shard(namespace).read();
        let tenant = shard.get(namespace);
        let is_there = tenant.is_some_and(|tenant| tenant.directory.renew_if(named, now, &mut judge));
        drop(shard);
        Either::Left(ready(match is_there {
            true => {
                self.metrics.renewals.inc_by(u64::from(renews));
                Ok(())
            }
            false => Err(self.metrics.refused(StoreError::NoSuchInstance)),
        }))
    }

    fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<Result<Vec<Result<(), StoreError>>, StoreError>> {
        let now = self.clock.now();
        let tenant = self.tenant(namespace);
        let directory = tenant.as_ref().map(|tenant| &*tenant.directory);
        Either::Left(ready(Ok(ids.iter().map(|id| self.renew_in(directory, id, now)).collect())))
    }

    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let updated = self.update_now(namespace, id, &update, origin);
        Either::Left(ready(updated.map_err(|error| self.metrics.refused(error))))
    }

    fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let gone = self.deregister_now(namespace, id, origin);
        Either::Left(ready(gone.map_err(|error| self.metrics.refused(error))))
    }

    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>> {
        self.shard(namespace).read().get(namespace).map(|tenant| tenant.directory.clone())
    }

    fn overlay(&self, namespace: &Namespace, overlay: Overlay) -> Result<(), StoreError> {
        loop {
            let tenant = self.tenant_or_new(namespace)?;
            if tenant.directory.overlay(overlay.clone()).is_ok() {
                self.queue(&tenant);
                return Ok(());
            }
            // Dropped between the look-up and now: make it anew.
        }
    }

    fn standing(&self) -> Standing {
        Standing::Current
    }

    fn census(&self, largest: usize) -> Census {
        let tenants: Vec<_> = self.numbers.lock().tenants.iter().flatten().cloned().collect();
        let out_of_service = |tenant: &Arc<Tenant>| {
            tenant.directory.counts().get(Status::OutOfService.position()).copied().unwrap_or_default()
        };
        let mut counted: Vec<_> =
            tenants.iter().map(|tenant| (tenant.namespace.clone(), tenant.directory.own_len())).collect();
        let instances = counted.iter().map(|(_, instances)| instances).sum();
        let namespaces = counted.len();
        counted.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(largest);
        Census {
            instances,
            namespaces,
            out_of_service: tenants.iter().map(out_of_service).sum(),
            preserving: tenants.iter().filter(|it| it.directory.preservation().is_preserving).count(),
            largest: counted,
        }
    }
}

//! This process' copy of what is in Redis: a directory for each namespace, which readers read.
//!
//! Never: decides anything; what it holds was decided by a script in Redis.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::entry::{Entry, Event};
use super::keys::{BUCKETS, Bucket};
use super::loading::Loaded;
use crate::directory::{Applied, Cause, Directory, LeaseRules, LogLimits, News, Overlay, Slots, Tag, Tags};
use crate::model::{Clock, Instance, Moment, Namespace};
use crate::store::Standing;

/// The copy.
#[derive(Debug)]
pub(super) struct Mirror {
    clock: Arc<Clock>,
    slots: Arc<Slots>,
    limits: LogLimits,
    leases: LeaseRules,
    tags: Tags,
    buckets: [RwLock<HashMap<Namespace, Arc<Tenant>>>; BUCKETS],
    /// When the logs of which namespaces are to be looked at next.
    logs: Mutex<BinaryHeap<Reverse<(Moment, Namespace)>>>,
    /// What Redis knows each bucket by; 0 when it has none.
    numbers: [AtomicU64; BUCKETS],
    /// Told of each change that came by a stream.
    moved: watch::Sender<()>,
    /// Whether everything was read once.
    is_whole: AtomicBool,
    /// Milliseconds of the moment at which nothing was missing.
    current_at: AtomicU64,
    /// Whether changes come in.
    is_followed: AtomicBool,
}

/// One namespace.
#[derive(Debug)]
struct Tenant {
    directory: Arc<Directory>,
    /// Whether `logs` has a time for it.
    is_queued: AtomicBool,
}

/// Something is missing between what is here and what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap;

// === impl Mirror ===

impl Mirror {
    pub(super) fn new(clock: Arc<Clock>, limits: LogLimits, leases: LeaseRules, tags: Tags) -> Self {
        Self {
            clock,
            slots: Arc::default(),
            limits,
            leases,
            tags,
            buckets: std::array::from_fn(|_| RwLock::default()),
            logs: Mutex::default(),
            numbers: std::array::from_fn(|_| AtomicU64::new(0)),
            moved: watch::Sender::new(()),
            is_whole: AtomicBool::new(false),
            current_at: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
        }
    }

    pub(super) fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>> {
        self.bucket(Bucket::of(namespace)).read().get(namespace).map(|tenant| tenant.directory.clone())
    }

    pub(super) fn get(&self, namespace: &Namespace, id: &str) -> Option<Arc<Instance>> {
        self.directory(namespace)?.get_own(id)
    }

    /// Number of namespaces.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.read().len()).sum()
    }

    /// Whether no namespace of a bucket is known.
    pub(super) fn is_vacant(&self, bucket: Bucket) -> bool {
        self.bucket(bucket).read().is_empty()
    }

    /// Everything of one bucket.
    pub(super) fn directories(&self, bucket: Bucket) -> Vec<(Namespace, Arc<Directory>)> {
        let tenants = self.bucket(bucket).read();
        tenants.iter().map(|(namespace, tenant)| (namespace.clone(), tenant.directory.clone())).collect()
    }

    /// What Redis knows a bucket by; 0 when that is not known, or it has none.
    pub(super) fn number(&self, bucket: Bucket) -> u64 {
        self.numbers[bucket.position() % BUCKETS].load(Ordering::Acquire)
    }

    /// Redis knows a bucket by this number, should that not have been known.
    pub(super) fn is_numbered(&self, bucket: Bucket, number: u64) {
        let place = &self.numbers[bucket.position() % BUCKETS];
        // Another one is for the reader of the stream to find out.
        let _ = place.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Waits until a bucket has another number than this one, but at most so long; tells whether it has.
    pub(super) async fn until_renumbered(&self, bucket: Bucket, number: u64, at_most: Duration) -> bool {
        let mut moved = self.moved.subscribe();
        let reached = async { while self.number(bucket) == number && moved.changed().await.is_ok() {} };
        tokio::time::timeout(at_most, reached).await.is_ok()
    }

    /// How readers' answers stand to what is in Redis.
    pub(super) fn standing(&self) -> Standing {
        if !self.is_whole.load(Ordering::Acquire) {
            return Standing::Unread;
        }
        match self.is_followed.load(Ordering::Acquire) {
            true => Standing::Current,
            false => Standing::Stale { age: self.age() },
        }
    }

    /// How long ago nothing was missing for certain.
    pub(super) fn age(&self) -> Duration {
        self.clock.now().since(Moment::from_millis(self.current_at.load(Ordering::Relaxed)))
    }

    /// Nothing is missing now.
    pub(super) fn is_current(&self) {
        self.current_at.store(self.clock.now().as_millis(), Ordering::Relaxed);
        self.is_whole.store(true, Ordering::Release);
        self.is_followed.store(true, Ordering::Release);
    }

    /// Changes do not come in any more.
    pub(super) fn is_left_alone(&self) {
        self.is_followed.store(false, Ordering::Release);
    }

    /// Takes over an entry of a stream.
    pub(super) fn apply(&self, entry: &Entry) -> Result<(), Gap> {
        let Entry { namespace, event } = entry;
        match event {
            Event::Changed(at, cause, news) => self.told(namespace, *at, news, *cause),
            Event::Renumbered { epoch } => {
                let known = self.directory(namespace).map(|directory| directory.followed().epoch);
                if known == Some(*epoch) { Ok(()) } else { Err(Gap) }
            }
            Event::Forgotten { epoch } => {
                let mut tenants = self.bucket(Bucket::of(namespace)).write();
                let is_it = |tenant: &Arc<Tenant>| tenant.directory.followed().epoch == *epoch;
                if tenants.get(namespace).is_some_and(|tenant| is_it(tenant) && tenant.directory.close()) {
                    tenants.remove(namespace);
                }
                Ok(())
            }
        }
    }

    /// Takes over one change, from a stream or from who made it.
    pub(super) fn told(&self, namespace: &Namespace, at: Tag, news: &News, cause: Cause) -> Result<(), Gap> {
        let found = self.bucket(Bucket::of(namespace)).read().get(namespace).cloned();
        let tenant = match found {
            Some(tenant) => tenant,
            None if at.revision == 1 => self.tenant_or_new(namespace, Tag { revision: 0, ..at }),
            None => return Err(Gap),
        };
        match tenant.directory.apply(at, news, cause) {
            Applied::Gap => Err(Gap),
            Applied::Before => Ok(()),
            Applied::Now => {
                self.queue(namespace, &tenant);
                Ok(())
            }
        }
    }

    /// Whoever waits for a change should look.
    pub(super) fn has_moved(&self) {
        self.moved.send_replace(());
    }

    /// Waits until a namespace stands at `at` or later, but at most so long.
    pub(super) async fn until(&self, namespace: &Namespace, at: Tag, at_most: Duration) {
        let mut moved = self.moved.subscribe();
        let reached = async {
            loop {
                let here = self.directory(namespace).map(|directory| directory.followed());
                if here.is_some_and(|here| here.epoch == at.epoch && at.revision <= here.revision) {
                    return;
                }
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(at_most, reached).await.is_err() {
            tracing::debug!(%namespace, "a change of {namespace} was made and is not read back yet");
        }
    }

    /// Puts everything that was read of a bucket in the place of what is here.
    pub(super) fn replace(&self, bucket: Bucket, loaded: Loaded) {
        let Loaded { position: _, number, namespaces } = loaded;
        let stays = |namespace: &Namespace, tenant: &mut Arc<Tenant>| {
            namespaces.contains_key(namespace) || !tenant.directory.close()
        };
        self.bucket(bucket).write().retain(stays);
        for (namespace, read) in namespaces {
            let tenant = self.tenant_or_new(&namespace, read.at);
            tenant.directory.replace(read.at, read.instances.into_values().collect());
            self.queue(&namespace, &tenant);
        }
        self.numbers[bucket.position() % BUCKETS].store(number, Ordering::Release);
        self.has_moved();
    }

    /// Takes over what differs in a catalog.
    pub(super) fn overlay(&self, namespace: &Namespace, overlay: &Overlay) {
        loop {
            let tenant = self.tenant_or_new(namespace, Tag { epoch: 0, revision: 0 });
            if tenant.directory.overlay(overlay.clone()).is_ok() {
                return self.queue(namespace, &tenant);
            }
            // It was dropped between the look-up and now: make it anew.
        }
    }

    /// Forgets changes that are too old; answers with the namespaces that hold nothing any more.
    pub(super) fn compact(&self, now: Moment) -> Vec<Namespace> {
        let mut empty = Vec::new();
        while let Some(namespace) = self.next_to_compact(now) {
            let found = self.bucket(Bucket::of(&namespace)).read().get(&namespace).cloned();
            let Some(tenant) = found else { continue };
            tenant.is_queued.store(false, Ordering::Release);
            if tenant.directory.compact(now).is_some() {
                self.queue(&namespace, &tenant);
            } else if tenant.directory.own_len() == 0 && tenant.directory.followed().revision != 0 {
                empty.push(namespace);
            }
        }
        empty
    }

    fn next_to_compact(&self, now: Moment) -> Option<Namespace> {
        let mut logs = self.logs.lock();
        let Reverse((due, _)) = logs.peek()?;
        if now < *due {
            return None;
        }
        logs.pop().map(|Reverse((_, namespace))| namespace)
    }

    fn queue(&self, namespace: &Namespace, tenant: &Tenant) {
        if tenant.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.clock.now();
        let due = tenant.directory.compact(now).unwrap_or_else(|| now.plus(self.limits.age));
        self.logs.lock().push(Reverse((due, namespace.clone())));
    }

    fn bucket(&self, bucket: Bucket) -> &RwLock<HashMap<Namespace, Arc<Tenant>>> {
        // Positions are below the number of buckets.
        &self.buckets[bucket.position() % BUCKETS]
    }

    fn tenant_or_new(&self, namespace: &Namespace, at: Tag) -> Arc<Tenant> {
        let mut tenants = self.bucket(Bucket::of(namespace)).write();
        if let Some(tenant) = tenants.get(namespace) {
            return tenant.clone();
        }
        let rules = (self.limits, self.leases);
        let directory = Directory::mirror(self.slots.clone(), self.clock.clone(), rules, at, self.tags);
        let tenant = Tenant { directory: Arc::new(directory), is_queued: AtomicBool::new(false) };
        let tenant = Arc::new(tenant);
        tenants.insert(namespace.clone(), tenant.clone());
        tenant
    }
}

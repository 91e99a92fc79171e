//! From an id to its instance and slot: hash tables behind short locks, one at first and many when it grows.
//!
//! Who renews holds the lock of a shard for reading, who removes holds it for writing; so a row is never
//! given away between a look-up and a renewal.
//! Never: holds two locks at once (but while growing), or one for longer than a look-up.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::slots::Slot;
use crate::model::Instance;

/// The index of one namespace. Look-ups come from anywhere; changes only from its directory's one writer.
#[derive(Debug)]
pub(super) struct Index {
    /// Keyed at random, because ids come from clients.
    hasher: RandomState,
    shards: ArcSwap<Vec<RwLock<Shard>>>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    table: HashTable<Entry>,
    /// The entries are in newer shards.
    moved: bool,
}

/// One instance and where its lease is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    hash: u64,
    pub(super) slot: Slot,
    pub(super) instance: Arc<Instance>,
}

/// One table is enough up to here; beyond, one table that grows would hold up renewals.
const ONE_SHARD_MAX: usize = 4096;
const SHARDS: usize = 64;

// === impl Entry ===

impl Entry {
    /// Whether it is the store's, not a catalog's.
    pub(super) fn is_own(&self) -> bool {
        !self.slot.is_none()
    }
}

// === impl Index ===

impl Default for Index {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: ArcSwap::from_pointee(vec![RwLock::default()]),
            len: AtomicUsize::new(0),
        }
    }
}

impl Index {
    /// Number of instances.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The key of an id in this index.
    pub(super) fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id.as_bytes())
    }

    /// Calls `look` with the entry of an id, under the lock that keeps the entry from being removed.
    pub(super) fn with<R>(&self, id: &str, look: impl FnOnce(&Entry) -> R) -> Option<R> {
        let hash = self.hash(id);
        loop {
            let shards = self.shards.load();
            let shard = shards[shard_of(hash, shards.len())].read();
            if !shard.moved {
                return shard.table.find(hash, |entry| entry.is(hash, id)).map(look);
            }
        }
    }

    /// Adds an instance whose id is not there, or puts another in the place of the one with its id.
    /// `lease` is called under the lock.
    pub(super) fn put(&self, slot: Slot, instance: Arc<Instance>, lease: impl FnOnce()) {
        self.grow();
        let hash = self.hash(instance.id.as_str());
        let shards = self.shards.load();
        let mut shard = shards[shard_of(hash, shards.len())].write();
        lease();
        match shard.table.find_mut(hash, |entry| entry.is(hash, instance.id.as_str())) {
            Some(entry) => (entry.slot, entry.instance) = (slot, instance),
            None => {
                shard.table.insert_unique(hash, Entry { hash, slot, instance }, |entry| entry.hash);
                self.len.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Removes an instance by its id when `sure` says so under the lock.
    pub(super) fn remove(&self, id: &str, sure: impl FnOnce(&Entry) -> bool) -> Option<Entry> {
        let hash = self.hash(id);
        self.remove_where(hash, |entry| entry.is(hash, id), sure)
    }

    /// Removes the instance in a row when `sure` says so under the lock.
    pub(super) fn remove_row(&self, hash: u64, row: u32, sure: impl FnOnce(&Entry) -> bool) -> Option<Entry> {
        self.remove_where(hash, |entry| entry.slot.row() == row, sure)
    }

    fn remove_where(
        &self,
        hash: u64,
        is_it: impl FnMut(&Entry) -> bool,
        sure: impl FnOnce(&Entry) -> bool,
    ) -> Option<Entry> {
        let shards = self.shards.load();
        let mut shard = shards[shard_of(hash, shards.len())].write();
        let found = shard.table.find_entry(hash, is_it).ok()?;
        if !sure(found.get()) {
            return None;
        }
        let gone = found.remove().0;
        self.len.fetch_sub(1, Ordering::Relaxed);
        let (len, capacity) = (shard.table.len(), shard.table.capacity());
        if 64 < capacity && len < capacity / 8 {
            shard.table.shrink_to(len * 2, |entry| entry.hash);
        }
        Some(gone)
    }

    /// Spreads one full table over many. Readers of the old one wait for its lock, see that it moved, and
    /// look in the new ones.
    fn grow(&self) {
        let old = self.shards.load();
        let [only] = old.as_slice() else { return };
        let mut only = only.write();
        if only.table.len() < ONE_SHARD_MAX {
            return;
        }
        let new: Vec<_> = (0..SHARDS).map(|_| RwLock::new(Shard::default())).collect();
        for entry in std::mem::take(&mut only.table) {
            let hash = entry.hash;
            new[shard_of(hash, SHARDS)].write().table.insert_unique(hash, entry, |entry| entry.hash);
        }
        only.moved = true;
        self.shards.store(Arc::new(new));
    }
}

// === impl Entry ===

impl Entry {
    fn is(&self, hash: u64, id: &str) -> bool {
        self.hash == hash && self.instance.id.as_str() == id
    }

    /// Whether Eureka's readers know it as `id` in this application, its name in any letter case.
    pub(super) fn is_known_as(&self, application: &str, id: &str) -> bool {
        self.instance.service.as_str().eq_ignore_ascii_case(application)
            && self.instance.id_in_application() == id
    }

    /// The same of an entry that was found by the [id of both](crate::model::InstanceId::of_application). Whoever
    /// registered here by the Eureka API has that id, and of it only where the name ends is open: texts that lie
    /// elsewhere in memory are not read.
    pub(super) fn is_known_as_found(&self, application: &str, id: &str) -> bool {
        match self.is_own() && self.instance.document.is_some() {
            true => self.instance.service.as_str().len() == application.len(),
            false => self.is_known_as(application, id),
        }
    }
}

/// The table takes the low and the highest bits of a hash, so shards take others.
fn shard_of(hash: u64, shards: usize) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() & (shards - 1)
}

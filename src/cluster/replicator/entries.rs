//! All that is known of keys: what was last written, and when the lease was last renewed.
//!
//! Entries stand in slots, which others name them by; sums over all that is registered are kept as they change. What a
//! renewal looks at lies apart and close together: the entry of an instance that renews is not touched.
//! Never: decides what is newer, or ends a lease.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::Row;
use super::bits::Bits;
use crate::cluster::frame::BUCKETS;
use crate::cluster::message::{Content, Key, Stamp, StreamId};
use crate::model::Moment;

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// [`Key::hash`].
    pub(super) hash: u64,
    pub(super) stamp: Stamp,
    pub(super) content: Content,
    /// The record as it came, when it holds what this build does not know.
    pub(super) foreign: Option<Box<[u8]>>,
    /// Where it was written.
    pub(super) stream: StreamId,
    pub(super) seq: u64,
    /// Since when this is what was last written, as far as this member knows.
    pub(super) since: Moment,
    pub(super) row: Option<Row>,
    /// Its place among those of its bucket.
    pub(super) place: usize,
}

/// The newest renewal of an entry that is known of; of the dead, its deregistration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Renewal {
    /// When it was.
    pub(super) last: Moment,
    /// The member that its client told then.
    pub(super) home: u64,
}

/// All entries.
#[derive(Debug)]
pub(super) struct Entries {
    slots: Vec<Slot>,
    /// Of each slot; means nothing where no entry is.
    renewals: Vec<Renewal>,
    /// Slots whose entry is registered.
    living: Bits,
    /// Slots whose newest renewal a client told this member, since it started.
    told_here: Bits,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    by_row: Vec<Option<u32>>,
    hasher: RandomState,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    entry: Option<Box<Entry>>,
}

/// What is registered of the keys whose numbers begin with the same eight bits.
#[derive(Debug, Default)]
struct Bucket {
    sum: u64,
    slots: Vec<u32>,
}

// === impl Entry ===

impl Entry {
    /// An entry that is not in a bucket yet.
    pub(super) fn new(
        key: Key,
        stamp: Stamp,
        content: Content,
        (stream, seq): (StreamId, u64),
        now: Moment,
    ) -> Self {
        let hash = key.hash();
        Self { key, hash, stamp, content, foreign: None, stream, seq, since: now, row: None, place: 0 }
    }

    pub(super) fn is_alive(&self) -> bool {
        match self.content {
            Content::Alive(_) => true,
            Content::Dead => false,
        }
    }

    /// When it was written: of two the larger is the newer. A member that comes back with a clock behind may give a stamp
    /// anew that it gave before; then its starts are told apart.
    pub(super) fn written(&self) -> (Stamp, u64) {
        (self.stamp, self.stream.incarnation)
    }

    /// What it adds to the sums.
    pub(super) fn version(&self) -> u64 {
        self.stamp.hash_with(self.hash, self.stream.incarnation)
    }
}

// === impl Entries ===

impl Default for Entries {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            renewals: Vec::new(),
            living: Bits::default(),
            told_here: Bits::default(),
            free: Vec::new(),
            by_key: HashTable::new(),
            by_row: Vec::new(),
            hasher: RandomState::default(),
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
        }
    }
}

impl Entries {
    pub(super) fn alive(&self) -> usize {
        self.living.len()
    }

    pub(super) fn dead(&self) -> usize {
        self.by_key.len() - self.alive()
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|entry| entry.key == *key);
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub(super) fn at_row(&self, row: Row) -> Option<u32> {
        self.by_row.get(index(row)).copied().flatten()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(index(slot))?.entry.as_deref()
    }

    /// For what changes neither key, stamp nor content.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(index(slot))?.entry.as_deref_mut()
    }

    /// The newest renewal of what stands in a slot.
    pub(super) fn renewal(&self, slot: u32) -> Option<Renewal> {
        self.get(slot).and(self.renewals.get(index(slot)).copied())
    }

    /// The same of what is registered only.
    pub(super) fn renewal_of_living(&self, slot: u32) -> Option<Renewal> {
        self.renewals.get(index(slot)).filter(|_| self.living.has(slot)).copied()
    }

    /// When its client last told this member that an instance lives, when nobody knows of a newer renewal.
    pub(super) fn told_here(&self, slot: u32) -> Option<Moment> {
        let renewal = self.renewal_of_living(slot).filter(|_| self.told_here.has(slot))?;
        Some(renewal.last)
    }

    /// A newer renewal is known of: its client told this member of it, or another one did.
    pub(super) fn renew(&mut self, slot: u32, renewal: Renewal, is_told_here: bool) {
        if let Some(before) = self.renewals.get_mut(index(slot)) {
            *before = renewal;
            self.told_here.put(slot, is_told_here);
        }
    }

    /// Tells one tenant of a slot from the next.
    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots.get(index(slot)).map_or(0, |slot| slot.generation)
    }

    /// An upper bound of all slots.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The slots of all that is registered, in order, with the newest renewals.
    pub(super) fn living(&self) -> impl Iterator<Item = (u32, Renewal)> {
        self.living.iter().filter_map(|slot| Some((slot, *self.renewals.get(index(slot))?)))
    }

    pub(super) fn insert(&mut self, entry: Entry, renewal: Renewal) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.renewals.push(Renewal::default());
            self.end() - 1
        });
        let hash = self.hasher.hash_one(&entry.key);
        self.slots[index(slot)].entry = Some(Box::new(entry));
        self.renew(slot, renewal, false);
        let Self { slots, hasher, by_key, .. } = self;
        let hash_of =
            |slot: &u32| slots[index(*slot)].entry.as_deref().map_or(0, |it| hasher.hash_one(&it.key));
        by_key.insert_unique(hash, slot, hash_of);
        self.count_in(slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Entry>> {
        self.count_out(slot);
        self.unplace(slot);
        let hash = self.hasher.hash_one(&self.get(slot)?.key);
        if let Ok(found) = self.by_key.find_entry(hash, |it| *it == slot) {
            found.remove();
        }
        let it = &mut self.slots[index(slot)];
        it.generation = it.generation.wrapping_add(1);
        self.free.push(slot);
        it.entry.take()
    }

    /// Something newer was written.
    pub(super) fn supersede(
        &mut self,
        slot: u32,
        (stamp, stream, seq): (Stamp, StreamId, u64),
        content: Content,
        now: Moment,
    ) {
        self.count_out(slot);
        if let Some(entry) = self.get_mut(slot) {
            (entry.stamp, entry.stream, entry.seq) = (stamp, stream, seq);
            (entry.content, entry.since) = (content, now);
        }
        self.count_in(slot);
        if self.get(slot).is_some_and(|entry| !entry.is_alive()) {
            self.unplace(slot);
        }
    }

    /// Its lease is in this row.
    pub(super) fn place(&mut self, slot: u32, row: Row) {
        self.unplace(slot);
        let at = index(row);
        if self.by_row.len() <= at {
            self.by_row.resize(at + 1, None);
        }
        if let Some(before) = self.by_row[at].replace(slot)
            && let Some(entry) = self.get_mut(before)
        {
            entry.row = None;
        }
        if let Some(entry) = self.get_mut(slot) {
            entry.row = Some(row);
        }
    }

    fn unplace(&mut self, slot: u32) {
        if let Some(row) = self.get_mut(slot).and_then(|entry| entry.row.take())
            && let Some(place) = self.by_row.get_mut(index(row))
        {
            *place = None;
        }
    }

    /// The sum over all that is registered.
    pub(super) fn digest(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(bucket.sum))
    }

    /// The same for each bucket.
    pub(super) fn sums(&self) -> Box<[u64; BUCKETS]> {
        let mut sums = Box::new([0; BUCKETS]);
        sums.iter_mut().zip(&self.buckets).for_each(|(sum, bucket)| *sum = bucket.sum);
        sums
    }

    /// What is registered of a bucket, in no order.
    pub(super) fn bucket(&self, bucket: u8) -> &[u32] {
        self.buckets.get(usize::from(bucket)).map_or(&[], |bucket| &bucket.slots)
    }

    fn count_in(&mut self, slot: u32) {
        let entry = self.slots[index(slot)].entry.as_deref_mut();
        let Some(entry) = entry.filter(|it| it.is_alive()) else { return };
        self.living.set(slot);
        let bucket = &mut self.buckets[bucket_of(entry.hash)];
        bucket.sum = bucket.sum.wrapping_add(entry.version());
        entry.place = bucket.slots.len();
        bucket.slots.push(slot);
    }

    fn count_out(&mut self, slot: u32) {
        let Some(entry) = self.get(slot).filter(|it| it.is_alive()) else { return };
        let (version, place, bucket) = (entry.version(), entry.place, bucket_of(entry.hash));
        self.living.clear(slot);
        let bucket = &mut self.buckets[bucket];
        bucket.sum = bucket.sum.wrapping_sub(version);
        bucket.slots.swap_remove(place);
        if let Some(moved) = bucket.slots.get(place).copied()
            && let Some(moved) = self.get_mut(moved)
        {
            moved.place = place;
        }
    }
}

/// The bucket of a key's number.
fn bucket_of(hash: u64) -> usize {
    usize::try_from(hash >> 56).unwrap_or_default()
}

pub(super) fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

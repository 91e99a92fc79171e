//! All instances of one namespace, with one revision that rises with every visible change.
//!
//! Readers take the newest snapshot and go on reading it whatever changes; one writer at a time makes the
//! next. A renewal touches a slot and nothing else.
//! Never: decides who may write, waits for anybody, or holds a lock while encoding, compressing or sending.

mod changes;
mod chunk;
mod gzip;
mod index;
mod listing;
mod select;
mod slots;
mod tree;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::model::{Clock, Instance, Moment};
use crate::wire::encoded::{Encoded, quoted};
use changes::ChangeLog;
use chunk::{Chunk, Edit};
use index::{Entry, Index};
use select::Criteria;
use tree::Tree;

pub use changes::{Cause, Change, Delta, LogLimits, Op, Revision, Tag};
pub use gzip::gzip;
pub use listing::{Encoding, Frames, Listing};
pub use select::{Fields, Selector, Shown};
pub use slots::{Due, Slot, Slots};

/// All instances of one namespace.
#[derive(Debug)]
pub struct Directory {
    epoch: u64,
    /// Marks the slots of this directory among those of the process.
    number: u32,
    clock: Arc<Clock>,
    slots: Arc<Slots>,
    index: Index,
    snapshot: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
}

/// Everything at one revision.
#[derive(Debug, Default)]
struct Snapshot {
    revision: Revision,
    instances: usize,
    tree: Tree,
}

#[derive(Debug)]
struct Writer {
    log: ChangeLog,
    /// Dropped by its store; nothing may be written any more.
    is_closed: bool,
}

/// Why an instance was not placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The directory holds as many instances as it may.
    Full,
    /// The directory was dropped meanwhile; its namespace has another one, or none.
    Closed,
}

/// What became of an instance that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Its id was not there.
    New,
    /// Another one with its id was, and is replaced.
    Replaced,
    /// The very same was there; only its lease began anew.
    Renewed,
}

// === impl Directory ===

impl Directory {
    /// An empty directory whose slots are marked with `number`.
    #[must_use]
    pub fn new(number: u32, slots: Arc<Slots>, clock: Arc<Clock>, limits: LogLimits) -> Self {
        Self {
            epoch: random(),
            number,
            clock,
            slots,
            index: Index::default(),
            snapshot: ArcSwap::default(),
            writer: Mutex::new(Writer { log: ChangeLog::new(limits), is_closed: false }),
        }
    }

    /// An empty directory for the readers of namespaces that do not exist.
    #[must_use]
    pub fn vacant(clock: Arc<Clock>) -> Self {
        Self::new(0, Arc::default(), clock, LogLimits::default())
    }

    // --- reading ---

    /// Where the directory stands. Taken before reading, it is at most older than what is read.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag { epoch: self.epoch, revision: self.snapshot.load().revision }
    }

    /// Number of instances, those included whose lease has run out and not been noticed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot.load().instances
    }

    /// Whether there is no instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The living instance with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Instance>> {
        let now = self.clock.now();
        self.living(id, now).map(|entry| entry.instance)
    }

    /// The living instance with this id as one JSON object, `last_heartbeat` exact.
    #[must_use]
    pub fn get_json(&self, id: &str) -> Option<Bytes> {
        let entry = self.living(id, self.clock.now())?;
        let renewed = self.slots.renewed(entry.slot)?;
        Some(Encoded::of(&entry.instance, self.clock.time_of_day(renewed)).json.into())
    }

    /// The instances that fit, in order of service and id.
    #[must_use]
    pub fn select(&self, selector: &Selector) -> Listing {
        let snapshot = self.snapshot.load_full();
        let criteria = Criteria::of(selector);
        let mut listing = Listing::new(self.slots.clone(), self.clock.clone(), selector.fields);
        match (&selector.id, &selector.service) {
            (Some(id), service) => {
                let found =
                    self.get(id).filter(|it| service.as_ref().is_none_or(|s| **s == *it.service.as_str()));
                if let Some(instance) = found {
                    let (service, id) = (quoted(instance.service.as_str()), quoted(id));
                    snapshot.tree.for_service(&service, &mut |chunk| {
                        let rows = chunk.rows_of(&service);
                        let with_id = rows.clone().find(|at| chunk.key(&chunk.rows()[*at]).id == id);
                        add_fitting(&mut listing, &criteria, chunk, with_id.map_or(0..0, |at| at..at + 1));
                    });
                }
            }
            (None, Some(service)) => {
                let service = quoted(service);
                snapshot.tree.for_service(&service, &mut |chunk| {
                    add_fitting(&mut listing, &criteria, chunk, chunk.rows_of(&service));
                });
            }
            (None, None) if criteria.is_default() => {
                snapshot.tree.for_each(&mut |chunk| {
                    let chunk = chunk.listed();
                    listing.add(chunk, 0..chunk.rows().len());
                });
            }
            (None, None) => {
                snapshot.tree.for_each(&mut |chunk| {
                    add_fitting(&mut listing, &criteria, chunk, 0..chunk.rows().len());
                });
            }
        }
        listing
    }

    /// The names of all services that have an instance, as a JSON array.
    #[must_use]
    pub fn service_names(&self) -> Bytes {
        let snapshot = self.snapshot.load_full();
        let mut names = vec![b'['];
        let mut last: &[u8] = &[];
        snapshot.tree.for_each(&mut |chunk| {
            let new = match chunk.first_service() == last {
                // The chunk goes on with the service that the one before ended with.
                true => chunk.names().get(last.len() + 1..).unwrap_or_default(),
                false => chunk.names(),
            };
            if 1 < names.len() && !new.is_empty() {
                names.push(b',');
            }
            names.extend_from_slice(new);
            last = chunk.last_service();
        });
        names.push(b']');
        names.into()
    }

    /// The changes since a revision, oldest first.
    #[must_use]
    pub fn since(&self, revision: Revision) -> Delta {
        self.writer.lock().log.since(revision)
    }

    // --- writing: for the store that owns the leases ---

    /// Adds an instance, or puts it in the place of the one with its id, and begins its lease. At most
    /// `capacity` instances are held; replacing is always allowed.
    ///
    /// # Errors
    /// When the directory is full or was closed.
    pub fn place(
        &self,
        instance: &Arc<Instance>,
        capacity: Option<usize>,
        cause: Cause,
    ) -> Result<Placed, Refusal> {
        let now = self.clock.now();
        let renewed = self.index.with(instance.id.as_str(), |entry| {
            entry.instance.same_content(instance) && self.slots.renew(entry.slot, now, instance.ttl)
        });
        if renewed == Some(true) {
            return Ok(Placed::Renewed);
        }
        let encoded = Encoded::of(instance, self.clock.time_of_day(now));

        let mut writer = self.writer.lock();
        let before = self.index.with(instance.id.as_str(), Entry::clone);
        match (&before, capacity) {
            _ if writer.is_closed => return Err(Refusal::Closed),
            (None, Some(capacity)) if capacity <= self.len() => return Err(Refusal::Full),
            _ => {}
        }
        let new_slot = || self.slots.take(self.number, self.index.hash(instance.id.as_str()), now);
        let slot = before.as_ref().map_or_else(new_slot, |before| before.slot);
        self.put(slot, instance, now);
        let mut edits = vec![Edit::Put(slot, encoded)];
        if let Some(before) = &before
            && before.instance.service != instance.service
        {
            edits.push(Edit::removal(&before.instance));
        }
        self.publish(&mut writer, edits, now, cause, vec![(Op::Put, instance.clone())]);
        Ok(if before.is_some() { Placed::Replaced } else { Placed::New })
    }

    /// Begins a lease anew; false when no living instance has this id.
    pub fn renew(&self, id: &str, now: Moment) -> bool {
        self.index.with(id, |entry| self.slots.renew(entry.slot, now, entry.instance.ttl)).unwrap_or(false)
    }

    /// Puts what `change` makes of the living instance with this id in its place, and begins its lease
    /// anew. The id and the service must stay.
    pub fn update(
        &self,
        id: &str,
        cause: Cause,
        change: impl Fn(&Instance) -> Instance,
    ) -> Option<Arc<Instance>> {
        loop {
            let now = self.clock.now();
            let before = self.living(id, now)?;
            let instance = Arc::new(change(&before.instance));
            if instance.same_content(&before.instance) {
                if self.renew(id, now) {
                    return Some(before.instance);
                }
                continue; // It went, or changed, just now: look again.
            }
            let encoded = Encoded::of(&instance, self.clock.time_of_day(now));
            let mut writer = self.writer.lock();
            let is_same = |entry: &Entry| Arc::ptr_eq(&entry.instance, &before.instance);
            if self.index.with(id, is_same) == Some(true) {
                self.put(before.slot, &instance, now);
                let edits = vec![Edit::Put(before.slot, encoded)];
                self.publish(&mut writer, edits, now, cause, vec![(Op::Put, instance.clone())]);
                return Some(instance);
            }
        }
    }

    /// Removes the living instance with this id.
    pub fn remove(&self, id: &str, cause: Cause) -> Option<Arc<Instance>> {
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        let gone = self.index.remove(id, |entry| !self.slots.is_due(entry.slot, now))?;
        let instance = gone.instance.clone();
        self.publish_removals(&mut writer, vec![gone], now, cause);
        Some(instance)
    }

    /// Removes those of these instances whose lease has run out by now; answers with what is gone.
    pub fn expire(&self, due: &[Due], now: Moment) -> Vec<Arc<Instance>> {
        let mut writer = self.writer.lock();
        let is_due = |entry: &Entry| self.slots.is_due(entry.slot, now);
        let gone: Vec<_> =
            due.iter().filter_map(|due| self.index.remove_row(due.hash, due.row, is_due)).collect();
        let instances = gone.iter().map(|entry| entry.instance.clone()).collect();
        self.publish_removals(&mut writer, gone, now, Cause::Expiry);
        instances
    }

    /// Forgets changes that are too old; tells when the next one will be.
    pub fn compact(&self, now: Moment) -> Option<Moment> {
        self.writer.lock().log.compact(now)
    }

    /// Closes the directory for good when it holds nothing: no instance and no change.
    pub fn close_when_empty(&self, now: Moment) -> bool {
        let mut writer = self.writer.lock();
        writer.is_closed = self.is_empty() && writer.log.compact(now).is_none();
        writer.is_closed
    }

    fn living(&self, id: &str, now: Moment) -> Option<Entry> {
        self.index.with(id, Entry::clone).filter(|entry| !self.slots.is_due(entry.slot, now))
    }

    fn put(&self, slot: Slot, instance: &Arc<Instance>, now: Moment) {
        let ttl = instance.status.expires().then_some(instance.ttl);
        self.index.put(slot, instance.clone(), || self.slots.lease(slot, now, ttl));
    }

    fn publish_removals(&self, writer: &mut Writer, gone: Vec<Entry>, now: Moment, cause: Cause) {
        if gone.is_empty() {
            return;
        }
        let edits = gone.iter().map(|entry| Edit::removal(&entry.instance)).collect();
        let changes = gone.iter().map(|entry| (Op::Remove, entry.instance.clone())).collect();
        self.publish(writer, edits, now, cause, changes);
        for entry in gone {
            self.slots.give_back(entry.slot);
        }
    }

    fn publish(
        &self,
        writer: &mut Writer,
        mut edits: Vec<Edit>,
        now: Moment,
        cause: Cause,
        changes: Vec<(Op, Arc<Instance>)>,
    ) {
        edits.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        for (op, instance) in changes {
            writer.log.push(now, op, cause, instance);
        }
        let tree = self.snapshot.load().tree.edited(&edits);
        let snapshot = Snapshot { revision: writer.log.newest(), instances: self.index.len(), tree };
        self.snapshot.store(Arc::new(snapshot));
    }
}

/// Adds the rows that fit, run by run.
fn add_fitting(listing: &mut Listing, criteria: &Criteria, chunk: &Arc<Chunk>, rows: std::ops::Range<usize>) {
    if criteria.is_everything() {
        return listing.add(chunk, rows);
    }
    if criteria.excludes(chunk) {
        return;
    }
    let mut begin = rows.start;
    for at in rows.clone() {
        if !criteria.fits(chunk, &chunk.rows()[at]) {
            listing.add(chunk, begin..at);
            begin = at + 1;
        }
    }
    listing.add(chunk, begin..rows.end);
}

/// A number that no other directory has, here or in another process. The standard library's keys come from
/// the system and cost nothing; a generator for secrets would take tens of milliseconds to start.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

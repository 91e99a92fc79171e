//! All instances of one namespace, with one revision that rises with every visible change.
//!
//! Readers take the newest snapshot and go on reading it whatever changes; one writer at a time makes the
//! next. A renewal touches a slot and nothing else.
//! Never: decides who may write, waits for anybody, or holds a lock while encoding, compressing or sending.

mod applications;
mod changes;
mod chunk;
mod deferring;
mod delta;
mod gzip;
mod history;
mod index;
mod listing;
mod mirroring;
mod overlay;
mod preservation;
mod rendition;
mod replicating;
mod roster;
mod select;
mod sheet;
mod slots;
mod tree;
mod writing;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::model::{CatalogName, Clock, Instance, InstanceId, Status, Timestamp};
use crate::wire::encoded::{Encoded, quoted};
use changes::ChangeLog;
use chunk::Chunk;
use deferring::Unshown;
use delta::DeltaCache;
use history::Events;
use index::{Entry, Index};
use mirroring::Following;
use overlay::Layers;
use preservation::Pulse;
use select::Criteria;
use tree::Tree;

pub use applications::{Applications, Pages, Wanted};
pub use changes::{Cause, Change, Delta, LogLimits, Op, Revision, Tag};
pub use deferring::Show;
pub use gzip::gzip;
pub use history::History;
pub use listing::{Encoding, Frames, Listing};
pub use mirroring::{Applied, News, Tags};
pub use overlay::Overlay;
pub use preservation::{LeaseRules, Preservation};
pub use replicating::Replica;
pub use select::{Fields, Selector, Shown};
pub use slots::{Due, Slot, Slots};

/// All instances of one namespace.
#[derive(Debug)]
pub struct Directory {
    /// Marks the slots of this directory among those of the process.
    number: u32,
    clock: Arc<Clock>,
    slots: Arc<Slots>,
    index: Index,
    snapshot: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
    rules: LeaseRules,
    pulse: Pulse,
    deltas: DeltaCache,
}

/// A living instance and when its lease was last renewed.
#[derive(Debug, Clone)]
pub struct Held {
    /// The instance.
    pub instance: Arc<Instance>,
    /// When its lease was last renewed.
    pub renewed: Timestamp,
}

/// Everything at one revision.
#[derive(Debug, Default)]
struct Snapshot {
    /// Random for each directory, but for one that mirrors another.
    epoch: u64,
    revision: Revision,
    instances: usize,
    /// Those of them that catalogs have.
    foreign: usize,
    /// Instances in each status, in the order of [`Status::ALL`].
    counts: [usize; Status::ALL.len()],
    tree: Tree,
}

#[derive(Debug)]
struct Writer {
    log: ChangeLog,
    events: Events,
    /// What catalogs have, shown or hidden by something of higher precedence; none as long as they have nothing.
    layers: Option<Box<Layers>>,
    /// Where it stands when it follows another directory.
    following: Option<Following>,
    /// What is in the index and not in the snapshot yet.
    unshown: Vec<Unshown>,
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
    pub fn new(
        number: u32,
        slots: Arc<Slots>,
        clock: Arc<Clock>,
        limits: LogLimits,
        rules: LeaseRules,
    ) -> Self {
        Self {
            number,
            clock,
            slots,
            index: Index::default(),
            snapshot: ArcSwap::from_pointee(Snapshot { epoch: random(), ..Snapshot::default() }),
            writer: Mutex::new(Writer {
                log: ChangeLog::new(limits),
                events: Events::default(),
                layers: None,
                following: None,
                unshown: Vec::new(),
                is_closed: false,
            }),
            rules,
            pulse: Pulse::default(),
            deltas: DeltaCache::default(),
        }
    }

    /// An empty directory for the readers of namespaces that do not exist.
    #[must_use]
    pub fn vacant(clock: Arc<Clock>) -> Self {
        Self::new(0, Arc::default(), clock, LogLimits::default(), LeaseRules::default())
    }

    // --- reading ---

    /// Where the directory stands. Taken before reading, it is at most older than what is read.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let snapshot = self.snapshot.load();
        Tag { epoch: snapshot.epoch, revision: snapshot.revision }
    }

    /// Number of instances, those included whose lease has run out and not been noticed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot.load().instances
    }

    /// Number of the store's own instances, without those that catalogs have.
    #[must_use]
    pub fn own_len(&self) -> usize {
        let snapshot = self.snapshot.load();
        snapshot.instances - snapshot.foreign
    }

    /// The catalog whose instance readers see under this id; none for the store's own, or when there is no such instance.
    #[must_use]
    pub fn catalog_of(&self, id: &str) -> Option<CatalogName> {
        self.index.with(id, |entry| entry.instance.foreign.map(|foreign| foreign.catalog)).flatten()
    }

    /// The store's own living instance with this id.
    #[must_use]
    pub fn get_own(&self, id: &str) -> Option<Arc<Instance>> {
        let now = self.clock.now();
        self.living(id, now).filter(Entry::is_own).map(|entry| entry.instance)
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
        let Held { instance, renewed } = self.held(entry)?;
        Some(Encoded::of(&instance, renewed).json.into())
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

    /// The id of the living instance that Eureka's readers know as `id` in this application, its name in
    /// any letter case.
    #[must_use]
    pub fn resolve(&self, application: &str, id: &str) -> Option<InstanceId> {
        self.find_instance(application, id).map(|instance| instance.id.clone())
    }

    /// The living instance that Eureka's readers know as `id` in this application, its name in any
    /// letter case.
    #[must_use]
    pub fn find(&self, application: &str, id: &str) -> Option<Held> {
        self.held(self.entry_of(application, id)?)
    }

    /// The same without when its lease was last renewed.
    #[must_use]
    pub fn find_instance(&self, application: &str, id: &str) -> Option<Arc<Instance>> {
        self.entry_of(application, id).map(|entry| entry.instance)
    }

    fn entry_of(&self, application: &str, id: &str) -> Option<Entry> {
        let now = self.clock.now();
        let is_it = |entry: &Entry| entry.is_known_as(application, id);
        let joined = InstanceId::of_application(application, id);
        let found = self.living(joined.as_str(), now).filter(is_it);
        found.or_else(|| self.living(id, now).filter(is_it))
    }

    /// The living instance that Eureka's readers know as `id`, in whichever application; the first by the
    /// applications' names when there are several. Costs a look-up for each application.
    #[must_use]
    pub fn find_anywhere(&self, id: &str) -> Option<Held> {
        let now = self.clock.now();
        let snapshot = self.snapshot.load_full();
        let mut found = None;
        let mut last: Option<Arc<Instance>> = None;
        snapshot.tree.for_each(&mut |chunk| {
            let is_new = |last: &Option<Arc<Instance>>, next: &Arc<Instance>| {
                last.as_ref().is_none_or(|last| !rendition::is_one_application(last, next))
            };
            if found.is_some() || chunk.roster.last().is_none_or(|end| !is_new(&last, end)) {
                return; // The chunk goes on with the application that the one before ended with.
            }
            for instance in chunk.roster.iter() {
                if found.is_none() && is_new(&last, instance) {
                    found = self.find(instance.service.as_str(), id);
                    last = Some(instance.clone());
                }
            }
        });
        found.or_else(|| {
            let entry = self.living(id, now).filter(|entry| entry.instance.document.is_none())?;
            self.held(entry)
        })
    }

    /// All instances at one revision, in order of service and id. For pages that people look at: costs a look at each.
    pub fn for_each(&self, visit: &mut dyn FnMut(&Arc<Instance>, Timestamp)) {
        let snapshot = self.snapshot.load_full();
        snapshot.tree.for_each(&mut |chunk| {
            for (row, instance) in chunk.rows().iter().zip(chunk.roster.iter()) {
                let renewed = match instance.foreign {
                    Some(foreign) => foreign.renewed.unwrap_or_default(),
                    None => self.clock.time_of_day(self.slots.renewed(row.slot).unwrap_or_default()),
                };
                visit(instance, renewed);
            }
        });
    }

    /// Number of instances in each status, in the order of [`Status::ALL`].
    #[must_use]
    pub fn counts(&self) -> [usize; Status::ALL.len()] {
        self.snapshot.load().counts
    }

    /// Who came and who went lately.
    #[must_use]
    pub fn history(&self) -> History {
        self.writer.lock().events.history()
    }

    /// How expiry stands in this namespace.
    #[must_use]
    pub fn preservation(&self) -> Preservation {
        self.pulse.preservation(self.rules)
    }

    fn held(&self, Entry { instance, slot, .. }: Entry) -> Option<Held> {
        let renewed = match instance.foreign {
            Some(foreign) => foreign.renewed.unwrap_or_default(),
            None => self.clock.time_of_day(self.slots.renewed(slot)?),
        };
        Some(Held { instance, renewed })
    }

    /// The changes since a revision, oldest first.
    #[must_use]
    pub fn since(&self, revision: Revision) -> Delta {
        self.writer.lock().log.since(revision)
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

//! What changed lately, for Eureka's readers: each instance once, in its latest state (spec eureka section 1.4).
//!
//! Kept encoded from one reader to the next: a change is encoded once for each format that is asked for.
//! Never: a change that is not in the log any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::applications::{Applications, Assembly, version_of};
use super::rendition::{Press, write_time};
use super::slots::Slot;
use super::{Change, Delta, Directory, Op, Revision, Snapshot};
use crate::model::{Instance, Moment};
use crate::wire::eureka::{Format, hash_code};

/// Deltas, kept between readers, one for each format.
#[derive(Debug, Default)]
pub(super) struct DeltaCache([Mutex<Kept>; Format::COUNT]);

/// The changes up to a revision.
#[derive(Debug, Default)]
struct Kept {
    revision: Revision,
    /// By application in any letter case, then by id.
    entries: BTreeMap<(Box<str>, Box<str>), Entry>,
    /// The document of these changes, and when it was made.
    document: Option<(Window, Moment, Applications)>,
}

/// Which changes a delta shows: those after one revision, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    after: Revision,
    upto: Revision,
}

/// An instance that changed, encoded.
#[derive(Debug)]
struct Entry {
    revision: Revision,
    instance: Arc<Instance>,
    text: Box<[u8]>,
    /// Where its lease is, and where the time of its renewal stands.
    renewal: Option<(Slot, usize)>,
}

// === impl DeltaCache ===

impl DeltaCache {
    /// Frees what is kept.
    pub(super) fn forget(&self) {
        self.0.iter().for_each(|kept| *kept.lock() = Kept::default());
    }
}

// === impl Directory ===

impl Directory {
    /// What changed as long as the log remembers.
    ///
    /// # Errors
    /// When it had to forget changes before their time; then all there is, which must do instead.
    pub(super) fn delta(&self, press: &Press) -> Result<Applications, Arc<Snapshot>> {
        let now = self.clock.now();
        let mut kept = self.deltas.0[press.format.position()].lock();
        let (snapshot, window, changes) = {
            let writer = self.writer.lock();
            let snapshot = self.snapshot.load_full();
            let Some(after) = writer.log.whole_since(now) else { return Err(snapshot) };
            let window = Window { after, upto: snapshot.revision };
            if let Some(document) = kept.document(window, press.format, now) {
                return Ok(document);
            }
            let Delta::Changes(changes) = writer.log.since(kept.revision.max(after)) else {
                return Err(snapshot);
            };
            (snapshot, window, changes)
        };
        kept.apply(changes, window, press);
        let mut assembly = Assembly::new(press.clone(), true);
        for entry in kept.entries.values_mut() {
            if let Some((slot, at)) = entry.renewal
                && let Some(renewed) = self.slots.renewed(slot)
            {
                write_time(&mut entry.text, at, self.clock.time_of_day(renewed));
            }
            assembly.push(&entry.instance, &entry.text);
        }
        let list = assembly.into_list(version_of(window.upto, window.after), hash_code(&snapshot.counts));
        let document = list.kept();
        kept.document = Some((window, now, document.clone()));
        Ok(document)
    }
}

// === impl Kept ===

impl Kept {
    fn document(&self, window: Window, format: Format, now: Moment) -> Option<Applications> {
        let (made_for, made, document) = self.document.as_ref()?;
        let is_new = !format.shows_renewal() || now.since(*made) <= super::rendition::KEEP;
        (*made_for == window && is_new).then(|| document.clone())
    }

    fn apply(&mut self, changes: Vec<Change>, window: Window, press: &Press) {
        let mut latest: BTreeMap<_, Change> = BTreeMap::new();
        for change in changes {
            let key = (change.instance.service.as_str().to_ascii_uppercase(), change.instance.id.clone());
            latest.insert(key, change);
        }
        for ((application, id), change) in latest {
            self.entries.insert((application.into(), id.as_str().into()), Entry::of(change, press));
        }
        self.entries.retain(|_, entry| window.after < entry.revision);
        self.revision = window.upto;
        self.document = None;
    }
}

// === impl Entry ===

impl Entry {
    fn of(change: Change, press: &Press) -> Self {
        let Change { revision, op, at, instance, slot, cause: _ } = change;
        let mut text = Vec::with_capacity(1024);
        let time = press.clock.time_of_day(at);
        let renewed = press.slots.renewed(slot).map_or(time, |renewed| press.clock.time_of_day(renewed));
        let renewal = match op {
            Op::Put => press.format.push_instance(&mut text, &instance, renewed, None).map(|at| (slot, at)),
            Op::Remove => {
                press.format.push_instance(&mut text, &instance, time, Some(time));
                None
            }
        };
        Self { revision, instance, text: text.into(), renewal }
    }
}

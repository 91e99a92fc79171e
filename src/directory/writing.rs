//! Writing to a directory: for the store that owns the leases.
//!
//! One writer at a time; what it publishes is a whole new snapshot, so readers never wait and never see a half.
//! Never: decides who may write.

use std::sync::Arc;

use super::chunk::Edit;
use super::index::Entry;
use super::slots::{Due, Slot};
use super::{Cause, Change, Directory, Op, Placed, Refusal, Snapshot, Writer};
use crate::model::{Action, Instance, InstanceId, Invalid, Moment, Origin, Status};
use crate::wire::encoded::Encoded;

/// One visible change, for the log and the counts.
pub(super) struct Changed {
    pub(super) op: Op,
    pub(super) before: Option<Arc<Instance>>,
    /// The instance as it is now, or as it was when it went.
    pub(super) instance: Arc<Instance>,
    pub(super) slot: Slot,
    pub(super) cause: Cause,
}

/// Numbers of instances, kept up with changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) counts: [usize; Status::ALL.len()],
    pub(super) foreign: usize,
}

// === impl Changed ===

impl Changed {
    fn own_before(&self) -> Option<&Instance> {
        self.before.as_deref().filter(|before| before.foreign.is_none())
    }

    fn own_after(&self) -> Option<&Instance> {
        Some(&*self.instance).filter(|after| self.op == Op::Put && after.foreign.is_none())
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&mut self, change: &Changed) {
        if let Some(before) = &change.before {
            self.counts[before.status.position()] -= 1;
            self.foreign -= usize::from(before.foreign.is_some());
        }
        if change.op == Op::Put {
            self.counts[change.instance.status.position()] += 1;
            self.foreign += usize::from(change.instance.foreign.is_some());
        }
    }
}

impl Directory {
    /// Adds an instance, or puts what succeeds the one with its id in its place, and begins its lease. At
    /// most `capacity` instances are held, not counting those of catalogs; replacing is always allowed. An
    /// instance that a catalog has under its id is hidden by it.
    ///
    /// # Errors
    /// When the directory is full or was closed.
    pub fn place(
        &self,
        asked: &Instance,
        capacity: Option<usize>,
        origin: Origin,
    ) -> Result<(Placed, Arc<Instance>), Refusal> {
        let id = asked.id.as_str();
        loop {
            let now = self.clock.now();
            let time = self.clock.time_of_day(now);
            let before = self.index.with(id, Entry::clone);
            let own = before.as_ref().filter(|before| before.is_own());
            let living = own.filter(|own| !self.is_gone(own.slot, now));
            let succeeding = asked.clone().succeeding(living.map(|it| &*it.instance), origin, time);
            if let Some(Entry { slot, instance, .. }) = living
                && succeeding.as_ref().is_none_or(|it| it.document.is_none() && it.same_content(instance))
            {
                if self.renew_slot(*slot, now, instance) {
                    return Ok((Placed::Renewed, instance.clone()));
                }
                continue; // It went just now.
            }
            let Some(instance) = succeeding.map(Arc::new) else { continue };
            let encoded = Encoded::of(&instance, time);

            let mut writer = self.writing();
            let stands = match &before {
                None => self.index.with(id, |_| ()).is_none(),
                Some(before) => {
                    self.index.with(id, |it| Arc::ptr_eq(&it.instance, &before.instance)) == Some(true)
                }
            };
            match (own, capacity) {
                _ if writer.is_closed => return Err(Refusal::Closed),
                _ if !stands => continue,
                (None, Some(capacity)) if capacity <= self.own_len() => return Err(Refusal::Full),
                _ => {}
            }
            let new_slot = || self.slots.take(self.number, self.index.hash(id), now);
            let slot = own.map_or_else(new_slot, |own| own.slot);
            let placed = if own.is_some() { Placed::Replaced } else { Placed::New };
            self.put(slot, &instance, now);
            let mut edits = vec![Edit::Put(slot, encoded, instance.clone())];
            if let Some(before) = &before
                && before.instance.service != instance.service
            {
                edits.push(Edit::removal(&before.instance));
            }
            let before = before.map(|it| it.instance);
            let cause = origin.into();
            let change = Changed { op: Op::Put, before, instance: instance.clone(), slot, cause };
            self.publish(&mut writer, edits, now, vec![change]);
            return Ok((placed, instance));
        }
    }

    /// Begins a lease anew; false when no living instance has this id.
    pub fn renew(&self, id: &str, now: Moment) -> bool {
        self.index.with(id, |entry| self.renew_slot(entry.slot, now, &entry.instance)).unwrap_or(false)
    }

    /// Begins the lease anew of the living instance that Eureka's readers know as `id` in this application, if
    /// `judge` says so when it sees it; false when there is no such instance. One look-up does both.
    pub fn renew_if(
        &self,
        (application, id): (&str, &str),
        now: Moment,
        judge: &mut dyn FnMut(&Arc<Instance>) -> bool,
    ) -> bool {
        let mut renewed = |key: &str, is_it: fn(&Entry, &str, &str) -> bool| {
            let look = |entry: &Entry| {
                // On a Netflix server one whose lease ran out can be renewed until it is removed.
                let is_there = self.rules.strict_eureka || !self.is_gone(entry.slot, now);
                is_there
                    && entry.is_own()
                    && is_it(entry, application, id)
                    && (!judge(&entry.instance) || self.renew_slot(entry.slot, now, &entry.instance))
            };
            self.index.with(key, look) == Some(true)
        };
        let is_found = |key: &str| renewed(key, Entry::is_known_as_found);
        InstanceId::with_text_of_application(application, id, is_found) || renewed(id, Entry::is_known_as)
    }

    /// Puts what `change` makes of the living instance with this id in its place, and begins its lease
    /// anew. The id and the service must stay. None when there is no such instance.
    ///
    /// # Errors
    /// What `change` fails with.
    pub fn update(
        &self,
        id: &str,
        origin: Origin,
        change: impl Fn(&Instance) -> Result<Instance, Invalid>,
    ) -> Result<Option<Arc<Instance>>, Invalid> {
        loop {
            let now = self.clock.now();
            let Some(before) = self.living(id, now).filter(Entry::is_own) else { return Ok(None) };
            let instance = Arc::new(change(&before.instance)?);
            if instance.same_content(&before.instance) {
                if self.renew_slot(before.slot, now, &before.instance) {
                    return Ok(Some(before.instance));
                }
                continue; // It went, or changed, just now: look again.
            }
            let encoded = Encoded::of(&instance, self.clock.time_of_day(now));
            let mut writer = self.writing();
            let is_same = |entry: &Entry| Arc::ptr_eq(&entry.instance, &before.instance);
            if self.index.with(id, is_same) == Some(true) {
                self.put(before.slot, &instance, now);
                let edits = vec![Edit::Put(before.slot, encoded, instance.clone())];
                let (slot, before) = (before.slot, Some(before.instance));
                let cause = origin.into();
                let change = Changed { op: Op::Put, before, instance: instance.clone(), slot, cause };
                self.publish(&mut writer, edits, now, vec![change]);
                return Ok(Some(instance));
            }
        }
    }

    /// Removes the living instance with this id.
    pub fn remove(&self, id: &str, origin: Origin) -> Option<Arc<Instance>> {
        let now = self.clock.now();
        let mut writer = self.writing();
        let ended_late = self.rules.strict_eureka || self.is_preserving();
        let gone = self
            .index
            .remove(id, |entry| entry.is_own() && (ended_late || !self.slots.is_due(entry.slot, now)))?;
        let instance = gone.instance.clone();
        self.publish_removals(&mut writer, vec![gone], now, origin.into());
        Some(instance)
    }

    /// Removes those of these instances whose lease has run out by now, unless the namespace keeps them;
    /// answers with what is gone.
    pub fn expire(&self, due: &[Due], now: Moment) -> Vec<Arc<Instance>> {
        let mut writer = self.writing();
        if self.is_preserving() {
            return Vec::new();
        }
        let is_due = |entry: &Entry| self.slots.is_due(entry.slot, now);
        let gone: Vec<_> = self
            .evicted(due)
            .iter()
            .filter_map(|due| self.index.remove_row(due.hash, due.row, is_due))
            .collect();
        let instances = gone.iter().map(|entry| entry.instance.clone()).collect();
        self.publish_removals(&mut writer, gone, now, Cause::Expiry);
        instances
    }

    /// Forgets changes that are too old; tells when the next one will be.
    pub fn compact(&self, now: Moment) -> Option<Moment> {
        let next = self.writing().log.compact(now);
        if next.is_none() {
            self.deltas.forget();
        }
        next
    }

    /// Closes the directory for good when it holds nothing: no instance and no change.
    pub fn close_when_empty(&self, now: Moment) -> bool {
        let mut writer = self.writing();
        writer.is_closed = self.is_empty() && writer.log.compact(now).is_none();
        writer.is_closed
    }

    /// A minute is over: what was renewed in it decides about the next.
    pub fn end_minute(&self) {
        self.pulse.end_minute();
    }

    /// Expects renewals only of those instances from now on whose lease has not run out.
    pub fn expect_the_living(&self, now: Moment) {
        let snapshot = self.snapshot.load_full();
        let mut living = 0;
        snapshot.tree.for_each(&mut |chunk| {
            let is_living = |slot: Slot| !slot.is_none() && !self.slots.is_due(slot, now);
            living += chunk.rows().iter().filter(|row| is_living(row.slot)).count();
        });
        self.pulse.expect(living);
    }

    /// On a Netflix server one run removes at most as many as would leave 85 of a hundred, taken at random;
    /// hashes are random enough (spec eureka section 3.5).
    fn evicted<'a>(&self, due: &'a [Due]) -> std::borrow::Cow<'a, [Due]> {
        let size = self.own_len();
        let max = size - size * 85 / 100;
        if !self.rules.strict_eureka || due.len() <= max {
            return due.into();
        }
        let mut some = due.to_vec();
        some.sort_unstable_by_key(|due| due.hash);
        some.truncate(max);
        some.into()
    }

    pub(super) fn living(&self, id: &str, now: Moment) -> Option<Entry> {
        self.index.with(id, Entry::clone).filter(|entry| !self.is_gone(entry.slot, now))
    }

    /// Whether a lease has run out for readers.
    pub(super) fn is_gone(&self, slot: Slot, now: Moment) -> bool {
        self.slots.is_due(slot, now) && !self.is_preserving()
    }

    fn is_preserving(&self) -> bool {
        self.rules.self_preservation && self.pulse.preservation(self.rules).is_preserving
    }

    fn renew_slot(&self, slot: Slot, now: Moment, instance: &Instance) -> bool {
        let length = self.rules.renewed_lease(instance);
        let renewed = self.slots.renew(slot, now, length)
            || (self.rules.strict_eureka || self.is_preserving()) && self.slots.renew_late(slot, now, length);
        if renewed {
            self.pulse.renewed();
        }
        renewed
    }

    fn put(&self, slot: Slot, instance: &Arc<Instance>, now: Moment) {
        let lease = self.rules.first_lease(instance);
        self.index.put(slot, instance.clone(), || self.slots.lease(slot, now, lease));
    }

    /// Publishes that these of the store's own are gone; what a catalog has under the same id comes forth.
    pub(super) fn publish_removals(&self, writer: &mut Writer, gone: Vec<Entry>, now: Moment, cause: Cause) {
        if gone.is_empty() {
            return;
        }
        let (edits, changes) = self.removals(writer, &gone, cause);
        self.publish(writer, edits, now, changes);
        for entry in gone {
            self.slots.give_back(entry.slot);
        }
    }

    /// What it comes to that these are gone: what a catalog has under the same id comes forth.
    pub(super) fn removals(
        &self,
        writer: &Writer,
        gone: &[Entry],
        cause: Cause,
    ) -> (Vec<Edit>, Vec<Changed>) {
        let (mut edits, mut changes) = (Vec::new(), Vec::new());
        for Entry { instance, slot, .. } in gone {
            if let Some(hidden) = writer.layers.as_ref().and_then(|layers| layers.first(&instance.id)) {
                let (put, change) = self.put_foreign(hidden, Some(instance.clone()));
                edits.extend(put);
                changes.push(change);
            } else {
                edits.push(Edit::removal(instance));
                let (before, instance) = (Some(instance.clone()), instance.clone());
                changes.push(Changed { op: Op::Remove, before, instance, slot: *slot, cause });
            }
        }
        (edits, changes)
    }

    pub(super) fn publish(
        &self,
        writer: &mut Writer,
        mut edits: Vec<Edit>,
        now: Moment,
        changes: Vec<Changed>,
    ) {
        edits.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        let snapshot = self.snapshot.load();
        let mut tally = Tally { counts: snapshot.counts, foreign: snapshot.foreign };
        let time = self.clock.time_of_day(now);
        for change in changes {
            tally.add(&change);
            // Leases begin and end with the store's own alone.
            match (change.own_before(), change.own_after()) {
                (None, Some(_)) => self.pulse.came(),
                (Some(gone), None) => {
                    self.pulse.went();
                    writer.events.gone(gone, time);
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
            if let Some(after) = change.own_after().filter(|after| after.action == Action::Added) {
                writer.events.registered(after, time);
            }
            let Changed { op, before: _, instance, slot, cause } = change;
            writer.log.push(Change { revision: 0, op, cause, at: now, instance, slot });
        }
        let tree = snapshot.tree.edited(&edits);
        let snapshot = Snapshot {
            epoch: snapshot.epoch,
            revision: writer.log.newest(),
            instances: self.index.len(),
            foreign: tally.foreign,
            counts: tally.counts,
            tree,
        };
        self.snapshot.store(Arc::new(snapshot));
    }
}

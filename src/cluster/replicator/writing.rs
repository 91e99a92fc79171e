//! What clients do here, and what the directories do with what came from others.
//!
//! Never: sends anything; what is to be sent follows from cursors and bits.

use std::sync::Arc;

use super::entries::{Entry, Renewal};
use super::fault::Fault;
use super::{Effect, Now, Pending, Replicator, Row};
use crate::cluster::message::{Content, Key, Stamp};
use crate::model::{Instance, Moment, Timestamp};

impl Replicator {
    pub(super) fn put_here(&mut self, now: Now, key: Key, row: Row, instance: Arc<Instance>) {
        let content = Content::Alive(instance);
        let slot = match self.entries.find(&key) {
            Some(slot) if self.entries.get(slot).is_some_and(|entry| entry.content == content) => slot,
            Some(slot) => {
                self.write(now, slot, content);
                slot
            }
            None => {
                let stamp = Stamp { time: self.clock.next(now.wall, 0), origin: self.me };
                let entry = Entry::new(key, stamp, content, (self.mine, 0), now.at);
                let slot = self.entries.insert(entry, Renewal { last: now.at, home: self.me });
                let seq = self.streams.append(self.mine, slot);
                if let Some(entry) = self.entries.get_mut(slot) {
                    entry.seq = seq;
                }
                slot
            }
        };
        self.unplaced.remove(&slot);
        self.entries.place(slot, row);
        self.renewed_here(&[(row, now.at)]);
    }

    pub(super) fn remove_here(&mut self, now: Now, key: &Key) {
        if let Some(slot) = self.entries.find(key)
            && self.entries.get(slot).is_some_and(Entry::is_alive)
        {
            self.write(now, slot, Content::Dead);
        }
    }

    /// Step by step for all of them: what each looks at is far from the next one's, and is waited for at once so.
    pub(super) fn renewed_here(&mut self, renewed: &[(Row, Moment)]) {
        let slot_of = |(row, at): &(Row, Moment)| Some((self.entries.at_row(*row)?, *at));
        let mut slots: Vec<(u32, Moment)> = renewed.iter().filter_map(slot_of).collect();
        for (slot, at) in &slots {
            if self.entries.renewal_of_living(*slot).is_some_and(|renewal| renewal.last <= *at) {
                self.entries.renew(*slot, Renewal { last: *at, home: self.me }, true);
            }
        }
        if self.has(Fault::RenewalStamps) {
            for (slot, at) in &slots {
                let time = self.clock.next(Timestamp::default(), 0);
                self.write_at(Now { at: *at, wall: Timestamp::default() }, *slot, None, time);
            }
        }
        let before = self.counts.renewals;
        self.counts.renewals += u64::try_from(slots.len()).unwrap_or_default();
        if self.has(Fault::DirtyBitForgotten) {
            let mut counts = before..;
            slots.retain(|_| counts.next().is_some_and(|count| (count + 1).is_multiple_of(4)));
        }
        self.tell_renewals(&slots, self.me);
    }

    /// Notes for all who do not hear it otherwise that leases were renewed through a member, and when.
    pub(super) fn tell_renewals(&mut self, slots: &[(u32, Moment)], home: u64) {
        let Some((_, first)) = slots.first() else { return };
        let Self { links, me, timers, settings, .. } = self;
        for peer in links.values_mut().filter(|peer| home == *me || !peer.hears_member(home)) {
            slots.iter().for_each(|(slot, _)| peer.sending.dirty.set(*slot));
            timers.flush.get_or_insert(first.plus(settings.flush));
        }
    }

    pub(super) fn expired_here(&mut self, key: &Key) {
        let Some(slot) = self.entries.find(key) else { return };
        let Some(renewal) = self.entries.renewal_of_living(slot) else { return };
        if self.has(Fault::ExpiryReplicated) {
            let now = Now { at: renewal.last, wall: Timestamp::default() };
            return self.write(now, slot, Content::Dead);
        }
        self.forget(slot);
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        let pending = std::mem::take(&mut self.pending);
        pending.into_iter().filter_map(|pending| self.effect(pending)).collect()
    }

    fn effect(&self, pending: Pending) -> Option<Effect> {
        let living = |slot, generation| {
            let entry = self.entries.get(slot).filter(|_| self.entries.generation(slot) == generation)?;
            match &entry.content {
                Content::Alive(instance) => Some((entry, instance.clone(), self.entries.renewal(slot)?.last)),
                Content::Dead => None,
            }
        };
        match pending {
            Pending::Put(slot, generation) => living(slot, generation)
                .map(|(entry, instance, renewed)| Effect::Put { key: entry.key.clone(), instance, renewed }),
            Pending::Renew(slot, generation) => {
                let (entry, _, at) = living(slot, generation)?;
                Some(Effect::Renew { row: entry.row?, key: entry.key.clone(), at })
            }
            Pending::Remove(key) => Some(Effect::Remove { key }),
        }
    }

    pub(super) fn placed_here(&mut self, key: &Key, row: Option<Row>) {
        let Some(slot) = self.entries.find(key) else { return };
        if !self.entries.get(slot).is_some_and(Entry::is_alive) {
            return;
        }
        match row {
            Some(row) => {
                self.unplaced.remove(&slot);
                self.entries.place(slot, row);
            }
            None => {
                self.unplaced.insert(slot);
            }
        }
    }

    /// Tries again to place what there was no room for, and forgets what of it has run out.
    pub(super) fn try_unplaced(&mut self, now: Now) {
        for slot in std::mem::take(&mut self.unplaced) {
            if self.lasts(slot, now.at) {
                self.unplaced.insert(slot);
                self.pending.push(Pending::Put(slot, self.entries.generation(slot)));
            } else {
                self.forget(slot);
            }
        }
    }

    /// Forgets deregistrations that no older copy can have outlived.
    pub(super) fn forget_tombstones(&mut self, now: Moment) {
        while let Some((died, slot)) = self.tombstones.first().copied()
            && self.remembrance() <= now.since(died)
        {
            self.forget(slot);
        }
    }
}

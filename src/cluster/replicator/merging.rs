//! What becomes of an entry when something is written here or comes from another member.
//!
//! Of two contents the larger stamp wins, of two renewals the newer. A deregistration that is younger by its stamp but
//! older than a renewal that a client has sent to this member was stamped by a clock that runs ahead: the instance
//! lives, and is written anew.
//! Never: compares times of day for a lease, or takes a renewal for a write.

use std::sync::Arc;
use std::time::Duration;

use super::entries::{Entry, Renewal};
use super::fault::Fault;
use super::members::Renewed;
use super::{Now, Pending, Replicator};
use crate::cluster::message::{Content, Key, Stamp, StreamId};
use crate::model::{Instance, Moment};
use crate::wire::record::Record;

/// An entry as it came from another member.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) content: Content,
    pub(super) foreign: Option<Box<[u8]>>,
    pub(super) stream: StreamId,
    pub(super) seq: u64,
    pub(super) last: Moment,
    pub(super) home: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merged {
    /// It is what is known now.
    Taken(u32),
    /// It was known.
    Known(u32),
    /// Something newer is known.
    Older(u32),
    /// It has run out.
    Expired,
}

/// A renewal counts as later than a deregistration elsewhere from then on: ages are rounded, and take a while to come.
const AFTER: Duration = Duration::from_secs(1);

// === impl Heard ===

impl Heard {
    /// As [`Entry::written`].
    fn written(&self) -> (Stamp, u64) {
        (self.stamp, self.stream.incarnation)
    }
}

impl Replicator {
    /// Merges what another member knows of a key.
    pub(super) fn merge(&mut self, now: Now, heard: Heard) -> Merged {
        self.clock.heard(heard.stamp.time, now.wall);
        let Some(slot) = self.entries.find(&heard.key) else { return self.merge_new(now, heard) };
        let Some(entry) = self.entries.get(slot) else { return Merged::Expired };
        let (written, was_alive) = (entry.written(), entry.is_alive());
        if heard.written() == written {
            if was_alive {
                self.touch(slot, heard.last, heard.home);
            }
            return Merged::Known(slot);
        }
        if heard.written() < written && !self.has(Fault::StampsIgnored) {
            return Merged::Older(slot);
        }
        match &heard.content {
            Content::Dead
                if self.entries.told_here(slot).is_some_and(|last| heard.last.plus(AFTER) < last) =>
            {
                // By the smallest stamp that does: what was written since on knowledge of it wins.
                self.write_at(now, slot, None, heard.stamp.time + 1);
                return Merged::Older(slot);
            }
            Content::Alive(instance)
                if !was_alive && !self.is_current(now, instance, heard.last, heard.home) =>
            {
                return Merged::Expired;
            }
            Content::Alive(_) | Content::Dead => {}
        }
        self.supersede(now, slot, heard);
        Merged::Taken(slot)
    }

    fn merge_new(&mut self, now: Now, heard: Heard) -> Merged {
        let is_current = match &heard.content {
            Content::Alive(instance) => self.is_current(now, instance, heard.last, heard.home),
            Content::Dead => now.at.since(heard.last) < self.remembrance(),
        };
        if !is_current {
            return Merged::Expired;
        }
        let Heard { key, stamp, content, foreign, stream, seq, last, home } = heard;
        let entry = Entry { foreign, ..Entry::new(key, stamp, content, (stream, seq), now.at) };
        let is_alive = entry.is_alive();
        let slot = self.entries.insert(entry, Renewal { last, home });
        self.streams.insert(stream, seq, slot);
        if is_alive {
            self.pending.push(Pending::Put(slot, self.entries.generation(slot)));
        } else {
            self.tombstones.insert((last, slot));
        }
        if is_alive && self.has(Fault::EmptyDeletes) && now.at.since(self.started) < Duration::from_secs(10) {
            self.write(now, slot, Content::Dead);
        }
        Merged::Taken(slot)
    }

    fn supersede(&mut self, now: Now, slot: u32, heard: Heard) {
        let Heard { key, stamp, content, foreign, stream, seq, last, home } = heard;
        let (Some(before), Some(renewal)) = (self.entries.get(slot), self.entries.renewal(slot)) else {
            return;
        };
        let (was_alive, old) = (before.is_alive(), (before.stream, before.seq));
        let is_alive = content != Content::Dead;
        self.streams.remove(old.0, old.1, slot);
        self.streams.insert(stream, seq, slot);
        self.entries.supersede(slot, (stamp, stream, seq), content, now.at);
        self.peers().for_each(|peer| peer.unbind(slot));
        if !was_alive {
            self.tombstones.remove(&(renewal.last, slot));
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.foreign = foreign;
        }
        if !(was_alive && is_alive) || renewal.last < last {
            self.entries.renew(slot, Renewal { last, home }, false);
        }
        if is_alive {
            self.pending.push(Pending::Put(slot, self.entries.generation(slot)));
        } else {
            self.unplaced.remove(&slot);
            self.tombstones.insert((last, slot));
            if was_alive {
                self.pending.push(Pending::Remove(key));
            }
        }
    }

    /// Writes an entry here, later than anything that is known.
    pub(super) fn write(&mut self, now: Now, slot: u32, content: Content) {
        let Some(entry) = self.entries.get(slot) else { return };
        let time = self.clock.next(now.wall, entry.stamp.time);
        self.write_at(now, slot, Some(content), time);
    }

    /// Writes an entry here at a time that is later than its own; without a content it stays what it is.
    pub(super) fn write_at(&mut self, now: Now, slot: u32, content: Option<Content>, time: u64) {
        let (Some(entry), Some(renewal)) = (self.entries.get(slot), self.entries.renewal(slot)) else {
            return;
        };
        let (old, was_alive) = ((entry.stream, entry.seq), entry.is_alive());
        let content = content.unwrap_or_else(|| entry.content.clone());
        let foreign = match &content {
            Content::Alive(instance) => entry.foreign.as_deref().and_then(|json| rewritten(json, instance)),
            Content::Dead => None,
        };
        let is_alive = content != Content::Dead;
        self.streams.remove(old.0, old.1, slot);
        let seq = self.streams.append(self.mine, slot);
        self.entries.supersede(slot, (Stamp { time, origin: self.me }, self.mine, seq), content, now.at);
        self.peers().for_each(|peer| peer.unbind(slot));
        if !was_alive {
            self.tombstones.remove(&(renewal.last, slot));
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.foreign = foreign;
        }
        if !is_alive {
            self.entries.renew(slot, Renewal { last: now.at, home: self.me }, true);
            self.unplaced.remove(&slot);
            self.tombstones.insert((now.at, slot));
        }
    }

    /// Takes over a renewal, when it is news.
    pub(super) fn touch(&mut self, slot: u32, last: Moment, home: u64) -> bool {
        let generation = self.entries.generation(slot);
        // What comes back of what this member was told is not newer, whatever its age says: that lacks the time under way.
        let is_echo = home == self.me && self.entries.told_here(slot).is_some();
        if is_echo || self.entries.renewal_of_living(slot).is_none_or(|renewal| last <= renewal.last) {
            return false;
        }
        self.entries.renew(slot, Renewal { last, home }, false);
        self.pending.push(Pending::Renew(slot, generation));
        true
    }

    /// Forgets an entry altogether.
    pub(super) fn forget(&mut self, slot: u32) {
        self.peers().for_each(|peer| peer.forget(slot));
        self.unplaced.remove(&slot);
        let renewal = self.entries.renewal(slot).unwrap_or_default();
        if let Some(entry) = self.entries.remove(slot) {
            self.streams.remove(entry.stream, entry.seq, slot);
            self.tombstones.remove(&(renewal.last, slot));
        }
    }

    /// Whether a lease goes on, or is kept although it has run out.
    fn is_current(&self, now: Now, instance: &Instance, last: Moment, home: u64) -> bool {
        let Some(lease) = self.settings.lease(instance) else { return true };
        now.at.since(last) < lease || now.at < self.keeps_until(Renewed { home, last, lease }, now.at)
    }

    /// Until when at most an entry is kept whose lease ends, as things stand.
    pub(super) fn keeps_until(&self, renewed: Renewed, now: Moment) -> Moment {
        let ends = renewed.last.plus(renewed.lease);
        if self.has(Fault::NoHold) {
            return ends;
        }
        let until = match renewed.home == self.me {
            // It was told in an earlier life, of which this one knows by others only.
            true if renewed.last < self.started => {
                self.members.longest(renewed).min(self.started.plus(renewed.lease)).max(ends)
            }
            true => ends,
            false => self.members.keeps_until(renewed, now),
        };
        if self.has(Fault::HoldForEver) && ends.plus(Duration::from_secs(2)) < until {
            return Moment::from_millis(u64::MAX);
        }
        until
    }

    /// How long a deregistration is remembered: by then older copies have run out wherever they are.
    pub(super) fn remembrance(&self) -> Duration {
        if self.has(Fault::TombstonesTooShort) {
            return Duration::from_secs(3);
        }
        self.settings.remembrance()
    }
}

/// A record with what a newer build has added to it, about the instance as it is now.
fn rewritten(json: &[u8], instance: &Arc<Instance>) -> Option<Box<[u8]>> {
    let record = Record::from_json(json).ok()?;
    Some(record.with(Instance::clone(instance)).to_json().into())
}

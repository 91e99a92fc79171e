//! What comes in on a link.
//!
//! Never: answers; it notes what is to be answered.

use std::sync::Arc;

use super::entries::Entry;
use super::fault::Fault;
use super::merging::{Heard, Merged};
use super::{Link, Misbehaviour, Now, Replicator};
use crate::cluster::frame::{Bind, Binds, Entries, Handles, Malformed, Message, Record, Renewals};
use crate::cluster::message::{Content, Stamp};
use crate::wire;

use super::clock::HybridClock;

impl Replicator {
    pub(super) fn receive(&mut self, now: Now, link: Link, frame: &[u8]) -> Result<(), Misbehaviour> {
        let Some(peer) = self.links.get_mut(&link) else { return Ok(()) };
        if peer.is_superseded {
            return Err(Misbehaviour(format!("member {} or this one is in a later life", peer.id.0)));
        }
        let length = frame.len();
        if self.settings.frame_max.max(super::Settings::FRAME_LEAST) < length {
            return Err(Misbehaviour(format!("a frame of {length} bytes came from member {}", peer.id.0)));
        }
        peer.heard_at = now.at;
        let (id, origin, is_known) = (peer.id.clone(), peer.origin, peer.stream.is_some());
        let malformed =
            |why: Malformed| Misbehaviour(format!("member {} sent what is no frame: {why}", id.0));
        let message = Message::decode(frame).map_err(malformed)?;
        match message {
            Message::Hello(hello) => self.on_hello(now, link, hello)?,
            _ if !is_known => {
                return Err(Misbehaviour(format!("member {} did not say hello first", id.0)));
            }
            Message::Entries(entries) => self.on_entries(now, link, entries, length).map_err(malformed)?,
            Message::Renew(renewals) => self.on_renewals(now, link, renewals),
            Message::Bind(binds) => self.on_binds(now, link, binds),
            Message::Pull(handles) => self.on_pull(link, &handles),
            Message::Credit(bytes) => {
                if let Some(peer) = self.links.get_mut(&link) {
                    peer.sending.outstanding = peer.sending.outstanding.saturating_sub(bytes);
                }
            }
            Message::Ping(ping) => self.on_ping(now, link, ping),
            Message::Pong(sample) => {
                if let Some(peer) = self.links.get_mut(&link) {
                    peer.round_trip = Some(now.at.as_millis().saturating_sub(sample));
                }
            }
            Message::Caught => self.on_caught(now, link),
            Message::Digest(sum) => self.on_digest(link, sum),
            Message::Agree => self.on_agree(link),
            Message::Buckets(sums) => self.on_sums(link, &sums),
            Message::Keys(listing) => self.on_listing(now, link, &listing).map_err(malformed)?,
            Message::Ask(asked) => self.on_ask(link, asked),
            Message::Lacking(handles) => self.on_lacking(now, link, &handles),
            Message::Unknown => {}
        }
        self.members.heard(origin, now.at);
        Ok(())
    }

    fn on_entries(
        &mut self,
        now: Now,
        link: Link,
        mut entries: Entries<'_>,
        length: usize,
    ) -> Result<(), Malformed> {
        let mut before = None;
        while let Some(mut record) = entries.next()? {
            if !HybridClock::is_possible(record.time) {
                return Err(Malformed::Number("a stamp"));
            }
            self.counts.received += 1;
            if self.has(Fault::NamespacesMixed) {
                let namespace = before.get_or_insert_with(|| record.key.namespace.clone()).clone();
                record.key.namespace = namespace;
            }
            let is_lost = (self.has(Fault::NoRepair) || self.has(Fault::EntryLost))
                && self.counts.received.is_multiple_of(20);
            if !is_lost {
                self.on_record(now, link, record);
            }
        }
        for mark in entries.marks {
            if mark.stream != self.mine && mark.from < mark.upto {
                self.streams.advance(mark);
            }
        }
        if self.has(Fault::VersionVectorAhead)
            && let Some(peer) = self.links.get(&link)
        {
            for (stream, upto) in peer.receiving.had.clone() {
                self.streams.advance(crate::cluster::frame::Mark { stream, from: 0, upto });
            }
        }
        let (most, mine) = (self.streams_max(), self.mine);
        let links = &self.links;
        let is_kept = |id| id == mine || links.values().any(|peer| peer.has_at_first_hand(id));
        if !self.streams.shrink(most, is_kept) {
            return Err(Malformed::Number("the number of streams"));
        }
        if let Some(peer) = self.links.get_mut(&link) {
            peer.receiving.taken += u64::try_from(length).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn on_record(&mut self, now: Now, link: Link, record: Record<'_>) {
        let Record { stream, seq, time, handle, home, age, key, is_repair, json } = record;
        let (content, foreign) = match json.map(wire::record::Record::from_json) {
            None => (Content::Dead, None),
            Some(Ok(it)) if it.instance.id == key.id => {
                let foreign = json.filter(|_| it.has_unknown()).map(Box::from);
                (Content::Alive(Arc::new(it.instance)), foreign)
            }
            Some(_) => {
                self.counts.unreadable += 1;
                return;
            }
        };
        let heard = Heard {
            key,
            stamp: Stamp { time, origin: stream.origin },
            content,
            foreign,
            stream,
            seq,
            last: self.moment_of(age, now),
            home,
        };
        // What is not counted as had would have come by itself.
        let is_drift = is_repair && seq <= self.streams.have(stream);
        let merged = self.merge(now, heard);
        self.counts.repairs += u64::from(is_drift && matches!(merged, Merged::Taken(_)));
        let generation_of = |slot| (slot, self.entries.generation(slot));
        let Some(peer) = self.links.get_mut(&link) else { return };
        match merged {
            Merged::Taken(slot) | Merged::Known(slot) => {
                peer.receiving.bind(handle, Some(generation_of(slot)));
            }
            Merged::Older(slot) => {
                peer.receiving.bind(handle, Some(generation_of(slot)));
                if is_repair {
                    peer.owe(slot, true);
                }
                if json.is_some() {
                    // What was written earlier may have been renewed later.
                    self.on_renewal(now, link, slot, home, age);
                }
            }
            Merged::Expired => {
                peer.receiving.bind(handle, None);
            }
        }
    }

    fn on_renewals(&mut self, now: Now, link: Link, renewals: Renewals) {
        let Renewals { home, renewals } = renewals;
        for (handle, age) in renewals {
            let Some(peer) = self.links.get_mut(&link) else { return };
            let found = peer.receiving.handles.get(&handle).copied().flatten();
            match found.filter(|(slot, generation)| self.entries.generation(*slot) == *generation) {
                Some((slot, _)) => self.on_renewal(now, link, slot, home, age),
                None if self.fault == Some(Fault::NoPull) => {}
                None => peer.receiving.pull(handle, false),
            }
        }
    }

    fn on_binds(&mut self, now: Now, link: Link, binds: Binds) {
        let Binds { home, binds } = binds;
        for Bind { handle, key, stamp, age } in binds {
            let found = self.entries.find(&key);
            let entry = found.and_then(|slot| self.entries.get(slot));
            let (is_behind, is_buried) =
                entry.map_or((true, false), |it| (it.stamp < stamp, stamp < it.stamp && !it.is_alive()));
            let generation = found.map(|slot| (slot, self.entries.generation(slot)));
            let Some(peer) = self.links.get_mut(&link) else { return };
            peer.receiving.bind(handle, generation);
            if is_behind && self.fault != Some(Fault::NoPull) {
                peer.receiving.pull(handle, false);
            }
            if let Some(slot) = found {
                if is_buried {
                    // Who renews it does not know yet that it was deregistered.
                    peer.owe(slot, false);
                }
                self.on_renewal(now, link, slot, home, age);
            }
        }
    }

    fn on_renewal(&mut self, now: Now, link: Link, slot: u32, home: u64, age: crate::cluster::message::Age) {
        let last = self.moment_of(age, now);
        let is_first_hand = self.links.get(&link).is_some_and(|peer| peer.origin == home);
        if self.touch(slot, last, home) && is_first_hand {
            self.tell_renewals(&[(slot, now.at)], home);
        }
    }

    fn on_pull(&mut self, link: Link, handles: &Handles) {
        let Self { links, entries, .. } = self;
        let Some(peer) = links.get_mut(&link) else { return };
        for slot in handles.handles.iter().filter(|slot| entries.get(**slot).is_some()) {
            peer.owe(*slot, handles.is_repair);
        }
    }

    /// Whether an entry's content is what others are to be told when they lack it.
    pub(super) fn is_settled(&self, slot: u32, entry: &Entry, now: crate::model::Moment) -> bool {
        let age = now.since(self.entries.renewal(slot).unwrap_or_default().last);
        SETTLED <= now.since(entry.since) && self.lease_of(entry).is_none_or(|lease| age < lease / 2)
    }
}

/// What has not changed for so long is with everybody who could be told.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(3);

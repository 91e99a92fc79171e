//! What goes out on a link, made when its connection takes more: never earlier, and never kept.
//!
//! Answers first, then renewals, then content, so that a link busy with content keeps its leases alive.
//! Never: sends content beyond what the other end has said it takes.

use super::entries::{Entry, Renewal};
use super::fault::Fault;
use super::members::Route;
use super::peer::{Peer, Stage};
use super::{Link, Now, Replicator};
use crate::cluster::frame::{Batch, Bind, Binds, Handles, Mark, Message, Record, Renewals};
use crate::cluster::message::{Content, Stamp, StreamId};
use crate::wire::record;

/// A frame of several entries is about so long, so that other messages come between them.
const FRAME_AIM: usize = 64 * 1024;

impl Replicator {
    pub(super) fn compose(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let peer = self.links.get(&link)?;
        if !peer.sending.has_greeted {
            return self.hello(now, link);
        }
        peer.stream?;
        if peer.sending.is_ping_due {
            return self.ping(now, link);
        }
        self.compose_answer(link)
            .or_else(|| self.compose_renewals(now, link))
            .or_else(|| self.compose_comparison(now, link))
            .or_else(|| self.compose_entries(now, link))
            .or_else(|| self.compose_end_of_beginning(now, link))
    }

    /// What is due to what came.
    fn compose_answer(&mut self, link: Link) -> Option<Vec<u8>> {
        let window = super::links::window(self.settings.frame_max());
        let most = self.frame_aim() / 5;
        let peer = self.links.get_mut(&link)?;
        if let Some(sample) = peer.sending.pong.take() {
            return Some(Message::Pong(sample).encode());
        }
        let receiving = &mut peer.receiving;
        if window / 4 <= receiving.taken {
            return Some(Message::Credit(std::mem::take(&mut receiving.taken)).encode());
        }
        for (wanted, is_repair) in [(&mut receiving.pulls, false), (&mut receiving.repairs, true)] {
            if !wanted.is_empty() {
                let handles: Vec<_> = wanted.iter().copied().take(most).collect();
                handles.iter().for_each(|handle| _ = wanted.remove(handle));
                return Some(Message::Pull(Handles { is_repair, handles }).encode());
            }
        }
        None
    }

    /// Renewals that wait for one member, of clients that told the same other one.
    fn compose_renewals(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let peer = self.links.get(&link)?;
        if !peer.sending.is_flush_due {
            return None;
        }
        let (mut home, mut renewals, mut binds) = (None, Vec::new(), Vec::new());
        let (mut settled, mut size) = (Vec::new(), 32);
        for slot in peer.sending.dirty.iter() {
            let renewal = self.entries.renewal_of_living(slot);
            let is_due = |it: &Renewal| self.is_vouched_for(slot, now.at) && self.is_told(it.home, peer);
            let Some(renewal) = renewal.filter(is_due) else {
                settled.push(slot);
                continue;
            };
            if *home.get_or_insert(renewal.home) != renewal.home {
                continue;
            }
            let age = self.age_of(slot, now);
            if peer.sending.bound.has(slot) {
                renewals.push((slot, age));
                size += Renewals::EACH_MAX;
            } else if renewals.is_empty()
                && let Some(entry) = self.entries.get(slot).filter(|it| !self.is_on_its_way(it, peer))
            {
                size += Bind::OVERHEAD + entry.key.namespace.as_str().len() + entry.key.id.as_str().len();
                binds.push(Bind { handle: slot, key: entry.key.clone(), stamp: entry.stamp, age });
            }
            if self.frame_aim() < size + Bind::OVERHEAD {
                break;
            }
        }
        let sending = &mut self.links.get_mut(&link)?.sending;
        settled.into_iter().for_each(|slot| sending.dirty.clear(slot));
        if let (Some(home), false) = (home, renewals.is_empty()) {
            renewals.iter().for_each(|(slot, _)| sending.dirty.clear(*slot));
            return Some(Message::Renew(Renewals { home, renewals }).encode());
        }
        if let (Some(home), false) = (home, binds.is_empty()) {
            for bind in &binds {
                sending.dirty.clear(bind.handle);
                sending.bound.set(bind.handle);
            }
            return Some(Message::Bind(Binds { home, binds }).encode());
        }
        sending.is_flush_due = false;
        if sending.stage == Stage::Leases {
            sending.stage = Stage::Closing;
        }
        None
    }

    /// Whether the other end of a link hears from here only of what a member is told.
    fn is_told(&self, home: u64, peer: &Peer) -> bool {
        let is_relayed = || {
            self.members.route(home) == Route::Direct && !peer.hears_member(home) && !self.has(Fault::NoRelay)
        };
        home == self.me || is_relayed()
    }

    /// Whether the entry itself is about to be sent, so that its lease need not be.
    fn is_on_its_way(&self, entry: &Entry, peer: &Peer) -> bool {
        let cursor = peer.sending.cursors.get(&entry.stream).copied().unwrap_or_default();
        self.is_sent(entry.stream, peer) && cursor < entry.seq && entry.seq <= self.streams.have(entry.stream)
    }

    /// Whether the other end of a link has a stream from here.
    fn is_sent(&self, stream: StreamId, peer: &Peer) -> bool {
        stream == self.mine || !(peer.has_at_first_hand(stream) || self.has(Fault::NoRelay))
    }

    /// Content: what is owed, then what is new in the streams.
    fn compose_entries(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let peer = self.links.get(&link)?;
        let (mut batch, mut sent) = (Batch::new(), Vec::new());
        if peer.sending.window <= peer.sending.outstanding && !self.has(Fault::CreditIgnored) {
            return None;
        }
        let owed = peer.sending.owed.iter().take(FRAME_AIM / 64);
        let owed: Vec<_> = owed.map(|slot| (slot, peer.sending.mended.has(slot))).collect();
        for (slot, is_repair) in owed {
            if self.frame_aim() < batch.len() || !self.add(now, &mut batch, slot, is_repair) {
                break;
            }
            sent.push(slot);
        }
        let sending = &mut self.links.get_mut(&link)?.sending;
        for slot in &sent {
            sending.owed.clear(*slot);
            sending.mended.clear(*slot);
        }
        if sending.seen != Some(self.streams.changes()) {
            self.add_streams(now, link, &mut batch, &mut sent)?;
        }
        if batch.is_empty() {
            return None;
        }
        let frame = batch.done();
        let sending = &mut self.links.get_mut(&link)?.sending;
        for slot in sent {
            sending.dirty.clear(slot);
            sending.bound.set(slot);
        }
        sending.outstanding += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        Some(frame)
    }

    fn add_streams(&mut self, now: Now, link: Link, batch: &mut Batch, sent: &mut Vec<u32>) -> Option<()> {
        let peer = self.links.get(&link)?;
        let is_behind = |id: &StreamId, have: u64| {
            let from = peer.sending.cursors.get(id).copied().unwrap_or_default();
            (from < have && self.is_sent(*id, peer)).then_some(Mark { stream: *id, from, upto: have })
        };
        let behind: Vec<_> = self.streams.iter().filter_map(|(id, it)| is_behind(&id, it.have())).collect();
        for mut mark in behind {
            let rest: Vec<_> = self.streams.after(mark.stream, mark.from).take(FRAME_AIM / 64).collect();
            let is_rest = rest.len() < FRAME_AIM / 64;
            let mut upto = rest.last().filter(|_| !is_rest).map_or(mark.upto, |(seq, _)| *seq);
            for (seq, slot) in rest {
                if self.frame_aim() < batch.len() || !self.add(now, batch, slot, false) {
                    upto = seq - 1;
                    break;
                }
                sent.push(slot);
            }
            if upto <= mark.from {
                return Some(());
            }
            mark.upto = upto;
            batch.mark(mark);
            if mark.stream == self.mine {
                self.told = self.told.max(upto);
            }
            self.links.get_mut(&link)?.sending.cursors.insert(mark.stream, upto);
            if self.frame_aim() < batch.len() {
                return Some(());
            }
        }
        if batch.is_empty() {
            self.links.get_mut(&link)?.sending.seen = Some(self.streams.changes());
        }
        Some(())
    }

    /// Adds an entry to a frame; false when there is no room for it.
    fn add(&mut self, now: Now, batch: &mut Batch, slot: u32, is_repair: bool) -> bool {
        let (Some(entry), Some(Renewal { home, .. })) = (self.entries.get(slot), self.entries.renewal(slot))
        else {
            return true;
        };
        let json = match (&entry.content, &entry.foreign) {
            (Content::Alive(_), Some(json)) => Some(json.to_vec()),
            (Content::Alive(instance), None) => Some(record::Record::json_of_new(instance)),
            (Content::Dead, _) => None,
        };
        let cost = Batch::cost(&entry.key, json.as_ref().map_or(0, Vec::len));
        if self.settings.frame_max() < batch.len() + cost {
            let fits_alone = Batch::new().len() + cost <= self.settings.frame_max();
            self.counts.too_large += u64::from(!fits_alone);
            return !fits_alone;
        }
        let Entry { stream, seq, stamp: Stamp { time, .. }, .. } = *entry;
        let (age, key, json) = (self.age_of(slot, now), entry.key.clone(), json.as_deref());
        batch.push(&Record { stream, seq, time, handle: slot, home, age, key, is_repair, json });
        true
    }

    /// When all content is sent, leases are; when they are, the other end is told that this was all.
    fn compose_end_of_beginning(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let sending = &mut self.links.get_mut(&link)?.sending;
        match sending.stage {
            Stage::Content if sending.seen == Some(self.streams.changes()) => {
                sending.stage = Stage::Leases;
                self.tell_leases(link, |_, is_known| !is_known);
                self.compose(now, link)
            }
            Stage::Closing => {
                sending.stage = Stage::Live;
                Some(Message::Caught.encode())
            }
            Stage::Content | Stage::Leases | Stage::Live => None,
        }
    }

    /// Bytes after which a frame of many things is sent.
    pub(super) fn frame_aim(&self) -> usize {
        (self.settings.frame_max() / 2).min(FRAME_AIM)
    }
}

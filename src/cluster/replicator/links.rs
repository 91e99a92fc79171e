//! Links that come and go, and what follows from who hears whom.
//!
//! Never: gives a link to a member a meaning before its first message.

use std::collections::BTreeMap;

use super::entries::Renewal;
use super::members::{Route, SILENCE};
use super::peer::{Asking, Peer};
use super::{Link, Misbehaviour, Now, Replicator};
use crate::cluster::frame::{Hello, Message, PROTOCOL_MAX, PROTOCOL_MIN, Ping};
use crate::cluster::message::{MemberId, StreamId};
use crate::model::Moment;

/// A member that was heard so recently is not taken for dead when another one comes by its name.
const ALIVE: std::time::Duration = std::time::Duration::from_millis(2500);
/// Most bytes of entries under way on a link.
const WINDOW_MAX: u64 = 4 * 1024 * 1024;
/// Most members that one may be said to hear.
const DIRECT_MAX: usize = 1024;

impl Replicator {
    pub(super) fn link_up(&mut self, now: Now, link: Link, peer: MemberId) {
        let limit = self.settings.remembrance() / 2;
        let silent_for = self.members.silent_for(peer.origin(), now.at);
        let was_away = silent_for.is_none_or(|silence| limit < silence);
        self.links.insert(link, Peer::new(peer, now.at, was_away));
    }

    pub(super) fn link_down(&mut self, now: Now, link: Link) {
        if self.links.remove(&link).is_some() {
            self.tell_who_is_heard(now.at);
        }
    }

    /// The first frame of a link.
    pub(super) fn hello(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let direct = self.direct(now.at);
        let have = self.streams.iter().map(|(id, stream)| (id, stream.have())).filter(|(_, have)| *have != 0);
        let have: Vec<_> = have.take(self.streams_max()).collect();
        let peer = self.links.get_mut(&link)?;
        peer.sending.has_greeted = true;
        peer.sending.told = have.iter().copied().collect();
        let hello = Hello {
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
            features: 0,
            was_away: peer.was_away,
            me: self.settings.me.clone(),
            incarnation: self.mine.incarnation,
            window: window(self.settings.frame_max()),
            direct,
            have,
        };
        Some(Message::Hello(hello).encode())
    }

    pub(super) fn on_hello(&mut self, now: Now, link: Link, hello: Hello) -> Result<(), Misbehaviour> {
        self.check_hello(now, link, &hello)?;
        let Hello { was_away, incarnation, window, direct, have, .. } = hello;
        let written = have.iter().find(|(stream, _)| *stream == self.mine).map_or(0, |(_, upto)| *upto);
        if self.told < written && !self.has(super::Fault::IncarnationIgnored) {
            let before = self.mine.incarnation;
            let known = have.iter().filter(|(stream, _)| stream.origin == self.me);
            self.begin_stream(known.map(|(stream, _)| stream.incarnation).max().unwrap_or_default());
            return Err(Misbehaviour(format!(
                "an earlier life of this member has written under incarnation {before}; it goes on as {}, and the link \
                 begins anew",
                self.mine.incarnation
            )));
        }
        let Some(peer) = self.links.get_mut(&link) else { return Ok(()) };
        let origin = peer.origin;
        peer.stream = Some(StreamId { origin, incarnation });
        peer.was_away |= was_away;
        peer.hears = direct.into_iter().collect();
        peer.sending.window = window.min(WINDOW_MAX);
        peer.sending.cursors = have.iter().copied().collect();
        peer.receiving.had = peer.sending.cursors.clone();
        self.members.takes_leave(origin, now.at, false);
        for (other, peer) in &mut self.links {
            let is_earlier =
                peer.stream.is_some_and(|it| it.origin == origin && it.incarnation != incarnation);
            peer.is_superseded |= is_earlier && *other != link;
        }
        self.tell_who_is_heard(now.at);
        Ok(())
    }

    fn check_hello(&mut self, now: Now, link: Link, hello: &Hello) -> Result<(), Misbehaviour> {
        let Some(peer) = self.links.get(&link) else { return Ok(()) };
        let MemberId(id) = &peer.id;
        if peer.stream.is_some() {
            return Err(Misbehaviour(format!("member {id} says hello a second time")));
        }
        if hello.me != peer.id {
            let MemberId(said) = &hello.me;
            return Err(Misbehaviour(format!("member {id} calls itself {said}")));
        }
        if hello.common_protocol().is_none() {
            let (min, max) = hello.protocol;
            return Err(Misbehaviour(format!(
                "member {id} speaks versions {min} to {max} of the protocol, this build {PROTOCOL_MIN} to {PROTOCOL_MAX}"
            )));
        }
        if DIRECT_MAX < hello.direct.len() {
            return Err(Misbehaviour(format!(
                "member {id} says that it hears {} members",
                hello.direct.len()
            )));
        }
        let is_twin = |it: &StreamId| it.origin == self.me && !self.lives.contains(&it.incarnation);
        if hello.me == self.settings.me {
            self.twin = Some(now.at);
            return Err(Misbehaviour(format!("another member is called {id}, too")));
        }
        if hello.direct.iter().any(is_twin) && !self.has(super::Fault::IncarnationIgnored) {
            self.twin = Some(now.at);
            let MemberId(me) = &self.settings.me;
            return Err(Misbehaviour(format!(
                "member {id} is connected to another member that is called {me}, too"
            )));
        }
        let is_other = |it: &Peer| {
            // Of two that are both alive the same one is kept everywhere: that with the smaller incarnation.
            it.stream.is_some_and(|it| it.origin == peer.origin && it.incarnation < hello.incarnation)
                && now.at.since(it.heard_at) < ALIVE
        };
        if self.links.iter().any(|(other, it)| *other != link && !it.is_superseded && is_other(it)) {
            return Err(Misbehaviour(format!("two members are called {id}, and both are alive")));
        }
        Ok(())
    }

    /// Writes on under another name, because this one was used before.
    fn begin_stream(&mut self, known: u64) {
        let before = self.mine;
        // All links are to begin with the new name.
        self.peers().for_each(|peer| peer.is_superseded = true);
        self.told = 0;
        self.mine.incarnation = known.max(before.incarnation).wrapping_add(1);
        self.lives.push(self.mine.incarnation);
        for slot in self.streams.take(before) {
            let seq = self.streams.append(self.mine, slot);
            if let Some(entry) = self.entries.get_mut(slot) {
                (entry.stream, entry.seq) = (self.mine, seq);
            }
        }
    }

    pub(super) fn ping(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let direct = self.direct(now.at);
        let Self { links, streams, is_draining, .. } = self;
        let peer = links.get_mut(&link)?;
        let told = &peer.sending.told;
        let is_news = |(id, have): &(StreamId, u64)| told.get(id).copied().unwrap_or_default() < *have;
        let have: Vec<_> = streams.iter().map(|(id, stream)| (id, stream.have())).filter(is_news).collect();
        peer.sending.is_ping_due = false;
        peer.sending.told.extend(have.iter().copied());
        let is_draining = *is_draining;
        Some(Message::Ping(Ping { sample: now.at.as_millis(), is_draining, direct, have }).encode())
    }

    pub(super) fn on_ping(&mut self, now: Now, link: Link, ping: Ping) {
        let Ping { sample, is_draining, direct, have } = ping;
        let most = 2 * self.streams_max();
        let Some(peer) = self.links.get_mut(&link) else { return };
        peer.sending.pong = Some(sample);
        for (stream, upto) in have.into_iter().take(most.saturating_sub(peer.sending.cursors.len())) {
            let cursor = peer.sending.cursors.entry(stream).or_default();
            *cursor = upto.max(*cursor);
        }
        if is_draining && !peer.is_draining {
            self.members.takes_leave(peer.origin, now.at, true);
        }
        peer.is_draining |= is_draining;
        let hears = direct.into_iter().take(DIRECT_MAX).collect();
        let heard = std::mem::replace(&mut peer.hears, hears);
        let lost: Vec<_> = heard.difference(&peer.hears).map(|stream| stream.origin).collect();
        if !lost.is_empty() {
            self.streams.touch();
            self.tell_leases(link, |home, _| lost.contains(&home));
        }
        self.observe_members(now.at);
    }

    /// Marks all leases that the other end of a link has to hear of from here. `is_meant` is told the member that a client
    /// renewed at, and whether the lease was sent with its entry and is as it was when the link began.
    pub(super) fn tell_leases(&mut self, link: Link, is_meant: impl Fn(u64, bool) -> bool) {
        let Self { links, entries, members, me, .. } = self;
        let Some(peer) = links.get_mut(&link) else { return };
        for (slot, Renewal { last, home }) in entries.living() {
            let is_told = home == *me || members.route(home) == Route::Direct && !peer.hears_member(home);
            let is_known = peer.sending.bound.has(slot) && last < peer.begun;
            if is_told && is_meant(home, is_known) {
                peer.sending.dirty.set(slot);
            }
        }
        peer.sending.is_flush_due = true;
    }

    /// The members that are heard at first hand.
    fn direct(&self, now: Moment) -> Vec<StreamId> {
        let heard = self.links.values().filter(|peer| is_heard(peer, now)).filter_map(|peer| peer.stream);
        heard.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Those who are heard have changed: all are to know it at once.
    fn tell_who_is_heard(&mut self, now: Moment) {
        self.peers().for_each(|peer| peer.sending.is_ping_due = true);
        self.observe_members(now);
    }

    /// Finds out who can be reached now.
    pub(super) fn observe_members(&mut self, now: Moment) {
        let mut routes = BTreeMap::new();
        for peer in self.links.values().filter(|peer| is_heard(peer, now) && peer.receiving.is_complete) {
            routes.insert(peer.origin, Route::Direct);
            for stream in peer.hears.iter().filter(|stream| stream.origin != self.me) {
                routes.entry(stream.origin).or_insert(Route::ByOthers);
            }
        }
        self.members.observe(now, &routes);
    }

    /// The other end has sent all that it had.
    pub(super) fn on_caught(&mut self, now: Now, link: Link) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        peer.receiving.is_complete = true;
        if peer.comparing.asking == Asking::Waiting {
            let is_asked = peer.was_away && self.fault != Some(super::Fault::NoReconciliation);
            peer.comparing.asking = if is_asked { Asking::From(0) } else { Asking::Done };
        }
        self.observe_members(now.at);
    }

    /// Entries that a link has not been sent yet, at most.
    pub(super) fn behind(&self, peer: &Peer) -> u64 {
        let behind = self.streams.iter().filter(|(id, _)| *id == self.mine || !peer.has_at_first_hand(*id));
        let behind = behind.map(|(id, stream)| {
            let cursor = peer.sending.cursors.get(&id).copied().unwrap_or_default();
            stream.have().saturating_sub(cursor).min(stream.len())
        });
        behind.fold(0, u64::saturating_add)
    }

    /// Most streams that are kept: they fit into a first message.
    pub(super) fn streams_max(&self) -> usize {
        (self.settings.frame_max() / 64).min(4096)
    }
}

fn is_heard(peer: &Peer, now: Moment) -> bool {
    peer.stream.is_some() && !peer.is_superseded && now.since(peer.heard_at) < SILENCE
}

/// Bytes of entries that may be under way on a link.
pub(super) fn window(frame_max: usize) -> u64 {
    u64::try_from(frame_max).unwrap_or(WINDOW_MAX).saturating_mul(4).min(WINDOW_MAX)
}

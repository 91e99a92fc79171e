//! Who the members are, which of them are connected, and whom to dial when. Pure: told the time and a random number.
//!
//! The member with the smaller id dials; the other waits a moment, and dials too when nothing comes. Of two connections
//! between the same members both ends keep the same one.
//! Never: opens a connection, or forgets a member that may still hold what nobody else does.

mod lane;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::lane::Lane;
use super::config::Place;
use super::handshake::Greeted;
use super::link::Traffic;
use super::members::{MEMBERS_MAX, Picture};
use super::message::MemberId;
use super::replicator::Link;

/// Everybody that this member knows of.
#[derive(Debug)]
pub(super) struct Roster {
    me: MemberId,
    /// How long somebody is remembered who is not connected and not listed.
    remembered: Duration,
    lanes: BTreeMap<Place, Lane>,
    members: BTreeMap<MemberId, Member>,
    next_link: u64,
    /// Everybody is dialled at once, because this member waits for them.
    is_waiting: bool,
    has_picture: bool,
    has_left: bool,
}

/// Another member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) linked: Option<Linked>,
    /// When it was last connected, or first was.
    pub(super) changed: Instant,
}

/// A connection in use.
#[derive(Debug, Clone)]
pub(super) struct Linked {
    pub(super) link: Link,
    pub(super) incarnation: u64,
    pub(super) version: u8,
    pub(super) dialler: Dialler,
    pub(super) traffic: Arc<Traffic>,
    pub(super) cut: CancellationToken,
}

/// Which end of a connection dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialler {
    This,
    Other,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the one to use; the other one is to be ended.
    Wanted { linked: Linked, instead_of: Option<Linked> },
    /// There is a better one.
    Unwanted,
}

/// What came of dialling a place, when there is no connection to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// This very process is there.
    Own,
    /// Who says to be that member has a connection already.
    Unwanted(MemberId),
    /// Nobody was reached.
    Trouble(String),
}

/// Somebody as operators see them.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) id: Option<MemberId>,
    pub(super) places: Vec<Place>,
    pub(super) linked: Option<Linked>,
    /// When it became connected, or was lost.
    pub(super) changed: Instant,
    pub(super) trouble: Option<String>,
}

/// How long the member with the larger id waits for the other to dial.
const YIELD: Duration = Duration::from_millis(1500);
/// How long one that is ready leaves a new member the first word.
const COURTESY: Duration = Duration::from_millis(400);

// === impl Roster ===

impl Roster {
    /// `remembered`: how long somebody is dialled who is not listed any more.
    pub(super) fn new(me: MemberId, remembered: Duration) -> Self {
        Self {
            me,
            remembered,
            lanes: BTreeMap::new(),
            members: BTreeMap::new(),
            next_link: 0,
            is_waiting: true,
            has_picture: false,
            has_left: false,
        }
    }

    /// Takes over whom the source knows of.
    pub(super) fn sighted(&mut self, picture: &Picture, now: Instant) {
        self.has_picture |= picture.is_known;
        for lane in self.lanes.values_mut() {
            lane.is_listed = false;
        }
        for seen in picture.seen.iter().filter(|seen| seen.id.as_ref() != Some(&self.me)) {
            let due = now + self.first_wait(seen.id.as_ref());
            if MEMBERS_MAX <= self.lanes.len() && !self.lanes.contains_key(&seen.place) {
                continue;
            }
            let lane = self.lanes.entry(seen.place.clone()).or_insert_with(|| Lane::new(due, now));
            lane.is_listed = true;
            if seen.id.is_some() {
                lane.id.clone_from(&seen.id);
            }
        }
        self.forget(now);
    }

    /// The places to dial now; each is to be answered by [`Self::missed`] or [`Self::admit`].
    pub(super) fn due(&mut self, now: Instant) -> Vec<Place> {
        self.forget(now);
        if self.has_left {
            return Vec::new();
        }
        let (members, lanes) = (&self.members, &mut self.lanes);
        let due = lanes.iter_mut().filter(|(_, lane)| lane.is_due(now) && !is_linked(members, lane));
        due.map(|(place, lane)| {
            lane.begin();
            place.clone()
        })
        .collect()
    }

    /// When somebody is to be dialled next.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.has_left {
            return None;
        }
        let idle = self.lanes.values().filter(|lane| !is_linked(&self.members, lane));
        idle.filter_map(Lane::due).min()
    }

    /// Dialling a place came to nothing; true when that is news.
    pub(super) fn missed(&mut self, place: &Place, missed: Missed, now: Instant, random: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(place) else { return false };
        if let Missed::Unwanted(peer) = &missed
            && self.members.get(peer).is_some_and(|member| member.linked.is_some())
        {
            // It has not proved who it is; so much is known that nobody needs to be dialled as long as that one is there.
            lane.id = Some(peer.clone());
        }
        lane.missed(missed, now, random)
    }

    /// Somebody proved to be a member: over a place that was dialled, or by dialling this member.
    pub(super) fn admit(&mut self, greeted: &Greeted, at: Option<&Place>, now: Instant) -> Admission {
        let Greeted { peer, incarnation, version } = greeted;
        if let Some(lane) = at.and_then(|place| self.lanes.get_mut(place)) {
            lane.reached(peer);
        }
        let dialler = if at.is_some() { Dialler::This } else { Dialler::Other };
        let has_room = self.members.len() < MEMBERS_MAX || self.members.contains_key(peer);
        let known = self.members.get(peer).and_then(|member| member.linked.as_ref());
        if !has_room || known.is_some_and(|known| !self.is_better(peer, *incarnation, dialler, known)) {
            return Admission::Unwanted;
        }
        self.next_link += 1;
        let linked = Linked {
            link: Link(self.next_link),
            incarnation: *incarnation,
            version: *version,
            dialler,
            traffic: Arc::default(),
            cut: CancellationToken::new(),
        };
        let member = self.members.entry(peer.clone()).or_insert(Member { linked: None, changed: now });
        if member.linked.is_none() {
            member.changed = now;
        }
        let instead_of = member.linked.replace(linked.clone());
        Admission::Wanted { linked, instead_of }
    }

    /// A connection ended; true when it was the one in use, so that the member is lost. One that said `goodbye` is not
    /// waited for.
    pub(super) fn lost(&mut self, peer: &MemberId, link: Link, goodbye: bool, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(peer) else { return false };
        if member.linked.as_ref().is_none_or(|linked| linked.link != link) {
            return false;
        }
        member.linked = None;
        member.changed = now;
        let wait = if self.me < *peer { Duration::from_millis(50) } else { YIELD };
        for lane in self.lanes.values_mut().filter(|lane| lane.id.as_ref() == Some(peer)) {
            lane.lost(now, now + wait);
        }
        if goodbye {
            self.members.remove(peer);
            self.lanes.retain(|_, lane| lane.is_listed || lane.id.as_ref() != Some(peer));
        }
        true
    }

    /// Nobody is waited for any more: new members are left the first word.
    pub(super) fn stop_waiting(&mut self) {
        self.is_waiting = false;
    }

    /// Nobody is dialled any more.
    pub(super) fn leave(&mut self) {
        self.has_left = true;
    }

    /// Whether everybody who is listed is connected, or was tried without success.
    pub(super) fn is_settled(&self) -> bool {
        let settled = |lane: &Lane| lane.was_tried() || is_linked(&self.members, lane);
        self.has_picture && self.lanes.values().filter(|lane| lane.is_listed).all(settled)
    }

    /// Members that are connected, and this one.
    pub(super) fn size(&self) -> usize {
        1 + self.linked().count()
    }

    /// All connections in use.
    pub(super) fn linked(&self) -> impl Iterator<Item = (&MemberId, &Linked)> {
        self.members.iter().filter_map(|(id, member)| Some((id, member.linked.as_ref()?)))
    }

    /// Everybody else, the connected and the lost.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let places_of = |id: &MemberId| {
            let of = self.lanes.iter().filter(|(_, lane)| lane.id.as_ref() == Some(id));
            of.map(|(place, lane)| (place.clone(), lane.trouble.clone())).collect::<Vec<_>>()
        };
        let members = self.members.iter().map(|(id, member)| {
            let (places, troubles): (Vec<_>, Vec<_>) = places_of(id).into_iter().unzip();
            Shown {
                id: Some(id.clone()),
                places,
                linked: member.linked.clone(),
                changed: member.changed,
                trouble: troubles.into_iter().flatten().next().filter(|_| member.linked.is_none()),
            }
        });
        let is_new = |lane: &Lane| lane.id.as_ref().is_none_or(|id| !self.members.contains_key(id));
        let strangers = self.lanes.iter().filter(|(_, lane)| !lane.is_own() && is_new(lane));
        let strangers = strangers.map(|(place, lane)| Shown {
            id: lane.id.clone(),
            places: vec![place.clone()],
            linked: None,
            changed: lane.unreached_since,
            trouble: lane.trouble.clone(),
        });
        members.chain(strangers).collect()
    }

    /// Whether a new connection takes the place of the one in use. Both ends come to the same answer.
    fn is_better(&self, peer: &MemberId, incarnation: u64, dialler: Dialler, known: &Linked) -> bool {
        let smaller_dialled = (dialler == Dialler::This) == (self.me < *peer);
        match incarnation.cmp(&known.incarnation) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // Who dials again has lost the one before.
            std::cmp::Ordering::Equal => dialler == known.dialler || smaller_dialled,
        }
    }

    fn first_wait(&self, id: Option<&MemberId>) -> Duration {
        match id {
            _ if self.is_waiting => Duration::ZERO,
            Some(id) if *id < self.me => YIELD,
            Some(_) => COURTESY,
            None => Duration::ZERO,
        }
    }

    /// Drops who is neither listed nor connected, when that has lasted.
    fn forget(&mut self, now: Instant) {
        let remembered = self.remembered;
        let is_over = |changed: Instant| remembered <= now.saturating_duration_since(changed);
        let is_listed: Vec<MemberId> =
            self.lanes.values().filter(|lane| lane.is_listed).filter_map(|lane| lane.id.clone()).collect();
        self.members.retain(|id, member| {
            member.linked.is_some() || is_listed.contains(id) || !is_over(member.changed)
        });
        let members = &self.members;
        self.lanes
            .retain(|_, lane| lane.is_listed || lane.id.as_ref().is_some_and(|id| members.contains_key(id)));
    }
}

fn is_linked(members: &BTreeMap<MemberId, Member>, lane: &Lane) -> bool {
    let member = lane.id.as_ref().and_then(|id| members.get(id));
    member.is_some_and(|member| member.linked.is_some())
}

#[cfg(test)]
mod tests;

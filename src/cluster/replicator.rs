//! The rules of replication, as a pure state machine: told of time, of frames, of what happened here, of links; asked
//! for frames to send, changes to apply and the next time at which it wants to be told.
//!
//! A frame has no length of its own; who writes it to a connection says how long it is. Who owns a link cuts it when
//! nothing has come on it for [`Replicator::SILENCE`], and asks for frames after everything that it tells.
//! Never: opens a socket, reads a clock, draws a random number, waits, or keeps a queue for a member.

mod bits;
mod clock;
mod digests;
mod entries;
mod fault;
mod holding;
mod links;
mod members;
mod merging;
mod peer;
mod receiving;
mod reconciling;
mod sending;
mod streams;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{Key, MemberId, StreamId};
use crate::directory::LeaseRules;
use crate::model::{Instance, Moment, Timestamp};
use clock::HybridClock;
use entries::Entries;
use members::Members;
use peer::Peer;
use streams::Streams;

pub use fault::Fault;

/// What a member is, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This member.
    pub me: MemberId,
    /// Another one at each start of this member, larger as a rule. Of two members with one id that are alive at once the
    /// one with the smaller is kept.
    pub incarnation: u64,
    /// Longest lease that any member grants; bounds how long a deregistration is remembered.
    pub max_ttl: Duration,
    /// How long an instance is kept whose member cannot be reached.
    pub hold: Duration,
    /// How long renewals are collected before they are sent.
    pub flush: Duration,
    /// Most bytes of one frame; less than [`Settings::FRAME_LEAST`] is taken for that.
    pub frame_max: usize,
    /// How leases end in the store.
    pub leases: LeaseRules,
}

/// The time, twice: for leases and for stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub at: Moment,
    /// Time of day of this member.
    pub wall: Timestamp,
}

/// One connection to another member, authenticated; a number that is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// The row of the store's columns in which an entry's lease is; see [`crate::directory::Slot::row`].
pub type Row = u32;

/// What is to be done to the directories, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The instance is registered as this, its lease last renewed then. Answered by [`Replicator::placed`].
    Put {
        /// What it is about.
        key: Key,
        /// What it is now.
        instance: Arc<Instance>,
        /// When its lease was last renewed, by this member's clock.
        renewed: Moment,
    },
    /// The instance was deregistered elsewhere.
    Remove {
        /// What it is about.
        key: Key,
    },
    /// Its lease was renewed elsewhere.
    Renew {
        /// Where its lease is.
        row: Row,
        /// What it is about.
        key: Key,
        /// When, by this member's clock.
        at: Moment,
    },
}

/// Why a link is to be cut: its other end breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misbehaviour(pub String);

/// The rules, and all that they know.
#[derive(Debug)]
pub struct Replicator {
    settings: Settings,
    /// [`MemberId::origin`] of this member.
    me: u64,
    /// What is written here now.
    mine: StreamId,
    /// All that this process has called its stream.
    lives: Vec<u64>,
    /// How much of its stream it has sent to anybody.
    told: u64,
    started: Moment,
    clock: HybridClock,
    entries: Entries,
    streams: Streams,
    members: Members,
    links: BTreeMap<Link, Peer>,
    /// Deregistrations by when they were.
    tombstones: BTreeSet<(Moment, u32)>,
    /// Entries that the directories had no room for.
    unplaced: BTreeSet<u32>,
    pending: Vec<Pending>,
    timers: Timers,
    counts: Counts,
    is_draining: bool,
    /// When another member was last seen that calls itself as this one does.
    twin: Option<Moment>,
    fault: Option<Fault>,
}

/// What is to be told by [`Replicator::effects`]: an entry with its slot's generation, as it is then.
#[derive(Debug)]
enum Pending {
    Put(u32, u32),
    Renew(u32, u32),
    Remove(Key),
}

/// When something is to be done next.
#[derive(Debug)]
struct Timers {
    /// None while no renewal waits.
    flush: Option<Moment>,
    ping: Moment,
    digest: Moment,
}

/// What is counted since the start.
#[derive(Debug, Default)]
struct Counts {
    repairs: u64,
    unreadable: u64,
    too_large: u64,
    renewals: u64,
    received: u64,
}

/// How a member stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries that are registered.
    pub alive: usize,
    /// Deregistrations that are remembered.
    pub dead: usize,
    /// A sum over all that is registered; equal on members that agree.
    pub digest: u64,
    /// Differences that digests found and that were mended, since the start.
    pub repairs: u64,
    /// Writes whose stamp was more than a minute ahead of this member's clock, since the start.
    pub stamps_ahead: u64,
    /// Records of other members that this build cannot read, since the start.
    pub unreadable: u64,
    /// Entries that were not sent because they do not fit into a frame, since the start.
    pub too_large: u64,
    /// Whether another member calls itself as this one does, as of the last half minute.
    pub has_twin: bool,
    /// One for each connected member.
    pub links: Vec<LinkReport>,
}

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    /// The connection.
    pub link: Link,
    /// Who is at its other end.
    pub peer: MemberId,
    /// Entries that it has not been sent yet, at most.
    pub behind: u64,
    /// Whether both had the same digest at the last comparison; none before the first.
    pub agrees: Option<bool>,
    /// Milliseconds for a ping and its answer; none before the first.
    pub round_trip: Option<u64>,
    /// Whether it said goodbye.
    pub is_draining: bool,
}

// === impl Settings ===

impl Settings {
    /// Least of all that a frame may be bounded by.
    pub const FRAME_LEAST: usize = 4096;

    /// How much longer than older copies can last a deregistration is remembered.
    const MARGIN: Duration = Duration::from_secs(20);

    /// Length of an instance's lease as it is after a renewal; none for one without an end.
    fn lease(&self, instance: &Instance) -> Option<Duration> {
        self.leases.first_lease(instance).map(|_| self.leases.renewed_lease(instance))
    }

    /// How long a deregistration is remembered.
    #[must_use]
    pub fn remembrance(&self) -> Duration {
        let lease = if self.leases.strict_eureka { self.max_ttl.saturating_mul(2) } else { self.max_ttl };
        lease.saturating_add(self.hold).saturating_add(Self::MARGIN)
    }

    fn frame_max(&self) -> usize {
        self.frame_max.max(Self::FRAME_LEAST)
    }
}

// === impl Replicator ===

/// How often members tell each other that they live.
const PING: Duration = Duration::from_secs(1);
/// How often they compare what they have.
const DIGEST: Duration = Duration::from_secs(4);
/// How long another member with this one's id is spoken of.
const TWIN: Duration = Duration::from_secs(30);

impl Replicator {
    /// A link on which nothing has come for so long is to be cut; [`Replicator::next_frame`] has something to send on
    /// each link every second.
    pub const SILENCE: Duration = members::SILENCE;

    /// A member that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        let me = settings.me.origin();
        let wire = settings.flush.saturating_mul(2);
        Self {
            me,
            mine: StreamId { origin: me, incarnation: settings.incarnation },
            lives: vec![settings.incarnation],
            told: 0,
            started: now.at,
            clock: HybridClock::default(),
            entries: Entries::default(),
            streams: Streams::default(),
            members: Members::new(settings.hold, wire),
            links: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            pending: Vec::new(),
            timers: Timers { flush: None, ping: now.at.plus(PING), digest: now.at.plus(DIGEST) },
            counts: Counts::default(),
            is_draining: false,
            twin: None,
            fault: None,
            settings,
        }
    }

    /// Breaks a rule from now on; for tests that are to notice it.
    #[doc(hidden)]
    pub fn plant(&mut self, fault: Fault) {
        self.fault = Some(fault);
        if fault == Fault::IncarnationIgnored {
            self.mine.incarnation = 0;
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn peers(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.links.values_mut()
    }

    // --- what happened here, told in the order in which it took effect ---

    /// A client's write made this of an instance; its lease begins now.
    pub fn put(&mut self, now: Now, key: Key, row: Row, instance: Arc<Instance>) {
        self.put_here(now, key, row, instance);
    }

    /// A client deregistered an instance.
    pub fn remove(&mut self, now: Now, key: &Key) {
        self.remove_here(now, key);
    }

    /// Clients renewed the leases in these rows, at these times.
    pub fn renewed(&mut self, renewed: &[(Row, Moment)]) {
        self.renewed_here(renewed);
    }

    /// The directory removed an instance because its lease ran out.
    pub fn expired(&mut self, key: &Key) {
        self.expired_here(key);
    }

    /// Whether the lease in a row that ran out is to be kept, because the member it was last renewed through cannot be
    /// reached; and until when at most. To be asked again within a second or so: the end may come sooner.
    #[must_use]
    pub fn held_until(&self, row: Row, now: Moment) -> Option<Moment> {
        self.is_held_until(row, now)
    }

    // --- effects of what came from others ---

    /// What is to be done to the directories since the last call; done before anything else is told.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.take_effects()
    }

    /// An [`Effect::Put`] was done: the instance's lease is in this row. None: it could not be placed; it is tried
    /// again from time to time.
    pub fn placed(&mut self, key: &Key, row: Option<Row>) {
        self.placed_here(key, row);
    }

    // --- links ---

    /// An authenticated connection to a member is there.
    pub fn connected(&mut self, now: Now, link: Link, peer: MemberId) {
        self.link_up(now, link, peer);
    }

    /// A connection is no more.
    pub fn disconnected(&mut self, now: Now, link: Link) {
        self.link_down(now, link);
    }

    /// A frame came.
    ///
    /// # Errors
    /// When it is none, or breaks a rule: the link is to be cut.
    pub fn received(&mut self, now: Now, link: Link, frame: &[u8]) -> Result<(), Misbehaviour> {
        self.receive(now, link, frame)
    }

    /// The next frame to send on a link, asked for when its socket takes more; none for now.
    pub fn next_frame(&mut self, now: Now, link: Link) -> Option<Bytes> {
        self.compose(now, link).map(Bytes::from)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        let timers = &mut self.timers;
        let is_flush = timers.flush.take_if(|at| *at <= now.at).is_some();
        let is_ping = timers.ping <= now.at;
        let is_digest = timers.digest <= now.at;
        if is_ping {
            timers.ping = now.at.plus(PING);
        }
        if is_digest {
            timers.digest = now.at.plus(DIGEST);
        }
        for peer in self.links.values_mut() {
            peer.sending.is_flush_due |= is_flush;
            peer.sending.is_ping_due |= is_ping;
            peer.comparing.is_digest_due |= is_digest;
        }
        if is_ping {
            self.observe_members(now.at);
        }
        if is_digest {
            self.try_unplaced(now);
        }
        self.forget_tombstones(now.at);
    }

    /// When it wants to be told of time at the latest.
    #[must_use]
    pub fn wake_at(&self) -> Moment {
        let timers = [Some(self.timers.ping), Some(self.timers.digest), self.timers.flush];
        timers.into_iter().flatten().min().unwrap_or_default()
    }

    /// Says goodbye: others take over what was renewed here at once. What is still written here is still told.
    pub fn drain(&mut self, now: Now) {
        self.is_draining = true;
        self.timers.flush = Some(now.at);
        self.timers.ping = now.at;
        self.tick(now);
    }

    // --- how it stands ---

    /// Whether it has all that the members it is connected to had when they were connected.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.links.values().all(|peer| {
            let had = &peer.receiving.had;
            peer.receiving.is_complete && had.iter().all(|(stream, upto)| *upto <= self.streams.have(*stream))
        })
    }

    /// How it stands, for `/cluster`, health and metrics.
    #[must_use]
    pub fn report(&self, now: Moment) -> Report {
        Report {
            alive: self.entries.alive(),
            dead: self.entries.dead(),
            digest: self.entries.digest(),
            repairs: self.counts.repairs,
            stamps_ahead: self.clock.ahead(),
            unreadable: self.counts.unreadable,
            too_large: self.counts.too_large,
            has_twin: self.twin.is_some_and(|seen| now.since(seen) < TWIN),
            links: self.links.iter().map(|(link, peer)| self.report_of(*link, peer)).collect(),
        }
    }

    fn report_of(&self, link: Link, peer: &Peer) -> LinkReport {
        LinkReport {
            link,
            peer: peer.id.clone(),
            behind: self.behind(peer),
            agrees: peer.agrees,
            round_trip: peer.round_trip,
            is_draining: peer.is_draining,
        }
    }
}

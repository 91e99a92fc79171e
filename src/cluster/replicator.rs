//! The rules of replication, as a pure state machine: told of time, of frames, of what happened here, of links; asked
//! for frames to send, changes to apply and the next time at which it wants to be told.
//!
//! Never: opens a socket, reads a clock, draws a random number, waits, or keeps a queue for a member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{Key, MemberId};
use crate::model::{Instance, Moment, Timestamp};

/// What a member is, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This member.
    pub me: MemberId,
    /// Larger at each start of this member.
    pub incarnation: u64,
    /// Longest lease that any member grants; bounds how long a deregistration is remembered.
    pub max_ttl: Duration,
    /// How long an instance is kept whose member cannot be reached.
    pub hold: Duration,
    /// How long renewals are collected before they are sent.
    pub flush: Duration,
    /// Most bytes of one frame.
    pub frame_max: usize,
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
}

// === impl Replicator ===

impl Replicator {
    /// A member that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        let _ = now;
        Self { settings }
    }

    // --- what happened here, told in the order in which it took effect ---

    /// A client's write made this of an instance; its lease begins now.
    pub fn put(&mut self, now: Now, key: Key, row: Row, instance: Arc<Instance>) {
        let _ = (now, key, row, instance);
        todo!()
    }

    /// A client deregistered an instance.
    pub fn remove(&mut self, now: Now, key: &Key) {
        let _ = (now, key);
        todo!()
    }

    /// A client renewed the lease in a row.
    pub fn renewed(&mut self, row: Row, at: Moment) {
        let _ = (row, at);
        todo!()
    }

    /// The directory removed an instance because its lease ran out.
    pub fn expired(&mut self, key: &Key) {
        let _ = key;
        todo!()
    }

    /// Whether the lease in a row that ran out is to be kept, because the member it was last renewed through cannot be
    /// reached; and until when at most.
    #[must_use]
    pub fn held_until(&self, row: Row, now: Moment) -> Option<Moment> {
        let _ = (row, now);
        todo!()
    }

    // --- effects of what came from others ---

    /// What is to be done to the directories since the last call; done before anything else is told.
    pub fn effects(&mut self) -> Vec<Effect> {
        todo!()
    }

    /// An [`Effect::Put`] was done: the instance's lease is in this row. None: it could not be placed.
    pub fn placed(&mut self, key: &Key, row: Option<Row>) {
        let _ = (key, row);
        todo!()
    }

    // --- links ---

    /// An authenticated connection to a member is there.
    pub fn connected(&mut self, now: Now, link: Link, peer: MemberId) {
        let _ = (now, link, peer);
        todo!()
    }

    /// A connection is no more.
    pub fn disconnected(&mut self, now: Now, link: Link) {
        let _ = (now, link);
        todo!()
    }

    /// A frame came.
    ///
    /// # Errors
    /// When it is none, or breaks a rule: the link is to be cut.
    pub fn received(&mut self, now: Now, link: Link, frame: &[u8]) -> Result<(), Misbehaviour> {
        let _ = (now, link, frame);
        todo!()
    }

    /// The next frame to send on a link, asked for when its socket takes more; none for now.
    pub fn next_frame(&mut self, now: Now, link: Link) -> Option<Bytes> {
        let _ = (now, link);
        todo!()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// When it wants to be told of time at the latest.
    #[must_use]
    pub fn wake_at(&self) -> Moment {
        todo!()
    }

    /// Says goodbye: others take over what was renewed here at once.
    pub fn drain(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    // --- how it stands ---

    /// Whether it has all that the members it is connected to had when they were connected.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        todo!()
    }

    /// How it stands, for `/cluster`, health and metrics.
    #[must_use]
    pub fn report(&self, now: Moment) -> Report {
        let _ = now;
        todo!()
    }
}

/// How a member stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries that are registered.
    pub alive: usize,
    /// Deregistrations that are remembered.
    pub dead: usize,
    /// Instances that are kept although their lease ran out.
    pub held: usize,
    /// A sum over all that is registered; equal on members that agree.
    pub digest: u64,
    /// Differences that digests found and that were mended, since the start.
    pub repairs: u64,
    /// Writes whose stamp was more than a minute ahead of this member's clock, since the start.
    pub stamps_ahead: u64,
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
    /// Entries that it has not been sent yet.
    pub behind: u64,
    /// Whether both had the same digest at the last comparison; none before the first.
    pub agrees: Option<bool>,
    /// Milliseconds for a ping and its answer; none before the first.
    pub round_trip: Option<u64>,
    /// Whether it said goodbye.
    pub is_draining: bool,
}

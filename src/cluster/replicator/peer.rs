//! What is known of the other end of a link, and what is to be sent to it: a cursor for each stream, a bit for each
//! entry, a flag for each answer.
//!
//! Never: keeps a message, or anything else that grows while the other end does not read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use super::bits::Bits;
use crate::cluster::message::{MemberId, StreamId};
use crate::model::Moment;

/// The other end of a link.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: MemberId,
    pub(super) origin: u64,
    /// What it writes now; none until it has said so.
    pub(super) stream: Option<StreamId>,
    /// When the link began.
    pub(super) begun: Moment,
    pub(super) heard_at: Moment,
    /// The members that it hears at first hand.
    pub(super) hears: BTreeSet<StreamId>,
    /// Whether it was silent for longer than deregistrations are remembered.
    pub(super) was_away: bool,
    pub(super) is_draining: bool,
    /// Another link to the same member, in a later life, has taken its place.
    pub(super) is_superseded: bool,
    /// Milliseconds for a ping and its answer.
    pub(super) round_trip: Option<u64>,
    /// How the last comparison went.
    pub(super) agrees: Option<bool>,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) comparing: Comparing,
}

/// What it is to be sent.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) has_greeted: bool,
    pub(super) stage: Stage,
    /// How far it has been sent each stream, or has it from others.
    pub(super) cursors: BTreeMap<StreamId, u64>,
    /// The state of the streams at which it had been sent all of them.
    pub(super) seen: Option<u64>,
    /// Entries that were renewed since it was last told.
    pub(super) dirty: Bits,
    /// Entries that it knows by their slots, at their present stamps.
    pub(super) bound: Bits,
    /// Entries that it is to be sent, wherever its cursors stand.
    pub(super) owed: Bits,
    /// Those of them that a digest found.
    pub(super) mended: Bits,
    pub(super) is_flush_due: bool,
    pub(super) is_ping_due: bool,
    pub(super) pong: Option<u64>,
    /// Bytes of entries that it has not said to have taken, and most there may be.
    pub(super) outstanding: u64,
    pub(super) window: u64,
    /// How far it was told that this member has each stream.
    pub(super) told: BTreeMap<StreamId, u64>,
}

/// How far the beginning of a link has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// It is being sent what it lacks.
    #[default]
    Content,
    /// It is being told of all leases.
    Leases,
    /// It is to be told that this was all.
    Closing,
    /// Only what changes is sent.
    Live,
}

/// What came from it.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// Slot and its generation by the names that it gave them; none when there is no such entry here.
    pub(super) handles: HashMap<u32, Option<(u32, u32)>, FixedState>,
    /// Entries of it that are wanted, by its names.
    pub(super) pulls: BTreeSet<u32>,
    /// Those that a digest found.
    pub(super) repairs: BTreeSet<u32>,
    /// Bytes of entries that it has not been told to be taken.
    pub(super) taken: u64,
    /// How far it had each stream when the link began.
    pub(super) had: BTreeMap<StreamId, u64>,
    /// Whether it has sent all that it had then.
    pub(super) is_complete: bool,
}

/// How both are compared.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    pub(super) is_digest_due: bool,
    pub(super) is_agreement_due: bool,
    pub(super) are_sums_due: bool,
    /// Parts that are to be listed, the last first, and from which key's number on.
    pub(super) buckets: Vec<(u8, u64)>,
    /// The part at which the next comparison begins.
    pub(super) first: u8,
    pub(super) asking: Asking,
    /// The answer to its question.
    pub(super) lacking: Option<BTreeSet<u32>>,
}

/// Whether it still has what never expires here; asked after a long absence only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asking {
    /// Not yet.
    #[default]
    Waiting,
    /// About the entries from this slot on.
    From(u32),
    /// It was asked about all up to this slot.
    Asked(u32),
    /// It has answered.
    Done,
}

// === impl Peer ===

impl Peer {
    pub(super) fn new(id: MemberId, now: Moment, was_away: bool) -> Self {
        Self {
            origin: id.origin(),
            id,
            stream: None,
            begun: now,
            heard_at: now,
            hears: BTreeSet::new(),
            was_away,
            is_draining: false,
            is_superseded: false,
            round_trip: None,
            agrees: None,
            sending: Sending::default(),
            receiving: Receiving::default(),
            comparing: Comparing::default(),
        }
    }

    /// Whether it hears a member at first hand, or is that member.
    pub(super) fn hears_member(&self, origin: u64) -> bool {
        let all = StreamId { origin, incarnation: 0 }..=StreamId { origin, incarnation: u64::MAX };
        self.origin == origin || self.hears.range(all).next().is_some()
    }

    /// Whether it has a stream from who writes it.
    pub(super) fn has_at_first_hand(&self, stream: StreamId) -> bool {
        self.stream == Some(stream) || self.hears.contains(&stream)
    }

    /// An entry is no more what it was told.
    pub(super) fn unbind(&mut self, slot: u32) {
        self.sending.bound.clear(slot);
    }

    /// An entry is no more.
    pub(super) fn forget(&mut self, slot: u32) {
        let Sending { dirty, bound, owed, mended, .. } = &mut self.sending;
        for bits in [dirty, bound, owed, mended] {
            bits.clear(slot);
        }
    }

    /// It is to be sent an entry.
    pub(super) fn owe(&mut self, slot: u32, is_repair: bool) {
        self.sending.owed.set(slot);
        if is_repair {
            self.sending.mended.set(slot);
        }
    }

    /// Whether the beginning of the link is over on both sides, so that what differs is drift.
    pub(super) fn is_comparable(&self) -> bool {
        self.sending.stage == Stage::Live
            && self.receiving.is_complete
            && self.comparing.asking == Asking::Done
    }
}

// === impl Receiving ===

impl Receiving {
    /// Most entries that are wanted at once; what is more is asked for when it renews again.
    pub(super) const PULLS_MAX: usize = 65_536;

    /// Most handles that are known; who has more entries than that is not believed.
    const HANDLES_MAX: usize = 1 << 22;

    /// A handle of it stands for an entry here, or for none.
    pub(super) fn bind(&mut self, handle: u32, entry: Option<(u32, u32)>) {
        if self.handles.len() < Self::HANDLES_MAX || self.handles.contains_key(&handle) {
            self.handles.insert(handle, entry);
        }
    }

    /// An entry of it is wanted.
    pub(super) fn pull(&mut self, handle: u32, is_repair: bool) {
        let wanted = if is_repair { &mut self.repairs } else { &mut self.pulls };
        if wanted.len() < Self::PULLS_MAX {
            wanted.insert(handle);
        }
    }
}

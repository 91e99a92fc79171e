//! What each member has written, in order, and how far this member has it.
//!
//! A stream holds the slots of the entries that were last written in it; what was superseded leaves it. So its length
//! is that of what lives, and a reader of it needs no more than the number it has got to.
//! Never: counts as had what did not come.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::cluster::frame::Mark;
use crate::cluster::message::StreamId;

/// All streams. Sorted, so that what is done with them is done in the same order in every run.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    /// Grows with each change of any of them.
    changes: u64,
}

/// What one member has written in one of its lives.
#[derive(Debug, Default)]
pub(super) struct Stream {
    order: BTreeMap<u64, u32>,
    /// All up to this has come.
    have: u64,
}

// === impl Streams ===

impl Streams {
    /// Grows with each change; who has seen it all at one number need not look before it grows.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Something else has changed that decides what is to be sent.
    pub(super) fn touch(&mut self) {
        self.changes += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// How far it has come; 0 when nothing has.
    pub(super) fn have(&self, id: StreamId) -> u64 {
        self.streams.get(&id).map_or(0, |stream| stream.have)
    }

    /// What of a stream was written behind this number and has come for certain, with its number.
    pub(super) fn after(&self, id: StreamId, seq: u64) -> impl Iterator<Item = (u64, u32)> {
        let stream = self.streams.get(&id);
        let of_stream = |stream: &'_ Stream| {
            let upto = stream.have.max(seq);
            (Bound::Excluded(seq), Bound::Included(upto))
        };
        let found = stream.map(|stream| stream.order.range(of_stream(stream)));
        found.into_iter().flatten().map(|(seq, slot)| (*seq, *slot))
    }

    /// Writes the next entry of a stream whose writer this member is.
    pub(super) fn append(&mut self, id: StreamId, slot: u32) -> u64 {
        self.changes += 1;
        let stream = self.streams.entry(id).or_default();
        stream.have += 1;
        stream.order.insert(stream.have, slot);
        stream.have
    }

    /// Notes where an entry was written.
    pub(super) fn insert(&mut self, id: StreamId, seq: u64, slot: u32) {
        self.changes += 1;
        self.streams.entry(id).or_default().order.insert(seq, slot);
    }

    /// An entry was superseded, or is gone.
    pub(super) fn remove(&mut self, id: StreamId, seq: u64, slot: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.order.get(&seq) == Some(&slot)
        {
            stream.order.remove(&seq);
        }
    }

    /// Takes over how far a stream is complete, unless something is missing before.
    pub(super) fn advance(&mut self, mark: Mark) {
        let stream = self.streams.entry(mark.stream).or_default();
        if mark.from <= stream.have && stream.have < mark.upto {
            stream.have = mark.upto;
            self.changes += 1;
        }
    }

    /// Empties a stream; answers with what was in it.
    pub(super) fn take(&mut self, id: StreamId) -> Vec<u32> {
        self.streams.remove(&id).map(|stream| stream.order.into_values().collect()).unwrap_or_default()
    }

    /// Forgets streams in which nothing is any more, until there are at most so many; false when that is not enough.
    pub(super) fn shrink(&mut self, most: usize, keep: impl Fn(StreamId) -> bool) -> bool {
        while most < self.streams.len() {
            let empty = self.streams.iter().find(|(id, stream)| stream.order.is_empty() && !keep(**id));
            let Some(id) = empty.map(|(id, _)| *id) else { return false };
            self.streams.remove(&id);
        }
        true
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// How many entries are in it.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.order.len()).unwrap_or(u64::MAX)
    }
}

//! Instances that fit a selection, as ranges of encoded chunks, and the body made of them frame by frame.
//!
//! Nothing is copied before a frame is asked for, and a frame is at most one chunk; the chunks stay as they
//! were when the listing was made, whatever changes meanwhile.
//! Never: encodes an instance, or holds a lock.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{Chunk, Row};
use super::gzip::Member;
use super::select::Fields;
use super::slots::Slots;
use crate::model::{Clock, Rfc3339};

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is; `last_heartbeat` is exact.
    Identity,
    /// As one gzip member (RFC 1952); `last_heartbeat` may be up to 5 s old.
    Gzip,
}

/// Instances that fit a selection.
#[derive(Debug)]
pub struct Listing {
    slots: Arc<Slots>,
    clock: Arc<Clock>,
    fields: Option<Fields>,
    parts: Vec<Part>,
    instances: usize,
    bytes: usize,
}

/// Rows of a chunk.
#[derive(Debug)]
struct Part {
    chunk: Arc<Chunk>,
    rows: Range<usize>,
}

/// A body in frames of at most one chunk, each made when it is asked for.
#[derive(Debug)]
pub struct Frames {
    listing: Listing,
    next: Next,
    gzip: Option<Member>,
    prefix: Bytes,
    suffix: Bytes,
    len: u64,
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Header,
    Prefix,
    Part(usize),
    Suffix,
    Trailer,
    End,
}

/// Bodies up to here go out in one frame.
const ONE_FRAME_MAX: u64 = 32 * 1024;

// === impl Listing ===

impl Listing {
    pub(super) fn new(slots: Arc<Slots>, clock: Arc<Clock>, fields: Option<Fields>) -> Self {
        Self { slots, clock, fields, parts: Vec::new(), instances: 0, bytes: 0 }
    }

    /// Adds rows of a chunk.
    pub(super) fn add(&mut self, chunk: &Arc<Chunk>, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        self.instances += rows.len();
        self.bytes += match self.fields {
            None => chunk.place(rows.clone()).len(),
            Some(fields) => {
                chunk.rows()[rows.clone()].iter().map(|row| fields.len_of(row)).sum::<usize>() + rows.len()
                    - 1
            }
        };
        self.parts.push(Part { chunk: chunk.clone(), rows });
    }

    /// Number of instances.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances
    }

    /// Whether nothing fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances == 0
    }

    /// Length of the instances as they are listed, commas between them not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `prefix`, the instances separated by commas, `suffix`.
    #[must_use]
    pub fn render(self, prefix: Bytes, suffix: Bytes, encoding: Encoding) -> Frames {
        let len = prefix.len() + self.bytes + self.parts.len().saturating_sub(1) + suffix.len();
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let plain =
            Frames { listing: self, next: Next::Prefix, gzip: None, prefix, suffix, len, left: Some(len) };
        match encoding {
            Encoding::Identity if len <= ONE_FRAME_MAX => plain.in_one(Bytes::from),
            Encoding::Identity => plain,
            Encoding::Gzip if len <= ONE_FRAME_MAX => plain.in_one(|text| super::gzip::gzip(&text)),
            Encoding::Gzip => {
                Frames { next: Next::Header, gzip: Some(Member::default()), left: None, ..plain }
            }
        }
    }

    /// The objects of a part, with the times of their leases as they are now.
    fn text(&self, Part { chunk, rows }: &Part, to: &mut Vec<u8>) {
        match self.fields {
            None => {
                let (place, begin) = (chunk.place(rows.clone()), to.len());
                to.extend_from_slice(&chunk.text(rows.clone()));
                let mut times = Rfc3339::default();
                for row in &chunk.rows()[rows.clone()] {
                    self.write_heartbeat(row, &mut times, begin + row.begin() - place.start, to);
                }
            }
            Some(fields) => {
                let (mut object, mut times) = (Vec::new(), Rfc3339::default());
                for (nth, row) in chunk.rows()[rows.clone()].iter().enumerate() {
                    if nth != 0 {
                        to.push(b',');
                    }
                    object.clear();
                    object.extend_from_slice(chunk.object(row));
                    self.write_heartbeat(row, &mut times, 0, &mut object);
                    fields.copy(&object, row, to);
                }
            }
        }
    }

    /// A row that belongs to another instance by now keeps the time it was encoded with.
    fn write_heartbeat(&self, row: &Row, times: &mut Rfc3339, object_at: usize, text: &mut [u8]) {
        if let Some(renewed) = self.slots.renewed(row.slot) {
            let at = object_at + row.layout.heartbeat_at();
            text[at..at + 24].copy_from_slice(times.text(self.clock.time_of_day(renewed)));
        }
    }
}

// === impl Frames ===

impl Frames {
    /// Bytes still to come; unknown for a body that is compressed while it is sent.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.left
    }

    /// All of the body in a single frame.
    fn in_one(self, code: impl FnOnce(Vec<u8>) -> Bytes) -> Self {
        let Self { mut listing, prefix, suffix, len, .. } = self;
        let mut text = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        text.extend_from_slice(&prefix);
        for (nth, part) in std::mem::take(&mut listing.parts).iter().enumerate() {
            if nth != 0 {
                text.push(b',');
            }
            listing.text(part, &mut text);
        }
        text.extend_from_slice(&suffix);
        let prefix = code(text);
        let len = u64::try_from(prefix.len()).unwrap_or(u64::MAX);
        Self { listing, next: Next::Prefix, gzip: None, prefix, suffix: Bytes::new(), len, left: Some(len) }
    }

    fn edge(&mut self, text: Bytes) -> Bytes {
        match &mut self.gzip {
            None => text,
            Some(member) => member.stored(&text),
        }
    }

    fn part(&mut self, nth: usize) -> Bytes {
        let part = &self.listing.parts[nth];
        let comma = nth != 0;
        let text = || {
            let mut text = Vec::with_capacity(part.chunk.place(part.rows.clone()).len() + 1);
            if comma {
                text.push(b',');
            }
            self.listing.text(part, &mut text);
            text
        };
        let Some(member) = &mut self.gzip else { return text().into() };
        if self.listing.fields.is_some() || part.rows.len() != part.chunk.rows().len() {
            return member.deflated(&text());
        }
        let without_comma = || {
            let mut text = Vec::with_capacity(part.chunk.bytes());
            self.listing.text(part, &mut text);
            text.into()
        };
        match part.chunk.fragment.get(self.listing.clock.now(), without_comma) {
            Some(fragment) => member.fragment(&fragment, comma),
            None => member.stored(&text()),
        }
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let parts = self.listing.parts.len();
        let (frame, next) = match self.next {
            Next::Header => (self.gzip.as_ref().map_or_else(Bytes::new, Member::header), Next::Prefix),
            Next::Prefix if parts == 0 && self.suffix.is_empty() => (self.prefix.clone(), Next::End),
            Next::Prefix => {
                (self.edge(self.prefix.clone()), if parts == 0 { Next::Suffix } else { Next::Part(0) })
            }
            Next::Part(nth) => {
                (self.part(nth), if nth + 1 < parts { Next::Part(nth + 1) } else { Next::Suffix })
            }
            Next::Suffix if self.gzip.is_none() => (self.suffix.clone(), Next::End),
            Next::Suffix => (self.edge(self.suffix.clone()), Next::Trailer),
            Next::Trailer => (self.gzip.take()?.trailer(self.len), Next::End),
            Next::End => return None,
        };
        self.next = next;
        let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(len));
        Some(frame)
    }
}

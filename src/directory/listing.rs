//! Instances that fit a selection, as ranges of encoded chunks, and the body made of them frame by frame.
//!
//! Nothing is copied before a frame is asked for, and a frame is one chunk, or several pieces of chunks that
//! are together hardly longer than one; the chunks stay as they were when the listing was made, whatever
//! changes meanwhile.
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

/// A body in frames of about one chunk, each made when it is asked for.
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

/// Pieces of chunks go out together until they are as long as this: to begin a compression costs as much
/// as to compress some kilobytes.
const FRAME_MIN: usize = 16 * 1024;

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

    /// Whether a part is all of its chunk, and all members of it; then it may have a fragment that is kept.
    fn is_whole(&self, part: &Part) -> bool {
        self.fields.is_none() && part.rows.len() == part.chunk.rows().len()
    }

    /// The parts from `nth` on that go out together, the others only if they may join the first.
    fn run(&self, nth: usize, may_join: impl Fn(&Part) -> bool) -> Range<usize> {
        let mut bytes = 0;
        let joined = self.parts[nth..].iter().enumerate().take_while(|(at, part)| {
            let joins = *at == 0 || (bytes < FRAME_MIN && may_join(part));
            bytes += part.bytes();
            joins
        });
        nth..nth + joined.count()
    }

    /// The objects of some parts, each part but the first of all after a comma.
    fn texts(&self, parts: Range<usize>) -> Vec<u8> {
        let bytes = self.parts[parts.clone()].iter().map(|part| part.bytes() + 1).sum();
        let mut text = Vec::with_capacity(bytes);
        for nth in parts {
            if nth != 0 {
                text.push(b',');
            }
            self.text(&self.parts[nth], &mut text);
        }
        text
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

// === impl Part ===

impl Part {
    /// Length of its objects with all of their members.
    fn bytes(&self) -> usize {
        self.chunk.place(self.rows.clone()).len()
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

    /// The frame that begins with a part, and which part the next one begins with.
    fn frame_from(&mut self, nth: usize) -> (Bytes, usize) {
        let Self { listing, gzip, .. } = self;
        let Some(member) = gzip else {
            let run = listing.run(nth, |_| true);
            return (listing.texts(run.clone()).into(), run.end);
        };
        let part = &listing.parts[nth];
        if !listing.is_whole(part) {
            let run = listing.run(nth, |part| !listing.is_whole(part));
            return (member.deflated(&listing.texts(run.clone())), run.end);
        }
        let without_comma = || {
            let mut text = Vec::with_capacity(part.chunk.bytes());
            listing.text(part, &mut text);
            text.into()
        };
        let frame = match part.chunk.fragment.get(listing.clock.now(), without_comma) {
            Some(fragment) => member.fragment(&fragment, nth != 0),
            None => member.stored(&listing.texts(nth..nth + 1)),
        };
        (frame, nth + 1)
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
                let (frame, after) = self.frame_from(nth);
                (frame, if after < parts { Next::Part(after) } else { Next::Suffix })
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use flate2::read::GzDecoder;

    use super::super::{Directory, LeaseRules, LogLimits, Selector, Shown};
    use super::*;
    use crate::model::{Endpoint, EndpointType, Origin, Registration, Status, Timestamp};

    const INSTANCES: usize = 2000;

    /// Every second instance has the tag `even`.
    fn directory() -> Directory {
        let directory =
            Directory::new(1, Arc::default(), Arc::default(), LogLimits::default(), LeaseRules::default());
        for nth in 0..INSTANCES {
            let tags: &[Box<str>] = if nth % 2 == 0 { &["even".into()] } else { &[] };
            let asked = Registration {
                service: format!("service-{nth:04}").parse().unwrap(),
                endpoint: Endpoint::new(EndpointType::Http, "10.0.0.1:8080").unwrap(),
                status: Status::Up,
                tags: tags.into(),
                metadata: None,
                ttl: None,
                eureka: None,
            };
            let instance = asked.grant(Duration::from_secs(30), Timestamp::default());
            directory.place(&instance, None, Origin::Client).unwrap();
        }
        directory
    }

    fn frames(directory: &Directory, selector: &Selector, encoding: Encoding) -> Vec<Bytes> {
        directory.select(selector).render("[".into(), "]".into(), encoding).collect()
    }

    fn check(directory: &Directory, selector: &Selector, instances: usize) {
        let plain = frames(directory, selector, Encoding::Identity);
        let text = plain.concat();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        assert_eq!(list.len(), instances);
        let coded = frames(directory, selector, Encoding::Gzip);
        let mut decoded = Vec::new();
        GzDecoder::new(&*coded.concat()).read_to_end(&mut decoded).unwrap();
        assert!(decoded == text);
        let whole = directory.select(&Selector { fields: None, ..selector.clone() }).bytes();
        for frames in [plain.len(), coded.len()] {
            assert!(frames <= 4 + whole.div_ceil(FRAME_MIN), "{frames} frames for {whole} bytes");
        }
    }

    #[test]
    fn frames_are_few_however_scattered_the_instances_are() {
        let directory = directory();
        let all = Selector { shown: Shown::All, ..Selector::default() };
        let scattered = Selector { tags: vec!["even".into()], ..all.clone() };
        check(&directory, &all, INSTANCES);
        check(&directory, &scattered, INSTANCES / 2);
        let fields = Some(Fields::least());
        check(&directory, &Selector { fields, ..all }, INSTANCES);
        check(&directory, &Selector { fields, ..scattered }, INSTANCES / 2);
    }
}

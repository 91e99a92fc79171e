//! A chunk as Eureka's readers see it, encoded when first asked for and kept with the chunk.
//!
//! The times of renewals in it may be up to five seconds old; they are written over in place, so nothing is
//! encoded twice.
//! Never: outlives its chunk's content.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::chunk::Chunk;
use super::gzip::{Fragment, FragmentCache};
use super::slots::Slots;
use crate::model::{Clock, Instance, Moment, Timestamp};
use crate::wire::eureka::Format;

/// The instances of a chunk in one format, with what stands between them.
#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) text: Bytes,
    spans: Box<[Span]>,
    /// As of when the times of renewals are.
    made: Moment,
}

/// One instance in a rendition.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: u32,
    end: u32,
    /// Where the time of the last renewal stands; 0 when it does not.
    renewal: u32,
}

/// A chunk's renditions, one for each format.
#[derive(Debug, Default)]
pub(super) struct Renditions([Kept; Format::COUNT]);

#[derive(Debug, Default)]
struct Kept {
    rendition: ArcSwapOption<Rendition>,
    fragment: FragmentCache,
}

/// What renditions are made with.
#[derive(Debug, Clone)]
pub(super) struct Press {
    pub(super) slots: Arc<Slots>,
    pub(super) clock: Arc<Clock>,
    pub(super) format: Format,
}

/// How old times of renewals may be.
pub(super) const KEEP: Duration = Duration::from_secs(5);

/// Digits of a time in milliseconds, from 2001 to 2286.
const DIGITS: usize = 13;

// === impl Press ===

impl Press {
    /// The rendition of a chunk, its times new enough.
    pub(super) fn rendition(&self, chunk: &Chunk) -> Arc<Rendition> {
        let kept = &self.kept(chunk).rendition;
        let now = self.clock.now();
        let rendition = match kept.load_full() {
            Some(there) if !self.format.shows_renewal() || now.since(there.made) <= KEEP => return there,
            Some(old) => Arc::new(self.renewed(&old, chunk, now)),
            None => Arc::new(self.encoded(chunk, now)),
        };
        kept.store(Some(rendition.clone()));
        rendition
    }

    /// Whether the chunk has been encoded before.
    pub(super) fn has(&self, chunk: &Chunk) -> bool {
        chunk.renditions.get().is_some_and(|kept| kept.0[self.format.position()].rendition.load().is_some())
    }

    /// The rendition deflated; none while its line of chunks rests.
    pub(super) fn fragment(&self, chunk: &Chunk) -> Option<Arc<Fragment>> {
        self.kept(chunk).fragment.get(self.clock.now(), || self.rendition(chunk).text.clone())
    }

    fn kept<'a>(&self, chunk: &'a Chunk) -> &'a Kept {
        &chunk.renditions.get_or_init(Box::default).0[self.format.position()]
    }

    fn encoded(&self, chunk: &Chunk, now: Moment) -> Rendition {
        let mut text = Vec::with_capacity(chunk.bytes() * 4);
        let mut spans = Vec::with_capacity(chunk.rows().len());
        let mut before: Option<&Instance> = None;
        for (row, instance) in chunk.rows().iter().zip(chunk.roster.iter()) {
            if let Some(before) = before {
                push_between(&mut text, self.format, before, instance);
            }
            let renewed = self.slots.renewed(row.slot).unwrap_or(now);
            let begin = text.len();
            let renewed = self.clock.time_of_day(renewed);
            let renewal = self.format.push_instance(&mut text, instance, renewed, None);
            let (begin, end, renewal) = (offset(begin), offset(text.len()), offset(renewal.unwrap_or(0)));
            spans.push(Span { begin, end, renewal });
            before = Some(instance);
        }
        text.shrink_to_fit();
        Rendition { text: text.into(), spans: spans.into(), made: now }
    }

    /// The same with the times of now. A row that belongs to another instance by now keeps its time.
    fn renewed(&self, old: &Rendition, chunk: &Chunk, now: Moment) -> Rendition {
        let mut text = old.text.to_vec();
        for (span, row) in old.spans.iter().zip(chunk.rows()) {
            if let (at @ 1.., Some(renewed)) = (span.renewal, self.slots.renewed(row.slot)) {
                write_time(&mut text, index(at), self.clock.time_of_day(renewed));
            }
        }
        Rendition { text: text.into(), spans: old.spans.clone(), made: now }
    }
}

// === impl Rendition ===

impl Rendition {
    /// The text of one instance.
    pub(super) fn instance(&self, row: usize) -> &[u8] {
        let place = self.spans.get(row).map_or(0..0, |span| index(span.begin)..index(span.end));
        self.text.get(place).unwrap_or_default()
    }
}

// === impl Renditions ===

impl Renditions {
    /// Those of a chunk that takes the place of this one's: nothing is kept but when it may be compressed.
    pub(super) fn heirs(&self) -> Self {
        Self(self.0.each_ref().map(|kept| Kept { fragment: kept.fragment.heir(), ..Kept::default() }))
    }
}

/// Whether two instances belong to one application, whose name is the same in any letter case.
pub(super) fn is_one_application(a: &Instance, b: &Instance) -> bool {
    a.service.as_str().eq_ignore_ascii_case(b.service.as_str())
}

/// Appends what stands between two instances of a list.
pub(super) fn push_between(to: &mut Vec<u8>, format: Format, before: &Instance, next: &Instance) {
    if is_one_application(before, next) {
        to.extend_from_slice(format.between_instances().as_bytes());
    } else {
        to.extend_from_slice(format.close_application().as_bytes());
        to.extend_from_slice(format.between_applications().as_bytes());
        format.open_application(to, &next.application());
    }
}

/// Writes a time over one of the same width.
pub(super) fn write_time(text: &mut [u8], at: usize, time: Timestamp) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(time.as_millis()).as_bytes();
    if let (DIGITS, Some(place)) = (digits.len(), text.get_mut(at..at + DIGITS)) {
        place.copy_from_slice(digits);
    }
}

/// A chunk has at most 128 instances, each no longer than a request.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

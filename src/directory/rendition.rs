//! A chunk as Eureka's readers see it, encoded when first asked for and kept with the chunk.
//!
//! The times of renewals in it may be up to five seconds old; they are written over in place, so nothing is
//! encoded twice.
//! Never: outlives its chunk's content.

use std::ops::Range;
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
    /// Its text, and that of others beside it when they were written together.
    pub(super) sheet: Bytes,
    /// Where in the sheet that begins which stands between the chunk before and this one.
    pub(super) lead: usize,
    /// Where in the sheet its own text stands.
    pub(super) place: Range<usize>,
    /// From where its own text begins.
    spans: Arc<[Span]>,
    /// As of when the times of renewals are.
    pub(super) made: Moment,
}

/// One instance in a rendition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
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
        let now = self.clock.now();
        let there = self.there(chunk);
        if let Some(there) = &there
            && !self.is_old(there, now)
        {
            return there.clone();
        }
        let mut text = Vec::new();
        let spans = self.write(&mut text, chunk, there.as_deref(), now);
        text.shrink_to_fit();
        let rendition = Rendition::alone(text, spans, now);
        self.keep(chunk, rendition)
    }

    /// The rendition of a chunk as it was last made, however old; none when it never was.
    pub(super) fn there(&self, chunk: &Chunk) -> Option<Arc<Rendition>> {
        chunk.renditions.get()?.0[self.format.position()].rendition.load_full()
    }

    /// Whether the times in a rendition are too old.
    pub(super) fn is_old(&self, rendition: &Rendition, now: Moment) -> bool {
        self.format.shows_renewal() && KEEP < now.since(rendition.made)
    }

    pub(super) fn keep(&self, chunk: &Chunk, rendition: Rendition) -> Arc<Rendition> {
        let rendition = Arc::new(rendition);
        self.kept(chunk).rendition.store(Some(rendition.clone()));
        rendition
    }

    /// Length of a chunk's text, which is encoded if it never was.
    pub(super) fn len(&self, chunk: &Chunk) -> usize {
        self.there(chunk).unwrap_or_else(|| self.rendition(chunk)).place.len()
    }

    /// The text of a chunk, its times new enough. What is kept stays beside what it was written with.
    pub(super) fn text(&self, chunk: &Chunk) -> Bytes {
        let now = self.clock.now();
        match self.there(chunk) {
            Some(there) if self.is_old(&there, now) => {
                let mut text = Vec::new();
                self.write(&mut text, chunk, Some(&there), now);
                text.into()
            }
            Some(there) => there.text(),
            None => self.rendition(chunk).text(),
        }
    }

    /// The text deflated; none while its line of chunks rests.
    pub(super) fn fragment(&self, chunk: &Chunk) -> Option<Arc<Fragment>> {
        self.kept(chunk).fragment.get(self.clock.now(), || self.text(chunk))
    }

    /// Appends the text of a chunk with the times of now; tells where its instances stand.
    pub(super) fn write(
        &self,
        to: &mut Vec<u8>,
        chunk: &Chunk,
        there: Option<&Rendition>,
        now: Moment,
    ) -> Arc<[Span]> {
        match there {
            Some(there) => self.renewed(to, there, chunk),
            None => self.encoded(to, chunk, now),
        }
    }

    fn kept<'a>(&self, chunk: &'a Chunk) -> &'a Kept {
        &chunk.renditions.get_or_init(Box::default).0[self.format.position()]
    }

    fn encoded(&self, to: &mut Vec<u8>, chunk: &Chunk, now: Moment) -> Arc<[Span]> {
        let start = to.len();
        to.reserve(chunk.bytes() * 4);
        let mut spans = Vec::with_capacity(chunk.rows().len());
        let mut before: Option<&Instance> = None;
        for (row, instance) in chunk.rows().iter().zip(chunk.roster.iter()) {
            if let Some(before) = before {
                push_between(to, self.format, before, instance);
            }
            let renewed = self.slots.renewed(row.slot).unwrap_or(now);
            let begin = offset(to.len() - start);
            let renewed = self.clock.time_of_day(renewed);
            let renewal = self.format.push_instance(to, instance, renewed, None);
            let renewal = offset(renewal.map_or(0, |at| at - start));
            spans.push(Span { begin, end: offset(to.len() - start), renewal });
            before = Some(instance);
        }
        spans.into()
    }

    /// A row that belongs to another instance by now keeps its time.
    fn renewed(&self, to: &mut Vec<u8>, old: &Rendition, chunk: &Chunk) -> Arc<[Span]> {
        let start = to.len();
        to.extend_from_slice(old.bytes());
        for (span, row) in old.spans.iter().zip(chunk.rows()) {
            if let (at @ 1.., Some(renewed)) = (span.renewal, self.slots.renewed(row.slot)) {
                write_time(to, start + index(at), self.clock.time_of_day(renewed));
            }
        }
        old.spans.clone()
    }
}

// === impl Rendition ===

impl Rendition {
    fn alone(text: Vec<u8>, spans: Arc<[Span]>, made: Moment) -> Self {
        Self { lead: 0, place: 0..text.len(), sheet: text.into(), spans, made }
    }

    /// One that stands in a sheet, behind what leads over to it.
    pub(super) fn beside(
        sheet: Bytes,
        lead: usize,
        place: Range<usize>,
        spans: Arc<[Span]>,
        made: Moment,
    ) -> Self {
        Self { sheet, lead, place, spans, made }
    }

    /// Whether it stands by itself.
    pub(super) fn is_alone(&self) -> bool {
        self.place.len() == self.sheet.len()
    }

    /// Its own text.
    pub(super) fn text(&self) -> Bytes {
        self.sheet.slice(self.place.clone())
    }

    fn bytes(&self) -> &[u8] {
        self.sheet.get(self.place.clone()).unwrap_or_default()
    }

    /// The text of one instance.
    pub(super) fn instance(&self, row: usize) -> &[u8] {
        let place = self.spans.get(row).map_or(0..0, |span| index(span.begin)..index(span.end));
        self.bytes().get(place).unwrap_or_default()
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

//! Chunks of a list side by side as one text, so that a long list is sent in few frames.
//!
//! The texts of neighbours are copied into one sheet when they are encoded, or their times written anew, anyway; the
//! renditions are pieces of it from then on. One that changes leaves its sheet, and joins another later.
//! Never: copies a text for a single reader, or more often than its times are written anew.

use std::sync::Arc;

use bytes::Bytes;

use super::applications::Part;
use super::chunk::Chunk;
use super::rendition::{KEEP, Press, Rendition};
use crate::model::Moment;

/// A chunk of a list with what stands before it, and of how many parts it is made.
struct Piece<'a> {
    lead: &'a [u8],
    chunk: &'a Arc<Chunk>,
    parts: usize,
}

/// Sheets are about as long as this.
const SHEET: usize = 1024 * 1024;

/// Longer texts between chunks stay by themselves.
const LEAD_MAX: usize = 1024;

// === impl Press ===

impl Press {
    /// The text of the first of these parts and of those behind it that stand beside it, and their number.
    pub(super) fn run(&self, parts: &[Part]) -> (Bytes, usize) {
        let Some(first) = Piece::first_of(parts) else {
            return match parts.first() {
                Some(Part::Text(text)) => (text.clone(), 1),
                Some(Part::Chunk(_)) | None => (Bytes::new(), 1),
            };
        };
        let now = self.clock.now();
        if self.is_due(first.chunk, now) {
            self.lay_out(parts, now);
        }
        let there = self.there(first.chunk).unwrap_or_else(|| self.rendition(first.chunk));
        let (begin, mut used) = match parts.first() {
            Some(Part::Text(_)) if there.has_lead(first.lead) => (there.lead, first.parts),
            Some(Part::Text(text)) => return (text.clone(), 1),
            Some(Part::Chunk(_)) | None => (there.place.start, first.parts),
        };
        let mut end = there.place.end;
        while let Some(next) = parts.get(used..).and_then(Piece::first_of)
            && !self.is_due(next.chunk, now)
            && let Some(beside) = self.there(next.chunk)
            && beside.sheet.as_ptr() == there.sheet.as_ptr()
            && beside.lead == end
            && beside.has_lead(next.lead)
        {
            end = beside.place.end;
            used += next.parts;
        }
        (there.sheet.slice(begin..end), used)
    }

    /// Whether a chunk is to be written, anew or for the first time.
    fn is_due(&self, chunk: &Chunk, now: Moment) -> bool {
        self.there(chunk)
            .is_none_or(|there| self.is_old(&there, now) || there.is_alone() && KEEP < now.since(there.made))
    }

    /// Writes those of the first parts that are due into one sheet.
    fn lay_out(&self, parts: &[Part], now: Moment) {
        let (mut text, mut pieces, mut used) = (Vec::with_capacity(SHEET + SHEET / 2), Vec::new(), 0);
        while text.len() < SHEET
            && let Some(piece) = parts.get(used..).and_then(Piece::first_of)
            && self.is_due(piece.chunk, now)
        {
            let lead = text.len();
            text.extend_from_slice(piece.lead);
            let begin = text.len();
            let spans = self.write(&mut text, piece.chunk, self.there(piece.chunk).as_deref(), now);
            pieces.push((piece.chunk, lead, begin..text.len(), spans));
            used += piece.parts;
        }
        text.shrink_to_fit();
        let sheet = Bytes::from(text);
        for (chunk, lead, place, spans) in pieces {
            self.keep(chunk, Rendition::beside(sheet.clone(), lead, place, spans, now));
        }
    }
}

// === impl Piece ===

impl<'a> Piece<'a> {
    /// The chunk that these parts begin with, if they do.
    fn first_of(parts: &'a [Part]) -> Option<Self> {
        match parts {
            [Part::Chunk(chunk), ..] => Some(Self { lead: &[], chunk, parts: 1 }),
            [Part::Text(lead), Part::Chunk(chunk), ..] if lead.len() <= LEAD_MAX => {
                Some(Self { lead, chunk, parts: 2 })
            }
            [Part::Text(_), ..] | [] => None,
        }
    }
}

// === impl Rendition ===

impl Rendition {
    /// Whether exactly this leads over to it in its sheet.
    fn has_lead(&self, lead: &[u8]) -> bool {
        self.sheet.get(self.lead..self.place.start) == Some(lead)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use flate2::read::GzDecoder;

    use super::super::{Directory, Encoding, LeaseRules, LogLimits, Wanted};
    use super::*;
    use crate::model::{Endpoint, EndpointType, Origin, Registration, Status, Timestamp};
    use crate::wire::eureka::Format;

    fn place(directory: &Directory, nth: usize, status: Status) {
        let asked = Registration {
            service: format!("service-{:02}", nth % 30).parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, &format!("host-{nth:05}:80")).unwrap(),
            status,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        let instance = asked.grant(Duration::from_secs(3600), Timestamp::from_millis(1_750_000_000_000));
        directory.place(&instance, None, Origin::Client).unwrap();
    }

    /// The frames of the whole list, which is the same as when it is put together otherwise.
    #[track_caller]
    fn frames(directory: &Directory, format: Format) -> Vec<Bytes> {
        let list = || directory.applications(Wanted::All, format);
        let pages = list().render(Encoding::Identity);
        let announced = pages.remaining();
        let frames: Vec<_> = pages.collect();
        let mut zipped = Vec::new();
        let gzip = list().render(Encoding::Gzip).collect::<Vec<_>>().concat();
        GzDecoder::new(&*gzip).read_to_end(&mut zipped).unwrap();
        assert!(frames.concat() == zipped, "{format:?}");
        assert!(announced.is_none_or(|len| len == u64::try_from(zipped.len()).unwrap()), "{format:?}");
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn long_lists_go_out_in_few_frames_whatever_changes_meanwhile() {
        for format in [Format::Json, Format::JsonCompact, Format::Xml] {
            let directory = Directory::new(
                1,
                Arc::default(),
                Arc::default(),
                LogLimits::default(),
                LeaseRules::default(),
            );
            (0..3000).for_each(|nth| place(&directory, nth, Status::Up));
            let first = frames(&directory, format);
            let few = 3 + first.concat().len().div_ceil(SHEET);
            tokio::time::advance(KEEP * 2).await;
            let then = frames(&directory, format);
            assert!(then.len() <= few, "{} frames, not {few}: {format:?}", then.len());
            // A chunk that changed, the first and the last among them, leaves its sheet for a while.
            for nth in [0, 29, 1500, 2999] {
                place(&directory, nth, Status::Down);
                let changed = frames(&directory, format);
                assert!(then.len() < changed.len() && changed.concat() != then.concat(), "{nth} {format:?}");
            }
            tokio::time::advance(KEEP * 2).await;
            assert!(frames(&directory, format).len() <= few + 8, "{format:?}");
        }
    }
}

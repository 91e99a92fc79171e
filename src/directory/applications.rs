//! Instances as Eureka's readers see them: applications, put together from encoded chunks.
//!
//! A document belongs to one revision. What it is made of stands in chunks that never change, so it is made
//! while it is sent.
//! Never: encodes an instance that is encoded already, or holds a lock while sending.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::chunk::Chunk;
use super::gzip::Member;
use super::rendition::{Press, push_between};
use super::{Directory, Encoding, Revision, Snapshot};
use crate::model::Instance;
use crate::wire::encoded::quoted;
use crate::wire::eureka::{Format, ListHead, hash_code};

/// Which instances a Eureka reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// All of them, as a list whose `versions__delta` is 1.
    All,
    /// What changed lately, as a list whose hash is that of all (spec eureka section 1.4).
    Changes,
    /// Those of one application, its name in any letter case, as an application.
    Application(&'a str),
    /// Those with this virtual address, as a list.
    Vip(&'a str),
    /// Those with this virtual address with TLS, as a list.
    SecureVip(&'a str),
}

/// A document for Eureka's readers, not yet sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Applications {
    press: Press,
    parts: Vec<Part>,
    instances: usize,
    /// Its length, when all of it is encoded.
    len: Option<u64>,
    /// Its length, guessed where it is not encoded yet.
    about: usize,
    /// The whole of it compressed, for a document that is kept for many readers.
    zipped: Option<Arc<OnceLock<Bytes>>>,
}

/// The document in frames, each made when it is asked for.
#[derive(Debug)]
pub struct Pages {
    press: Press,
    parts: std::vec::IntoIter<Part>,
    gzip: Option<Member>,
    next: Next,
    sent: u64,
    left: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    /// Text as it is.
    Text(Bytes),
    /// A whole chunk.
    Chunk(Arc<Chunk>),
}

/// Puts a document together, instance by instance or chunk by chunk.
pub(super) struct Assembly {
    press: Press,
    text: Vec<u8>,
    parts: Vec<Part>,
    is_list: bool,
    first: Option<Arc<Instance>>,
    before: Option<Arc<Instance>>,
    instances: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Header,
    Part,
    Trailer,
    End,
}

/// `versions__delta` of a list that is no delta, and of one that answers for a virtual address.
const VERSION_FULL: i64 = 1;
const VERSION_VIP: i64 = -1;

/// Documents up to here go out in one frame.
const ONE_FRAME_MAX: u64 = 32 * 1024;

/// Text is cut into frames of about this length.
const FRAME: usize = 32 * 1024;

/// Chunks not encoded yet up to this number are encoded before the head of the answer goes out, so that it
/// can tell the length.
const AT_ONCE_MAX: usize = 64;

/// How much longer an instance is for Eureka's readers, about.
const GROWTH: usize = 4;

// === impl Directory ===

impl Directory {
    /// A document for Eureka's readers; all of it belongs to one revision.
    #[must_use]
    pub fn applications(&self, wanted: Wanted<'_>, format: Format) -> Applications {
        let press = Press { slots: self.slots.clone(), clock: self.clock.clone(), format };
        let snapshot = match wanted {
            Wanted::Changes => match self.delta(&press) {
                Ok(delta) => return delta,
                // Who applies all of it as a delta ends with all of it, or sees by the hash that more is gone.
                Err(snapshot) => {
                    return all(press, &snapshot, version_of(snapshot.revision, snapshot.revision));
                }
            },
            Wanted::All | Wanted::Application(_) | Wanted::Vip(_) | Wanted::SecureVip(_) => {
                self.snapshot.load_full()
            }
        };
        match wanted {
            Wanted::All | Wanted::Changes => all(press, &snapshot, VERSION_FULL),
            Wanted::Application(name) => application(press, &snapshot, name),
            Wanted::Vip(vip) => with_vip(press, &snapshot, vip, |instance| instance.has_vip(vip)),
            Wanted::SecureVip(vip) => {
                with_vip(press, &snapshot, vip, |instance| instance.has_secure_vip(vip))
            }
        }
    }
}

/// `versions__delta` of the delta after one revision up to another: rises when a change comes and when one is
/// forgotten, and is never that of another kind of list.
pub(super) fn version_of(upto: Revision, after: Revision) -> i64 {
    i64::try_from(upto.saturating_add(after)).unwrap_or(i64::MAX - 2).saturating_add(2)
}

fn all(press: Press, snapshot: &Snapshot, version: i64) -> Applications {
    let mut assembly = Assembly::new(press, true);
    snapshot.tree.for_each(&mut |chunk| assembly.add(chunk, 0..chunk.rows().len()));
    let hash = hash_code(&snapshot.counts);
    assembly.into_list(version, hash)
}

fn application(press: Press, snapshot: &Snapshot, name: &str) -> Applications {
    let mut assembly = Assembly::new(press, false);
    let name = quoted(name);
    snapshot.tree.for_application(&name, &mut |chunk| {
        let rows = chunk.rows_of_application(&name);
        assembly.add(chunk, rows);
    });
    assembly.into_application()
}

fn with_vip(
    press: Press,
    snapshot: &Snapshot,
    vip: &str,
    has_it: impl Fn(&Instance) -> bool,
) -> Applications {
    let mut assembly = Assembly::new(press, true);
    let mut counts = [0; 5];
    snapshot.tree.for_each(&mut |chunk| {
        if chunk.excludes_vip(vip) {
            return;
        }
        for (row, instance) in chunk.roster.iter().enumerate() {
            if has_it(instance) {
                counts[instance.status.position()] += 1;
                assembly.add(chunk, row..row + 1);
            }
        }
    });
    assembly.into_list(VERSION_VIP, hash_code(&counts))
}

// === impl Assembly ===

impl Assembly {
    /// A list, or one application by itself.
    pub(super) fn new(press: Press, is_list: bool) -> Self {
        let (text, parts) = (Vec::new(), Vec::new());
        Self { press, text, parts, is_list, first: None, before: None, instances: 0 }
    }

    /// Adds rows of a chunk; all of them by reference.
    fn add(&mut self, chunk: &Arc<Chunk>, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        if rows.len() == chunk.rows().len() {
            if let (Some(first), Some(last)) = (chunk.roster.first(), chunk.roster.last()) {
                self.between(first);
                self.cut(0);
                self.parts.push(Part::Chunk(chunk.clone()));
                self.before = Some(last.clone());
                self.instances += rows.len();
            }
            return;
        }
        let rendition = self.press.rendition(chunk);
        for (row, instance) in chunk.roster.iter().enumerate().skip(rows.start).take(rows.len()) {
            self.push(instance, rendition.instance(row));
        }
    }

    /// Adds an encoded instance.
    pub(super) fn push(&mut self, instance: &Arc<Instance>, encoded: &[u8]) {
        self.between(instance);
        self.text.extend_from_slice(encoded);
        self.before = Some(instance.clone());
        self.instances += 1;
        self.cut(FRAME);
    }

    /// What stands before the next instance.
    fn between(&mut self, next: &Arc<Instance>) {
        match &self.before {
            Some(before) => push_between(&mut self.text, self.press.format, before, next),
            None => {
                self.first = Some(next.clone());
                if self.is_list {
                    self.press.format.open_application(&mut self.text, &next.application());
                }
            }
        }
    }

    /// Ends a frame when it is longer than this.
    fn cut(&mut self, max: usize) {
        if max < self.text.len() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text).into()));
        }
    }

    pub(super) fn into_list(mut self, version: i64, hash: String) -> Applications {
        let format = self.press.format;
        let head = ListHead { version, hash, is_empty: self.before.is_none() };
        if self.before.is_some() {
            self.text.extend_from_slice(format.close_application().as_bytes());
        }
        self.text.extend_from_slice(&format.close_list(&head));
        self.finish(format.open_list(&head))
    }

    fn into_application(mut self) -> Applications {
        let format = self.press.format;
        let Some(first) = self.first.take() else { return self.finish(Vec::new()) };
        self.text.extend_from_slice(format.close_application_document().as_bytes());
        self.finish(format.open_application_document(&first.application()))
    }

    fn finish(mut self, open: Vec<u8>) -> Applications {
        self.cut(0);
        let Self { press, parts, instances, .. } = self;
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(Part::Text(open.into()));
        all.extend(parts);
        Applications::new(press, all, instances)
    }
}

// === impl Applications ===

impl Applications {
    pub(super) fn new(press: Press, parts: Vec<Part>, instances: usize) -> Self {
        let is_unmade = |part: &&Part| matches!(part, Part::Chunk(chunk) if press.there(chunk).is_none());
        let is_known = parts.iter().filter(is_unmade).count() <= AT_ONCE_MAX;
        let about = parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Chunk(chunk) if is_known => press.len(chunk),
            Part::Chunk(chunk) => chunk.bytes() * GROWTH,
        });
        let about = about.sum();
        let len = is_known.then(|| u64::try_from(about).unwrap_or(u64::MAX));
        Self { press, parts, instances, len, about, zipped: None }
    }

    /// The same document for many readers: it is compressed once.
    pub(super) fn kept(self) -> Self {
        Self { zipped: Some(Arc::default()), ..self }
    }

    /// Number of instances.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances
    }

    /// Whether there is no instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances == 0
    }

    /// Length of the document, uncompressed; guessed when much of it is not encoded yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.about
    }

    /// The document, coded.
    #[must_use]
    pub fn render(self, encoding: Encoding) -> Pages {
        let Self { press, parts, len, about, zipped, .. } = self;
        let is_short = len.is_some_and(|len| len <= ONE_FRAME_MAX);
        let whole = |code: fn(Vec<u8>) -> Bytes| {
            let mut text = Vec::with_capacity(about);
            parts.iter().for_each(|part| text.extend_from_slice(&press.text_of(part)));
            code(text)
        };
        let zip = |text: Vec<u8>| super::gzip::gzip(&text);
        let (parts, gzip, next) = match encoding {
            Encoding::Identity if is_short => (vec![Part::Text(whole(Bytes::from))], None, Next::Part),
            Encoding::Gzip if zipped.is_some() || is_short => {
                let text = match &zipped {
                    Some(zipped) => zipped.get_or_init(|| whole(zip)).clone(),
                    None => whole(zip),
                };
                (vec![Part::Text(text)], None, Next::Part)
            }
            Encoding::Identity => (parts, None, Next::Part),
            Encoding::Gzip => (parts, Some(Member::default()), Next::Header),
        };
        let left = match (&*parts, gzip.is_some()) {
            (_, true) => None,
            ([Part::Text(only)], false) => u64::try_from(only.len()).ok(),
            (_, false) => len,
        };
        Pages { press, parts: parts.into_iter(), gzip, next, sent: 0, left }
    }
}

// === impl Press ===

impl Press {
    fn text_of(&self, part: &Part) -> Bytes {
        match part {
            Part::Text(text) => text.clone(),
            Part::Chunk(chunk) => self.rendition(chunk).text(),
        }
    }
}

// === impl Pages ===

impl Pages {
    /// Bytes still to come; unknown for a body that is made or compressed while it is sent.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.left
    }

    /// The next frame; none when there is no part any more.
    fn frame(&mut self) -> Option<Bytes> {
        let Some(member) = &mut self.gzip else {
            let parts = self.parts.as_slice();
            let (frame, used) = (!parts.is_empty()).then(|| self.press.run(parts))?;
            self.parts.by_ref().take(used).for_each(drop);
            return Some(frame);
        };
        let part = self.parts.next()?;
        let (frame, len) = match &part {
            Part::Text(text) if text.len() < 1024 => (member.stored(text), text.len()),
            Part::Text(text) => (member.deflated(text), text.len()),
            Part::Chunk(chunk) => match self.press.fragment(chunk) {
                Some(fragment) => (member.fragment(&fragment, false), self.press.len(chunk)),
                None => (member.stored(&self.press.text(chunk)), self.press.len(chunk)),
            },
        };
        self.sent += u64::try_from(len).unwrap_or_default();
        Some(frame)
    }
}

impl Iterator for Pages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let frame = match self.next {
            Next::Header => {
                self.next = Next::Part;
                self.gzip.as_ref().map(Member::header)?
            }
            Next::Part => match self.frame() {
                Some(frame) => frame,
                None => {
                    self.next = if self.gzip.is_some() { Next::Trailer } else { Next::End };
                    return self.next();
                }
            },
            Next::Trailer => {
                self.next = Next::End;
                self.gzip.take()?.trailer(self.sent)
            }
            Next::End => return None,
        };
        let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(len));
        Some(frame)
    }
}

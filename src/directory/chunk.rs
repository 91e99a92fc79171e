//! A run of encoded instances, in order of service and id: the piece that lists are made of.
//!
//! A chunk never changes; a change makes a new one out of ranges of the old.
//! Never: encodes an instance or knows how chunks hang together.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::gzip::FragmentCache;
use super::rendition::Renditions;
use super::roster::{Roster, RosterBuilder};
use super::slots::Slot;
use crate::model::Instance;
use crate::wire::encoded::{Encoded, Layout, quoted, tag_bits};

/// A run of encoded instances; never empty, but for the first chunk of an empty directory.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The objects, separated by commas.
    json: Bytes,
    rows: Box<[Row]>,
    /// How many a list without selection leaves out.
    hidden: usize,
    /// All tag bits of all rows.
    pub(super) tag_bits: u64,
    /// What the rows encode.
    pub(super) roster: Roster,
    listed: OnceLock<Arc<Chunk>>,
    names: OnceLock<Bytes>,
    pub(super) fragment: FragmentCache,
    /// The same for Eureka's readers; made when first asked for.
    pub(super) renditions: OnceLock<Box<Renditions>>,
    /// Two bits for each virtual address that its instances, or those of the chunks it came from, have.
    vip_bits: u64,
}

/// One instance in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    begin: u32,
    pub(super) slot: Slot,
    pub(super) layout: Layout,
}

/// Where an instance stands: by service in any letter case, by service, by id; JSON strings all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) service: &'a [u8],
    pub(super) id: &'a [u8],
}

/// One change of one instance.
#[derive(Debug)]
pub(super) enum Edit {
    /// Adds it, or puts this in the place of the one with its key.
    Put(Slot, Encoded, Arc<Instance>),
    /// Removes it.
    Remove { service: Vec<u8>, id: Vec<u8> },
}

/// Makes one chunk out of ranges of others and of new instances.
#[derive(Debug, Default)]
struct Builder {
    json: Vec<u8>,
    rows: Vec<Row>,
    roster: RosterBuilder,
    vip_bits: u64,
}

/// What a chunk is made of, in order.
enum Piece<'a> {
    Old(&'a Chunk, Range<usize>),
    New(Slot, &'a Encoded, &'a Arc<Instance>),
}

/// Largest chunk; a larger instance has one for itself. Half of this would make lists slower, twice would make changes slower.
const BYTES_MAX: usize = 32 * 1024;
const ROWS_MAX: usize = 128;

// === impl Chunk ===

impl Chunk {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Length of the objects and the commas between them.
    pub(super) fn bytes(&self) -> usize {
        self.json.len()
    }

    /// The encoded instance of a row.
    pub(super) fn object(&self, row: &Row) -> &[u8] {
        let begin = row.begin();
        &self.json[begin..begin + row.layout.len()]
    }

    pub(super) fn key(&self, row: &Row) -> Key<'_> {
        let object = self.object(row);
        Key { service: row.layout.service(object), id: row.layout.id(object) }
    }

    pub(super) fn first_key(&self) -> Option<Key<'_>> {
        self.rows.first().map(|row| self.key(row))
    }

    /// The objects of some rows and the commas between them.
    pub(super) fn text(&self, rows: Range<usize>) -> Bytes {
        self.json.slice(self.place(rows))
    }

    /// Where the objects of some rows stand.
    pub(super) fn place(&self, rows: Range<usize>) -> Range<usize> {
        match self.rows.get(rows).and_then(|rows| Some((rows.first()?, rows.last()?))) {
            Some((first, last)) => first.begin()..last.begin() + last.layout.len(),
            None => 0..0,
        }
    }

    /// The rows of one service, given as a JSON string.
    pub(super) fn rows_of(&self, service: &[u8]) -> Range<usize> {
        let begin = self.rows.partition_point(|row| self.key(row).service_cmp(service).is_lt());
        let len = self.rows[begin..].partition_point(|row| self.key(row).service == service);
        begin..begin + len
    }

    /// The rows of one application, given by its name as a JSON string, in any letter case.
    pub(super) fn rows_of_application(&self, name: &[u8]) -> Range<usize> {
        let begin = self.rows.partition_point(|row| self.key(row).application_cmp(name).is_lt());
        let len = self.rows[begin..].partition_point(|row| self.key(row).application_cmp(name).is_eq());
        begin..begin + len
    }

    /// Whether no instance can have this virtual address.
    pub(super) fn excludes_vip(&self, vip: &str) -> bool {
        let bits = tag_bits(vip);
        self.vip_bits & bits != bits
    }

    /// The chunk without what a list without selection leaves out; made when first asked for.
    pub(super) fn listed(self: &Arc<Self>) -> &Arc<Self> {
        if self.hidden == 0 {
            return self;
        }
        self.listed.get_or_init(|| {
            let mut builder = Builder::default();
            for (at, row) in self.rows.iter().enumerate() {
                if row.layout.is_listed {
                    builder.push(&Piece::Old(self, at..at + 1));
                }
            }
            Arc::new(builder.finish(self))
        })
    }

    /// The names of its services as JSON strings separated by commas; made when first asked for.
    pub(super) fn names(&self) -> &Bytes {
        self.names.get_or_init(|| {
            let mut names = Vec::new();
            let mut last: &[u8] = &[];
            for row in &self.rows {
                let service = self.key(row).service;
                if service != last {
                    if !names.is_empty() {
                        names.push(b',');
                    }
                    names.extend_from_slice(service);
                    last = service;
                }
            }
            names.into()
        })
    }

    pub(super) fn first_service(&self) -> &[u8] {
        self.rows.first().map_or(&[], |row| self.key(row).service)
    }

    pub(super) fn last_service(&self) -> &[u8] {
        self.rows.last().map_or(&[], |row| self.key(row).service)
    }

    /// Whether this one and another are better one chunk.
    pub(super) fn should_join(&self, next: &Self) -> bool {
        self.rows.len() + next.rows.len() <= ROWS_MAX / 2 && self.bytes() + next.bytes() <= BYTES_MAX / 2
    }

    /// One chunk of two that stand side by side.
    pub(super) fn joined(&self, next: &Self) -> Self {
        let pieces = [Piece::Old(self, 0..self.rows.len()), Piece::Old(next, 0..next.rows.len())];
        Builder::build(&pieces, self)
    }

    /// The chunks that this one becomes by edits, which stand in order and have different keys.
    pub(super) fn edited(self: &Arc<Self>, edits: &[Edit]) -> Vec<Arc<Self>> {
        let mut pieces = Vec::with_capacity(2 * edits.len() + 1);
        let mut at = 0;
        for edit in edits {
            let key = edit.key();
            let begin = at + self.rows[at..].partition_point(|row| self.key(row).cmp(key).is_lt());
            pieces.push(Piece::Old(self, at..begin));
            at = begin + usize::from(self.rows.get(begin).is_some_and(|row| self.key(row) == key));
            if let Edit::Put(slot, encoded, instance) = edit {
                pieces.push(Piece::New(*slot, encoded, instance));
            }
        }
        pieces.push(Piece::Old(self, at..self.rows.len()));
        pieces.retain(|piece| piece.rows() != 0);
        let (rows, bytes) = pieces.iter().fold((0, 0), |(r, b), p| (r + p.rows(), b + p.bytes() + 1));
        match pieces.as_slice() {
            [] => vec![],
            _ if rows <= ROWS_MAX && bytes <= BYTES_MAX => {
                vec![Arc::new(Builder::build(&pieces, self))]
            }
            // Names that only ever rise fill one chunk after the other.
            [Piece::Old(_, old), new @ ..] if old.len() == self.rows.len() && !new.is_empty() => {
                let mut chunks = vec![self.clone()];
                chunks.extend(split(new, self));
                chunks
            }
            _ => split(&pieces, self),
        }
    }
}

/// Chunks of about equal size.
fn split(pieces: &[Piece<'_>], heir_of: &Chunk) -> Vec<Arc<Chunk>> {
    let (rows, bytes) = pieces.iter().fold((0, 0), |(r, b), p| (r + p.rows(), b + p.bytes() + 1));
    let parts = rows.div_ceil(ROWS_MAX).max(bytes.div_ceil(BYTES_MAX)).max(1);
    let (rows_each, bytes_each) = (rows.div_ceil(parts), bytes.div_ceil(parts));
    let mut chunks = Vec::with_capacity(parts + 1);
    let mut builder = Builder::default();
    for piece in pieces.iter().flat_map(Piece::singles) {
        let is_full = rows_each <= builder.rows.len() || bytes_each < builder.json.len() + piece.bytes() / 2;
        if is_full && !builder.rows.is_empty() {
            chunks.push(Arc::new(std::mem::take(&mut builder).finish(heir_of)));
        }
        builder.push(&piece);
    }
    if !builder.rows.is_empty() {
        chunks.push(Arc::new(builder.finish(heir_of)));
    }
    chunks
}

// === impl Row ===

impl Row {
    /// Where the object begins in its chunk.
    pub(super) fn begin(&self) -> usize {
        usize::try_from(self.begin).unwrap_or(usize::MAX)
    }
}

// === impl Key ===

impl Key<'_> {
    pub(super) fn cmp(self, other: Key<'_>) -> Ordering {
        self.service_cmp(other.service).then_with(|| self.id.cmp(other.id))
    }

    /// By service in any letter case first, so that the spellings of one name stand together.
    pub(super) fn service_cmp(self, other: &[u8]) -> Ordering {
        self.application_cmp(other).then_with(|| self.service.cmp(other))
    }

    /// By service in any letter case.
    pub(super) fn application_cmp(self, other: &[u8]) -> Ordering {
        if self.service == other {
            return Ordering::Equal;
        }
        let longest = self.service.len().max(other.len());
        for at in (0..longest).step_by(8) {
            let (mine, theirs) = (word(self.service, at), word(other, at));
            if mine != theirs {
                let order = folded(mine).cmp(&folded(theirs));
                if order.is_ne() {
                    return order;
                }
            }
        }
        Ordering::Equal
    }
}

/// Eight bytes of a name, in a word that compares like them; zeros beyond its end.
fn word(name: &[u8], at: usize) -> u64 {
    if let Some(Ok(bytes)) = name.get(at..at + 8).map(<[u8; 8]>::try_from) {
        return u64::from_be_bytes(bytes);
    }
    let rest = name.get(at..).unwrap_or_default();
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// Eight bytes in small letters.
fn folded(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & !(ONES << 7);
    let from_a = low + ONES * (0x80 - 0x41);
    let beyond_z = low + ONES * (0x80 - 0x5b);
    // The high bit of each byte that is a capital letter, and of no other, moved to where case is.
    word | (from_a & !beyond_z & !word & (ONES << 7)) >> 2
}

// === impl Edit ===

impl Edit {
    /// Removes this instance.
    pub(super) fn removal(instance: &Instance) -> Self {
        Self::Remove { service: quoted(instance.service.as_str()), id: quoted(instance.id.as_str()) }
    }

    pub(super) fn key(&self) -> Key<'_> {
        match self {
            Self::Put(_, Encoded { json, layout }, _) => {
                Key { service: layout.service(json), id: layout.id(json) }
            }
            Self::Remove { service, id } => Key { service, id },
        }
    }
}

// === impl Piece ===

impl<'a> Piece<'a> {
    fn rows(&self) -> usize {
        match self {
            Self::Old(_, rows) => rows.len(),
            Self::New(..) => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Old(chunk, rows) => chunk.place(rows.clone()).len(),
            Self::New(_, encoded, _) => encoded.json.len(),
        }
    }

    fn singles(&self) -> Vec<Piece<'a>> {
        match self {
            Self::Old(chunk, rows) => rows.clone().map(|at| Piece::Old(chunk, at..at + 1)).collect(),
            Self::New(slot, encoded, instance) => vec![Piece::New(*slot, encoded, instance)],
        }
    }
}

// === impl Builder ===

impl Builder {
    fn build(pieces: &[Piece<'_>], heir_of: &Chunk) -> Chunk {
        let bytes = pieces.iter().map(|piece| piece.bytes() + 1).sum();
        let rows = pieces.iter().map(Piece::rows).sum();
        let mut builder = Self {
            json: Vec::with_capacity(bytes),
            rows: Vec::with_capacity(rows),
            roster: RosterBuilder::with_capacity(rows),
            ..Self::default()
        };
        for piece in pieces {
            builder.push(piece);
        }
        builder.finish(heir_of)
    }

    fn push(&mut self, piece: &Piece<'_>) {
        if !self.rows.is_empty() && piece.rows() != 0 {
            self.json.push(b',');
        }
        let begin = self.json.len();
        match piece {
            Piece::Old(chunk, rows) => {
                let place = chunk.place(rows.clone());
                let moved = |row: &Row| Row { begin: offset(begin + row.begin() - place.start), ..*row };
                self.rows.extend(chunk.rows[rows.clone()].iter().map(moved));
                self.json.extend_from_slice(&chunk.json[place.clone()]);
                self.roster.push_range(&chunk.roster, rows.clone());
                self.vip_bits |= chunk.vip_bits;
            }
            Piece::New(slot, Encoded { json, layout }, instance) => {
                self.rows.push(Row { begin: offset(begin), slot: *slot, layout: *layout });
                self.json.extend_from_slice(json);
                self.roster.push(Arc::clone(instance));
                self.vip_bits |= instance.vips().fold(0, |bits, vip| bits | tag_bits(vip));
            }
        }
    }

    fn finish(mut self, heir_of: &Chunk) -> Chunk {
        self.json.shrink_to_fit();
        let hidden = self.rows.iter().filter(|row| !row.layout.is_listed).count();
        let tag_bits = self.rows.iter().fold(0, |bits, row| bits | row.layout.tag_bits);
        let roster = self.roster.finish();
        Chunk {
            json: self.json.into(),
            rows: self.rows.into(),
            hidden,
            tag_bits,
            roster,
            fragment: heir_of.fragment.heir(),
            renditions: heir_of
                .renditions
                .get()
                .map_or_else(OnceLock::new, |kept| Box::new(kept.heirs()).into()),
            vip_bits: self.vip_bits,
            listed: OnceLock::new(),
            names: OnceLock::new(),
        }
    }
}

/// A chunk is far below 4 GiB: it holds one instance, or at most 64 kB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

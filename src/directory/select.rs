//! What a reader wants of a namespace: which instances, and which members of them.
//!
//! Never: reads JSON; it judges by what stands beside the encoded instances.

use super::chunk::{Chunk, Row};
use crate::model::Status;
use crate::wire::encoded::{Member, quoted, tag_bits};

/// Which instances a reader wants, and what of them. All criteria must fit.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// The instance with this id.
    pub id: Option<Box<str>>,
    /// Those of this service, in this spelling.
    pub service: Option<Box<str>>,
    /// Those that have all of these tags.
    pub tags: Vec<Box<str>>,
    /// Those in certain states.
    pub shown: Shown,
    /// Only these members; none is the whole instance.
    pub fields: Option<Fields>,
}

/// Which states are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// Those that a list without selection shows.
    #[default]
    Listed,
    /// All.
    All,
    /// This one.
    Only(Status),
    /// None.
    Nothing,
}

/// A set of members; `id` and `endpoint` are always in it (spec amalgam8 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(u8);

/// The criteria that are judged row by row.
#[derive(Debug)]
pub(super) struct Criteria {
    shown: Shown,
    /// JSON strings with their quotes, in order, each once.
    tags: Vec<Vec<u8>>,
    tag_bits: u64,
}

// === impl Fields ===

impl Fields {
    /// Just `id` and `endpoint`.
    #[must_use]
    pub fn least() -> Self {
        Self(0).with(Member::Id).with(Member::Endpoint)
    }

    /// With one more.
    #[must_use]
    pub fn with(self, member: Member) -> Self {
        Self(self.0 | 1 << member.position())
    }

    fn has(self, member: Member) -> bool {
        self.0 >> member.position() & 1 == 1
    }

    /// Length of an object with just these members.
    pub(super) fn len_of(self, row: &Row) -> usize {
        // The brace at the end; the id's place leaves out the one at the beginning.
        2 + self.places(row).map(|place| place.len()).sum::<usize>()
    }

    /// Appends the object with just these members.
    pub(super) fn copy(self, object: &[u8], row: &Row, to: &mut Vec<u8>) {
        to.push(b'{');
        for place in self.places(row) {
            to.extend_from_slice(&object[place]);
        }
        to.push(b'}');
    }

    fn places(self, row: &Row) -> impl Iterator<Item = std::ops::Range<usize>> {
        Member::ALL
            .into_iter()
            .filter(move |member| self.has(*member))
            .map(|member| row.layout.member(member))
    }
}

// === impl Criteria ===

impl Criteria {
    pub(super) fn of(selector: &Selector) -> Self {
        let mut tags: Vec<_> = selector.tags.iter().map(|tag| quoted(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        Self {
            shown: selector.shown,
            tags,
            tag_bits: selector.tags.iter().fold(0, |bits, tag| bits | tag_bits(tag)),
        }
    }

    /// Whether only the state decides, and a chunk's listed part is all that fits.
    pub(super) fn is_default(&self) -> bool {
        self.shown == Shown::Listed && self.tags.is_empty()
    }

    pub(super) fn is_everything(&self) -> bool {
        self.shown == Shown::All && self.tags.is_empty()
    }

    /// Whether no row of a chunk can fit.
    pub(super) fn excludes(&self, chunk: &Chunk) -> bool {
        chunk.tag_bits & self.tag_bits != self.tag_bits
    }

    pub(super) fn fits(&self, chunk: &Chunk, row: &Row) -> bool {
        let is_shown = match self.shown {
            Shown::Listed => row.layout.is_listed,
            Shown::All => true,
            // A word of the client's own is UNKNOWN, and not shown as that.
            Shown::Only(Status::Unknown) => row.layout.status == Status::Unknown && !row.layout.is_listed,
            Shown::Only(status) => row.layout.status == status,
            Shown::Nothing => false,
        };
        is_shown
            && row.layout.tag_bits & self.tag_bits == self.tag_bits
            && row.layout.has_tags(chunk.object(row), &self.tags)
    }
}

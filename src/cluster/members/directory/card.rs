//! What a member says of itself in its file: one JSON object in one line.
//!
//! Never: holds a time of day.

use serde::{Deserialize, Serialize};

use crate::cluster::config::Place;
use crate::cluster::handshake::is_printable;
use crate::cluster::message::MemberId;

/// A member by its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Card {
    /// Of this file; a reader leaves others alone.
    pub(super) format: u32,
    /// Also the file's name.
    pub(super) id: String,
    /// Where it is dialled.
    pub(super) addresses: Vec<String>,
    /// Larger at each start.
    pub(super) incarnation: u64,
    /// Larger each time the file is written.
    pub(super) counter: u64,
    /// Which versions of the protocol it speaks.
    pub(super) protocol: Range,
    /// Which program it is, for people.
    pub(super) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) min: u8,
    pub(super) max: u8,
}

/// Why a file is no member's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoCard {
    #[error("is no JSON of a member: {0}")]
    Malformed(String),
    #[error("has format {0}, which this version does not know")]
    Format(u32),
    #[error("is of member {0:?}, whose file has another name")]
    OtherName(String),
    #[error("has no address that can be dialled")]
    NoAddress,
    #[error("is longer than {MAX} bytes")]
    TooLong,
}

/// Most bytes of a file.
pub(super) const MAX: u64 = 4 * 1024;

const FORMAT: u32 = 1;
/// Most addresses of one member.
const ADDRESSES_MAX: usize = 4;

// === impl Card ===

impl Card {
    pub(in crate::cluster) fn new(id: &MemberId, place: &Place, incarnation: u64) -> Self {
        let versions = crate::cluster::handshake::VERSIONS;
        Self {
            format: FORMAT,
            id: id.0.to_string(),
            addresses: vec![place.to_string()],
            incarnation,
            counter: 0,
            protocol: Range { min: versions.min, max: versions.max },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The name of a member's file.
    pub(in crate::cluster) fn file_name(id: &str) -> String {
        format!("{id}.json")
    }

    /// Reads the contents of the file with this name.
    pub(super) fn read(name: &str, text: &[u8]) -> Result<Self, NoCard> {
        // Of another format no more than that is known.
        #[derive(Deserialize)]
        struct AnyFormat {
            format: u32,
        }
        let malformed = |error: serde_json::Error| NoCard::Malformed(error.to_string());
        if u64::try_from(text.len()).is_ok_and(|length| MAX < length) {
            return Err(NoCard::TooLong);
        }
        let AnyFormat { format } = serde_json::from_slice(text).map_err(malformed)?;
        if format != FORMAT {
            return Err(NoCard::Format(format));
        }
        let card: Self = serde_json::from_slice(text).map_err(malformed)?;
        if Self::file_name(&card.id) != name || !is_printable(&card.id) {
            return Err(NoCard::OtherName(card.id.chars().take(100).collect()));
        }
        if card.places().next().is_none() { Err(NoCard::NoAddress) } else { Ok(card) }
    }

    /// Whether its file was not written between the two.
    pub(super) fn is_as_old_as(&self, other: &Self) -> bool {
        (self.incarnation, self.counter) == (other.incarnation, other.counter)
    }

    /// Where it is dialled.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.addresses.iter().take(ADDRESSES_MAX).filter_map(|address| address.parse().ok())
    }

    /// The file's contents.
    pub(super) fn text(&self) -> String {
        // Texts and numbers always have JSON.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// The incarnation after the one in this file, if it is a member's of this name.
pub(in crate::cluster) fn next_incarnation(name: &str, text: &[u8]) -> Option<u64> {
    Card::read(name, text).ok().map(|card| card.incarnation.saturating_add(1))
}

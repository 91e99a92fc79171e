//! Where members find each other: a shared directory, DNS, or a list.
//!
//! A source only says whom to dial; who is alive is known from connections. One that fails keeps its last picture.
//! Never: dials anybody, or forgets a member because it cannot be asked for a while.

pub(super) mod directory;
pub(super) mod dns;
pub(super) mod fixed;

use std::fmt;

use futures_util::future::BoxFuture;

use super::config::Place;
use super::message::MemberId;

/// Says whom to dial.
pub(super) trait Source: Send + fmt::Debug {
    /// The next picture: at once the first time, then whenever it is time to look again. May be dropped at any time.
    fn next(&mut self) -> BoxFuture<'_, Picture>;

    /// Takes back what it said of this member, as far as that is possible soon.
    fn withdraw(&mut self) -> BoxFuture<'_, ()>;

    /// What operators call it.
    fn kind(&self) -> &'static str;
}

/// Whom a source knows of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Picture {
    /// Everybody; this member may be among them.
    pub(super) seen: Vec<Seen>,
    /// Why this is an old picture, or an incomplete one.
    pub(super) trouble: Option<String>,
    /// Whether the source has ever answered; before that nobody is known only because nobody could be asked.
    pub(super) is_known: bool,
}

/// Somebody to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// Where.
    pub(super) place: Place,
    /// Who is there, when the source knows.
    pub(super) id: Option<MemberId>,
}

/// Most members that are heeded; bounds links, labels and files.
pub(super) const MEMBERS_MAX: usize = 128;

//! Those who knock and are no members: counted, and named in the log once in a while.
//!
//! Never: writes a line for each of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::handshake::HandshakeError;
use crate::cluster::metrics::{Counts, TurnedAway};

/// Turns strangers away.
#[derive(Debug)]
pub(super) struct Strangers {
    counts: Arc<Counts>,
    /// Who speaks something else.
    unknown: Seldom,
    /// Who would be a member with other settings.
    unfit: Seldom,
    shortage: Seldom,
}

/// Lets a line through once in a while.
#[derive(Debug, Default)]
struct Seldom(Option<Instant>);

const EVERY: Duration = Duration::from_secs(60);

// === impl Strangers ===

impl Strangers {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self { counts, unknown: Seldom::default(), unfit: Seldom::default(), shortage: Seldom::default() }
    }

    /// A handshake failed that somebody else began.
    pub(super) fn turned_away(&mut self, from: SocketAddr, error: &HandshakeError) {
        let (why, line) = match error {
            HandshakeError::Secret(_) => (TurnedAway::Secret, &mut self.unfit),
            HandshakeError::Version { .. } => (TurnedAway::Version, &mut self.unfit),
            HandshakeError::SameName(_) => (TurnedAway::SameName, &mut self.unfit),
            HandshakeError::TimedOut => (TurnedAway::Slow, &mut self.unknown),
            HandshakeError::Io(_) => (TurnedAway::Broken, &mut self.unknown),
            HandshakeError::Stranger | HandshakeError::Oneself | HandshakeError::Unwanted(_) => {
                (TurnedAway::Stranger, &mut self.unknown)
            }
        };
        self.counts.turned_away(why);
        if line.is_due() {
            tracing::warn!(%from, %error, "somebody at {from} was turned away who is no member of this cluster: {error}");
        }
    }

    /// A handshake made room for a newer one.
    pub(super) fn crowded_out(&mut self, from: SocketAddr) {
        self.counts.turned_away(TurnedAway::Crowded);
        if self.unknown.is_due() {
            tracing::warn!(%from, "too many knock at the port for members; the oldest, at {from}, was turned away");
        }
    }

    /// Nobody can be let in for now.
    pub(super) fn shortage(&mut self, error: &io::Error) {
        if self.shortage.is_due() {
            tracing::warn!(%error, "connections of members cannot be accepted: {error}; trying again ten times a second");
        }
    }
}

// === impl Seldom ===

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| EVERY <= now.saturating_duration_since(last));
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

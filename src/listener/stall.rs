//! How long a client has not taken what is there for it.
//!
//! Pure: the caller brings the time.
//!
//! Never: counts a crumb as progress, or waiting for a handler as a stall.

use std::time::Duration;

use tokio::time::Instant;

/// Less than this within the limit is no progress: a client that takes a byte now and then would hold its answer
/// for ever.
pub(super) const PROGRESS: usize = 64 * 1024;

/// Since when one answer has not moved.
#[derive(Debug, Default)]
pub(super) struct Stall(Option<(Instant, usize)>);

// === impl Stall ===

impl Stall {
    /// How long the client has been waited for, `moved` being all bytes it ever took.
    pub(super) fn observe(&mut self, blocked: bool, moved: usize, now: Instant) -> Duration {
        match self.0 {
            _ if !blocked => {
                self.0 = None;
                Duration::ZERO
            }
            Some((since, mark)) if moved.wrapping_sub(mark) < PROGRESS => {
                now.saturating_duration_since(since)
            }
            Some(_) | None => {
                self.0 = Some((now, moved));
                Duration::ZERO
            }
        }
    }
}

//! How one catalog stands: whether it can be followed, since when, how much it has.
//!
//! Never: decides anything; what failed stays as it was.

use std::time::Duration;

use crate::model::Moment;

/// How one catalog stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// When it was last known to be as shown; none when it never was.
    pub current_at: Option<Moment>,
    /// Why it cannot be followed just now.
    pub error: Option<String>,
    /// Instances that it has, all namespaces together, those included that others hide.
    pub instances: usize,
    /// Instances that it would have were it not for its bound.
    pub left_out: usize,
    /// Things in it that cannot be shown here, since the start.
    pub skipped: u64,
    /// Failures since the start.
    pub failures: u64,
}

/// In a word, how a catalog stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was never read.
    Waiting,
    /// It is followed.
    Current,
    /// It cannot be followed just now; what it had is shown.
    Failing,
    /// It could not be followed for long; what it had is shown.
    Stale,
}

/// From here on what a catalog had is called stale.
pub const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

// === impl Standing ===

impl Standing {
    /// One that was never read.
    #[must_use]
    pub fn waiting() -> Self {
        Self { current_at: None, error: None, instances: 0, left_out: 0, skipped: 0, failures: 0 }
    }

    /// In a word.
    #[must_use]
    pub fn state(&self, now: Moment) -> State {
        match (self.current_at, &self.error) {
            (None, _) => State::Waiting,
            (Some(_), None) => State::Current,
            (Some(at), Some(_)) if STALE_AFTER <= now.since(at) => State::Stale,
            (Some(_), Some(_)) => State::Failing,
        }
    }
}

// === impl State ===

impl State {
    /// The word for health and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Current => "current",
            Self::Failing => "failing",
            Self::Stale => "stale",
        }
    }
}

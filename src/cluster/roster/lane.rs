//! A place that members may be at, and how dialling it goes.
//!
//! Never: dials.

use std::time::Duration;

use tokio::time::Instant;

use super::Missed;
use crate::cluster::message::MemberId;

/// One place.
#[derive(Debug)]
pub(super) struct Lane {
    /// Who is there, as far as is known.
    pub(super) id: Option<MemberId>,
    /// Whether the source names it at present.
    pub(super) is_listed: bool,
    /// Why nobody was reached the last time.
    pub(super) trouble: Option<String>,
    /// Since when nobody is.
    pub(super) unreached_since: Instant,
    state: State,
    attempts: u32,
    /// Dialling it has come to something; being connected otherwise is nothing yet.
    was_tried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be dialled then.
    Waiting {
        due: Instant,
    },
    Dialling,
    /// This process itself is there.
    Own {
        due: Instant,
    },
}

/// Waits between two attempts, doubled from one to the next.
const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(2);
/// Before a place is dialled again where this very process was: names can move on.
const OWN_AGAIN: Duration = Duration::from_secs(60);

// === impl Lane ===

impl Lane {
    pub(super) fn new(due: Instant, now: Instant) -> Self {
        Self {
            id: None,
            is_listed: true,
            trouble: None,
            unreached_since: now,
            state: State::Waiting { due },
            attempts: 0,
            was_tried: false,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { due } | State::Own { due } => Some(due),
            State::Dialling => None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self.state, State::Own { .. })
    }

    /// Whether dialling it has come to something, good or bad.
    pub(super) fn was_tried(&self) -> bool {
        self.was_tried
    }

    pub(super) fn begin(&mut self) {
        self.state = State::Dialling;
    }

    /// Nobody was reached; true when that, or the reason, is news.
    pub(super) fn missed(&mut self, missed: Missed, now: Instant, random: u64) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        self.was_tried |= !matches!(missed, Missed::Unwanted(_));
        let again = State::Waiting { due: now + wait(self.attempts, random) };
        let (state, trouble) = match missed {
            Missed::Own => (State::Own { due: now + OWN_AGAIN }, None),
            Missed::Unwanted(_) => (again, None),
            Missed::Trouble(trouble) => (again, Some(trouble)),
        };
        let is_news = trouble.is_some() && trouble != self.trouble;
        self.state = state;
        self.trouble = trouble;
        is_news
    }

    /// A member is there.
    pub(super) fn reached(&mut self, id: &MemberId) {
        self.id = Some(id.clone());
        self.trouble = None;
        self.attempts = 0;
        // Nobody dials as long as the member is connected.
        self.state = State::Waiting { due: self.unreached_since };
    }

    /// The member that is there is connected no more.
    pub(super) fn lost(&mut self, now: Instant, due: Instant) {
        self.unreached_since = now;
        if self.state != State::Dialling {
            self.state = State::Waiting { due };
        }
    }
}

/// The wait after so many failures, cut by up to a half at random.
fn wait(attempts: u32, random: u64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
    let full = FIRST.saturating_mul(doubled).min(MOST);
    let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
    full - Duration::from_millis(random % (millis / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_two_seconds() {
        let waits = |random| [1, 2, 3, 4, 5, 6, u32::MAX].map(|nth| wait(nth, random).as_millis());
        assert_eq!(waits(0), [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(waits(50), [50, 150, 350, 750, 1550, 1950, 1950]);
        assert!((1..100).all(|random| 1000 <= wait(9, random * 7919).as_millis()));
    }
}

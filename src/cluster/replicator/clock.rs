//! Stamps: a hybrid logical clock, which follows the time of day and never goes back.
//!
//! Never: waits for a clock that runs ahead.

use crate::model::Timestamp;

/// What stamps are taken from.
#[derive(Debug, Default)]
pub(super) struct HybridClock {
    latest: u64,
    ahead: u64,
}

/// The end of the year 9999; no stamp is later when it is written.
const MILLIS_MAX: u64 = 253_402_300_799_999;
/// A stamp so far ahead of this member's clock is counted.
const TOLERANCE_MILLIS: u64 = 60_000;

// === impl HybridClock ===

impl HybridClock {
    /// A time that is later than all that were heard, and than this one.
    pub(super) fn next(&mut self, wall: Timestamp, after: u64) -> u64 {
        self.latest = of_wall(wall).max(self.latest.max(after).saturating_add(1));
        self.latest
    }

    /// Something was written at this time, which is therefore past.
    pub(super) fn heard(&mut self, time: u64, wall: Timestamp) {
        let horizon = of_wall(Timestamp::from_millis(wall.as_millis().saturating_add(TOLERANCE_MILLIS)));
        self.ahead += u64::from(horizon < time && self.latest < time);
        self.latest = self.latest.max(time);
    }

    /// How many writes were ahead of this member's clock when they were heard, and of all before.
    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Whether a member may have written at this time.
    pub(super) fn is_possible(time: u64) -> bool {
        time <= (MILLIS_MAX << 16) + (1 << 56)
    }
}

fn of_wall(wall: Timestamp) -> u64 {
    wall.as_millis().min(MILLIS_MAX) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let at = Timestamp::from_millis;
        let mut clock = HybridClock::default();
        let first = clock.next(at(1_000_000), 0);
        assert_eq!(first, 1_000_000 << 16);
        assert_eq!(clock.next(at(999_000), 0), first + 1);
        clock.heard((1_059_000 << 16) + 7, at(1_000_000));
        assert_eq!((clock.next(at(1_000_000), 0), clock.ahead()), ((1_059_000 << 16) + 8, 0));
        clock.heard(1_100_000 << 16, at(1_000_000));
        assert_eq!((clock.next(at(1_000_000), 1_200_000 << 16), clock.ahead()), ((1_200_000 << 16) + 1, 1));
    }

    #[test]
    fn what_is_written_at_the_end_of_time_is_possible() {
        let mut clock = HybridClock::default();
        let last = clock.next(Timestamp::from_millis(u64::MAX), 0);
        assert!(HybridClock::is_possible(last) && HybridClock::is_possible(last + (1 << 40)));
        assert!(!HybridClock::is_possible(u64::MAX));
    }
}

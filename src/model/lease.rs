//! Time: the lengths that a lease may have, and the clock that leases are judged by.
//!
//! Leases run on a monotonic clock, so a step of the time of day neither kills nor keeps an
//! instance; the time of day is only shown.
//! Never: sleeps, or reads a clock behind the caller's back; who wants the time asks a [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the process' [`Clock`] was made. Monotonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

/// Milliseconds since 1970, UTC. Only for people and bodies, never for judging a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// Where a process takes its time from; one for each registry.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// Time of day at `start`, so that `Moment` + this is the time of day; follows steps of it.
    wall_at_start: AtomicU64,
}

/// How long leases may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlLimits {
    /// Granted when none was asked for; not clamped (spec amalgam8 section 4).
    pub default: Duration,
    /// Shortest lease that can be asked for.
    pub min: Duration,
    /// Longest lease that can be asked for.
    pub max: Duration,
}

// === impl Moment ===

impl Moment {
    /// The moment `millis` after the clock was made.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock was made.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment and so much; saturates.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

// === impl Timestamp ===

impl Timestamp {
    /// So many milliseconds since 1970.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }
}

// === impl Clock ===

impl Default for Clock {
    fn default() -> Self {
        let clock = Self { start: Instant::now(), wall_at_start: AtomicU64::new(0) };
        clock.follow_time_of_day();
        clock
    }
}

impl Clock {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The time of day at a moment, by what the time of day is now.
    #[must_use]
    pub fn time_of_day(&self, moment: Moment) -> Timestamp {
        Timestamp(self.wall_at_start.load(Ordering::Relaxed).saturating_add(moment.0))
    }

    /// Takes over a step of the time of day; called now and then by the one task that looks at leases.
    pub fn follow_time_of_day(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        self.wall_at_start.store(wall.saturating_sub(self.now().0), Ordering::Relaxed);
    }
}

// === impl TtlLimits ===

impl TtlLimits {
    /// The lease granted for what was asked: absent or zero takes the default, anything else is
    /// clamped into `min ..= max` (spec amalgam8 section 4).
    #[must_use]
    pub fn grant(&self, asked: Option<Duration>) -> Duration {
        match asked {
            None | Some(Duration::ZERO) => self.default,
            Some(ttl) => ttl.clamp(self.min, self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_granted_within_limits() {
        let s = Duration::from_secs;
        let limits = TtlLimits { default: s(5), min: s(10), max: s(600) };
        for (asked, granted) in
            [(None, 5), (Some(0), 5), (Some(1), 10), (Some(60), 60), (Some(4_294_967_295), 600)]
        {
            assert_eq!(limits.grant(asked.map(s)), s(granted), "asked {asked:?}");
        }
    }
}

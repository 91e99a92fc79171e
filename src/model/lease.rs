//! Time: the lengths that a lease may have, and the clock that leases are judged by.
//!
//! Leases run on a monotonic clock, so a step of the time of day neither kills nor keeps an
//! instance; the time of day is only shown.
//! Never: sleeps, or reads a clock behind the caller's back; who wants the time asks a [`Clock`].

use std::fmt;
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

    /// The present time of day; before 1970 is 1970.
    #[must_use]
    pub fn of_system() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// As [`rfc3339_millis`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::str::from_utf8(&rfc3339_millis(self.0)).map_or(Err(fmt::Error), |text| f.write_str(text))
    }
}

/// Milliseconds since 1970 in the 24 ASCII bytes of `2026-01-01T00:00:00.123Z`, whatever the time:
/// beyond the year 9999 it is the last millisecond of that year.
#[must_use]
pub fn rfc3339_millis(millis: u64) -> [u8; 24] {
    const LAST: u64 = 253_402_300_799_999;
    const DAY: u64 = 86_400_000;
    let millis = millis.min(LAST);
    let (year, month, day) = civil_from_days(millis / DAY);
    let in_day = millis % DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_digits(&mut text[11..13], in_day / 3_600_000);
    put_digits(&mut text[14..16], in_day / 60_000 % 60);
    put_digits(&mut text[17..19], in_day / 1000 % 60);
    put_digits(&mut text[20..23], in_day % 1000);
    text
}

/// Year, month and day of the Gregorian calendar, so many days after 1 January 1970. Counts in
/// years that begin in March, so that the leap day is the last of its year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn put_digits(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
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
        let wall = Timestamp::of_system().0;
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
    fn timestamps_are_24_bytes_of_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text, "{millis}");
        }
    }

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

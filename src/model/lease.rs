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

/// Writes times as text; times of one day, one after the other, cost little.
#[derive(Debug, Clone)]
pub struct Rfc3339 {
    day: u64,
    text: [u8; 24],
}

/// Where a process takes its time from; one for each registry.
///
/// Somebody looks at leases a few times a second and says so by [`Clock::tick`]. When that stops because
/// the process stood still (suspended, starved), the clock stands still too: nobody could renew meanwhile,
/// so no lease runs out for it.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// The clock does not go beyond this until the next tick.
    held_at: AtomicU64,
    /// How long it has stood still in all.
    stood_still: AtomicU64,
    /// Time of day when the clock showed 0; follows steps of the time of day.
    wall_at_zero: AtomicU64,
    /// The time of day goes on as the clock does, whatever the system's is.
    is_apart: bool,
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

    /// `2026-01-01T00:00:00.123Z` (RFC 3339), always 24 bytes; times from the year 10000 on show its
    /// last millisecond.
    #[must_use]
    pub fn rfc3339(self) -> [u8; 24] {
        *Rfc3339::default().text(self)
    }
}

impl Default for Rfc3339 {
    fn default() -> Self {
        Self { day: 0, text: *b"1970-01-01T00:00:00.000Z" }
    }
}

impl Rfc3339 {
    /// The text of a time, as [`Timestamp::rfc3339`] has it.
    pub fn text(&mut self, time: Timestamp) -> &[u8; 24] {
        let millis = time.0.min(253_402_300_799_999);
        let (day, in_day) = (millis / 86_400_000, millis % 86_400_000);
        if day != self.day {
            self.day = day;
            let (year, month, day) = civil_date(day);
            self.write_pair(0, year / 100);
            self.write_pair(2, year % 100);
            self.write_pair(5, month);
            self.write_pair(8, day);
        }
        let (second, milli) = (in_day / 1000, in_day % 1000);
        self.write_pair(11, second / 3600);
        self.write_pair(14, second / 60 % 60);
        self.write_pair(17, second % 60);
        self.write_pair(20, milli / 10);
        self.text[22] = PAIRS[usize::try_from(milli % 10).unwrap_or_default()][1];
        &self.text
    }

    fn write_pair(&mut self, at: usize, value: u64) {
        self.text[at..at + 2].copy_from_slice(&PAIRS[usize::try_from(value % 100).unwrap_or_default()]);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::str::from_utf8(&self.rfc3339()).map_or(Err(fmt::Error), |text| f.write_str(text))
    }
}

/// Year, month and day of the day that is so many days after 1970-01-01. Years are counted from March
/// within eras of 400 years, so that the leap day is the last of its year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let digits = b"0123456789";
    let mut at = 0;
    while at < 100 {
        pairs[at] = [digits[at / 10], digits[at % 10]];
        at += 1;
    }
    pairs
};

// === impl Clock ===

impl Default for Clock {
    /// A clock that nobody has to tick; it is held only from the first tick on.
    fn default() -> Self {
        let clock = Self {
            start: Instant::now(),
            held_at: AtomicU64::new(u64::MAX),
            stood_still: AtomicU64::new(0),
            wall_at_zero: AtomicU64::new(0),
            is_apart: false,
        };
        clock.follow_time_of_day();
        clock
    }
}

impl Clock {
    /// Longest time between two ticks that counts as time; more than any ordinary delay of a task.
    pub const PATIENCE: Duration = Duration::from_secs(1);

    /// A clock for a world of its own: the time of day is this now, and has no steps.
    #[must_use]
    pub fn apart(now: Timestamp) -> Self {
        Self { wall_at_zero: AtomicU64::new(now.0), is_apart: true, ..Self::default() }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Moment {
        // In this order: who sees a later hold also sees the standstill that came before it.
        let held_at = self.held_at.load(Ordering::Acquire);
        Moment(self.elapsed().saturating_sub(self.stood_still.load(Ordering::Acquire)).min(held_at))
    }

    /// The time of day at a moment, by what the time of day is now.
    #[must_use]
    pub fn time_of_day(&self, moment: Moment) -> Timestamp {
        Timestamp(self.wall_at_zero.load(Ordering::Relaxed).saturating_add(moment.0))
    }

    /// Lets the clock go on, and takes over a step of the time of day. Answers with how long the clock
    /// stood still before. For one caller only.
    pub fn tick(&self) -> Duration {
        let held_at = self.held_at.load(Ordering::Relaxed);
        let stood_still = self.stood_still.load(Ordering::Relaxed);
        let gap = self.elapsed().saturating_sub(stood_still).saturating_sub(held_at);
        self.stood_still.store(stood_still + gap, Ordering::Release);
        self.held_at.store(self.now().plus(Self::PATIENCE).0, Ordering::Release);
        self.follow_time_of_day();
        Duration::from_millis(gap)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn follow_time_of_day(&self) {
        if self.is_apart {
            return;
        }
        let wall_at_zero = Timestamp::of_system().0.saturating_sub(self.now().0);
        // Both clocks are cut to milliseconds, so one of difference is no step. Taking it for one would
        // show the same heartbeat at two times.
        if 1 < wall_at_zero.abs_diff(self.wall_at_zero.load(Ordering::Relaxed)) {
            self.wall_at_zero.store(wall_at_zero, Ordering::Relaxed);
        }
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
    fn times_are_shown_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_001, "2024-03-01T00:00:00.001Z"),
            (1_795_366_814_492, "2026-11-22T17:00:14.492Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).rfc3339().as_slice(), text.as_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_not_ticked_stands_still() {
        let clock = Clock::default();
        let pass = |millis| tokio::time::advance(Duration::from_millis(millis));
        pass(10_000).await;
        assert_eq!((clock.now(), clock.tick()), (Moment(10_000), Duration::ZERO));
        pass(999).await;
        assert_eq!((clock.now(), clock.tick()), (Moment(10_999), Duration::ZERO));
        pass(60_000).await;
        assert_eq!((clock.now(), clock.tick()), (Moment(11_999), Duration::from_secs(59)));
        pass(1).await;
        assert_eq!(clock.now(), Moment(12_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_apart_knows_no_other_time_of_day() {
        let clock = Clock::apart(Timestamp(5000));
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(clock.tick(), Duration::ZERO);
        assert_eq!(clock.time_of_day(clock.now()), Timestamp(5900));
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

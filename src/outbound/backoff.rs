//! How long to wait before a server that could not be reached is called again, or one that was is called anew.
//!
//! Never: sleeps.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from one failure to the next, up to a bound, each cut by up to a half at random, so that
/// those who lost a server together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Waits of at most `first` after the first failure, and never of more than `most`.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        self.wait(random())
    }

    /// After a success the next failure is the first.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn wait(&mut self, random: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        let full = self.first.saturating_mul(doubled).min(self.most);
        self.failures = self.failures.saturating_add(1);
        full - part_of(full / 2, random)
    }
}

/// A wait cut by up to a tenth at random, so that those who began together do not stay together.
pub(crate) fn jittered(full: Duration) -> Duration {
    full - part_of(full / 10, random())
}

/// The standard library's keys are random, which is all that is asked for.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Something from nothing to `most`, in whole milliseconds.
fn part_of(most: Duration, random: u64) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits = |backoff: &mut Backoff, random| [(); 6].map(|()| backoff.wait(random).as_millis());
        assert_eq!(waits(&mut backoff, 0), [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(waits(&mut backoff, 50), [50, 150, 350, 750, 950, 950]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.wait(500).as_millis(), 500);
        assert!((500..=1000).contains(&backoff.next().as_millis()));
    }

    #[test]
    fn a_rhythm_is_cut_by_a_tenth_at_most() {
        for _ in 0..100 {
            assert!((900..=1000).contains(&jittered(Duration::from_secs(1)).as_millis()));
        }
        assert_eq!(jittered(Duration::from_millis(1)), Duration::from_millis(1));
    }
}

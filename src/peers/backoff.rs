//! How long to wait before a peer that could not be reached is tried again.
//!
//! Never: sleeps.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from one failure to the next, up to a bound, each cut by up to a half at random, so that
/// those who lost a peer together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        // The standard library's keys are random, which is all that is asked for.
        self.wait(RandomState::new().hash_one(self.failures))
    }

    /// After a success the next failure is the first.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn wait(&mut self, random: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        let full = self.first.saturating_mul(doubled).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
        full - Duration::from_millis(random % (millis / 2 + 1))
    }
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
}

//! How leases end in a namespace: the rules that hold for all, and whether the namespace keeps its
//! instances just now although their leases ran out (self-preservation, spec eureka section 3.5).
//!
//! Never: removes anything, or reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::Instance;

/// How leases end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseRules {
    /// Leases end as on a Netflix server: after twice their length once they were renewed, and an instance
    /// whose lease ran out can be renewed and is listed until it is removed.
    pub strict_eureka: bool,
    /// A namespace in which too few instances renew keeps them all for a while.
    pub self_preservation: bool,
    /// How long an instance stays OUT_OF_SERVICE without a renewal; none is for ever.
    pub out_of_service_max: Option<Duration>,
}

/// How expiry stands in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preservation {
    /// Whether self-preservation is switched on.
    pub is_on: bool,
    /// Whether it keeps instances just now whose lease ran out.
    pub is_preserving: bool,
    /// Renewals in the last full minute.
    pub renewals: u64,
    /// Renewals a minute that must be exceeded for leases to end.
    pub threshold: u64,
    /// Instances that are expected to renew.
    pub expected: u64,
}

/// What a namespace counts to know whether it should keep its instances.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    this_minute: AtomicU64,
    last_minute: AtomicU64,
    expected: AtomicU64,
}

// === impl LeaseRules ===

impl LeaseRules {
    /// Length of a lease that begins with a registration or a change; none for one without an end.
    #[must_use]
    pub fn first_lease(self, instance: &Instance) -> Option<Duration> {
        match instance.status.expires() {
            true => Some(instance.ttl),
            false => self.out_of_service_max.map(|max| max.max(instance.ttl)),
        }
    }

    /// Length of a lease that begins with a renewal, if it has an end.
    #[must_use]
    pub fn renewed_lease(self, instance: &Instance) -> Duration {
        match self.first_lease(instance) {
            Some(ttl) if self.strict_eureka => ttl.saturating_mul(2),
            Some(ttl) => ttl,
            None => instance.ttl,
        }
    }
}

// === impl Pulse ===

impl Pulse {
    /// Counts a renewal.
    pub(super) fn renewed(&self) {
        self.this_minute.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an instance that came.
    pub(super) fn came(&self) {
        self.expected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an instance that went.
    pub(super) fn went(&self) {
        // Who went may not have been expected any more.
        let less = |expected: u64| Some(expected.saturating_sub(1));
        let _ = self.expected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// A minute is over.
    pub(super) fn end_minute(&self) {
        self.last_minute.store(self.this_minute.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// From now on so many are expected to renew: who has been silent for long is not, so that
    /// preservation ends by itself.
    pub(super) fn expect(&self, instances: usize) {
        self.expected.store(u64::try_from(instances).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many renewals were counted in the last minute, and so many instances are expected to renew.
    pub(super) fn counted(&self, last_minute: u64, expected: usize) {
        self.last_minute.store(last_minute, Ordering::Relaxed);
        self.expect(expected);
    }

    pub(super) fn preservation(&self, rules: LeaseRules) -> Preservation {
        let expected = self.expected.load(Ordering::Relaxed);
        let renewals = self.last_minute.load(Ordering::Relaxed);
        // Two renewals a minute of each, and 85 of a hundred of those.
        let threshold = expected.saturating_mul(17) / 10;
        let is_on = rules.self_preservation;
        let is_preserving = is_on && 0 < threshold && renewals <= threshold;
        Preservation { is_on, is_preserving, renewals, threshold, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_renewals_preserve_until_the_silent_are_expected_no_more() {
        let rules = LeaseRules { self_preservation: true, ..LeaseRules::default() };
        let pulse = Pulse::default();
        assert!(!pulse.preservation(rules).is_preserving, "nobody is expected");
        (0..10).for_each(|_| pulse.came());
        let beat = |renewals: u64| {
            (0..renewals).for_each(|_| pulse.renewed());
            pulse.end_minute();
            pulse.preservation(rules)
        };
        let kept =
            Preservation { is_on: true, is_preserving: true, renewals: 17, threshold: 17, expected: 10 };
        assert_eq!(beat(17), kept);
        assert_eq!(beat(18), Preservation { is_preserving: false, renewals: 18, ..kept });
        assert!(beat(14).is_preserving);
        pulse.expect(7);
        assert_eq!(
            beat(14),
            Preservation { is_preserving: false, renewals: 14, threshold: 11, expected: 7, ..kept }
        );
        assert!(!pulse.preservation(LeaseRules::default()).is_preserving, "switched off");
        pulse.expect(0);
        pulse.went();
        assert_eq!(pulse.preservation(rules).expected, 0);
    }
}

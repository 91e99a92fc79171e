//! Which instances are kept although their leases ran out, because the member that they renew through cannot be
//! reached.
//!
//! Their leases end a little later again and again, so that readers go on seeing them, until the rules say otherwise.
//! Never: decides who is kept, or calls a held lease renewed.

use std::collections::HashMap;
use std::time::Duration;

use crate::cluster::replicator::Row;
use crate::directory::Slots;
use crate::model::Moment;

/// The leases that are held.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<Row, Hold>);

/// A lease that is held.
#[derive(Debug, Clone, Copy)]
struct Hold {
    /// When it was last renewed; what is renewed later is held no more.
    renewed: Moment,
    /// When it would have ended.
    lapses: Moment,
    /// When it ends now.
    ends: Moment,
}

/// Leases that end within this are looked at: more than twice as long as from one look to the next, so that none that
/// is to be held is seen to have run out.
pub(super) const AHEAD: Duration = Duration::from_millis(600);
/// How far the end of a held lease is moved: it is looked at again after this less [`AHEAD`], and ends at most so much
/// later than its hold.
const STEP: Duration = Duration::from_millis(1100);
/// For so long a lease may go on in the ordinary course of things, because what others heard comes a little later.
const LATE: Duration = Duration::from_secs(1);

// === impl Holds ===

impl Holds {
    /// Number of leases that ran out a while ago.
    pub(super) fn count(&self, now: Moment) -> usize {
        self.0.values().filter(|hold| hold.lapses.plus(LATE) <= now).count()
    }

    /// Judges a lease that ends soon. `until`: how long it is to be held at most; none when it is not.
    pub(super) fn judge(&mut self, slots: &Slots, row: Row, until: Option<Moment>, now: Moment) {
        let Some((renewed, ends)) = slots.lease_of(row) else { return };
        let hold = self.0.get(&row).copied().filter(|hold| hold.is(renewed, ends));
        match (until, hold) {
            (Some(until), _) if ends < until => {
                let lapses = hold.map_or(ends, |hold| hold.lapses);
                if let Some(ends) = slots.move_end(row, ends, until.min(now.plus(STEP)).max(ends)) {
                    self.0.insert(row, Hold { renewed, lapses, ends });
                }
            }
            // It ends with its hold.
            (Some(_), _) | (None, None) => {}
            (None, Some(hold)) => {
                self.0.remove(&row);
                // Renewed just now, its end is another one and stays.
                let _ = slots.move_end(row, hold.ends, hold.lapses);
            }
        }
    }

    /// Forgets those that were renewed, or are gone.
    pub(super) fn sweep(&mut self, slots: &Slots) {
        self.0.retain(|row, hold| slots.lease_of(*row).is_some_and(|(renewed, ends)| hold.is(renewed, ends)));
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }
}

// === impl Hold ===

impl Hold {
    fn is(&self, renewed: Moment, ends: Moment) -> bool {
        self.renewed == renewed && self.ends == ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    /// Looks four times a second; answers with the moments at which the lease is seen to have run out.
    fn looks(
        holds: &mut Holds,
        slots: &Slots,
        times: std::ops::Range<u64>,
        until: impl Fn(Moment) -> Option<Moment>,
    ) -> Vec<u64> {
        let mut ran_out = Vec::new();
        for millis in times.step_by(50) {
            let now = at(millis);
            if millis % 250 == 0 {
                for due in slots.due(now.plus(AHEAD)) {
                    holds.judge(slots, due.row, until(now), now);
                }
                holds.sweep(slots);
            }
            if !slots.due(now).is_empty() {
                ran_out.push(millis);
            }
        }
        ran_out
    }

    #[test]
    fn a_held_lease_never_runs_out_before_the_end_of_its_hold() {
        let (slots, mut holds) = (Slots::tracking(), Holds::default());
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        let hold = |now: Moment| Some(at(30_000)).filter(|until| now < *until);
        assert_eq!(looks(&mut holds, &slots, 0..30_000, hold), [0_u64; 0]);
        assert_eq!((holds.count(at(10_500)), holds.count(at(11_000))), (0, 1));
        assert_eq!(slots.renewed(slot), Some(at(0)), "nobody renewed it");
        assert_eq!(looks(&mut holds, &slots, 30_000..30_400, hold).first(), Some(&30_000));
        assert!(holds.0.is_empty());
    }

    #[test]
    fn what_is_not_held_any_more_runs_out_soon() {
        let (slots, mut holds) = (Slots::tracking(), Holds::default());
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        let hold = |now: Moment| Some(at(300_000)).filter(|_| now < at(20_130));
        let ran_out = looks(&mut holds, &slots, 0..21_000, hold);
        assert!(ran_out.first().is_some_and(|first| (20_130..20_800).contains(first)), "{ran_out:?}");
        assert!(holds.0.is_empty());
    }

    #[test]
    fn a_renewal_ends_a_hold_and_the_lease_is_as_long_as_any() {
        let (slots, mut holds) = (Slots::tracking(), Holds::default());
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        let hold = |_: Moment| Some(at(300_000));
        assert_eq!(looks(&mut holds, &slots, 0..15_000, hold), [0_u64; 0]);
        assert!(slots.renew(slot, at(15_000), TTL));
        assert_eq!(looks(&mut holds, &slots, 15_000..15_300, hold), [0_u64; 0]);
        assert_eq!((holds.0.len(), slots.lease_of(slot.row())), (0, Some((at(15_000), at(25_000)))));
        assert_eq!(looks(&mut holds, &slots, 15_300..25_100, |_| None).first(), Some(&25_000));
    }
}

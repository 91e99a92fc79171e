//! What replication needs of the columns: which leases were renewed here lately, leases renewed elsewhere, and leases
//! that are kept for a while although they ran out.
//!
//! Never: looked at by a renewal but for one bit, and not for that where nothing is tracked.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{NEVER, Page, Slot, Slots, deadline, index};
use crate::model::Moment;

/// One bit for each row of a page that was renewed since the last look; no words where nothing is tracked.
#[derive(Debug, Default)]
pub(super) struct Marks(Box<[AtomicU64]>);

const WORD: usize = 64;
/// Renewals that are visited at a time.
const TOGETHER: usize = 256;

// === impl Marks ===

impl Marks {
    pub(super) fn new(rows: usize) -> Self {
        Self((0..rows.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect())
    }

    /// The renewal that is marked was written before, and is seen by who takes the mark.
    pub(super) fn mark(&self, at: usize) {
        if let Some(word) = self.0.get(at / WORD) {
            word.fetch_or(1 << (at % WORD), Ordering::AcqRel);
        }
    }

    pub(super) fn clear(&self, at: usize) {
        if let Some(word) = self.0.get(at / WORD) {
            word.fetch_and(!(1 << (at % WORD)), Ordering::AcqRel);
        }
    }

    /// Takes all marks of the page.
    fn take(&self, mut visit: impl FnMut(usize)) {
        for (first, word) in (0..).step_by(WORD).zip(&self.0) {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                visit(first + index(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
    }
}

// === impl Slots ===

impl Slots {
    /// Columns that keep track of which leases are renewed.
    #[must_use]
    pub fn tracking() -> Self {
        Self { is_tracking: true, ..Self::default() }
    }

    /// Visits each row that was renewed by [`Slots::renew`] since the last call, with the time of its newest renewal;
    /// many at a time, and never none.
    pub fn take_renewed(&self, mut visit: impl FnMut(&[(u32, Moment)])) {
        let mut first_row = 0;
        let mut taken = Vec::new();
        for page in self.pages.iter().map_while(OnceLock::get) {
            page.marks.take(|at| {
                let renewed = Moment::from_millis(page.renewed[at].load(Ordering::Acquire));
                taken.push((first_row + u32::try_from(at).unwrap_or(u32::MAX), renewed));
                if taken.len() == TOGETHER {
                    visit(&taken);
                    taken.clear();
                }
            });
            first_row += u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
        }
        if !taken.is_empty() {
            visit(&taken);
        }
    }

    /// Begins a lease anew as of `at`, unless it was renewed later; one without an end stays so. Nobody is told.
    pub fn renew_as_of(&self, slot: Slot, at: Moment, ttl: Duration) -> bool {
        if slot.is_none() {
            return false;
        }
        let (page, row) = self.page(slot.row);
        let Page { deadlines, renewed, .. } = page;
        let renewed = &renewed[row];
        if at.as_millis() <= renewed.fetch_max(at.as_millis(), Ordering::SeqCst) {
            return false;
        }
        if deadlines[row].load(Ordering::Relaxed) != NEVER {
            let mut newest = at.as_millis();
            loop {
                // Somebody may renew it here at the same time: the later renewal counts.
                deadlines[row].swap(deadline(Moment::from_millis(newest), ttl), Ordering::SeqCst);
                match renewed.load(Ordering::SeqCst) {
                    same if same == newest => break,
                    later => newest = later,
                }
            }
        }
        true
    }

    /// When the lease in a row was last renewed, and when it ends; none when it has no end.
    #[must_use]
    pub fn lease_of(&self, row: u32) -> Option<(Moment, Moment)> {
        let (page, at) = self.page(row);
        let until = page.deadlines[at].load(Ordering::Relaxed);
        let renewed = page.renewed[at].load(Ordering::Acquire);
        (until != NEVER).then(|| (Moment::from_millis(renewed), moment(until)))
    }

    /// Has the lease in a row end at `until`, which is rounded up, if it ends at `was` just now; tells when it ends.
    pub fn move_end(&self, row: u32, was: Moment, until: Moment) -> Option<Moment> {
        let (page, at) = self.page(row);
        let (was, until) = (deadline(was, Duration::ZERO), deadline(until, Duration::ZERO));
        let end: &AtomicU32 = &page.deadlines[at];
        end.compare_exchange(was, until, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| moment(until))
    }
}

fn moment(tick: u32) -> Moment {
    Moment::from_millis(u64::from(tick) * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn taken(slots: &Slots) -> Vec<(u32, u64)> {
        let mut taken = Vec::new();
        slots
            .take_renewed(|rows| taken.extend(rows.iter().map(|(row, renewed)| (*row, renewed.as_millis()))));
        taken
    }

    #[test]
    fn renewals_are_told_once_with_the_newest_time_across_pages() {
        let slots = Slots::tracking();
        let rows: Vec<_> = (0..3000).map(|_| slots.take(0, 0, at(0))).collect();
        rows.iter().for_each(|slot| slots.lease(*slot, at(0), Some(TTL)));
        assert_eq!(taken(&slots), vec![], "a lease that begins is no renewal");
        for (row, millis) in [(0, 1), (63, 2), (64, 3), (1024, 4), (2999, 5), (64, 6)] {
            assert!(slots.renew(rows[row], at(millis), TTL));
        }
        assert!(slots.renew_late(rows[70], at(7), TTL));
        assert_eq!(taken(&slots), [(0, 1), (63, 2), (64, 6), (70, 7), (1024, 4), (2999, 5)]);
        assert_eq!(taken(&slots), vec![]);
    }

    #[test]
    fn a_row_given_back_is_told_no_more_and_without_tracking_nothing_is() {
        let slots = Slots::tracking();
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        assert!(slots.renew(slot, at(1), TTL));
        slots.give_back(slot);
        assert_eq!(taken(&slots), vec![]);

        let slots = Slots::default();
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        assert!(slots.renew(slot, at(1), TTL));
        assert_eq!(taken(&slots), vec![]);
    }

    #[test]
    fn a_renewal_from_elsewhere_counts_from_when_it_was_and_only_when_newer() {
        let slots = Slots::tracking();
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(5000), Some(TTL));
        assert!(!slots.renew_as_of(slot, at(5000), TTL) && !slots.renew_as_of(slot, at(100), TTL));
        assert_eq!(slots.lease_of(slot.row()), Some((at(5000), at(15_000))));
        assert!(slots.renew_as_of(slot, at(7000), TTL));
        assert_eq!(slots.lease_of(slot.row()), Some((at(7000), at(17_000))));
        assert!(slots.renew_as_of(slot, at(30_000), TTL), "also when it ran out meanwhile");
        assert!(!slots.is_due(slot, at(39_999)));
        slots.lease(slot, at(31_000), None);
        assert!(slots.renew_as_of(slot, at(32_000), TTL));
        assert_eq!((slots.lease_of(slot.row()), slots.renewed(slot)), (None, Some(at(32_000))));
        assert_eq!(taken(&slots), vec![], "it is known elsewhere");
    }

    #[test]
    fn the_end_of_a_lease_is_moved_only_from_where_it_was_seen() {
        let slots = Slots::tracking();
        let slot = slots.take(0, 0, at(0));
        slots.lease(slot, at(0), Some(TTL));
        assert_eq!(slots.move_end(slot.row(), at(10_000), at(11_050)), Some(at(11_100)));
        assert!(!slots.is_due(slot, at(11_000)) && slots.is_due(slot, at(11_100)));
        assert_eq!(slots.move_end(slot.row(), at(10_000), at(20_000)), None);
        assert!(slots.renew(slot, at(10_500), TTL), "whose end was moved can be renewed");
        assert_eq!(slots.move_end(slot.row(), at(11_100), at(12_000)), None);
        assert_eq!(slots.lease_of(slot.row()), Some((at(10_500), at(20_500))));
    }
}

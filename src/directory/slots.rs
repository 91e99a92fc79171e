//! Dense columns with one row, a slot, for each instance of a process: deadlines and renewal times.
//!
//! A renewal is two atomic stores here, and expiry is one walk along the deadlines, whatever the number
//! of namespaces. A slot is written only by who holds the lock of its index shard; anybody may read it,
//! and tells by its generation whether it still belongs to the instance it was read for.
//! Never: locks a reader out, moves a row, or knows an id.

mod tracking;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::Moment;
use tracking::Marks;

/// The columns of all instances of a process.
#[derive(Debug, Default)]
pub struct Slots {
    pages: [OnceLock<Page>; PAGES],
    free: Mutex<Free>,
    /// Whether it is marked which leases are renewed.
    is_tracking: bool,
}

/// One row, as long as its generation lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    row: u32,
    generation: u32,
}

/// The slot of what has no lease: never due, never renewed, nobody's row.
const NO_ROW: u32 = u32::MAX;

/// A lease that has run out, with what its owner finds the instance by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The row whose lease it was.
    pub row: u32,
    /// Who took the row; see [`Slots::take`].
    pub owner: u32,
    /// The key under which the owner's index knows it.
    pub hash: u64,
}

#[derive(Debug)]
struct Page {
    /// Tenths of a second since the clock began, rounded up; [`NEVER`] for a lease without an end.
    /// By themselves, because they are walked along.
    deadlines: Box<[AtomicU32]>,
    /// Milliseconds since the clock began. By themselves, because of each renewal only this and a deadline are touched.
    renewed: Box<[AtomicU64]>,
    rows: Box<[Row]>,
    marks: Marks,
}

/// Whose a row is.
#[derive(Debug, Default)]
struct Row {
    generation: AtomicU32,
    owner: AtomicU32,
    hash: AtomicU64,
}

#[derive(Debug, Default)]
struct Free {
    rows: Vec<u32>,
    /// Rows from here on were never taken.
    fresh: u32,
}

/// Page n holds `FIRST << n` rows, so a small registry is small and no row ever moves.
const FIRST: u32 = 1024;
const PAGES: usize = 22;
const NEVER: u32 = u32::MAX;

// === impl Slots ===

impl Slots {
    /// Takes a row for an instance that `owner` knows by `hash`, with no lease yet.
    pub fn take(&self, owner: u32, hash: u64, now: Moment) -> Slot {
        let row = {
            let mut free = self.free.lock();
            free.rows.pop().unwrap_or_else(|| {
                free.fresh += 1;
                free.fresh - 1
            })
        };
        let (page, at) = self.page(row);
        // The generation goes first: who sees the new renewal time also sees the new generation.
        let taken = &page.rows[at];
        let generation = taken.generation.load(Ordering::Relaxed).wrapping_add(1);
        taken.generation.store(generation, Ordering::Release);
        page.renewed[at].store(now.as_millis(), Ordering::Release);
        taken.owner.store(owner, Ordering::Relaxed);
        taken.hash.store(hash, Ordering::Relaxed);
        Slot { row, generation }
    }

    /// Gives a row back; its deadline is never met from now on.
    pub fn give_back(&self, slot: Slot) {
        if slot.is_none() {
            return;
        }
        let (page, at) = self.page(slot.row);
        page.deadlines[at].store(NEVER, Ordering::Relaxed);
        page.marks.clear(at);
        page.rows[at].generation.fetch_add(1, Ordering::Release);
        self.free.lock().rows.push(slot.row);
    }

    /// Begins a lease at `now`; without a length it does not end.
    pub fn lease(&self, slot: Slot, now: Moment, ttl: Option<Duration>) {
        let (page, at) = self.page(slot.row);
        page.renewed[at].store(now.as_millis(), Ordering::Release);
        page.deadlines[at].store(ttl.map_or(NEVER, |ttl| deadline(now, ttl)), Ordering::Relaxed);
    }

    /// Begins a lease anew; false when it has run out. One without an end stays so.
    pub fn renew(&self, slot: Slot, now: Moment, ttl: Duration) -> bool {
        if slot.is_none() {
            return false;
        }
        let (page, at) = self.page(slot.row);
        let until = page.deadlines[at].load(Ordering::Relaxed);
        if until <= tick(now) {
            return false;
        }
        page.renewed[at].store(now.as_millis(), Ordering::Release);
        if until != NEVER {
            page.deadlines[at].store(deadline(now, ttl), Ordering::Relaxed);
        }
        page.marks.mark(at);
        true
    }

    /// Begins a lease anew although it has run out.
    pub(super) fn renew_late(&self, slot: Slot, now: Moment, ttl: Duration) -> bool {
        if slot.is_none() {
            return false;
        }
        self.lease(slot, now, Some(ttl));
        let (page, at) = self.page(slot.row);
        page.marks.mark(at);
        true
    }

    /// Whether the lease has run out.
    pub fn is_due(&self, slot: Slot, now: Moment) -> bool {
        if slot.is_none() {
            return false;
        }
        let (page, at) = self.page(slot.row);
        page.deadlines[at].load(Ordering::Relaxed) <= tick(now)
    }

    /// When the lease was last renewed; none when the row belongs to somebody else by now, or there is no lease.
    pub fn renewed(&self, slot: Slot) -> Option<Moment> {
        if slot.is_none() {
            return None;
        }
        let (page, at) = self.page(slot.row);
        let renewed = page.renewed[at].load(Ordering::Acquire);
        let generation = page.rows[at].generation.load(Ordering::Acquire);
        (generation == slot.generation).then(|| Moment::from_millis(renewed))
    }

    /// All leases that have run out, in no order. Costs one comparison for each row.
    pub fn due(&self, now: Moment) -> Vec<Due> {
        let tick = tick(now);
        let mut due = Vec::new();
        let mut first_row = 0;
        for page in self.pages.iter().map_while(OnceLock::get) {
            for (deadline, at) in page.deadlines.iter().zip(0_u32..) {
                if deadline.load(Ordering::Relaxed) <= tick {
                    due.push(page.due(first_row + at, index(at)));
                }
            }
            first_row += u32::try_from(page.deadlines.len()).unwrap_or(u32::MAX);
        }
        due
    }

    fn new_page(&self, rows: usize) -> Page {
        let marks = if self.is_tracking { Marks::new(rows) } else { Marks::default() };
        Page { marks, ..Page::new(rows) }
    }

    /// Page n begins at row `FIRST * (2^n - 1)`.
    fn page(&self, row: u32) -> (&Page, usize) {
        let nth = (row / FIRST + 1).ilog2();
        let at = row - FIRST * ((1 << nth) - 1);
        (self.pages[index(nth)].get_or_init(|| self.new_page(index(FIRST << nth))), index(at))
    }
}

// === impl Slot ===

impl Slot {
    /// That of an instance without a lease, which a catalog has.
    pub(super) const NONE: Self = Self { row: NO_ROW, generation: 0 };

    /// Whether there is no lease.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.row == NO_ROW
    }

    /// The row's number.
    #[must_use]
    pub fn row(self) -> u32 {
        self.row
    }
}

// === impl Page ===

impl Page {
    fn new(rows: usize) -> Self {
        Self {
            deadlines: (0..rows).map(|_| AtomicU32::new(NEVER)).collect(),
            renewed: (0..rows).map(|_| AtomicU64::new(0)).collect(),
            rows: (0..rows).map(|_| Row::default()).collect(),
            marks: Marks::default(),
        }
    }

    fn due(&self, row: u32, at: usize) -> Due {
        let Row { owner, hash, .. } = &self.rows[at];
        Due { row, owner: owner.load(Ordering::Relaxed), hash: hash.load(Ordering::Relaxed) }
    }
}

/// The first tick at which a lease from `now` has run out: rounded up, so none ends early.
fn deadline(now: Moment, ttl: Duration) -> u32 {
    u32::try_from(now.plus(ttl).as_millis().div_ceil(100)).unwrap_or(NEVER - 1).min(NEVER - 1)
}

fn tick(now: Moment) -> u32 {
    u32::try_from(now.as_millis() / 100).unwrap_or(NEVER - 1).min(NEVER - 1)
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_lease_lasts_its_length_and_at_most_a_tenth_of_a_second_more() {
        let slots = Slots::default();
        let slot = slots.take(7, 9, at(1));
        slots.lease(slot, at(1), Some(TTL));
        assert!(!slots.is_due(slot, at(10_001)) && slots.due(at(10_001)).is_empty());
        assert!(slots.renew(slot, at(10_001), TTL));
        assert!(!slots.is_due(slot, at(20_000)));
        assert!(slots.is_due(slot, at(20_101)) && !slots.renew(slot, at(20_101), TTL));
        assert_eq!(slots.due(at(20_101)), [Due { row: slot.row(), owner: 7, hash: 9 }]);
    }

    #[test]
    fn a_lease_without_an_end_stays_so_when_renewed() {
        let slots = Slots::default();
        let slot = slots.take(1, 1, at(0));
        slots.lease(slot, at(0), None);
        assert!(slots.renew(slot, at(5), TTL));
        assert!(!slots.is_due(slot, at(u64::MAX)));
        assert_eq!(slots.renewed(slot), Some(at(5)));
    }

    #[test]
    fn a_row_given_back_is_nobodys() {
        let slots = Slots::default();
        let old = slots.take(1, 1, at(0));
        slots.lease(old, at(0), Some(TTL));
        slots.give_back(old);
        assert_eq!((slots.renewed(old), slots.due(at(90_000))), (None, vec![]));
        let new = slots.take(2, 2, at(50));
        assert_eq!((new.row(), slots.renewed(old), slots.renewed(new)), (old.row(), None, Some(at(50))));
    }

    #[test]
    fn rows_are_dense_across_pages() {
        let slots = Slots::default();
        for row in 0..5000 {
            let slot = slots.take(row, u64::from(row), at(0));
            slots.lease(slot, at(0), Some(TTL));
            assert_eq!(slot.row(), row);
        }
        let due = slots.due(at(60_000));
        assert!(due.iter().zip(0..).all(|(due, row)| due.row == row && due.owner == row));
        assert_eq!(due.len(), 5000);
    }
}

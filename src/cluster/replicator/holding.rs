//! What is kept although its lease ran out, and what may be told to others as alive.
//!
//! Never: tells of what is only kept.

use std::time::Duration;

use super::entries::{Entry, Renewal};
use super::fault::Fault;
use super::members::Renewed;
use super::{Now, Replicator, Row};
use crate::cluster::message::{Age, Content};
use crate::model::Moment;

impl Replicator {
    pub(super) fn is_held_until(&self, row: Row, now: Moment) -> Option<Moment> {
        let until = self.keeps_until(self.standing_of(self.entries.at_row(row)?)?, now);
        (now < until).then_some(until)
    }

    /// What decides how long an entry is kept; none when its lease has no end.
    fn standing_of(&self, slot: u32) -> Option<Renewed> {
        let Renewal { last, home } = self.entries.renewal(slot)?;
        Some(Renewed { home, last, lease: self.lease_of(self.entries.get(slot)?)? })
    }

    /// Length of an entry's lease; none for one without an end, and for the dead.
    pub(super) fn lease_of(&self, entry: &Entry) -> Option<Duration> {
        match &entry.content {
            Content::Alive(instance) => self.settings.lease(instance),
            Content::Dead => None,
        }
    }

    /// Whether an entry's lease goes on or it is kept.
    pub(super) fn lasts(&self, slot: u32, now: Moment) -> bool {
        match self.standing_of(slot) {
            Some(renewed) => now < self.keeps_until(renewed, now).max(renewed.last.plus(renewed.lease)),
            None => self.entries.renewal_of_living(slot).is_some(),
        }
    }

    /// Whether the lease is known to go on: not when an entry is only kept, nor when it only lacks an end.
    pub(super) fn is_vouched_for(&self, slot: u32, now: Moment) -> bool {
        let Some(renewal) = self.entries.renewal_of_living(slot) else { return false };
        let age = now.since(renewal.last);
        let goes_on = || match &self.entries.get(slot)?.content {
            Content::Alive(instance) => Some(age <= self.settings.lease(instance).unwrap_or(instance.ttl)),
            Content::Dead => None,
        };
        age <= FRESH || goes_on() == Some(true) || self.has(Fault::HoldVouches)
    }

    /// How long ago an entry's lease was renewed.
    pub(super) fn age_of(&self, slot: u32, now: Now) -> Age {
        let age = now.at.since(self.entries.renewal(slot).unwrap_or_default().last);
        if self.has(Fault::WallClockLeases) {
            return Duration::from_millis(WALL.saturating_sub(now.wall.as_millis())) + age;
        }
        let lease = || self.entries.get(slot).and_then(|entry| self.lease_of(entry));
        match self.has(Fault::HoldVouches) && lease().is_some_and(|lease| lease < age) {
            true => Duration::ZERO,
            false => age,
        }
    }

    /// When a lease was renewed that was said to be so old.
    pub(super) fn moment_of(&self, age: Age, now: Now) -> Moment {
        let age = match self.has(Fault::WallClockLeases) {
            true => (age + Duration::from_millis(now.wall.as_millis()))
                .saturating_sub(Duration::from_millis(WALL)),
            false => age,
        };
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Moment::from_millis(now.at.as_millis().saturating_sub(age))
    }
}

/// What was renewed since is vouched for without a look at its lease; where that is shorter, the age tells all the same.
const FRESH: Duration = Duration::from_secs(1);
/// Beyond all times of day.
const WALL: u64 = 1 << 50;

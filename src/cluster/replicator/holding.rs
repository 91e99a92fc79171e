//! What is kept although its lease ran out, and what may be told to others as alive.
//!
//! Never: tells of what is only kept.

use std::time::Duration;

use super::entries::Entry;
use super::fault::Fault;
use super::members::Renewed;
use super::{Now, Replicator, Row};
use crate::cluster::message::{Age, Content};
use crate::model::Moment;

impl Replicator {
    pub(super) fn is_held_until(&self, row: Row, now: Moment) -> Option<Moment> {
        let entry = self.entries.get(self.entries.at_row(row)?)?;
        let until = self.keeps_until(self.standing_of(entry)?, now);
        (now < until).then_some(until)
    }

    /// What decides how long an entry is kept; none when its lease has no end.
    fn standing_of(&self, entry: &Entry) -> Option<Renewed> {
        let Entry { home, last, .. } = *entry;
        Some(Renewed { home, last, lease: self.lease_of(entry)? })
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
        self.entries.get(slot).is_some_and(|entry| match self.standing_of(entry) {
            Some(renewed) => now < self.keeps_until(renewed, now).max(renewed.last.plus(renewed.lease)),
            None => entry.is_alive(),
        })
    }

    /// Whether the lease is known to go on: not when an entry is only kept, nor when it only lacks an end.
    pub(super) fn is_vouched_for(&self, entry: &Entry, now: Moment) -> bool {
        match &entry.content {
            Content::Alive(instance) => {
                now.since(entry.last) <= self.settings.lease(instance).unwrap_or(instance.ttl)
                    || self.has(Fault::HoldVouches)
            }
            Content::Dead => false,
        }
    }

    /// How long ago an entry's lease was renewed.
    pub(super) fn age_of(&self, entry: &Entry, now: Now) -> Age {
        let age = now.at.since(entry.last);
        if self.has(Fault::WallClockLeases) {
            return Duration::from_millis(WALL.saturating_sub(now.wall.as_millis())) + age;
        }
        match self.has(Fault::HoldVouches) && self.lease_of(entry).is_some_and(|lease| lease < age) {
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

/// Beyond all times of day.
const WALL: u64 = 1 << 50;

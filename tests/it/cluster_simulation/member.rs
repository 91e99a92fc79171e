//! A member: the rules under test over a directory that is just large enough to have rows, leases and expiry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::message::{Key, MemberId};
use a8registry::cluster::replicator::{Effect, Fault, Now, Replicator, Row, Settings};
use a8registry::directory::LeaseRules;
use a8registry::model::{Instance, Moment, Timestamp};

/// What all members have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) ttl: u64,
    pub(super) hold: u64,
    pub(super) flush: u64,
    pub(super) fault: Option<Fault>,
}

/// Most bytes of a frame: small, so that what is much elsewhere is much here.
pub(super) const FRAME_MAX: usize = 4096;

/// One life of a member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) replicator: Replicator,
    pub(super) rows: BTreeMap<Key, Held>,
    free: Vec<Row>,
    taken: Row,
    /// What its monotonic clock showed when the world began.
    offset: u64,
    /// How far its time of day is ahead.
    pub(super) skew: i64,
    pub(super) born: u64,
    /// A broken promise of the rules, seen from the directory.
    pub(super) broken: Option<String>,
    /// Whether content may be replaced by what was written earlier: clocks differ.
    pub(super) is_skewed: bool,
    /// Which versions of which instances ran out here.
    pub(super) expired: BTreeSet<(Key, u64)>,
}

/// An instance in the directory.
#[derive(Debug)]
pub(super) struct Held {
    row: Row,
    pub(super) instance: Arc<Instance>,
    pub(super) renewed: Moment,
}

/// The time of day when the world began.
const DAWN: i64 = 1_800_000_000_000;

impl Member {
    pub(super) fn new(
        name: &'static str,
        rules: Rules,
        time: u64,
        (offset, incarnation): (u64, u64),
        skew: i64,
    ) -> Self {
        let settings = Settings {
            me: MemberId(name.into()),
            incarnation,
            max_ttl: Duration::from_millis(rules.ttl),
            hold: Duration::from_millis(rules.hold),
            flush: Duration::from_millis(rules.flush),
            frame_max: FRAME_MAX,
            leases: LeaseRules::default(),
        };
        let mut replicator = Replicator::new(settings, now(time, offset, skew));
        if let Some(fault) = rules.fault {
            replicator.plant(fault);
        }
        Self {
            name,
            replicator,
            rows: BTreeMap::new(),
            free: Vec::new(),
            taken: 0,
            offset,
            skew,
            born: time,
            broken: None,
            is_skewed: false,
            expired: BTreeSet::new(),
        }
    }

    pub(super) fn now(&self, time: u64) -> Now {
        now(time, self.offset, self.skew)
    }

    /// When something was that this member's clock showed.
    pub(super) fn time_of(&self, moment: Moment) -> u64 {
        moment.as_millis().saturating_sub(self.offset)
    }

    /// A client registers an instance, or changes it.
    pub(super) fn register(&mut self, time: u64, key: &Key, instance: Arc<Instance>) {
        let now = self.now(time);
        let row = self.place(key, instance.clone(), now.at);
        self.replicator.put(now, key.clone(), row, instance);
    }

    /// A client renews a lease; false when there is none.
    pub(super) fn renew(&mut self, time: u64, key: &Key) -> bool {
        let now = self.now(time);
        let Some(held) = self.rows.get(key) else { return false };
        if is_due(held, now.at) && self.replicator.held_until(held.row, now.at).is_none() {
            return false;
        }
        let row = held.row;
        self.replicator.renewed(&[(row, now.at)]);
        if let Some(held) = self.rows.get_mut(key) {
            held.renewed = now.at;
        }
        true
    }

    pub(super) fn deregister(&mut self, time: u64, key: &Key) -> bool {
        let now = self.now(time);
        let is_there = self.take_away(key).is_some();
        if is_there {
            self.replicator.remove(now, key);
        }
        is_there
    }

    /// Removes what has run out and is not held.
    pub(super) fn expire(&mut self, time: u64) {
        let now = self.now(time).at;
        let due = self.rows.iter().filter(|(_, held)| is_due(held, now));
        let gone = due.filter(|(_, held)| self.replicator.held_until(held.row, now).is_none());
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            if let Some(held) = self.take_away(&key) {
                self.expired.insert((key.clone(), held.instance.dirty_at.as_millis()));
            }
            self.replicator.expired(&key);
        }
    }

    /// Whether anything is there whose lease has run out.
    pub(super) fn holds(&self, time: u64) -> bool {
        let now = self.now(time).at;
        self.rows.values().any(|held| is_due(held, now))
    }

    /// Does what the rules want done.
    pub(super) fn settle(&mut self) {
        for effect in self.replicator.effects() {
            match effect {
                Effect::Put { key, instance, renewed } => self.put(&key, instance, renewed),
                Effect::Remove { key } => _ = self.take_away(&key),
                Effect::Renew { row, key, at } => {
                    let Some(held) = self.rows.get_mut(&key).filter(|held| held.row == row) else {
                        self.broken =
                            Some(format!("{} renews {key:?} in row {row}, where it is not", self.name));
                        return;
                    };
                    if at <= held.renewed {
                        self.broken = Some(format!("I5: {} has a lease of {key:?} go back", self.name));
                    }
                    held.renewed = at;
                }
            }
        }
    }

    fn put(&mut self, key: &Key, instance: Arc<Instance>, renewed: Moment) {
        if instance.tags.first().map(|tag| &**tag) != Some(key.namespace.as_str()) || instance.id != key.id {
            self.broken = Some(format!("I10: {} has {instance:?} under {key:?}", self.name));
        }
        if let Some(before) = self.rows.get(key) {
            if renewed < before.renewed {
                self.broken = Some(format!("I5: {} has a lease of {key:?} go back by content", self.name));
            }
            if !self.is_skewed && instance.dirty_at < before.instance.dirty_at {
                self.broken = Some(format!("I5: {} has an older content of {key:?}", self.name));
            }
        }
        let row = self.place(key, instance, renewed);
        self.replicator.placed(key, Some(row));
    }

    fn place(&mut self, key: &Key, instance: Arc<Instance>, renewed: Moment) -> Row {
        let row = self.rows.get(key).map(|held| held.row).or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.taken += 1;
            self.taken - 1
        });
        self.rows.insert(key.clone(), Held { row, instance, renewed });
        row
    }

    fn take_away(&mut self, key: &Key) -> Option<Held> {
        let held = self.rows.remove(key)?;
        self.free.push(held.row);
        Some(held)
    }
}

fn is_due(held: &Held, now: Moment) -> bool {
    held.instance.status.expires() && held.renewed.plus(held.instance.ttl) <= now
}

fn now(time: u64, offset: u64, skew: i64) -> Now {
    let wall = DAWN + i64::try_from(time).unwrap() + skew;
    Now { at: Moment::from_millis(offset + time), wall: Timestamp::from_millis(u64::try_from(wall).unwrap()) }
}

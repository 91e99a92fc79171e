//! What waits to be sent to one peer: the newest of each kind of write for each instance, in order, bounded
//! (spec eureka section 4.4).
//!
//! Pure: the caller brings the time.
//! Never: sends, waits, or keeps two writes of one kind for one instance.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::{InstanceId, Moment};
use crate::registry::Forwarded;
use crate::wire::eureka::replication::BatchAction;

/// Writes that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By place; what has to go first has the lowest.
    waiting: BTreeMap<i64, Queued>,
    places: HashMap<Key, i64>,
    /// Since when something waits without anything having been taken.
    waiting_since: Option<Moment>,
}

/// A write and how long it is worth sending.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) write: Forwarded,
    pub(super) since: Moment,
    expires: Moment,
}

type Key = (BatchAction, InstanceId);

/// What a change of the queue threw away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub(super) struct Lost {
    /// The queue was full.
    pub(super) overflown: u64,
    /// They had waited for too long.
    pub(super) expired: u64,
}

/// How soon a queue wants to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing waits.
    Never,
    /// A batch is full.
    Now,
    /// At this moment, with whatever there is then.
    At(Moment),
}

// === impl Queue ===

impl Queue {
    /// Most writes that wait; the oldest give way.
    pub(super) const MAX: usize = 10_000;
    /// Most writes of one batch.
    pub(super) const BATCH: usize = 250;
    /// How long the first write waits for others.
    pub(super) const DELAY: Duration = Duration::from_millis(100);

    /// Adds a write behind all others; an older one of its kind for its instance goes.
    pub(super) fn push(&mut self, write: Forwarded, now: Moment) -> Lost {
        let key = key_of(&write);
        if let Some(place) = self.places.remove(&key) {
            self.waiting.remove(&place);
        }
        let place = self.waiting.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let expires = now.plus(worth(&write));
        self.insert(place, key, Queued { write, since: now, expires });
        self.waiting_since.get_or_insert(now);
        Lost { overflown: self.shrink(), expired: 0 }
    }

    /// Puts what was taken back before all others, in its order, but for what a newer write has replaced.
    pub(super) fn put_back(&mut self, taken: Vec<Queued>, now: Moment) -> Lost {
        let mut expired = 0;
        for queued in taken.into_iter().rev() {
            let key = key_of(&queued.write);
            if self.places.contains_key(&key) {
                continue;
            }
            if queued.expires <= now {
                expired += 1;
                continue;
            }
            let place = self.waiting.first_key_value().map_or(0, |(first, _)| first.saturating_sub(1));
            self.insert(place, key, queued);
        }
        if !self.waiting.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        Lost { overflown: self.shrink(), expired }
    }

    /// Takes the first of what waits, at most a batch; what waited for too long goes.
    pub(super) fn take(&mut self, now: Moment) -> (Vec<Queued>, Lost) {
        let (mut taken, mut lost) = (Vec::new(), Lost::default());
        while taken.len() < Self::BATCH
            && let Some((_, queued)) = self.waiting.pop_first()
        {
            self.places.remove(&key_of(&queued.write));
            match queued.expires <= now {
                true => lost.expired += 1,
                false => taken.push(queued),
            }
        }
        self.waiting_since = (!self.waiting.is_empty()).then_some(now);
        (taken, lost)
    }

    /// When the next batch should be taken.
    pub(super) fn due(&self) -> Due {
        match self.waiting_since {
            None => Due::Never,
            Some(_) if Self::BATCH <= self.waiting.len() => Due::Now,
            Some(since) => Due::At(since.plus(Self::DELAY)),
        }
    }

    /// Number of writes that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How long the first of them has waited.
    pub(super) fn age(&self, now: Moment) -> Duration {
        self.waiting.first_key_value().map_or(Duration::ZERO, |(_, queued)| now.since(queued.since))
    }

    fn insert(&mut self, place: i64, key: Key, queued: Queued) {
        self.places.insert(key, place);
        self.waiting.insert(place, queued);
    }

    fn shrink(&mut self) -> u64 {
        let mut overflown = 0;
        while Self::MAX < self.waiting.len()
            && let Some((_, queued)) = self.waiting.pop_first()
        {
            self.places.remove(&key_of(&queued.write));
            overflown += 1;
        }
        overflown
    }
}

/// What a write is in a batch.
pub(super) fn action_of(write: &Forwarded) -> BatchAction {
    match write {
        Forwarded::Register(_) => BatchAction::Register,
        Forwarded::Renew(_) => BatchAction::Heartbeat,
        Forwarded::Override { .. } => BatchAction::StatusUpdate,
        Forwarded::ClearOverride { .. } => BatchAction::DeleteStatusOverride,
        Forwarded::Deregister(_) => BatchAction::Cancel,
    }
}

fn key_of(write: &Forwarded) -> Key {
    (action_of(write), write.instance().id.clone())
}

/// How long a write is worth sending: one that the next heartbeat stands in for, until then.
fn worth(write: &Forwarded) -> Duration {
    const LEAST: Duration = Duration::from_secs(5);
    const OTHERS: Duration = Duration::from_secs(30);
    match write {
        Forwarded::Register(instance) | Forwarded::Renew(instance) => match &instance.document {
            Some(document) => Duration::from_secs(document.renewal_interval_secs.into()),
            // By the Amalgam8 API nobody says how often it will renew; three times in a lease is usual.
            None => instance.ttl / 3,
        }
        .max(LEAST),
        Forwarded::Override { .. } | Forwarded::ClearOverride { .. } | Forwarded::Deregister(_) => OTHERS,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        Document, Endpoint, EndpointType, EurekaClaim, Instance, Registration, Status, Timestamp,
    };

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn instance(id: &str, dirty_at: u64) -> Arc<Instance> {
        let document = Document { instance_id: Some(id.into()), ..Document::of_host("h", "1.2.3.4") };
        let claim =
            EurekaClaim { document, dirty_at: Some(Timestamp::from_millis(dirty_at)), overridden: None };
        let asked = Registration {
            service: "T".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Tcp, "h").unwrap(),
            status: Status::Up,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: Some(claim),
        };
        Arc::new(asked.grant(Duration::from_secs(90), Timestamp::from_millis(5)))
    }

    fn register(id: &str, version: u64) -> Forwarded {
        Forwarded::Register(instance(id, version))
    }

    fn cancel(id: &str) -> Forwarded {
        Forwarded::Deregister(instance(id, 0))
    }

    /// `Action id version`, of all.
    fn shown(taken: &[Queued]) -> Vec<String> {
        let one = |queued: &Queued| {
            let instance = queued.write.instance();
            let (action, id) = (action_of(&queued.write), instance.id_in_application());
            format!("{action:?} {id} {}", instance.dirty_at.as_millis())
        };
        taken.iter().map(one).collect()
    }

    fn pushed(queue: &mut Queue, write: Forwarded, now: u64) {
        assert_eq!(queue.push(write, at(now)), Lost::default());
    }

    #[test]
    fn a_newer_write_takes_the_place_of_an_older_one_and_goes_last() {
        let mut queue = Queue::default();
        for write in [register("a", 1), register("b", 1), cancel("a"), register("a", 2)] {
            pushed(&mut queue, write, 0);
        }
        let (taken, lost) = queue.take(at(0));
        assert_eq!(shown(&taken), ["Register b 1", "Cancel a 0", "Register a 2"]);
        assert_eq!((lost, queue.len(), queue.due()), (Lost::default(), 0, Due::Never));
    }

    #[test]
    fn what_comes_back_stands_first_unless_it_was_replaced() {
        let mut queue = Queue::default();
        for id in ["a", "b", "c"] {
            pushed(&mut queue, register(id, 1), 0);
        }
        let (taken, _) = queue.take(at(0));
        pushed(&mut queue, register("b", 2), 10);
        pushed(&mut queue, cancel("a"), 10);
        assert_eq!(queue.put_back(taken, at(20)), Lost::default());
        let (taken, _) = queue.take(at(20));
        assert_eq!(shown(&taken), ["Register a 1", "Register c 1", "Register b 2", "Cancel a 0"]);
    }

    #[test]
    fn writes_expire_with_the_next_heartbeat_and_others_after_half_a_minute() {
        let mut queue = Queue::default();
        let slow = Document {
            renewal_interval_secs: 60,
            ..Document::clone(instance("a", 1).document.as_deref().unwrap())
        };
        let slow = Instance { document: Some(Arc::new(slow)), ..Instance::clone(&instance("a", 1)) };
        pushed(&mut queue, Forwarded::Renew(Arc::new(slow)), 0);
        pushed(&mut queue, register("b", 1), 0);
        pushed(&mut queue, cancel("c"), 0);
        pushed(&mut queue, cancel("d"), 1);
        let (taken, lost) = queue.take(at(30_000));
        assert_eq!(shown(&taken), ["Heartbeat a 1", "Cancel d 0"]);
        assert_eq!(lost, Lost { overflown: 0, expired: 2 });
        assert_eq!(queue.put_back(taken, at(30_001)), Lost { overflown: 0, expired: 1 });
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn the_oldest_give_way_when_it_is_full() {
        let mut queue = Queue::default();
        for number in 0..Queue::MAX {
            pushed(&mut queue, register(&number.to_string(), 1), 0);
        }
        let one = Lost { overflown: 1, expired: 0 };
        assert_eq!(queue.push(register("new", 1), at(0)), one);
        let (taken, _) = queue.take(at(0));
        assert_eq!((taken.len(), shown(&taken)[0].as_str()), (Queue::BATCH, "Register 1 1"));
        for number in 0..Queue::BATCH {
            pushed(&mut queue, cancel(&number.to_string()), 0);
        }
        let all = u64::try_from(Queue::BATCH).unwrap();
        assert_eq!(queue.put_back(taken, at(0)), Lost { overflown: all, expired: 0 });
        assert_eq!(queue.len(), Queue::MAX);
    }

    #[test]
    fn it_is_due_soon_after_the_first_write_or_when_a_batch_is_full() {
        let mut queue = Queue::default();
        assert_eq!(queue.due(), Due::Never);
        pushed(&mut queue, register("a", 1), 7);
        pushed(&mut queue, register("a", 2), 90);
        assert_eq!((queue.due(), queue.age(at(100))), (Due::At(at(107)), Duration::from_millis(10)));
        for number in 1..Queue::BATCH {
            pushed(&mut queue, register(&number.to_string(), 1), 91);
        }
        assert_eq!(queue.due(), Due::Now);
        pushed(&mut queue, register("last", 1), 92);
        let (taken, _) = queue.take(at(95));
        assert_eq!((taken.len(), queue.len(), queue.due()), (Queue::BATCH, 1, Due::At(at(195))));
        let _ = queue.put_back(taken, at(96));
        assert_eq!(queue.due(), Due::Now);
    }
}

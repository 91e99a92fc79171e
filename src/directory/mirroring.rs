//! Following what another process decides: a directory with somebody else's revision and epoch.
//!
//! What is told in order is applied change by change; after a gap everything is replaced at once, and who follows
//! the change log is told to read anew.
//! Never: ends a lease; that is for who owns it, and told like every other change.

use std::collections::HashSet;
use std::sync::Arc;

use super::chunk::Edit;
use super::index::Entry;
use super::writing::Changed;
use super::{Cause, Directory, LeaseRules, LogLimits, Op, Slots, Snapshot, Tag};
use crate::model::{Clock, Instance, Moment, Status};
use crate::wire::encoded::Encoded;

/// One change that was decided elsewhere.
#[derive(Debug, Clone)]
pub enum News {
    /// The instance is new, or differs from what it was.
    Put(Arc<Instance>),
    /// The instance with this id is gone.
    Remove(Box<str>),
}

/// What became of a change that was decided elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Now,
    /// It was in force already.
    Before,
    /// It does not follow what is here: something is missing, or the epoch is another one.
    Gap,
}

impl Directory {
    /// An empty directory that stands where another one does, and follows it.
    #[must_use]
    pub fn mirror(number: u32, slots: Arc<Slots>, clock: Arc<Clock>, limits: LogLimits, at: Tag) -> Self {
        let mirror = Self::new(number, slots, clock, limits, LeaseRules::default());
        if at.revision != 0 {
            // What happened before is not known.
            let now = mirror.clock.now();
            mirror.writer.lock().log.restart(at.revision, now);
        }
        let Tag { epoch, revision } = at;
        mirror.snapshot.store(Arc::new(Snapshot { epoch, revision, ..Snapshot::default() }));
        mirror
    }

    /// Takes over one change, after which the directory stands at `at`.
    pub fn apply(&self, at: Tag, news: &News, cause: Cause) -> Applied {
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        let here = self.tag();
        if writer.is_closed || here.epoch != at.epoch {
            return Applied::Gap;
        }
        if at.revision <= here.revision {
            return Applied::Before;
        }
        if at.revision != here.revision + 1 {
            return Applied::Gap;
        }
        match news {
            News::Put(instance) => {
                let (edits, change) = self.put_mirrored(instance, now);
                self.publish(&mut writer, edits, now, cause, vec![change]);
                Applied::Now
            }
            News::Remove(id) => match self.index.remove(id, |_| true) {
                Some(gone) => {
                    self.publish_removals(&mut writer, vec![gone], now, cause);
                    Applied::Now
                }
                None => Applied::Gap,
            },
        }
    }

    /// Takes over everything at once, each instance with the time of its last renewal. Followers of the change
    /// log have to read anew, unless nothing is different.
    pub fn replace(&self, at: Tag, instances: Vec<(Instance, Moment)>) {
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        let snapshot = self.snapshot.load_full();
        let mut edits = Vec::new();
        let gone = self.remove_all_but(&instances, &snapshot);
        edits.extend(gone.iter().map(|entry| Edit::removal(&entry.instance)));
        let mut counts = [0; Status::ALL.len()];
        for (instance, renewed) in instances {
            counts[instance.status.position()] += 1;
            let is_here = self.index.with(instance.id.as_str(), |entry| {
                let is_same = *entry.instance == instance;
                if is_same {
                    self.slots.lease(entry.slot, renewed, None);
                }
                is_same
            });
            if is_here != Some(true) {
                edits.extend(self.put_mirrored(&Arc::new(instance), renewed).0);
            }
        }
        if edits.is_empty() && self.tag() == at {
            return;
        }
        edits.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        let tree = snapshot.tree.edited(&edits);
        writer.log.restart(at.revision, now);
        let Tag { epoch, revision } = at;
        let instances = self.index.len();
        self.snapshot.store(Arc::new(Snapshot { epoch, revision, instances, counts, tree }));
        self.pulse.expect(instances);
        self.deltas.forget();
        for entry in gone {
            self.slots.give_back(entry.slot);
        }
    }

    /// Shows an instance as renewed at `renewed`, unless it is shown as renewed later.
    pub fn touch(&self, id: &str, renewed: Moment) {
        self.index.with(id, |entry| {
            if self.slots.renewed(entry.slot).is_some_and(|known| known < renewed) {
                self.slots.lease(entry.slot, renewed, None);
            }
        });
    }

    /// Ends the mirroring of a namespace that is no more.
    pub fn close(&self) {
        let mut writer = self.writer.lock();
        writer.is_closed = true;
        let gone = self.remove_all_but(&[], &self.snapshot.load_full());
        for entry in gone {
            self.slots.give_back(entry.slot);
        }
    }

    fn put_mirrored(&self, instance: &Arc<Instance>, renewed: Moment) -> (Vec<Edit>, Changed) {
        let id = instance.id.as_str();
        let before = self.index.with(id, Entry::clone);
        let new_slot = || self.slots.take(self.number, self.index.hash(id), renewed);
        let slot = before.as_ref().map_or_else(new_slot, |before| before.slot);
        let encoded = Encoded::of(instance, self.clock.time_of_day(renewed));
        self.index.put(slot, instance.clone(), || self.slots.lease(slot, renewed, None));
        let mut edits = vec![Edit::Put(slot, encoded, instance.clone())];
        let before = before.map(|entry| entry.instance);
        if let Some(before) = &before
            && before.service != instance.service
        {
            edits.push(Edit::removal(before));
        }
        (edits, Changed { op: Op::Put, before, instance: instance.clone(), slot })
    }

    fn remove_all_but(&self, kept: &[(Instance, Moment)], snapshot: &Snapshot) -> Vec<Entry> {
        let kept: HashSet<&str> = kept.iter().map(|(instance, _)| instance.id.as_str()).collect();
        let mut gone = Vec::new();
        snapshot.tree.for_each(&mut |chunk| {
            let without = chunk.roster.iter().filter(|instance| !kept.contains(instance.id.as_str()));
            gone.extend(without.filter_map(|instance| self.index.remove(instance.id.as_str(), |_| true)));
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Delta;
    use super::*;
    use crate::model::{Endpoint, EndpointType, Registration, Timestamp};

    fn instance(service: &str, value: &str, status: Status) -> Instance {
        let asked = Registration {
            service: service.parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, value).unwrap(),
            status,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        asked.grant(Duration::from_secs(30), Timestamp::default())
    }

    fn mirror(at: Tag) -> Directory {
        Directory::mirror(0, Arc::default(), Arc::default(), LogLimits::default(), at)
    }

    fn at(revision: u64) -> Tag {
        Tag { epoch: 9, revision }
    }

    #[test]
    fn changes_are_taken_over_in_order_and_once() {
        let mirror = mirror(at(4));
        let a = Arc::new(instance("web", "a", Status::Up));
        let put = News::Put(a.clone());
        let remove = News::Remove(a.id.as_str().into());
        assert_eq!(mirror.apply(at(6), &put, Cause::Client), Applied::Gap);
        assert_eq!(mirror.apply(Tag { epoch: 8, revision: 5 }, &put, Cause::Client), Applied::Gap);
        assert_eq!(mirror.apply(at(5), &put, Cause::Client), Applied::Now);
        assert_eq!(mirror.apply(at(5), &put, Cause::Client), Applied::Before);
        assert_eq!((mirror.tag(), mirror.len(), mirror.get(a.id.as_str())), (at(5), 1, Some(a)));
        assert_eq!(mirror.apply(at(6), &remove, Cause::Expiry), Applied::Now);
        assert_eq!(mirror.apply(at(7), &remove, Cause::Expiry), Applied::Gap, "it is not there");
        assert!(matches!(mirror.since(4), Delta::Changes(changes) if changes.len() == 2));
        assert!(matches!(mirror.since(3), Delta::Compacted));
        assert_eq!((mirror.tag(), mirror.len()), (at(6), 0));
    }

    #[test]
    fn replacing_everything_shows_the_new_and_forgets_the_log() {
        let mirror = mirror(at(0));
        let [a, b, c] = ["a", "b", "c"].map(|value| instance("web", value, Status::Up));
        let (old, new) = (Moment::from_millis(1), Moment::from_millis(2));
        mirror.replace(at(3), vec![(a.clone(), old), (b.clone(), old)]);
        assert_eq!((mirror.tag(), mirror.len()), (at(3), 2));
        mirror.replace(at(3), vec![(a.clone(), new), (b.clone(), old)]);
        assert!(matches!(mirror.since(3), Delta::Changes(none) if none.is_empty()));
        let b = Instance { status: Status::Down, ..b };
        mirror.replace(Tag { epoch: 10, revision: 2 }, vec![(b.clone(), new), (c.clone(), new)]);
        assert_eq!(mirror.tag(), Tag { epoch: 10, revision: 2 });
        assert!(matches!(mirror.since(1), Delta::Compacted));
        let shown = |instance: &Instance| mirror.get(instance.id.as_str());
        assert_eq!((shown(&a), shown(&b), shown(&c)), (None, Some(Arc::new(b)), Some(Arc::new(c))));
        assert_eq!(mirror.counts().iter().sum::<usize>(), 2);
    }
}

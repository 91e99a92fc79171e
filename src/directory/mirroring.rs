//! Following what another process decides: a directory with somebody else's revision and epoch.
//!
//! What is told in order is applied change by change; after a gap everything is replaced at once, and what is different
//! then is a change like others. Only after another epoch does who follows the change log have to read anew.
//! Never: ends a lease; that is for who owns it, and told like every other change.

use std::collections::HashSet;
use std::sync::Arc;

use super::chunk::Edit;
use super::index::Entry;
use super::tree::Tree;
use super::writing::{Changed, Tally};
use super::{Cause, Change, Directory, LeaseRules, LogLimits, Op, Slots, Snapshot, Tag};
use crate::model::{Clock, Instance, Moment};
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

/// Where a mirror stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Following {
    /// Where what it follows stood.
    at: Tag,
    tags: Tags,
}

/// Whose tags the readers of a mirror see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// Those of what it follows: the same on all that follow it.
    Shared,
    /// Its own, because catalogs of this process add what others do not have in the same order.
    Own,
}

/// Instances that are encoded before they are written.
const TOGETHER: usize = 1000;

impl Directory {
    /// An empty directory that stands where another one does, and follows it.
    #[must_use]
    pub fn mirror(
        slots: Arc<Slots>,
        clock: Arc<Clock>,
        (limits, leases): (LogLimits, LeaseRules),
        at: Tag,
        tags: Tags,
    ) -> Self {
        let mirror = Self::new(0, slots, clock, limits, leases);
        let mut writer = mirror.writer.lock();
        writer.following = Some(Following { at, tags });
        if tags == Tags::Shared {
            if at.revision != 0 {
                // What happened before is not known.
                writer.log.restart(at.revision, mirror.clock.now());
            }
            let Tag { epoch, revision } = at;
            mirror.snapshot.store(Arc::new(Snapshot { epoch, revision, ..Snapshot::default() }));
        }
        drop(writer);
        mirror
    }

    /// Where what is followed stood; where this one stands when it follows nobody.
    #[must_use]
    pub fn followed(&self) -> Tag {
        self.writer.lock().following.map_or_else(|| self.tag(), |following| following.at)
    }

    /// Takes over one change, after which the directory stands at `at`.
    pub fn apply(&self, at: Tag, news: &News, cause: Cause) -> Applied {
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        let Some(Following { at: here, tags }) = writer.following else { return Applied::Gap };
        let begins = here.revision == 0 && at.revision == 1 && tags == Tags::Own;
        if writer.is_closed || here.epoch != at.epoch && !begins {
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
                let (edits, change) = self.put_mirrored(instance, now, cause);
                self.publish(&mut writer, edits, now, vec![change]);
            }
            News::Remove(id) => match self.index.remove(id, Entry::is_own) {
                Some(gone) => self.publish_removals(&mut writer, vec![gone], now, cause),
                None => return Applied::Gap,
            },
        }
        writer.following = Some(Following { at, tags });
        Applied::Now
    }

    /// Takes over everything at once, each instance with the time of its last renewal. Followers of the change log are
    /// told what is different, when they stood where this directory did; else they have to read anew.
    pub fn replace(&self, at: Tag, mut instances: Vec<(Arc<Instance>, Moment)>) {
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        let Some(Following { at: _, tags }) = writer.following else { return };
        writer.following = Some(Following { at, tags });
        let snapshot = self.snapshot.load_full();
        let gone = self.remove_all_but(&instances, &snapshot);
        let (edits, mut changes) = self.removals(&writer, &gone, Cause::Peer);
        let mut tree = edited(&snapshot.tree, edits);
        // Neighbours are written together, so that what is encoded is never much more than what is kept of it.
        instances.sort_unstable_by(|(a, _), (b, _)| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
        for some in instances.chunks(TOGETHER) {
            let mut edits = Vec::new();
            for (instance, renewed) in some {
                let is_here = self.index.with(instance.id.as_str(), |entry| {
                    let is_same = entry.instance == *instance;
                    if is_same {
                        self.slots.lease(entry.slot, *renewed, None);
                    }
                    is_same
                });
                if is_here != Some(true) {
                    let (put, change) = self.put_mirrored(instance, *renewed, Cause::Peer);
                    edits.extend(put);
                    changes.push(change);
                }
            }
            tree = edited(&tree, edits);
        }
        let count = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        let at = match tags {
            Tags::Shared => at,
            Tags::Own => Tag { epoch: snapshot.epoch, revision: snapshot.revision.saturating_add(count) },
        };
        if changes.is_empty() && self.tag() == at {
            return;
        }
        let mut tally = Tally { counts: snapshot.counts, foreign: snapshot.foreign };
        changes.iter().for_each(|change| tally.add(change));
        if at.epoch == snapshot.epoch && writer.log.jump(at.revision, changes.len()) {
            for Changed { op, before: _, instance, slot, cause } in changes {
                writer.log.push(Change { revision: 0, op, cause, at: now, instance, slot });
            }
        } else {
            writer.log.restart(at.revision, now);
            self.deltas.forget();
        }
        let (Tag { epoch, revision }, Tally { counts, foreign }) = (at, tally);
        let instances = self.index.len();
        self.snapshot.store(Arc::new(Snapshot { epoch, revision, instances, foreign, counts, tree }));
        self.pulse.expect(instances - foreign);
        for entry in gone {
            self.slots.give_back(entry.slot);
        }
    }

    /// Takes over what was counted elsewhere: renewals in the last minute, and how many instances are not expected to renew.
    pub fn count_renewals(&self, last_minute: u64, silent: usize) {
        self.pulse.counted(last_minute, self.own_len().saturating_sub(silent));
    }

    /// Shows an instance as renewed at `renewed`, unless it is shown as renewed later.
    pub fn touch(&self, id: &str, renewed: Moment) {
        self.index.with(id, |entry| {
            if self.slots.renewed(entry.slot).is_some_and(|known| known < renewed) {
                self.slots.lease(entry.slot, renewed, None);
            }
        });
    }

    /// Ends the mirroring of a namespace that is no more, unless catalogs still have something in it: then only that
    /// is left. Tells whether it ended.
    pub fn close(&self) -> bool {
        self.replace(Tag { epoch: 0, revision: 0 }, Vec::new());
        let mut writer = self.writer.lock();
        writer.is_closed = writer.layers.is_none();
        writer.is_closed
    }

    fn put_mirrored(&self, instance: &Arc<Instance>, renewed: Moment, cause: Cause) -> (Vec<Edit>, Changed) {
        let id = instance.id.as_str();
        let before = self.index.with(id, Entry::clone);
        let new_slot = || self.slots.take(self.number, self.index.hash(id), renewed);
        let own = before.as_ref().filter(|before| before.is_own());
        let slot = own.map_or_else(new_slot, |own| own.slot);
        let encoded = Encoded::of(instance, self.clock.time_of_day(renewed));
        self.index.put(slot, instance.clone(), || self.slots.lease(slot, renewed, None));
        let mut edits = vec![Edit::Put(slot, encoded, instance.clone())];
        let before = before.map(|entry| entry.instance);
        if let Some(before) = &before
            && before.service != instance.service
        {
            edits.push(Edit::removal(before));
        }
        (edits, Changed { op: Op::Put, before, instance: instance.clone(), slot, cause })
    }

    fn remove_all_but(&self, kept: &[(Arc<Instance>, Moment)], snapshot: &Snapshot) -> Vec<Entry> {
        let kept: HashSet<&str> = kept.iter().map(|(instance, _)| instance.id.as_str()).collect();
        let mut gone = Vec::new();
        snapshot.tree.for_each(&mut |chunk| {
            let without = chunk.roster.iter().filter(|instance| !kept.contains(instance.id.as_str()));
            gone.extend(
                without.filter_map(|instance| self.index.remove(instance.id.as_str(), Entry::is_own)),
            );
        });
        gone
    }
}

fn edited(tree: &Tree, mut edits: Vec<Edit>) -> Tree {
    edits.sort_unstable_by(|a, b| a.key().cmp(b.key()));
    tree.edited(&edits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Delta;
    use super::*;
    use crate::model::{Endpoint, EndpointType, Registration, Status, Timestamp};

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
        Directory::mirror(Arc::default(), Arc::default(), Default::default(), at, Tags::Shared)
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
        let [a, b, c] = ["a", "b", "c"].map(|value| Arc::new(instance("web", value, Status::Up)));
        let (old, new) = (Moment::from_millis(1), Moment::from_millis(2));
        mirror.replace(at(3), vec![(a.clone(), old), (b.clone(), old)]);
        assert_eq!((mirror.tag(), mirror.len()), (at(3), 2));
        mirror.replace(at(3), vec![(a.clone(), new), (b.clone(), old)]);
        assert!(matches!(mirror.since(3), Delta::Changes(none) if none.is_empty()));
        let d = Arc::new(instance("web", "d", Status::Up));
        mirror.replace(at(6), vec![(a.clone(), new), (d.clone(), new)]);
        let told = |from| match mirror.since(from) {
            Delta::Changes(changes) => {
                Some(changes.iter().map(|it| (it.revision, it.op)).collect::<Vec<_>>())
            }
            Delta::Compacted => None,
        };
        assert_eq!(
            told(3),
            Some(vec![(5, Op::Remove), (6, Op::Put)]),
            "what is different, to who stood there"
        );
        assert_eq!((told(4), told(5), told(6)), (None, None, Some(vec![])));
        let b = Arc::new(Instance { status: Status::Down, ..(*b).clone() });
        mirror.replace(Tag { epoch: 10, revision: 2 }, vec![(b.clone(), new), (c.clone(), new)]);
        assert_eq!(mirror.tag(), Tag { epoch: 10, revision: 2 });
        assert!(matches!(mirror.since(1), Delta::Compacted));
        let shown = |instance: &Instance| mirror.get(instance.id.as_str());
        assert_eq!((shown(&a), shown(&b), shown(&c)), (None, Some(b), Some(c)));
        assert_eq!(mirror.counts().iter().sum::<usize>(), 2);
    }
}

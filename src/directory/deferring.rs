//! Instances that nobody reads yet: known by their ids and leased at once, shown many at a time.
//!
//! A member that joins takes over everything that others have. What is shown at once makes a chunk anew for each few
//! instances; what is shown later makes each chunk once for many.
//! Never: shown after what is written behind it, or left out by who removes, replaces or counts.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::chunk::Edit;
use super::slots::Slot;
use super::writing::Changed;
use super::{Cause, Directory, Op, Writer};
use crate::model::Instance;
use crate::wire::encoded::Encoded;

/// When readers see what another member told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// When the call returns.
    AtOnce,
    /// When there is enough to be shown, something else is written, or [`Directory::show`] is called.
    Later,
}

/// An instance that is in the index and in no chunk.
#[derive(Debug)]
pub(super) struct Unshown {
    pub(super) slot: Slot,
    pub(super) instance: Arc<Instance>,
    /// What a catalog has under its id.
    pub(super) before: Option<Arc<Instance>>,
}

/// So many are shown together; in a large directory as many as are a certain part of it.
const ENOUGH: usize = 65_536;
const PART: usize = 16;

impl Directory {
    /// Shows everything that was to be shown later.
    pub fn show(&self) {
        drop(self.writing());
    }

    /// For who writes: behind everything that was written before.
    pub(super) fn writing(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.lock();
        self.show_all(&mut writer);
        writer
    }

    pub(super) fn show_when_enough(&self, writer: &mut Writer) {
        if ENOUGH.max(self.index.len() / PART) <= writer.unshown.len() {
            self.show_all(writer);
        }
    }

    pub(super) fn show_all(&self, writer: &mut Writer) {
        if writer.unshown.is_empty() {
            return;
        }
        let (mut edits, mut changes) = (Vec::new(), Vec::new());
        for Unshown { slot, instance, before } in std::mem::take(&mut writer.unshown) {
            let renewed = self.clock.time_of_day(self.slots.renewed(slot).unwrap_or_default());
            edits.push(Edit::Put(slot, Encoded::of(&instance, renewed), instance.clone()));
            if let Some(before) = before.as_ref().filter(|before| before.service != instance.service) {
                edits.push(Edit::removal(before));
            }
            changes.push(Changed { op: Op::Put, before, instance, slot, cause: Cause::Peer });
        }
        self.publish(writer, edits, self.clock.now(), changes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Delta, LeaseRules, LogLimits, Overlay, Replica, Selector, Shown, Slots};
    use super::*;
    use crate::model::{
        CatalogName, Endpoint, EndpointType, Foreign, Moment, Origin, Registration, Status, Timestamp,
    };

    fn instance(value: &str, status: Status) -> Instance {
        let asked = Registration {
            service: "web".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, value).unwrap(),
            status,
            tags: ["blue".into()].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        asked.grant(Duration::from_secs(30), Timestamp::from_millis(7))
    }

    fn directory() -> Directory {
        let slots = Arc::new(Slots::tracking());
        Directory::new(3, slots, Arc::default(), LogLimits::default(), LeaseRules::default())
    }

    fn replicas(instances: &[&Instance]) -> Vec<Replica> {
        let replica = |it: &&Instance| {
            let renewed = Moment::from_millis(5);
            Replica { instance: Arc::new(Instance::clone(it)), renewed }
        };
        instances.iter().map(replica).collect()
    }

    /// What readers see: everything in order, and what they find by service and tag.
    fn seen(directory: &Directory) -> (Vec<Arc<Instance>>, Vec<usize>, [usize; Status::ALL.len()]) {
        let mut all = Vec::new();
        directory.for_each(&mut |instance, _| all.push(instance.clone()));
        assert_eq!(all.len(), directory.len());
        let found = ["web", "Web", "other"].into_iter().flat_map(|service| {
            ["blue", "red"].map(|tag| {
                let tags = vec![tag.into()];
                let service = Some(service.into());
                let selector = Selector { service, tags, shown: Shown::All, ..Selector::default() };
                directory.select(&selector).len()
            })
        });
        (all, found.collect(), directory.counts())
    }

    fn causes(directory: &Directory) -> Vec<(Cause, Arc<Instance>)> {
        let Delta::Changes(changes) = directory.since(0) else { panic!("all is kept") };
        changes.into_iter().map(|change| (change.cause, change.instance)).collect()
    }

    #[test]
    fn what_is_shown_later_is_known_and_leased_at_once() {
        let directory = directory();
        let (a, b) = (instance("a", Status::Up), instance("b", Status::Down));
        let rows = directory.put_replicas(&replicas(&[&a, &b, &a]), Show::Later).unwrap();
        assert_eq!((rows[0], rows.len(), directory.len()), (rows[2], 3, 0));
        assert_eq!(directory.get(a.id.as_str()).as_deref(), Some(&a));
        assert_eq!(directory.row_of(b.id.as_str()), Some(rows[1]));
        assert!(directory.renew(a.id.as_str(), Moment::from_millis(9)));
        assert_eq!(seen(&directory).0, []);
        directory.show();
        directory.show();
        assert_eq!((seen(&directory).1, directory.tag().revision), (vec![2, 0, 0, 0, 0, 0], 2));
        assert!(!directory.close_when_empty(Moment::from_millis(u64::MAX)));
    }

    #[test]
    fn what_is_written_comes_behind_what_was_to_be_shown() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|value| instance(value, Status::Up));
        let newer = Instance { status: Status::Starting, ..b.clone() };
        let directory = directory();
        directory.put_replicas(&replicas(&[&a, &b]), Show::Later).unwrap();
        assert!(directory.place(&c, Some(2), Origin::Client).is_err(), "who is not shown takes a place, too");
        directory.put_replicas(&replicas(&[&d, &newer]), Show::Later).unwrap();
        assert!(directory.remove_replica(d.id.as_str()).is_some());
        directory.put_replicas(&replicas(&[&c]), Show::Later).unwrap();
        assert!(directory.remove(c.id.as_str(), Origin::Client).is_some());
        let told = causes(&directory);
        let expected = [&a, &b, &d, &newer, &d, &c, &c];
        assert!(told.iter().zip(expected).all(|((_, told), expected)| **told == *expected), "{told:?}");
        assert_eq!((told.len(), told.last().map(|(cause, _)| *cause)), (7, Some(Cause::Client)));
        assert_eq!(directory.len(), 2);
    }

    #[test]
    fn enough_is_shown_unasked() {
        let directory = directory();
        let some: Vec<_> = (0..ENOUGH).map(|nth| instance(&format!("h{nth}"), Status::Up)).collect();
        for (nth, some) in some.chunks(ENOUGH / 4).enumerate() {
            assert_eq!(directory.len(), 0, "{nth}");
            directory.put_replicas(&replicas(&some.iter().collect::<Vec<_>>()), Show::Later).unwrap();
        }
        assert_eq!((directory.len(), seen(&directory).1[0]), (ENOUGH, ENOUGH));
    }

    /// The same history twice, once with everything shown at once.
    #[test]
    fn it_makes_no_difference_when_it_is_shown() {
        let [later, at_once] = [directory(), directory()];
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let catalog = CatalogName::ALL[0];
        for _ in 0..3000 {
            let (nth, kind) = (next(60), next(12));
            let status = Status::ALL[usize::try_from(next(5)).unwrap() % Status::ALL.len()];
            let service = ["web", "Web", "other"][usize::try_from(next(3)).unwrap()].parse().unwrap();
            let tags = [["blue", "red"][usize::try_from(next(2)).unwrap()].into()].into();
            let it = Instance { service, tags, ..instance(&format!("h{nth}"), status) };
            match kind {
                0..=7 => {
                    later.put_replicas(&replicas(&[&it]), Show::Later).unwrap();
                    at_once.put_replicas(&replicas(&[&it]), Show::AtOnce).unwrap();
                }
                8 => {
                    let gone = [&later, &at_once].map(|each| each.remove_replica(it.id.as_str()));
                    assert_eq!(gone[0], gone[1]);
                }
                9 => {
                    let foreign = Some(Foreign { catalog, renewed: None });
                    let puts = vec![Arc::new(Instance { foreign, ..it })];
                    for each in [&later, &at_once] {
                        each.overlay(Overlay { puts: puts.clone(), ..Overlay::of(catalog) }).unwrap();
                    }
                }
                _ => {
                    later.show();
                    assert_eq!(seen(&later), seen(&at_once));
                }
            }
        }
        later.show();
        assert_eq!(seen(&later), seen(&at_once));
        assert_eq!(causes(&later), causes(&at_once));
    }
}

//! Doing what another member of the cluster decided: exactly as told, next to what is written here.
//!
//! One caller at a time, who also sees to it that nothing else takes or gives back rows of leases meanwhile.
//! Never: decides what succeeds what, refuses for want of capacity, or marks a renewal as one that was heard here.

use std::sync::Arc;

use super::chunk::Edit;
use super::deferring::{Show, Unshown};
use super::index::Entry;
use super::writing::Changed;
use super::{Cause, Directory, Op, Refusal};
use crate::model::{Instance, Moment};
use crate::wire::encoded::Encoded;

/// An instance as another member has it.
#[derive(Debug, Clone)]
pub struct Replica {
    /// What it is.
    pub instance: Arc<Instance>,
    /// When its lease was last renewed.
    pub renewed: Moment,
}

impl Directory {
    /// Has each of these registered as it is, its lease as of when it was renewed or, when that is later, as of when
    /// it was renewed here; `show` says when readers see them, all of them at once. Two with one id are the same; what a
    /// catalog has under one of them is hidden. Answers with the rows of their leases.
    ///
    /// # Errors
    /// When the directory was closed.
    pub fn put_replicas(&self, replicas: &[Replica], show: Show) -> Result<Vec<u32>, Refusal> {
        let encoded: Vec<_> = match show {
            Show::AtOnce => replicas.iter().map(|replica| self.encoded_when_new(replica)).collect(),
            Show::Later => vec![None; replicas.len()],
        };
        let now = self.clock.now();
        let mut writer = self.writer.lock();
        if writer.is_closed {
            return Err(Refusal::Closed);
        }
        if show == Show::AtOnce {
            self.show_all(&mut writer);
        }
        let (mut rows, mut edits, mut changes) = (Vec::with_capacity(replicas.len()), vec![], vec![]);
        for (replica, encoded) in replicas.iter().zip(encoded) {
            let Replica { instance, renewed } = replica;
            let id = instance.id.as_str();
            let before = self.index.with(id, Entry::clone);
            let own = before.as_ref().filter(|before| before.is_own());
            if let Some(own) = own.filter(|own| own.instance == *instance) {
                self.slots.renew_as_of(own.slot, *renewed, self.rules.renewed_lease(instance));
                rows.push(own.slot.row());
                continue;
            }
            let slot = match own {
                Some(own) => own.slot,
                None => self.slots.take(self.number, self.index.hash(id), *renewed),
            };
            let lease = self.rules.first_lease(instance);
            self.index.put(slot, instance.clone(), || {
                let known = self.slots.renewed(slot).unwrap_or_default();
                self.slots.lease(slot, known.max(*renewed), lease);
            });
            rows.push(slot.row());
            if show == Show::Later && own.is_none() {
                let before = before.map(|before| before.instance);
                writer.unshown.push(Unshown { slot, instance: instance.clone(), before });
                continue;
            }
            // What is replaced is shown before.
            self.show_all(&mut writer);
            let encoded = encoded.unwrap_or_else(|| self.encoded(replica));
            edits.push(Edit::Put(slot, encoded, instance.clone()));
            if let Some(before) = &before
                && before.instance.service != instance.service
            {
                edits.push(Edit::removal(&before.instance));
            }
            let before = before.map(|before| before.instance);
            changes.push(Changed {
                op: Op::Put,
                before,
                instance: instance.clone(),
                slot,
                cause: Cause::Peer,
            });
        }
        if !edits.is_empty() {
            self.publish(&mut writer, edits, now, changes);
        }
        self.show_when_enough(&mut writer);
        Ok(rows)
    }

    /// Removes an instance that was deregistered elsewhere, whether or not its lease goes on here.
    pub fn remove_replica(&self, id: &str) -> Option<Arc<Instance>> {
        let now = self.clock.now();
        let mut writer = self.writing();
        let gone = self.index.remove(id, Entry::is_own)?;
        let instance = gone.instance.clone();
        self.publish_removals(&mut writer, vec![gone], now, Cause::Peer);
        Some(instance)
    }

    /// Begins the lease in a row anew as of `at`, if it is still that of this instance and was not renewed later.
    pub fn renew_replica(&self, id: &str, row: u32, at: Moment) -> bool {
        let renew = |entry: &Entry| {
            let length = self.rules.renewed_lease(&entry.instance);
            entry.slot.row() == row && self.slots.renew_as_of(entry.slot, at, length)
        };
        let renewed = self.index.with(id, renew) == Some(true);
        if renewed {
            self.pulse.renewed();
        }
        renewed
    }

    /// The row of an instance's lease, whether or not it has run out; none for what only a catalog has.
    #[must_use]
    pub fn row_of(&self, id: &str) -> Option<u32> {
        self.index.with(id, |entry| entry.is_own().then(|| entry.slot.row())).flatten()
    }

    /// None when the same is here already.
    fn encoded_when_new(&self, replica: &Replica) -> Option<Encoded> {
        let is_same = |entry: &Entry| entry.is_own() && entry.instance == replica.instance;
        let is_here = self.index.with(replica.instance.id.as_str(), is_same) == Some(true);
        (!is_here).then(|| self.encoded(replica))
    }

    fn encoded(&self, Replica { instance, renewed }: &Replica) -> Encoded {
        Encoded::of(instance, self.clock.time_of_day(*renewed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Change, Delta, LeaseRules, LogLimits, Overlay, Placed, Slots};
    use super::*;
    use crate::model::{
        CatalogName, Endpoint, EndpointType, Foreign, Origin, Registration, Status, Timestamp,
    };

    fn instance(value: &str, status: Status) -> Instance {
        let asked = Registration {
            service: "web".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, value).unwrap(),
            status,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        asked.grant(Duration::from_secs(30), Timestamp::from_millis(7))
    }

    fn directory() -> (Arc<Slots>, Directory) {
        let slots = Arc::new(Slots::tracking());
        let (limits, rules) = (LogLimits::default(), LeaseRules::default());
        (slots.clone(), Directory::new(3, slots, Arc::default(), limits, rules))
    }

    fn replica(instance: &Instance, renewed: u64) -> Replica {
        Replica { instance: Arc::new(instance.clone()), renewed: Moment::from_millis(renewed) }
    }

    fn changes(directory: &Directory) -> Vec<Change> {
        let Delta::Changes(changes) = directory.since(0) else { panic!("all is kept") };
        changes
    }

    #[test]
    fn what_is_told_is_there_exactly_and_twice_is_once() {
        let (slots, directory) = directory();
        let a = Instance { overridden: Some(Status::Down), ..instance("a", Status::Up) };
        let b = instance("b", Status::OutOfService);
        let rows = directory.put_replicas(&[replica(&a, 0), replica(&b, 0)], Show::AtOnce).unwrap();
        assert_eq!(directory.get(a.id.as_str()).as_deref(), Some(&a));
        assert_eq!(directory.row_of(b.id.as_str()), Some(rows[1]));
        assert!(slots.lease_of(rows[1]).is_none(), "an OUT_OF_SERVICE one does not run out");
        let revision = directory.tag().revision;
        assert_eq!(
            directory.put_replicas(&[replica(&b, 5), replica(&a, 5)], Show::AtOnce).unwrap(),
            [rows[1], rows[0]]
        );
        assert_eq!((directory.tag().revision, directory.len()), (revision, 2));
        assert_eq!(slots.lease_of(rows[0]), Some((Moment::from_millis(5), Moment::from_millis(30_100))));
        assert!(changes(&directory).iter().all(|change| change.cause == Cause::Peer));
        slots.take_renewed(|renewed| panic!("{renewed:?} were renewed elsewhere"));
    }

    #[test]
    fn what_is_told_replaces_what_is_here_and_keeps_the_newest_renewal() {
        let (slots, directory) = directory();
        let a = instance("a", Status::Up);
        let (placed, here) = directory.place(&a, None, Origin::Client).unwrap();
        assert_eq!(placed, Placed::New);
        let row = directory.row_of(here.id.as_str()).unwrap();
        let begun = Moment::from_millis(20_000);
        assert!(directory.renew(here.id.as_str(), begun));
        let down = Instance { status: Status::Down, ..a };
        assert_eq!(directory.put_replicas(&[replica(&down, 3)], Show::AtOnce).unwrap(), [row]);
        assert_eq!(directory.get(down.id.as_str()).as_deref(), Some(&down));
        assert_eq!(slots.lease_of(row).map(|(renewed, _)| renewed), Some(begun));
        assert_eq!(directory.counts()[Status::Down.position()], 1);
        assert_eq!(directory.counts().iter().sum::<usize>(), 1);
    }

    #[test]
    fn a_renewal_is_for_the_instance_and_the_row_that_it_names() {
        let (slots, directory) = directory();
        let a = instance("a", Status::Up);
        let row = directory.put_replicas(&[replica(&a, 0)], Show::AtOnce).unwrap()[0];
        let at = Moment::from_millis(9000);
        assert!(!directory.renew_replica(a.id.as_str(), row + 1, at));
        assert!(!directory.renew_replica("other", row, at));
        assert_eq!(slots.lease_of(row).map(|(renewed, _)| renewed), Some(Moment::default()));
        assert!(directory.renew_replica(a.id.as_str(), row, at));
        assert!(!directory.renew_replica(a.id.as_str(), row, at), "known already");
        assert_eq!(slots.lease_of(row), Some((at, Moment::from_millis(39_000))));
        assert_eq!(directory.tag().revision, 1, "a renewal is no change");
    }

    #[test]
    fn who_was_deregistered_elsewhere_is_gone_also_when_the_lease_ran_out() {
        let (_, directory) = directory();
        let a = instance("a", Status::Up);
        directory.put_replicas(&[replica(&a, 0)], Show::AtOnce).unwrap();
        assert_eq!(directory.remove_replica(a.id.as_str()).as_deref(), Some(&a));
        assert_eq!(directory.remove_replica(a.id.as_str()), None);
        assert_eq!((directory.len(), changes(&directory).len()), (0, 2));
        assert!(matches!(&changes(&directory)[1], Change { op: Op::Remove, cause: Cause::Peer, .. }));
        assert!(directory.close_when_empty(Moment::from_millis(u64::MAX)));
        assert_eq!(directory.put_replicas(&[replica(&a, 0)], Show::AtOnce), Err(Refusal::Closed));
    }

    #[test]
    fn what_a_catalog_has_is_hidden_by_a_replica_and_comes_forth_again() {
        let (slots, directory) = directory();
        let a = instance("a", Status::Up);
        let catalog = CatalogName::ALL[0];
        let found = Instance { foreign: Some(Foreign { catalog, renewed: None }), ..a.clone() };
        let puts = vec![Arc::new(found.clone())];
        directory.overlay(Overlay { puts, ..Overlay::of(catalog) }).unwrap();
        assert_eq!(directory.row_of(a.id.as_str()), None);
        assert_eq!(directory.remove_replica(a.id.as_str()), None);
        assert!(!directory.renew_replica(a.id.as_str(), u32::MAX, Moment::from_millis(5)));
        let row = directory.put_replicas(&[replica(&a, 0)], Show::AtOnce).unwrap()[0];
        assert!(slots.lease_of(row).is_some());
        assert_eq!((directory.get(a.id.as_str()).as_deref(), directory.len()), (Some(&a), 1));
        assert!(directory.remove_replica(a.id.as_str()).is_some());
        assert_eq!((directory.get(a.id.as_str()).as_deref(), directory.len()), (Some(&found), 1));
    }
}

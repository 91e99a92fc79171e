//! What changed in a namespace, when and why: the revision, and a bounded log of the newest changes.
//!
//! Renewals are no changes. The log ends at a number of changes, at an age or at an amount of memory,
//! whichever comes first: a short request can change a long instance.
//! Never: tells anybody; readers come and ask.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::slots::Slot;
use crate::model::{CatalogName, Instance, Moment, Origin};

/// How many visible changes a namespace has had since its directory was made.
pub type Revision = u64;

/// Where a directory stands; what an ETag is made of. Tags of different directories, also of one that
/// was dropped and made again, differ in their epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Random for each directory; the same for all that mirror one store.
    pub epoch: u64,
    /// How many changes it has had.
    pub revision: Revision,
}

/// One visible change.
#[derive(Debug, Clone)]
pub struct Change {
    /// The directory's revision with this change.
    pub revision: Revision,
    /// What happened.
    pub op: Op,
    /// Why it happened.
    pub cause: Cause,
    /// When it happened.
    pub at: Moment,
    /// The instance as it is now, or as it was when it went.
    pub instance: Arc<Instance>,
    /// Where its lease is, or was.
    pub(super) slot: Slot,
}

/// What happened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is new, or differs from what it was.
    Put,
    /// It is gone.
    Remove,
}

/// Why it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A client asked for it.
    Client,
    /// Another server had it from its client.
    Peer,
    /// A lease ran out.
    Expiry,
    /// A catalog found it.
    Catalog(CatalogName),
}

// === impl Cause ===

impl From<Origin> for Cause {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Client => Self::Client,
            Origin::Peer => Self::Peer,
        }
    }
}

/// Bounds of a change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Most changes that are kept.
    pub size: usize,
    /// Longest time that a change is kept.
    pub age: Duration,
}

/// Changes since a revision, oldest first.
#[derive(Debug, Clone)]
pub enum Delta {
    /// All of them.
    Changes(Vec<Change>),
    /// Some of them are not kept any more, or the revision is not one of this directory: read everything anew.
    Compacted,
}

/// The newest changes of a namespace.
#[derive(Debug)]
pub(super) struct ChangeLog {
    limits: LogLimits,
    changes: VecDeque<Change>,
    /// About how much memory the changes take, were each instance held by its change alone.
    bytes: usize,
    /// The newest revision, also when the log is empty.
    newest: Revision,
    /// When the newest change was made that was forgotten before its age.
    lost: Option<Moment>,
    /// Oldest first.
    jumps: Vec<Jump>,
}

/// Revisions that came at once: what happened between them is not known, only what is different after it.
#[derive(Debug, Clone, Copy)]
struct Jump {
    /// The last one before.
    from: Revision,
    /// That of the first difference; the one after `to` when nothing is different.
    first: Revision,
    /// That of the last difference.
    to: Revision,
}

/// Most jumps that are remembered.
const JUMPS: usize = 16;

/// What a change may take on average when there are as many as are kept; usual ones take half of it.
const BYTES_EACH: usize = 1024;

// === impl LogLimits ===

impl LogLimits {
    /// Most memory that the changes may take, in bytes.
    fn bytes(self) -> usize {
        self.size.saturating_mul(BYTES_EACH)
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { size: 65_536, age: Duration::from_secs(180) }
    }
}

// === impl ChangeLog ===

impl ChangeLog {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self { limits, changes: VecDeque::new(), bytes: 0, newest: 0, lost: None, jumps: Vec::new() }
    }

    pub(super) fn newest(&self) -> Revision {
        self.newest
    }

    /// Logs a change; its revision is the one after the newest, whatever it says.
    pub(super) fn push(&mut self, change: Change) {
        self.newest += 1;
        self.bytes += weight(&change.instance);
        self.changes.push_back(Change { revision: self.newest, ..change });
        while self.limits.size < self.changes.len() || self.limits.bytes() < self.bytes {
            self.lost = self.changes.front().map(|oldest| oldest.at).max(self.lost);
            self.forget_oldest();
        }
    }

    /// The revision before the oldest change that is kept; none when changes within the log's age had to
    /// be given up, because there were too many.
    pub(super) fn whole_since(&self, now: Moment) -> Option<Revision> {
        let is_whole = self.lost.is_none_or(|lost| lost.plus(self.limits.age) <= now);
        is_whole.then(|| self.before_oldest())
    }

    /// The revision from which on all changes are kept. What is left of a jump of which a part is forgotten does not count.
    fn before_oldest(&self) -> Revision {
        let oldest = self.changes.front().map_or(self.newest + 1, |oldest| oldest.revision);
        match self.jumps.iter().find(|jump| jump.first <= oldest && oldest <= jump.to.max(jump.first)) {
            Some(jump) if jump.first == oldest => jump.from,
            Some(jump) => jump.to,
            None => oldest - 1,
        }
    }

    /// Goes on at `newest` as if so many changes had been made up to there, which are pushed next. False, and nothing is
    /// done, when there cannot have been so many.
    pub(super) fn jump(&mut self, newest: Revision, changes: usize) -> bool {
        let before = u64::try_from(changes).ok().and_then(|changes| newest.checked_sub(changes));
        let Some(before) = before.filter(|before| self.newest <= *before) else { return false };
        if self.newest != before {
            if self.jumps.len() == JUMPS {
                return false;
            }
            self.jumps.push(Jump { from: self.newest, first: before + 1, to: newest });
            self.newest = before;
        }
        true
    }

    /// Forgets everything: the next change is the one after `newest`, and there was none that could be told.
    pub(super) fn restart(&mut self, newest: Revision, now: Moment) {
        *self = Self { newest, lost: Some(now), ..Self::new(self.limits) };
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.changes.pop_front() {
            self.bytes -= weight(&oldest.instance);
        }
        let kept = self.changes.front().map_or(self.newest, |oldest| oldest.revision);
        self.jumps.retain(|jump| kept <= jump.to.max(jump.first));
    }

    /// Forgets what is too old; tells when the oldest that is left will be.
    pub(super) fn compact(&mut self, now: Moment) -> Option<Moment> {
        while let Some(oldest) = self.changes.front() {
            let until = oldest.at.plus(self.limits.age);
            if now < until {
                return Some(until);
            }
            self.forget_oldest();
        }
        if 64 < self.changes.capacity() {
            self.changes.shrink_to_fit();
        }
        None
    }

    pub(super) fn since(&self, revision: Revision) -> Delta {
        let is_within = self.jumps.iter().any(|jump| jump.from < revision && revision < jump.to);
        if is_within || revision < self.before_oldest() || self.newest < revision {
            return Delta::Compacted;
        }
        let skip = self.changes.partition_point(|change| change.revision <= revision);
        Delta::Changes(self.changes.iter().skip(skip).cloned().collect())
    }
}

/// About what an instance takes in memory; each of its texts is an allocation of its own.
fn weight(instance: &Instance) -> usize {
    const ALLOCATION: usize = 32;
    let tags = instance.tags.iter().map(|tag| tag.len() + ALLOCATION).sum::<usize>();
    let metadata = instance.metadata.as_ref().map_or(0, |metadata| metadata.as_json().len() + ALLOCATION);
    let document = instance.document.as_ref().map_or(0, |document| document.weight());
    let texts = instance.id.as_str().len() + instance.endpoint.value().len() + 2 * ALLOCATION;
    size_of::<Change>() + size_of::<Instance>() + texts + metadata + tags + document
}

#[cfg(test)]
mod tests {
    use super::super::Slots;
    use super::*;
    use crate::model::{Endpoint, EndpointType, Registration, Status, Timestamp};

    fn instance(tags: usize) -> Arc<Instance> {
        let asked = Registration {
            service: "s".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, "10.0.0.1:8080").unwrap(),
            status: Status::Up,
            tags: vec!["t".into(); tags].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        Arc::new(asked.grant(Duration::from_secs(30), Timestamp::default()))
    }

    fn log(size: usize) -> ChangeLog {
        ChangeLog::new(LogLimits { size, age: Duration::from_secs(10) })
    }

    fn push(log: &mut ChangeLog, instance: &Arc<Instance>, at: u64) {
        let slot = Slots::default().take(0, 0, Moment::default());
        let (at, instance) = (Moment::from_millis(at), instance.clone());
        log.push(Change { revision: 0, op: Op::Put, cause: Cause::Client, at, instance, slot });
    }

    #[test]
    fn usual_changes_are_kept_up_to_their_number() {
        let mut log = log(3);
        for at in 0..5 {
            push(&mut log, &instance(5), at);
        }
        let Delta::Changes(kept) = log.since(2) else { panic!("three changes are kept") };
        assert_eq!(kept.iter().map(|change| change.revision).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(matches!(log.since(1), Delta::Compacted));
    }

    #[test]
    fn long_instances_are_kept_for_fewer_changes() {
        let mut log = log(1000);
        let long = instance(20_000);
        for at in 0..1000 {
            push(&mut log, &long, at);
        }
        assert!(log.bytes <= 1000 * BYTES_EACH && log.changes.len() == 1, "{}", log.changes.len());
        push(&mut log, &instance(0), 1000);
        assert!(matches!(log.since(999), Delta::Changes(kept) if kept.len() == 2));
        push(&mut log, &instance(50_000), 1001);
        assert!(matches!(log.since(1001), Delta::Compacted), "one that is too long is not kept at all");
        assert!(matches!(log.since(1002), Delta::Changes(kept) if kept.is_empty()));
        assert_eq!(log.bytes, 0);
    }

    #[test]
    fn a_jump_is_told_to_who_stood_before_it() {
        let told = |log: &ChangeLog, revision| match log.since(revision) {
            Delta::Changes(changes) => Some(changes.iter().map(|change| change.revision).collect::<Vec<_>>()),
            Delta::Compacted => None,
        };
        let (mut log, one) = (log(10), instance(0));
        (0..2).for_each(|at| push(&mut log, &one, at));
        assert!(!log.jump(3, 2), "there were not so many");
        assert!(log.jump(7, 2));
        (2..5).for_each(|at| push(&mut log, &one, at));
        assert_eq!((log.newest(), told(&log, 1)), (8, Some(vec![2, 6, 7, 8])));
        assert_eq!((told(&log, 2), told(&log, 7)), (Some(vec![6, 7, 8]), Some(vec![8])));
        assert_eq!(
            (3..7).filter_map(|revision| told(&log, revision)).count(),
            0,
            "nobody knows what was between"
        );
        assert!(log.jump(20, 0), "only the revision is another one");
        assert_eq!((told(&log, 7), told(&log, 19), told(&log, 20)), (Some(vec![8]), None, Some(vec![])));
        let whole = |log: &ChangeLog| log.whole_since(Moment::from_millis(5));
        assert_eq!(whole(&log), Some(0));
        (0..2).for_each(|_| log.forget_oldest());
        assert_eq!((whole(&log), told(&log, 1), told(&log, 2)), (Some(2), None, Some(vec![6, 7, 8])));
        log.forget_oldest();
        assert_eq!((whole(&log), told(&log, 2), told(&log, 6)), (Some(7), None, None), "a part is missing");
        (0..2).for_each(|_| log.forget_oldest());
        assert_eq!((whole(&log), told(&log, 8), told(&log, 20)), (Some(8), Some(vec![]), Some(vec![])));
        push(&mut log, &one, 5);
        assert_eq!(told(&log, 8), Some(vec![21]));
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut log = log(10);
        push(&mut log, &instance(3), 0);
        push(&mut log, &instance(0), 5000);
        assert_eq!(log.compact(Moment::from_millis(10_000)), Some(Moment::from_millis(15_000)));
        assert_eq!(log.bytes, weight(&instance(0)));
        assert_eq!(log.compact(Moment::from_millis(15_000)), None);
        assert_eq!((log.bytes, log.changes.len()), (0, 0));
    }
}

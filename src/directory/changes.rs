//! What changed in a namespace, when and why: the revision, and a bounded log of the newest changes.
//!
//! Renewals are no changes. The log ends at a number of changes or at an age, whichever comes first.
//! Never: tells anybody; readers come and ask.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Instance, Moment};

/// How many visible changes a namespace has had since its directory was made.
pub type Revision = u64;

/// Where a directory stands; what an ETag is made of. Tags of different directories, also of one that
/// was dropped and made again, differ in their epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Random for each directory.
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
    /// A lease ran out.
    Expiry,
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
    /// The newest revision, also when the log is empty.
    newest: Revision,
}

// === impl LogLimits ===

impl Default for LogLimits {
    fn default() -> Self {
        Self { size: 65_536, age: Duration::from_secs(180) }
    }
}

// === impl ChangeLog ===

impl ChangeLog {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self { limits, changes: VecDeque::new(), newest: 0 }
    }

    pub(super) fn newest(&self) -> Revision {
        self.newest
    }

    /// Logs a change; its revision is the one after the newest.
    pub(super) fn push(&mut self, at: Moment, op: Op, cause: Cause, instance: Arc<Instance>) {
        self.newest += 1;
        self.changes.push_back(Change { revision: self.newest, op, cause, at, instance });
        if self.limits.size < self.changes.len() {
            self.changes.pop_front();
        }
    }

    /// Forgets what is too old; tells when the oldest that is left will be.
    pub(super) fn compact(&mut self, now: Moment) -> Option<Moment> {
        while let Some(oldest) = self.changes.front() {
            let until = oldest.at.plus(self.limits.age);
            if now < until {
                return Some(until);
            }
            self.changes.pop_front();
        }
        if 64 < self.changes.capacity() {
            self.changes.shrink_to_fit();
        }
        None
    }

    pub(super) fn since(&self, revision: Revision) -> Delta {
        let first = self.changes.front().map_or(self.newest + 1, |oldest| oldest.revision);
        match revision.checked_add(1) {
            Some(wanted) if first <= wanted && wanted <= self.newest + 1 => {
                let skip = usize::try_from(wanted - first).unwrap_or(usize::MAX);
                Delta::Changes(self.changes.iter().skip(skip).cloned().collect())
            }
            _ => Delta::Compacted,
        }
    }
}

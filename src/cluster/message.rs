//! What members say to each other once they trust each other.
//!
//! Never: a time of day for a lease; those travel as ages.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Instance, InstanceId, Namespace};

/// A member of the cluster; unique among those that are alive at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub Box<str>);

/// When something was written, by a hybrid logical clock, and by whom: of two the larger is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// 48 bits of milliseconds since 1970, 16 bits of counter.
    pub time: u64,
    /// A number that is the same for a member on all members (a hash of its id): decides between equal times.
    pub origin: u64,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The tenant's world.
    pub namespace: Namespace,
    /// The instance within it.
    pub id: InstanceId,
}

/// What was last written of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It is registered as this.
    Alive(Arc<Instance>),
    /// It was deregistered.
    Dead,
}

/// How long ago a lease was last renewed, as far as the sender knows.
pub type Age = Duration;

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

/// All that a member writes from one start to the next, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId {
    /// [`MemberId::origin`] of who writes.
    pub(crate) origin: u64,
    /// Which of its starts.
    pub(crate) incarnation: u64,
}

// === impl MemberId ===

impl MemberId {
    /// The number that stands for it in stamps; the same on every member.
    #[must_use]
    pub fn origin(&self) -> u64 {
        hash(&[self.0.as_bytes()])
    }
}

// === impl Key ===

impl Key {
    /// A number for it that is the same on every member and in every build.
    pub(crate) fn hash(&self) -> u64 {
        hash(&[self.namespace.as_str().as_bytes(), self.id.as_str().as_bytes()])
    }
}

// === impl Stamp ===

impl Stamp {
    /// A number for a key that was written at this stamp in one of its origin's starts; the same on every member.
    pub(crate) fn hash_with(self, key: u64, incarnation: u64) -> u64 {
        mixed(key ^ mixed(self.time ^ mixed(self.origin ^ mixed(incarnation))))
    }
}

/// FNV-1a over the parts and their lengths, mixed well. Members compare it, so it never changes.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        part.len().to_le_bytes().into_iter().for_each(&mut take);
        part.iter().copied().for_each(&mut take);
    }
    mixed(hash)
}

/// The finalizer of splitmix64: each bit of the input moves half of the output's.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

//! How much of a cluster is remembered: a bound on what all namespaces together take.
//!
//! Never: frees anything; whoever holds a [`Held`] does by dropping it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What may still be remembered; cheap to clone, the clones share it.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<AtomicUsize>);

/// Something that takes room as long as it is there.
#[derive(Debug)]
pub(super) struct Held<T> {
    what: T,
    weight: usize,
    room: Room,
}

// === impl Room ===

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Holds it if there is room.
    pub(super) fn hold<T>(&self, what: T, weight: usize) -> Option<Held<T>> {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(weight));
        taken.ok().map(|_| Held { what, weight, room: self.clone() })
    }
}

// === impl Held ===

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.what
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.weight, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room() {
        let room = Room::new(10);
        let first = room.hold("a", 7).expect("there is room");
        assert_eq!(*first, "a");
        assert!(room.hold("b", 4).is_none());
        let second = room.hold("c", 3).expect("there is just enough");
        drop(first);
        assert!(room.hold("b", 8).is_none());
        drop(second);
        assert!(room.hold("b", 10).is_some());
    }
}

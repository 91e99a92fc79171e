//! Which instances a catalog may not have for want of room: an instance counts once, however often it is told.
//!
//! Never: keeps an instance, or more than a bounded number of ids.

use std::collections::{HashMap, HashSet};

use crate::model::{InstanceId, Namespace};

/// The instances of one catalog that are left out, over all namespaces.
#[derive(Debug)]
pub(super) struct LeftOut {
    namespaces: HashMap<Namespace, Beyond>,
    /// Ids that are remembered, and most of them.
    remembered: usize,
    max: usize,
    count: usize,
}

/// Those of one namespace.
#[derive(Debug, Default)]
struct Beyond {
    ids: HashSet<InstanceId>,
    /// So many more are not remembered.
    more: usize,
}

// === impl LeftOut ===

impl LeftOut {
    /// None yet, of which at most `max` are remembered.
    pub(super) fn none(max: usize) -> Self {
        Self { namespaces: HashMap::new(), remembered: 0, max, count: 0 }
    }

    /// How many there are: exact while all of them are remembered, and after a whole list.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// All instances of a namespace are told anew.
    pub(super) fn forget(&mut self, namespace: &Namespace) {
        if let Some(Beyond { ids, more }) = self.namespaces.remove(namespace) {
            self.remembered -= ids.len();
            self.count -= ids.len() + more;
        }
    }

    /// This one is left out, which is told once in a list of all instances of its namespace.
    pub(super) fn list(&mut self, namespace: &Namespace, id: InstanceId) {
        if self.remembered < self.max {
            return self.add(namespace, id);
        }
        self.namespaces.entry(namespace.clone()).or_default().more += 1;
        self.count += 1;
    }

    /// This one is left out, or still is. When no more can be remembered it is taken for one that was counted.
    pub(super) fn add(&mut self, namespace: &Namespace, id: InstanceId) {
        if self.remembered < self.max && self.namespaces.entry(namespace.clone()).or_default().ids.insert(id)
        {
            self.remembered += 1;
            self.count += 1;
        }
    }

    /// This one is left out no longer: it has a place, or is no more.
    pub(super) fn remove(&mut self, namespace: &Namespace, id: &InstanceId) {
        let Some(beyond) = self.namespaces.get_mut(namespace) else { return };
        if beyond.ids.remove(id) {
            self.remembered -= 1;
            self.count -= 1;
        } else if beyond.more != 0 {
            beyond.more -= 1;
            self.count -= 1;
        }
        if beyond.ids.is_empty() && beyond.more == 0 {
            self.namespaces.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(nth: usize) -> InstanceId {
        InstanceId::of_endpoint("web", "tcp", &format!("10.0.0.{nth}:80"))
    }

    #[test]
    fn each_counts_once_in_each_namespace() {
        let (a, b): (Namespace, Namespace) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        let mut left_out = LeftOut::none(10);
        for _ in 0..3 {
            left_out.add(&a, id(1));
            left_out.add(&a, id(2));
            left_out.add(&b, id(1));
        }
        assert_eq!(left_out.count(), 3);
        left_out.remove(&a, &id(1));
        left_out.remove(&a, &id(1));
        assert_eq!(left_out.count(), 2);
        left_out.forget(&b);
        assert_eq!(left_out.count(), 1);
    }

    #[test]
    fn what_is_not_remembered_is_counted_by_lists_only() {
        let namespace: Namespace = "a".parse().expect("a name");
        let mut left_out = LeftOut::none(2);
        for _ in 0..2 {
            left_out.forget(&namespace);
            (0..5).for_each(|nth| left_out.list(&namespace, id(nth)));
            assert_eq!(left_out.count(), 5);
        }
        (0..9).for_each(|nth| left_out.add(&namespace, id(nth)));
        assert_eq!(left_out.count(), 5);
        (0..9).for_each(|nth| left_out.remove(&namespace, &id(nth)));
        assert_eq!(left_out.count(), 0);
    }
}

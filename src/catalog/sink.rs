//! What a catalog says through: what it has found, that nothing changed, that it failed.
//!
//! Never: blocks, or takes more than the catalog's bound.

use std::fmt::Display;

use super::{Catalogs, InUse};
use crate::model::{CatalogName, Instance, InstanceId, Namespace};

/// One catalog's way into the directories; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sink {
    catalogs: Catalogs,
    name: CatalogName,
    says: Says,
}

/// What became of what a catalog said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Instances that are new in the catalog, differ from before, or are gone.
    pub changed: usize,
    /// Instances that were left out, because the catalog has more than it may.
    pub left_out: usize,
}

/// What it means for the catalog as a whole that it tells what it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// It is current.
    Current,
    /// Nothing.
    Nothing,
}

/// Instances beyond a catalog's bound that are made, only to be counted.
const COUNTED: usize = 50_000;

// === impl Sink ===

impl Sink {
    pub(super) fn new(catalogs: Catalogs, name: CatalogName) -> Self {
        Self { catalogs, name, says: Says::Current }
    }

    /// Which catalog speaks.
    #[must_use]
    pub fn name(&self) -> CatalogName {
        self.name
    }

    /// The same for what is found while something else fails: to tell it does not make the catalog current.
    #[must_use]
    pub fn while_failing(&self) -> Self {
        Self { says: Says::Nothing, ..self.clone() }
    }

    /// These are all instances that the catalog has in this namespace, each made by
    /// [`Registration::found`](crate::model::Registration::found); of equal ids the first counts. Only what differs from before is published. Empty: the
    /// namespace has none any more. The catalog is current, but [`while_failing`](Self::while_failing).
    pub fn replace(&self, namespace: &Namespace, instances: Vec<Instance>) -> Taken {
        self.catalogs.replace(self.name, self.says, namespace, instances)
    }

    /// These instances are new or changed, and those ids are gone. Costs what changed. The catalog is current, but
    /// [`while_failing`](Self::while_failing).
    pub fn change(&self, namespace: &Namespace, puts: Vec<Instance>, gone: &[InstanceId]) -> Taken {
        self.catalogs.change(self.name, self.says, namespace, puts, gone)
    }

    /// What was said is still so.
    pub fn current(&self) {
        self.catalogs.current(self.name);
    }

    /// The foreign system cannot be followed just now; what was said stays. `error` is a sentence for operators
    /// without credentials or names of services; the log has it once when this begins and says when it is over.
    pub fn failed(&self, error: impl Display) {
        self.catalogs.failed(self.name, &error.to_string());
    }

    /// Something in the foreign system cannot be shown here and was left out; `what` says what and why. It is
    /// counted, and logged now and then.
    pub fn skipped(&self, what: impl Display) {
        self.catalogs.skipped(self.name, &what);
    }

    /// So many things cannot be shown here and were left out; the catalog has logged which. They are counted.
    pub fn left_out(&self, things: usize) {
        self.catalogs.left_out(self.name, things);
    }

    /// Most instances that the catalog may have, over all namespaces.
    #[must_use]
    pub fn max_instances(&self) -> usize {
        self.catalogs.max_instances()
    }

    /// Instances beyond which none need be made of what a foreign system says: so many more than the catalog may have
    /// that it counts what it leaves out, except where that would cost too much memory.
    #[must_use]
    pub fn enough(&self) -> usize {
        self.max_instances().saturating_add(COUNTED)
    }

    /// The first attempt is over, well or not; requests need not wait for it any longer. Every catalog says so
    /// soon, and may say so again.
    pub fn tried(&self) {
        self.catalogs.tried(self.name);
    }

    /// The namespaces that somebody uses.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        self.catalogs.in_use().clone()
    }
}

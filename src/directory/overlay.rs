//! What catalogs have beside the store's own: instances without a lease, of which one is shown when no one of
//! higher precedence has its id.
//!
//! Never: ends a lease, or counts what a catalog has against a namespace's capacity.

use std::sync::Arc;

use super::Directory;
use crate::model::{CatalogName, Instance, InstanceId};

/// What differs in a catalog.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Whose it is.
    pub catalog: CatalogName,
    /// New or changed; each has [`Instance::foreign`].
    pub puts: Vec<Arc<Instance>>,
    /// Ids that it has no more.
    pub gone: Vec<InstanceId>,
}

// === impl Overlay ===

impl Overlay {
    /// Nothing differs.
    #[must_use]
    pub fn of(catalog: CatalogName) -> Self {
        Self { catalog, puts: Vec::new(), gone: Vec::new() }
    }
}

impl Directory {}

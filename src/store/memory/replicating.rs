//! What replication needs of the store in memory: to do what other members decided, and to know which leases were
//! renewed here.
//!
//! Never: counts as a client's what another member told of, or knows what replication is about.

use std::sync::Arc;

use super::{MemoryConfig, MemoryStore, Tenant};
use crate::directory::{Replica, Show, Slots};
use crate::model::{Clock, InstanceId, Moment, Namespace};
use crate::store::{StoreError, StoreMetrics};

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store that keeps track of renewals.
    #[must_use]
    pub fn tracking(config: MemoryConfig, clock: Arc<Clock>, metrics: StoreMetrics) -> Self {
        Self { slots: Arc::new(Slots::tracking()), ..Self::new(config, clock, metrics) }
    }

    /// The leases of all namespaces.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The row of an instance's lease, whether or not it has run out.
    #[must_use]
    pub fn row_of(&self, namespace: &Namespace, id: &InstanceId) -> Option<u32> {
        self.with_tenant(namespace, |tenant| tenant.directory.row_of(id.as_str()))
    }

    /// [`crate::directory::Directory::put_replicas`] of a namespace, which is made when there is none.
    ///
    /// # Errors
    /// When there are as many namespaces as there may be.
    pub fn put_replicas(
        &self,
        namespace: &Namespace,
        replicas: &[Replica],
        show: Show,
    ) -> Result<Vec<u32>, StoreError> {
        loop {
            let tenant = self.tenant_or_new(namespace)?;
            // Dropped between the look-up and now, it is made anew.
            if let Ok(rows) = tenant.directory.put_replicas(replicas, show) {
                self.queue(&tenant);
                return Ok(rows);
            }
        }
    }

    /// Shows readers of all namespaces what they were to see later.
    pub fn show(&self) {
        let tenants: Vec<_> = self.numbers.lock().tenants.iter().flatten().cloned().collect();
        tenants.iter().for_each(|tenant| tenant.directory.show());
    }

    /// Removes an instance that was deregistered elsewhere; false when it is not here.
    pub fn remove_replica(&self, namespace: &Namespace, id: &InstanceId) -> bool {
        let Some(tenant) = self.tenant(namespace) else { return false };
        let is_gone = tenant.directory.remove_replica(id.as_str()).is_some();
        if is_gone {
            self.queue(&tenant);
        }
        is_gone
    }

    /// Begins the lease in a row anew as of `at`, if it is still that of this instance and was not renewed later.
    pub fn renew_replica(&self, namespace: &Namespace, id: &InstanceId, row: u32, at: Moment) -> bool {
        let renew = |tenant: &Tenant| tenant.directory.renew_replica(id.as_str(), row, at).then_some(());
        self.with_tenant(namespace, renew).is_some()
    }

    fn with_tenant<R>(&self, namespace: &Namespace, look: impl FnOnce(&Tenant) -> Option<R>) -> Option<R> {
        self.shard(namespace).read().get(namespace).and_then(|tenant| look(tenant))
    }
}

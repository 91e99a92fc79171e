//! The narrow waist: writes go to the store, reads to the namespace's directory.
//!
//! Never: knows a protocol, or which store it has.

mod metrics;

use std::sync::Arc;

use crate::directory::Directory;
use crate::model::{Clock, Instance, InstanceId, Namespace, Registration, Status, TtlLimits};
use crate::store::{Census, Registered, Store, Update};

pub use crate::store::{Answer, StoreError};
pub use metrics::RegistryMetrics;

/// What handlers call; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    ttl: TtlLimits,
    /// What readers of a namespace see that nobody has written to.
    vacant: Arc<Directory>,
}

/// A lease that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The id to renew and deregister with.
    pub id: InstanceId,
    /// Length of the lease in force.
    pub ttl: std::time::Duration,
    /// Whether anything but the lease changed.
    pub changed: bool,
}

// === impl Registry ===

impl Registry {
    /// A registry over one store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<Clock>, ttl: TtlLimits) -> Self {
        let vacant = Arc::new(Directory::vacant(clock.clone()));
        Self(Arc::new(Inner { store, clock, ttl, vacant }))
    }

    /// Registers or replaces an instance.
    ///
    /// # Errors
    /// When the namespace, or the number of namespaces, is at its limit.
    pub async fn register(&self, namespace: &Namespace, asked: Registration) -> Result<Granted, StoreError> {
        let ttl = self.0.ttl.grant(asked.ttl);
        let now = self.0.clock.time_of_day(self.0.clock.now());
        let service = asked.service.clone();
        let Registered { id, changed } = self.0.store.register(namespace, asked.grant(ttl, now)).await?;
        if changed {
            tracing::info!(%namespace, %service, instance = %id, "instance {id} of {service} registered");
        }
        Ok(Granted { id, ttl, changed })
    }

    /// Begins a lease anew; fails when no living instance has this id.
    #[must_use]
    pub fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        self.0.store.renew(namespace, id)
    }

    /// Begins many leases anew; one result for each id, in order.
    ///
    /// # Errors
    /// When the store as a whole cannot answer.
    pub async fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.0.store.renew_many(namespace, ids).await
    }

    /// Sets the status of a living instance; counts as a renewal.
    ///
    /// # Errors
    /// When no living instance has this id.
    pub async fn set_status(
        &self,
        namespace: &Namespace,
        id: &str,
        status: Status,
    ) -> Result<Arc<Instance>, StoreError> {
        let instance = self.0.store.update(namespace, id, Update::Status(status)).await?;
        let service = &instance.service;
        tracing::info!(%namespace, %service, instance = %id, %status, "instance {id} of {service} is now {status}");
        Ok(instance)
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// When no living instance has this id.
    pub async fn deregister(&self, namespace: &Namespace, id: &str) -> Result<Arc<Instance>, StoreError> {
        let instance = self.0.store.deregister(namespace, id).await?;
        let service = &instance.service;
        tracing::info!(%namespace, %service, instance = %id, "instance {id} of {service} deregistered");
        Ok(instance)
    }

    /// Everything there is to read of a namespace. Reading never makes a namespace.
    #[must_use]
    pub fn directory(&self, namespace: &Namespace) -> Arc<Directory> {
        self.0.store.directory(namespace).unwrap_or_else(|| self.0.vacant.clone())
    }

    /// How much there is, with the `largest` namespaces by number of instances.
    #[must_use]
    pub fn census(&self, largest: usize) -> Census {
        self.0.store.census(largest)
    }
}

//! The seam for everything that can be written to: a store owns leases and alone decides what is alive.
//!
//! A store's effects reach the namespace's [`Directory`]; nobody reads from a store.
//! Never: knows a protocol, a status code, or who may write.

pub mod expiry;
pub mod memory;
pub mod redis;

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::directory::{Directory, Overlay};
use crate::model::{CatalogName, Instance, InstanceId, Invalid, Namespace, Origin, Update};

/// A store's answer: there at once (memory), or after a wait (another process). A store in memory
/// allocates nothing to give it.
pub type Answer<T> = Either<Ready<T>, BoxFuture<'static, T>>;

/// Where registrations are written and leases are kept.
pub trait Store: Send + Sync + fmt::Debug {
    /// Registers or replaces an instance and begins its lease. Repeating what is registered already
    /// is a renewal; what takes the place of what is [`Instance::succeeding`]'s to say.
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
        origin: Origin,
    ) -> Answer<Result<Registered, StoreError>>;

    /// Begins the leases of these instances anew; one result for each, in order. One id costs no allocation.
    fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>>;

    /// Begins the lease anew of the living instance that Eureka's readers know as `id` in this application, if
    /// `judge` says so, which is called when readers see such an instance. Fails when there is none.
    fn renew_if(
        &self,
        namespace: &Namespace,
        (application, id): (&str, &str),
        judge: &mut dyn FnMut(&Arc<Instance>) -> bool,
    ) -> Answer<Result<(), StoreError>> {
        let directory = self.directory(namespace);
        let found = directory.and_then(|directory| directory.find_instance(application, id));
        match found.filter(|instance| instance.foreign.is_none()) {
            Some(instance) if judge(&instance) => self.renew(namespace, instance.id.as_str()),
            Some(_) => Either::Left(ready(Ok(()))),
            // What readers do not see yet may be there all the same.
            None => self.renew(namespace, InstanceId::of_application(application, id).as_str()),
        }
    }

    /// [`Store::renew`] for many ids; the results stand in the order of the ids.
    fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<Result<Vec<Result<(), StoreError>>, StoreError>>;

    /// Changes a living instance; counts as a renewal. Answers with the instance as it is now.
    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>>;

    /// Ends a lease. Answers with the instance that was.
    fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>>;

    /// Everything there is to read of a namespace; none when nobody has written to it.
    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>>;

    /// Takes over what differs in a catalog of a namespace, which is made when there is none.
    ///
    /// # Errors
    /// When there are as many namespaces as there may be.
    fn overlay(&self, namespace: &Namespace, overlay: Overlay) -> Result<(), StoreError>;

    /// Whether readers see all that was written.
    fn standing(&self) -> Standing;

    /// How much the store holds, with the `largest` namespaces by number of instances.
    fn census(&self, largest: usize) -> Census;
}

/// How what readers see stands to what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is all of it.
    Current,
    /// What is kept in another process cannot be reached; readers see how it was.
    Stale {
        /// How long ago it was known to be complete.
        age: Duration,
    },
    /// What is kept in another process was never reached; there is nothing to read yet.
    Unread,
}

/// How much a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Instances of all namespaces.
    pub instances: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Instances that are OUT_OF_SERVICE.
    pub out_of_service: usize,
    /// Namespaces that keep instances just now whose leases ran out.
    pub preserving: usize,
    /// The namespaces with the most instances, the largest first.
    pub largest: Vec<(Namespace, usize)>,
}

/// What a store has done, whichever it is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    /// Registrations that changed something.
    pub registrations: Counter,
    /// Leases begun anew, by renewal or by repeating a registration.
    pub renewals: Counter,
    /// Changes of living instances.
    pub updates: Counter,
    /// Leases that clients ended.
    pub deregistrations: Counter,
    /// Leases that ran out.
    pub expirations: Counter,
    refusals: Family<Reason, Counter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The instance as it is now.
    pub instance: Arc<Instance>,
    /// Whether anything but the lease changed.
    pub changed: bool,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No living instance has this id in this namespace.
    #[error("no such instance")]
    NoSuchInstance,
    /// The instance with this id is a catalog's, which nobody can change here.
    #[error("the instance is one of the catalog {catalog}, which is read-only here")]
    ReadOnly {
        /// The catalog that has it.
        catalog: CatalogName,
    },
    /// The namespace holds as many instances as it may.
    #[error("the namespace holds {capacity} instances, which is its capacity")]
    NamespaceFull {
        /// `--namespace_capacity`
        capacity: usize,
    },
    /// What the instance would become breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store holds as many namespaces as it may.
    #[error("there are {max} namespaces, which is the most that are allowed")]
    TooManyNamespaces {
        /// `--max_namespaces`
        max: usize,
    },
    /// The process that keeps it all cannot be reached, or will not; whether the write was done is not known.
    #[error("the store cannot be reached at present")]
    Unavailable,
}

// === impl StoreError ===

impl StoreError {
    /// Why an instance cannot be written that the store itself does not have.
    #[must_use]
    pub fn absent(directory: Option<&Directory>, id: &str) -> Self {
        let catalog = directory.and_then(|directory| directory.catalog_of(id));
        catalog.map_or(Self::NoSuchInstance, |catalog| Self::ReadOnly { catalog })
    }
}

// === impl StoreMetrics ===

impl StoreMetrics {
    /// Adds these metrics to what is shown.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        let Self { registrations, renewals, updates, deregistrations, expirations, refusals } = self.clone();
        registry.register("a8_registrations", "Registrations that changed something", registrations);
        registry.register("a8_renewals", "Leases begun anew", renewals);
        registry.register("a8_updates", "Changes of living instances", updates);
        registry.register("a8_deregistrations", "Leases that clients ended", deregistrations);
        registry.register("a8_expirations", "Leases that ran out", expirations);
        registry.register("a8_store_refusals", "Writes that the store refused, by reason", refusals);
    }

    /// Counts a refusal and hands it on.
    #[must_use]
    pub fn refused(&self, error: StoreError) -> StoreError {
        let reason = match error {
            StoreError::NoSuchInstance => "no_such_instance",
            StoreError::ReadOnly { .. } => "read_only",
            StoreError::NamespaceFull { .. } => "namespace_full",
            StoreError::TooManyNamespaces { .. } => "too_many_namespaces",
            StoreError::Invalid(_) => "invalid",
            StoreError::Unavailable => "unavailable",
        };
        self.refusals.get_or_create(&Reason { reason }).inc();
        error
    }
}

//! The seam for everything that can be written to: a store owns leases and alone decides what is alive.
//!
//! A store's effects reach the namespace's [`Directory`]; nobody reads from a store.
//! Never: knows a protocol, a status code, or who may write.

use std::fmt;
use std::future::Ready;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};

use crate::directory::Directory;
use crate::model::{Instance, InstanceId, Namespace, Status};

/// A store's answer: there at once (memory), or after a wait (another process). A store in memory
/// allocates nothing to give it.
pub type Answer<'a, T> = Either<Ready<T>, BoxFuture<'a, T>>;

/// Where registrations are written and leases are kept.
pub trait Store: Send + Sync + fmt::Debug {
    /// Registers or replaces an instance and begins its lease. Repeating what is registered already
    /// is a renewal.
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
    ) -> Answer<'_, Result<Registered, StoreError>>;

    /// Begins the leases of these instances anew; one result for each, in order. One id costs no allocation.
    fn renew<'a>(&'a self, namespace: &Namespace, id: &str) -> Answer<'a, Result<(), StoreError>>;

    /// [`Store::renew`] for many ids; the results stand in the order of the ids.
    fn renew_many<'a>(
        &'a self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<'a, Result<Vec<Result<(), StoreError>>, StoreError>>;

    /// Changes a living instance; counts as a renewal. Answers with the instance as it is now.
    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
    ) -> Answer<'_, Result<Arc<Instance>, StoreError>>;

    /// Ends a lease. Answers with the instance that was.
    fn deregister(&self, namespace: &Namespace, id: &str) -> Answer<'_, Result<Arc<Instance>, StoreError>>;

    /// Everything there is to read of a namespace; none when nobody has written to it.
    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>>;
}

/// One change of a living instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The status that a client or an operator sets.
    Status(Status),
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The id under which the instance is known.
    pub id: InstanceId,
    /// Whether anything but the lease changed.
    pub changed: bool,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No living instance has this id in this namespace.
    #[error("no such instance")]
    NoSuchInstance,
    /// The namespace holds as many instances as it may.
    #[error("the namespace holds {capacity} instances, which is its capacity")]
    NamespaceFull {
        /// `--namespace_capacity`
        capacity: usize,
    },
    /// The store holds as many namespaces as it may.
    #[error("there are {max} namespaces, which is the most that are allowed")]
    TooManyNamespaces {
        /// `--max_namespaces`
        max: usize,
    },
}

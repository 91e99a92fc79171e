//! What a client's write says to other servers; the registry offers it, somebody else sends it.
//!
//! Never: what a peer or a member said, and never an expiry: those are not forwarded.

use std::fmt;
use std::sync::Arc;

use super::Registry;
use crate::model::{Instance, Namespace, Status, Timestamp, Update};

/// Sends clients' writes on to other servers.
pub trait Forward: Send + Sync + fmt::Debug {
    /// Whether writes of this namespace are sent on; asked before anything is put together.
    fn wants(&self, namespace: &Namespace) -> bool;

    /// Takes a write over, at once and without waiting.
    fn offer(&self, write: Forwarded);
}

/// Knows the servers that writes are sent on to.
pub trait Replicas: Send + Sync + fmt::Debug {
    /// All of them, as they are now.
    fn replicas(&self) -> Vec<Replica>;

    /// Whether one of them had instances when this server started, which are here now.
    fn has_taken_over(&self) -> bool;
}

/// A server that writes are sent on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where it is, without credentials.
    pub url: String,
    /// Whether it took what it was last sent.
    pub is_available: bool,
}

/// A client's write.
#[derive(Debug, Clone)]
pub enum Forwarded {
    /// It was registered, registered again, or its metadata changed.
    Register(Arc<Instance>),
    /// Its lease began anew.
    Renew(Arc<Instance>),
    /// An operator put a status over its own.
    Override {
        /// The instance as it is now.
        instance: Arc<Instance>,
        /// The new status.
        status: Status,
        /// The version that the change named, or that of the instance.
        dirty_at: Timestamp,
    },
    /// The override is gone.
    ClearOverride {
        /// The instance as it is now.
        instance: Arc<Instance>,
        /// The status until it says its own again.
        fallback: Status,
        /// The version that the change named, or that of the instance.
        dirty_at: Timestamp,
    },
    /// It was deregistered.
    Deregister(Arc<Instance>),
}

// === impl Forwarded ===

impl Forwarded {
    /// Whom it is about, as it is after the write.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        match self {
            Self::Register(instance) | Self::Renew(instance) | Self::Deregister(instance) => instance,
            Self::Override { instance, .. } | Self::ClearOverride { instance, .. } => instance,
        }
    }

    /// What a change of an instance says to others; `instance` is as it is after it.
    #[must_use]
    pub fn of_update(instance: &Arc<Instance>, update: &Update) -> Self {
        let instance = instance.clone();
        let version = |named: &Option<Timestamp>| named.unwrap_or(instance.dirty_at);
        match update {
            Update::Status(status) => {
                Self::Override { status: *status, dirty_at: instance.dirty_at, instance }
            }
            Update::Override { status, dirty_at } => {
                Self::Override { status: *status, dirty_at: version(dirty_at), instance }
            }
            Update::ClearOverride { fallback, dirty_at } => {
                Self::ClearOverride { fallback: *fallback, dirty_at: version(dirty_at), instance }
            }
            Update::Metadata { .. } => Self::Register(instance),
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Whether what a peer calls `id` in this application is an instance of ours by the Amalgam8 API, which
    /// we told the peer. Such a one is not to be registered a second time.
    #[must_use]
    pub fn has_told_of(&self, namespace: &Namespace, application: &str, id: &str) -> bool {
        self.directory(namespace).get_own(id).is_some_and(|instance| {
            instance.document.is_none() && instance.service.as_str().eq_ignore_ascii_case(application)
        })
    }
}

//! What is known of an instance besides when it is not registered here but found in a catalog.
//!
//! Never: follows a catalog; that is [`crate::catalog`]'s.

use super::{Instance, InstanceId, Registration, Timestamp};

/// The kinds of catalogs, in order of precedence: of equal ids the first counts, and the store before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogName {
    /// Services of a Kubernetes cluster.
    Kubernetes,
    /// Another Eureka server.
    Eureka,
    /// Files.
    Filesystem,
    /// Services of a Consul datacenter.
    Consul,
    /// Tasks of a Docker Swarm.
    Swarm,
}

/// Where an instance was found that is not registered here. It has no lease here: it stays as long as its
/// catalog has it, and nobody can renew, change or deregister it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Foreign {
    /// Who has it.
    pub catalog: CatalogName,
    /// When it was last renewed there, if the catalog tells.
    pub renewed: Option<Timestamp>,
}

// === impl CatalogName ===

impl CatalogName {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 5] = [Self::Kubernetes, Self::Eureka, Self::Filesystem, Self::Consul, Self::Swarm];

    /// Its place in the order of precedence, from 0.
    #[must_use]
    pub fn position(self) -> usize {
        match self {
            Self::Kubernetes => 0,
            Self::Eureka => 1,
            Self::Filesystem => 2,
            Self::Consul => 3,
            Self::Swarm => 4,
        }
    }

    /// The word for logs, metrics, error bodies and tags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Eureka => "eureka",
            Self::Filesystem => "filesystem",
            Self::Consul => "consul",
            Self::Swarm => "swarm",
        }
    }
}

impl std::fmt::Display for CatalogName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Registration ===

impl Registration {
    /// The instance that a catalog has as this. `id` is its id there; without one it is made of service and
    /// endpoint, as for a registration. A ttl is shown and means nothing.
    #[must_use]
    pub fn found(self, id: Option<InstanceId>, foreign: Foreign, found_at: Timestamp) -> Instance {
        let ttl = self.ttl.unwrap_or_default();
        let granted = self.grant(ttl, found_at);
        let up_since = (granted.status == super::Status::Up).then_some(found_at);
        Instance { id: id.unwrap_or_else(|| granted.id.clone()), up_since, foreign: Some(foreign), ..granted }
    }
}

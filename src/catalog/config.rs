//! What operators say of catalogs.
//!
//! Never: reads a file; a catalog does when it is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{CatalogName, Namespace, Secret};
use crate::outbound::BaseUrl;

/// All catalogs; one that is none is off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogsConfig {
    /// Services of a Kubernetes cluster.
    pub kubernetes: Option<KubernetesConfig>,
    /// Another Eureka server.
    pub eureka: Option<EurekaConfig>,
    /// Files: one folder.
    pub filesystem: Option<PathBuf>,
    /// Services of a Consul datacenter.
    pub consul: Option<ConsulConfig>,
    /// Tasks of a Docker Swarm.
    pub swarm: Option<SwarmConfig>,
    /// Most instances of one catalog, over all namespaces; at least 1.
    pub max_instances: usize,
}

// === impl CatalogsConfig ===

impl CatalogsConfig {
    /// The catalogs that are on, in order of precedence.
    #[must_use]
    pub fn on(&self) -> Vec<CatalogName> {
        let is_on = |name: &CatalogName| match name {
            CatalogName::Kubernetes => self.kubernetes.is_some(),
            CatalogName::Eureka => self.eureka.is_some(),
            CatalogName::Filesystem => self.filesystem.is_some(),
            CatalogName::Consul => self.consul.is_some(),
            CatalogName::Swarm => self.swarm.is_some(),
        };
        CatalogName::ALL.into_iter().filter(is_on).collect()
    }
}

/// Which Kubernetes cluster, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Where its API server is.
    pub server: KubernetesServer,
    /// Bearer token.
    pub token: Option<Secret>,
    /// File with the bearer token, read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Authorities (PEM) that must have signed the server's certificate; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate will do.
    pub is_insecure: bool,
    /// Patterns of Kubernetes namespaces that are followed (`*` stands for any characters, `!` in front leaves out);
    /// empty: all but `kube-*`.
    pub namespaces: Vec<Box<str>>,
    /// Most namespaces that are followed at once; at least 1.
    pub max_namespaces: usize,
}

/// Where the API server of Kubernetes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubernetesServer {
    /// At this URL.
    At(BaseUrl),
    /// At this URL, which the pod's environment says; files of its service account say the rest.
    InCluster(BaseUrl),
}

/// Which Eureka server is followed, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EurekaConfig {
    /// The servers' base URLs, asked in order until one answers; at least one.
    pub urls: Vec<BaseUrl>,
    /// Whether any certificate will do.
    pub is_insecure: bool,
    /// The namespace that its instances appear in.
    pub namespace: Namespace,
    /// Time between two polls.
    pub poll: Duration,
}

/// Which Consul agent is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulConfig {
    /// The agent's base URL.
    pub url: BaseUrl,
    /// ACL token.
    pub token: Option<Secret>,
    /// Another datacenter than the agent's.
    pub datacenter: Option<Box<str>>,
    /// The namespace that its instances appear in.
    pub namespace: Namespace,
}

/// Which Docker Swarm is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmConfig {
    /// A manager's engine.
    pub engine: SwarmEngine,
    /// The network whose addresses are shown; none: published ports.
    pub network: Option<Box<str>>,
    /// The namespace that its instances appear in.
    pub namespace: Namespace,
}

/// Where a Docker engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwarmEngine {
    /// A Unix socket.
    Socket(PathBuf),
    /// `host:port`, without TLS.
    Tcp(Box<str>),
    /// `host:port`, with mutual TLS.
    Tls {
        /// `host:port`
        address: Box<str>,
        /// Authorities (PEM) that must have signed the engine's certificate.
        ca_file: PathBuf,
        /// Our certificate (PEM).
        cert_file: PathBuf,
        /// Its private key (PEM).
        key_file: PathBuf,
    },
}

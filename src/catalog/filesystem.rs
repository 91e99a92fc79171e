//! The catalog of filesystem.
//!
//! Never: writes to what it follows.

use tokio_util::sync::CancellationToken;

use super::{CatalogError, Sink};
use std::path::PathBuf;

/// Follows it.
#[derive(Debug)]
pub struct Filesystem {
    config: PathBuf,
    sink: Sink,
}

// === impl Filesystem ===

impl Filesystem {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When what the operator said cannot be used.
    pub fn new(config: PathBuf, sink: Sink) -> Result<Self, CatalogError> {
        Ok(Self { config, sink })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config: _, sink } = self;
        sink.tried();
        shutdown.cancelled().await;
    }
}

//! The loops of all catalogs that are on: each follows one foreign system, and one tells how they stand.
//!
//! Never: lets a catalog that breaks take the registry with it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::config::CatalogsConfig;
use super::consul::Consul;
use super::eureka::EurekaCatalog;
use super::filesystem::Filesystem;
use super::kubernetes::Kubernetes;
use super::metrics::{component, component_name};
use super::swarm::Swarm;
use super::{CatalogError, Catalogs};
use crate::model::CatalogName;
use crate::telemetry::Health;

/// All catalogs that are on, not yet followed.
#[derive(Debug)]
pub struct Following {
    catalogs: Catalogs,
    config: CatalogsConfig,
    health: Arc<Health>,
}

/// One catalog's loop.
#[derive(Debug)]
enum Follower {
    Kubernetes(Box<Kubernetes>),
    Eureka(Box<EurekaCatalog>),
    Filesystem(Box<Filesystem>),
    Consul(Box<Consul>),
    Swarm(Box<Swarm>),
}

/// How long requests wait at most for what catalogs have at the start.
const FIRST_READ: Duration = Duration::from_secs(3);
/// Until a catalog that broke is followed again.
const REST: Duration = Duration::from_secs(10);
/// How often health is told.
const TELL: Duration = Duration::from_secs(1);

// === impl Following ===

impl Following {
    /// The catalogs of this configuration; each is set up once, so that what cannot be used shows before anything is
    /// served.
    ///
    /// # Errors
    /// When what the operator said of a catalog cannot be used.
    pub fn new(
        config: CatalogsConfig,
        catalogs: Catalogs,
        health: Arc<Health>,
    ) -> Result<Self, CatalogError> {
        let following = Self { catalogs, config, health };
        for name in following.config.on() {
            following.follower(name)?;
        }
        following.tell();
        Ok(following)
    }

    /// Waits for the first look of those catalogs that are read before the first answer (spec amalgam8 section 8), but not
    /// for long.
    pub async fn until_read(catalogs: Catalogs, shutdown: CancellationToken) {
        let read = async {
            for name in [CatalogName::Eureka, CatalogName::Filesystem] {
                if catalogs.is_on(name) {
                    catalogs.until_tried(name).await;
                }
            }
        };
        if let Some(Err(_)) = shutdown.run_until_cancelled(timeout(FIRST_READ, read)).await {
            tracing::warn!("a catalog takes long to be read; requests are answered without it until then");
        }
    }

    /// Follows all of them until told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let following = CatalogName::ALL.map(|name| {
            let (this, shutdown) = (&self, &shutdown);
            async move {
                if this.catalogs.is_on(name) {
                    this.follow(name, shutdown).await;
                }
            }
        });
        let telling = async {
            let mut every = interval(TELL);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(every.tick()).await.is_some() {
                self.tell();
            }
        };
        futures_util::join!(futures_util::future::join_all(following), telling);
    }

    async fn follow(&self, name: CatalogName, shutdown: &CancellationToken) {
        let sink = self.catalogs.sink(name);
        while !shutdown.is_cancelled() {
            let error = match self.follower(name) {
                Ok(follower) => {
                    let ended = AssertUnwindSafe(follower.run(shutdown.clone())).catch_unwind().await;
                    if shutdown.is_cancelled() {
                        return;
                    }
                    if ended.is_err() { "its follower panicked" } else { "its follower ended" }.to_owned()
                }
                Err(error) => error.to_string(),
            };
            sink.failed(format!("{error}; it begins anew in {REST:?}"));
            sink.tried();
            shutdown.run_until_cancelled(tokio::time::sleep(REST)).await;
        }
    }

    fn follower(&self, name: CatalogName) -> Result<Follower, CatalogError> {
        let sink = self.catalogs.sink(name);
        let CatalogsConfig { kubernetes, eureka, filesystem, consul, swarm, max_instances: _ } = &self.config;
        let off = || CatalogError(format!("catalog {name} is off"));
        Ok(match name {
            CatalogName::Kubernetes => {
                Follower::Kubernetes(Kubernetes::new(kubernetes.clone().ok_or_else(off)?, sink)?.into())
            }
            CatalogName::Eureka => {
                Follower::Eureka(EurekaCatalog::new(eureka.clone().ok_or_else(off)?, sink)?.into())
            }
            CatalogName::Filesystem => {
                Follower::Filesystem(Filesystem::new(filesystem.clone().ok_or_else(off)?, sink)?.into())
            }
            CatalogName::Consul => {
                Follower::Consul(Consul::new(consul.clone().ok_or_else(off)?, sink)?.into())
            }
            CatalogName::Swarm => Follower::Swarm(Swarm::new(swarm.clone().ok_or_else(off)?, sink)?.into()),
        })
    }

    fn tell(&self) {
        let now = self.catalogs.now();
        for name in self.config.on() {
            self.health.report(component_name(name), component(&self.catalogs.standing(name), now));
        }
    }
}

// === impl Follower ===

impl Follower {
    async fn run(self, shutdown: CancellationToken) {
        match self {
            Self::Kubernetes(catalog) => catalog.run(shutdown).await,
            Self::Eureka(catalog) => catalog.run(shutdown).await,
            Self::Filesystem(catalog) => catalog.run(shutdown).await,
            Self::Consul(catalog) => catalog.run(shutdown).await,
            Self::Swarm(catalog) => catalog.run(shutdown).await,
        }
    }
}

//! The store in Redis: any number of registries share what is there, and each reads from a copy of its own.
//!
//! A write is one atomic script that compares with what the writer knew; what becomes of an instance is decided here, by
//! the model's rules, and decided again when somebody was faster. Leases run on Redis' clock, which stands still while
//! nobody can renew. Reads never go to Redis.
//! Never: a command whose cost grows with the number of namespaces, or a password in a log.

mod address;
mod calling;
mod connection;
mod entry;
mod following;
mod keeping;
mod keys;
mod loading;
mod metrics;
mod mirror;
mod renewals;
mod scripts;
mod writing;

use std::cmp::Reverse;
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Answer, Census, Registered, Standing, Store, StoreError, StoreMetrics};
use crate::directory::{Directory, LeaseRules, LogLimits, Overlay, Tags};
use crate::model::{Clock, Instance, Namespace, Origin, Status, Update};
use crate::telemetry::Health;
use connection::Connection;
use entry::Renewed;
use keys::{BUCKETS, Bucket};
use mirror::Mirror;
use renewals::Renewals;
use scripts::Scripts;

pub use address::{Address, BadAddress, Host, RedisConfig, Topology};
pub use following::Follower;
pub use keeping::{Reaper, Upkeep};
pub use metrics::RedisMetrics;
pub use renewals::Coalescer;

/// Bounds of a store in Redis; the same on all nodes.
#[derive(Debug, Clone, Copy)]
pub struct RedisLimits {
    /// Most instances of one namespace; none is no limit. Exact, whoever writes.
    pub namespace_capacity: Option<usize>,
    /// Most namespaces, by what this node knows of.
    pub max_namespaces: usize,
    /// How much of its past each namespace remembers.
    pub change_log: LogLimits,
    /// Whose tags readers see.
    pub tags: Tags,
    /// How leases end.
    pub leases: LeaseRules,
}

/// A [`Store`] in Redis.
#[derive(Debug)]
pub struct RedisStore(Arc<Shared>);

/// The loops of a store in Redis; all of them have to run.
#[derive(Debug)]
pub struct RedisLoops {
    /// Keeps the mirror.
    pub follower: Follower,
    /// Sends renewals.
    pub coalescer: Coalescer,
    /// Lets leases run out.
    pub reaper: Reaper,
    /// Looks after this process' part.
    pub upkeep: Upkeep,
    /// Cancelled when the first attempt to read everything has ended, well or not. Who serves before turns clients
    /// away that could be answered a moment later.
    pub tried: CancellationToken,
    /// Cancelled when everything was read for the first time: from then on there is something to write to.
    pub read: CancellationToken,
}

/// What the store and its loops work with.
#[derive(Debug)]
struct Shared {
    address: Address,
    limits: RedisLimits,
    clock: Arc<Clock>,
    connection: Connection,
    scripts: Scripts,
    mirror: Mirror,
    renewals: Renewals,
    /// What this node's announcements are known by.
    author: u64,
    /// Who renewed here and was not announced yet, by bucket.
    renewed: [Mutex<Renewed>; BUCKETS],
    /// Told when Redis was found without what it had.
    emptied: Notify,
    /// Namespaces that hold nothing any more.
    empty: Mutex<Vec<Namespace>>,
    metrics: StoreMetrics,
    redis_metrics: RedisMetrics,
    health: Arc<Health>,
}

/// A lease to begin anew.
#[derive(Debug, Clone)]
struct Lease {
    bucket: Bucket,
    namespace: Namespace,
    id: Box<str>,
    /// Milliseconds; none when this node does not know the instance.
    length: Option<u64>,
    /// What shows the instance here.
    directory: Option<Arc<Directory>>,
}

// === impl RedisStore ===

impl RedisStore {
    /// What readiness waits for.
    const PART: &str = "store";

    /// A store and the loops that it needs; nothing is connected before they run.
    #[must_use]
    pub fn new(
        config: RedisConfig,
        limits: RedisLimits,
        clock: Arc<Clock>,
        metrics: (StoreMetrics, RedisMetrics),
        health: Arc<Health>,
    ) -> (Self, RedisLoops) {
        let (metrics, redis_metrics) = metrics;
        health.awaits(Self::PART);
        let (tried, read) = (CancellationToken::new(), CancellationToken::new());
        let shared = Arc::new(Shared {
            address: config.address.clone(),
            limits,
            connection: Connection::new(config, redis_metrics.clone()),
            scripts: Scripts::default(),
            mirror: Mirror::new(clock.clone(), limits.change_log, limits.leases, limits.tags),
            renewals: Renewals::default(),
            author: random(),
            renewed: std::array::from_fn(|_| Mutex::default()),
            emptied: Notify::new(),
            empty: Mutex::default(),
            clock,
            metrics,
            redis_metrics,
            health,
        });
        let loops = RedisLoops {
            follower: Follower {
                shared: shared.clone(),
                positions: vec![Default::default(); BUCKETS],
                tried: tried.clone(),
                read: read.clone(),
            },
            coalescer: Coalescer { shared: shared.clone() },
            reaper: Reaper::new(shared.clone()),
            upkeep: Upkeep { shared: shared.clone() },
            tried,
            read,
        };
        (Self(shared), loops)
    }
}

impl Store for RedisStore {
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
        origin: Origin,
    ) -> Answer<Result<Registered, StoreError>> {
        let (shared, namespace) = (self.0.clone(), namespace.clone());
        Either::Right(Box::pin(async move {
            let registered = shared.register(&namespace, instance, origin).await;
            registered.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        if let Some(refused) = self.0.read_only(namespace, id) {
            return Either::Left(ready(Err(refused)));
        }
        let (shared, lease) = (self.0.clone(), self.0.lease(namespace, id));
        Either::Right(Box::pin(async move {
            let renewed = shared.renew(lease).await;
            renewed.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<Result<Vec<Result<(), StoreError>>, StoreError>> {
        let shared = self.0.clone();
        let (bucket, directory) = (Bucket::of(namespace), shared.mirror.directory(namespace));
        let leases: Vec<_> =
            ids.iter().map(|id| shared.lease_in(bucket, directory.as_ref(), namespace, id)).collect();
        Either::Right(Box::pin(async move {
            let calls = leases.chunks(renewals::MOST).map(|leases| shared.renew_by_call(bucket, leases));
            let renewed =
                future::try_join_all(calls).await.map_err(|failure| shared.unavailable(&failure))?;
            let answer = |(renewed, lease): (bool, &Lease)| match renewed {
                true => Ok(()),
                false => Err(shared.metrics.refused(StoreError::absent(directory.as_deref(), &lease.id))),
            };
            Ok(renewed.into_iter().flatten().zip(&leases).map(answer).collect())
        }))
    }

    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        if let Some(refused) = self.0.read_only(namespace, id) {
            return Either::Left(ready(Err(refused)));
        }
        let (shared, namespace, id) = (self.0.clone(), namespace.clone(), Box::<str>::from(id));
        Either::Right(Box::pin(async move {
            let updated = shared.update(&namespace, &id, &update, origin).await;
            updated.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        if let Some(refused) = self.0.read_only(namespace, id) {
            return Either::Left(ready(Err(refused)));
        }
        let (shared, namespace, id) = (self.0.clone(), namespace.clone(), Box::<str>::from(id));
        Either::Right(Box::pin(async move {
            let gone = shared.deregister(&namespace, &id, origin).await;
            gone.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>> {
        self.0.mirror.directory(namespace)
    }

    fn overlay(&self, namespace: &Namespace, overlay: Overlay) -> Result<(), StoreError> {
        let mirror = &self.0.mirror;
        let max = self.0.limits.max_namespaces;
        if mirror.directory(namespace).is_none() && max <= mirror.len() {
            return Err(StoreError::TooManyNamespaces { max });
        }
        mirror.overlay(namespace, &overlay);
        Ok(())
    }

    fn standing(&self) -> Standing {
        self.0.mirror.standing()
    }

    fn census(&self, largest: usize) -> Census {
        let directories: Vec<_> =
            Bucket::all().flat_map(|bucket| self.0.mirror.directories(bucket)).collect();
        let out_of_service = |directory: &Directory| {
            directory.counts().get(Status::OutOfService.position()).copied().unwrap_or_default()
        };
        let mut counted: Vec<_> = directories
            .iter()
            .map(|(namespace, directory)| (namespace.clone(), directory.own_len()))
            .collect();
        counted.sort_unstable_by(|a, b| Reverse(a.1).cmp(&Reverse(b.1)).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(largest);
        Census {
            instances: directories.iter().map(|(_, directory)| directory.own_len()).sum(),
            namespaces: directories.len(),
            out_of_service: directories.iter().map(|(_, directory)| out_of_service(directory)).sum(),
            preserving: directories.iter().filter(|(_, it)| it.preservation().is_preserving).count(),
            largest: counted,
        }
    }
}

impl Shared {
    /// The refusal of a write to an instance that a catalog has; costs nothing without catalogs.
    fn read_only(&self, namespace: &Namespace, id: &str) -> Option<StoreError> {
        if self.limits.tags == Tags::Shared {
            return None;
        }
        let catalog = self.mirror.directory(namespace)?.catalog_of(id)?;
        Some(self.metrics.refused(StoreError::ReadOnly { catalog }))
    }
}

fn millis(length: Duration) -> u64 {
    // A length of 0 would be one without an end.
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A number that nobody else has. The standard library's keys come from the system and cost nothing.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

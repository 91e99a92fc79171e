//! The composition root: binds every component, then runs them. With `tasks`, the only place that starts loops.
//!
//! Bind, then run: whatever can be wrong at a start is wrong before anything is served.
//! Never: holds a rule of its own about instances, requests or time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, Detail, Observer, Ops, Route, Tenancy};
use crate::auth::{Authentication, KeyReload};
use crate::catalog::{CatalogMetrics, Catalogs, Following};
use crate::cluster::replicated::ReplicatedStore;
use crate::cluster::replication::Replication;
use crate::cluster::replication::flushing::Flusher;
use crate::cluster::{FLUSH_EVERY, Member, Mesh, View};
use crate::config::{CapacityConfig, Config, Limits, ListenConfig, OpsConfig, StoreConfig, Timeouts};
use crate::directory::{LeaseRules, LogLimits, Tags};
use crate::listener::{Listener, ListenerConfig, TlsConfig};
use crate::model::{Clock, Timestamp};
use crate::peers::{Listening, Peering};
use crate::registry::{Registry, RegistryMetrics};
use crate::store::expiry::Reaper;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::store::redis::{RedisLimits, RedisLoops, RedisMetrics, RedisStore};
use crate::store::{Store, StoreMetrics};
use crate::tasks::{Phase, Tasks};
use crate::telemetry::{
    BUILD, DroppedLines, Exposition, Health, Phase as HealthPhase, ProcessMetrics, RequestMetrics,
};

/// How long connections wait for a store that has not been read. Who comes later, or asks how it stands, is answered.
const OPENING: Duration = Duration::from_secs(2);

/// What a store needs to run.
#[derive(Debug)]
enum StoreLoops {
    Memory(Reaper),
    Replicated(Box<Replicating>),
    Redis(Box<RedisLoops>),
}

/// What a store needs to run that other members know too.
#[derive(Debug)]
struct Replicating {
    mesh: Mesh,
    flusher: Flusher,
    reaper: Reaper,
    view: Arc<View>,
    replication: Arc<Replication>,
}

/// A registry with its ports bound, not yet serving.
#[derive(Debug)]
#[must_use]
pub struct Daemon {
    listener: Listener,
    ops_listener: Option<Listener>,
    api: Api,
    ops: Ops,
    observer: Observer,
    health: Arc<Health>,
    store: StoreLoops,
    peering: Option<Peering>,
    following: Option<(Catalogs, Following)>,
    key_reload: Option<KeyReload>,
    timeouts: Timeouts,
}

// === impl Daemon ===

impl Daemon {
    /// Puts everything together and takes the ports. `dropped` counts log lines that were not written.
    ///
    /// # Errors
    /// When a port is taken, or a file of keys or certificates cannot be used; the error says which.
    pub async fn bind(config: Config, dropped: Option<DroppedLines>) -> anyhow::Result<Self> {
        let Config {
            listen,
            auth,
            ttl,
            leases,
            store,
            capacity,
            limits,
            timeouts,
            peers,
            catalogs,
            ops,
            log: _,
            given,
            warnings,
        } = config;
        tracing::info!(version = BUILD.version, revision = BUILD.revision, "a8registry {BUILD} starts");
        match given.as_slice() {
            [] => tracing::info!("everything is set to its default"),
            given => tracing::info!("set otherwise than by default: {}", given.join(" ")),
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let is_open = auth.modes.is_empty();
        let clock = Arc::new(Clock::default());
        let (authentication, key_reload) =
            Authentication::new(auth, clock.clone()).context("authentication cannot be set up")?;
        let store_metrics = StoreMetrics::default();
        let redis_metrics = RedisMetrics::default();
        let is_redis = matches!(store, StoreConfig::Redis(_));
        let health = Arc::new(Health::default());
        let (store, store_loops): (Arc<dyn Store>, _) = match store {
            StoreConfig::Memory => {
                let memory =
                    MemoryStore::new(memory_config(&capacity, leases), clock.clone(), store_metrics.clone());
                let memory = Arc::new(memory);
                (memory.clone(), StoreLoops::Memory(Reaper::new(memory, clock.clone())))
            }
            StoreConfig::Replicated(config) => {
                let member = Member::bind(*config).context("this registry cannot be in a cluster")?;
                let limits = memory_config(&capacity, leases);
                let memory = MemoryStore::tracking(limits, clock.clone(), store_metrics.clone());
                let memory = Arc::new(memory);
                let rules = member.settings(leases);
                let replication = Replication::new(rules, memory.clone(), clock.clone());
                let (store, loops) = replicated(member, memory, replication, &clock, &health);
                (store, StoreLoops::Replicated(Box::new(loops)))
            }
            StoreConfig::Redis(config) => {
                let metrics = (store_metrics.clone(), redis_metrics.clone());
                let tags = if catalogs.on().is_empty() { Tags::Shared } else { Tags::Own };
                let limits = redis_limits(&capacity, leases, tags);
                let (redis, loops) = RedisStore::new(*config, limits, clock.clone(), metrics, health.clone());
                (Arc::new(redis), StoreLoops::Redis(Box::new(loops)))
            }
        };
        let registry = Registry::new(store.clone(), clock.clone(), ttl);
        let on = catalogs.on();
        let following = match on.is_empty() {
            true => None,
            false => {
                let shown = Catalogs::new(store, clock.clone(), on, catalogs.max_instances);
                registry.tell_usage(Arc::new(shown.in_use().clone()));
                let following = Following::new(catalogs, shown.clone(), health.clone())
                    .context("a catalog cannot be followed")?;
                Some((shown, following))
            }
        };

        let OpsConfig { token, address: ops_address } = ops;
        let listener_config = listener_config(&listen, limits.connections, limits.header_bytes, &timeouts);
        let listener = Listener::bind(listener_config.clone())
            .with_context(|| format!("the API cannot be served on {}", listen.address))?;
        let ops_listener = match ops_address {
            None => None,
            Some(address) => Some(
                Listener::bind(ListenerConfig { address, tls: None, ..listener_config })
                    .with_context(|| format!("operators cannot be served on {address}"))?
                    .with_metrics(listener.metrics()),
            ),
        };

        let tenancy = Tenancy {
            authenticator: authentication.clone(),
            is_open,
            require_https: listen.require_https,
            proxies: listen.proxies,
        };
        let api = Api::new(registry.clone(), tenancy, api_limits(&limits, &timeouts));

        let request_metrics = RequestMetrics::new(&Route::PATTERNS);
        let mut metrics = Exposition::default();
        let shown = metrics.registry_mut();
        shown.register_collector(Box::new(request_metrics.clone()));
        shown.register_collector(Box::new(ProcessMetrics::new(Timestamp::of_system(), dropped)));
        shown.register_collector(Box::new(RegistryMetrics::totals(registry.clone())));
        store_metrics.register(shown);
        if is_redis {
            redis_metrics.register(shown);
        }
        if let StoreLoops::Replicated(loops) = &store_loops {
            loops.replication.register_metrics(shown);
            loops.view.register_metrics(shown);
        }
        if let Some((catalogs, _)) = &following {
            shown.register_collector(Box::new(CatalogMetrics(catalogs.clone())));
        }
        listener.metrics().register(shown);
        authentication.metrics().register(shown);
        api.eureka_metrics().register(shown);
        let mut detailed = Exposition::default();
        detailed.registry_mut().register_collector(Box::new(RegistryMetrics::by_namespace(registry.clone())));

        let detail = match token {
            _ if is_open => Detail::Everybody,
            Some(token) => Detail::for_token(token.expose()),
            None => Detail::Nobody,
        };
        let listening = Listening { address: listener.local_addr()?, is_tls: listen.tls.is_some() };
        let peering = Peering::new(peers, &registry, clock.clone(), health.clone(), listening)
            .context("this server cannot be made known to its Eureka peers by --eureka_own_url")?;
        if let Some(peering) = &peering {
            peering.peers.register_metrics(metrics.registry_mut());
            api.show_replicas(peering.peers.clone());
        }
        let ops = Ops::new(health.clone(), metrics, detailed, detail);
        if let StoreLoops::Replicated(loops) = &store_loops {
            ops.show_cluster(loops.view.clone());
        }
        Ok(Self {
            listener,
            ops_listener,
            api,
            ops,
            observer: Observer::new(request_metrics),
            health,
            store: store_loops,
            peering,
            following,
            key_reload,
            timeouts,
        })
    }

    /// Where the API is served, with the port that the kernel chose.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then ends in order: not ready, no new connections, requests under way
    /// finished, loops ended. At the drain deadline, or at `abort`, what is left is dropped.
    ///
    /// # Errors
    /// When a loop ended on its own, or something was left at the end.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { listener, ops_listener, api, ops, observer, health, store, .. } = self;
        let Self { peering, following, key_reload, timeouts, .. } = self;
        let mut tasks = Tasks::new();
        // A store in another process is ready when everything was read from there.
        let (is_ready, tried, read) = match store {
            StoreLoops::Memory(reaper) => {
                tasks.spawn(Phase::Upkeep, "reaper", |shutdown| reaper.run(shutdown));
                (true, None, None)
            }
            StoreLoops::Replicated(loops) => {
                let answering = loops.mesh.answering();
                let opened = spawn_replicating(&mut tasks, *loops);
                (false, Some(answering), Some(opened))
            }
            StoreLoops::Redis(loops) => {
                let RedisLoops { follower, coalescer, reaper, upkeep, tried, read } = *loops;
                tasks.spawn(Phase::Upkeep, "redis mirror", |shutdown| follower.run(shutdown));
                tasks.spawn(Phase::Upkeep, "redis renewals", |shutdown| coalescer.run(shutdown));
                tasks.spawn(Phase::Upkeep, "redis reaper", |shutdown| reaper.run(shutdown));
                tasks.spawn(Phase::Upkeep, "redis upkeep", |shutdown| upkeep.run(shutdown));
                (false, Some(tried), Some(read))
            }
        };
        let catalogs = following.map(|(catalogs, following)| {
            tasks.spawn(Phase::Upkeep, "catalogs", |shutdown| following.run(shutdown));
            catalogs
        });
        if let Some(reload) = key_reload {
            tasks.spawn(Phase::Upkeep, "key reload", |shutdown| reload.run(shutdown));
        }
        if let Some(listener) = ops_listener {
            let address = listener.local_addr()?;
            let service = api::ops_router(ops.clone(), &observer);
            // Upkeep: operators are answered until the last request has ended.
            tasks.spawn(Phase::Upkeep, "ops listener", |shutdown| {
                serve(listener, service.into_service(), shutdown)
            });
            tracing::info!(%address, "operators are served on {address}");
        }
        let address = listener.local_addr()?;
        let service = api::Entrance::new(api, ops, &observer);
        tasks.spawn(Phase::Serve, "listener", |shutdown| async move {
            if let Some(tried) = tried {
                // Told to stop meanwhile, it serves nobody.
                let _ = shutdown.run_until_cancelled(timeout(OPENING, tried.cancelled())).await;
            }
            if let Some(catalogs) = catalogs {
                Following::until_read(catalogs, shutdown.clone()).await;
            }
            serve(listener, service, shutdown).await;
        });
        match peering {
            None if is_ready => health.enter(HealthPhase::Ready),
            None => {}
            Some(peering) => spawn_peering(&mut tasks, peering, read),
        }
        tracing::info!(%address, "the registry is served on {address}");

        let stop = async {
            stop.await;
            health.enter(HealthPhase::Draining);
            tracing::info!("stopping: requests under way have {:?} to finish", timeouts.drain);
        };
        // The listeners cut what is left at the drain deadline themselves.
        let ended = tasks.run(stop, abort, timeouts.drain + Duration::from_secs(1)).await;
        match &ended {
            Ok(()) => tracing::info!("stopped"),
            Err(error) => tracing::error!(%error, "stopped: {error}"),
        }
        Ok(ended?)
    }
}

/// A store that other members know too, with what it needs to run.
fn replicated(
    member: Member,
    memory: Arc<MemoryStore>,
    replication: Arc<Replication>,
    clock: &Arc<Clock>,
    health: &Arc<Health>,
) -> (Arc<dyn Store>, Replicating) {
    let (mesh, view) = member.meets(replication.clone(), health.clone());
    let store = Arc::new(ReplicatedStore::new(memory.clone(), replication.clone()));
    let reaper = Reaper::of_leases(memory, replication.clone(), clock.clone());
    let flusher = Flusher::new(replication.clone(), FLUSH_EVERY);
    (store, Replicating { mesh, flusher, reaper, view, replication })
}

/// Starts what a member of a cluster needs; answers with when it has caught up. It makes the process ready then if
/// nothing else has to be waited for.
fn spawn_replicating(tasks: &mut Tasks, replicating: Replicating) -> CancellationToken {
    let Replicating { mesh, flusher, reaper, view: _, replication: _ } = replicating;
    let (opened, left) = (mesh.opened(), mesh.left());
    let leave = tasks.token(Phase::Announce);
    tasks.spawn(Phase::Upkeep, "reaper", |shutdown| reaper.run(shutdown));
    tasks.spawn(Phase::Upkeep, "cluster flusher", |shutdown| flusher.run(shutdown));
    tasks.spawn(Phase::Flush, "cluster mesh", |shutdown| mesh.run(leave, shutdown));
    tasks.spawn(Phase::Announce, "cluster farewell", |shutdown| async move {
        shutdown.cancelled().await;
        left.cancelled().await;
    });
    opened
}

/// Starts what peers need; it makes the process ready.
fn spawn_peering(tasks: &mut Tasks, peering: Peering, read: Option<CancellationToken>) {
    let Peering { peers: _, links, announcements, first_sync } = peering;
    tasks.spawn(Phase::Announce, "peer synchronization", |shutdown| async move {
        if let Some(read) = read {
            // What peers say can be written down when the store was reached; told to stop meanwhile, it ends at once.
            let _ = shutdown.run_until_cancelled(read.cancelled()).await;
        }
        first_sync.run(shutdown).await;
    });
    for announcement in announcements {
        tasks.spawn(Phase::Announce, "peer announcement", |shutdown| announcement.run(shutdown));
    }
    for link in links {
        tasks.spawn(Phase::Flush, "peer link", |shutdown| link.run(shutdown));
    }
}

async fn serve<S>(listener: Listener, service: S, shutdown: CancellationToken)
where
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let cut = listener.run(service, shutdown).await;
    if cut != 0 {
        tracing::warn!(connections = cut, "{cut} connections were cut at the drain deadline");
    }
}

fn api_limits(limits: &Limits, timeouts: &Timeouts) -> api::Limits {
    let Limits {
        header_bytes: _,
        body_bytes,
        batch_bytes,
        batch_ids,
        connections: _,
        full_lists,
        eureka_metadata,
        eureka_lists,
    } = limits;
    api::Limits {
        body: *body_bytes,
        batch_body: *batch_bytes,
        batch_ids: *batch_ids,
        eureka_metadata: *eureka_metadata,
        eureka_lists: *eureka_lists,
        body_deadline: timeouts.body,
        full_lists: *full_lists,
        ..api::Limits::default()
    }
}

fn memory_config(capacity: &CapacityConfig, leases: LeaseRules) -> MemoryConfig {
    let CapacityConfig { instances, namespaces, changes, change_age } = capacity;
    MemoryConfig {
        namespace_capacity: *instances,
        max_namespaces: *namespaces,
        change_log: LogLimits { size: *changes, age: *change_age },
        leases,
    }
}

fn redis_limits(capacity: &CapacityConfig, leases: LeaseRules, tags: Tags) -> RedisLimits {
    let MemoryConfig { namespace_capacity, max_namespaces, change_log, leases } =
        memory_config(capacity, leases);
    RedisLimits { namespace_capacity, max_namespaces, change_log, tags, leases }
}

fn listener_config(
    listen: &ListenConfig,
    max_connections: usize,
    max_header_bytes: usize,
    timeouts: &Timeouts,
) -> ListenerConfig {
    let ListenConfig { address, tls, require_https: _, proxies: _ } = listen;
    let Timeouts { header, idle, body, write, drain } = timeouts;
    ListenerConfig {
        max_connections,
        header_timeout: *header,
        body_timeout: *body,
        idle_timeout: *idle,
        write_timeout: *write,
        max_header_bytes,
        drain: *drain,
        tls: tls.as_ref().map(|files| TlsConfig {
            cert: files.cert.clone(),
            key: files.key.clone(),
            client_ca: files.client_ca.clone(),
        }),
        ..ListenerConfig::new(*address)
    }
}

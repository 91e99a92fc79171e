//! The HTTP API on one page: every path, every method, and the one layer around them.
//!
//! Paths are exact: nothing is normalised and letter case counts (spec amalgam8 section 1).
//! Never: knows which store there is, or reads a file or the environment.

pub mod amalgam8;
pub mod body;
pub mod dashboard;
pub mod entrance;
pub mod error;
pub mod eureka;
pub mod middleware;
pub mod ops;
pub mod origin;
pub mod path;
pub mod query;
pub mod reply;
pub mod tenant;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::handler::Handler;
use tokio::sync::Semaphore;

pub use entrance::Entrance;
pub use error::ApiError;
pub use eureka::{EurekaMetrics, ListRules};
pub use middleware::{Observe, Observer};
pub use ops::{Detail, Ops};
pub use origin::{BadCidr, Cidr, Proxies};
pub use tenant::{Tenancy, Tenant};

use crate::registry::{Registry, Replica, Replicas};

/// Every path there is. Metrics, access lines, `Allow` and the published description follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Registering, and lists.
    Instances,
    /// One instance.
    Instance,
    /// One renewal.
    Heartbeat,
    /// The status of one instance.
    Status,
    /// Many renewals.
    Heartbeats,
    /// Names of services.
    Services,
    /// The instances of one service.
    Service,
    /// Answers as long as the process does.
    Root,
    /// Health in the original's shape.
    Uptime,
    /// Whether the process should be left alive.
    Live,
    /// Whether requests should be sent here.
    Ready,
    /// Metrics.
    Metrics,
    /// How the cluster stands.
    Cluster,
    /// The description of this API.
    Swagger,
    /// All applications.
    EurekaApps,
    /// What changed lately.
    EurekaDelta,
    /// One application; registering.
    EurekaApplication,
    /// One instance of an application; renewing and ending its lease.
    EurekaInstance,
    /// The status of one instance.
    EurekaStatusOf,
    /// The metadata of one instance.
    EurekaMetadataOf,
    /// One instance of whichever application.
    EurekaAnyInstance,
    /// The instances with a virtual address.
    EurekaVip,
    /// The instances with a virtual address with TLS.
    EurekaSecureVip,
    /// What this server says of itself.
    EurekaServerStatus,
    /// What another server's clients wrote.
    EurekaBatch,
    /// The switch of a scaling group.
    EurekaGroup,
    /// Every status that an operator put over an instance's own.
    EurekaOverrides,
    /// The page about everything.
    EurekaDashboard,
    /// The page about who came and went.
    EurekaLastN,
    /// Every other path.
    Nowhere,
}

/// What one request, and all of them together, may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a registration or a change of status, in bytes.
    pub body: usize,
    /// Largest body of a batch of renewals, in bytes.
    pub batch_body: usize,
    /// Most ids in a batch of renewals.
    pub batch_ids: usize,
    /// Largest body of another Eureka server's batch, in bytes.
    pub eureka_batch_body: usize,
    /// Most items in such a batch.
    pub eureka_batch_items: usize,
    /// Most bytes of an instance's metadata as JSON, when it comes by the Eureka API.
    pub eureka_metadata: usize,
    /// Which lists of the Eureka API are served.
    pub eureka_lists: ListRules,
    /// Longest time that a body may take to come.
    pub body_deadline: Duration,
    /// Most long lists that are being sent at once.
    pub full_lists: usize,
}

/// What the handlers of tenants' routes work with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    tenancy: Tenancy,
    limits: Limits,
    full_lists: Arc<Semaphore>,
    begun: Instant,
    eureka: EurekaMetrics,
    gate: eureka::Gate,
    replicas: OnceLock<Arc<dyn Replicas>>,
}

/// All that clients are served.
pub fn router(api: Api, ops: Ops, observer: &Observer) -> Router {
    let tenants = Router::new()
        .route("/", observer.on(Route::Root).get(dashboard::root).into())
        .route(
            "/api/v1/instances",
            observer.on(Route::Instances).get(amalgam8::list).post(amalgam8::register).into(),
        )
        .route(
            "/api/v1/instances/{id}",
            observer.on(Route::Instance).get(amalgam8::get).delete(amalgam8::deregister).into(),
        )
        .route("/api/v1/instances/{id}/heartbeat", observer.on(Route::Heartbeat).put(amalgam8::renew).into())
        .route("/api/v1/instances//heartbeat", observer.on(Route::Heartbeat).put(amalgam8::renew).into())
        .route("/api/v1/instances/{id}/status", observer.on(Route::Status).put(amalgam8::set_status).into())
        .route("/api/v1/instances//status", observer.on(Route::Status).put(amalgam8::set_status).into())
        .route("/api/v1/heartbeats", observer.on(Route::Heartbeats).put(amalgam8::renew_many).into())
        .route("/api/v1/services", observer.on(Route::Services).get(amalgam8::services).into())
        .route("/api/v1/services/{name}", observer.on(Route::Service).get(amalgam8::service).into())
        .with_state(api);
    ops_routes(ops, observer).merge(tenants).fallback(error::nowhere.layer(observer.layer(Route::Nowhere)))
}

/// What operators are served on a port of their own: the same, and with every detail.
pub fn ops_router(ops: Ops, observer: &Observer) -> Router {
    let root = Router::new().route("/", observer.on(Route::Root).get(ops::root).into());
    ops_routes(ops.for_operators(), observer)
        .merge(root)
        .fallback(error::nowhere.layer(observer.layer(Route::Nowhere)))
}

/// Routes that need no token.
fn ops_routes(ops: Ops, observer: &Observer) -> Router {
    Router::new()
        .route("/uptime", observer.on(Route::Uptime).get(ops::uptime).into())
        .route("/health/live", observer.on(Route::Live).get(ops::live).into())
        .route("/health/ready", observer.on(Route::Ready).get(ops::ready).into())
        .route("/metrics", observer.on(Route::Metrics).get(ops::metrics).into())
        .route("/cluster", observer.on(Route::Cluster).get(ops::cluster).into())
        .route("/swagger", observer.on(Route::Swagger).get(ops::swagger).into())
        .with_state(ops)
}

// === impl Route ===

impl Route {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 30] = [
        Self::Instances,
        Self::Instance,
        Self::Heartbeat,
        Self::Status,
        Self::Heartbeats,
        Self::Services,
        Self::Service,
        Self::Root,
        Self::Uptime,
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Cluster,
        Self::Swagger,
        Self::EurekaApps,
        Self::EurekaDelta,
        Self::EurekaApplication,
        Self::EurekaInstance,
        Self::EurekaStatusOf,
        Self::EurekaMetadataOf,
        Self::EurekaAnyInstance,
        Self::EurekaVip,
        Self::EurekaSecureVip,
        Self::EurekaServerStatus,
        Self::EurekaBatch,
        Self::EurekaGroup,
        Self::EurekaOverrides,
        Self::EurekaDashboard,
        Self::EurekaLastN,
        Self::Nowhere,
    ];

    /// The patterns of all of them, in the same order; a route's number is its place here.
    pub const PATTERNS: [&'static str; Self::ALL.len()] = {
        let mut patterns = [""; Self::ALL.len()];
        let mut at = 0;
        while at < patterns.len() {
            patterns[at] = Self::ALL[at].pattern();
            at += 1;
        }
        patterns
    };

    /// Its place among all.
    #[must_use]
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|route| *route == self).unwrap_or(Self::ALL.len())
    }

    /// The path, with its parameters in braces.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        self.row().0
    }

    /// The methods that it knows, as an `Allow` header has them.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        self.row().1
    }

    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Instances => ("/api/v1/instances", "GET, HEAD, OPTIONS, POST"),
            Self::Instance => ("/api/v1/instances/{id}", "DELETE, GET, HEAD, OPTIONS"),
            Self::Heartbeat => ("/api/v1/instances/{id}/heartbeat", "OPTIONS, PUT"),
            Self::Status => ("/api/v1/instances/{id}/status", "OPTIONS, PUT"),
            Self::Heartbeats => ("/api/v1/heartbeats", "OPTIONS, PUT"),
            Self::Services => ("/api/v1/services", "GET, HEAD, OPTIONS"),
            Self::Service => ("/api/v1/services/{name}", "GET, HEAD, OPTIONS"),
            Self::Root => ("/", "GET, HEAD, OPTIONS"),
            Self::Uptime => ("/uptime", "GET, HEAD, OPTIONS"),
            Self::Live => ("/health/live", "GET, HEAD, OPTIONS"),
            Self::Ready => ("/health/ready", "GET, HEAD, OPTIONS"),
            Self::Metrics => ("/metrics", "GET, HEAD, OPTIONS"),
            Self::Cluster => ("/cluster", "GET, HEAD, OPTIONS"),
            Self::Swagger => ("/swagger", "GET, HEAD, OPTIONS"),
            Self::EurekaApps => ("/eureka/v2/apps", "GET, HEAD, OPTIONS"),
            Self::EurekaDelta => ("/eureka/v2/apps/delta", "GET, HEAD, OPTIONS"),
            Self::EurekaApplication => ("/eureka/v2/apps/{app}", "GET, HEAD, OPTIONS, POST"),
            Self::EurekaInstance => ("/eureka/v2/apps/{app}/{id}", "DELETE, GET, HEAD, OPTIONS, PUT"),
            Self::EurekaStatusOf => ("/eureka/v2/apps/{app}/{id}/status", "DELETE, OPTIONS, PUT"),
            Self::EurekaMetadataOf => ("/eureka/v2/apps/{app}/{id}/metadata", "OPTIONS, PUT"),
            Self::EurekaAnyInstance => ("/eureka/v2/instances/{id}", "GET, HEAD, OPTIONS"),
            Self::EurekaVip => ("/eureka/v2/vips/{vip}", "GET, HEAD, OPTIONS"),
            Self::EurekaSecureVip => ("/eureka/v2/svips/{vip}", "GET, HEAD, OPTIONS"),
            Self::EurekaServerStatus => ("/eureka/v2/status", "GET, HEAD, OPTIONS"),
            Self::EurekaBatch => ("/eureka/v2/peerreplication/batch", "OPTIONS, POST"),
            Self::EurekaGroup => ("/eureka/v2/asg/{asg}/status", "OPTIONS, PUT"),
            Self::EurekaOverrides => ("/eureka/serverinfo/statusoverrides", "GET, HEAD, OPTIONS"),
            Self::EurekaDashboard => ("/eureka", "GET, HEAD, OPTIONS"),
            Self::EurekaLastN => ("/eureka/lastn", "GET, HEAD, OPTIONS"),
            Self::Nowhere => ("(none)", ""),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            batch_body: 256 * 1024,
            batch_ids: 10_000,
            eureka_batch_body: 8 * 1024 * 1024,
            eureka_batch_items: 10_000,
            eureka_metadata: 16 * 1024,
            eureka_lists: ListRules::default(),
            body_deadline: Duration::from_secs(30),
            full_lists: 64,
        }
    }
}

// === impl Api ===

impl Api {
    /// What handlers need, put together.
    #[must_use]
    pub fn new(registry: Registry, tenancy: Tenancy, limits: Limits) -> Self {
        let full_lists = Arc::new(Semaphore::new(limits.full_lists.min(Semaphore::MAX_PERMITS)));
        let begun = Instant::now();
        Self(Arc::new(Inner {
            registry,
            tenancy,
            limits,
            full_lists,
            begun,
            gate: eureka::Gate::new(begun),
            eureka: EurekaMetrics::default(),
            replicas: OnceLock::new(),
        }))
    }

    /// Counters of the Eureka API.
    #[must_use]
    pub fn eureka_metrics(&self) -> &EurekaMetrics {
        &self.0.eureka
    }

    /// Has these servers shown as peers from now on; once for an API.
    pub fn show_replicas(&self, replicas: Arc<dyn Replicas>) {
        let is_first = self.0.replicas.set(replicas).is_ok();
        debug_assert!(is_first, "replicas are known by one");
    }

    fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn tenancy(&self) -> &Tenancy {
        &self.0.tenancy
    }

    fn replicas(&self) -> Vec<Replica> {
        self.0.replicas.get().map(|replicas| replicas.replicas()).unwrap_or_default()
    }

    /// Whether a peer had instances that were taken over from it.
    fn has_taken_over(&self) -> bool {
        self.0.replicas.get().is_some_and(|replicas| replicas.has_taken_over())
    }

    fn gate(&self) -> &eureka::Gate {
        &self.0.gate
    }

    fn uptime(&self) -> Duration {
        self.0.begun.elapsed()
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

#[cfg(test)]
mod tests;

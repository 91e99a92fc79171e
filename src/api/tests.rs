//! The API through its router, over the memory store.

mod eureka;
mod manners;
mod preservation;
mod reads;
mod tenancy;
mod writes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::{Api, Detail, Entrance, Limits, Observer, Ops, Proxies, Route, Tenancy, router};
use crate::auth::{Authenticator, Open, Trusted};
use crate::directory::{LeaseRules, LogLimits};
use crate::listener::Peer;
use crate::model::{Clock, TtlLimits};
use crate::registry::Registry;
use crate::store::StoreMetrics;
use crate::store::expiry::Reaper;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::telemetry::{Exposition, Health, Phase, RequestMetrics};

/// A registry in this process, without a socket.
struct Server {
    router: Router,
    entrance: Entrance,
    api: Api,
}

/// What a test may choose.
struct Choices {
    authenticator: Arc<dyn Authenticator>,
    is_open: bool,
    require_https: bool,
    proxies: Proxies,
    capacity: Option<usize>,
    limits: Limits,
    detail: Detail,
    leases: LeaseRules,
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

// === impl Choices ===

impl Default for Choices {
    fn default() -> Self {
        Self {
            authenticator: Arc::new(Open::default()),
            is_open: true,
            require_https: false,
            proxies: Proxies::Everybody,
            capacity: None,
            limits: Limits::default(),
            detail: Detail::Everybody,
            leases: LeaseRules::default(),
        }
    }
}

impl Choices {
    fn trusted() -> Self {
        Self { authenticator: Arc::new(Trusted), is_open: false, ..Self::default() }
    }

    fn server(self) -> Server {
        self.server_and_reaper().0
    }

    /// With the loop that ends leases, to be run by the test.
    fn server_and_reaper(self) -> (Server, Reaper) {
        let Self { authenticator, is_open, require_https, proxies, capacity, limits, detail, leases } = self;
        let clock = Arc::new(Clock::default());
        let config = MemoryConfig {
            namespace_capacity: capacity,
            max_namespaces: 3,
            change_log: LogLimits::default(),
            leases,
        };
        let store = Arc::new(MemoryStore::new(config, clock.clone(), StoreMetrics::default()));
        let reaper = Reaper::new(store.clone(), clock.clone());
        let seconds = Duration::from_secs;
        let ttl = TtlLimits { default: seconds(30), min: seconds(10), max: seconds(600) };
        let tenancy = Tenancy { authenticator, is_open, require_https, proxies };
        let api = Api::new(Registry::new(store, clock, ttl), tenancy, limits);
        let requests = RequestMetrics::new(&Route::PATTERNS);
        let health = Arc::new(Health::default());
        health.enter(Phase::Ready);
        let mut metrics = Exposition::default();
        metrics.registry_mut().register_collector(Box::new(requests.clone()));
        let mut detailed = Exposition::default();
        detailed.registry_mut().register(
            "a8_of_one_namespace",
            "A number that is not for everybody",
            prometheus_client::metrics::gauge::Gauge::<i64>::default(),
        );
        let ops = Ops::new(health, metrics, detailed, detail);
        let observer = Observer::new(requests);
        let router = router(api.clone(), ops.clone(), &observer);
        (Server { router, entrance: Entrance::new(api.clone(), ops, &observer), api }, reaper)
    }
}

// === impl Server ===

impl Server {
    fn new() -> Self {
        Choices::default().server()
    }

    /// `headers` are pairs; a body of known length gets its `Content-Length` as from a real client.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri).header("host", "registry.example:8080");
        let body = body.into();
        if let Some(length) = http_body::Body::size_hint(&body).exact().filter(|length| 0 < *length) {
            request = request.header("content-length", length);
        }
        for (name, value) in headers {
            if *name == "host" {
                request.headers_mut().unwrap().remove("host");
            }
            request = request.header(*name, *value);
        }
        self.answer(request.body(body).unwrap()).await
    }

    async fn send_from(&self, line: &str, headers: &[(&str, &str)], remote: SocketAddr, tls: bool) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.extension(Peer::new(remote, tls)).body(Body::empty()).unwrap()).await
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        // Only the router writes the lengths that a connection would.
        let response = match super::eureka::Place::of(request.uri().path()) {
            Some(_) => self.entrance.clone().oneshot(request).await.unwrap(),
            None => self.router.clone().oneshot(request).await.unwrap(),
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[], "").await
    }

    async fn post(&self, body: &str) -> Answer {
        self.send("POST /api/v1/instances", &[("content-type", "application/json")], body.to_owned()).await
    }

    /// Registers `service` at `value` with more members, and answers its id.
    async fn register(&self, service: &str, value: &str, members: &str) -> String {
        let body = format!(
            r#"{{"service_name":"{service}","endpoint":{{"type":"http","value":"{value}"}}{members}}}"#
        );
        let answer = self.post(&body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{body}: {:?}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The `Error` of the body, after checking the status.
    #[track_caller]
    fn refused(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        self.json()["Error"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn ok(&self) -> &Self {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        self
    }

    /// The `id`s of the instances in a list, sorted.
    #[track_caller]
    fn ids(&self) -> Vec<String> {
        let list = self.ok().json();
        let instances = list["instances"].as_array().unwrap();
        let mut ids: Vec<_> = instances.iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

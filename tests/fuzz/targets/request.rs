//! Whole requests, through the entrance of the API over a memory store of their own.
//!
//! An input is up to eight requests with zero bytes between them: a line with method and path, headers, an
//! empty line, the body. Every answer comes at once; none is 500; every refusal is the API's own error in
//! JSON, is short and changes nothing; a read changes nothing; every list is JSON; and what goes by the short
//! road is answered as by the router.
//! Never: opens a socket, or keeps anything from one input to the next.

#![no_main]

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use a8registry::api::{Api, Detail, Entrance, Limits, Observer, Ops, Proxies, Route, Tenancy, router};
use a8registry::auth::{AuthError, Authenticator, Open, Trusted};
use a8registry::directory::{LeaseRules, LogLimits, Tag};
use a8registry::model::{Clock, Namespace, TtlLimits};
use a8registry::registry::Registry;
use a8registry::store::StoreMetrics;
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::telemetry::{Exposition, Health, Phase, RequestMetrics};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use flate2::read::GzDecoder;
use futures_util::FutureExt;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower::ServiceExt;

/// Requests of one input that count.
const REQUESTS_MAX: usize = 8;
/// Longer than any refusal has to be.
const REFUSAL_MAX: usize = 1000;

struct Server {
    entrance: Entrance,
    router: Router,
    registry: Registry,
}

/// Everybody who brings no token, and everybody who brings one by its name.
#[derive(Debug, Default)]
struct Anybody {
    open: Open,
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

fuzz_target!(|input: &[u8]| {
    let server = Server::new();
    for raw in input.split(|byte| *byte == 0).take(REQUESTS_MAX) {
        server.check(raw);
    }
    let everything = Request::get("/api/v1/instances?status=ALL").header("host", "h").body(Body::empty());
    let everything = Answer::of(server.entrance.clone().oneshot(everything.expect("is a request")));
    let len = everything.json()["instances"].as_array().expect("is a list").len();
    assert_eq!(len, server.registry.directory(&Namespace::default()).len());
});

/// Whether a path is below one of the roots of the Eureka API.
fn is_eureka(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    path.starts_with("/api/eureka") || ["eureka", "v1", "v2", "lastn"].contains(&first) || path == "/"
}

// === impl Anybody ===

impl Authenticator for Anybody {
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        match token {
            None => self.open.authenticate(None),
            Some(_) => Trusted.authenticate(token),
        }
    }
}

// === impl Server ===

impl Server {
    fn new() -> Self {
        let clock = Arc::new(Clock::default());
        let config = MemoryConfig {
            namespace_capacity: Some(3),
            max_namespaces: 2,
            change_log: LogLimits::default(),
            leases: LeaseRules::default(),
        };
        let store = Arc::new(MemoryStore::new(config, clock.clone(), StoreMetrics::default()));
        let seconds = Duration::from_secs;
        let ttl = TtlLimits { default: seconds(30), min: seconds(10), max: seconds(600) };
        let registry = Registry::new(store, clock, ttl);
        let tenancy = Tenancy {
            authenticator: Arc::new(Anybody::default()),
            is_open: false,
            require_https: false,
            proxies: Proxies::Everybody,
        };
        let limits = Limits { body: 2048, batch_body: 4096, batch_ids: 20, ..Limits::default() };
        let api = Api::new(registry.clone(), tenancy, limits);
        let requests = RequestMetrics::new(&Route::PATTERNS);
        let health = Arc::new(Health::default());
        health.enter(Phase::Ready);
        let mut metrics = Exposition::default();
        metrics.registry_mut().register_collector(Box::new(requests.clone()));
        let ops = Ops::new(health, metrics, Exposition::default(), Detail::Nobody);
        let observer = Observer::new(requests);
        let router = router(api.clone(), ops.clone(), &observer);
        Self { entrance: Entrance::new(api, ops, &observer), router, registry }
    }

    fn check(&self, raw: &[u8]) {
        let Some(request) = parsed(raw) else { return };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let of = self.namespace(&request);
        let before = self.tags_of(&of);
        let answer = Answer::of(self.entrance.clone().oneshot(request));
        let line = format!("{method} {path}: {}", answer.status);
        assert!(answer.status.as_u16() < 500, "{line}");
        if is_eureka(&path) {
            return answer.check_eureka(&method, &line);
        }
        if path.starts_with("/api/") && (method == Method::GET || path.ends_with("/heartbeat")) {
            let request = parsed(raw).expect("was parsed before");
            assert_eq!(Answer::of(self.router.clone().oneshot(request)), answer, "{line}");
        }
        let is_read = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
        if is_read || !answer.status.is_success() {
            assert_eq!(self.tags_of(&of), before, "{line} changed something");
        }
        if method == Method::HEAD {
            return assert!(answer.body.is_empty(), "{line}");
        }
        if answer.status.is_client_error() {
            answer.check_refusal(&line);
        } else if path.starts_with("/api/") && answer.status != StatusCode::NOT_MODIFIED {
            answer.check_success(&method, &path);
        }
    }

    /// Where a namespace stands, and that of everybody else.
    fn tags_of(&self, namespace: &Namespace) -> [Tag; 2] {
        [namespace, &Namespace::default()].map(|namespace| self.registry.directory(namespace).tag())
    }

    fn namespace(&self, request: &Request<Body>) -> Namespace {
        let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| Some(value.split_once(' ')?.1));
        token.and_then(|token| token.parse().ok()).unwrap_or_default()
    }
}

// === impl Answer ===

impl Answer {
    /// Without the id of the request, which is never the same, and without the length of the body, which
    /// is left to the listener now and then.
    fn of(answering: impl Future<Output = Result<Response, Infallible>>) -> Self {
        let Ok(response) = answering.now_or_never().expect("is answered at once");
        let (mut head, body) = response.into_parts();
        assert!(head.headers.remove("request_id").is_some() && head.headers.contains_key(CONTENT_TYPE));
        let body = body.collect().now_or_never().expect("is sent at once").expect("is sent whole");
        let body = body.to_bytes().to_vec();
        let length = head.headers.remove(CONTENT_LENGTH);
        assert!(length.is_none_or(|length| length == *body.len().to_string() || body.is_empty()));
        Self { status: head.status, headers: head.headers, body }
    }

    fn json(&self) -> Value {
        let mut decoded = Vec::new();
        let text = match self.headers.get(CONTENT_ENCODING) {
            None => &self.body,
            Some(coding) => {
                assert_eq!(coding, "gzip");
                GzDecoder::new(&*self.body).read_to_end(&mut decoded).expect("is gzip");
                &decoded
            }
        };
        serde_json::from_slice(text).unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(text)))
    }

    fn check_refusal(&self, line: &str) {
        let error = self.json();
        let members = error.as_object().expect("an error is an object");
        assert!(members.values().all(Value::is_string), "{line}: {error}");
        assert!(!error["Error"].as_str().expect("says what failed").is_empty(), "{line}");
        assert!(self.body.len() <= REFUSAL_MAX, "{line}: {error}");
        let has = |name: HeaderName| self.headers.contains_key(name);
        assert_eq!(has(ALLOW), self.status == StatusCode::METHOD_NOT_ALLOWED, "{line}");
        assert_eq!(has(WWW_AUTHENTICATE), self.status == StatusCode::UNAUTHORIZED, "{line}");
    }

    /// Documents are whole; whoever writes finds no body unless its copy is older or it is not let in.
    fn check_eureka(&self, method: &Method, line: &str) {
        let text = match self.headers.get(CONTENT_ENCODING) {
            None => self.body.clone(),
            Some(_) => {
                let mut decoded = Vec::new();
                GzDecoder::new(&*self.body).read_to_end(&mut decoded).expect("is gzip");
                decoded
            }
        };
        let may_have_body = [StatusCode::CONFLICT, StatusCode::UNAUTHORIZED].contains(&self.status);
        if [Method::PUT, Method::DELETE].contains(method) && !may_have_body && !line.contains("/api/") {
            assert!(text.is_empty(), "{line}: {}", String::from_utf8_lossy(&text));
        }
        let media_type = self.headers[CONTENT_TYPE].to_str().unwrap_or_default();
        if media_type == "application/json" && !text.is_empty() && self.status.is_success() {
            serde_json::from_slice::<Value>(&text).unwrap_or_else(|why| panic!("{line}: {why}"));
        }
    }

    fn check_success(&self, method: &Method, path: &str) {
        if *method == Method::GET {
            assert!(self.headers.contains_key(ETAG), "{path}");
            assert!(self.json().is_object(), "{path}");
        } else if *method == Method::POST {
            assert_eq!((self.status, path), (StatusCode::CREATED, "/api/v1/instances"));
            assert_eq!(self.json()["links"]["self"].as_str(), self.headers[LOCATION].to_str().ok());
        } else if !self.body.is_empty() {
            assert!(self.json().is_object(), "{path}");
        }
    }
}

/// The request that a raw one is, when the listener would let it through.
fn parsed(raw: &[u8]) -> Option<Request<Body>> {
    let mut rest = raw;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let mut words = line().splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let mut request = Request::builder().method(method).uri(Uri::try_from(words.next()?).ok()?);
    loop {
        let header = line();
        if header.is_empty() {
            break;
        }
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&header[..colon]);
        let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii());
        // The length is that of the body, or the listener would not have passed it on.
        if let (Ok(name), Ok(value)) = (name, value)
            && name != CONTENT_LENGTH
        {
            request = request.header(name, value);
        }
    }
    if !rest.is_empty() {
        request = request.header(CONTENT_LENGTH, rest.len());
    }
    request.body(Body::from(rest.to_vec())).ok()
}

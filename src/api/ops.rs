//! What operators and their tools ask of the process: is it alive, is it ready, what has it counted.
//!
//! Needs no token. Names of namespaces, and numbers of a single one, are shown to operators only.
//! Never: a route that changes anything.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::ApiError;
use super::reply::{self, Wants};
use crate::auth::{AuthError, bearer_token};
use crate::telemetry::{Dialect, Exposition, Health, Panel, Verdict};

/// What these handlers work with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ops {
    inner: Arc<Inner>,
    detail: Detail,
}

#[derive(Debug)]
struct Inner {
    health: Arc<Health>,
    metrics: Exposition,
    detailed: Exposition,
    cluster: OnceLock<Arc<dyn Panel>>,
}

/// Who is shown metrics with names of namespaces, and the cluster.
#[derive(Clone)]
pub enum Detail {
    /// Everybody: there is no authentication, or this is the operators' own port.
    Everybody,
    /// Nobody.
    Nobody,
    /// Who has this token; only its SHA-256 is kept.
    Token([u8; 32]),
}

const DESCRIPTION: &[u8] = include_bytes!("../../swagger/registry.json");

/// `GET /`: the process answers.
pub async fn root() -> Response {
    reply::empty(StatusCode::OK)
}

/// `GET /uptime`
pub async fn uptime(State(ops): State<Ops>, wants: Wants) -> Response {
    verdict(&ops.inner.health.uptime(), &wants)
}

/// `GET /health/live`
pub async fn live(State(ops): State<Ops>, wants: Wants) -> Response {
    verdict(&ops.inner.health.live(), &wants)
}

/// `GET /health/ready`
pub async fn ready(State(ops): State<Ops>, wants: Wants) -> Response {
    verdict(&ops.inner.health.ready(), &wants)
}

/// `GET /metrics`, in the form that the scraper accepts.
pub async fn metrics(State(ops): State<Ops>, headers: HeaderMap, wants: Wants) -> Response {
    let dialect = Dialect::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let Ok(text) = ops.exposed(dialect, &headers) else {
        tracing::error!("metrics could not be written");
        return reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = reply::whole(StatusCode::OK, text.into(), wants.encoding);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(dialect.content_type()));
    response
}

/// `GET /cluster`, for operators.
pub async fn cluster(State(ops): State<Ops>, headers: HeaderMap, wants: Wants) -> Result<Response, ApiError> {
    let Some(cluster) = ops.inner.cluster.get() else { return Err(ApiError::NoSuchPath) };
    if !ops.detail.is_shown_to(&headers) {
        return Err(ApiError::Auth(AuthError::MissingCredentials));
    }
    Ok(reply::whole(StatusCode::OK, cluster.shown().to_string().into(), wants.encoding))
}

/// `GET /swagger`
pub async fn swagger(wants: Wants) -> Response {
    reply::whole(StatusCode::OK, Bytes::from_static(DESCRIPTION), wants.encoding)
}

fn verdict(verdict: &Verdict, wants: &Wants) -> Response {
    let Verdict { passed, body } = verdict;
    let status = if *passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::whole(status, body.to_string().into(), wants.encoding)
}

// === impl Ops ===

impl Ops {
    /// Health and metrics of the process. `detailed` are the metrics that name namespaces.
    #[must_use]
    pub fn new(health: Arc<Health>, metrics: Exposition, detailed: Exposition, detail: Detail) -> Self {
        Self { inner: Arc::new(Inner { health, metrics, detailed, cluster: OnceLock::new() }), detail }
    }

    /// Has this shown as the cluster from now on; once.
    pub fn show_cluster(&self, cluster: Arc<dyn Panel>) {
        let is_first = self.inner.cluster.set(cluster).is_ok();
        debug_assert!(is_first, "a registry is in one cluster");
    }

    /// The same for a port that only operators reach.
    #[must_use]
    pub fn for_operators(self) -> Self {
        Self { detail: Detail::Everybody, ..self }
    }

    fn exposed(&self, dialect: Dialect, headers: &HeaderMap) -> Result<String, fmt::Error> {
        let mut text = self.inner.metrics.encode(dialect)?;
        if self.detail.is_shown_to(headers) {
            // Both texts are whole; only the last end mark counts.
            text.truncate(text.trim_end_matches("# EOF\n").len());
            text += &self.inner.detailed.encode(dialect)?;
        }
        Ok(text)
    }
}

// === impl Detail ===

impl Detail {
    /// Details for those who have this token. An empty one is nobody's.
    #[must_use]
    pub fn for_token(token: &str) -> Self {
        if token.is_empty() { Self::Nobody } else { Self::Token(sha256(token)) }
    }

    fn is_shown_to(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Everybody => true,
            Self::Nobody => false,
            Self::Token(wanted) => {
                let headers = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
                let token = bearer_token(headers).ok().flatten();
                token.is_some_and(|token| verify_slices_are_equal(&sha256(token), wanted).is_ok())
            }
        }
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everybody => "Everybody",
            Self::Nobody => "Nobody",
            Self::Token(_) => "Token(***)",
        })
    }
}

/// Digests have one length, so comparing them tells nothing of the token's.
fn sha256(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

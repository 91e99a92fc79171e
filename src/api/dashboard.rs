//! Pages for people (spec eureka section 6): what there is in a namespace, how its expiry stands, and who
//! came and went lately.
//!
//! Made here and now from the namespace's directory, of bounded length, complete in themselves: they load
//! nothing and run nothing. Whatever a client sent is text in them.
//! Never: a page that changes anything, or one that shows anything of a namespace without its token.

mod events;
mod filter;
mod frame;
mod html;
mod instances;
mod lengths;
mod overview;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::reply::{self, Wants};
use super::tenant::{Credentials, TurnedAway};
use super::{Api, ApiError, ops, origin, query};
use crate::directory::Directory;
use crate::model::{Namespace, Timestamp};
use crate::registry::Replica;

pub use events::last_n;
pub use filter::Filter;
pub use frame::welcome;
pub use overview::page;

/// What a page is made from.
#[derive(Debug, Clone)]
pub struct View {
    /// Whose page it is.
    pub namespace: Namespace,
    /// What there is in it.
    pub directory: Arc<Directory>,
    /// What of it is to be shown.
    pub filter: Filter,
    /// The time of day.
    pub now: Timestamp,
    /// How long this process has been up.
    pub uptime: Duration,
    /// The servers that are told what clients write here.
    pub replicas: Vec<Replica>,
    /// Where clients reach this server, such as `http://host:8080`.
    pub base: String,
    /// What a client needs.
    pub access: Access,
}

/// What a client needs to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// A token.
    ByToken,
}

const STYLE: &str = include_str!("dashboard/style.css");

/// What an instance is taken to add to a page, in bytes.
const ABOUT: usize = 256;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const BY_ACCEPT: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");

/// `GET /`: for browsers the page of the only namespace, or the way to one's own; for everybody else, that
/// the process answers.
///
/// # Errors
/// When the request has to come by https or is not whole, or too many long answers are being sent.
pub async fn root(State(api): State<Api>, request: Request) -> Result<Response, TurnedAway> {
    let (request, _) = request.into_parts();
    let mut response = if !is_browser(&request.headers) {
        ops::root().await
    } else if api.access() == Access::ByToken {
        sent(welcome(), &request)
    } else {
        let namespace = api.admit_with(&request, Credentials::BearerOrBasic)?;
        overview(&api, &request, &namespace).await?
    };
    response.headers_mut().insert(VARY, BY_ACCEPT);
    Ok(response)
}

/// The page about everything in a namespace, for who was let in.
///
/// # Errors
/// When too many long answers are being sent.
pub(super) async fn overview(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
) -> Result<Response, ApiError> {
    let view = api.view(request, namespace);
    let permit = api.permit(view.directory.len().saturating_mul(ABOUT))?;
    // One look at each instance, away from the threads that answer heartbeats.
    let page = tokio::task::spawn_blocking(move || page(&view)).await;
    drop(permit);
    Ok(page.map_or_else(|_| reply::empty(StatusCode::INTERNAL_SERVER_ERROR), |page| sent(page, request)))
}

/// The page about who came and went, for who was let in.
pub(super) fn events(api: &Api, request: &Parts, namespace: &Namespace) -> Response {
    sent(last_n(&api.view(request, namespace)), request)
}

/// Whether a page is what the client asks for by name; `*/*` is not.
fn is_browser(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_page = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        is_page && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn sent(page: Bytes, request: &Parts) -> Response {
    let mut response = reply::whole(StatusCode::OK, page, Wants::of(request).encoding);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HTML);
    headers.insert(CONTENT_SECURITY_POLICY, policy());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The one style sheet and the filter's form; nothing else, whatever stood in the page.
fn policy() -> HeaderValue {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// `http://host:port` as the client knows it; a host that is no name or address stands for this machine.
fn base(request: &Parts, is_secure: bool) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".:-_[]".contains(&b);
    let host = origin::host(request).filter(|host| host.bytes().all(is_plain)).unwrap_or("localhost");
    format!("{}://{host}", if is_secure { "https" } else { "http" })
}

// === impl Api ===

impl Api {
    fn access(&self) -> Access {
        if self.tenancy().is_open { Access::Open } else { Access::ByToken }
    }

    fn view(&self, request: &Parts, namespace: &Namespace) -> View {
        View {
            namespace: namespace.clone(),
            directory: self.registry().directory(namespace),
            filter: Filter::new(&query::first(request.uri.query(), "q").unwrap_or_default()),
            now: Timestamp::of_system(),
            uptime: self.uptime(),
            replicas: self.replicas(),
            base: base(request, self.tenancy().proxies().is_secure(request)),
            access: self.access(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Who may ask, and as whom: the host, then the https rule, then the token, then the namespace.
//!
//! Runs on routed handlers only, before a body is read; never on the text of a path.
//! Never: shows a token.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::{Api, ApiError, Proxies, middleware, origin, reply};
use crate::auth::{Authenticator, bearer_or_basic, bearer_token};
use crate::model::Namespace;
use crate::registry::Standing;

/// How requests find their namespace.
#[derive(Debug)]
pub struct Tenancy {
    /// From a token to a namespace.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether everybody lives in one namespace, so that nobody needs a token.
    pub is_open: bool,
    /// Whether requests that did not come by https are sent there.
    pub require_https: bool,
    /// Whose word about https is taken.
    pub proxies: Proxies,
}

/// The namespace of a request that may be answered.
#[derive(Debug)]
pub struct Tenant(pub Namespace);

/// Where a request has its token.
#[derive(Debug, Clone, Copy)]
pub enum Credentials<'a> {
    /// In an `Authorization` header with Bearer.
    Bearer,
    /// There, or else in this segment of its path, which may be empty.
    BearerOr(&'a str),
    /// In an `Authorization` header with Bearer, or as Basic's password. Not looked at when nobody needs a token:
    /// clients that know nothing of namespaces send what another server wanted.
    BearerOrBasic,
}

/// Why a request is not let in.
#[derive(Debug)]
pub enum TurnedAway {
    /// It has to come again by https.
    ToHttps {
        /// 301, or 308 where a client would make another method of it.
        status: StatusCode,
        /// The same host, path and query.
        location: HeaderValue,
    },
    /// It is wrong.
    Refused(ApiError),
}

// === impl Tenancy ===

impl Tenancy {
    /// Whose word about https is taken.
    #[must_use]
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    fn admit(&self, request: &Parts, credentials: Credentials<'_>) -> Result<Namespace, TurnedAway> {
        origin::check_host(request).map_err(|got| ApiError::NoHost { got })?;
        if self.require_https && !self.proxies.is_secure(request) {
            return Err(to_https(request));
        }
        let headers = request.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let token = match credentials {
            Credentials::Bearer => bearer_token(headers).map_err(ApiError::Malformed)?.map(Cow::Borrowed),
            Credentials::BearerOr(token) => {
                let token = bearer_token(headers).map_err(ApiError::Malformed)?.unwrap_or(token);
                Some(Cow::Borrowed(token)).filter(|token| !token.is_empty())
            }
            Credentials::BearerOrBasic if self.is_open => None,
            Credentials::BearerOrBasic => bearer_or_basic(headers).map_err(ApiError::Malformed)?,
        };
        Ok(self.authenticator.authenticate(token.as_deref()).map_err(ApiError::Auth)?)
    }
}

/// The redirect shows the path as it was sent (spec amalgam8 section 14, 12).
fn to_https(request: &Parts) -> TurnedAway {
    let no_host = TurnedAway::Refused(ApiError::NoHost { got: "nothing" });
    let Some(host) = origin::host(request) else { return no_host };
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let status = match request.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    match HeaderValue::try_from(format!("https://{host}{path}")) {
        Ok(location) => TurnedAway::ToHttps { status, location },
        Err(_) => no_host,
    }
}

/// Whether a method only reads.
pub(super) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

// === impl Tenant ===

impl Api {
    /// The namespace of a request, when it may be answered.
    ///
    /// # Errors
    /// When it has to come by https, or its token is not accepted, or there is nothing to read yet.
    pub(super) fn admit(&self, request: &Parts) -> Result<Namespace, TurnedAway> {
        self.admit_with(request, Credentials::Bearer)
    }

    /// The same for a request that may have its token elsewhere.
    ///
    /// # Errors
    /// As [`Api::admit`].
    pub(super) fn admit_with(
        &self,
        request: &Parts,
        credentials: Credentials<'_>,
    ) -> Result<Namespace, TurnedAway> {
        let namespace = self.tenancy().admit(request, credentials)?;
        middleware::note(request, &namespace);
        match self.registry().standing() {
            // What is not known must not look like nothing; a write is the store's to refuse.
            Standing::Unread if reads(&request.method) => Err(ApiError::StoreUnread.into()),
            Standing::Unread | Standing::Current | Standing::Stale { .. } => Ok(namespace),
        }
    }
}

impl FromRequestParts<Api> for Tenant {
    type Rejection = TurnedAway;

    async fn from_request_parts(request: &mut Parts, api: &Api) -> Result<Self, TurnedAway> {
        api.admit(request).map(Self)
    }
}

// === impl TurnedAway ===

impl From<ApiError> for TurnedAway {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(error) => error.into_response(),
            Self::ToHttps { status, location } => {
                let mut response = reply::empty(status);
                response.headers_mut().insert(LOCATION, location);
                response
            }
        }
    }
}

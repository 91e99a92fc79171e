//! Who may ask, and as whom: the host, then the https rule, then the token, then the namespace.
//!
//! Runs on routed handlers only, before a body is read; never on the text of a path.
//! Never: shows a token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::{Api, ApiError, Proxies, middleware, origin, reply};
use crate::auth::{Authenticator, bearer_token};
use crate::model::Namespace;
use crate::registry::Standing;

/// How requests find their namespace.
#[derive(Debug)]
pub struct Tenancy {
    /// From a token to a namespace.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether requests that did not come by https are sent there.
    pub require_https: bool,
    /// Whose word about https is taken.
    pub proxies: Proxies,
}

/// The namespace of a request that may be answered.
#[derive(Debug)]
pub struct Tenant(pub Namespace);

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

    fn admit(&self, request: &Parts) -> Result<Namespace, TurnedAway> {
        origin::check_host(request).map_err(|got| ApiError::NoHost { got })?;
        if self.require_https && !self.proxies.is_secure(request) {
            return Err(to_https(request));
        }
        let headers = request.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let token = bearer_token(headers).map_err(ApiError::Malformed)?;
        Ok(self.authenticator.authenticate(token).map_err(ApiError::Auth)?)
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
        let namespace = self.tenancy().admit(request)?;
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

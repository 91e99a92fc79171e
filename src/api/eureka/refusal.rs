//! How refusals are told: below `/api/` as by the other API, elsewhere as by Netflix' server, and by a status alone
//! where a body would keep a client from registering again.
//!
//! Never: another status than the one table of errors has.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::negotiation::Media;
use super::path::Root;
use crate::api::error::{ApiError, RETRY_SOON, status_of};
use crate::api::reply;
use crate::api::tenant::TurnedAway;
use crate::registry::StoreError;

/// Why a request was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It was not let in.
    Away(TurnedAway),
    /// A status says it all, on every root.
    Silent(StatusCode),
    /// An error as everywhere below `/api/`, and its status alone elsewhere.
    Told(ApiError),
    /// A body that cannot be read.
    Unreadable {
        /// The error as below `/api/`.
        why: ApiError,
        /// The language of the body, and of what is said about it.
        media: Media,
    },
    /// A registration that breaks a rule.
    Broken {
        /// The error as below `/api/`.
        why: ApiError,
        /// What is said elsewhere.
        text: String,
        /// What it is labelled as, although it is neither.
        label: Media,
    },
}

const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"a8registry\"");

// === impl Refusal ===

impl Refusal {
    /// What the store did not do, by a status alone.
    pub(super) fn of_store(why: &StoreError) -> Self {
        Self::Silent(match why {
            StoreError::NoSuchInstance | StoreError::ReadOnly { .. } => StatusCode::NOT_FOUND,
            StoreError::NamespaceFull { .. }
            | StoreError::TooManyNamespaces { .. }
            | StoreError::Invalid(_)
            | StoreError::Unavailable => status_of(why),
        })
    }

    /// The status of an error alone.
    pub(super) fn silent(why: &ApiError) -> Self {
        Self::Silent(why.status())
    }

    pub(super) fn into_response(self, root: Root<'_>) -> Response {
        match (self, root) {
            (Self::Silent(status), _) => {
                let mut response = reply::empty(status);
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    response.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
                }
                response
            }
            (Self::Away(TurnedAway::Refused(why)), Root::Netflix) => quiet(why),
            (Self::Away(away), _) => away.into_response(),
            (
                Self::Told(why) | Self::Unreadable { why, .. } | Self::Broken { why, .. },
                Root::Amalgam8 { .. },
            ) => why.into_response(),
            (Self::Told(why), Root::Netflix) => quiet(why),
            (Self::Unreadable { why: _, media: Media::Json }, Root::Netflix) => {
                labelled(r#"{"error": "cannot parse request body"}"#.into(), Media::Json)
            }
            (Self::Unreadable { why: _, media: Media::Xml }, Root::Netflix) => {
                labelled("<error><message>cannot parse request body</message></error>".into(), Media::Xml)
            }
            (Self::Broken { why: _, text, label }, Root::Netflix) => labelled(text.into(), label),
        }
    }
}

impl From<TurnedAway> for Refusal {
    fn from(away: TurnedAway) -> Self {
        Self::Away(away)
    }
}

impl From<ApiError> for Refusal {
    fn from(why: ApiError) -> Self {
        Self::Told(why)
    }
}

/// The head of an error without its body; a client without a token is asked for a user and a password.
fn quiet(why: ApiError) -> Response {
    let (mut head, _) = why.into_response().into_parts();
    if let Some(challenge) = head.headers.get_mut(WWW_AUTHENTICATE) {
        *challenge = BASIC;
    }
    Response::from_parts(head, Body::empty())
}

fn labelled(text: Bytes, label: Media) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, label.content_type());
    response
}

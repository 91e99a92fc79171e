//! Everything that can go wrong in a request, and the one table from there to a status and a text.
//!
//! `Error` is the original's text (spec amalgam8 section 3); what was wrong, what came and what was
//! wanted stand beside it.
//! Never: a token, a body or an unbounded piece of a request in an answer.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode, Uri};

use super::path::BadSegment;
use super::query::BadSelection;
use crate::auth::{AuthError, Malformed};
use crate::model::Invalid;
use crate::registry::StoreError;
use crate::wire::amalgam8::ErrorBody;
use crate::wire::eureka::registration::Refused;
use crate::wire::lenient::Unreadable;

/// What a write was about; decides the text of an error that the store or the body causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// `POST /api/v1/instances`
    Register,
    /// A renewal, one or many.
    Renew,
    /// A change of status.
    SetStatus,
    /// `DELETE /api/v1/instances/{id}`
    Deregister,
    /// What another server's clients wrote.
    Replicate,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// The body is not JSON, or a value in it has the wrong type.
    Unreadable(Doing, Unreadable),
    /// A value breaks a rule of the model.
    Invalid(Invalid),
    /// A list was asked for that cannot be meant.
    Selection(BadSelection),
    /// A segment of the path that cannot be decoded.
    Segment(BadSegment),
    /// A segment of the path is empty that must not be.
    IdMissing,
    /// The same, where an application is named.
    ApplicationMissing,
    /// A registration by the Eureka API breaks a rule.
    Refused(Refused),
    /// A batch of another server has no list.
    ListMissing,
    /// No application with this name has an instance.
    NoSuchApplication,
    /// A body in a coding that is not known here.
    Coding {
        /// The coding that came, shortened.
        got: Box<str>,
    },
    /// A change of status without a status.
    StatusMissing,
    /// More ids than one request may renew.
    TooManyIds {
        /// Ids that came.
        got: usize,
        /// Ids that are allowed.
        max: usize,
    },
    /// The `Authorization` header holds no token that can be read.
    Malformed(Malformed),
    /// The token, or the lack of one, was not accepted.
    Auth(AuthError),
    /// The request has to name one host, and does not.
    NoHost {
        /// What it has instead, in a word.
        got: &'static str,
    },
    /// The store did not do it.
    Store(Doing, StoreError),
    /// No service with this name has an instance.
    NoSuchService,
    /// No living instance with this id, asked for by a read.
    NoSuchInstance,
    /// No such path.
    NoSuchPath,
    /// The path is known, the method is not.
    NoSuchMethod {
        /// The methods that are.
        allow: &'static str,
    },
    /// A body of another type than JSON in UTF-8.
    MediaType {
        /// The type that came, shortened.
        got: Box<str>,
    },
    /// A body beyond its limit.
    BodyTooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// A body that did not come in time.
    BodyTooSlow {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection failed, or broke its own rules, within the body.
    BodyBroken,
    /// Too many long lists are being sent.
    Busy,
    /// Nothing can be read yet, because the store was never reached.
    StoreUnread,
}

/// One row of the table.
struct Answer {
    status: StatusCode,
    error: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    got: Option<Cow<'static, str>>,
    wanted: Option<Cow<'static, str>>,
    reason: Option<Cow<'static, str>>,
    catalog: Option<&'static str>,
}

/// How long a client should wait that was turned away for others' sake.
pub(super) const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

/// Answers every path that is not there; `OPTIONS *` asks for the server as a whole.
pub async fn nowhere(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::OK.into_response();
    }
    ApiError::NoSuchPath.into_response()
}

// === impl Doing ===

impl Doing {
    /// The original's text for "it was not done".
    #[must_use]
    pub fn failed(self) -> &'static str {
        match self {
            Self::Register => "Failed to register instance",
            Self::Renew => "Failed to renew instance registration",
            Self::SetStatus => "Failed to set instance status",
            Self::Deregister => "Failed to deregister instance",
            Self::Replicate => "Failed to replicate instances",
        }
    }
}

// === impl ApiError ===

impl ApiError {
    /// The status that the request is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer().status
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Unreadable(doing, why) => unreadable(*doing, why),
            Self::Invalid(why) => Answer::new(StatusCode::BAD_REQUEST, text_of(why))
                .field(why.field())
                .got(why.got())
                .wanted(why.wanted()),
            Self::Selection(why) => selection(why),
            Self::Segment(BadSegment { name, got, why }) => {
                Answer::new(StatusCode::BAD_REQUEST, "Malformed path")
                    .field(*name)
                    .got(got.to_string())
                    .wanted(*why)
            }
            Self::IdMissing => Answer::new(StatusCode::BAD_REQUEST, "Missing instance identifier")
                .field("id")
                .got("nothing")
                .wanted("the id of an instance"),
            Self::ApplicationMissing => {
                Answer::new(StatusCode::BAD_REQUEST, "Missing application identifier")
                    .field("app")
                    .got("nothing")
                    .wanted("the name of an application")
            }
            Self::Refused(why) => refused_registration(why),
            Self::ListMissing => Answer::new(StatusCode::BAD_REQUEST, Doing::Replicate.failed())
                .field("replicationList")
                .got("nothing")
                .wanted("a list"),
            Self::NoSuchApplication => Answer::new(StatusCode::NOT_FOUND, "Failed to look-up application"),
            Self::Coding { got } => {
                Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Bad Content-Encoding, expected 'gzip'")
                    .field("Content-Encoding")
                    .got(got.to_string())
                    .wanted("gzip, or none")
            }
            Self::StatusMissing => Answer::new(StatusCode::BAD_REQUEST, "No status value set")
                .field("status")
                .got("nothing")
                .wanted("one of UP, STARTING, OUT_OF_SERVICE, in the body or as the parameter value"),
            Self::TooManyIds { got, max } => {
                Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "Too many instances in one request")
                    .field("ids")
                    .got(format!("{got} ids"))
                    .wanted(format!("at most {max} ids"))
            }
            Self::Malformed(why) => Answer::new(
                StatusCode::UNAUTHORIZED,
                "Malformed request Authorization header, expecting Bearer Token",
            )
            .field("Authorization")
            .reason(why.to_string()),
            Self::Auth(why) => refused(why),
            Self::NoHost { got } => Answer::new(StatusCode::BAD_REQUEST, "Missing Host header")
                .field("Host")
                .got(*got)
                .wanted("the name under which this registry is reached"),
            Self::Store(doing, why @ StoreError::ReadOnly { catalog }) => {
                Answer::new(status_of(why), doing.failed()).reason(why.to_string()).catalog(catalog.as_str())
            }
            Self::Store(doing, why) => Answer::new(status_of(why), doing.failed()).reason(why.to_string()),
            Self::NoSuchService => Answer::new(StatusCode::NOT_FOUND, "Service name not found"),
            Self::NoSuchInstance => Answer::new(StatusCode::NOT_FOUND, "Instance not found"),
            Self::NoSuchPath => Answer::new(StatusCode::NOT_FOUND, "Resource not found"),
            Self::NoSuchMethod { allow } => {
                Answer::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").wanted(*allow)
            }
            Self::MediaType { got } => Answer::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Bad Content-Type or charset, expected 'application/json'",
            )
            .field("Content-Type")
            .got(got.to_string())
            .wanted("application/json, in UTF-8"),
            Self::BodyTooLarge { max } => {
                Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large")
                    .field("body")
                    .wanted(format!("at most {max} bytes"))
            }
            Self::BodyTooSlow { limit } => {
                Answer::new(StatusCode::REQUEST_TIMEOUT, "Request body did not come in time")
                    .field("body")
                    .wanted(format!("all of it within {} seconds", limit.as_secs_f64()))
            }
            Self::BodyBroken => {
                Answer::new(StatusCode::BAD_REQUEST, "Request body could not be read").field("body")
            }
            Self::Busy => Answer::new(StatusCode::SERVICE_UNAVAILABLE, "Too many lists are being sent"),
            Self::StoreUnread => {
                Answer::new(StatusCode::SERVICE_UNAVAILABLE, "The store was not reached yet")
                    .reason("nothing is known of what is registered")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = self.answer();
        let mut response = Response::new(Body::from(answer.body()));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        match self {
            Self::Malformed(_) | Self::Auth(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::NoSuchMethod { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::Busy | Self::StoreUnread | Self::Store(_, StoreError::Unavailable) => {
                headers.insert(RETRY_AFTER, RETRY_SOON);
            }
            Self::Unreadable(..)
            | Self::Invalid(_)
            | Self::Selection(_)
            | Self::Segment(_)
            | Self::IdMissing
            | Self::ApplicationMissing
            | Self::Refused(_)
            | Self::ListMissing
            | Self::NoSuchApplication
            | Self::Coding { .. }
            | Self::StatusMissing
            | Self::TooManyIds { .. }
            | Self::NoHost { .. }
            | Self::Store(..)
            | Self::NoSuchService
            | Self::NoSuchInstance
            | Self::NoSuchPath
            | Self::MediaType { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow { .. }
            | Self::BodyBroken => {}
        }
        response
    }
}

impl From<Invalid> for ApiError {
    fn from(why: Invalid) -> Self {
        Self::Invalid(why)
    }
}

impl From<BadSelection> for ApiError {
    fn from(why: BadSelection) -> Self {
        Self::Selection(why)
    }
}

impl From<BadSegment> for ApiError {
    fn from(why: BadSegment) -> Self {
        Self::Segment(why)
    }
}

/// What a client is told of the store; each id of a batch is told the same.
#[must_use]
pub fn status_of(why: &StoreError) -> StatusCode {
    match why {
        StoreError::NoSuchInstance | StoreError::ReadOnly { .. } => StatusCode::GONE,
        StoreError::NamespaceFull { .. } | StoreError::TooManyNamespaces { .. } => StatusCode::FORBIDDEN,
        StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
        StoreError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn unreadable(doing: Doing, why: &Unreadable) -> Answer {
    let answer = Answer::new(StatusCode::BAD_REQUEST, doing.failed());
    match why {
        Unreadable::NotUtf8 { valid } => {
            answer.field("body").got(format!("other bytes after byte {valid}")).wanted("JSON in UTF-8")
        }
        Unreadable::NotJson { why } => answer.field("body").got(why.to_string()).wanted("one JSON document"),
        Unreadable::NotXml { why } => answer.field("body").got(why.to_string()).wanted("one XML document"),
        Unreadable::WrongType { field, got, wanted } => {
            answer.field(*field).got(got.to_string()).wanted(*wanted)
        }
    }
}

/// The original's texts for broken rules; where it showed a bare message id, the text it had for that.
fn text_of(why: &Invalid) -> Cow<'static, str> {
    match why {
        Invalid::ServiceNameMissing => "Service name is required".into(),
        Invalid::ServiceNameTooLong { max, .. } => too_long("service name", *max),
        Invalid::EndpointMissing => "Instance endpoint is required".into(),
        Invalid::EndpointIncomplete { .. } => "Endpoint type or value are missing".into(),
        Invalid::EndpointTypeUnknown { .. } => "Endpoint type is invalid".into(),
        Invalid::EndpointValueTooLong { max, .. } => too_long("endpoint", *max),
        Invalid::StatusUnknown { .. } => "Valid statuses are: UP, STARTING, OUT_OF_SERVICE".into(),
        Invalid::MetadataTooLong { max, .. } => too_long("metadata", *max),
        Invalid::MetadataUnreadable { .. } => "Instance metadata is not valid JSON".into(),
        Invalid::NamespaceMissing | Invalid::NamespaceTooLong { .. } => {
            "Unable to resolve Discovery namespace".into()
        }
    }
}

fn too_long(what: &str, max: usize) -> Cow<'static, str> {
    format!("Failed to register the instance because {what} value exceeded {max} bytes").into()
}

/// The original's texts (spec amalgam8 section 7); what it did not say is a registration that failed.
fn refused_registration(why: &Refused) -> Answer {
    let answer = |text: Cow<'static, str>| Answer::new(StatusCode::BAD_REQUEST, text);
    match why {
        Refused::Invalid(why) => answer(text_of(why)).field(why.field()).got(why.got()).wanted(why.wanted()),
        Refused::MissingFields | Refused::NameMismatch => answer(why.to_string().into()),
        Refused::StatusTooLong { got, max } => answer(too_long("status", *max))
            .field("instance.status")
            .got(format!("{got} bytes"))
            .wanted(format!("at most {max} bytes")),
        Refused::MissingInstanceId
        | Refused::MissingHostname
        | Refused::MissingIpAddress
        | Refused::MissingAppName
        | Refused::MismatchedAppName { .. }
        | Refused::MissingDataCenterInfo
        | Refused::MissingDataCenterName
        | Refused::UnknownDataCenter { .. } => {
            answer(Doing::Register.failed().into()).reason(why.to_string())
        }
    }
}

fn selection(why: &BadSelection) -> Answer {
    match why {
        BadSelection::UnknownField { got } => {
            Answer::new(StatusCode::BAD_REQUEST, "Undefined or malformed instance fields in filter")
                .field("fields")
                .got(got.to_string())
                .wanted(BadSelection::FIELDS)
        }
        BadSelection::UnknownParameter { got } => {
            Answer::new(StatusCode::BAD_REQUEST, "Malformed or invalid instance selection criteria")
                .field(got.to_string())
                .wanted(BadSelection::PARAMETERS)
        }
    }
}

fn refused(why: &AuthError) -> Answer {
    let error = match why {
        AuthError::MissingCredentials => "Missing request Authorization header",
        AuthError::Unrecognized | AuthError::Refused { .. } => "Authorization failure, invalid token",
    };
    Answer::new(StatusCode::UNAUTHORIZED, error).field("Authorization").reason(why.to_string())
}

// === impl Answer ===

impl Answer {
    fn new(status: StatusCode, error: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            error: error.into(),
            field: None,
            got: None,
            wanted: None,
            reason: None,
            catalog: None,
        }
    }

    fn field(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    fn got(self, got: impl Into<Cow<'static, str>>) -> Self {
        Self { got: Some(got.into()), ..self }
    }

    fn wanted(self, wanted: impl Into<Cow<'static, str>>) -> Self {
        Self { wanted: Some(wanted.into()), ..self }
    }

    fn reason(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    fn catalog(self, catalog: &'static str) -> Self {
        Self { catalog: Some(catalog), ..self }
    }

    fn body(&self) -> Vec<u8> {
        let Self { status: _, error, field, got, wanted, reason, catalog } = self;
        let body = ErrorBody {
            error,
            field: field.as_deref(),
            got: got.as_deref(),
            wanted: wanted.as_deref(),
            reason: reason.as_deref(),
            catalog: *catalog,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

//! The operations of the Amalgam8 API (spec amalgam8 section 4), and three that it did not have: one
//! instance, many renewals at once, a change of status.
//!
//! Never: decides what is alive, encodes a list, or maps an error to a status.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::body::{self, JsonOnly};
use super::error::{Doing, status_of};
use super::origin::Base;
use super::reply::{self, EntityTag, Wants};
use super::{Api, ApiError, Tenant, path, query};
use crate::directory::{Directory, Encoding, Listing, Selector, Shown};
use crate::model::{Namespace, Origin, Registration, Status, Update};
use crate::registry::StoreError;
use crate::wire::amalgam8::{
    RegisteredBody, RegistrationBody, RenewalResult, RenewalResults, RenewalsBody, StatusBody, StatusSetBody,
};
use crate::wire::encoded::quoted;

/// `POST /api/v1/instances`
pub async fn register(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    base: Base,
    wants: Wants,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read(body, api.limits().body, api.limits().body_deadline).await?;
    let asked = RegistrationBody::from_json(&body).map_err(|e| ApiError::Unreadable(Doing::Register, e))?;
    let asked = Registration::try_from(asked)?;
    let granted = api
        .registry()
        .register(&namespace, asked, Origin::Client)
        .await
        .map_err(|e| ApiError::Store(Doing::Register, e))?;
    let links = base.links(granted.id.as_str());
    let answer = RegisteredBody { id: granted.id.as_str(), ttl: granted.ttl.as_secs(), links: &links };
    let mut response = reply::whole(StatusCode::CREATED, answer.to_json().into(), wants.encoding);
    if let Ok(location) = HeaderValue::try_from(links.this) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `PUT /api/v1/instances/{id}/heartbeat`
pub async fn renew(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path::instance_id(&uri)?;
    api.registry().renew(&namespace, &id).await.map_err(|e| ApiError::Store(Doing::Renew, e))?;
    Ok(reply::empty(StatusCode::OK))
}

/// `PUT /api/v1/heartbeats`
pub async fn renew_many(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    wants: Wants,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read(body, api.limits().batch_body, api.limits().body_deadline).await?;
    let RenewalsBody { ids } =
        RenewalsBody::from_json(&body).map_err(|e| ApiError::Unreadable(Doing::Renew, e))?;
    let max = api.limits().batch_ids;
    if max < ids.len() {
        return Err(ApiError::TooManyIds { got: ids.len(), max });
    }
    let renewed = api.registry().renew_many(&namespace, &ids).await;
    let renewed = renewed.map_err(|e| ApiError::Store(Doing::Renew, e))?;
    let results = ids.iter().zip(renewed).map(|(id, renewed)| result_of(id, renewed)).collect();
    Ok(reply::whole(StatusCode::OK, json(&RenewalResults { results }), wants.encoding))
}

/// `PUT /api/v1/instances/{id}/status`: the status stands in the body, or in the parameter `value`.
pub async fn set_status(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    uri: Uri,
    wants: Wants,
    body: Body,
) -> Result<Response, ApiError> {
    let id = path::instance_id(&uri)?;
    let body = body::read(body, api.limits().body, api.limits().body_deadline).await?;
    let word = if body.is_empty() {
        query::first(uri.query(), "value")
    } else {
        StatusBody::from_json(&body).map_err(|e| ApiError::Unreadable(Doing::SetStatus, e))?.status
    };
    let word = word.filter(|word| !word.is_empty()).ok_or(ApiError::StatusMissing)?;
    let status = Status::from_amalgam8(&word)?;
    let instance = api.registry().update(&namespace, &id, Update::Status(status), Origin::Client).await;
    let instance = instance.map_err(|e| ApiError::Store(Doing::SetStatus, e))?;
    let answer = StatusSetBody { id: instance.id.as_str(), status: instance.status.as_str() };
    Ok(reply::whole(StatusCode::OK, json(&answer), wants.encoding))
}

/// `DELETE /api/v1/instances/{id}`
pub async fn deregister(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path::instance_id(&uri)?;
    api.registry()
        .deregister(&namespace, &id, Origin::Client)
        .await
        .map_err(|e| ApiError::Store(Doing::Deregister, e))?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /api/v1/instances`
pub async fn list(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    uri: Uri,
    wants: Wants,
) -> Result<Response, ApiError> {
    let selector = query::selector(uri.query())?;
    let directory = api.registry().directory(&namespace);
    let tag = EntityTag::of(directory.tag());
    if wants.has(&tag) {
        return Ok(reply::unchanged(tag));
    }
    let listing = directory.select(&selector);
    let permit = api.permit(listing.bytes())?;
    Ok(tag.on(sent(listing, Bytes::from_static(br#"{"instances":["#), &wants, permit)))
}

/// `GET /api/v1/services/{name}`
pub async fn service(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    uri: Uri,
    wants: Wants,
) -> Result<Response, ApiError> {
    let name = path::service_name(&uri)?;
    instances_of(&api, &namespace, &name, &wants)
}

/// The answer about one service.
pub(super) fn instances_of(
    api: &Api,
    namespace: &Namespace,
    name: &str,
    wants: &Wants,
) -> Result<Response, ApiError> {
    let directory = api.registry().directory(namespace);
    let tag = EntityTag::of(directory.tag());
    let listing = of_service(&directory, name);
    if listing.is_empty() {
        return Err(ApiError::NoSuchService);
    }
    if wants.has(&tag) {
        return Ok(reply::unchanged(tag));
    }
    let permit = api.permit(listing.bytes())?;
    let prefix = [br#"{"service_name":"#, &quoted(name)[..], br#","instances":["#].concat();
    Ok(tag.on(sent(listing, prefix.into(), wants, permit)))
}

/// `GET /api/v1/services`
pub async fn services(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    wants: Wants,
) -> Result<Response, ApiError> {
    let directory = api.registry().directory(&namespace);
    let tag = EntityTag::of(directory.tag());
    if wants.has(&tag) {
        return Ok(reply::unchanged(tag));
    }
    let body = [br#"{"services":"#, &directory.service_names()[..], b"}"].concat();
    let permit = api.permit(body.len())?;
    Ok(tag.on(reply::long(body.into(), wants.encoding, permit)))
}

/// `GET /api/v1/instances/{id}`: the instance as in lists, and its links.
pub async fn get(
    State(api): State<Api>,
    Tenant(namespace): Tenant,
    _: JsonOnly,
    base: Base,
    uri: Uri,
    wants: Wants,
) -> Result<Response, ApiError> {
    let id = path::instance_id(&uri)?;
    let directory = api.registry().directory(&namespace);
    let tag = EntityTag::of(directory.tag());
    let instance = directory.get_json(&id).ok_or(ApiError::NoSuchInstance)?;
    if wants.has(&tag) {
        return Ok(reply::unchanged(tag));
    }
    let open = instance.strip_suffix(b"}").unwrap_or(&instance);
    let body = [open, br#","links":"#, &json(&base.links(&id))[..], b"}"].concat();
    Ok(tag.on(reply::whole(StatusCode::OK, body.into(), wants.encoding)))
}

/// Lists longer than this are bounded in number: they outlive the call, at the pace of who reads them.
const LONG: usize = 64 * 1024;

impl Api {
    /// The right to send a list of so many bytes; a short one needs none, so that look-ups go on when long ones are refused.
    pub(super) fn permit(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if bytes <= LONG {
            return Ok(None);
        }
        self.0.full_lists.clone().try_acquire_owned().map(Some).map_err(|_| ApiError::Busy)
    }
}

fn of_service(directory: &Directory, name: &str) -> Listing {
    directory.select(&Selector { service: Some(name.into()), shown: Shown::All, ..Selector::default() })
}

/// An empty list is not worth a coding.
fn sent(listing: Listing, prefix: Bytes, wants: &Wants, permit: Option<OwnedSemaphorePermit>) -> Response {
    let encoding = if listing.is_empty() { Encoding::Identity } else { wants.encoding };
    reply::list(listing.render(prefix, Bytes::from_static(b"]}"), encoding), encoding, permit)
}

/// What a renewal of its own would have been answered.
fn result_of(id: &str, renewed: Result<(), StoreError>) -> RenewalResult<'_> {
    match renewed {
        Ok(()) => RenewalResult { id, status: StatusCode::OK.as_u16(), error: None },
        Err(why) => {
            RenewalResult { id, status: status_of(&why).as_u16(), error: Some(Doing::Renew.failed()) }
        }
    }
}

/// Our own answers hold texts and numbers only, which are always written.
fn json(answer: &impl Serialize) -> Bytes {
    serde_json::to_vec(answer).unwrap_or_default().into()
}

//! Registering, renewing, changing and ending leases (spec eureka sections 1.6 and 1.8 to 1.12).
//!
//! Never: a body in the answer to anything but a registration, save our instance for a peer whose copy is older.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::Either;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::negotiation::{self, Media};
use super::path::{self, Named, Place, Root};
use super::refusal::Refusal;
use super::{Road, admit};
use crate::api::error::Doing;
use crate::api::reply::{self, Wants};
use crate::api::{Api, ApiError, body, query};
use crate::directory::Encoding;
use crate::model::{Instance, Namespace, Origin, Status, Timestamp, Update};
use crate::registry::{Answer, Beat, Beaten, StoreError};
use crate::wire::eureka::Format;
use crate::wire::eureka::registration::{Dialect, Refused, RegistrationBody};

const REPLICATION: HeaderName = HeaderName::from_static("x-netflix-discovery-replication");

/// Who a request comes from, by its own word.
fn origin(headers: &HeaderMap) -> Origin {
    match headers.get(REPLICATION).map(HeaderValue::as_bytes) {
        Some(b"true") => Origin::Peer,
        Some(_) | None => Origin::Client,
    }
}

/// The rules of the root that a request came to.
fn dialect(root: Root<'_>) -> Dialect {
    match root {
        Root::Amalgam8 { .. } => Dialect::Amalgam8,
        Root::Netflix => Dialect::Netflix,
    }
}

/// `POST apps/{app}`
pub(super) async fn register(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    application: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let application = path::application(application)?;
    let label = negotiation::media(place.root, &request.headers);
    let label = label.ok_or(Refusal::Silent(StatusCode::NOT_ACCEPTABLE))?;
    let media = negotiation::sent(place.root, &request.headers)?;
    let limits = api.limits();
    let body = body::read_decoded(&request.headers, body, limits.body, limits.body_deadline).await?;
    let dialect = dialect(place.root);
    let asked = match media {
        Media::Json => RegistrationBody::from_json(&body, dialect),
        Media::Xml => RegistrationBody::from_xml(&body),
    };
    let asked = asked
        .map_err(|why| Refusal::Unreadable { why: ApiError::Unreadable(Doing::Register, why), media })?;
    let asked = asked
        .into_registration(&application, dialect, limits.eureka_metadata)
        .map_err(|why| broken(why, label))?;
    match api.registry().register(namespace, asked, origin(&request.headers)).await {
        Ok(_) => Ok(reply::bodiless(StatusCode::NO_CONTENT)),
        Err(StoreError::Invalid(why)) => Err(broken(Refused::Invalid(why), label)),
        Err(why) => Err(ApiError::Store(Doing::Register, why).into()),
    }
}

fn broken(why: Refused, label: Media) -> Refusal {
    Refusal::Broken { text: why.to_string(), why: ApiError::Refused(why), label }
}

/// `PUT apps/{app}/{id}`: a heartbeat. What the status in its query says does not count (spec eureka section 1.8).
pub(super) fn beat(api: &Api, request: &Parts, place: Place<'_>, named: Named<'_>) -> Road {
    let heard = admit(api, request, place.root).and_then(|namespace| {
        let heard = hear(api, request, &namespace, named)?;
        Ok((namespace, heard))
    });
    match heard {
        Ok((namespace, Either::Left(answer))) => {
            Road::Answered(heard_as(api, request, place, &namespace, answer.into_inner()))
        }
        Ok((namespace, Either::Right(answer))) => {
            let (api, head) = (api.clone(), Head::of(request, place));
            Road::Answering(Box::pin(async move { head.answer(&api, &namespace, answer.await) }))
        }
        Err(refusal) => Road::Answered(refusal.into_response(place.root)),
    }
}

fn hear(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Answer<Result<Beaten, StoreError>>, Refusal> {
    let (application, id) = name(named)?;
    let dirty_at = dirty_at(request)?;
    let origin = origin(&request.headers);
    let overridden = match origin {
        Origin::Client => None,
        Origin::Peer => query::first(request.uri.query(), "overriddenstatus"),
    };
    let overridden = overridden.as_deref().and_then(Status::from_eureka);
    let beat = Beat { application: &application, id: &id, dirty_at, overridden, origin };
    Ok(api.registry().beat(namespace, &beat))
}

fn heard_as(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    heard: Result<Beaten, StoreError>,
) -> Response {
    match heard {
        Ok(Beaten::Renewed) => reply::empty(StatusCode::OK),
        heard => Head::of(request, place).answer(api, namespace, heard),
    }
}

/// What of a heartbeat decides how it is answered.
struct Head {
    format: Format,
    encoding: Encoding,
}

// === impl Head ===

impl Head {
    /// Who reads neither language gets XML: a heartbeat is never refused for what its client reads.
    fn of(request: &Parts, place: Place<'_>) -> Self {
        let format = negotiation::of_instances(place.root, place.version, &request.headers);
        Self { format: format.unwrap_or(Format::Xml), encoding: Wants::coding_of(request) }
    }

    fn answer(&self, api: &Api, namespace: &Namespace, heard: Result<Beaten, StoreError>) -> Response {
        match heard {
            Ok(Beaten::Renewed) => reply::empty(StatusCode::OK),
            Ok(Beaten::MustRegister) => reply::empty(StatusCode::NOT_FOUND),
            Ok(Beaten::PeerIsBehind(ours)) => {
                let document = self.format.instance_document(&ours, renewed(api, namespace, &ours));
                let mut response = reply::whole(StatusCode::CONFLICT, document.into(), self.encoding);
                let label = HeaderValue::from_static(self.format.content_type());
                response.headers_mut().insert(CONTENT_TYPE, label);
                response
            }
            // The same on every root.
            Err(why) => Refusal::of_store(&why).into_response(Root::Netflix),
        }
    }
}

/// When the lease of an instance was last renewed; of one that is gone by now, when it last changed.
pub(super) fn renewed(api: &Api, namespace: &Namespace, instance: &Instance) -> Timestamp {
    let directory = api.registry().directory(namespace);
    let held = directory.find(&instance.application(), instance.id_in_application());
    held.map_or(instance.updated_at, |held| held.renewed)
}

/// `DELETE apps/{app}/{id}`
pub(super) async fn deregister(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Response, Refusal> {
    let (application, id) = name(named)?;
    let id = api.registry().id_of(namespace, &application, &id);
    let gone = api.registry().deregister(namespace, id.as_str(), origin(&request.headers)).await;
    gone.map_err(|why| Refusal::of_store(&why))?;
    Ok(reply::empty(StatusCode::OK))
}

/// `PUT apps/{app}/{id}/status?value=`
pub(super) async fn set_status(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Response, Refusal> {
    let status = value(request)?.ok_or(Refusal::Silent(StatusCode::BAD_REQUEST))?;
    let update = Update::Override { status, dirty_at: dirty_at(request)? };
    change(api, request, namespace, named, update).await
}

/// `DELETE apps/{app}/{id}/status?value=`
pub(super) async fn clear_status(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Response, Refusal> {
    let fallback = value(request)?.unwrap_or(Status::Unknown);
    let update = Update::ClearOverride { fallback, dirty_at: dirty_at(request)? };
    change(api, request, namespace, named, update).await
}

/// `PUT apps/{app}/{id}/metadata?key=value`
pub(super) async fn add_metadata(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Response, Refusal> {
    let entries = query::texts(request.uri.query());
    let entries = entries.map(|(key, value)| (key.into(), value.into())).collect();
    let update = Update::Metadata { entries, max: api.limits().eureka_metadata };
    change(api, request, namespace, named, update).await
}

async fn change(
    api: &Api,
    request: &Parts,
    namespace: &Namespace,
    named: Named<'_>,
    update: Update,
) -> Result<Response, Refusal> {
    let (application, id) = name(named)?;
    let id = api.registry().id_of(namespace, &application, &id);
    let changed = api.registry().update(namespace, id.as_str(), update, origin(&request.headers)).await;
    changed.map_err(|why| Refusal::of_store(&why))?;
    Ok(reply::empty(StatusCode::OK))
}

fn name(named: Named<'_>) -> Result<(Cow<'_, str>, Cow<'_, str>), Refusal> {
    let name = named.application().and_then(|application| Ok((application, named.id()?)));
    name.map_err(|why| Refusal::silent(&why))
}

/// The status that `value` names, in any letter case.
fn value(request: &Parts) -> Result<Option<Status>, Refusal> {
    let Some(word) = query::first(request.uri.query(), "value") else { return Ok(None) };
    let status = Status::from_eureka(&word).ok_or(Refusal::Silent(StatusCode::BAD_REQUEST))?;
    Ok(Some(status))
}

/// The version that the caller has. Java's numbers have a sign; none of ours is below 0.
fn dirty_at(request: &Parts) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = query::first(request.uri.query(), "lastDirtyTimestamp") else { return Ok(None) };
    let millis: i64 = text.parse().map_err(|_| Refusal::Silent(StatusCode::BAD_REQUEST))?;
    Ok(Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))))
}

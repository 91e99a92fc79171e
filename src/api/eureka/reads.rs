//! Lists of applications and single instances (spec eureka sections 1.3 to 1.5, 1.7 and 1.13).
//!
//! Never: encodes an instance of a list, or works for a client that has the newest answer already.

use axum::response::Response;
use http::header::{CONTENT_TYPE, VARY};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::gate;
use super::negotiation;
use super::path::{self, Named, Place};
use super::refusal::Refusal;
use crate::api::reply::{self, EntityTag, Wants};
use crate::api::{Api, ApiError};
use crate::directory::{Directory, Encoding, Held, Wanted};
use crate::model::Namespace;
use crate::wire::eureka::Format;

/// `GET apps`, `apps/delta`, `apps/{app}`, `vips/{vip}` and `svips/{vip}`
pub(super) fn list(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    wanted: Wanted<'_>,
) -> Result<Response, Refusal> {
    gate::pass(api, request, wanted)?;
    let format = negotiation::of_lists(place.root, place.version, &request.headers);
    let format = format.ok_or(Refusal::Silent(StatusCode::NOT_ACCEPTABLE))?;
    let wants = Wants::of(request);
    let directory = api.registry().directory(namespace);
    let tag = EntityTag::of_variant(directory.tag(), format.position());
    let must_exist = match wanted {
        Wanted::Application(_) => true,
        Wanted::All | Wanted::Changes | Wanted::Vip(_) | Wanted::SecureVip(_) => false,
    };
    if !must_exist && wants.has(&tag) {
        return Ok(varying(reply::unchanged(tag)));
    }
    let applications = directory.applications(wanted, format);
    if must_exist && applications.is_empty() {
        return Err(ApiError::NoSuchApplication.into());
    }
    if wants.has(&tag) {
        return Ok(varying(reply::unchanged(tag)));
    }
    let permit = api.permit(applications.bytes())?;
    // An empty list is not worth a coding.
    let encoding = if applications.is_empty() { Encoding::Identity } else { wants.encoding };
    let response = reply::list(applications.render(encoding), encoding, permit);
    Ok(tag.on(written(response, format)))
}

/// `GET apps/{app}/{id}`
pub(super) fn instance(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    named: Named<'_>,
) -> Result<Response, Refusal> {
    let (application, id) = (named.application()?, named.id()?);
    single(api, request, place, namespace, |directory| directory.find(&application, &id))
}

/// `GET instances/{id}`
pub(super) fn any_instance(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    id: &str,
) -> Result<Response, Refusal> {
    let id = path::id(id)?;
    single(api, request, place, namespace, |directory| directory.find_anywhere(&id))
}

fn single(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    find: impl FnOnce(&Directory) -> Option<Held>,
) -> Result<Response, Refusal> {
    let format = negotiation::of_instances(place.root, place.version, &request.headers);
    let format = format.ok_or(Refusal::Silent(StatusCode::NOT_ACCEPTABLE))?;
    let wants = Wants::of(request);
    let directory = api.registry().directory(namespace);
    let tag = EntityTag::of_variant(directory.tag(), format.position());
    let Held { instance, renewed } = find(&directory).ok_or(ApiError::NoSuchInstance)?;
    if wants.has(&tag) {
        return Ok(varying(reply::unchanged(tag)));
    }
    let document = format.instance_document(&instance, renewed);
    let response = reply::whole(StatusCode::OK, document.into(), wants.encoding);
    Ok(tag.on(written(response, format)))
}

/// The answer, labelled with what it is written in.
pub(super) fn written(mut response: Response, format: Format) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    varying(response)
}

fn varying(mut response: Response) -> Response {
    response.headers_mut().insert(VARY, negotiation::VARY);
    response
}

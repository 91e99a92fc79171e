//! What this server says of itself, and all overrides (spec eureka sections 1.14 and 1.15).
//!
//! Never: a number of another namespace than the caller's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::negotiation::{self, Media};
use super::path::Place;
use super::reads::written;
use super::refusal::Refusal;
use crate::api::reply::{self, Wants};
use crate::api::{Api, origin};
use crate::model::{
    Document, Endpoint, EndpointType, EurekaClaim, Instance, Namespace, Port, Registration, Status, Timestamp,
};
use crate::telemetry::Memory;
use crate::wire::eureka::Format;
use crate::wire::eureka::status::StatusDocument;

/// The name of the product, and of the environment and the application that it is.
pub(super) const NAME: &str = "a8registry";

/// Length of a lease where nothing is said of it.
const LEASE: Duration = Duration::from_secs(90);

/// `GET status`
pub(super) fn status(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
) -> Result<Response, Refusal> {
    let format = negotiation::of_instances(place.root, place.version, &request.headers);
    let format = format.ok_or(Refusal::Silent(StatusCode::NOT_ACCEPTABLE))?;
    let own = own_instance(request);
    let document = described(api, namespace, own.as_ref(), |document| match format {
        Format::Json | Format::JsonAmalgam8 | Format::JsonCompact => document.to_json(),
        Format::Xml | Format::XmlVersion1 | Format::XmlCompact => document.to_xml(),
    });
    Ok(written(reply::whole(StatusCode::OK, document.into(), Wants::coding_of(request)), format))
}

/// Hands out what there is to say of this server.
pub(super) fn described<T>(
    api: &Api,
    namespace: &Namespace,
    own: Option<&Instance>,
    tell: impl FnOnce(&StatusDocument<'_>) -> T,
) -> T {
    let replicas = api.replicas();
    let urls = |is_wanted: &dyn Fn(bool) -> bool| -> Vec<&str> {
        replicas.iter().filter(|it| is_wanted(it.is_available)).map(|it| it.url.as_str()).collect()
    };
    let Memory { used, total } = Memory::of_system();
    let preservation = api.registry().directory(namespace).preservation();
    let is_expiring = (!preservation.is_preserving).to_string();
    let (threshold, renewals) = (preservation.threshold.to_string(), preservation.renewals.to_string());
    let is_on = preservation.is_on.to_string();
    tell(&StatusDocument {
        environment: NAME,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_total: total.unwrap_or_default(),
        memory_used: used.unwrap_or_default(),
        uptime: api.uptime(),
        more: &[
            ("lease-expiration-enabled", &is_expiring),
            ("renews-threshold", &threshold),
            ("renews-last-minute", &renewals),
            ("self-preservation", &is_on),
        ],
        peers: &urls(&|_| true),
        available: &urls(&|is_available| is_available),
        unavailable: &urls(&|is_available| !is_available),
        instance: own.map(|own| (own, own.updated_at)),
        is_healthy: None,
    })
}

/// This server as an instance, under the name that the client knows it by.
pub(super) fn own_instance(request: &Parts) -> Option<Instance> {
    let host = origin::host(request)?;
    let (name, port) = match host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
        Some((name, port)) => (name, port),
        None => (host, 80),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string());
    let document = Document {
        port: Port { number: port, is_enabled: true },
        vip_address: Some(NAME.into()),
        status_page_url: Some(format!("http://{host}/eureka/").into()),
        ..Document::of_host(name, &address)
    };
    let now = Timestamp::of_system();
    let registration = Registration {
        service: NAME.parse().ok()?,
        endpoint: Endpoint::new(EndpointType::Tcp, host).ok()?,
        status: Status::Up,
        tags: [].into(),
        metadata: None,
        ttl: None,
        eureka: Some(EurekaClaim { document, dirty_at: Some(now), overridden: None }),
    };
    Some(Instance { up_since: Some(now), ..registration.grant(LEASE, now) })
}

/// `GET serverinfo/statusoverrides`: JSON only.
pub(super) fn overrides(api: &Api, request: &Parts, namespace: &Namespace) -> Result<Response, Refusal> {
    if !negotiation::reads_json(&request.headers) {
        return Err(Refusal::Silent(StatusCode::NOT_ACCEPTABLE));
    }
    let mut overrides = BTreeMap::new();
    api.registry().directory(namespace).for_each(&mut |instance, _| {
        if let Some(status) = instance.overridden {
            overrides.insert(instance.id_in_application().to_owned(), status.as_str());
        }
    });
    let document = serde_json::to_vec(&overrides).unwrap_or_default();
    let permit = api.permit(document.len())?;
    let mut response = reply::long(document.into(), Wants::coding_of(request), permit);
    response.headers_mut().insert(CONTENT_TYPE, Media::Json.content_type());
    Ok(response)
}

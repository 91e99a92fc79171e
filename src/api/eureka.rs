//! The Eureka API (spec eureka section 1): every operation, on every root, over the same registry as the other API.
//!
//! Heartbeats are answered at once, without boxing; everything else by a future of its own. Answers to renewals,
//! changes and deregistrations have no body, whatever happens: with one, Java clients never register again.
//! Never: decides what is alive, encodes an instance, or shows a path as sent; a path can hold a token.

mod batch;
mod gate;
mod leases;
mod negotiation;
mod path;
mod reads;
mod refusal;
mod server;

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use prometheus_client::metrics::counter::Counter;

use super::tenant::Credentials;
use super::{Api, ApiError, Observe, Observer, Route, dashboard, reply};
use crate::directory::Wanted;
use crate::model::Namespace;
pub(super) use gate::Gate;
pub use gate::ListRules;
pub(super) use path::Place;
use path::{Resource, Root};
use refusal::Refusal;

/// The ways through the Eureka API; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Roads {
    api: Api,
    /// By the numbers of the routes.
    observers: Arc<[Observe]>,
    nowhere: Observe,
}

/// An answer that is there, or on its way.
pub(super) enum Road {
    /// It is there.
    Answered(Response),
    /// It is being made.
    Answering(BoxFuture<'static, Response>),
}

/// What the Eureka API counts besides requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct EurekaMetrics {
    /// Items of other servers' batches that were refused for what is in them.
    pub refused_items: Counter,
}

// === impl EurekaMetrics ===

impl EurekaMetrics {
    /// Adds these metrics to what is shown.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        let Self { refused_items } = self.clone();
        registry.register(
            "a8_eureka_refused_items",
            "Items of other servers' batches that were refused for what is in them",
            refused_items,
        );
    }
}

// === impl Roads ===

impl Roads {
    pub(super) fn new(api: Api, observer: &Observer) -> Self {
        let observers = Route::ALL.into_iter().map(|route| observer.layer(route)).collect();
        Self { api, observers, nowhere: observer.layer(Route::Nowhere) }
    }

    /// The layer of the route that a place has.
    pub(super) fn observe(&self, place: Place<'_>) -> &Observe {
        self.observers.get(place.resource.route().number()).unwrap_or(&self.nowhere)
    }

    /// The answer to a request that needs no future of its own: a heartbeat.
    pub(super) fn at_once(&self, request: &Parts, place: Place<'_>) -> Option<Road> {
        if request.method == Method::PUT
            && let Resource::Instance(named) = place.resource
        {
            return Some(leases::beat(&self.api, request, place, named));
        }
        None
    }

    /// Answers any other request whose path leads to a place of the Eureka API.
    pub(super) fn later<B>(&self, request: Parts, body: B) -> Road
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        Road::Answering(Box::pin(answer(self.api.clone(), request, Body::new(body))))
    }
}

async fn answer(api: Api, request: Parts, body: Body) -> Response {
    let Some(place) = Place::of(request.uri.path()) else { return reply::empty(StatusCode::NOT_FOUND) };
    let route = place.resource.route();
    if request.method == Method::OPTIONS && route != Route::Nowhere {
        let mut response = reply::bodiless(StatusCode::NO_CONTENT);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.allow()));
        return response;
    }
    let answered = operate(&api, &request, place, body).await;
    let response = answered.unwrap_or_else(|refusal| refusal.into_response(place.root));
    if request.method == Method::HEAD { headless(response) } else { response }
}

/// One row for each resource and method.
async fn operate(api: &Api, request: &Parts, place: Place<'_>, body: Body) -> Result<Response, Refusal> {
    let is_read = matches!(request.method, Method::GET | Method::HEAD);
    let (is_put, is_post) = (request.method == Method::PUT, request.method == Method::POST);
    let is_delete = request.method == Method::DELETE;
    let admitted = || admit(api, request, place.root);
    match place.resource {
        Resource::Apps if is_read => reads::list(api, request, place, &admitted()?, Wanted::All),
        Resource::Delta if is_read => reads::list(api, request, place, &admitted()?, Wanted::Changes),
        Resource::Application(name) if is_read => {
            let namespace = admitted()?;
            let name = path::application(name)?;
            reads::list(api, request, place, &namespace, Wanted::Application(&name))
        }
        Resource::Application(name) if is_post => {
            leases::register(api, request, place, &admitted()?, name, body).await
        }
        Resource::Instance(named) if is_read => reads::instance(api, request, place, &admitted()?, named),
        Resource::Instance(named) if is_delete => leases::deregister(api, request, &admitted()?, named).await,
        Resource::StatusOf(named) if is_put => leases::set_status(api, request, &admitted()?, named).await,
        Resource::StatusOf(named) if is_delete => {
            leases::clear_status(api, request, &admitted()?, named).await
        }
        Resource::MetadataOf(named) if is_put => {
            leases::add_metadata(api, request, &admitted()?, named).await
        }
        Resource::AnyInstance(id) if is_read => reads::any_instance(api, request, place, &admitted()?, id),
        Resource::Vip(vip) if is_read => {
            let namespace = admitted()?;
            reads::list(api, request, place, &namespace, Wanted::Vip(&path::vip(vip)?))
        }
        Resource::SecureVip(vip) if is_read => {
            let namespace = admitted()?;
            reads::list(api, request, place, &namespace, Wanted::SecureVip(&path::vip(vip)?))
        }
        Resource::ServerStatus if is_read => server::status(api, request, place, &admitted()?),
        Resource::Overrides if is_read => server::overrides(api, request, &admitted()?),
        Resource::Batch if is_post => batch::apply(api, request, place, &admitted()?, body).await,
        // There are no scaling groups here (spec eureka section 1.16).
        Resource::Group if is_put => admitted().and(Err(Refusal::Silent(StatusCode::BAD_REQUEST))),
        Resource::Dashboard if is_read => Ok(dashboard::overview(api, request, &admitted()?).await?),
        Resource::LastN if is_read => Ok(dashboard::events(api, request, &admitted()?)),
        Resource::Nowhere => Err(ApiError::NoSuchPath.into()),
        Resource::Apps
        | Resource::Delta
        | Resource::Application(_)
        | Resource::Instance(_)
        | Resource::StatusOf(_)
        | Resource::MetadataOf(_)
        | Resource::AnyInstance(_)
        | Resource::Vip(_)
        | Resource::SecureVip(_)
        | Resource::ServerStatus
        | Resource::Overrides
        | Resource::Batch
        | Resource::Group
        | Resource::Dashboard
        | Resource::LastN => Err(ApiError::NoSuchMethod { allow: place.resource.route().allow() }.into()),
    }
}

/// The namespace of a request, by the rules of the root that it came to.
fn admit(api: &Api, request: &Parts, root: Root<'_>) -> Result<Namespace, Refusal> {
    let credentials = match root {
        Root::Amalgam8 { token } => Credentials::BearerOr(token),
        Root::Netflix => Credentials::BearerOrBasic,
    };
    Ok(api.admit_with(request, credentials)?)
}

/// The same head without its body.
fn headless(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, Body::empty())
}

//! The way in: renewals and look-ups of a service go by a short road, the Eureka API by its own, everything else by
//! the router.
//!
//! The two are nearly all of the traffic. The short road does what the router's does, by the same parts
//! and in the same order, but without matching paths, boxing and moving requests about. The Eureka API has
//! paths that a router cannot match: several roots, slashes in excess, parameters in segments.
//! Never: a rule of its own; what is plainly neither of the two nor Eureka's is the router's.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use http::header::WARNING;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use pin_project_lite::pin_project;
use tower::Service;

use super::body::JsonOnly;
use super::error::Doing;
use super::eureka::{Place, Road, Roads};
use super::middleware::Observation;
use super::reply::Wants;
use super::tenant::{self, TurnedAway};
use super::{Api, ApiError, Observe, Observer, Ops, Route, amalgam8, path, reply, router};
use crate::registry::{Answer, Standing, StoreError};

/// All that clients are served.
#[derive(Debug, Clone)]
pub struct Entrance {
    api: Api,
    renewals: Observe,
    lookups: Observe,
    eureka: Roads,
    router: Router,
}

/// A request that goes by the short road.
#[derive(Debug, Clone, Copy)]
enum Short<'a> {
    /// `PUT /api/v1/instances/{id}/heartbeat`
    Renewal { id: &'a str },
    /// `GET /api/v1/services/{name}`
    LookUp,
}

pin_project! {
    /// An answer on its way.
    pub struct Entering {
        #[pin]
        state: State,
        // The header of an answer that may be out of date.
        warning: Option<HeaderValue>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State {
        // It is there; none once it was taken.
        Answered { response: Option<Response> },
        // The store is being asked.
        Renewing { answer: BoxFuture<'static, Result<(), StoreError>>, observation: Option<Observation> },
        // The Eureka API makes it.
        Answering { answer: BoxFuture<'static, Response>, observation: Option<Observation> },
        // The router makes it.
        Routed { #[pin] response: RouteFuture<Infallible> },
    }
}

/// What is said of reads while the store cannot be reached (RFC 7234, section 5.5.1).
const STALE: HeaderValue = HeaderValue::from_static("110 - \"Response is Stale\"");

// === impl Entrance ===

impl Entrance {
    /// The way to the routes of [`router`].
    #[must_use]
    pub fn new(api: Api, ops: Ops, observer: &Observer) -> Self {
        let (renewals, lookups) = (observer.layer(Route::Heartbeat), observer.layer(Route::Service));
        let eureka = Roads::new(api.clone(), observer);
        Self { router: router(api.clone(), ops, observer), api, renewals, lookups, eureka }
    }

    /// The header of a tenant's read that may be out of date.
    fn warning(&self) -> Option<HeaderValue> {
        match self.api.registry().standing() {
            Standing::Stale { .. } => Some(STALE),
            Standing::Current | Standing::Unread => None,
        }
    }

    fn look_up(&self, mut request: Parts) -> State {
        let observation = Observation::begin(&self.lookups, &request.method, &mut request.extensions);
        let response = self.instances(&request).unwrap_or_else(IntoResponse::into_response);
        State::Answered { response: Some(observation.end(response)) }
    }

    fn instances(&self, request: &Parts) -> Result<Response, TurnedAway> {
        let namespace = self.api.admit(request)?;
        JsonOnly::check(request)?;
        let name = path::service_name(&request.uri)?;
        Ok(amalgam8::instances_of(&self.api, &namespace, &name, &Wants::of(request))?)
    }

    fn renew(&self, mut request: Parts) -> State {
        let observation = Observation::begin(&self.renewals, &request.method, &mut request.extensions);
        match self.renewal(&request) {
            Ok(Either::Left(answer)) => {
                let response = observation.end(renewed(answer.into_inner()));
                State::Answered { response: Some(response) }
            }
            Ok(Either::Right(answer)) => State::Renewing { answer, observation: Some(observation) },
            Err(refusal) => State::Answered { response: Some(observation.end(refusal.into_response())) },
        }
    }

    fn renewal(&self, request: &Parts) -> Result<Answer<Result<(), StoreError>>, TurnedAway> {
        let namespace = self.api.admit(request)?;
        JsonOnly::check(request)?;
        match Short::of(&request.method, request.uri.path()) {
            Some(Short::Renewal { id }) => Ok(self.api.registry().renew(&namespace, id)),
            Some(Short::LookUp) | None => Err(ApiError::IdMissing.into()),
        }
    }
}

impl<B> Service<Request<B>> for Entrance
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Entering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Entering {
        let is_read = tenant::reads(request.method());
        let (state, is_tenants) = match Short::of(request.method(), request.uri().path()) {
            Some(Short::Renewal { .. }) => (self.renew(request.into_parts().0), true),
            Some(Short::LookUp) => (self.look_up(request.into_parts().0), true),
            None => {
                let (mut head, body) = request.into_parts();
                match Place::of(head.uri.path()) {
                    Some(place) => {
                        let observe = self.eureka.observe(place);
                        let observation = Observation::begin(observe, &head.method, &mut head.extensions);
                        let at_once = self.eureka.at_once(&head, place);
                        let road = at_once.unwrap_or_else(|| self.eureka.later(head, body));
                        (State::on(road, observation), true)
                    }
                    None => {
                        let is_tenants = head.uri.path().starts_with("/api/");
                        let response = self.router.call(Request::from_parts(head, Body::new(body)));
                        (State::Routed { response }, is_tenants)
                    }
                }
            }
        };
        let warning = if is_read && is_tenants { self.warning() } else { None };
        Entering { state, warning }
    }
}

// === impl State ===

impl State {
    fn on(road: Road, observation: Observation) -> State {
        match road {
            Road::Answered(response) => State::Answered { response: Some(observation.end(response)) },
            Road::Answering(answer) => State::Answering { answer, observation: Some(observation) },
        }
    }
}

// === impl Short ===

impl<'a> Short<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/api/v1/")?;
        if method == Method::PUT {
            let id = rest.strip_prefix("instances/")?.strip_suffix("/heartbeat")?;
            return is_plain(id).then_some(Self::Renewal { id });
        }
        let name = rest.strip_prefix("services/")?;
        (method == Method::GET && is_plain(name)).then_some(Self::LookUp)
    }
}

/// Whether a text is one segment of a path that needs no decoding.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && memchr::memchr2(b'/', b'%', segment.as_bytes()).is_none()
}

fn renewed(answer: Result<(), StoreError>) -> Response {
    match answer {
        Ok(()) => reply::empty(StatusCode::OK),
        Err(error) => ApiError::Store(Doing::Renew, error).into_response(),
    }
}

// === impl Entering ===

impl fmt::Debug for Entering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entering").finish_non_exhaustive()
    }
}

impl Future for Entering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let entering = self.project();
        let response = match entering.state.project() {
            StateProjected::Answered { response } => response.take(),
            StateProjected::Renewing { answer, observation } => {
                let answer = ready!(answer.as_mut().poll(cx));
                observation.take().map(|observation| observation.end(renewed(answer)))
            }
            StateProjected::Answering { answer, observation } => {
                let response = ready!(answer.as_mut().poll(cx));
                observation.take().map(|observation| observation.end(response))
            }
            StateProjected::Routed { response } => ready!(response.poll(cx)).ok(),
        };
        // None only for who polls a future after its end.
        let mut response = response.unwrap_or_else(|| reply::empty(StatusCode::INTERNAL_SERVER_ERROR));
        if let Some(warning) = entering.warning.take() {
            response.headers_mut().insert(WARNING, warning);
        }
        Poll::Ready(Ok(response))
    }
}

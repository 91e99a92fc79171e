//! The way in: renewals go by a short road, everything else by the router.
//!
//! Renewals are nearly all of the traffic. The short road does what the router's does, by the same parts
//! and in the same order, but without matching paths, boxing and moving requests about.
//! Never: a rule of its own; what is not plainly a renewal is the router's.

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
use http::request::Parts;
use http::{Method, Request, StatusCode};
use pin_project_lite::pin_project;
use tower::Service;

use super::body::JsonOnly;
use super::error::Doing;
use super::middleware::Observation;
use super::tenant::TurnedAway;
use super::{Api, ApiError, Observe, Observer, Ops, Route, reply, router};
use crate::registry::{Answer, StoreError};

/// All that clients are served.
#[derive(Debug, Clone)]
pub struct Entrance {
    api: Api,
    renewals: Observe,
    router: Router,
}

pin_project! {
    /// An answer on its way.
    pub struct Entering {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State {
        // It is there; none once it was taken.
        Answered { response: Option<Response> },
        // The store is being asked.
        Renewing { answer: BoxFuture<'static, Result<(), StoreError>>, observation: Option<Observation> },
        // The router makes it.
        Routed { #[pin] response: RouteFuture<Infallible> },
    }
}

// === impl Entrance ===

impl Entrance {
    /// The way to the routes of [`router`].
    #[must_use]
    pub fn new(api: Api, ops: Ops, observer: &Observer) -> Self {
        let renewals = observer.layer(Route::Heartbeat);
        Self { router: router(api.clone(), ops, observer), api, renewals }
    }

    fn renew(&self, mut request: Parts) -> State {
        let observation = Observation::begin(&self.renewals, &mut request);
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
        let id = id_of_renewal(&request.method, request.uri.path()).ok_or(ApiError::IdMissing)?;
        Ok(self.api.registry().renew(&namespace, id))
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
        let state = match id_of_renewal(request.method(), request.uri().path()) {
            Some(_) => self.renew(request.into_parts().0),
            None => State::Routed { response: self.router.call(request.map(Body::new)) },
        };
        Entering { state }
    }
}

/// The id in `PUT /api/v1/instances/{id}/heartbeat`, when it needs no decoding.
fn id_of_renewal<'a>(method: &Method, path: &'a str) -> Option<&'a str> {
    let id = path.strip_prefix("/api/v1/instances/")?.strip_suffix("/heartbeat")?;
    let is_plain = !id.is_empty() && memchr::memchr2(b'/', b'%', id.as_bytes()).is_none();
    (is_plain && method == Method::PUT).then_some(id)
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
        let response = match self.project().state.project() {
            StateProjected::Answered { response } => response.take(),
            StateProjected::Renewing { answer, observation } => {
                let answer = ready!(answer.as_mut().poll(cx));
                observation.take().map(|observation| observation.end(renewed(answer)))
            }
            StateProjected::Routed { response } => return response.poll(cx),
        };
        // None only for who polls a future after its end.
        Poll::Ready(Ok(response.unwrap_or_else(|| reply::empty(StatusCode::INTERNAL_SERVER_ERROR))))
    }
}

//! The one layer around every route: what every answer carries, and what is counted and logged of it.
//!
//! Costs one allocation, for the request's id; an access line is only prepared when somebody reads it.
//! Never: decides anything about a request, or shows a path as sent; a path can hold a token.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use http::header::{ALLOW, CONTENT_TYPE, Entry, VARY, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Extensions, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Level;

use super::{ApiError, Route, reply};
use crate::listener::Peer;
use crate::model::Namespace;
use crate::telemetry::RequestMetrics;

/// Makes the layer of each route; one for each process, so that ids do not repeat.
#[derive(Debug, Clone)]
pub struct Observer {
    ids: Arc<RequestIds>,
    metrics: RequestMetrics,
}

/// The layer of one route.
#[derive(Debug, Clone)]
pub struct Observe(Arc<Observed>);

/// The methods of one route, each with its layer.
#[derive(Debug)]
#[must_use]
pub struct Methods<S> {
    methods: MethodRouter<S>,
    observe: Observe,
}

/// A handler with its layer.
#[derive(Debug, Clone)]
pub struct Observing<S> {
    inner: S,
    observed: Arc<Observed>,
}

#[derive(Debug)]
struct Observed {
    observer: Observer,
    number: usize,
    pattern: &'static str,
}

/// Ids as the original makes them (spec amalgam8 section 2): `NAME_NANOS_N`.
#[derive(Debug)]
struct RequestIds {
    name: [u8; 10],
    start: Instant,
    /// Nanoseconds from 1970 to `start`; saves a second look at a clock in every request.
    start_nanos: u64,
    count: AtomicU64,
}

/// What an access line needs of a request.
#[derive(Debug)]
struct Access {
    method: Method,
    client: Option<Peer>,
    namespace: Note,
}

/// Where the namespace of a request is noted for its access line.
#[derive(Debug, Clone, Default)]
struct Note(Arc<OnceLock<Namespace>>);

pin_project! {
    /// The answer of a route, on its way.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        inner: F,
        observation: Option<Observation>,
    }
}

/// What is known of a request while its answer is made.
#[derive(Debug)]
pub struct Observation {
    observed: Arc<Observed>,
    begun: Instant,
    /// Only when somebody reads access lines.
    access: Option<Box<Access>>,
}

/// Access lines are one of the few things that are told by a name, not by the place in the code.
const ACCESS: &str = "a8registry::access";

/// Headers that every answer carries; room for them is made at once.
const COMMON: usize = 4;

const REQUEST_ID: HeaderName = HeaderName::from_static("request_id");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Notes the namespace that a request turned out to be for.
pub fn note(request: &Parts, namespace: &Namespace) {
    if !access_is_logged() {
        return;
    }
    if let Some(Note(place)) = request.extensions.get() {
        place.get_or_init(|| namespace.clone());
    }
}

fn access_is_logged() -> bool {
    tracing::enabled!(target: ACCESS, Level::DEBUG)
}

// === impl Observer ===

impl Observer {
    /// An observer that counts requests by the numbers of [`Route::ALL`].
    #[must_use]
    pub fn new(metrics: RequestMetrics) -> Self {
        Self { ids: Arc::new(RequestIds::new()), metrics }
    }

    /// A route that knows no method yet but `OPTIONS`, and refuses the others.
    pub fn on<S: Clone + Send + Sync + 'static>(&self, route: Route) -> Methods<S> {
        let allow = route.allow();
        let options = async move || {
            let mut response = reply::bodiless(StatusCode::NO_CONTENT);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        };
        let others = async move || ApiError::NoSuchMethod { allow };
        let observe = self.layer(route);
        let methods = MethodRouter::new()
            .options(options.layer(observe.clone()))
            .fallback(others.layer(observe.clone()));
        Methods { methods, observe }
    }

    /// The layer of one route.
    #[must_use]
    pub fn layer(&self, route: Route) -> Observe {
        Observe(Arc::new(Observed {
            observer: self.clone(),
            number: route.number(),
            pattern: route.pattern(),
        }))
    }
}

// === impl Methods ===

impl<S: Clone + Send + Sync + 'static> Methods<S> {
    /// With `GET`, and with `HEAD` by the same handler.
    pub fn get<T: 'static>(self, handler: impl Handler<T, S>) -> Self {
        self.with(MethodFilter::GET, handler)
    }

    /// With `POST`.
    pub fn post<T: 'static>(self, handler: impl Handler<T, S>) -> Self {
        self.with(MethodFilter::POST, handler)
    }

    /// With `PUT`.
    pub fn put<T: 'static>(self, handler: impl Handler<T, S>) -> Self {
        self.with(MethodFilter::PUT, handler)
    }

    /// With `DELETE`.
    pub fn delete<T: 'static>(self, handler: impl Handler<T, S>) -> Self {
        self.with(MethodFilter::DELETE, handler)
    }

    /// The layer goes around the handler, not around the route: that saves boxing every request twice.
    fn with<T: 'static>(self, method: MethodFilter, handler: impl Handler<T, S>) -> Self {
        let Self { methods, observe } = self;
        Self { methods: methods.on(method, handler.layer(observe.clone())), observe }
    }
}

impl<S> From<Methods<S>> for MethodRouter<S> {
    fn from(methods: Methods<S>) -> Self {
        methods.methods
    }
}

// === impl Observe ===

impl<S> Layer<S> for Observe {
    type Service = Observing<S>;

    fn layer(&self, inner: S) -> Observing<S> {
        Observing { inner, observed: self.0.clone() }
    }
}

// === impl Observing ===

impl<S: Service<Request, Response = Response>> Service<Request> for Observing<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let method = access_is_logged().then(|| request.method().clone());
        let observation = Observation::of(&self.observed, method, request.extensions_mut());
        Answering { inner: self.inner.call(request), observation: Some(observation) }
    }
}

// === impl Answering ===

impl<F: Future<Output = Result<Response, E>>, E> Future for Answering<F> {
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match this.observation.take() {
            Some(observation) => observation.end(response),
            None => response,
        }))
    }
}

// === impl Observation ===

impl Observation {
    /// Begins with the head of a request that does not come by a layer.
    pub(super) fn begin(observe: &Observe, method: &Method, extensions: &mut Extensions) -> Self {
        let method = access_is_logged().then(|| method.clone());
        Self::of(&observe.0, method, extensions)
    }

    fn of(observed: &Arc<Observed>, method: Option<Method>, extensions: &mut Extensions) -> Self {
        let access = method.map(|method| Box::new(Access::of(method, extensions)));
        Self { observed: observed.clone(), begun: Instant::now(), access }
    }

    /// Counts and logs the answer, and adds what every answer carries.
    pub(super) fn end(self, mut response: Response) -> Response {
        let Self { observed, begun, access } = self;
        let id = observed.observer.ids.next(begun);
        let elapsed = begun.elapsed();
        observed.observer.metrics.observe(observed.number, response.status().as_u16(), elapsed);
        if let Some(access) = access {
            access.log(observed.pattern, &response, elapsed, &id);
        }
        let headers = response.headers_mut();
        headers.reserve(COMMON);
        headers.insert(REQUEST_ID, id);
        if let Entry::Vacant(place) = headers.entry(VARY) {
            place.insert(ACCEPT_ENCODING);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Entry::Vacant(place) = headers.entry(CONTENT_TYPE) {
            place.insert(JSON);
        }
        response
    }
}

// === impl Access ===

impl Access {
    fn of(method: Method, extensions: &mut Extensions) -> Self {
        let namespace = Note::default();
        extensions.insert(namespace.clone());
        Self { method, client: extensions.get::<Peer>().copied(), namespace }
    }

    /// Bytes are those of the body as it is announced; one of unknown length counts as none.
    fn log(&self, route: &'static str, response: &Response, elapsed: Duration, id: &HeaderValue) {
        let Self { method, client, namespace } = self;
        let namespace = namespace.0.get().map_or("", Namespace::as_str);
        let client = client.as_ref().map(|peer| peer.address().ip().to_canonical()).map(|ip| ip.to_string());
        let client = client.as_deref().unwrap_or("-");
        let body = if *method == Method::HEAD { Some(0) } else { response.body().size_hint().exact() };
        tracing::debug!(
            target: ACCESS,
            module = "ACCESS",
            method = method.as_str(),
            route,
            status = response.status().as_u16(),
            elapsedtime = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            byteswritten = body.unwrap_or(0),
            namespace,
            request_id = id.to_str().unwrap_or_default(),
            client,
            "{client} {method} {route}"
        );
    }
}

// === impl RequestIds ===

impl RequestIds {
    fn new() -> Self {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        // Ten letters are 57 bits of the number.
        let mut random = RandomState::new().hash_one(0);
        let name = std::array::from_fn(|_| {
            let letter = letters[usize::try_from(random % 52).unwrap_or_default()];
            random /= 52;
            letter
        });
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_nanos = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        Self { name, start: Instant::now(), start_nanos, count: AtomicU64::new(0) }
    }

    /// The id of a request that began at `begun`.
    fn next(&self, begun: Instant) -> HeaderValue {
        let since_start = begun.saturating_duration_since(self.start).as_nanos();
        let nanos = self.start_nanos.saturating_add(u64::try_from(since_start).unwrap_or(u64::MAX));
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut text = [0; 10 + 2 * (1 + 20)];
        let mut len = 0;
        for part in [
            &self.name[..],
            b"_",
            itoa::Buffer::new().format(nanos).as_bytes(),
            b"_",
            itoa::Buffer::new().format(count).as_bytes(),
        ] {
            text[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        HeaderValue::from_bytes(&text[..len]).unwrap_or(HeaderValue::from_static(""))
    }
}

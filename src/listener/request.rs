//! What surrounds the service for each request: who asks, what is under way, and a panic's 500.
//!
//! Never: looks at a path or a header, reads a clock, or arms a timer.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::ServiceExt;
use tower::util::Oneshot;

use super::Peer;
use super::metrics::Reason;
use super::pulse::{Flow, InFlight, Pulse};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Requests<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) pulse: Arc<Pulse>,
}

pin_project! {
    /// An answer that is being made.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        in_flight: Option<InFlight>,
    }
}

pin_project! {
    /// The body of an answer; the request is under way until it is dropped.
    pub(super) struct Answer<B> {
        #[pin]
        body: Option<B>,
        flow: Option<Arc<Flow>>,
        in_flight: Option<InFlight>,
    }
}

// === impl Requests ===

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<Answer<B>>;
    type Error = Infallible;
    type Future = Answering<Oneshot<S, Request<Incoming>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = Some(self.pulse.begin(!request.body().is_end_stream()));
        request.extensions_mut().insert(self.peer);
        Answering { answer: self.service.clone().oneshot(request), in_flight }
    }
}

// === impl Answering ===

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Answer<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Nothing of the handler is used after a panic, so nothing half-changed is seen.
        let polled = catch_unwind(AssertUnwindSafe(|| this.answer.poll(cx)));
        let response = match polled {
            Ok(polled) => {
                let Ok(response) = ready!(polled);
                response.map(Some)
            }
            Err(panic) => {
                if let Some(in_flight) = this.in_flight {
                    in_flight.pulse().metrics().closed(Reason::Panic);
                }
                let what = panic_text(&*panic);
                tracing::error!(panic = what, "a request handler panicked: {what}");
                let mut response = Response::new(None);
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        let mut in_flight = this.in_flight.take();
        let flow = in_flight.as_mut().and_then(|in_flight| {
            in_flight.answered();
            in_flight.pulse().follow()
        });
        Poll::Ready(Ok(response.map(|body| Answer { body, flow, in_flight })))
    }
}

/// What a panic said, when it said it with text.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}

// === impl Answer ===

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let polled = body.poll_frame(cx);
        if let Some(flow) = this.flow {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => flow.has_yielded(frame.data_ref().map_or(0, Buf::remaining)),
                Poll::Ready(Some(Err(_)) | None) => {}
                Poll::Pending => flow.awaits_handler(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

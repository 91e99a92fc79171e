//! One connection, from accepted to closed: TLS handshake, choice of protocol, HTTP.
//!
//! The streams of an HTTP/2 connection run inside its one task, so nothing of a connection outlives it.
//!
//! What a client gets for a bad request, before any service sees it, over HTTP/1: 431 for a head above the limit or
//! with more than 100 header lines, 414 for a target above 64 KiB, 400 for anything malformed (method, target,
//! version, header, length, transfer coding); each without a body, and the connection closes. Over HTTP/2: 431 for a
//! head above the limit, a reset stream or connection for anything malformed.
//!
//! Never: spawns, reads a clock, or arms a timer; the watchdog ends what takes too long.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::io::{Transport, Watched};
use super::pulse::{Order, Pulse};
use super::request::Requests;
use super::{BoxError, Peer};

/// Bytes buffered for reading and for writing on an HTTP/1 connection. Answers are written from shared memory, so this
/// bounds how much of one is offered to the kernel at once: with a quarter of it, a long list costs a quarter more.
const HTTP1_BUFFER: usize = 512 * 1024;

/// Streams at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;

/// Bytes of one request body that a client may send ahead of its reader.
const HTTP2_STREAM_WINDOW: u32 = 128 * 1024;

/// Bytes of all request bodies that a client may send ahead of their readers.
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes of an answer that wait in a stream.
const HTTP2_SEND_BUFFER: usize = 128 * 1024;

/// Streams that a client may reset before they were looked at; more closes the connection (CVE-2023-44487).
const HTTP2_PENDING_RESETS: usize = 20;

/// Streams that this side may reset for the client's errors; more closes the connection (CVE-2025-8671).
const HTTP2_LOCAL_RESETS: usize = 128;

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) socket: TcpStream,
    pub(super) peer: Peer,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) service: S,
    pub(super) pulse: Arc<Pulse>,
    pub(super) max_header_bytes: usize,
}

/// The streams of one HTTP/2 connection, in the task of that connection.
#[derive(Default)]
struct Streams {
    new: Arc<Mutex<Vec<Stream>>>,
    running: FuturesUnordered<Stream>,
}

/// Where HTTP/2 puts a new stream. Weak, because each stream holds one of these.
#[derive(Clone)]
struct Intake(Weak<Mutex<Vec<Stream>>>);

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Connection ===

impl<S, B> Connection<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves until the client leaves, an error ends it, or the pulse says so.
    pub(super) async fn run(self) {
        let Self { socket, peer, tls, service, pulse, max_header_bytes } = self;
        let socket = Watched::new(socket, pulse.clone());
        let opened = obeying(&pulse, open(socket, tls, peer, &pulse));
        let Some(Some((transport, is_http2))) = opened.await else { return };
        let io = TokioIo::new(transport);
        let requests = Requests { service, peer, pulse: pulse.clone() };
        let ended = if is_http2 {
            let mut streams = Streams::default();
            let connection = http2(streams.intake(), max_header_bytes).serve_connection(io, requests);
            drive(connection, &pulse, |cx| streams.advance(cx)).await
        } else {
            drive(http1(max_header_bytes).serve_connection(io, requests), &pulse, |_| false).await
        };
        if let Err(error) = ended {
            let peer = peer.address();
            tracing::debug!(%peer, %error, "connection of {peer} ended: {error}");
        }
    }
}

/// The handshake, and which protocol the client speaks; `None` when the connection failed before that was known.
async fn open(
    socket: Watched,
    tls: Option<Arc<ServerConfig>>,
    peer: Peer,
    pulse: &Pulse,
) -> Option<(Transport, bool)> {
    let mut transport = match tls {
        None => Transport::plain(socket),
        Some(config) => match TlsAcceptor::from(config).accept(socket).await {
            Ok(stream) => Transport::tls(stream),
            Err(error) => {
                pulse.metrics().refused_handshakes.inc();
                let peer = peer.address();
                tracing::debug!(%peer, %error, "TLS handshake of {peer} failed: {error}");
                return None;
            }
        },
    };
    pulse.handshaken();
    // A client that left without a word is not worth a line.
    let is_http2 = transport.speaks_http2().await.ok()?;
    if is_http2 {
        pulse.speaks_http2();
    }
    Some((transport, is_http2))
}

/// Runs what has nothing to finish: `None` when the pulse ended it.
async fn obeying<T>(pulse: &Pulse, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match pulse.order(cx) {
        Order::Serve => work.as_mut().poll(cx).map(Some),
        Order::Finish | Order::Abort => Poll::Ready(None),
    })
    .await
}

/// Runs a connection and, after each of its turns, its streams; `streams` says whether any of them moved.
async fn drive<C: GracefulConnection>(
    connection: C,
    pulse: &Pulse,
    mut streams: impl FnMut(&mut Context<'_>) -> bool,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let mut finishing = false;
    poll_fn(|cx| {
        match pulse.order(cx) {
            Order::Serve => {}
            Order::Finish => {
                if !std::mem::replace(&mut finishing, true) {
                    connection.as_mut().graceful_shutdown();
                }
            }
            Order::Abort => return Poll::Ready(Ok(())),
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if !streams(cx) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Without a timer: hyper's own head timeout would arm one for each request. More than 100 header lines are refused;
/// naming that default would cost two allocations per request.
fn http1(max_header_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .header_read_timeout(None)
        .max_header_size(max_header_bytes)
        .max_buf_size(HTTP1_BUFFER.max(max_header_bytes));
    builder
}

fn http2(intake: Intake, max_header_bytes: usize) -> http2::Builder<Intake> {
    let mut builder = http2::Builder::new(intake);
    builder
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_header_list_size(u32::try_from(max_header_bytes).unwrap_or(u32::MAX));
    builder
}

// === impl Streams ===

impl Streams {
    fn intake(&self) -> Intake {
        Intake(Arc::downgrade(&self.new))
    }

    /// Runs the streams that can move; says whether the connection has to look again.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        let new = std::mem::take(&mut *self.new.lock());
        let mut moved = !new.is_empty();
        self.running.extend(new);
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {
            moved = true;
        }
        moved
    }
}

// === impl Intake ===

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Intake {
    /// A stream of a connection that is gone is dropped.
    fn execute(&self, stream: F) {
        if let Some(new) = self.0.upgrade() {
            new.lock().push(Box::pin(stream));
        }
    }
}

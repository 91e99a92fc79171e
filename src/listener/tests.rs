//! Tests of the listener over loopback sockets, with limits short enough to be waited for.

mod limits;
mod serving;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Closed, Listener, ListenerConfig, ListenerMetrics, Peer, Reason};

/// The limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);

/// A limit that must not strike.
const LONG: Duration = Duration::from_secs(60);

/// More than any test takes on a machine that does something else as well.
const PATIENCE: Duration = Duration::from_secs(30);

const CHUNK: usize = 64 * 1024;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A listener that serves the paths of `answer`.
struct Server {
    address: SocketAddr,
    metrics: ListenerMetrics,
    stop: CancellationToken,
    /// Lets one request of `/held` go on.
    release: Arc<Notify>,
    /// Told when a request of `/held` arrives.
    held: Arc<Notify>,
    ran: JoinHandle<usize>,
}

impl Server {
    /// Limits are long, but for what `change` makes short.
    fn start(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let mut config = ListenerConfig {
            header_timeout: LONG,
            handshake_timeout: LONG,
            body_timeout: LONG,
            idle_timeout: LONG,
            write_timeout: LONG,
            ..ListenerConfig::new(([127, 0, 0, 1], 0).into())
        };
        change(&mut config);
        let listener = Listener::bind(config).expect("loopback can be listened on");
        let (release, held) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let service = {
            let (release, held) = (release.clone(), held.clone());
            tower::service_fn(move |request| answer(request, held.clone(), release.clone()))
        };
        let stop = CancellationToken::new();
        Self {
            address: listener.local_addr().expect("a bound socket has an address"),
            metrics: listener.metrics().clone(),
            ran: tokio::spawn(listener.run(service, stop.clone())),
            stop,
            release,
            held,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the listener accepts")
    }

    fn closed(&self, reason: Reason) -> u64 {
        self.metrics.closed.get_or_create(&Closed { reason }).get()
    }

    /// Stops; the number of connections that were cut.
    async fn stopped(self) -> usize {
        self.stop.cancel();
        within(self.ran).await.expect("the listener does not panic")
    }
}

async fn answer(
    request: Request<Incoming>,
    held: Arc<Notify>,
    release: Arc<Notify>,
) -> Result<Answer, Infallible> {
    let peer = *request.extensions().get::<Peer>().expect("every request knows its peer");
    Ok(match request.uri().path() {
        "/peer" => text(format!("{} {}", peer.address(), peer.is_tls())),
        "/echo" => {
            let body = request.into_body().collect().await;
            text(body.map_or_else(|_| "cut".to_owned(), |body| body.to_bytes().len().to_string()))
        }
        "/refuse" => {
            let mut refused = text("too large".to_owned());
            *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            refused
        }
        "/held" => {
            held.notify_one();
            release.notified().await;
            text("released".to_owned())
        }
        "/panic" => panic!("as asked"),
        path => {
            let chunks = path.trim_start_matches("/chunks/").parse().expect("a number of chunks");
            let chunk = Bytes::from(vec![b'x'; CHUNK]);
            let frames = std::iter::repeat_n(chunk, chunks).map(|chunk| Ok(Frame::data(chunk)));
            Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
        }
    })
}

fn text(text: String) -> Answer {
    Response::new(Full::from(text).boxed_unsync())
}

async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("took too long")
}

async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn send(client: &mut TcpStream, bytes: &str) {
    client.write_all(bytes.as_bytes()).await.expect("the connection is open");
}

async fn get(client: &mut TcpStream, path: &str) {
    send(client, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
}

/// Reads one short answer with a length.
async fn answered(client: &mut TcpStream) -> String {
    within(async {
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if length.is_some_and(|length| body.len() == length.parse::<usize>().expect("a length")) {
                    return text.into_owned();
                }
            }
            let read = client.read_buf(&mut answer).await.expect("an answer");
            assert!(read != 0, "closed within an answer: {:?}", String::from_utf8_lossy(&answer));
        }
    })
    .await
}

/// Everything until the other side closes, by whichever way.
async fn until_closed(client: &mut TcpStream) -> Vec<u8> {
    within(async {
        let mut all = Vec::new();
        while let Ok(1..) = client.read_buf(&mut all).await {}
        all
    })
    .await
}

/// An HTTP/2 client by prior knowledge, and whether its connection still lives.
async fn http2_client(address: SocketAddr) -> (SendRequest<Empty<Bytes>>, JoinHandle<bool>) {
    let socket = TcpStream::connect(address).await.expect("the listener accepts");
    let (client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(50))
        .keep_alive_timeout(LONG)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(10 * 1024 * 1024)
        .handshake(TokioIo::new(socket))
        .await
        .expect("an HTTP/2 handshake");
    (client, tokio::spawn(async move { connection.await.is_ok() }))
}

fn http2_get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://x{path}")).body(Empty::new()).expect("a request")
}

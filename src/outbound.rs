//! Calls to other servers by HTTP/1.1, plain or with TLS.
//!
//! Each call has a bound for every wait and for the bytes of its answer, which may come compressed.
//! Never: follows a redirect, calls a second time by itself, trusts a certificate that the system's authorities
//! did not sign unless told to, or shows credentials.

mod backoff;
mod opened;
mod trust;
mod url;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout};

pub(crate) use backoff::{Backoff, jittered};
pub use opened::Opened;
pub use trust::{AnyCertificate, Trust};
pub use url::{BaseUrl, NoBaseUrl, redacted};

/// Calls other servers; cheap to clone, the clones share connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest wait for the head of the answer, and for each next part of its body.
    pub quiet: Duration,
    /// Longest time for everything.
    pub whole: Duration,
    /// Most bytes of the answer's body, as sent and as it is when decompressed.
    pub bytes: usize,
}

/// An answer, complete.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

/// Why a call had no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There was no connection.
    #[error("cannot be connected to: {0}")]
    Unconnected(String),
    /// The other side was silent, or slow, for too long.
    #[error("does not answer in time")]
    TimedOut,
    /// The connection broke, or what came was no HTTP.
    #[error("broke off: {0}")]
    Broken(String),
    /// The answer is longer than what was allowed.
    #[error("answers with more than {max} bytes")]
    TooLong {
        /// [`Bounds::bytes`]
        max: usize,
    },
}

/// For a connection to be there, without TLS.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection is kept that nobody uses: less than the 20 s after which Java's servers close it.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections to one server.
const IDLE_MAX: usize = 4;

/// Text that grows up to a bound.
#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

/// The body of an answer as it comes.
#[derive(Debug)]
enum Decoder {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

// === impl Outbound ===

impl Outbound {
    /// A caller without a connection yet. Without any authority on this system, calls with TLS fail; the log says so.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(IDLE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust::tls(trust))
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { client }
    }

    /// Calls once; any status is an answer.
    ///
    /// # Errors
    /// When there is no complete answer within the bounds.
    pub async fn call(&self, request: Request<Full<Bytes>>, bounds: Bounds) -> Result<Reply, CallError> {
        timeout(bounds.whole, self.call_patiently(request, bounds)).await.map_err(|_| CallError::TimedOut)?
    }

    /// The same without the body, which the answer hands to whoever reads it.
    ///
    /// # Errors
    /// When no answer begins within the bounds.
    pub async fn open(&self, request: Request<Full<Bytes>>, bounds: Bounds) -> Result<Opened, CallError> {
        let until = Instant::now() + bounds.whole;
        let answer = timeout(bounds.whole, self.ask(request, bounds)).await;
        Ok(Opened::of(answer.map_err(|_| CallError::TimedOut)??, bounds, until))
    }

    async fn call_patiently(
        &self,
        request: Request<Full<Bytes>>,
        bounds: Bounds,
    ) -> Result<Reply, CallError> {
        let (head, mut body) = self.ask(request, bounds).await?.into_parts();
        let mut decoder = Decoder::new(&head.headers, bounds.bytes);
        while let Some(part) = next_part(&mut body, bounds.quiet).await? {
            decoder.push(&part)?;
        }
        Ok(Reply { status: head.status, headers: head.headers, body: decoder.finish()? })
    }

    async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
        bounds: Bounds,
    ) -> Result<Response<Incoming>, CallError> {
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        // A connection has its own time; what follows it begins with the request.
        let answer = timeout(bounds.quiet + CONNECT, self.client.request(request));
        match answer.await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(error)) if error.is_connect() => Err(CallError::Unconnected(innermost(&error))),
            Ok(Err(error)) => Err(CallError::Broken(innermost(&error))),
            Ok(Ok(answer)) => Ok(answer),
        }
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
}

async fn next_part(body: &mut Incoming, quiet: Duration) -> Result<Option<Bytes>, CallError> {
    match timeout(quiet, data(body)).await {
        Err(_) => Err(CallError::TimedOut),
        Ok(part) => part.transpose().map_err(|error| CallError::Broken(innermost(&error))),
    }
}

/// The next bytes of a body, or its end. Everybody else has a turn before them: whoever sends without a pause would
/// otherwise keep the requests that came meanwhile from being seen.
pub(crate) async fn data<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    loop {
        tokio::task::yield_now().await;
        match body.frame().await? {
            Ok(frame) => {
                if let Ok(part) = frame.into_data() {
                    return Some(Ok(part));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// What an error says in the end; the layers around it only say that they had one.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

// === impl Decoder ===

impl Decoder {
    fn new(headers: &HeaderMap, max: usize) -> Self {
        let bounded = Bounded { bytes: Vec::new(), max };
        if is_gzip(headers) {
            Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))
        } else {
            Self::Plain(bounded)
        }
    }

    fn push(&mut self, part: &[u8]) -> Result<(), CallError> {
        match self {
            Self::Plain(bounded) => bounded.write_all(part).map_err(|error| bounded.failure(&error)),
            Self::Gzip(decoder) => decoder.write_all(part).map_err(|error| decoder.get_ref().failure(&error)),
        }
    }

    fn finish(self) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes),
            Self::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|error| decoder.get_ref().failure(&error))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

// === impl Bounded ===

impl Bounded {
    fn failure(&self, error: &io::Error) -> CallError {
        match error.kind() {
            io::ErrorKind::StorageFull => CallError::TooLong { max: self.max },
            _ => CallError::Broken(error.to_string()),
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.max < self.bytes.len().saturating_add(part.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coding: Option<&'static str>, parts: &[&[u8]], max: usize) -> Result<Vec<u8>, CallError> {
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let mut decoder = Decoder::new(&headers, max);
        for part in parts {
            decoder.push(part)?;
        }
        decoder.finish()
    }

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    #[test]
    fn answers_are_decompressed_within_their_bound() {
        let zeros = vec![0; 100_000];
        let short = gzipped(&zeros);
        assert!(short.len() < 1000);
        let (head, tail) = short.split_at(7);
        assert_eq!(decoded(Some("gzip"), &[head, tail], 100_000), Ok(zeros.clone()));
        assert_eq!(decoded(Some("gzip"), &[&short], 99_999), Err(CallError::TooLong { max: 99_999 }));
        assert_eq!(decoded(None, &[&zeros], 100_000).map(|body| body.len()), Ok(100_000));
        assert_eq!(decoded(None, &[&zeros], 99_999), Err(CallError::TooLong { max: 99_999 }));
        assert!(matches!(decoded(Some("gzip"), &[b"plain text"], 99), Err(CallError::Broken(_))));
        assert!(matches!(decoded(Some("gzip"), &[head], 99), Err(CallError::Broken(_))));
    }

    #[tokio::test]
    async fn who_drips_is_not_waited_for_without_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let dripping = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await.expect("a request");
            let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
            while tokio::io::AsyncWriteExt::write_all(&mut stream, piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                piece = b"x";
            }
        };
        let request = Request::get(format!("http://{address}/")).body(Full::default()).expect("a request");
        let bounds =
            Bounds { quiet: Duration::from_secs(20), whole: Duration::from_millis(200), bytes: 1 << 20 };
        let outbound = Outbound::new(Trust::Nobody);
        tokio::select! {
            biased;
            reply = outbound.call(request, bounds) => assert_eq!(reply.err(), Some(CallError::TimedOut)),
            () = dripping => panic!("it was hung up on before"),
        }
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_from_who_is_silent() {
        let outbound = Outbound::new(Trust::Nobody);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let ask = || Request::get(format!("http://{address}/")).body(Full::default()).expect("a request");
        let bounds = Bounds { quiet: Duration::from_millis(10), whole: Duration::from_millis(50), bytes: 1 };
        assert_eq!(outbound.call(ask(), bounds).await.err(), Some(CallError::TimedOut));
        drop(listener);
        let bounds = Bounds { whole: Duration::from_secs(20), ..bounds };
        let gone = outbound.call(ask(), bounds).await.err();
        assert!(matches!(gone, Some(CallError::Unconnected(_) | CallError::Broken(_))), "{gone:?}");
        let gone = outbound.call(ask(), bounds).await.err();
        assert!(matches!(gone, Some(CallError::Unconnected(_))), "{gone:?}");
    }
}

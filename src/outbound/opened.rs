//! An answer that is read while it comes, by a thread that may wait.
//!
//! Never: holds more of a body than a few of its parts.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Bounds, CallError, is_gzip, next_part};

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Opened {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    bounds: Bounds,
    /// When it must have come.
    until: Instant,
}

/// A body as it comes.
struct Arriving {
    parts: mpsc::Receiver<Part>,
    part: Bytes,
    has_ended: bool,
}

enum Part {
    Some(Bytes),
    /// Nothing follows.
    End,
}

/// What is read up to a bound.
struct Bounded<R> {
    from: R,
    left: usize,
    is_exceeded: Arc<AtomicBool>,
}

/// Parts that wait for their reader.
const WAITING: usize = 4;

// === impl Opened ===

impl Opened {
    /// An answer that has begun, also of a connection that somebody else made.
    pub(crate) fn of(answer: Response<Incoming>, bounds: Bounds, until: Instant) -> Self {
        let (head, body) = answer.into_parts();
        Self { status: head.status, headers: head.headers, body, bounds, until }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Hands the body to a reader, decompressed, aside; a reader that ends before the body does has had enough of it. Its
    /// reading fails where the body breaks off or exceeds its bound.
    ///
    /// # Errors
    /// When the body was not complete within the bounds, whatever the reader made of it.
    pub async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&mut (dyn Read + Send)) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let Self { status: _, headers, body, bounds, until } = self;
        let is_gzip = is_gzip(&headers);
        let (parts, arriving) = mpsc::channel(WAITING);
        let is_exceeded = Arc::new(AtomicBool::new(false));
        let exceeding = is_exceeded.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let arriving = Arriving { parts: arriving, part: Bytes::new(), has_ended: false };
            let from: Box<dyn Read + Send> =
                if is_gzip { Box::new(MultiGzDecoder::new(arriving)) } else { Box::new(arriving) };
            read(&mut Bounded { from, left: bounds.bytes, is_exceeded: exceeding })
        });
        let passed_on = timeout_at(until, pass_on(body, bounds, parts)).await;
        let read = reading.await.map_err(|_| CallError::Broken("its reader panicked".to_owned()))?;
        match passed_on {
            _ if is_exceeded.load(Ordering::Relaxed) => Err(CallError::TooLong { max: bounds.bytes }),
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Ok(read),
        }
    }
}

/// Until the body has ended, or its reader has enough.
async fn pass_on(mut body: Incoming, bounds: Bounds, parts: mpsc::Sender<Part>) -> Result<(), CallError> {
    loop {
        let part = tokio::select! {
            part = next_part(&mut body, bounds.quiet) => part?,
            () = parts.closed() => return Ok(()),
        };
        let is_end = part.is_none();
        let sent = parts.send(part.map_or(Part::End, Part::Some)).await;
        if is_end || sent.is_err() {
            return Ok(());
        }
    }
}

// === impl Arriving ===

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.has_ended {
            match self.parts.blocking_recv() {
                Some(Part::Some(part)) => self.part = part,
                Some(Part::End) => self.has_ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = into.len().min(self.part.len());
        self.part.split_to(count).copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

// === impl Bounded ===

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => {
                self.is_exceeded.store(true, Ordering::Relaxed);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use http::Request;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::outbound::{Outbound, Trust};

    /// What a reader that wants so many bytes makes of an answer, which ends with its connection when `ends`.
    async fn read(
        said: Vec<u8>,
        ends: bool,
        max: usize,
        wants: u64,
    ) -> Result<io::Result<Vec<u8>>, CallError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            assert_ne!(stream.read(&mut [0; 1024]).await.expect("a request"), 0);
            stream.write_all(&said).await.expect("it listens");
            if !ends {
                // Until who asked has gone.
                let _ = stream.read(&mut [0]).await;
            }
        };
        let asking = async {
            let request =
                Request::get(format!("http://{address}/")).body(Full::default()).expect("a request");
            let quiet = Duration::from_secs(20);
            let outbound = Outbound::new(Trust::Nobody);
            let opened = outbound.open(request, Bounds { quiet, whole: quiet, bytes: max });
            let opened = opened.await.expect("an answer");
            assert_eq!(opened.status(), StatusCode::OK);
            let all = move |body: &mut (dyn Read + Send)| {
                let mut bytes = Vec::new();
                body.take(wants).read_to_end(&mut bytes).map(|_| bytes)
            };
            opened.read(all).await
        };
        tokio::join!(server, asking).1
    }

    fn saying(headers: &str, body: &[u8]) -> Vec<u8> {
        let mut said = format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes();
        said.extend_from_slice(body);
        said
    }

    fn got(read: Result<io::Result<Vec<u8>>, CallError>) -> Vec<u8> {
        read.expect("a complete answer").expect("a body")
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_not_beyond_its_bound() {
        let body = vec![b'x'; 100_000];
        let long = saying("Content-Length: 100000\r\n", &body);
        assert_eq!(got(read(long.clone(), true, 100_000, u64::MAX).await), body);
        let refused = read(long, true, 99_999, u64::MAX).await;
        assert_eq!(refused.err(), Some(CallError::TooLong { max: 99_999 }));

        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).expect("memory takes everything");
        let short = encoder.finish().expect("memory takes everything");
        assert!(short.len() < 1000);
        let zipped = saying("Content-Encoding: gzip\r\n", &short);
        assert_eq!(got(read(zipped.clone(), true, 100_000, u64::MAX).await), body);
        let refused = read(zipped, true, 99_999, u64::MAX).await;
        assert_eq!(refused.err(), Some(CallError::TooLong { max: 99_999 }));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_answer_whatever_was_made_of_it() {
        let half = saying("Content-Length: 10\r\n", b"half");
        assert!(matches!(read(half, true, 100, u64::MAX).await, Err(CallError::Broken(_))));
    }

    #[tokio::test]
    async fn whoever_has_enough_does_not_wait_for_the_rest() {
        let begun = saying("Content-Length: 10\r\n", b"begun");
        assert_eq!(got(read(begun, false, 100, 3).await), b"beg");
    }
}

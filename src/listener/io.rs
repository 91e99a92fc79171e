//! The socket of a connection: counts for the watchdog, gives back what was read to guess the protocol, and lingers
//! when closing early.
//!
//! Never: buffers an answer, or asks for the time.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::pulse::Pulse;

/// The first bytes of a client that speaks HTTP/2 without negotiation (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of a refused request is read and thrown away, so that its client can read the refusal.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// A socket that tells the pulse what moves. Under TLS it sits below it, so what counts is the wire.
#[derive(Debug)]
pub(super) struct Watched {
    socket: TcpStream,
    pulse: Arc<Pulse>,
    blocked: bool,
    lingering: Option<usize>,
}

/// What HTTP is spoken over.
#[derive(Debug)]
pub(super) struct Transport {
    replay: Replay,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Plain(Watched),
    Tls(Box<TlsStream<Watched>>),
}

/// Bytes that were read early and belong to whoever reads next.
#[derive(Debug, Default)]
struct Replay {
    bytes: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(socket: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self { socket, pulse, blocked: false, lingering: None }
    }

    fn note_write(&mut self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.pulse.has_written(*bytes);
        }
        if self.blocked != polled.is_pending() {
            self.blocked = polled.is_pending();
            self.pulse.set_blocked(self.blocked);
        }
    }

    /// Reads and throws away until the client closes too; the watchdog bounds the time, and a stop ends it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.lingering
            && self.pulse.lingers()
        {
            let mut scratch = [MaybeUninit::uninit(); 4096];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut scratch));
            // A reset ends what there is to wait for, as the end of the stream does.
            self.lingering = match (read, scratch.filled().len()) {
                (Err(_), _) | (Ok(()), 0) => None,
                (Ok(()), bytes) => left.checked_sub(bytes),
            };
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.pulse.has_read(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.pulse.set_closing();
            self.lingering = Some(LINGER_BYTES);
        }
        self.poll_linger(cx)
    }
}

// === impl Transport ===

impl Transport {
    pub(super) fn plain(socket: Watched) -> Self {
        Self { replay: Replay::default(), wire: Wire::Plain(socket) }
    }

    pub(super) fn tls(stream: TlsStream<Watched>) -> Self {
        Self { replay: Replay::default(), wire: Wire::Tls(Box::new(stream)) }
    }

    /// Whether the client speaks HTTP/2: what TLS negotiated, or else its first bytes. Those are read again by the next
    /// reader.
    ///
    /// # Errors
    /// When the connection fails before that is known.
    pub(super) async fn speaks_http2(&mut self) -> io::Result<bool> {
        if let Wire::Tls(stream) = &self.wire
            && let Some(protocol) = stream.get_ref().1.alpn_protocol()
        {
            return Ok(protocol == b"h2");
        }
        std::future::poll_fn(|cx| self.poll_preface(cx)).await
    }

    fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Self { replay, wire } = self;
        while replay.to < PREFACE.len() {
            let mut buf = ReadBuf::new(&mut replay.bytes[replay.to..]);
            ready!(wire.poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            replay.to += read;
            if read == 0 || !PREFACE.starts_with(&replay.bytes[..replay.to]) {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { replay, wire } = &mut *self;
        if replay.from == replay.to {
            return wire.poll_read(cx, buf);
        }
        let again = &replay.bytes[replay.from..replay.to];
        let again = &again[..again.len().min(buf.remaining())];
        buf.put_slice(again);
        replay.from += again.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(socket) => socket.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

// === impl Wire ===

impl Wire {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

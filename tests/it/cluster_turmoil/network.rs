//! The simulated network as members see it, and the books of what went over it.
//!
//! Never: changes what is sent, or when.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use a8registry::cluster::config::Place;
use a8registry::cluster::network::Network;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network, as one member has it.
#[derive(Debug, Clone)]
pub(super) struct Simulated {
    pub(super) member: usize,
    pub(super) books: Arc<Books>,
}

/// What all members did with the network, in order.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) events: Mutex<Vec<Event>>,
    /// Connections that each member has, whatever it makes of them.
    open: [AtomicUsize; super::world::SIZE_MAX],
}

/// One thing that a member did or saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    millis: u128,
    member: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Connected(u16),
    Accepted(u16),
    Read(u16, usize),
    Written(u16, usize),
    Ended(u16),
}

/// What takes connections in; the port closes when it goes.
pub(super) struct Listener(pub(super) TcpListener);

/// A connection; known by the port of who dialled.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    port: u16,
    network: Simulated,
}

// === impl Listener ===

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

// === impl Books ===

impl Books {
    /// How many connections a member has at present.
    pub(super) fn open(&self, member: usize) -> usize {
        self.open[member].load(Ordering::Relaxed)
    }

    /// How many were opened since the beginning.
    pub(super) fn connections(&self) -> usize {
        self.events.lock().iter().filter(|event| matches!(event.what, What::Connected(_))).count()
    }
}

// === impl Simulated ===

impl Simulated {
    fn note(&self, what: What) {
        // There is no time any more when the world has ended.
        let Some(passed) = turmoil::sim_elapsed() else { return };
        let event = Event { millis: passed.as_millis(), member: self.member, what };
        self.books.events.lock().push(event);
    }

    fn opened(&self, stream: TcpStream, port: u16) -> Wire {
        self.books.open[self.member].fetch_add(1, Ordering::Relaxed);
        Wire { stream, port, network: self.clone() }
    }
}

impl Network for Simulated {
    type Stream = Wire;
    type Listener = Listener;

    async fn connect(&self, place: &Place) -> io::Result<Wire> {
        let stream = TcpStream::connect((place.host(), place.port())).await?;
        let port = stream.local_addr()?.port();
        self.note(What::Connected(port));
        Ok(self.opened(stream, port))
    }

    async fn accept(&self, listener: &Listener) -> io::Result<(Wire, SocketAddr)> {
        let (stream, from) = listener.0.accept().await?;
        self.note(What::Accepted(from.port()));
        Ok((self.opened(stream, from.port()), from))
    }
}

// === impl Wire ===

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.network.note(What::Read(self.port, buffer.filled().len() - before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.network.note(What::Written(self.port, count));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.network.books.open[self.network.member].fetch_sub(1, Ordering::Relaxed);
        self.network.note(What::Ended(self.port));
    }
}

//! The HTTP listener: accepts, bounds and drains connections over a service that it does not know.
//!
//! Guarantees: at most `max_connections` at once, every client is held to the limits of its [`ListenerConfig`], a
//! shortage of descriptors or a panic of a handler ends no other connection, and a stop ends within `drain`. A request
//! pays for none of it with a timer: one walk over all connections enforces the limits (`watchdog`).
//!
//! Never: knows a route, an error shape or another module of this crate.

mod connection;
mod io;
mod metrics;
mod pulse;
mod request;
mod socket;
mod stall;
mod tls;
mod watchdog;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use self::pulse::Pulse;
use self::tls::{Reloader, Tls};
use self::watchdog::{Limits, Watchdog};

pub use self::metrics::{Closed, ListenerMetrics, Reason};
pub use self::tls::{TlsConfig, TlsError};

/// Any error of a body.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Pause after `accept` found no descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The shortest time between two warnings about the same thing.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How a listener serves. Limits strike late by up to a tenth of the shortest, never early.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where to listen; port 0 takes any free port, `[::]` takes IPv4 as well.
    pub address: SocketAddr,
    /// Connections at once; more wait in the kernel's queue. At least 1; 10 000 by default.
    pub max_connections: usize,
    /// Time for the first request after connecting, and for each head from its first byte; 10 s by default.
    pub header_timeout: Duration,
    /// Time for a TLS handshake; 10 s by default.
    pub handshake_timeout: Duration,
    /// Time from the head of a request with a body to the head of its answer; 30 s by default.
    pub body_timeout: Duration,
    /// Time without a request, after the last answer ended; 75 s by default. HTTP/2 pings do not count.
    pub idle_timeout: Duration,
    /// Time in which a client must take 64 KiB of an answer that waits for it; 30 s by default.
    pub write_timeout: Duration,
    /// Bytes of a request head; 16 KiB by default.
    pub max_header_bytes: usize,
    /// Time for requests under way after a stop; then they are cut. 20 s by default.
    pub drain: Duration,
    /// TLS, or plain TCP.
    pub tls: Option<TlsConfig>,
    /// Time between two looks at the files of TLS; a change is taken when two looks agree. 2 s by default.
    pub tls_poll: Duration,
}

/// A bound listener that does not serve yet.
#[derive(Debug)]
#[must_use]
pub struct Listener {
    config: ListenerConfig,
    socket: TcpListener,
    tls: Option<(Tls, Reloader)>,
    metrics: ListenerMetrics,
}

/// Who sent a request: an extension of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    is_tls: bool,
}

/// A listener that serves.
struct Serving<S> {
    service: S,
    tls: Option<Tls>,
    max_header_bytes: usize,
    metrics: ListenerMetrics,
    connections: JoinSet<()>,
    watchdog: Watchdog,
    shortage: Seldom,
    full: Seldom,
}

/// Lets a warning through once in a while.
#[derive(Debug, Default)]
struct Seldom(Option<Instant>);

// === impl ListenerConfig ===

impl ListenerConfig {
    /// The defaults, on plain TCP.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_header_bytes: 16 * 1024,
            drain: Duration::from_secs(20),
            tls: None,
            tls_poll: Duration::from_secs(2),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            handshake: self.handshake_timeout,
            head: self.header_timeout,
            body: self.body_timeout,
            idle: self.idle_timeout,
            write: self.write_timeout,
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Takes the port and loads the files of TLS; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the files of TLS cannot be used; the error names which.
    pub fn bind(config: ListenerConfig) -> std::io::Result<Self> {
        let tls = match &config.tls {
            Some(files) => Some(tls::load(files.clone()).map_err(std::io::Error::other)?),
            None => None,
        };
        let socket = socket::listen(config.address)?;
        Ok(Self { config, socket, tls, metrics: ListenerMetrics::default() })
    }

    /// Counts into `metrics`, so that several listeners are exposed as one.
    pub fn with_metrics(self, metrics: &ListenerMetrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// What this listener counts.
    #[must_use]
    pub fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    /// The address in use, with the port that the kernel chose.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `shutdown`, then drains; the number of connections that had to be cut. Never ends by itself: every
    /// error of `accept` is survived.
    pub async fn run<S, B>(self, service: S, shutdown: CancellationToken) -> usize
    where
        S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { config, socket, tls, metrics } = self;
        let (tls, reloader) = tls.unzip();
        let limits = config.limits();
        let mut serving = Serving {
            service,
            tls,
            max_header_bytes: config.max_header_bytes,
            watchdog: Watchdog::new(limits, metrics.clone()),
            metrics,
            connections: JoinSet::new(),
            shortage: Seldom::default(),
            full: Seldom::default(),
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = serving.serve(&socket, config.max_connections, limits.tick()) => {}
            () = tls::follow(reloader, config.tls_poll) => {}
        }
        // The port is free for a successor while this one drains.
        drop(socket);
        serving.drain(config.drain, limits.tick()).await
    }
}

// === impl Serving ===

impl<S, B> Serving<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Never ends; may be dropped between any two connections.
    async fn serve(&mut self, socket: &TcpListener, max_connections: usize, tick: Duration) {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resume = None;
        loop {
            let has_room = self.connections.len() < max_connections;
            if !has_room && self.full.is_due() {
                tracing::warn!(
                    max_connections,
                    "at the limit of {max_connections} connections: more have to wait"
                );
            }
            tokio::select! {
                _ = ticks.tick() => self.watchdog.walk(Instant::now()),
                Some(ended) = self.connections.join_next() => self.bury(ended),
                accepted = accept(socket, resume), if has_room => {
                    resume = self.accepted(accepted);
                }
            }
        }
    }

    /// Takes a connection in, or says until when to pause.
    fn accepted(&mut self, accepted: std::io::Result<(TcpStream, SocketAddr)>) -> Option<Instant> {
        match accepted {
            Ok((socket, address)) => {
                self.begin(socket, address);
                None
            }
            Err(error) if socket::is_clients_fault(&error) => None,
            Err(error) => {
                if self.shortage.is_due() {
                    tracing::warn!(%error, "cannot accept connections: {error}; trying again ten times a second");
                }
                Some(Instant::now() + SHORTAGE_PAUSE)
            }
        }
    }

    fn begin(&mut self, socket: TcpStream, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let tls = self.tls.as_ref().map(Tls::current);
        let pulse = Arc::new(Pulse::new(tls.is_some(), self.metrics.clone()));
        self.metrics.accepted.inc();
        self.metrics.open.inc();
        let connection = Connection {
            socket,
            peer: Peer { address, is_tls: tls.is_some() },
            tls,
            service: self.service.clone(),
            pulse: pulse.clone(),
            max_header_bytes: self.max_header_bytes,
        };
        self.connections.spawn(connection.run());
        self.watchdog.watch(pulse, address, Instant::now());
    }

    fn bury(&self, ended: Result<(), JoinError>) {
        self.metrics.open.dec();
        let Err(error) = ended else { return };
        if let Ok(panic) = error.try_into_panic() {
            self.metrics.closed(Reason::Panic);
            let what = request::panic_text(&*panic);
            tracing::error!(panic = what, "a connection ended by a panic: {what}");
        }
    }

    /// Lets requests finish, then cuts what is left and counts it.
    async fn drain(mut self, limit: Duration, tick: Duration) -> usize {
        self.watchdog.finish_all();
        let mut deadline = std::pin::pin!(tokio::time::sleep(limit));
        let mut ticks = tokio::time::interval(tick);
        loop {
            tokio::select! {
                ended = self.connections.join_next() => match ended {
                    Some(ended) => self.bury(ended),
                    None => return 0,
                },
                _ = ticks.tick() => self.watchdog.walk(Instant::now()),
                () = &mut deadline => break,
            }
        }
        self.connections.abort_all();
        let mut cut = 0;
        while let Some(ended) = self.connections.join_next().await {
            cut += usize::from(ended.as_ref().is_err_and(JoinError::is_cancelled));
            self.bury(ended);
        }
        cut
    }
}

async fn accept(socket: &TcpListener, resume: Option<Instant>) -> std::io::Result<(TcpStream, SocketAddr)> {
    if let Some(resume) = resume {
        tokio::time::sleep_until(resume).await;
    }
    socket.accept().await
}

// === impl Peer ===

impl Peer {
    /// Who asked from there.
    #[must_use]
    pub fn new(address: SocketAddr, is_tls: bool) -> Self {
        Self { address, is_tls }
    }

    /// Where the request came from; an IPv4 client of a dual-stack socket has its IPv4 address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it came by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

// === impl Seldom ===

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| WARN_EVERY <= now.saturating_duration_since(last));
        if due {
            self.0 = Some(now);
        }
        due
    }
}

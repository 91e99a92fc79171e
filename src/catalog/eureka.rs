//! The catalog of Eureka servers: whole lists, then what changed, from the first server that answers.
//!
//! A list is taken over when it could be read to its end. Changes count only when the server's hash code says that
//! they lead to what it has; otherwise everything is read anew (spec amalgam8 section 8, eureka section 3.9).
//! Never: writes to what it follows, or keeps more of an answer than the catalog may have.

mod known;
mod translation;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::known::{Known, Outcome};
use super::config::EurekaConfig;
use super::{CatalogError, Sink};
use crate::outbound::{Backoff, BaseUrl, Bounds, CallError, Opened, Outbound, Trust, jittered};

/// Follows one world of Eureka servers.
#[derive(Debug)]
pub struct EurekaCatalog {
    config: EurekaConfig,
    sink: Sink,
}

/// Where the following stands.
#[derive(Debug)]
struct Follower {
    config: EurekaConfig,
    sink: Sink,
    outbound: Outbound,
    /// The server that answered last.
    at: usize,
    /// When the first server was last left for another, or tried again in vain.
    away_since: Instant,
    /// What that server has, where its changes can be followed.
    known: Option<Known>,
    /// When everything was last read.
    full_at: Instant,
    current_at: Instant,
}

/// Why one server could not be read.
#[derive(Debug)]
enum Trouble {
    Unanswered(CallError),
    Refuses(StatusCode),
    Unreadable,
}

/// Why no server could be read: that of the first one.
#[derive(Debug)]
struct NoServer {
    server: String,
    trouble: Trouble,
    others: usize,
}

/// Longest wait for the next part of an answer, and for all of it.
const QUIET: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(60);
/// An answer may have so many bytes, and so many more for each instance that the catalog may have.
const BYTES: usize = 64 * 1024 * 1024;
const BYTES_PER_INSTANCE: usize = 2 * 1024;
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// After so long with another server, the first one is tried again.
const BACK_AFTER: Duration = Duration::from_secs(5 * 60);
/// Servers forget changes after 3 minutes (spec eureka section 3.9).
const CHANGES_LAST: Duration = Duration::from_secs(2 * 60);
/// Hash codes count instances only, so changes may go astray unnoticed.
const FULL_EVERY: Duration = Duration::from_secs(10 * 60);
/// First and longest wait after a failure, but never longer than between two looks.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

// === impl EurekaCatalog ===

impl EurekaCatalog {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// Without any server.
    pub fn new(config: EurekaConfig, sink: Sink) -> Result<Self, CatalogError> {
        match config.urls.is_empty() {
            true => Err(CatalogError("--eureka_url names no server".to_owned())),
            false => Ok(Self { config, sink }),
        }
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(Follower::new(self).follow()).await;
        shutdown.cancelled().await;
    }
}

// === impl Follower ===

impl Follower {
    fn new(EurekaCatalog { config, sink }: EurekaCatalog) -> Self {
        let trust = match (config.urls.iter().any(BaseUrl::is_tls), config.is_insecure) {
            (false, _) => Trust::Nobody,
            (true, false) => Trust::System,
            (true, true) => Trust::Anyone,
        };
        let (outbound, now) = (Outbound::new(trust), Instant::now());
        Self { config, sink, outbound, at: 0, away_since: now, known: None, full_at: now, current_at: now }
    }

    async fn follow(mut self) {
        let poll = self.config.poll;
        let mut backoff = Backoff::new(AGAIN.0.min(poll), AGAIN.1.min(poll));
        loop {
            let pause = match self.look().await {
                Ok(at) => {
                    self.follow_from_now_on(at);
                    backoff.reset();
                    jittered(poll)
                }
                Err(why) => {
                    self.sink.failed(why);
                    backoff.next()
                }
            };
            self.sink.tried();
            sleep(pause).await;
        }
    }

    fn follow_from_now_on(&mut self, at: usize) {
        self.current_at = Instant::now();
        if at != self.at {
            let server = self.config.urls[at].host_and_port();
            tracing::info!(server, "catalog eureka is read from {server} now");
            self.away_since = self.current_at;
            self.at = at;
        }
    }

    /// Brings what is shown up to date from the first server that answers; answers with its place.
    async fn look(&mut self) -> Result<usize, NoServer> {
        let count = self.config.urls.len();
        let is_time_to_return = self.at != 0 && BACK_AFTER <= self.away_since.elapsed();
        if is_time_to_return {
            self.away_since = Instant::now();
        }
        let first = if is_time_to_return { 0 } else { self.at };
        let mut order = vec![first];
        order.extend((self.at..count).chain(0..self.at).filter(|at| *at != first));
        let mut first_trouble = None;
        for at in order {
            match self.look_at(at).await {
                Ok(()) => return Ok(at),
                Err(trouble) => {
                    tracing::debug!(at, %trouble, "a server of catalog eureka {trouble}");
                    first_trouble.get_or_insert((at, trouble));
                }
            }
        }
        let (at, trouble) = first_trouble.unwrap_or((0, Trouble::Unreadable));
        Err(NoServer { server: self.config.urls[at].host_and_port(), trouble, others: count - 1 })
    }

    async fn look_at(&mut self, at: usize) -> Result<(), Trouble> {
        let is_fresh = self.current_at.elapsed() < CHANGES_LAST && self.full_at.elapsed() < FULL_EVERY;
        let known = self.known.take_if(|_| at == self.at && is_fresh);
        if let Some(known) = known
            && self.look_at_changes(at, known).await?
        {
            return Ok(());
        }
        let list = self.ask(at, &["apps"]).await?;
        let (sink, namespace) = (self.sink.clone(), self.config.namespace.clone());
        let read = list.read(move |body| known::take_over(body, &namespace, &sink)).await;
        self.known = read.map_err(Trouble::Unanswered)?.map_err(|_| Trouble::Unreadable)?;
        self.full_at = Instant::now();
        Ok(())
    }

    /// Whether it is all up to date by the changes that the server tells.
    async fn look_at_changes(&mut self, at: usize, known: Known) -> Result<bool, Trouble> {
        let list = match self.ask(at, &["apps", "delta"]).await {
            Ok(list) => list,
            Err(trouble @ Trouble::Unanswered(CallError::Unconnected(_) | CallError::TimedOut)) => {
                self.known = Some(known);
                return Err(trouble);
            }
            // Not every server tells its changes.
            Err(_) => return Ok(false),
        };
        let (sink, namespace) = (self.sink.clone(), self.config.namespace.clone());
        match list.read(move |body| known.apply(body, &namespace, &sink)).await {
            Ok(Outcome::Current(known)) => {
                self.known = Some(known);
                Ok(true)
            }
            Err(CallError::TimedOut) => Err(Trouble::Unanswered(CallError::TimedOut)),
            Ok(Outcome::Astray) | Err(_) => Ok(false),
        }
    }

    async fn ask(&self, at: usize, path: &[&str]) -> Result<Opened, Trouble> {
        let url = &self.config.urls[at];
        let uri = url.below(path, &[]).map_err(|e| Trouble::Unanswered(CallError::Broken(e.to_string())))?;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("a8registry/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = url.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let for_instances = self.sink.max_instances().saturating_mul(BYTES_PER_INSTANCE);
        let bytes = BYTES.saturating_add(for_instances).min(BYTES_MAX);
        let bounds = Bounds { quiet: QUIET, whole: WHOLE, bytes };
        let answer = self.outbound.open(request, bounds).await.map_err(Trouble::Unanswered)?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(Trouble::Refuses(status)),
        }
    }
}

// === impl Trouble ===

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => write!(f, "{error}"),
            Self::Refuses(status) => write!(f, "answers {}", status.as_u16()),
            Self::Unreadable => f.write_str("answers what is no list of applications in JSON"),
        }
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, trouble, others } = self;
        write!(f, "{server} {trouble}")?;
        match others {
            0 => Ok(()),
            1 => f.write_str(", nor can the other server be read"),
            others => write!(f, ", nor can one of the other {others} servers be read"),
        }
    }
}

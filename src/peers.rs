//! Eureka servers that this one and they each tell of their clients' writes: Netflix', Spring's, or our own
//! (spec eureka section 4).
//!
//! Each peer has a queue of its own and a loop that empties it, so that none delays another, or a request.
//! What a peer said is never sent on: the registry offers only what clients wrote.
//! Never: answers a peer's requests; that is the API's.

mod announcement;
mod first_sync;
mod intake;
mod link;
mod mailbox;
mod metrics;
mod queue;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::directory::Directory;
use crate::model::{Clock, Invalid, Namespace, ServiceName, Timestamp};
use crate::outbound::{BaseUrl, CallError, Outbound, Trust};
use crate::registry::{Forward, Forwarded, Registry, Replica, Replicas};
use crate::telemetry::{Component, Health};
use intake::Intake;
use mailbox::Mailbox;
use metrics::{Counts, ItemResult};
use queue::Lost;
use standing::{Standing, Trouble};

pub use announcement::Announcement;
pub use first_sync::FirstSync;
pub use link::Link;

/// Who the peers are, and what they share with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeersConfig {
    /// Where they are; one that is this server itself is left out.
    pub urls: Vec<BaseUrl>,
    /// The namespace that is shared with them.
    pub namespace: Namespace,
    /// The application under which this server is registered at them.
    pub application: ServiceName,
    /// Where they reach this server; none: by the address that it listens on.
    pub own_url: Option<BaseUrl>,
    /// Most bytes that the metadata of an instance of theirs may have as JSON.
    pub metadata_max: usize,
}

/// Where this server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Address and port, the latter not 0.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub is_tls: bool,
}

/// The peers with their loops, which are still to be run.
#[derive(Debug)]
#[must_use]
pub struct Peering {
    /// The peers.
    pub peers: Arc<Peers>,
    /// One for each peer; to be ended after the last request.
    pub links: Vec<Link>,
    /// One for each peer; to be ended first.
    pub announcements: Vec<Announcement>,
    /// Makes the process ready.
    pub first_sync: FirstSync,
}

/// All peers.
#[derive(Debug)]
pub struct Peers {
    namespace: Namespace,
    clock: Arc<Clock>,
    outbound: Outbound,
    health: Arc<Health>,
    counts: Counts,
    peers: Box<[Arc<Peer>]>,
    /// Instances of a peer's list are here.
    has_taken_over: AtomicBool,
}

/// One peer.
#[derive(Debug)]
struct Peer {
    url: BaseUrl,
    /// `host:port`
    name: String,
    /// What `DiscoveryIdentity-Id` says of us.
    identity: HeaderValue,
    mailbox: Mailbox,
    standing: Standing,
}

// === impl Peering ===

impl Peering {
    /// Puts everything together; none when there is no peer but this server itself. Must be made before the
    /// registry takes a write.
    ///
    /// # Errors
    /// When this server's own URL has a name that is too long for one.
    pub fn new(
        config: PeersConfig,
        registry: &Registry,
        clock: Arc<Clock>,
        health: Arc<Health>,
        listening: Listening,
    ) -> Result<Option<Self>, Invalid> {
        let PeersConfig { urls, namespace, application, own_url, metadata_max } = config;
        let own_url = own_url.or_else(|| announcement::own_url(listening.address, listening.is_tls, &urls));
        let is_own = |url: &BaseUrl| own_url.as_ref().is_some_and(|own| own.is_same_place(url));
        for own in urls.iter().filter(|url| is_own(url)) {
            tracing::info!(url = %own, "{own} is this server itself, and no peer");
        }
        let others: Vec<_> = urls.iter().filter(|url| !is_own(url)).cloned().collect();
        let (false, Some(own_url)) = (others.is_empty(), own_url) else { return Ok(None) };

        let ip = announcement::address_towards(&others);
        let now = clock.time_of_day(clock.now());
        let own = Arc::new(announcement::own_instance(&application, &own_url, ip, now)?);
        let identity = HeaderValue::try_from(ip.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        let trust = if others.iter().any(BaseUrl::is_tls) { Trust::System } else { Trust::Nobody };
        let intake = Intake {
            registry: registry.clone(),
            namespace: namespace.clone(),
            metadata_max,
            own: (application.as_str().into(), own.id_in_application().into()),
        };
        let peers = others.into_iter().map(|url| Arc::new(Peer::new(url, identity.clone()))).collect();
        let outbound = Outbound::new(trust);
        let peers = Arc::new(Peers {
            namespace,
            clock,
            outbound,
            health: health.clone(),
            counts: Counts::default(),
            peers,
            has_taken_over: AtomicBool::new(false),
        });
        peers.report();
        health.awaits(FirstSync::PART);
        registry.forward_to(peers.clone());
        let each = || peers.peers.iter().map(|peer| (peers.clone(), peer.clone()));
        Ok(Some(Self {
            links: each().map(|(peers, peer)| Link { peers, peer, intake: intake.clone() }).collect(),
            announcements: each().map(|(peers, peer)| Announcement::new(peers, peer, own.clone())).collect(),
            first_sync: FirstSync { peers: peers.clone(), intake, health },
            peers,
        }))
    }
}

// === impl Peers ===

impl Peers {
    fn now(&self) -> Timestamp {
        self.clock.time_of_day(self.clock.now())
    }

    fn directory(&self, registry: &Registry) -> Arc<Directory> {
        registry.directory(&self.namespace)
    }

    fn push(&self, peer: &Peer, write: Forwarded) {
        let lost = peer.mailbox.push(write, self.clock.now());
        self.count_lost(peer, lost);
    }

    fn count_lost(&self, peer: &Peer, lost: Lost) {
        let Lost { overflown, expired } = lost;
        self.counts.items(peer, ItemResult::Overflown, overflown);
        self.counts.items(peer, ItemResult::Expired, expired);
    }

    fn took(&self, peer: &Peer) {
        if peer.standing.took(&peer.name, self.now()) {
            self.report();
        }
    }

    fn failed(&self, peer: &Peer, trouble: Trouble) {
        if peer.standing.failed(&peer.name, trouble) {
            self.report();
        }
    }

    /// Puts how the peers are on the health board. They are detail there: without any of them this server
    /// does its work.
    fn report(&self) {
        let properties: Map<_, _> = self.peers.iter().map(|peer| (peer.name.clone(), peer.shown())).collect();
        self.health.report("PEERS", Component { healthy: true, properties });
    }
}

impl Forward for Peers {
    fn wants(&self, namespace: &Namespace) -> bool {
        *namespace == self.namespace
    }

    fn offer(&self, write: Forwarded) {
        for peer in &self.peers {
            self.push(peer, write.clone());
        }
    }
}

impl Replicas for Peers {
    fn replicas(&self) -> Vec<Replica> {
        let shown = |peer: &Arc<Peer>| Replica {
            url: peer.url.to_string(),
            is_available: peer.standing.is_up() == Some(true),
        };
        self.peers.iter().map(shown).collect()
    }

    fn has_taken_over(&self) -> bool {
        self.has_taken_over.load(Ordering::Relaxed)
    }
}

// === impl Peer ===

impl Peer {
    /// Says that a request is no client's.
    const REPLICATION: HeaderName = HeaderName::from_static("x-netflix-discovery-replication");

    fn new(url: BaseUrl, identity: HeaderValue) -> Self {
        let name = url.host_and_port();
        Self { url, name, identity, mailbox: Mailbox::default(), standing: Standing::default() }
    }

    /// A request to the peer without a body, with the headers by which servers know each other
    /// (spec eureka sections 4.2 and 4.8).
    fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let uri = self.url.below(segments, query).map_err(|error| CallError::Broken(error.to_string()))?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for (name, value) in [
            (ACCEPT, "application/json"),
            // The name by which a peer's limit on requests lets servers through.
            (HeaderName::from_static("discoveryidentity-name"), "DefaultServer"),
            (HeaderName::from_static("discoveryidentity-version"), "1.0"),
            (Self::REPLICATION, "true"),
            (USER_AGENT, concat!("a8registry/", env!("CARGO_PKG_VERSION"))),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(HeaderName::from_static("discoveryidentity-id"), self.identity.clone());
        if let Some(authorization) = self.url.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    fn shown(&self) -> Value {
        match (self.standing.is_up(), self.standing.trouble()) {
            (_, Some(trouble)) => json!({ "up": false, "trouble": trouble }),
            (Some(is_up), None) => json!({ "up": is_up }),
            (None, None) => json!({ "up": null }),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorized(status),
            StatusCode::SERVICE_UNAVAILABLE => Self::Busy,
            status => Self::Refuses(status),
        }
    }
}

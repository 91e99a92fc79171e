//! This member, with its port taken: what it is called, and what it needs to find the others.
//!
//! Whatever can be wrong at a start is wrong here, before anything is served.
//! Never: dials, or reads a file after the start.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::config::{Advertised, ClusterConfig, ClusterSecret, Place, Source as Found};
use super::dialling::Introduction;
use super::interfaces::private_address;
use super::link::FRAME_MAX;
use super::members::Source;
use super::members::directory::{Card, DirectoryMembers, next_incarnation};
use super::members::dns::DnsMembers;
use super::members::fixed::FixedMembers;
use super::mesh::Mesh;
use super::message::MemberId;
use super::network::{Network, Tcp};
use super::replication::Replication;
use super::replicator::Settings;
use super::roster::Roster;
use super::secret::{Key, SharedSecret};
use super::tls::{ClusterTlsError, Tls};
use super::view::{About, View};
use crate::directory::LeaseRules;
use crate::model::Timestamp;
use crate::telemetry::Health;

/// A member that does not take part yet.
#[derive(Debug)]
#[must_use]
pub struct Member<N: Network = Tcp> {
    introduction: Introduction<N>,
    listener: N::Listener,
    source: Box<dyn Source>,
    size: usize,
    sync_timeout: Duration,
    hold: Duration,
    max_ttl: Duration,
}

/// Why a member cannot begin.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// There is nothing to tell the others.
    #[error(
        "no interface of this machine has an address that others could dial; want one, or --cluster_advertise"
    )]
    NoAddress,
    /// The port cannot be had.
    #[error("--replication_port: {address} cannot be listened on: {error}")]
    Port {
        /// What was tried.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The directory cannot be used.
    #[error("--cluster_dir: {directory} cannot be made: {error}")]
    Directory {
        /// Which.
        directory: String,
        /// Why not.
        error: io::Error,
    },
    /// The directory's secret cannot be used.
    #[error(
        "the secret of the cluster in {file} cannot be used: {error}; all members have to run as the same user, or be given the same --cluster_secret"
    )]
    Secret {
        /// Where it is.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] ClusterTlsError),
    /// There are no name servers.
    #[error("--cluster_dns: this machine's name servers are not known: {0}")]
    Dns(String),
}

/// How long renewals are collected before they are sent.
pub const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How long somebody is dialled at least who is not listed any more.
const REMEMBERED: Duration = Duration::from_secs(60);

// === impl Member ===

impl Member {
    /// Takes the port and reads what is to be read; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When something that operators said cannot be done; the error names the flag.
    pub fn bind(config: ClusterConfig) -> Result<Self, ClusterError> {
        let (listener, place) = listen(config.advertise.as_ref(), config.port, &config.secret)?;
        Self::reached(Tcp, (listener, place), Timestamp::of_system(), config)
    }
}

impl<N: Network> Member<N> {
    /// A member that others reach over a network by what it listens to, at a place that they know it by; `now` is the
    /// time of day. The address and the port of the configuration were for who made the listener.
    ///
    /// # Errors
    /// When something that operators said cannot be done; the error names the flag.
    pub fn reached(
        network: N,
        (listener, place): (N::Listener, Place),
        now: Timestamp,
        config: ClusterConfig,
    ) -> Result<Self, ClusterError> {
        let ClusterConfig { source, advertise: _, port: _, secret, size, sync_timeout, hold, max_ttl, tls } =
            config;
        let tls = tls.map(Tls::load).transpose()?.map(Arc::new);
        let me = MemberId(place.to_string().into());
        let now = now.as_millis();
        let (incarnation, shared) = match &source {
            Found::Directory(directory) => {
                make(directory)?;
                let shared = match secret {
                    ClusterSecret::Shared => Some(shared_secret(directory)?),
                    ClusterSecret::Given(_) | ClusterSecret::Loopback => None,
                };
                // A clock that was set back must not make this start older than the one before.
                (now.max(after_the_last(directory, &me).unwrap_or_default()), shared)
            }
            Found::Dns(_) | Found::Fixed(_) => (now, None),
        };
        let key = match (&secret, &shared) {
            (ClusterSecret::Given(secret), _) => Key::new(secret.expose()),
            (ClusterSecret::Shared, Some(shared)) => shared.key(),
            (ClusterSecret::Shared, None) | (ClusterSecret::Loopback, _) => Key::new("loopback"),
        };
        let source: Box<dyn Source> = match source {
            Found::Directory(directory) => {
                let card = Card::new(&me, &place, incarnation);
                Box::new(DirectoryMembers::new(directory, card, shared))
            }
            Found::Dns(name) => Box::new(DnsMembers::new(name, place.port()).map_err(ClusterError::Dns)?),
            Found::Fixed(places) => Box::new(FixedMembers::new(places)),
        };
        let id = &me.0;
        tracing::info!(member = %id, source = source.kind(), "this is member {id} of a cluster that is found by {}", source.kind());
        let introduction = Introduction { network, me, incarnation, key, tls };
        Ok(Self { introduction, listener, source, size, sync_timeout, hold, max_ttl })
    }

    /// What the rules of replication are told of this member, and of how leases end in its store.
    #[must_use]
    pub fn settings(&self, leases: LeaseRules) -> Settings {
        let Introduction { me, incarnation, .. } = &self.introduction;
        Settings {
            me: me.clone(),
            incarnation: *incarnation,
            max_ttl: self.max_ttl,
            hold: self.hold,
            flush: FLUSH_EVERY,
            frame_max: FRAME_MAX,
            leases,
        }
    }

    /// What connects these rules to the others, and what is seen of it.
    pub fn meets(self, replication: Arc<Replication>, health: Arc<Health>) -> (Mesh<N>, Arc<View>) {
        let Self { introduction, listener, source, size, sync_timeout, hold, max_ttl: _ } = self;
        let about = About {
            me: introduction.me.0.clone(),
            incarnation: introduction.incarnation,
            threshold: size,
            source: source.kind(),
            is_tls: introduction.tls.is_some(),
        };
        let roster = Roster::new(introduction.me.clone(), hold.max(REMEMBERED));
        let view = Arc::new(View::new(roster, replication.clone(), health, about));
        view.report();
        let mesh = Mesh {
            introduction,
            listener,
            source,
            replication,
            view: view.clone(),
            sync_timeout,
            answering: CancellationToken::new(),
            opened: CancellationToken::new(),
            left: CancellationToken::new(),
        };
        (mesh, view)
    }
}

/// Takes the port on the address that others are told; where that is none of this machine, on every one.
fn listen(
    advertise: Option<&Advertised>,
    port: u16,
    secret: &ClusterSecret,
) -> Result<(TcpListener, Place), ClusterError> {
    let ip = match advertise {
        Some(advertised) => advertised.ip(),
        None => Some(private_address().ok_or(ClusterError::NoAddress)?),
    };
    let mut tried: Vec<IpAddr> = ip.into_iter().collect();
    match secret {
        // Nobody else is to reach it.
        ClusterSecret::Loopback => tried = vec![ip.unwrap_or(Ipv4Addr::LOCALHOST.into())],
        ClusterSecret::Given(_) | ClusterSecret::Shared if advertise.is_some() => {
            tried.extend([IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
        }
        ClusterSecret::Given(_) | ClusterSecret::Shared => {}
    }
    let mut refused = None;
    for ip in tried {
        let address = SocketAddr::new(ip, port);
        match bound(address) {
            Ok((listener, port)) => {
                let place = match (advertise, ip) {
                    (Some(advertised), _) => advertised.place(port),
                    (None, ip) => Place::new(ip.to_string(), port),
                };
                return Ok((listener, place));
            }
            // Another address may be there; a port in use is in use.
            Err(error) => {
                let is_elsewhere = error.kind() == io::ErrorKind::AddrNotAvailable
                    || error.kind() == io::ErrorKind::Unsupported;
                refused = Some(ClusterError::Port { address, error });
                if !is_elsewhere {
                    break;
                }
            }
        }
    }
    Err(refused.unwrap_or(ClusterError::NoAddress))
}

fn bound(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((TcpListener::from_std(listener)?, port))
}

fn make(directory: &Path) -> Result<(), ClusterError> {
    fs::create_dir_all(directory)
        .map_err(|error| ClusterError::Directory { directory: directory.display().to_string(), error })
}

fn shared_secret(directory: &Path) -> Result<SharedSecret, ClusterError> {
    let file = directory.join(super::secret::FILE).display().to_string();
    let secret = SharedSecret::of(directory).map_err(|error| ClusterError::Secret { file, error })?;
    let file = secret.file().display();
    tracing::info!(%file, "the secret of the cluster is that in {file}");
    Ok(secret)
}

/// The incarnation after that of this member's file from before, if it is there.
fn after_the_last(directory: &Path, me: &MemberId) -> Option<u64> {
    let name = Card::file_name(&me.0);
    next_incarnation(&name, &fs::read(directory.join(&name)).ok()?)
}

//! A Docker engine that manages a swarm: what is asked of it, over which connection, and at which cost.
//!
//! Each request has a connection of its own, which lives as long as its answer; there are three each few seconds, and one
//! that stays for events. The files of TLS are read whenever an [`Engine`] is made.
//! Never: changes anything in the swarm, or repeats in an error what the engine says.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::lists::{Lists, Many, read_many};
use crate::catalog::CatalogError;
use crate::catalog::config::SwarmEngine;
use crate::outbound::{Bounds, CallError, Opened, data};
use crate::pem;

/// An engine that can be asked.
pub(super) enum Engine {
    Socket(Box<Path>),
    Tcp(Box<str>),
    Tls { address: Box<str>, name: ServerName<'static>, connector: TlsConnector },
}

/// Why an engine did not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    #[error("the engine cannot be connected to: {0}")]
    Unconnected(String),
    #[error("the engine does not answer in time")]
    TimedOut,
    #[error("the connection to the engine broke off, or what it speaks is not HTTP: {0}")]
    Broken(String),
    #[error("the engine is not in a swarm, or no manager of it")]
    NoManager,
    #[error("the engine answers with status {0}")]
    Refused(u16),
    #[error("the engine answers with more than {LIST_MAX} bytes, or more elements than are read")]
    TooLong,
    #[error("the engine answers with what is not a list")]
    Unreadable,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a whole list, and for the head of the answer with events.
const WHOLE: Duration = Duration::from_secs(30);
/// Most bytes of a list; a task has some 2 kB.
const LIST_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of the answer that says why there is no list.
const REFUSAL_MAX: usize = 64 * 1024;

const SERVICES: &str = "/services";
const NODES: &str = "/nodes";
/// `filters={"desired-state":["running"]}`
const TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22running%22%5D%7D";
/// `filters={"type":["service","node","container"],
/// "event":["create","update","remove","start","die","health_status"]}`; tasks have no events of their own: on this
/// engine their containers have, on the others nothing tells.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22service%22%2C%22node%22%2C%22container%22%5D%2C\
    %22event%22%3A%5B%22create%22%2C%22update%22%2C%22remove%22%2C%22start%22%2C%22die%22%2C%22health_status%22%5D%7D";

// === impl Engine ===

impl Engine {
    /// # Errors
    /// When a file of TLS cannot be used.
    pub(super) fn new(engine: &SwarmEngine) -> Result<Self, CatalogError> {
        Ok(match engine {
            SwarmEngine::Socket(path) => Self::Socket(path.as_path().into()),
            SwarmEngine::Tcp(address) => Self::Tcp(address.clone()),
            SwarmEngine::Tls { address, ca_file, cert_file, key_file } => {
                let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host).map_err(|_| {
                    CatalogError(format!("--swarm_url: {address:?} has no host that a certificate can name"))
                })?;
                let connector = Arc::new(tls(ca_file, cert_file, key_file)?).into();
                Self::Tls { address: address.clone(), name, connector }
            }
        })
    }

    /// All of the swarm that matters here, at about one moment.
    ///
    /// # Errors
    /// When one of the lists cannot be had.
    pub(super) async fn lists(&self) -> Result<Lists, EngineError> {
        let all = async {
            // One after the other, so that one answer at a time is in memory; tasks last, for they are what is shown.
            let services = self.list(SERVICES).await?;
            let nodes = self.list(NODES).await?;
            let tasks = self.list(TASKS).await?;
            Ok(Lists { services, nodes, tasks })
        };
        timeout(WHOLE, all).await.unwrap_or(Err(EngineError::TimedOut))
    }

    /// Tells of each thing that happens from now on and may change a list, until that cannot go on.
    pub(super) async fn events(&self, tell: impl Fn()) -> EngineError {
        let read = async |answer: Response<Incoming>| {
            let mut body = answer.into_body();
            while let Some(part) = data(&mut body).await {
                part.map_err(|error| EngineError::Broken(error.to_string()))?;
                tell();
            }
            Err(EngineError::Broken("the stream of events ended".to_owned()))
        };
        match self.get(EVENTS, read).await {
            Ok(()) => EngineError::Unreadable,
            Err(error) => error,
        }
    }

    async fn list<T: DeserializeOwned + Send + 'static>(&self, path: &str) -> Result<Many<T>, EngineError> {
        let read = async |answer| {
            let bounds = Bounds { quiet: WHOLE, whole: WHOLE, bytes: LIST_MAX };
            let list = Opened::of(answer, bounds, Instant::now() + WHOLE);
            Ok(list.read(|body| read_many::<T>(body)).await?)
        };
        let many = self.get(path, read).await?.map_err(|_| EngineError::Unreadable)?;
        if many.is_cut { Err(EngineError::TooLong) } else { Ok(many) }
    }

    /// Sends a request, and reads its answer when that is 200.
    async fn get<T>(
        &self,
        path: &str,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let connected = timeout(CONNECT, self.connect()).await.map_err(|_| EngineError::TimedOut)?;
        let stream = connected.map_err(|error| EngineError::Unconnected(error.to_string()))?;
        let broken = |error: hyper::Error| EngineError::Broken(with_cause(&error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::get(path).header("Host", "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| EngineError::Broken(error.to_string()))?;
        let exchange = async {
            let answer = timeout(WHOLE, sender.send_request(request)).await;
            let answer = answer.map_err(|_| EngineError::TimedOut)?.map_err(broken)?;
            match answer.status() {
                StatusCode::OK => read(answer).await,
                status => Err(refused(status, answer.into_body()).await),
            }
        };
        let drive = async {
            // What went wrong with it, the exchange has seen, which may also have more to read when it has ended.
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! { done = exchange => done, never = drive => never }
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => Box::new(TcpStream::connect(&**address).await?),
            Self::Tls { address, name, connector } => {
                let stream = TcpStream::connect(&**address).await?;
                Box::new(connector.connect(name.clone(), stream).await?)
            }
        })
    }
}

async fn refused(status: StatusCode, body: Incoming) -> EngineError {
    let is_about_swarm = match timeout(WHOLE, Limited::new(body, REFUSAL_MAX).collect()).await {
        Ok(Ok(text)) => memchr::memmem::find(&text.to_bytes(), b"swarm manager").is_some(),
        Ok(Err(_)) | Err(_) => false,
    };
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_ACCEPTABLE if is_about_swarm => {
            EngineError::NoManager
        }
        status => EngineError::Refused(status.as_u16()),
    }
}

fn with_cause(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn tls(ca_file: &Path, cert_file: &Path, key_file: &Path) -> Result<ClientConfig, CatalogError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("--swarm_ca_file", ca_file)? {
        roots.add(authority).map_err(|error| unusable("--swarm_ca_file", ca_file, &error))?;
    }
    let chain = certificates("--swarm_cert", cert_file)?;
    let key = pem::read(key_file).and_then(|text| pem::private_key(&text));
    let key = key.map_err(|error| unusable("--swarm_key", key_file, &error))?;
    ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| CatalogError(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("--swarm_cert with --swarm_key", cert_file, &error))
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, CatalogError> {
    pem::read(path).and_then(|text| pem::certificates(&text)).map_err(|error| unusable(flag, path, &error))
}

fn unusable(flag: &str, path: &Path, why: &dyn std::fmt::Display) -> CatalogError {
    CatalogError(format!("{flag}: {}: {why}", path.display()))
}

// === impl EngineError ===

impl From<CallError> for EngineError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unconnected(why) => Self::Unconnected(why),
            CallError::TimedOut => Self::TimedOut,
            CallError::Broken(why) => Self::Broken(why),
            CallError::TooLong { max: _ } => Self::TooLong,
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => f.debug_tuple("Socket").field(path).finish(),
            Self::Tcp(address) => f.debug_tuple("Tcp").field(address).finish(),
            Self::Tls { address, name: _, connector: _ } => f.debug_tuple("Tls").field(address).finish(),
        }
    }
}

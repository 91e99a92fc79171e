//! The API server: one request at a time, authenticated, every wait and every answer bounded.
//!
//! Never: writes, follows a redirect, or shows a token, a namespace's name or the server's own words in an error.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tower::Layer;

use super::objects::Refusal;
use super::selection::Answer;
use crate::catalog::CatalogError;
use crate::catalog::config::{KubernetesConfig, KubernetesServer};
use crate::model::{Namespace, Secret};
use crate::outbound::{BaseUrl, data, innermost};

/// Asks the API server; cheap to clone, the clones share connections.
#[derive(Clone)]
pub(super) struct ApiServer {
    client: Client,
    credentials: Arc<Credentials>,
    patience: Patience,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the head of an answer, and for each next part of it.
    pub(super) quiet: Duration,
    /// How long a watch is asked for.
    pub(super) watch: Duration,
    /// For a watch to say something, or to end when its time is over.
    pub(super) watch_quiet: Duration,
}

/// Why the API server could not be followed; shows as a sentence without names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the API server is silent")]
    Silent,
    #[error("the API server broke off: {0}")]
    Broken(String),
    #[error("the API server answers with more than {max} bytes at once")]
    TooLong { max: usize },
    #[error("the API server does not take the token (401)")]
    Unauthenticated,
    #[error("the API server answers {status} to {what}")]
    Refused { status: StatusCode, what: &'static str },
    #[error("what the API server had is no longer there (410)")]
    Expired,
    #[error("the API server's answer to {what} cannot be read: {why}")]
    Unreadable { what: &'static str, why: String },
    #[error("the token cannot be used: {0}")]
    Token(String),
}

/// The body of an answer, as it comes.
pub(super) struct Answering {
    body: Body,
    quiet: Duration,
    /// What came and was not taken yet.
    buffer: BytesMut,
    /// So much of it has no end of a line.
    searched: usize,
}

#[derive(Debug)]
enum Credentials {
    None,
    Header(HeaderValue),
    /// The last good token is kept for when the file cannot be read.
    File(PathBuf, Mutex<HeaderValue>),
}

/// Where a pod finds what its service account may use.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// For a connection to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// How soon the system asks whether a silent server is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Far more than a token needs.
const TOKEN_MAX: u64 = 64 * 1024;
/// What is read of an answer that says no.
const REFUSAL_MAX: usize = 64 * 1024;

// === impl ApiServer ===

impl ApiServer {
    /// Nothing is asked yet. Belongs into a runtime, for the connections' sake.
    pub(super) fn new(config: &KubernetesConfig, patience: Patience) -> Result<Self, CatalogError> {
        let is_in_cluster = matches!(config.server, KubernetesServer::InCluster(_));
        let in_pod = |file: &str| is_in_cluster.then(|| Path::new(SERVICE_ACCOUNT).join(file));
        let (KubernetesServer::At(url) | KubernetesServer::InCluster(url)) = &config.server;
        let address = url.to_string().parse().map_err(|error| wrong("k8s_url", url, &error))?;
        let mut cluster = Config::new(address);
        cluster.accept_invalid_certs = config.is_insecure;
        cluster.root_cert_file = config.ca_file.clone().or_else(|| in_pod("ca.crt")).filter(|_| url.is_tls());
        if cluster.root_cert_file.is_some() || !url.is_tls() {
            // Those of the system are not wanted, so they need not be there.
            cluster.root_cert = Some(Vec::new());
        }
        let client = connecting(&cluster).map_err(|error| match &cluster.root_cert_file {
            Some(file) => wrong("k8s_ca_file", &file.display(), &innermost(&error)),
            None => wrong("k8s_url", url, &innermost(&error)),
        })?;
        let no_token = config.token.is_none();
        let token_file = config.token_file.clone().or_else(|| in_pod("token").filter(|_| no_token));
        let credentials = Arc::new(Credentials::new(config.token.as_ref(), token_file, url)?);
        Ok(Self { client, credentials, patience })
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// Whether the API server is there and takes our token.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        match self.complete(get("/version".to_owned())?, "a look at its version", REFUSAL_MAX).await {
            // Who may see the version is its own affair.
            Ok(_) | Err(Failure::Refused { .. } | Failure::TooLong { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Whether there is such a namespace. `name` is a label of DNS.
    pub(super) async fn look_up(&self, name: &Namespace) -> Result<Answer, Failure> {
        let request = get(format!("/api/v1/namespaces/{name}"))?;
        let mut answering = match self.send(request).await? {
            (StatusCode::NOT_FOUND, answering) => answering,
            (StatusCode::UNAUTHORIZED, _) => return Err(Failure::Unauthenticated),
            (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::Refused { status, what: "a look-up of a namespace" });
            }
            // Found, or not to be said.
            _ => return Ok(Answer::Known),
        };
        // A server that does not know what namespaces are says 404, too, but not of this name.
        let refusal: Refusal = serde_json::from_slice(&answering.all(REFUSAL_MAX).await?).unwrap_or_default();
        let details = refusal.details.unwrap_or_default();
        let is_its_name = details.name.as_deref() == Some(name.as_str())
            && details.kind.as_deref().is_none_or(|kind| kind == "namespaces");
        Ok(if is_its_name { Answer::Unknown } else { Answer::Known })
    }

    /// The whole answer.
    pub(super) async fn complete(
        &self,
        request: Request<Vec<u8>>,
        what: &'static str,
        max: usize,
    ) -> Result<BytesMut, Failure> {
        self.begin(request, what, self.patience.quiet).await?.all(max).await
    }

    /// An answer that says yes, as it comes; it may be silent for `quiet`.
    pub(super) async fn begin(
        &self,
        request: Request<Vec<u8>>,
        what: &'static str,
        quiet: Duration,
    ) -> Result<Answering, Failure> {
        match self.send(request).await? {
            (StatusCode::OK, answering) => Ok(Answering { quiet, ..answering }),
            (StatusCode::UNAUTHORIZED, _) => Err(Failure::Unauthenticated),
            (StatusCode::GONE, _) => Err(Failure::Expired),
            (status, _) => Err(Failure::Refused { status, what }),
        }
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<(StatusCode, Answering), Failure> {
        let mut request = request.map(Body::from);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(header) = self.credentials.header(self.patience.quiet).await? {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        let quiet = self.patience.quiet;
        let (head, body) = match timeout(quiet + CONNECT, self.client.send(request)).await {
            Err(_) => return Err(Failure::Silent),
            Ok(Err(error)) => return Err(Failure::Unreachable(innermost(&error))),
            Ok(Ok(answer)) => Response::into_parts(answer),
        };
        Ok((head.status, Answering { body, quiet, buffer: BytesMut::new(), searched: 0 }))
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Without the layers that the library adds: they log what is told of here, and more than that.
fn connecting(cluster: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEP_ALIVE));
    let connector = cluster.rustls_https_connector_with_connector(connector)?;
    let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build::<_, Body>(connector);
    Ok(Client::new(cluster.base_uri_layer().layer(connections), &*cluster.default_namespace))
}

/// A request for what is at a path.
pub(super) fn get(path: String) -> Result<Request<Vec<u8>>, Failure> {
    Request::get(path).body(Vec::new()).map_err(|error| Failure::Unreachable(error.to_string()))
}

fn wrong(flag: &str, got: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> CatalogError {
    CatalogError(format!("--{flag} is {got}, which cannot be used: {why}"))
}

// === impl Answering ===

impl Answering {
    /// All of it.
    pub(super) async fn all(&mut self, max: usize) -> Result<BytesMut, Failure> {
        while let Some(part) = self.part().await? {
            self.take(&part, max)?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The next line; none at the end.
    pub(super) async fn line(&mut self, max: usize) -> Result<Option<BytesMut>, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            match self.part().await? {
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
                Some(part) => self.take(&part, max)?,
            }
        }
    }

    fn take(&mut self, part: &[u8], max: usize) -> Result<(), Failure> {
        if max < self.buffer.len().saturating_add(part.len()) {
            return Err(Failure::TooLong { max });
        }
        self.buffer.extend_from_slice(part);
        Ok(())
    }

    async fn part(&mut self) -> Result<Option<Bytes>, Failure> {
        match timeout(self.quiet, data(&mut self.body)).await {
            Err(_) => Err(Failure::Silent),
            Ok(part) => part.transpose().map_err(|error| Failure::Broken(innermost(&error))),
        }
    }
}

// === impl Credentials ===

impl Credentials {
    fn new(token: Option<&Secret>, file: Option<PathBuf>, url: &BaseUrl) -> Result<Self, CatalogError> {
        if let Some(file) = file {
            let unusable = |why: String| wrong("k8s_token_file", &file.display(), &why);
            // Asked before opening: to open a pipe can wait for ever.
            let is_file = std::fs::metadata(&file).map_err(|error| unusable(error.to_string()))?.is_file();
            if !is_file {
                return Err(unusable("it is not a file".to_owned()));
            }
            let mut text = Vec::new();
            std::fs::File::open(&file)
                .and_then(|open| open.take(TOKEN_MAX).read_to_end(&mut text))
                .map_err(|error| unusable(error.to_string()))?;
            let header = bearer(&text).map_err(unusable)?;
            return Ok(Self::File(file, Mutex::new(header)));
        }
        match (token, url.authorization()) {
            (Some(token), _) => bearer(token.expose().as_bytes())
                .map(Self::Header)
                .map_err(|why| CatalogError(format!("--k8s_token cannot be used: {why}"))),
            (None, Some(header)) => Ok(Self::Header(header.clone())),
            (None, None) => Ok(Self::None),
        }
    }

    /// A file is read for each request: there are few, and tokens are replaced while they are valid.
    async fn header(&self, patience: Duration) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Header(header) => Ok(Some(header.clone())),
            Self::File(path, last) => match timeout(patience, read_token(path)).await {
                Err(_) | Ok(Err(_)) => Ok(Some(last.lock().clone())),
                Ok(Ok(text)) => {
                    let header = bearer(&text).map_err(Failure::Token)?;
                    last.lock().clone_from(&header);
                    Ok(Some(header))
                }
            },
        }
    }
}

async fn read_token(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    tokio::fs::File::open(path).await?.take(TOKEN_MAX).read_to_end(&mut text).await?;
    Ok(text)
}

fn bearer(token: &[u8]) -> Result<HeaderValue, String> {
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut header = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
        .map_err(|_| "it holds characters that no token has".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
pub(super) mod tests;

//! `a8registry healthcheck`: asks the registry on this machine whether it is ready.
//!
//! It speaks to its own machine, so that a certificate's name and signer are not verified; it sends nothing
//! worth stealing. With mutual TLS it shows the server's own certificate. Where the server refuses that (an
//! alert, or the end of the connection instead of an answer), the port still proved that it speaks TLS, which is all
//! that can be seen without a certificate, and counts as healthy; `--ops_address` lets readiness be seen.
//! Never: changes anything, or waits longer than five seconds.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outbound::AnyCertificate;
use crate::pem;

/// For everything together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of the answer's first line that are read.
const STATUS_LINE_MAX: u64 = 64;

/// A proxy's header keeps `--require_https` from redirecting the plain question.
const QUESTION: &str = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\
                        User-Agent: a8registry-healthcheck\r\nConnection: close\r\n\r\n";

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Tried in order until one takes the connection; at least one.
    pub addresses: Vec<SocketAddr>,
    /// What is spoken there.
    pub transport: Transport,
}

/// What is spoken below HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
    /// TLS with a client certificate, from these PEM files.
    MutualTls {
        /// Certificate chain.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// Why the registry does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It answers, and is not ready.
    #[error("{address} answers {status}, want 200")]
    NotReady {
        /// Who was asked.
        address: SocketAddr,
        /// The status that came.
        status: u16,
    },
    /// Nobody takes the connection, or it breaks.
    #[error("{address}: {error}")]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What went wrong.
        error: io::Error,
    },
    /// It takes too long.
    #[error("{address} does not answer within {} s", PATIENCE.as_secs())]
    Silent {
        /// Who was asked first.
        address: SocketAddr,
    },
    /// The server's certificate, which mutual TLS needs, cannot be used.
    #[error("{path}: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is nobody to ask.
    #[error("there is no address to ask")]
    NoAddress,
}

/// TLS was agreed on, and then the connection ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ended without an answer")]
struct EndedAfterHandshake;

// === impl Probe ===

impl Probe {
    /// Asks; at most five seconds.
    ///
    /// # Errors
    /// When the registry is not ready, or cannot be asked.
    pub async fn run(self) -> Result<(), Unhealthy> {
        let Some(first) = self.addresses.first().copied() else { return Err(Unhealthy::NoAddress) };
        match tokio::time::timeout(PATIENCE, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(Unhealthy::Silent { address: first }),
        }
    }

    async fn ask(&self) -> Result<(), Unhealthy> {
        let (address, stream) = self.connect().await?;
        let unreachable = |error| Unhealthy::Unreachable { address, error };
        let status = match &self.transport {
            Transport::Plain => status_of(stream).await.map_err(unreachable)?,
            Transport::Tls => status_by_tls(stream, any_server()).await.map_err(unreachable)?,
            Transport::MutualTls { cert, key } => {
                match status_by_tls(stream, with_certificate(cert, key)?).await {
                    Err(error) if is_refusal(&error) => 200,
                    other => other.map_err(unreachable)?,
                }
            }
        };
        if status == 200 { Ok(()) } else { Err(Unhealthy::NotReady { address, status }) }
    }

    async fn connect(&self) -> Result<(SocketAddr, TcpStream), Unhealthy> {
        let mut last = Unhealthy::NoAddress;
        for address in self.addresses.iter().copied() {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok((address, stream)),
                Err(error) => last = Unhealthy::Unreachable { address, error },
            }
        }
        Err(last)
    }
}

async fn status_by_tls(stream: TcpStream, config: ClientConfig) -> io::Result<u16> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    status_of(stream).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), EndedAfterHandshake)
        }
        _ => error,
    })
}

/// Puts the question and reads the answer's first line.
async fn status_of(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u16> {
    stream.write_all(QUESTION.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    let mut limited = stream.take(STATUS_LINE_MAX);
    while !head.contains(&b'\n') && 0 < limited.read_buf(&mut head).await? {}
    if head.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without an answer"));
    }
    let status = std::str::from_utf8(&head).ok().and_then(|head| head.strip_prefix("HTTP/1."));
    let status = status.and_then(|rest| rest.split(' ').nth(1)?.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak HTTP"))
}

/// Whether the other side ended a connection that spoke TLS: by an alert, or, when our question was still
/// unread, so abruptly that the alert was lost.
fn is_refusal(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(_)))
        || error.get_ref().is_some_and(|inner| inner.is::<EndedAfterHandshake>())
}

fn any_server() -> ClientConfig {
    client().with_no_client_auth()
}

fn with_certificate(cert: &Path, key: &Path) -> Result<ClientConfig, Unhealthy> {
    let unusable = |path: &Path, why: &dyn fmt::Display| Unhealthy::Certificate {
        path: path.to_owned(),
        why: why.to_string(),
    };
    let chain =
        pem::read(cert).and_then(|text| pem::certificates(&text)).map_err(|error| unusable(cert, &error))?;
    let private =
        pem::read(key).and_then(|text| pem::private_key(&text)).map_err(|error| unusable(key, &error))?;
    client().with_client_auth_cert(chain, private).map_err(|error| unusable(cert, &error))
}

type NeedsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client() -> NeedsClientCert {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    // A server on this machine need not show who it is.
    let verifier = Arc::new(AnyCertificate::checked_by(provider.clone()));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

#[cfg(test)]
mod tests;

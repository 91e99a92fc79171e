//! TLS between members: both ends show a certificate that the cluster's authority signed.
//!
//! Members are known by the secret, which is bound to the session; so a certificate counts whatever name it has. Files
//! are looked at again before a connection when the last look is a while ago; ones that cannot be used leave those in
//! use, and the log says why once.
//! Never: prints what a file holds, or trusts the system's authorities.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use thiserror::Error;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::config::ClusterTls;
use super::network::Stream;
use crate::pem;

/// Both roles of a member, by the files as they are.
#[derive(Debug)]
pub(super) struct Tls {
    files: ClusterTls,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    roles: Roles,
    loaded: Stamps,
    looked: Instant,
}

#[derive(Clone)]
struct Roles {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// What a change of a file changes.
type Stamps = [Option<(SystemTime, u64, u64)>; 3];

/// Why the files cannot be used.
#[derive(Debug, Error)]
pub enum ClusterTlsError {
    /// One of them.
    #[error("--{flag}: {file}: {reason}")]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// Where it is.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// All of them together.
    #[error("--cluster_tls_cert, --cluster_tls_key and --cluster_tls_ca do not go together: {0}")]
    Together(String),
}

/// Takes every certificate that one of these authorities signed.
#[derive(Debug)]
struct AnyMember {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

/// A look at the files is not older than this when a connection begins.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What the exported secret of a session is for (RFC 8446 section 7.5).
const EXPORTER: &[u8] = b"EXPERIMENTAL a8registry member";

// === impl Tls ===

impl Tls {
    /// Loads the files. Blocks.
    ///
    /// # Errors
    /// When one is missing or not what it should be.
    pub(super) fn load(files: ClusterTls) -> Result<Self, ClusterTlsError> {
        let loaded = stamps(&files);
        let roles = Roles::load(&files)?;
        Ok(Self { files, state: Mutex::new(State { roles, loaded, looked: Instant::now() }) })
    }

    /// The side that dials.
    pub(super) async fn connect<S: Stream>(self: &Arc<Self>, stream: S) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from("member.invalid").map_err(io::Error::other)?;
        let client = self.current().await.client;
        Ok(TlsConnector::from(client).connect(name, stream).await?.into())
    }

    /// The side that was dialled.
    pub(super) async fn accept<S: Stream>(self: &Arc<Self>, stream: S) -> io::Result<TlsStream<S>> {
        let server = self.current().await.server;
        Ok(TlsAcceptor::from(server).accept(stream).await?.into())
    }

    /// By the files as they are, as far as they can be used. Disks block, so they are read aside.
    async fn current(self: &Arc<Self>) -> Roles {
        let is_due = {
            let mut state = self.state.lock();
            let is_due = LOOK_EVERY <= state.looked.elapsed();
            if is_due {
                state.looked = Instant::now();
            }
            is_due
        };
        if is_due {
            let tls = self.clone();
            // It panics only when the runtime ends.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
        self.state.lock().roles.clone()
    }

    fn look(&self) {
        let found = stamps(&self.files);
        if found == self.state.lock().loaded {
            return;
        }
        let loaded = Roles::load(&self.files);
        let mut state = self.state.lock();
        state.loaded = found;
        match loaded {
            Ok(roles) => {
                state.roles = roles;
                drop(state);
                let cert = self.files.cert.display();
                tracing::info!(%cert, "TLS between members is loaded again from {cert}");
            }
            Err(error) => {
                drop(state);
                tracing::warn!(
                    %error,
                    "TLS between members stays as it was, its files cannot be used: {error}"
                );
            }
        }
    }
}

/// What only the two ends of this session know.
pub(super) fn session<S>(stream: &TlsStream<S>) -> io::Result<[u8; 32]> {
    let exported = match stream {
        TlsStream::Client(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None),
        TlsStream::Server(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None),
    };
    exported.map_err(io::Error::other)
}

fn stamps(files: &ClusterTls) -> Stamps {
    [&files.cert, &files.key, &files.ca].map(|file| {
        let found = fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len(), found.ino()))
    })
}

// === impl Roles ===

impl Roles {
    fn load(files: &ClusterTls) -> Result<Self, ClusterTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates("cluster_tls_ca", &files.ca)? {
            roots.add(certificate).map_err(|error| unusable("cluster_tls_ca", &files.ca, &error))?;
        }
        let chain = certificates("cluster_tls_cert", &files.cert)?;
        let key = pem::read(&files.key).and_then(|text| pem::private_key(&text));
        let key = key.map_err(|error| unusable("cluster_tls_key", &files.key, &error))?;
        let together = |error: &dyn fmt::Display| ClusterTlsError::Together(error.to_string());
        let versions = &[&rustls::version::TLS13];
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone())
            .build()
            .map_err(|error| unusable("cluster_tls_ca", &files.ca, &error))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| together(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| together(&error))?;
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| together(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyMember { roots, provider }))
            .with_client_auth_cert(chain, key)
            .map_err(|error| together(&error))?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roles")
    }
}

fn certificates(flag: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ClusterTlsError> {
    pem::read(file).and_then(|text| pem::certificates(&text)).map_err(|error| unusable(flag, file, &error))
}

fn unusable(flag: &'static str, file: &Path, reason: &dyn fmt::Display) -> ClusterTlsError {
    ClusterTlsError::File { flag, file: file.display().to_string(), reason: reason.to_string() }
}

// === impl AnyMember ===

impl ServerCertVerifier for AnyMember {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

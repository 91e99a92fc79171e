//! TLS of a listener: loads its files, and takes changed ones without a restart.
//!
//! A reload that fails keeps what is in use and says why, once. A new certificate leaves sessions alone; a new client CA
//! makes every client shake hands anew.
//!
//! Never: prints what a file holds, or ends the listener.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

use crate::pem;

/// The files of TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, then those that lead from it to an authority.
    pub cert: PathBuf,
    /// Its private key, not encrypted: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// Authorities for certificates of clients; when given, every client needs one.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot begin, or cannot be reloaded.
#[derive(Debug, Error)]
pub enum TlsError {
    /// One file cannot be used.
    #[error("{field}: {}: {reason}", path.display())]
    File {
        /// Which setting names the file: `tls_cert`, `tls_key` or `tls_client_ca`.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files are fine, but not together.
    #[error("tls_key: {}: does not belong to the certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        cert: PathBuf,
    },
    /// The library refuses a part of the configuration.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// What the next connection gets; changes when the files do.
#[derive(Debug, Clone)]
pub(super) struct Tls(Arc<ArcSwap<ServerConfig>>);

/// Follows the files.
#[derive(Debug)]
pub(super) struct Reloader {
    files: Arc<TlsConfig>,
    tls: Tls,
    served: Arc<Served>,
    loaded: Stamps,
    /// A change that was seen once: it may be half written.
    unsettled: Option<Stamps>,
    cert_digest: [u8; 32],
    client_ca_digest: [u8; 32],
}

/// The certificate in use.
#[derive(Debug)]
struct Served(ArcSwap<CertifiedKey>);

/// What a change of any of the files changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 3]);

/// Modification time, length and inode; the last moves when a link is swapped.
type Stamp = (Option<SystemTime>, u64, u64);

/// Contents of the files. Has no `Debug`: one is a secret.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Loads the files.
///
/// # Errors
/// When one is missing, too large, not PEM, or the key does not fit.
pub(super) fn load(files: TlsConfig) -> Result<(Tls, Reloader), TlsError> {
    // Before reading: a change in between is then seen as one.
    let loaded = Stamps::of(&files);
    let contents = Contents::read(&files)?;
    let provider = Arc::new(provider::default_provider());
    let served = Arc::new(Served(ArcSwap::from_pointee(certified(&contents, &files, &provider)?)));
    let config = server_config(&contents, &files, served.clone(), provider)?;
    let tls = Tls(Arc::new(ArcSwap::from_pointee(config)));
    let (cert_digest, client_ca_digest) = contents.digests();
    let files = Arc::new(files);
    let reloader =
        Reloader { files, tls: tls.clone(), served, loaded, unsettled: None, cert_digest, client_ca_digest };
    Ok((tls, reloader))
}

/// Follows the files for ever, if there are any.
pub(super) async fn follow(reloader: Option<Reloader>, every: Duration) {
    match reloader {
        None => std::future::pending().await,
        Some(mut reloader) => loop {
            tokio::time::sleep(every).await;
            reloader.look().await;
        },
    }
}

// === impl Tls ===

impl Tls {
    /// The configuration for a new connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

// === impl Reloader ===

impl Reloader {
    /// Takes the files when they changed and have settled. Disks block, so they are read aside.
    async fn look(&mut self) {
        let files = self.files.clone();
        let Ok(stamps) = tokio::task::spawn_blocking(move || Stamps::of(&files)).await else { return };
        if stamps == self.loaded {
            self.unsettled = None;
            return;
        }
        if self.unsettled.replace(stamps) != Some(stamps) {
            return;
        }
        self.unsettled = None;
        self.loaded = stamps;
        let files = self.files.clone();
        let Ok(contents) = tokio::task::spawn_blocking(move || Contents::read(&files)).await else { return };
        match contents.and_then(|contents| self.take(&contents)) {
            Ok(Taken::Nothing) => {}
            Ok(Taken::Certificate | Taken::All) => {
                let cert = self.files.cert.display();
                tracing::info!(%cert, "TLS reloaded from {cert}");
            }
            Err(error) => {
                tracing::warn!(%error, "TLS not reloaded, the files loaded before stay in use: {error}");
            }
        }
    }

    fn take(&mut self, contents: &Contents) -> Result<Taken, TlsError> {
        let (cert_digest, client_ca_digest) = contents.digests();
        if (cert_digest, client_ca_digest) == (self.cert_digest, self.client_ca_digest) {
            return Ok(Taken::Nothing);
        }
        let provider = Arc::new(provider::default_provider());
        let certified = certified(contents, &self.files, &provider)?;
        let taken = if client_ca_digest == self.client_ca_digest {
            Taken::Certificate
        } else {
            let config = server_config(contents, &self.files, self.served.clone(), provider)?;
            self.tls.0.store(Arc::new(config));
            Taken::All
        };
        self.served.0.store(Arc::new(certified));
        (self.cert_digest, self.client_ca_digest) = (cert_digest, client_ca_digest);
        Ok(taken)
    }
}

/// What a reload changed.
enum Taken {
    Nothing,
    Certificate,
    All,
}

// === impl Served ===

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

// === impl Stamps ===

impl Stamps {
    /// A file that cannot be looked at has no stamp; reading it will say why.
    fn of(files: &TlsConfig) -> Self {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
        };
        Self([stamp(&files.cert), stamp(&files.key), files.client_ca.as_deref().and_then(stamp)])
    }
}

// === impl Contents ===

impl Contents {
    fn read(files: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self {
            cert: pem::read(&files.cert).map_err(|error| unusable("tls_cert", &files.cert, &error))?,
            key: pem::read(&files.key).map_err(|error| unusable("tls_key", &files.key, &error))?,
            client_ca: match &files.client_ca {
                None => None,
                Some(path) => Some(pem::read(path).map_err(|error| unusable("tls_client_ca", path, &error))?),
            },
        })
    }

    /// Of certificate and key together, and of the client CA.
    fn digests(&self) -> ([u8; 32], [u8; 32]) {
        let hash = |bytes: &[u8]| {
            let mut hash = [0; 32];
            hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
            hash
        };
        let pair = [hash(&self.cert), hash(&self.key)].concat();
        (hash(&pair), self.client_ca.as_deref().map_or([0; 32], hash))
    }
}

fn unusable(field: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { field, path: path.to_owned(), reason: reason.to_string() }
}

/// The certificate with its key, which must fit.
fn certified(
    contents: &Contents,
    files: &TlsConfig,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates("tls_cert", &files.cert, &contents.cert)?;
    let key = pem::private_key(&contents.key).map_err(|error| unusable("tls_key", &files.key, &error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::KeyMismatch { key: files.key.clone(), cert: files.cert.clone() }
        }
        rustls::Error::InvalidCertificate(error) => unusable("tls_cert", &files.cert, &error),
        error => unusable("tls_key", &files.key, &error),
    })
}

fn certificates(
    field: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    pem::certificates(text).map_err(|error| unusable(field, path, &error))
}

fn server_config(
    contents: &Contents,
    files: &TlsConfig,
    served: Arc<Served>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match (&contents.client_ca, &files.client_ca) {
        (Some(pem), Some(path)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("tls_client_ca", path, pem)? {
                roots.add(certificate).map_err(|error| unusable("tls_client_ca", path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| unusable("tls_client_ca", path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
        (None, _) | (_, None) => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets cost no memory here, however many clients come back.
    config.ticketer = provider::Ticketer::new()?;
    Ok(config)
}

//! Certificates made for one test, and clients that trust them.
//!
//! Never: a key that outlives its test.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// A directory with `ca.pem`, `cert.pem` and `key.pem`, the certificate for `localhost`.
pub(crate) struct Pki {
    directory: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

// === impl Pki ===

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let pki = Self { directory: TempDir::new().expect("a directory"), ca };
        pki.replace("ca.pem", &pki.ca.pem());
        pki.install(&pki.issue());
        pki
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `--tls_cert` and `--tls_key` with their files.
    pub(crate) fn flags(&self) -> String {
        format!("--tls_cert {} --tls_key {}", self.path("cert.pem").display(), self.path("key.pem").display())
    }

    /// A new certificate for `localhost`.
    pub(crate) fn issue(&self) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        // OpenSSL takes a certificate for its own issuer when both have one name.
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let cert = params.signed_by(&key, &self.ca).expect("signed").pem();
        Pair { cert, key: key.serialize_pem() }
    }

    /// Makes this pair the one that is served.
    pub(crate) fn install(&self, pair: &Pair) {
        self.replace("cert.pem", &pair.cert);
        self.replace("key.pem", &pair.key);
    }

    /// Puts a new file in place at once, as an operator should.
    pub(crate) fn replace(&self, name: &str, contents: &str) {
        fs::write(self.path("new"), contents).expect("written");
        fs::rename(self.path("new"), self.path(name)).expect("renamed");
    }

    /// A client that trusts this authority and shows `pair`, if any.
    pub(crate) fn client(&self, pair: Option<&Pair>, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(Pair { cert, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

// === impl Pair ===

impl Pair {
    /// The certificate as it is shown in a handshake.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate")
    }
}

//! Whose certificates are trusted when another server is called with TLS.
//!
//! Never: trusts anybody because nothing was said.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whose certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody's: for those who only call without TLS. Costs no look at files.
    Nobody,
    /// Those that the authorities of this system signed.
    System,
    /// Everybody's, whatever name it has and whoever signed it, because the operator said so. What is sent
    /// cannot be read on the way, but nobody knows by whom it is read in the end.
    Anyone,
}

/// Takes any certificate whose key the server shows to have; signatures are checked as ever.
#[derive(Debug)]
pub struct AnyCertificate(Arc<CryptoProvider>);

/// Without any authority on this system, calls with TLS fail; the log says so.
pub(super) fn tls(trust: Trust) -> ClientConfig {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3");
    match trust {
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        Trust::System => builder.with_root_certificates(authorities()).with_no_client_auth(),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::checked_by(provider)))
            .with_no_client_auth(),
    }
}

fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "authorities of this system cannot be read: {error}");
    }
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        tracing::error!("there is no authority on this system, so no server with TLS can be called");
    }
    roots
}

// === impl AnyCertificate ===

impl AnyCertificate {
    /// Takes any, signatures checked by `provider`.
    #[must_use]
    pub fn checked_by(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

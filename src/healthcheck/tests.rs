//! The question is put to small servers on loopback that answer what a case wants.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A certificate that signs itself, as files.
struct Files {
    dir: TempDir,
    certified: CertifiedKey<KeyPair>,
}

// === impl Files ===

impl Files {
    fn new() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["registry.example".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cert.pem"), certified.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        Self { dir, certified }
    }

    fn mutual(&self) -> Transport {
        Transport::MutualTls { cert: self.dir.path().join("cert.pem"), key: self.dir.path().join("key.pem") }
    }

    /// A server with this certificate; client certificates must come from `client_ca`, when there is one.
    fn acceptor(&self, client_ca: Option<CertificateDer<'static>>) -> TlsAcceptor {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match client_ca {
            None => config.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(self.certified.signing_key.serialize_der()).unwrap();
        let config = config.with_single_cert(vec![self.certified.cert.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Answers one connection with `answer`; hands back what was asked.
async fn answering(answer: &'static str, tls: Option<TlsAcceptor>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match tls {
            None => converse(stream, answer).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => converse(stream, answer).await,
                Err(error) => error.to_string(),
            },
        }
    });
    (address, server)
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") && 0 < stream.read_buf(&mut asked).await.unwrap() {}
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(asked).unwrap()
}

/// Says something that is no TLS, whatever it is asked.
async fn speaking_plainly() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    (address, server)
}

async fn run(address: SocketAddr, transport: Transport) -> Result<(), String> {
    Probe { addresses: vec![address], transport }.run().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn only_200_is_healthy() {
    for (answer, want) in [
        (OK, Ok(())),
        ("HTTP/1.0 200\r\n\r\n", Ok(())),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Err("answers 503, want 200")),
        ("HTTP/1.1 301 Moved Permanently\r\n\r\n", Err("answers 301, want 200")),
        ("SSH-2.0-OpenSSH_9.2\r\n", Err("what answers does not speak HTTP")),
        ("HTTP/1.1 2é0\r\n", Err("what answers does not speak HTTP")),
        ("", Err("the connection ended without an answer")),
    ] {
        let (address, server) = answering(answer, None).await;
        let got = run(address, Transport::Plain).await;
        assert!(server.await.unwrap().starts_with("GET /health/ready HTTP/1.1\r\nHost: localhost\r\n"));
        match want {
            Ok(()) => assert_eq!(got, Ok(()), "{answer:?}"),
            Err(why) => assert!(got.as_ref().is_err_and(|got| got.ends_with(why)), "{answer:?}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn an_endless_first_line_is_cut() {
    let endless: &'static str = Box::leak("HTTP/1.1 ".repeat(10_000).into_boxed_str());
    let (address, server) = answering(endless, None).await;
    let got = run(address, Transport::Plain).await.unwrap_err();
    assert!(got.ends_with("what answers does not speak HTTP"), "{got}");
    server.abort();
}

#[tokio::test]
async fn the_first_address_that_takes_the_connection_is_asked() {
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let unused = deaf.local_addr().unwrap();
    let got = run(unused, Transport::Plain).await.unwrap_err();
    assert!(got.starts_with(&unused.to_string()), "{got}");
    let (address, server) = answering(OK, None).await;
    let probe = Probe { addresses: vec![unused, address], transport: Transport::Plain };
    probe.run().await.unwrap();
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_five_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = run(address, Transport::Plain).await;
    assert_eq!(got, Err(format!("{address} does not answer within 5 s")));
}

#[tokio::test]
async fn tls_needs_no_known_name() {
    let files = Files::new();
    let (address, server) = answering(OK, Some(files.acceptor(None))).await;
    assert_eq!(run(address, Transport::Tls).await, Ok(()));
    assert!(server.await.unwrap().starts_with("GET /health/ready "));
    let (address, server) = answering("HTTP/1.1 503 x\r\n\r\n", Some(files.acceptor(None))).await;
    assert_eq!(run(address, Transport::Tls).await, Err(format!("{address} answers 503, want 200")));
    server.await.unwrap();
    let (address, server) = speaking_plainly().await;
    assert!(run(address, Transport::Tls).await.is_err());
    server.await.unwrap();
}

#[tokio::test]
async fn mutual_tls_sees_readiness_when_the_servers_certificate_is_accepted() {
    let files = Files::new();
    let own = files.certified.cert.der().clone();
    for (answer, want) in [(OK, true), ("HTTP/1.1 503 x\r\n\r\n", false)] {
        let (address, server) = answering(answer, Some(files.acceptor(Some(own.clone())))).await;
        assert_eq!(run(address, files.mutual()).await.is_ok(), want, "{answer:?}");
        assert!(server.await.unwrap().starts_with("GET /health/ready "));
    }
}

#[tokio::test]
async fn a_refused_certificate_is_a_sign_of_health_and_plain_speech_is_not() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let stranger = params.self_signed(&key).unwrap().der().clone();
    for _ in 0..20 {
        let (address, server) = answering(OK, Some(files.acceptor(Some(stranger.clone())))).await;
        assert_eq!(run(address, files.mutual()).await, Ok(()));
        assert!(!server.await.unwrap().starts_with("GET"));
    }
    let (address, server) = speaking_plainly().await;
    assert!(run(address, files.mutual()).await.is_err(), "no TLS there");
    server.await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let (address, server) = answering(OK, None).await;
    let missing = PathBuf::from("/nonexistent/cert.pem");
    let transport = Transport::MutualTls { cert: missing.clone(), key: missing };
    let got = run(address, transport).await.unwrap_err();
    assert!(got.starts_with("/nonexistent/cert.pem: "), "{got}");
    server.abort();
}

//! Handshakes, certificates of clients, and files that change.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::TlsConfig;
use super::*;

/// A directory with `ca.pem`, `cert.pem` and `key.pem`.
struct Pki {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let pki = Self { dir: TempDir::new().expect("a directory"), ca };
        fs::write(pki.path("ca.pem"), pki.ca.pem()).expect("written");
        let (cert, key) = pki.issue("localhost");
        fs::write(pki.path("cert.pem"), cert).expect("written");
        fs::write(pki.path("key.pem"), key).expect("written");
        pki
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.ca).expect("signed").pem(), key.serialize_pem())
    }

    /// Puts a new file in place at once, as an operator should.
    fn replace(&self, name: &str, contents: &str) {
        fs::write(self.path("new"), contents).expect("written");
        fs::rename(self.path("new"), self.path(name)).expect("renamed");
    }

    fn files(&self) -> TlsConfig {
        TlsConfig { cert: self.path("cert.pem"), key: self.path("key.pem"), client_ca: None }
    }

    fn start(&self, change: impl FnOnce(&mut ListenerConfig)) -> Server {
        Server::start(|config| {
            config.tls = Some(self.files());
            config.tls_poll = Duration::from_millis(20);
            change(config);
        })
    }

    async fn connect(
        &self,
        server: &Server,
        alpn: &[&str],
        client: Option<(String, String)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![cert], key).expect("a pair")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, server: &Server) -> Vec<u8> {
        let stream = within(self.connect(server, &[], None)).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
    }
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM").to_vec()
}

/// One request by HTTP/1.1; `None` when the connection ends without an answer.
async fn peer_over_tls(mut stream: TlsStream<TcpStream>) -> Option<String> {
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn http1_is_served_over_tls() {
    let pki = Pki::new();
    let server = pki.start(|_| ());
    for alpn in [&["http/1.1"][..], &[]] {
        let stream = pki.connect(&server, alpn, None).await.expect("a handshake");
        let answer = peer_over_tls(stream).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(" true"), "{answer}");
    }
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn http2_is_negotiated() {
    let pki = Pki::new();
    let server = pki.start(|_| ());
    let stream = pki.connect(&server, &["h2", "http/1.1"], None).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let answer = within(client.send_request(http2_get("/peer"))).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(body.ends_with(b" true"));
    drop(client);
    within(connection).await.expect("no panic").expect("closed well");
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn clients_prove_who_they_are_when_asked() {
    let pki = Pki::new();
    let server = pki.start(|config| {
        let tls = TlsConfig { client_ca: Some(pki.path("ca.pem")), ..pki.files() };
        config.tls = Some(tls);
    });
    let known = pki.connect(&server, &[], Some(pki.issue("client"))).await.expect("a handshake");
    assert!(peer_over_tls(known).await.is_some());
    // In TLS 1.3 a refusal may arrive after the client's side of the handshake.
    for client in [None, Some(Pki::new().issue("stranger"))] {
        if let Ok(stream) = pki.connect(&server, &[], client).await {
            assert_eq!(peer_over_tls(stream).await, None);
        }
    }
    until(|| server.metrics.refused_handshakes.get() == 2).await;
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut() {
    let pki = Pki::new();
    let server = pki.start(|config| config.handshake_timeout = SHORT);
    let mut client = server.connect().await;
    until_closed(&mut client).await;
    assert_eq!(server.closed(Reason::Handshake), 1);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let pki = Pki::new();
    let server = pki.start(|_| ());
    let mut client = server.connect().await;
    get(&mut client, "/peer").await;
    until_closed(&mut client).await;
    assert_eq!(server.metrics.refused_handshakes.get(), 1);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_a_broken_one_is_not_taken() {
    let pki = Pki::new();
    let server = pki.start(|_| ());
    let first = pki.shown(&server).await;
    let (cert, key) = pki.issue("localhost");
    let second = der(&cert);
    assert_ne!(first, second);
    pki.replace("cert.pem", &cert);
    pki.replace("key.pem", &key);
    within(async { while pki.shown(&server).await != second {} }).await;

    // Broken files first: when the good ones after them are shown, the broken ones were seen and passed over.
    pki.replace("cert.pem", "not a certificate");
    tokio::time::sleep(SHORT).await;
    assert_eq!(pki.shown(&server).await, second);
    let (third, _) = pki.issue("localhost");
    pki.replace("cert.pem", &third);
    tokio::time::sleep(SHORT).await;
    assert_eq!(pki.shown(&server).await, second, "a certificate without its key");
    let (fourth, key) = pki.issue("localhost");
    pki.replace("cert.pem", &fourth);
    pki.replace("key.pem", &key);
    within(async { while pki.shown(&server).await != der(&fourth) {} }).await;
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_new_client_authority_is_taken() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = pki.start(|config| {
        config.tls = Some(TlsConfig { client_ca: Some(pki.path("ca.pem")), ..pki.files() });
    });
    let client = other.issue("client");
    pki.replace("ca.pem", &other.ca.pem());
    within(async {
        loop {
            if let Ok(stream) = pki.connect(&server, &[], Some(client.clone())).await
                && peer_over_tls(stream).await.is_some()
            {
                break;
            }
        }
    })
    .await;
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    fn check(files: TlsConfig, expected: &str, path: &Path) {
        let tls = Some(files);
        let config = ListenerConfig { tls, ..ListenerConfig::new(([127, 0, 0, 1], 0).into()) };
        let error = Listener::bind(config).expect_err("unusable").to_string();
        let expected = format!("{expected}: {}: ", path.display());
        assert!(error.starts_with(&expected), "{error:?} is not {expected:?}");
    }
    let pki = Pki::new();
    let (absent, empty) = (pki.path("absent"), pki.path("empty"));
    fs::write(&empty, "").expect("written");
    let other = pki.path("other.pem");
    fs::write(&other, pki.issue("localhost").1).expect("written");
    check(TlsConfig { cert: absent.clone(), ..pki.files() }, "tls_cert", &absent);
    check(TlsConfig { cert: empty.clone(), ..pki.files() }, "tls_cert", &empty);
    check(TlsConfig { key: absent.clone(), ..pki.files() }, "tls_key", &absent);
    check(TlsConfig { key: empty.clone(), ..pki.files() }, "tls_key", &empty);
    check(TlsConfig { key: other.clone(), ..pki.files() }, "tls_key", &other);
    check(TlsConfig { client_ca: Some(absent.clone()), ..pki.files() }, "tls_client_ca", &absent);
    check(TlsConfig { client_ca: Some(empty.clone()), ..pki.files() }, "tls_client_ca", &empty);
}

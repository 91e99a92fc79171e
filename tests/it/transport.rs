//! Below the API: TLS and its files, HTTP/2, IPv6, and the rule that only https will do.
//!
//! Never: listens on anything but loopback.

use std::net::TcpListener;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::tls::{Pair, Pki};
use crate::support::{Client, Daemon, eventually};

const LIST: &str = "/api/v1/instances";

/// A client of a registry that serves the certificate of `pki`.
fn tls_client(daemon: &Daemon, pki: &Pki, pair: Option<&Pair>) -> Client {
    daemon.client().by_tls(pki.client(pair, &["http/1.1"]))
}

/// The certificate that a client is shown that comes for the first time.
fn shown(daemon: &Daemon, pki: &Pki) -> CertificateDer<'static> {
    let client = tls_client(daemon, pki, None);
    let mut connection = client.connect();
    connection.ask(&client, "GET /", "").ok();
    connection.session().peer_certificates().expect("a certificate")[0].clone().into_owned()
}

#[test]
fn certificates_are_changed_while_the_process_runs() {
    let pki = Pki::new();
    let daemon = Daemon::start(&pki.flags());
    let client = tls_client(&daemon, &pki, None);
    let first = shown(&daemon, &pki);
    let links = client.post(&instance("web", "x")).json()["links"].clone();
    assert!(links["self"].as_str().is_some_and(|link| link.starts_with("https://127.0.0.1:")), "{links}");
    let mut old = client.connect();
    old.ask(&client, "GET /", "").ok();

    // A certificate whose key is not there yet changes nothing.
    let second = pki.issue();
    pki.replace("cert.pem", &second.cert);
    let warning = daemon.logged("TLS not reloaded");
    assert!(warning.contains("tls_key") && !warning.contains("PRIVATE"), "{warning}");
    assert_eq!(shown(&daemon, &pki), first);

    pki.replace("key.pem", &second.key);
    daemon.logged("TLS reloaded from");
    assert_eq!(shown(&daemon, &pki), second.der());
    assert_eq!(old.ask(&client, &format!("GET {LIST}"), "").ids().len(), 1, "what is open stays open");

    // Whoever speaks no TLS, or trusts another authority, gets nothing and disturbs nobody.
    let mut plain = daemon.client().connect();
    plain.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(!plain.until_closed().contains("HTTP/1.1"));
    let stranger = tls_client(&daemon, &Pki::new(), None);
    assert!(stranger.connect().try_write("GET / HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
    assert_eq!(client.metric("a8_handshakes_refused_total"), Some(2.0));
}

#[test]
fn mutual_tls_lets_in_only_clients_of_its_authority() {
    let pki = Pki::new();
    let flags = format!("{} --tls_client_ca {}", pki.flags(), pki.path("ca.pem").display());
    let daemon = Daemon::start(&flags);
    let own = pki.issue();
    let friend = tls_client(&daemon, &pki, Some(&own));
    friend.get(LIST).ok();
    let foreign = Pki::new().issue();
    for pair in [None, Some(&foreign)] {
        let mut connection = tls_client(&daemon, &pki, pair).connect();
        // With TLS 1.3 the client may write before it is refused.
        let _ = connection.try_write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = connection.try_answer(false);
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
    }
    friend.get(LIST).ok();
    assert_eq!(friend.metric("a8_handshakes_refused_total"), Some(2.0));
}

#[test]
fn http_2_is_offered_over_tls() {
    let pki = Pki::new();
    let daemon = Daemon::start(&pki.flags());
    let client = daemon.client().by_tls(pki.client(None, &["h2", "http/1.1"]));
    let mut connection = client.connect();
    let empty_settings = b"\0\0\0\x04\0\0\0\0\0";
    let goodbye = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    connection.write([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &empty_settings[..], goodbye].concat());
    let answer = connection.until_closed();
    assert_eq!(connection.session().alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(answer.as_bytes().get(3), Some(&4), "it begins with its settings: {answer:?}");
}

#[tokio::test]
async fn many_requests_share_one_connection_of_http_2() {
    let daemon = Daemon::start("");
    let authority = daemon.address();
    let socket = tokio::net::TcpStream::connect(authority).await.expect("a connection");
    let (client, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let send = |method: &str, path: &str, body: String| {
        let request = Request::builder().method(method).uri(format!("http://{authority}{path}"));
        let request = request.header("content-type", "application/json").body(Full::from(body));
        let mut client = client.clone();
        async move {
            client.ready().await.expect("it is open");
            let response = client.send_request(request.expect("a request")).await.expect("an answer");
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            (head.status, head.headers, body)
        }
    };
    let registered = (0..200).map(|n| send("POST", LIST, instance("web", &n.to_string()).to_string()));
    for (status, headers, body) in futures_util::future::join_all(registered).await {
        assert_eq!(status, StatusCode::CREATED);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(headers["location"], body["links"]["self"].as_str().expect("a link"));
        assert!(headers["location"].as_bytes().starts_with(format!("http://{authority}/").as_bytes()));
    }
    let (status, _, list) = send("GET", LIST, String::new()).await;
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!((status, list["instances"].as_array().map(Vec::len)), (StatusCode::OK, Some(200)));
    let id = list["instances"][0]["id"].as_str().expect("an id");
    let (status, _, body) = send("PUT", &format!("{LIST}/{id}/heartbeat"), String::new()).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    let (status, _, body) = send("POST", LIST, "{".to_owned()).await;
    assert!(status == StatusCode::BAD_REQUEST && body.starts_with(b"{\"Error\""));
    let (status, _, _) = send("POST", LIST, " ".repeat(70_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // The other protocol is spoken on the same port.
    assert_eq!(daemon.client().ids(LIST).len(), 200);
    // The connection ends with the process, in order.
    assert_eq!(daemon.stop().status, Some(0));
    driver.await.expect("no panic").expect("a clean end");
}

#[test]
fn ipv6_is_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // There is none here.
    }
    let daemon = Daemon::start("--api_address ::1");
    assert!(daemon.address().is_ipv6());
    let client = daemon.client();
    let links = client.post(&instance("web", "x")).json()["links"].clone();
    let own = format!("http://[::1]:{}/", daemon.address().port());
    assert!(links["self"].as_str().is_some_and(|link| link.starts_with(&own)), "{links}");
    assert_eq!(client.ids(LIST).len(), 1);
}

#[test]
fn plain_requests_are_sent_to_https_unless_a_proxy_vouches_for_them() {
    let daemon = Daemon::start("--require_https");
    let client = daemon.client();
    let at = format!("https://{}", daemon.address());
    for (line, status) in [
        ("GET /api/v1/instances?status=ALL", 301),
        ("HEAD /api/v1/services/a%20b", 301),
        ("POST /api/v1/instances", 308),
        ("PUT /api/v1/instances/x/heartbeat", 308),
        ("DELETE /api/v1/instances/x", 308),
    ] {
        let answer = client.send(line, "");
        let (_, path) = line.split_once(' ').expect("a path");
        assert_eq!((answer.status, answer.header("location")), (status, &*format!("{at}{path}")), "{line}");
        assert!(answer.body.is_empty());
    }
    for path in ["/", "/uptime", "/health/ready", "/metrics"] {
        client.get(path).ok();
    }
    client.get("/nowhere").refused(404);
    let proxied = client.with("X-Forwarded-Proto: https");
    let links = proxied.post(&instance("web", "x")).json()["links"].clone();
    assert!(links["self"].as_str().is_some_and(|link| link.starts_with(&at)), "{links}");
    assert_eq!(client.with("X-Forwarded-Proto: http").get(LIST).status, 301);

    let asked_by = |network: &str| {
        let daemon = Daemon::start(&format!("--require_https --trusted_proxy {network}"));
        daemon.client().with("X-Forwarded-Proto: https").get(LIST).status
    };
    assert_eq!([asked_by("127.0.0.0/8"), asked_by("10.0.0.0/8")], [200, 301]);

    let pki = Pki::new();
    let daemon = Daemon::start(&format!("--require_https {}", pki.flags()));
    assert_eq!(tls_client(&daemon, &pki, None).get(LIST).ok().json(), json!({"instances": []}));
    eventually("nobody is left", || {
        (tls_client(&daemon, &pki, None).metric("a8_connections_open")? < 1.5).then_some(())
    });
}

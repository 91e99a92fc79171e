//! How registries prove who they are to Redis, and it to them: TLS and passwords.
//!
//! Never: shows a password, wherever it stood.

use super::{LIST, Nodes};
use crate::support::client::instance;
use crate::support::redis::free_port;
use crate::support::tls::Pki;
use crate::support::{Daemon, Redis, Setup};

#[test]
fn redis_by_tls_shows_a_certificate_and_wants_one() {
    let pki = Pki::new();
    let file = |name: &str| pki.path(name).display().to_string();
    let (port, ca, cert, key) = (free_port(), file("ca.pem"), file("cert.pem"), file("key.pem"));
    let Some(redis) = Redis::start(&format!(
        "--tls-port {port} --tls-ca-cert-file {ca} --tls-cert-file {cert} --tls-key-file {key} --tls-auth-clients yes"
    )) else {
        return;
    };
    let flags = format!("--store redis --store_address rediss://localhost:{port} --store_ca_file {ca}");
    let node = Daemon::start(&format!("{flags} --store_cert {cert} --store_key {key}"));
    let id = node.client().register(&instance("web", "x"));
    assert_eq!(node.client().renew(&id).status, 200);
    let without_certificate = Daemon::start(&flags);
    without_certificate.logged("cannot be used");
    let without_trust = Daemon::start(&format!("--store redis --store_address rediss://localhost:{port}"));
    without_trust.logged("cannot be used");
    let plain = Daemon::start(&format!("--store redis --store_address {}", redis.address()));
    assert_eq!(plain.client().get(&format!("/api/v1/instances/{id}")).status, 200);
}

#[test]
fn passwords_are_used_wherever_they_stand_and_never_shown() {
    let Some(redis) = Redis::start("--requirepass hush-hush") else { return };
    let address = redis.address();
    for flags in [
        format!("--store_address {address} --store_password hush-hush"),
        format!("--store_address redis://:hush-hush@{address}"),
        format!("--store_address redis://default:hush-hush@{address}/2"),
        format!("--store_address redis://:wrong@{address} --store_password hush-hush --store_user default"),
    ] {
        let node = Setup::new(&format!("--store redis {flags}")).args("--log_level debug").start();
        let id = node.client().register(&instance("web", "x"));
        assert_eq!(node.client().renew(&id).status, 200);
        assert!(!node.log().contains("hush"), "{}", node.log());
    }
}

#[test]
fn a_wrong_password_is_told_without_it() {
    let Some(redis) = Redis::start("--requirepass open-sesame") else { return };
    for (address, flags) in [
        (redis.address(), ""),
        (redis.address(), "--store_password hush-hush"),
        (format!("redis://:hush-hush@{}", redis.address()), ""),
    ] {
        let flags = format!("--store redis --store_address {address} {flags}");
        let daemon = Setup::new(&flags).args("--log_level debug").start();
        let line = daemon.logged("cannot be used");
        assert!(
            line.contains("NOAUTH") || line.contains("WRONGPASS") || line.contains("uthentication"),
            "{line}"
        );
        let client = daemon.client();
        let answer = client.get(LIST);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "nothing was ever read");
        assert_eq!(client.post(&instance("a", "b")).status, 503);
        assert_eq!(client.get("/health/ready").status, 503);
        assert_eq!(client.get("/health/live").status, 200);
        let said = daemon.log() + &client.get("/uptime").text() + &client.get("/metrics").text();
        assert!(!said.contains("hush-hush") && !said.contains("open-sesame"), "{said}");
    }
    let nodes = Nodes::with(&redis.address(), "--store_password open-sesame");
    nodes.0[0].client().register(&instance("a", "b"));
}

//! What operators see of a cluster, and what they are told when it cannot begin.
//!
//! Never: looks into a directory or at a line between members.

use std::net::TcpListener;

use super::members::{Cluster, instance, place_of};
use crate::support::tls::Pki;
use crate::support::{Daemon, Setup, eventually};

#[test]
fn a_cluster_shows_its_members_to_operators_alone() {
    let cluster = Cluster::start(2, "--auth_mode trusted --ops_token hush-hush --cluster_size 3");
    let client = cluster.client(0);
    assert_eq!(client.get("/cluster").status, 401);
    assert_eq!(client.bearer("acme").get("/cluster").status, 401, "a tenant is no operator");
    client.bearer("acme").register(&instance("x", 30));
    let shown = client.bearer("hush-hush").get("/cluster").ok().json();
    assert_eq!(shown["member"], place_of(cluster.daemon(0)));
    assert_eq!((shown["size"].as_u64(), shown["threshold"].as_u64()), (Some(2), Some(3)));
    assert_eq!((&shown["instances"], &shown["ready"]), (&1.into(), &true.into()));
    let other = &shown["members"][0];
    assert_eq!(
        (&other["member"], &other["state"]),
        (&place_of(cluster.daemon(1)).into(), &"connected".into())
    );
    assert!(!shown.to_string().contains("acme"), "{shown}");
    eventually("they compare what they have", || {
        let shown = client.bearer("hush-hush").get("/cluster").ok().json();
        (shown["members"][0]["agrees"] == true && shown["members"][0]["behind"] == 0).then_some(())
    });
    let uptime = client.get("/uptime").ok().json();
    assert_eq!(uptime["CLUSTER"]["properties"]["threshold"], 3);
    assert_eq!(uptime["REPLICATION"]["healthy"], true);
    let metrics = client.get("/metrics").ok().text();
    assert!(metrics.contains("a8_cluster_link_up{member=") && !metrics.contains("acme"), "{metrics}");
}

#[test]
fn there_is_no_cluster_without_replication() {
    let daemon = Daemon::start("--store inmem");
    assert_eq!(daemon.client().get("/cluster").status, 404);
    let uptime = daemon.client().get("/uptime").ok().json();
    assert!(uptime.get("CLUSTER").is_none() && uptime.get("REPLICATION").is_none(), "{uptime}");
}

#[test]
fn a_member_waits_for_others_before_it_is_ready_but_not_for_ever() {
    // Somebody who takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let place = silent.local_addr().expect("it is bound");
    let daemon = Daemon::start(&format!(
        "--store inmem --replication --replication_port 0 --cluster_peers {place} --sync_timeout 4s"
    ));
    let client = daemon.client();
    assert_eq!(client.get("/health/ready").status, 503);
    assert_eq!(client.get("/health/live").status, 200);
    assert_eq!(client.get("/api/v1/instances").status, 503, "what it shows would not be all");
    eventually("it is ready", || (client.get("/health/ready").status == 200).then_some(()));
    assert_eq!(client.get("/api/v1/instances").status, 200);
    let line = daemon.logged("no member is reached at");
    assert!(line.contains("does not answer in time"), "{line}");
}

#[test]
fn members_speak_tls_when_they_are_given_certificates() {
    let pki = Pki::new();
    let file = |name: &str| pki.path(name).display().to_string();
    let flags = format!(
        "--cluster_tls_cert {} --cluster_tls_key {} --cluster_tls_ca {}",
        file("cert.pem"),
        file("key.pem"),
        file("ca.pem")
    );
    let cluster = Cluster::start(2, &flags);
    let id = cluster.client(0).register(&instance("x", 30));
    cluster.agree_on(&[id]);
    assert_eq!(cluster.client(1).get("/cluster").ok().json()["tls"], true);
}

#[test]
fn a_member_that_cannot_begin_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let member = "--api_port 0 --replication --cluster_advertise 127.0.0.1";
    for (flags, status, says) in [
        (format!("{member} --replication_port {port} --cluster_peers 127.0.0.1:1"), 1, "--replication_port"),
        (format!("{member} --replication_port 0 --cluster_dir /proc/none"), 1, "--cluster_dir"),
        ("--replication".to_owned(), 2, "--cluster_dir"),
        ("--replication --cluster_dns registry.example".to_owned(), 2, "--cluster_secret"),
    ] {
        let ended = Setup::new(&flags).run();
        assert_eq!(ended.status, Some(status), "{flags}: {}", ended.stderr);
        let line = ended.stderr.lines().find(|line| line.starts_with("a8registry: "));
        assert!(line.is_some_and(|line| line.contains(says)), "{flags}: {}", ended.stderr);
    }
}

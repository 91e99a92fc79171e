//! What happens to registries when Redis fails: reads go on and say so, writes are refused in time, nobody who renews
//! is lost, and all is well again by itself.
//!
//! Never: a Redis that the test did not start.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::instance;
use crate::support::redis::{RedisServer, Wire, has_redis};
use crate::support::{Client, Daemon, eventually};

/// How long a write may take that is refused, with what this machine is late on top.
const BOUND: Duration = Duration::from_millis(3500);

fn daemon(redis: &RedisServer, flags: &str) -> Daemon {
    Daemon::start(&format!("--store redis --store_address {} {flags}", redis.address()))
}

fn path(id: &str) -> String {
    format!("/api/v1/instances/{id}")
}

/// Reads are answered with a warning, and a write is refused in time and with advice.
#[track_caller]
fn check_down(client: &Client, id: &str) {
    let begun = Instant::now();
    let refused = client.renew(id);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text());
    eventually("reads say that they may be stale", || {
        let read = client.get("/api/v1/services/web");
        (read.ok().header("warning").starts_with("110") && read.ids().contains(&id.to_owned())).then_some(())
    });
    for list in ["/eureka/apps", "/eureka/v2/apps", "/v2/apps"] {
        assert!(client.get(list).ok().header("warning").starts_with("110"), "{list}");
    }
    for refused in [client.post(&instance("web", "while down")), client.delete(&path(id))] {
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    }
    let ready = client.get("/health/ready");
    assert_eq!((ready.status, &ready.json()["components"]["REDIS"]["healthy"]), (200, &Value::Bool(false)));
    assert_eq!(client.metric("a8_redis_connected"), Some(0.0));
}

#[track_caller]
fn check_up(client: &Client, id: &str) {
    eventually("it is renewed again", || {
        let status = client.renew(id).status;
        assert!([200, 503].contains(&status), "{status}");
        (status == 200).then_some(())
    });
    eventually("reads are current", || {
        client.get("/api/v1/services/web").ok().header("warning").is_empty().then_some(())
    });
    let new = client.register(&instance("web", "after"));
    assert_eq!(client.delete(&path(&new)).status, 200);
}

#[test]
fn a_redis_that_stands_still_ends_no_lease() {
    if !has_redis() {
        return;
    }
    let mut redis = RedisServer::start();
    let flags = "--min_ttl 1s --default_ttl 2s --store_timeout 500ms";
    let nodes = [daemon(&redis, flags), daemon(&redis, flags)];
    let clients = nodes.each_ref().map(Daemon::client);
    let id = clients[0].register(&instance("web", "x"));
    eventually("both show it", || (clients[1].get(&path(&id)).status == 200).then_some(()));
    redis.signal("STOP");
    for client in &clients {
        check_down(client, &id);
    }
    thread::sleep(Duration::from_secs(4));
    assert_eq!(clients[0].get(&path(&id)).status, 200);
    redis.signal("CONT");
    for client in &clients {
        check_up(client, &id);
    }
    for node in &nodes {
        assert_eq!(node.metric("a8_expirations_total"), 0.0);
        let log = node.log();
        assert_eq!((log.matches("cannot be used").count(), log.matches("is back").count()), (1, 1), "{log}");
    }
}

#[test]
fn a_wire_that_swallows_everything_is_noticed_in_time() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::start();
    let wire = Wire::to(&redis);
    let cut_off = Daemon::start(&format!("--store redis --store_address {}", wire.address()));
    let well = daemon(&redis, "");
    let (client, other) = (cut_off.client(), well.client());
    let id = client.register(&instance("web", "x"));
    eventually("both show it", || (other.get(&path(&id)).status == 200).then_some(()));
    wire.hold(true);
    check_down(&client, &id);
    let meanwhile = other.register(&instance("web", "meanwhile"));
    assert_eq!(other.delete(&path(&id)).status, 200);
    wire.hold(false);
    eventually("it has caught up", || {
        (client.get("/api/v1/services/web").ok().ids() == [meanwhile.clone()]).then_some(())
    });
    check_up(&client, &meanwhile);
    assert!(!cut_off.log().contains("written back"), "{}", cut_off.log());
}

#[test]
fn connections_that_are_cut_are_made_anew() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::start();
    let node = daemon(&redis, "");
    let client = node.client();
    let id = client.register(&instance("web", "x"));
    for _ in 0..2 {
        let _: redis::Value = redis.run("CLIENT KILL TYPE normal SKIPME yes");
        check_up(&client, &id);
    }
    let reloads = node.metric("a8_redis_reloads_total");
    assert!((reloads - 64.0).abs() < 0.5, "nothing was missing, so nothing is read anew: {reloads}");
}

#[test]
fn what_an_empty_redis_has_lost_is_written_back() {
    if !has_redis() {
        return;
    }
    let mut redis = RedisServer::start();
    let flags = "--min_ttl 1s --default_ttl 3s";
    let nodes = [daemon(&redis, flags), daemon(&redis, flags)];
    let clients = nodes.each_ref().map(Daemon::client);
    let id = clients[0].register(&instance("web", "x"));
    let silent = clients[1].register(&instance("web", "silent"));
    eventually("all are shown", || (clients[0].ids("/api/v1/services/web").len() == 2).then_some(()));
    let tag = |client: &Client| client.get("/api/v1/services/web").ok().header("etag").to_owned();
    let before = tag(&clients[0]);
    redis.kill();
    check_down(&clients[0], &id);
    check_down(&clients[1], &id);
    redis.restart();
    for client in &clients {
        check_up(client, &id);
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert_eq!(clients[0].renew(&id).status, 200);
        assert!(clients[1].ids("/api/v1/services/web").contains(&id));
        thread::sleep(Duration::from_millis(300));
    }
    for client in &clients {
        assert!(!client.ids("/api/v1/services/web").contains(&silent), "its lease ran out");
    }
    assert_eq!(tag(&clients[0]), tag(&clients[1]));
    assert_ne!(tag(&clients[0]).split('-').next(), before.split('-').next(), "it is another epoch");
}

#[test]
fn a_redis_with_its_data_goes_on_where_it_was() {
    if !has_redis() {
        return;
    }
    let mut redis = RedisServer::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let node = daemon(&redis, "--min_ttl 1s --default_ttl 2s");
    let client = node.client();
    let id = client.register(&instance("web", "x"));
    let before = client.get("/api/v1/services/web").ok().header("etag").to_owned();
    redis.kill();
    check_down(&client, &id);
    thread::sleep(Duration::from_secs(3));
    redis.restart();
    check_up(&client, &id);
    let after = client.get("/api/v1/services/web").ok().header("etag").to_owned();
    assert_eq!(before.split('-').next(), after.split('-').next(), "it is the same epoch");
    assert!(!node.log().contains("written back"), "{}", node.log());
}

#[test]
fn changes_that_were_lost_have_another_epoch() {
    if !has_redis() {
        return;
    }
    let mut redis = RedisServer::with(&["--save", "", "--appendonly", "no", "--dbfilename", "dump.rdb"]);
    let nodes = [daemon(&redis, ""), daemon(&redis, "")];
    let clients = nodes.each_ref().map(Daemon::client);
    let id = clients[0].register(&instance("web", "kept"));
    let () = redis.run("SAVE");
    let late = clients[0].register(&instance("web", "late"));
    eventually("both are shown", || (clients[1].ids("/api/v1/services/web").len() == 2).then_some(()));
    let tag = |client: &Client| client.get("/api/v1/services/web").ok().header("etag").to_owned();
    let before = tag(&clients[0]);
    redis.restart();
    for client in &clients {
        check_up(client, &id);
        assert_eq!(client.renew(&late).status, 200);
    }
    eventually("all agree", || (tag(&clients[0]) == tag(&clients[1])).then_some(()));
    assert_ne!(tag(&clients[0]).split('-').next(), before.split('-').next(), "it is another epoch");
    for client in &clients {
        assert_eq!(client.ids("/api/v1/services/web").len(), 2);
    }
}

#[test]
fn a_node_that_missed_changes_reads_anew() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::start();
    let flags = "--change_log_size 50";
    let (a, b) = (daemon(&redis, flags), daemon(&redis, flags));
    let id = a.client().register(&instance("web", "x"));
    eventually("both show it", || (b.client().get(&path(&id)).status == 200).then_some(()));
    let reloads = b.metric("a8_redis_reloads_total");
    b.signal("STOP");
    let asked: Vec<_> = (0..600).map(|nth| instance("web", &format!("v{nth}"))).collect();
    a.client().register_many(&asked);
    assert_eq!(a.client().delete(&path(&id)).status, 200);
    b.signal("CONT");
    eventually("the other node has caught up", || {
        (b.client().ids("/api/v1/services/web").len() == 600).then_some(())
    });
    assert!(reloads < b.metric("a8_redis_reloads_total"));
    let tag = |node: &Daemon| node.client().get("/api/v1/services/web").ok().header("etag").to_owned();
    assert_eq!(tag(&a), tag(&b));
}

#[test]
fn passwords_are_used_and_never_shown() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::with(&["--save", "", "--requirepass", "hush-hush"]);
    let address = redis.address();
    for flags in [
        format!("--store_address {address} --store_password hush-hush"),
        format!("--store_address redis://:hush-hush@{address}"),
        format!("--store_address redis://default:hush-hush@{address}/2"),
        format!("--store_address redis://:wrong@{address} --store_password hush-hush --store_user default"),
    ] {
        let node = Daemon::start(&format!("--store redis --log_level debug {flags}"));
        let id = node.client().register(&instance("web", "x"));
        assert_eq!(node.client().renew(&id).status, 200);
        assert!(!node.log().contains("hush"), "{}", node.log());
    }
    let node = Daemon::start(&format!("--store redis --store_address redis://:wrong-one@{address}"));
    let line = node.logged("cannot be used");
    assert!(line.contains("WRONGPASS") || line.to_lowercase().contains("password"), "{line}");
    let client = node.client();
    assert_eq!((client.get("/api/v1/instances").status, client.get("/health/ready").status), (503, 503));
    assert_eq!(client.post(&instance("web", "x")).status, 503);
    assert_eq!(client.get("/health/live").status, 200);
    assert!(!node.log().contains("wrong-one"), "{}", node.log());
}

#[test]
fn scripts_that_redis_forgot_are_sent_again() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::start();
    let node = daemon(&redis, "");
    let client = node.client();
    let id = client.register(&instance("web", "x"));
    let () = redis.run("SCRIPT FLUSH");
    assert_eq!(client.renew(&id).status, 200);
    let () = redis.run("SCRIPT FLUSH");
    assert_eq!(client.delete(&path(&id)).status, 200);
    assert!(!node.log().contains("cannot be used"), "{}", node.log());
}

#[test]
fn what_redis_refuses_is_refused_and_ends_no_lease() {
    if !has_redis() {
        return;
    }
    let redis = RedisServer::start();
    let node = daemon(&redis, "--auth_mode trusted --min_ttl 1s --default_ttl 2s");
    let (client, other) = (node.client().bearer("default"), node.client().bearer("other"));
    let id = client.register(&instance("web", "x"));
    let others = other.register(&instance("web", "x"));

    let () = redis.run("CONFIG SET maxmemory 1");
    let refused = client.renew(&id);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text());
    thread::sleep(Duration::from_secs(4));
    let () = redis.run("CONFIG SET maxmemory 0");
    assert_eq!((client.renew(&id).status, other.renew(&others).status), (200, 200));

    // A key of another type in the way is one bucket's misfortune.
    let () = redis.run("RENAME {a8:31}:changes kept");
    let () = redis.run("SET {a8:31}:changes x");
    assert_eq!(client.post(&instance("web", "y")).status, 503);
    assert_eq!(other.post(&instance("web", "y")).status, 201);
    let () = redis.run("RENAME kept {a8:31}:changes");
    eventually("it takes writes again", || (client.post(&instance("web", "y")).status == 201).then_some(()));
    let errors = client.get("/metrics").text();
    assert!(errors.contains("a8_redis_errors_total{code=\"OOM\"}"), "{errors}");
    assert!(errors.contains("a8_redis_errors_total{code=\"WRONGTYPE\"}"), "{errors}");

    let () = redis.run("REPLICAOF 127.0.0.1 1");
    eventually("a replica is not written to", || (client.renew(&id).status == 503).then_some(()));
    let () = redis.run("REPLICAOF NO ONE");
    eventually("it is renewed again", || (client.renew(&id).status == 200).then_some(()));
    assert_eq!(client.get("/api/v1/services/web").ids().len(), 2);
}

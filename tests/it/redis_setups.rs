//! The ways in which Redis is set up: by TLS, behind sentinels, as a cluster.
//!
//! Never: a Redis that the test did not start.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::client::instance;
use crate::support::redis::{RedisServer, free_port, has_redis};
use crate::support::tls::Pki;
use crate::support::{Daemon, eventually};

#[test]
fn redis_by_tls_shows_a_certificate_and_wants_one() {
    if !has_redis() {
        return;
    }
    let pki = Pki::new();
    let file = |name: &str| pki.path(name).display().to_string();
    let (port, ca, cert, key) = (free_port().to_string(), file("ca.pem"), file("cert.pem"), file("key.pem"));
    let tls = ["--save", "", "--tls-port", &port, "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert];
    let redis =
        RedisServer::with(&[&tls[..], &["--tls-key-file", &key, "--tls-auth-clients", "yes"]].concat());
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
fn a_failover_by_sentinels_loses_nobody() {
    if !has_redis() {
        return;
    }
    let mut master = RedisServer::start();
    let port = master.port().to_string();
    let replica = RedisServer::with(&["--save", "", "--replicaof", "127.0.0.1", &port]);
    let configuration = format!(
        "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 1000\n\
         sentinel failover-timeout main 3000\n"
    );
    let sentinels: Vec<_> = (0..3).map(|_| RedisServer::sentinel(&configuration)).collect();
    eventually("the replica follows", || {
        replica.run::<String>("INFO replication").contains("master_link_status:up").then_some(())
    });
    for sentinel in &sentinels {
        eventually("the sentinels know each other", || {
            let known: Vec<String> = sentinel.run("SENTINEL MASTER main");
            let at =
                |name: &str| known.iter().position(|field| field == name).map(|at| known[at + 1].clone());
            (at("num-slaves")? == "1" && at("num-other-sentinels")? == "2").then_some(())
        });
    }
    let list = sentinels.iter().map(RedisServer::address).collect::<Vec<_>>().join(",");
    let flags = format!(
        "--store redis --store_address redis+sentinel://main@{list} --min_ttl 1s --default_ttl 10s \
         --store_timeout 1s"
    );
    let nodes = [Daemon::start(&flags), Daemon::start(&flags)];
    let clients = nodes.each_ref().map(Daemon::client);
    let ids: Vec<String> =
        (0..20).map(|nth| clients[nth % 2].register(&instance("web", &format!("{nth}")))).collect();
    for client in &clients {
        eventually("all are shown", || (client.ids("/api/v1/services/web").len() == 20).then_some(()));
    }
    master.kill();
    eventually("writes are refused", || (clients[0].renew(&ids[0]).status == 503).then_some(()));
    assert_eq!(clients[0].ids("/api/v1/services/web").len(), 20, "reads go on");
    for client in &clients {
        for id in &ids {
            eventually("renewed at the new master", || (client.renew(id).status == 200).then_some(()));
        }
        let new = client.register(&instance("web", "after"));
        assert_eq!(client.delete(&format!("/api/v1/instances/{new}")).status, 200);
    }
    for client in &clients {
        eventually("all are shown", || (client.ids("/api/v1/services/web").len() == 20).then_some(()));
    }
    assert!(replica.run::<String>("INFO replication").contains("role:master"));
}

/// Six nodes, three of them masters.
fn cluster() -> Vec<RedisServer> {
    let servers: Vec<_> = (0..6)
        .map(|_| {
            RedisServer::with(&[
                "--save",
                "",
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
                "--cluster-node-timeout",
                "1500",
                "--cluster-port",
                &free_port().to_string(),
                "--cluster-replica-validity-factor",
                "0",
            ])
        })
        .collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(servers.iter().map(RedisServer::address));
    create.args(["--cluster-replicas", "1", "--cluster-yes"]);
    let created = create.output().expect("there is a redis-cli");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    for server in &servers {
        eventually("the cluster is up", || {
            let is_ok = server.run::<String>("CLUSTER INFO").contains("cluster_state:ok");
            let is_linked = !server.run::<String>("INFO replication").contains("master_link_status:down");
            (is_ok && is_linked).then_some(())
        });
    }
    servers
}

#[test]
fn a_cluster_may_move_slots_and_lose_a_master() {
    if !has_redis() {
        return;
    }
    let mut servers = cluster();
    let list = servers.iter().take(3).map(RedisServer::address).collect::<Vec<_>>().join(",");
    let flags = format!(
        "--store redis --store_address {list} --auth_mode trusted --min_ttl 1s --default_ttl 20s --store_timeout 1s"
    );
    let nodes = [Daemon::start(&flags), Daemon::start(&flags)];
    let of = |nth: usize, namespace: usize| nodes[nth].client().bearer(&format!("tenant-{namespace}"));
    // Namespaces in many buckets, which are on all masters.
    let ids: Vec<String> =
        (0..40).map(|namespace| of(namespace % 2, namespace).register(&instance("web", "x"))).collect();
    let all_shown = |nth: usize| {
        for (namespace, id) in ids.iter().enumerate() {
            eventually(&format!("node {nth} shows tenant-{namespace}"), || {
                (of(nth, namespace).ids("/api/v1/instances") == [id.clone()]).then_some(())
            });
        }
    };
    let all_renewed = |nth: usize| {
        for (namespace, id) in ids.iter().enumerate() {
            eventually(&format!("node {nth} renews tenant-{namespace}"), || {
                let status = of(nth, namespace).renew(id).status;
                assert!([200, 503].contains(&status), "{status}");
                (status == 200).then_some(())
            });
        }
    };
    let all_well = || {
        for nth in 0..2 {
            all_shown(nth);
            all_renewed(nth);
            all_shown(nth);
        }
    };
    all_well();

    // Slots move from one master to another.
    let ids_of: Vec<String> = servers.iter().take(2).map(|server| server.run("CLUSTER MYID")).collect();
    let mut reshard = Command::new("redis-cli");
    reshard.args(["--cluster", "reshard", &servers[0].address(), "--cluster-yes", "--cluster-slots", "2000"]);
    let moved =
        reshard.args(["--cluster-from", &ids_of[0], "--cluster-to", &ids_of[1]]).output().expect("runs");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    all_well();

    // A master goes; its replica takes over.
    servers[1].kill();
    thread::sleep(Duration::from_millis(500));
    all_well();
    let id = of(0, 99).register(&instance("web", "new"));
    eventually("a new one is shown", || (of(1, 99).ids("/api/v1/instances") == [id.clone()]).then_some(()));
    all_shown(0);
    let expired: f64 = nodes.iter().map(|node| node.metric("a8_expirations_total")).sum();
    assert!(expired < 0.5, "{expired}");
}

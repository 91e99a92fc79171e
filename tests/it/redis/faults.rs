//! One server that fails in every way a server can, with three registries under load.
//!
//! In each: reads go on and say that they may be old, writes are refused within a bound, nobody who renews is lost from
//! view, and the log says once that it happened and once that it is over.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::load::{Load, Outcome};
use super::{LIST, Nodes};
use crate::support::client::instance;
use crate::support::redis::free_port;
use crate::support::{Client, Daemon, Line, Redis, eventually};

/// Longer than leases are.
const LONG: Duration = Duration::from_secs(7);

/// A server with its options, three registries on it, and clients.
#[track_caller]
fn under_load(options: &str) -> Option<(Redis, Nodes, Load)> {
    let redis = Redis::start(options)?;
    let nodes = Nodes::start(&redis.address());
    let load = Load::start(&nodes);
    Some((redis, nodes, load))
}

/// Waits while Redis is away: this long and until all nodes have said so.
#[track_caller]
fn endure(nodes: &Nodes, load: &Load, begun: Instant, long: Duration) {
    load.until_refused(6);
    nodes.until_all_say_stale();
    eventually("it lasted", || (long <= begun.elapsed()).then_some(()));
    nodes.until_all_say_stale();
}

/// Ends a load after an outage that all nodes noticed, and that is over.
#[track_caller]
fn recovered(nodes: &Nodes, load: Load) -> Outcome {
    nodes.until_all_are_current();
    load.until_done(60);
    let outcome = load.end(nodes);
    assert_eq!(nodes.outages(), [[1, 1]; 3], "lines of the log about the loss and the return");
    outcome
}

/// What the entity tags of a list begin with.
fn epoch(nodes: &Nodes) -> String {
    let tag = nodes.0[0].client().get(LIST).ok().header("etag").to_owned();
    tag.split('-').next().unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_is_killed_and_comes_back_with_its_data() {
    let Some((mut redis, nodes, load)) = under_load("--appendonly yes --appendfsync always") else { return };
    let (begun, before) = (Instant::now(), epoch(&nodes));
    redis.kill();
    endure(&nodes, &load, begun, LONG);
    redis.restart();
    let outcome = recovered(&nodes, load);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
    assert_eq!(epoch(&nodes), before, "nothing was lost, so readers go on where they were");
    assert!(nodes.0.iter().all(|node| !node.log().contains("written back")));
}

#[test]
fn a_server_that_is_killed_and_comes_back_empty() {
    let Some((mut redis, nodes, load)) = under_load("") else { return };
    let begun = Instant::now();
    redis.kill();
    endure(&nodes, &load, begun, LONG);
    redis.restart_empty();
    let outcome = recovered(&nodes, load);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn a_server_that_was_empty_at_once() {
    let Some((mut redis, nodes, load)) = under_load("") else { return };
    redis.kill();
    redis.restart_empty();
    nodes.until_all_are_current();
    load.until_done(100);
    nodes.until_all_are_current();
    load.end(&nodes);
}

#[test]
fn a_server_that_stands_still() {
    let Some((redis, nodes, load)) = under_load("") else { return };
    let begun = Instant::now();
    redis.signal("STOP");
    endure(&nodes, &load, begun, LONG);
    redis.signal("CONT");
    let outcome = recovered(&nodes, load);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn everything_is_forgotten_while_the_connections_hold() {
    let Some((redis, nodes, load)) = under_load("") else { return };
    for _ in 0..3 {
        redis.ask("FLUSHALL");
        load.until_done(100);
        nodes.until_all_are_current();
    }
    let outcome = load.end(&nodes);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
    assert_eq!(nodes.outages(), [[0, 0]; 3]);
    assert!(nodes.0.iter().any(|node| node.log().contains("written back")));
}

/// Three registries on a server, one of them by a line that can break.
#[track_caller]
fn with_a_line() -> Option<(Redis, Line, Nodes, Load)> {
    let redis = Redis::start("")?;
    let line = Line::to(redis.port());
    let mut nodes = Nodes::start(&redis.address());
    let flags = format!("--store redis --store_address {} --min_ttl 1s --default_ttl 5s", line.address());
    nodes.0[0] = Daemon::start(&flags);
    nodes.until_ready();
    let load = Load::start(&nodes);
    Some((redis, line, nodes, load))
}

/// The node behind the line is the only one that loses Redis; the others go on.
#[track_caller]
fn alone(line: &Line, nodes: &Nodes, load: Load) {
    let begun = Instant::now();
    let own = nodes.0[0].client();
    load.until_refused(3);
    eventually("it says so", || own.get(LIST).header("warning").starts_with("110 ").then_some(()));
    eventually("it lasted", || (LONG <= begun.elapsed()).then_some(()));
    for other in &nodes.clients()[1..] {
        let answer = other.get(LIST);
        assert_eq!((answer.status, answer.header("warning")), (200, ""));
    }
    line.mend();
    nodes.until_all_are_current();
    load.until_done(60);
    let outcome = load.end(nodes);
    assert_eq!(nodes.outages(), [[1, 1], [0, 0], [0, 0]]);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn a_connection_that_is_cut() {
    let Some((_redis, line, nodes, load)) = with_a_line() else { return };
    line.cut();
    alone(&line, &nodes, load);
}

#[test]
fn a_connection_that_falls_silent() {
    let Some((_redis, line, nodes, load)) = with_a_line() else { return };
    line.fall_silent();
    alone(&line, &nodes, load);
}

#[test]
fn a_server_that_forgot_its_last_changes() {
    let Some(mut redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--default_ttl 1m");
    let (a, b) = (nodes.0[0].client(), nodes.0[1].client());
    let mut ids = vec![a.register(&instance("web", "kept"))];
    redis.ask("SAVE");
    ids.push(a.register(&instance("web", "late")));
    ids.sort();
    nodes.until_all_list(&ids);
    let before = epoch(&nodes);
    redis.kill();
    redis.restart();
    for client in [&a, &b] {
        for id in &ids {
            eventually("it is renewed again", || {
                let status = client.renew(id).status;
                assert!([200, 503].contains(&status), "{status}");
                (status == 200).then_some(())
            });
        }
    }
    nodes.until_all_are_current();
    nodes.until_all_list(&ids);
    let tag = |client: &Client| client.get(LIST).ok().header("etag").to_owned();
    eventually("all agree", || (tag(&a) == tag(&b)).then_some(()));
    assert_ne!(epoch(&nodes), before, "what was read meanwhile has to be read anew");
}

/// Followers of changes are told what is different, not everything.
#[test]
fn what_a_node_missed_is_told_as_changes() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--change_log_age 3s --change_log_size 64 --default_ttl 1m");
    let (sleeper, other) = (nodes.0[0].client(), nodes.0[1].client());
    let mut ids =
        other.register_many(&(0..30).map(|at| instance("web", &format!("v{at}"))).collect::<Vec<_>>());
    let delta = |client: &Client| {
        let delta = client.with("Accept: application/json").get("/eureka/apps/delta").ok().json();
        let apps = delta["applications"]["application"].as_array().cloned().unwrap_or_default();
        apps.iter().filter_map(|app| app["instance"].as_array()).map(Vec::len).sum::<usize>()
    };
    eventually("what was registered is no news any more", || (delta(&sleeper) == 0).then_some(()));
    let reloads = nodes.0[0].metric("a8_redis_reloads_total");
    nodes.0[0].signal("STOP");
    // More changes than the stream keeps, of which little is left.
    for _ in 0..300 {
        let id = other.register(&instance("passing", "x"));
        assert_eq!(other.delete(&format!("{LIST}/{id}")).status, 200);
    }
    ids.push(other.register(&instance("new", "x")));
    ids.sort();
    nodes.0[0].signal("CONT");
    eventually("it has caught up", || (sleeper.ids(LIST) == ids).then_some(()));
    assert!(reloads < nodes.0[0].metric("a8_redis_reloads_total"), "it had to read anew");
    let told = delta(&sleeper);
    // The new one, and the passing one when the node has seen it come.
    assert!(told <= 2, "what did not change is told, too: {told} instances");
    let tag = |client: &Client| client.get(LIST).ok().header("etag").to_owned();
    assert_eq!(tag(&sleeper), tag(&other));
}

#[test]
fn changes_that_a_node_never_saw_are_read_as_a_whole() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--change_log_size 8 --default_ttl 1m");
    let client = nodes.0[1].client();
    let first = client.register(&instance("before", "a"));
    nodes.until_all_list(std::slice::from_ref(&first));
    // More changes than the stream keeps, while a node sleeps.
    nodes.0[0].signal("STOP");
    let values: Vec<_> = (0..2000).map(|number| instance("after", &format!("v{number}"))).collect();
    let mut ids = client.register_many(&values);
    for id in ids.drain(..1000) {
        client.delete(&format!("/api/v1/instances/{id}"));
    }
    nodes.0[0].signal("CONT");
    ids.push(first);
    ids.sort();
    nodes.until_all_list(&ids);
    nodes.until_all_are_current();
}

#[test]
fn memory_that_is_used_up() {
    let Some((redis, nodes, load)) = under_load("") else { return };
    let begun = Instant::now();
    redis.ask("CONFIG SET maxmemory-policy noeviction");
    redis.ask("CONFIG SET maxmemory 1");
    load.until_refused(20);
    eventually("it lasted", || (LONG <= begun.elapsed()).then_some(()));
    // What is there is still followed, so that it is not said to be old or is; it is answered in any case.
    for node in &nodes.0 {
        assert_eq!(node.client().get(LIST).status, 200);
        assert_eq!(node.client().get("/health/ready").status, 200);
        assert!(node.client().get("/metrics").text().contains("OOM"), "the metrics name the cause");
    }
    redis.ask("CONFIG SET maxmemory 0");
    load.until_done(60);
    nodes.until_all_are_current();
    let outcome = load.end(&nodes);
    for node in &nodes.0 {
        let log = node.log();
        assert!(log.contains("OOM"), "the log names the cause:\n{log}");
        assert!(log.lines().filter(|line| line.contains("OOM")).count() <= 2, "once:\n{log}");
    }
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn a_server_that_became_a_replica() {
    let Some(master) = Redis::start("") else { return };
    let (redis, nodes, load) = under_load("").expect("there is a server already");
    let begun = Instant::now();
    // Of a master that it cannot log in to: it keeps what it has and takes no writes.
    master.ask("CONFIG SET requirepass other");
    redis.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    endure(&nodes, &load, begun, LONG);
    redis.ask("REPLICAOF NO ONE");
    let outcome = recovered(&nodes, load);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn a_server_that_loads_its_data_for_a_while() {
    let options = format!("--appendonly yes --rdbcompression no {}", Redis::debugging());
    let Some((mut redis, nodes, load)) = under_load(&options) else { return };
    // Every key takes a while to load, and after every two megabytes some servers say that they do, others at all times.
    redis.ask("DEBUG POPULATE 4000 other 8192");
    redis.ask("SAVE");
    redis.ask("BGREWRITEAOF");
    eventually("the data is written", || {
        (redis.info("aof_rewrite_in_progress")? == "0" && redis.info("aof_rewrite_scheduled")? == "0")
            .then_some(())
    });
    redis.kill();
    redis.option_for_next("--key-load-delay 2000");
    redis.restart();
    let begun = Instant::now();
    assert!(redis.try_ask("GET x").is_err(), "it loads for a while");
    endure(&nodes, &load, begun, Duration::from_secs(3));
    recovered(&nodes, load);
}

#[test]
fn scripts_that_are_forgotten_are_sent_again() {
    let Some((redis, nodes, load)) = under_load("") else { return };
    for _ in 0..3 {
        redis.ask("SCRIPT FLUSH");
        load.until_done(30);
    }
    let outcome = load.end(&nodes);
    assert_eq!((outcome.refused, outcome.forgotten), (0, 0), "{outcome:?}");
    assert_eq!(nodes.outages(), [[0, 0]; 3]);
}

#[test]
fn clients_that_the_server_throws_out_come_back() {
    let Some((redis, nodes, load)) = under_load("") else { return };
    let reloads = nodes.sum("a8_redis_reloads_total");
    for _ in 0..3 {
        redis.ask("CLIENT KILL TYPE normal SKIPME yes");
        load.until_done(30);
        nodes.until_all_are_current();
    }
    let more = nodes.sum("a8_redis_reloads_total") - reloads;
    let outcome = load.end(&nodes);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
    assert!(more < 0.5, "nothing was missing, so nothing is read anew: {more}");
}

#[test]
fn a_password_that_changes_is_an_outage_and_no_more() {
    let Some(redis) = Redis::start("--requirepass first") else { return };
    let nodes = Nodes::with(&redis.address(), "--store_password first");
    let load = Load::start(&nodes);
    let begun = Instant::now();
    let mut admin = redis.admin();
    admin(&["CONFIG", "SET", "requirepass", "second"]);
    admin(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    endure(&nodes, &load, begun, LONG);
    admin(&["CONFIG", "SET", "requirepass", "first"]);
    let outcome = recovered(&nodes, load);
    assert_eq!(outcome.forgotten, 0, "{outcome:?}");
}

#[test]
fn a_key_of_another_type_harms_its_bucket_only() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--auth_mode trusted");
    let by = |namespace: &str| nodes.0[0].client().bearer(namespace);
    // One of 64 buckets, and namespaces until one is found that lies elsewhere.
    let id = by("default").register(&instance("a", "b"));
    redis.ask("DEL {a8:31}:leases");
    redis.ask("SET {a8:31}:leases nonsense");
    let answer = by("default").renew(&id);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.text());
    assert_eq!(by("default").post(&instance("a", "c")).status, 503);
    let id = by("other").register(&instance("a", "b"));
    assert_eq!(by("other").renew(&id).status, 200);
    assert_eq!(by("default").get(LIST).status, 200);
    assert!(nodes.0[0].logged("WRONGTYPE").contains("WRONGTYPE"));
    redis.ask("DEL {a8:31}:leases");
    eventually("it can be written again", || {
        (by("default").post(&instance("a", "d")).status == 201).then_some(())
    });
}

#[test]
fn a_registry_without_redis_waits_for_it() {
    let Some(mut redis) = Redis::start("") else { return };
    redis.kill();
    let flags = format!("--store redis --store_address {}", redis.address());
    let daemon = Daemon::start(&flags);
    let client = daemon.client();
    daemon.logged("cannot be used");
    let answer = client.get(LIST);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(client.get("/health/ready").status, 503);
    redis.restart();
    eventually("it is ready", || (client.get("/health/ready").status == 200).then_some(()));
    client.register(&instance("a", "b"));
}

#[test]
fn who_asks_a_registry_that_cannot_read_yet_is_answered() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let flags = format!("--store redis --store_address {address} --store_timeout 10m");
    let daemon = Daemon::start(&flags);
    let client = daemon.client();
    assert_eq!(client.get("/health/live").status, 200);
    assert_eq!(client.get("/health/ready").status, 503);
    let answer = client.get(LIST);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
}

/// Peers that answer, or do not, make no server ready that has nothing to read from.
#[test]
fn a_registry_with_peers_is_not_ready_before_its_store() {
    let Some(mut redis) = Redis::start("") else { return };
    redis.kill();
    let peer = format!("http://127.0.0.1:{}/eureka/v2", free_port());
    let flags = format!("--store redis --store_address {} --eureka_peer_url {peer}", redis.address());
    let daemon = Daemon::start(&flags);
    let client = daemon.client();
    daemon.logged("cannot be used");
    // Longer than peers are waited for.
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        assert_eq!(client.get("/health/ready").status, 503);
        std::thread::sleep(Duration::from_millis(100));
    }
    redis.restart();
    eventually("it is ready", || (client.get("/health/ready").status == 200).then_some(()));
    assert_eq!(client.get(LIST).status, 200);
}

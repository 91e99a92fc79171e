//! How leases end on Redis when they end as on a Netflix server, when a namespace keeps its instances, and when everybody
//! stands still.
//!
//! A minute of a bucket's time is ended by its clock in Redis, so that no test waits for one.
//! Never: waits for a whole minute.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LIST, Nodes};
use crate::support::client::instance;
use crate::support::{Client, Redis, eventually};

/// Longer than a lease, and than a registry takes to see that it is over.
const OVER: Duration = Duration::from_millis(3500);

const ALL: &str = "/api/v1/instances?status=ALL";

/// Where the namespace `default` lies.
const CLOCK: &str = "{a8:31}:clock";

fn register(client: &Client, service: &str, count: usize, ttl: u64) -> Vec<String> {
    let asked: Vec<Value> = (0..count)
        .map(|at| json!({"service_name": service, "endpoint": {"type": "http", "value": format!("{service}{at}")}, "ttl": ttl}))
        .collect();
    let mut ids = client.register_many(&asked);
    ids.sort();
    ids
}

/// Ends the minute, and waits until the next one has begun.
#[track_caller]
fn end_minute(redis: &Redis) {
    redis.ask(&format!("HSET {CLOCK} minute 0"));
    eventually("a minute begins", || (redis.text(&format!("HGET {CLOCK} minute")) != "0").then_some(()));
}

#[test]
fn as_on_a_netflix_server_what_ran_out_is_listed_until_one_of_the_nodes_evicts_it() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--eureka_strict_expiry");
    let (a, b) = (nodes.0[0].client(), nodes.0[1].client());
    let ids = register(&a, "web", 20, 2);
    nodes.until_all_list(&ids);
    end_minute(&redis);
    thread::sleep(OVER);
    nodes.until_all_list(&ids);
    assert_eq!(b.renew(&ids[0]).status, 200, "it can be renewed until it is evicted");
    for left in [17, 14] {
        end_minute(&redis);
        for client in [&a, &b] {
            eventually("at most 15 of a hundred are evicted", || {
                (client.ids(LIST).len() == left).then_some(())
            });
        }
    }
    assert!((nodes.sum("a8_expirations_total") - 6.0).abs() < 0.5, "each was evicted once");
    // A lease that was renewed counts twice.
    let id = register(&a, "twice", 1, 3).remove(0);
    let begun = Instant::now();
    assert_eq!(a.renew(&id).status, 200);
    loop {
        end_minute(&redis);
        let is_listed = b.ids(LIST).contains(&id);
        if Duration::from_secs(5) < begun.elapsed() {
            break;
        }
        assert!(is_listed, "gone after {:?}", begun.elapsed());
    }
}

#[test]
fn a_namespace_in_which_too_few_renew_keeps_its_instances_on_all_nodes() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--self_preservation --auth_mode trusted");
    let [a, b] = [0, 1].map(|at| nodes.0[at].client().bearer("default"));
    let kept_in = |client: &Client| client.metric("a8_self_preserving_namespaces").unwrap_or_default();
    // Longer than it takes until renewals are counted: who runs out before is kept for the rest of a real minute.
    let ids = register(&a, "web", 10, 6);
    // Two renewals of each in a minute, by turns at both nodes, are enough: 20 of at least 18.
    for (at, id) in ids.iter().chain(&ids).enumerate() {
        assert_eq!([&a, &b][at % 2].renew(id).status, 200);
    }
    // Nodes tell what they counted every two seconds.
    let counted = || redis.try_ask("HGET {a8:31}:beats 64656661756c74").ok();
    eventually("all renewals are counted", || {
        (counted() == Some(redis::Value::BulkString(b"20".to_vec()))).then_some(())
    });
    end_minute(&redis);
    for client in [&a, &b] {
        eventually("those who do not renew any more go", || client.ids(LIST).is_empty().then_some(()));
    }
    // Nobody renews in the next minute.
    end_minute(&redis);
    let ids = register(&b, "web", 10, 2);
    thread::sleep(OVER);
    for (client, other) in [(&a, &b), (&b, &a)] {
        eventually("all are listed", || (client.ids(ALL) == ids).then_some(()));
        eventually("the node says so", || (0.5 < kept_in(client)).then_some(()));
        assert_eq!(other.renew(&ids[3]).status, 200, "a lease that ran out can be renewed");
        let status = client.put(&format!("{LIST}/{}/status", ids[4]), r#"{"status": "STARTING"}"#);
        assert_eq!(status.status, 200, "{}", status.text());
    }
    assert_eq!(b.delete(&format!("{LIST}/{}", ids[0])).status, 200, "who says farewell goes");
    // Others do as they always did.
    let other = nodes.0[0].client().bearer("other");
    let id = register(&other, "web", 1, 2).remove(0);
    assert_eq!(other.get(&format!("{LIST}/{id}")).status, 200);
    let left = nodes.sum("a8_expirations_total");
    assert!((left - 10.0).abs() < 0.5, "{left}");
}

/// While no registry runs, nobody can renew, so no lease ends for that.
#[test]
fn leases_stand_still_while_all_registries_do() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::start(&redis.address());
    let clients = nodes.clients();
    let ids = register(&clients[0], "web", 20, 3);
    nodes.until_all_list(&ids);
    for node in &nodes.0 {
        node.signal("STOP");
    }
    thread::sleep(Duration::from_secs(6));
    for node in &nodes.0 {
        node.signal("CONT");
    }
    for (client, node) in clients.iter().zip(&nodes.0) {
        assert_eq!(client.ids(LIST), ids);
        node.logged("the process stood still");
    }
    for (at, id) in ids.iter().enumerate() {
        eventually("it is renewed", || {
            let status = clients[at % 3].renew(id).status;
            assert!([200, 503].contains(&status), "{status}");
            (status == 200).then_some(())
        });
    }
    // Then they go on: all are gone in the end, each once.
    for client in &clients {
        eventually("all are gone", || client.ids(LIST).is_empty().then_some(()));
    }
    assert!((nodes.sum("a8_expirations_total") - 20.0).abs() < 0.5);
}

/// One that stands still is missed by its own clients only.
#[test]
fn a_registry_that_stands_still_ends_no_lease_that_is_renewed_at_another() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::start(&redis.address());
    let clients = nodes.clients();
    let id = clients[0].register(&instance("web", "x"));
    nodes.0[0].signal("STOP");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        assert_eq!(clients[1].renew(&id).status, 200);
        thread::sleep(Duration::from_millis(200));
    }
    nodes.0[0].signal("CONT");
    nodes.until_all_list(&[id]);
}

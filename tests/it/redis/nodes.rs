//! Three registries on one server are one registry to their clients.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{LIST, Nodes};
use crate::support::client::instance;
use crate::support::{Redis, eventually};

#[test]
fn a_write_by_one_is_read_from_the_others_within_a_tenth_of_a_second() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--default_ttl 1m");
    let clients = nodes.clients();
    let mut delays = Vec::new();
    for number in 0..200 {
        let id = clients[number % 3].register(&instance("a", &format!("v{number}")));
        let answered = Instant::now();
        for other in [(number + 1) % 3, (number + 2) % 3] {
            // Over a connection that is there already, so that only reading is measured.
            let mut connection = clients[other].connect();
            eventually("it is read", || {
                let answer = connection.ask(&clients[other], &format!("GET {LIST}?fields=id"), "");
                answer.ids().contains(&id).then_some(())
            });
            delays.push(answered.elapsed());
        }
    }
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100];
    eprintln!("p50 {:?}, p99 {p99:?}, longest {:?}", delays[delays.len() / 2], delays[delays.len() - 1]);
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
}

#[test]
fn ids_entity_tags_and_contents_are_the_same_on_all() {
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), "--default_ttl 1m");
    let clients = nodes.clients();
    for number in 0..30 {
        let value = instance("a", &format!("v{}", number % 10));
        let id = clients[number % 3].register(&value);
        assert_eq!(clients[(number + 1) % 3].renew(&id).status, 200, "another one renews it at once");
        if number % 4 == 0 {
            let path = format!("/api/v1/instances/{id}");
            assert_eq!(clients[(number + 2) % 3].delete(&path).status, 200);
            assert_eq!(clients[number % 3].renew(&id).status, 410);
        }
    }
    let seen = |at: usize| {
        let answer = clients[at].get(LIST);
        (answer.ids(), answer.header("etag").to_owned())
    };
    let (ids, tag) = eventually("all nodes agree", || {
        let first = seen(0);
        (first == seen(1) && first == seen(2)).then_some(first)
    });
    assert!(!ids.is_empty() && !tag.is_empty());
    for client in &clients {
        assert_eq!(client.with(&format!("If-None-Match: {tag}")).get(LIST).status, 304);
    }
    // A registry that starts later has the same.
    let late = Nodes::with(&redis.address(), "--default_ttl 1m");
    let answer = late.0[0].client().get(LIST);
    assert_eq!((answer.ids(), answer.header("etag")), (ids, tag.as_str()));
}

#[test]
fn capacity_is_exact_whoever_is_asked() {
    const CAPACITY: usize = 50;
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::with(&redis.address(), &format!("--namespace_capacity {CAPACITY} --default_ttl 1m"));
    let clients = nodes.clients();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let client = &clients[number % 3];
                scope.spawn(move || {
                    let post = |at| client.post(&instance("a", &format!("v{number}-{at}"))).status;
                    (0..20).map(post).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(403)), (CAPACITY, statuses.len() - CAPACITY), "{statuses:?}");
    for client in &clients {
        eventually("all are listed", || (client.ids(LIST).len() == CAPACITY).then_some(()));
    }
    // Room that one makes is another's.
    let id = clients[0].ids(LIST).remove(0);
    assert_eq!(clients[1].delete(&format!("/api/v1/instances/{id}")).status, 200);
    assert_eq!(clients[2].post(&instance("b", "c")).status, 201);
    assert_eq!(clients[0].post(&instance("b", "d")).status, 403);
}

#[test]
fn who_stops_renewing_is_gone_everywhere_within_a_second_and_counted_once() {
    const COUNT: usize = 40;
    let Some(redis) = Redis::start("") else { return };
    let nodes = Nodes::start(&redis.address());
    let clients = nodes.clients();
    let ttl = Duration::from_secs(3);
    let registrations: Vec<_> = (0..COUNT)
        .map(|at| {
            json!({"service_name": "a", "endpoint": {"type": "http", "value": format!("v{at}")}, "ttl": ttl.as_secs()})
        })
        .collect();
    let ids = clients[0].register_many(&registrations);
    // Another node renews them once more; from then on nobody does.
    let mut first = None;
    for id in &ids {
        first.get_or_insert_with(Instant::now);
        assert_eq!(clients[1].renew(id).status, 200);
    }
    let (first, last) = (first.expect("there are some"), Instant::now());
    let looks: Vec<_> = thread::scope(|scope| {
        let look = |client: &crate::support::Client| {
            let mut latest = Duration::ZERO;
            eventually("all are gone", || {
                let asked = Instant::now();
                let left = client.ids(LIST).len();
                if left < COUNT {
                    assert!(first + ttl <= Instant::now(), "gone before its time");
                }
                // The longest time that one was still listed after the end of all leases.
                latest = if left == 0 { latest } else { asked.saturating_duration_since(last + ttl) };
                (left == 0).then_some(())
            });
            latest
        };
        let threads: Vec<_> = clients.iter().map(|client| scope.spawn(move || look(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    eprintln!("after their end, instances were listed for at most {looks:?}");
    assert!(looks.iter().all(|late| *late < Duration::from_secs(1)), "{looks:?}");
    eventually("each is counted once", || {
        let sum = nodes.sum("a8_expirations_total");
        (sum >= COUNT as f64).then_some(sum)
    });
    // Nothing is counted twice, however long one waits for the slowest of them.
    for client in &clients {
        assert_eq!(client.ids(LIST), Vec::<String>::new());
    }
    assert!((nodes.sum("a8_expirations_total") - COUNT as f64).abs() < 0.5);
    let named = nodes.0.iter().map(|node| node.log().matches(" of a expired").count()).sum::<usize>();
    assert_eq!(named, COUNT, "each is named once in all logs");
}

//! Lines between members that are cut and mended; members find each other by a list, without a secret on loopback.
//!
//! Never: ends a member.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::members::{agrees, free_port, instance, shows, size_of, until_ready};
use crate::support::{Client, Daemon, Line, eventually};

/// Three members, each of which reaches each other by a line of its own.
struct Parts {
    daemons: Vec<Daemon>,
    /// From whom, to whom.
    lines: Vec<(usize, usize, Line)>,
}

impl Parts {
    #[track_caller]
    fn start(flags: &str) -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to);
        let lines: Vec<_> = pairs.map(|(from, to)| (from, to, Line::to(ports[to]))).collect();
        let daemons: Vec<_> = (0..3)
            .map(|me| {
                let places = lines.iter().filter(|(from, _, _)| *from == me);
                let places: Vec<_> = places.map(|(_, _, line)| line.address().to_string()).collect();
                let places = places.join(",");
                let port = ports[me];
                Daemon::start(&format!(
                    "--store inmem --replication --replication_port {port} --cluster_peers {places} {flags}"
                ))
            })
            .collect();
        let parts = Self { daemons, lines };
        parts.daemons.iter().for_each(until_ready);
        parts.until_size([3, 3, 3]);
        parts
    }

    fn client(&self, nth: usize) -> Client {
        self.daemons[nth].client()
    }

    #[track_caller]
    fn until_size(&self, sizes: [usize; 3]) {
        for (nth, size) in sizes.into_iter().enumerate() {
            eventually(&format!("member {nth} has {size} members"), || {
                (size_of(&self.client(nth)) == size).then_some(())
            });
        }
    }

    fn between(&self, one: usize, other: usize) -> impl Iterator<Item = &Line> {
        let joins = move |from, to| (from, to) == (one, other) || (from, to) == (other, one);
        self.lines.iter().filter(move |(from, to, _)| joins(*from, *to)).map(|(_, _, line)| line)
    }

    fn digest(&self, nth: usize) -> Value {
        self.client(nth).get("/cluster").ok().json()["digest"].clone()
    }
}

/// Takes as long as silence is believed: with the long tests.
#[test]
fn long_a_line_that_swallows_everything_is_noticed() {
    let parts = Parts::start("");
    for line in parts.between(0, 1) {
        line.fall_silent();
    }
    let begun = Instant::now();
    eventually("both notice", || {
        (size_of(&parts.client(0)) == 2 && size_of(&parts.client(1)) == 2).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    for line in parts.between(0, 1) {
        line.mend();
    }
    parts.until_size([3, 3, 3]);
}

#[test]
fn both_sides_of_a_cut_go_on_and_are_one_again_when_it_is_mended() {
    let parts = Parts::start("--min_ttl 1s");
    let clients: Vec<_> = (0..3).map(|nth| parts.client(nth)).collect();
    let held = clients[0].register(&instance("held", 3));
    let gone = clients[1].register(&instance("gone", 60));
    for client in &clients {
        agrees(client, &[held.clone(), gone.clone()]);
    }
    for line in parts.between(0, 1).chain(parts.between(0, 2)) {
        line.cut();
    }
    let cut = Instant::now();
    parts.until_size([1, 2, 2]);
    let here = clients[0].register(&instance("here", 60));
    let there = clients[1].register(&instance("there", 60));
    assert_eq!(clients[2].delete(&format!("/api/v1/instances/{gone}")).status, 200);
    eventually("the others agree", || shows(&clients[2], &there).then_some(()));
    // Its client renews at the member that is cut off; the others keep it, whatever its lease.
    while cut.elapsed() < Duration::from_secs(5) {
        assert_eq!(clients[0].renew(&held).status, 200);
        for client in &clients {
            assert!(shows(client, &held), "after {:?}", cut.elapsed());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(!shows(&clients[0], &there) && !shows(&clients[1], &here), "the line is cut");
    assert!(shows(&clients[0], &gone), "nobody could tell");
    for line in parts.between(0, 1).chain(parts.between(0, 2)) {
        line.mend();
    }
    let mended = Instant::now();
    parts.until_size([3, 3, 3]);
    for client in &clients {
        agrees(client, &[held.clone(), here.clone(), there.clone()]);
        assert_eq!(client.renew(&held).status, 200);
    }
    eprintln!("one again {:?} after the cut was mended", mended.elapsed());
    eventually("all have the same", || {
        (parts.digest(0) == parts.digest(1) && parts.digest(1) == parts.digest(2)).then_some(())
    });
}

#[test]
fn what_cannot_go_straight_goes_round() {
    let parts = Parts::start("--min_ttl 1s");
    for line in parts.between(0, 1) {
        line.cut();
    }
    parts.until_size([2, 2, 3]);
    let id = parts.client(0).register(&instance("x", 3));
    eventually("it comes by the third", || shows(&parts.client(1), &id).then_some(()));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(parts.client(0).renew(&id).status, 200);
        assert!(shows(&parts.client(1), &id), "renewals come by the third, too: {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(parts.client(1).delete(&format!("/api/v1/instances/{id}")).status, 200);
    for nth in 0..3 {
        agrees(&parts.client(nth), &[]);
    }
}

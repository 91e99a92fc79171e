//! Members that die, stand still, or leave.
//!
//! Never: breaks a line between members that live.

use std::thread;
use std::time::{Duration, Instant};

use super::members::{Cluster, instance, shows};
use crate::support::eventually;

#[test]
fn a_member_that_is_killed_takes_no_instance_with_it_whose_client_moves() {
    let mut cluster = Cluster::start(3, "--min_ttl 1s --partition_hold 2s");
    let moved: Vec<String> =
        (0..50).map(|nth| cluster.client(0).register(&instance(&format!("moved{nth}"), 10))).collect();
    let silent = cluster.client(0).register(&instance("silent", 6));
    let all: Vec<String> = moved.iter().cloned().chain([silent.clone()]).collect();
    cluster.agree_on(&all);
    let last = Instant::now();
    cluster.kill(0);
    cluster.until_size(2);
    let mut gone = None;
    while last.elapsed() < Duration::from_secs(12)
        && (gone.is_none() || last.elapsed() < Duration::from_secs(8))
    {
        for (nth, id) in moved.iter().enumerate() {
            assert_eq!(cluster.client(1 + nth % 2).renew(id).status, 200, "after {:?}", last.elapsed());
        }
        for client in cluster.clients() {
            let shown = client.ids("/api/v1/instances");
            assert!(moved.iter().all(|id| shown.contains(id)), "after {:?}", last.elapsed());
        }
        if gone.is_none() && cluster.clients().iter().all(|client| !shows(client, &silent)) {
            gone = Some(last.elapsed());
        }
        thread::sleep(Duration::from_millis(300));
    }
    // Its client died with the member: it outlives its lease by the hold, and no more.
    let gone = gone.expect("the silent one is gone everywhere");
    eprintln!("gone {gone:?} after its member was killed, with a lease of 6 s and a hold of 2 s");
    assert!(Duration::from_secs(6) <= gone && gone < Duration::from_secs(12), "{gone:?}");
}

#[test]
fn a_member_that_stands_still_has_its_instances_held_and_goes_on() {
    let cluster = Cluster::start(3, "--min_ttl 1s");
    let id = cluster.client(0).register(&instance("x", 8));
    cluster.agree_on(std::slice::from_ref(&id));
    assert_eq!(cluster.client(0).renew(&id).status, 200);
    let begun = Instant::now();
    cluster.daemon(0).signal("STOP");
    while begun.elapsed() < Duration::from_secs(10) {
        for nth in [1, 2] {
            assert!(shows(&cluster.client(nth), &id), "after {:?}", begun.elapsed());
        }
        thread::sleep(Duration::from_millis(300));
    }
    for nth in [1, 2] {
        cluster.daemon(nth).until_metric("a8_cluster_held_instances", 1.0);
        cluster.daemon(nth).until_metric("a8_cluster_size", 2.0);
    }
    cluster.daemon(0).signal("CONT");
    assert_eq!(cluster.client(0).renew(&id).status, 200, "it did not expire where time stood still");
    cluster.until_size(3);
    for nth in [1, 2] {
        cluster.daemon(nth).until_metric("a8_cluster_held_instances", 0.0);
        assert!(shows(&cluster.client(nth), &id));
    }
}

#[test]
fn a_member_that_is_told_to_stop_leaves_at_once_and_hands_over() {
    let mut cluster = Cluster::start(2, "");
    let ids: Vec<String> =
        (0..20).map(|nth| cluster.client(0).register(&instance(&format!("x{nth}"), 30))).collect();
    let ended = cluster.take(0).stop();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    // What it answered it has handed over, also what it was told just before.
    let mut shown = cluster.client(1).ids("/api/v1/instances");
    shown.sort_unstable();
    let mut want = ids.clone();
    want.sort_unstable();
    assert_eq!(shown, want);
    cluster.until_size(1);
    cluster.daemon(1).logged("has left");
    let files = std::fs::read_dir(cluster.path()).expect("it is there");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(names.len(), 2, "its own file is gone: {names:?}");
    assert_eq!(cluster.client(1).renew(&ids[0]).status, 200);
    assert_eq!(cluster.daemon(1).metric("a8_cluster_held_instances") as u64, 0);
}

#[test]
fn a_member_that_comes_back_at_the_same_place_is_the_same_member() {
    let mut cluster = Cluster::start(2, "");
    let port = super::members::free_port();
    let place = format!("--cluster_advertise 127.0.0.9 --replication_port {port}");
    let nth = cluster.join(&place);
    cluster.until_size(3);
    let before = cluster.client(nth).register(&instance("before", 30));
    cluster.agree_on(std::slice::from_ref(&before));
    for _ in 0..3 {
        cluster.kill(nth);
        cluster.start_again(nth, &place);
        assert!(shows(&cluster.client(nth), &before), "the others gave it what it had");
        cluster.until_size(3);
        let id = cluster.client(nth).register(&instance("again", 30));
        for client in cluster.clients() {
            eventually("what it writes is new", || shows(&client, &id).then_some(()));
        }
        assert_eq!(cluster.client(nth).delete(&format!("/api/v1/instances/{id}")).status, 200);
        cluster.agree_on(std::slice::from_ref(&before));
    }
}

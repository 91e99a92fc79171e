//! The directory by which members find each other, and what becomes of a cluster when it is in trouble.
//!
//! Never: relies on the directory for who is alive.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::members::{Cluster, instance, place_of, size_of};
use crate::support::eventually;

#[test]
fn a_first_member_is_ready_at_once_and_others_are_seen_soon() {
    let begun = Instant::now();
    let mut cluster = Cluster::start(1, "--sync_timeout 30s");
    let alone = begun.elapsed();
    assert!(alone < Duration::from_secs(15), "it does not wait for nobody: {alone:?}");
    let begun = Instant::now();
    cluster.join("");
    cluster.until_size(2);
    eprintln!("ready alone after {alone:?}, joined by another after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let line = cluster.daemon(0).logged("Number of members in the cluster has been changed");
    assert!(line.contains("prevSize: 1, currSize: 2"), "{line}");
}

#[test]
fn a_directory_that_is_gone_for_a_while_changes_nothing_for_who_is_there() {
    let mut cluster = Cluster::start(2, "");
    let id = cluster.client(0).register(&instance("x", 30));
    cluster.agree_on(std::slice::from_ref(&id));
    let aside = cluster.aside();
    for daemon in [cluster.daemon(0), cluster.daemon(1)] {
        daemon.logged("cannot be read");
        eventually("health says so", || {
            let shown = daemon.client().get("/health/ready");
            (shown.status == 200 && shown.text().contains("cannot be read")).then_some(())
        });
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!((size_of(&cluster.client(0)), size_of(&cluster.client(1))), (2, 2));
        thread::sleep(Duration::from_millis(100));
    }
    let more = cluster.client(1).register(&instance("y", 30));
    cluster.agree_on(&[id.clone(), more.clone()]);
    aside.put_back();
    for daemon in [cluster.daemon(0), cluster.daemon(1)] {
        daemon.logged("can be used again");
        let said = daemon.log().matches("cannot be read").count();
        assert_eq!(said, 1, "it is said once");
    }
    cluster.join("");
    cluster.until_size(3);
    cluster.agree_on(&[id, more]);
}

#[test]
fn a_directory_that_was_emptied_fills_again() {
    let mut cluster = Cluster::start(2, "");
    for file in fs::read_dir(cluster.path()).expect("it is there") {
        fs::remove_file(file.expect("a file").path()).expect("it is ours");
    }
    eventually("both write themselves and the secret again", || {
        (fs::read_dir(cluster.path()).expect("it is there").count() == 3).then_some(())
    });
    cluster.join("");
    cluster.until_size(3);
}

#[test]
fn files_of_nobody_are_named_once_and_ignored() {
    let mut cluster = Cluster::start(1, "");
    let old = r#"{"ip":"10.9.8.7","port":6100,"timestamp":"2026-01-01T00:00:00.123456789Z"}"#;
    fs::write(cluster.path().join("10.9.8.7:6100"), old).expect("written");
    let own = place_of(cluster.daemon(0));
    let whole = fs::read_to_string(cluster.path().join(format!("{own}.json"))).expect("it is there");
    fs::write(cluster.path().join("127.0.0.77:1.json"), &whole[..whole.len() / 2]).expect("written");
    cluster.join("");
    cluster.until_size(2);
    for name in ["10.9.8.7:6100", "127.0.0.77:1.json"] {
        let line = cluster.daemon(0).logged(name);
        assert!(line.contains("is ignored"), "{line}");
    }
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(cluster.daemon(0).log().matches("is ignored").count(), 2);
    assert!(cluster.path().join("10.9.8.7:6100").exists(), "it is not ours to remove");
}

#[test]
fn a_member_with_another_secret_stays_outside() {
    let mut cluster = Cluster::start(1, "--sync_timeout 2s");
    cluster.join("--cluster_secret another-one-than-the-others");
    cluster.daemon(0).logged("has another secret");
    cluster.daemon(1).logged("has another secret");
    let id = cluster.client(0).register(&instance("x", 30));
    thread::sleep(Duration::from_millis(1500));
    assert!(!super::members::shows(&cluster.client(1), &id));
    assert_eq!((size_of(&cluster.client(0)), size_of(&cluster.client(1))), (1, 1));
    let secret = fs::read_to_string(cluster.path().join("cluster.secret")).expect("it is there");
    for daemon in [cluster.daemon(0), cluster.daemon(1)] {
        let log = daemon.log();
        assert!(!log.contains(secret.trim()) && !log.contains("another-one"), "secrets are not logged");
    }
}

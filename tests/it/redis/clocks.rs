//! Registries whose clocks differ by hours are one registry: leases run on Redis' clock.
//!
//! Needs libfaketime, which `tests/redis.sh` fetches; where it is missing, the test says so.
//! Never: changes a clock that others use.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{LIST, Nodes};
use crate::support::redis::faked_clock;
use crate::support::{Redis, Setup, eventually};

#[test]
fn registries_whose_clocks_differ_agree_on_who_lives() {
    let Some(library) = faked_clock() else { return };
    let Some(redis) = Redis::start("") else { return };
    let flags = format!("--store redis --store_address {} --min_ttl 1s", redis.address());
    let shifted = |shift: &str| {
        let setup = Setup::new(&flags).env("LD_PRELOAD", &library).env("FAKETIME", shift);
        setup.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").start()
    };
    let nodes = Nodes(vec![shifted("+2h"), shifted("-3d"), shifted("+0")]);
    nodes.until_ready();
    let clients = nodes.clients();
    let date = |at: usize| clients[at].get(LIST).ok().json()["instances"][0]["last_heartbeat"].clone();
    let asked =
        |value: &str| json!({"service_name": "a", "endpoint": {"type": "http", "value": value}, "ttl": 3});
    let (kept, silent) = (clients[0].register(&asked("kept")), clients[1].register(&asked("silent")));
    let begun = Instant::now();
    let mut ids = vec![kept.clone(), silent.clone()];
    ids.sort();
    nodes.until_all_list(&ids);
    assert_ne!(date(0).to_string()[..11], date(1).to_string()[..11], "their clocks differ by days");
    // Whoever it is renewed at, it lives; nobody's clock ends the other one before its time.
    let mut gone = [None; 3];
    for round in 0.. {
        assert_eq!(clients[round % 3].renew(&kept).status, 200);
        for (at, client) in clients.iter().enumerate() {
            let listed = client.ids(LIST);
            assert!(listed.contains(&kept));
            if gone[at].is_none() && !listed.contains(&silent) {
                gone[at] = Some(begun.elapsed());
            }
        }
        if gone.iter().all(Option::is_some) && Duration::from_secs(8) < begun.elapsed() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the silent one is still listed: {gone:?}");
        thread::sleep(Duration::from_millis(100));
    }
    let [first, .., last] = gone.map(Option::unwrap_or_default);
    eprintln!("gone after {gone:?} with a lease of 3 s");
    assert!(Duration::from_millis(2900) < first.min(last), "{gone:?}");
    assert_eq!(clients[2].delete(&format!("{LIST}/{kept}")).status, 200);
    for client in &clients {
        eventually("it is gone everywhere", || client.ids(LIST).is_empty().then_some(()));
    }
}

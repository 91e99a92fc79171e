//! Cases 87 to 92: how leases end, by our promise and by Netflix' rules, and when they are kept.
//!
//! What this machine was late with, measured while the registry was asked, is granted to it on top.
//! Never: a claim that holds only on a fast machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::eureka::{by_id, leased, start, with};
use crate::support::redis::leaves_out;
use crate::support::{Daemon, Eureka, Peer, eventually};

/// How long after its lease an instance may still be in a list.
const GRACE: Duration = Duration::from_millis(500);

/// Clocks here and there are cut to milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// What an instance `a` of `T` with the vip `v` is seen by.
const SEEN_BY: [&str; 8] = [
    "apps",
    "apps/",
    "apps/T",
    "apps/T/a",
    "instances/a",
    "vips/v",
    "/api/v1/instances?status=ALL",
    "/api/v1/services/T",
];

fn listed(eureka: &Eureka) -> usize {
    by_id(&eureka.list("apps")).len()
}

/// Asks by every path until all of them lack the instance: when the last that has it was asked, when all lacked it,
/// and how late this machine was at most.
fn watch(eureka: &Eureka) -> (Instant, Instant, Duration) {
    let mut late = Duration::ZERO;
    let mut seen = Instant::now();
    loop {
        let round = Instant::now();
        let mut is_seen = false;
        for path in SEEN_BY {
            let asked = Instant::now();
            let answer = eureka.ask(&format!("GET {path}"));
            if answer.status == 200 && answer.text().contains("host.test") {
                (seen, is_seen) = (asked, true);
            }
        }
        let came = Instant::now();
        late = late.max(came - round);
        if !is_seen {
            return (seen, came, late);
        }
        assert!(seen.elapsed() < Duration::from_secs(60), "it never goes");
    }
}

#[test]
fn case_087_a_lease_that_is_not_renewed_ends_in_time_and_never_early() {
    const TTL: Duration = Duration::from_secs(2);
    let (daemon, eureka) = start("--min_ttl 1s");
    for is_renewed in [false, true] {
        let mut before = Instant::now();
        eureka.register(&with(leased("a", 2), &json!({"vipAddress": "v"})));
        if is_renewed {
            before = Instant::now();
            eureka.ask("PUT apps/T/a").empty(200);
        }
        let after = Instant::now();
        let (seen, gone, late) = watch(&eureka);
        assert!(seen.saturating_duration_since(after) <= TTL + GRACE + late, "seen after {:?}", seen - after);
        assert!(TTL <= gone.duration_since(before) + ROUNDING, "gone after {:?}", gone - before);
        eureka.ask("PUT apps/T/a").empty(404);
        eureka.ask("DELETE apps/T/a").empty(404);
        eureka.ask("PUT apps/T/a/status?value=DOWN").empty(404);
        let delta = eureka.list("apps/delta");
        let entry = by_id(&delta).into_values().next().expect("an entry");
        assert_eq!((&entry["actionType"], &delta["apps__hashcode"]), (&json!("DELETED"), &json!("")));
        assert_ne!(entry["leaseInfo"]["evictionTimestamp"], 0);
    }
    daemon.until_metric("a8_expirations_total", 2.0);
}

#[test]
fn case_088_with_strict_expiry_what_ran_out_is_listed_until_the_next_run() {
    if leaves_out("a lease that ran out and is not removed yet, read singly") {
        return;
    }
    let (_daemon, eureka) = start("--eureka_strict_expiry --min_ttl 1s");
    eureka.register(&leased("a", 1));
    eventually("the lease runs out", || (eureka.ask("GET apps/T/a").status == 404).then_some(()));
    eureka.ask("GET apps/T/a").empty(404);
    assert_eq!((listed(&eureka), &eureka.list("apps")["apps__hashcode"]), (1, &json!("UP_1_")));
    eureka.ask("GET apps/T").ok();
    eureka.ask("PUT apps/T/a/status?value=DOWN").empty(404);
}

#[test]
fn with_strict_expiry_a_lease_counts_twice_once_it_was_renewed() {
    if leaves_out("a lease that ran out and is not removed yet, read singly") {
        return;
    }
    const TTL: Duration = Duration::from_secs(1);
    let (_daemon, eureka) = start("--eureka_strict_expiry --min_ttl 1s");
    let begun = Instant::now();
    eureka.register(&leased("never-renewed", 1));
    eureka.register(&leased("renewed", 1));
    let renewed = Instant::now();
    eureka.ask("PUT apps/T/renewed").empty(200);
    for (id, since, least) in [("never-renewed", begun, TTL), ("renewed", renewed, 2 * TTL)] {
        eventually("the lease runs out", || {
            (eureka.ask(&format!("GET apps/T/{id}")).status == 404).then_some(())
        });
        assert!(least <= since.elapsed() + ROUNDING, "{id} ran out after {:?}", since.elapsed());
    }
}

/// The first run comes a minute after the start, so this is among the long tests.
#[test]
fn case_089_with_strict_expiry_a_run_evicts_at_most_a_sixth() {
    if std::env::var_os("PROPTEST_CASES").is_none() {
        eprintln!("left out: case 89 takes more than a minute; make test.all runs it");
        return;
    }
    let (_daemon, eureka) = start("--eureka_strict_expiry --min_ttl 1s");
    for number in 0..10 {
        eureka.register(&leased(&number.to_string(), 1));
    }
    let begun = Instant::now();
    let mut left = 10;
    while left == 10 {
        assert!(begun.elapsed() < Duration::from_secs(90), "nothing is evicted");
        std::thread::sleep(Duration::from_millis(200));
        left = listed(&eureka);
    }
    assert_eq!(left, 8, "of ten, two may go");
    let delta = eureka.list("apps/delta");
    let deleted = by_id(&delta).into_values().filter(|it| it["actionType"] == "DELETED").count();
    assert_eq!(deleted, 2, "{delta}");
}

#[test]
fn case_090_self_preservation_keeps_what_ran_out() {
    let (_control, control) = start("--min_ttl 1s");
    let (_daemon, eureka) = start("--self_preservation --min_ttl 1s");
    for number in 0..10 {
        eureka.register(&leased(&number.to_string(), 1));
    }
    for number in 0..10 {
        control.register(&leased(&number.to_string(), 2));
    }
    eventually("the longer leases of the others ran out", || (listed(&control) == 0).then_some(()));
    assert_eq!((listed(&eureka), &eureka.list("apps")["apps__hashcode"]), (10, &json!("UP_10_")));
    for number in 0..10 {
        eureka.ask(&format!("GET apps/T/{number}")).ok();
        eureka.ask(&format!("PUT apps/T/{number}")).empty(200);
    }
    // What says farewell goes.
    eureka.ask("DELETE apps/T/0").empty(200);
    assert_eq!(listed(&eureka), 9);
}

#[test]
fn case_091_the_threshold_follows_the_formula() {
    let daemon = Daemon::start("--self_preservation --ops_address 127.0.0.1:0");
    let eureka = Eureka::of(&daemon);
    for number in 0..10 {
        eureka.register(&leased(&number.to_string(), 90));
    }
    // 10 clients, 2 renewals a minute, 85 %.
    eventually("the threshold is 17", || {
        let threshold =
            daemon.ops_client().metric(r#"a8_namespace_renewals_threshold{namespace="default"}"#)?;
        ((threshold - 17.0).abs() < 0.01).then_some(())
    });
}

#[test]
fn case_092_an_eviction_is_not_replicated() {
    let peer = Peer::agreeing();
    let (_daemon, eureka) = start(&format!("--min_ttl 1s {}", peer.flag()));
    eureka.register(&leased("a", 1));
    peer.item("Register", "a");
    eventually("the lease runs out", || (listed(&eureka) == 0).then_some(()));
    eureka.register(&leased("b", 60));
    eureka.ask("DELETE apps/T/b").empty(200);
    peer.item("Cancel", "b");
    let items = peer.items();
    assert!(items.iter().all(|item| item["id"] != "a" || item["action"] == "Register"), "{items:?}");
}

#[test]
fn what_is_out_of_service_does_not_expire_whoever_put_it_there() {
    let (daemon, eureka) = start("--min_ttl 1s --default_ttl 1s");
    let native = daemon.client();
    eureka.register(&with(leased("said", 1), &json!({"status": "OUT_OF_SERVICE"})));
    eureka.register(&leased("put", 1));
    eureka.ask("PUT apps/T/put/status?value=OUT_OF_SERVICE").empty(200);
    eureka.register(&leased("natively-put", 1));
    let path = "/api/v1/instances/T:natively-put/status";
    native.put(path, r#"{"status": "OUT_OF_SERVICE"}"#).ok();
    let id = native.register(&instance("T", "10.0.0.1:80"));
    eureka.ask(&format!("PUT apps/T/{id}/status?value=OUT_OF_SERVICE")).empty(200);
    eureka.register(&leased("mortal", 2));
    eventually("the longer lease ran out", || (eureka.ask("GET apps/T/mortal").status == 404).then_some(()));
    for id in ["said", "put", "natively-put", &id] {
        assert_eq!(eureka.one(id)["status"], "OUT_OF_SERVICE");
        eureka.ask(&format!("PUT apps/T/{id}")).empty(200);
    }
    eventually("lists say so too", || (native.ids("/api/v1/services/T").len() == 4).then_some(()));

    // Back in service, its lease counts again.
    eureka.ask("DELETE apps/T/put/status?value=UP").empty(200);
    eventually("its lease ran out", || (eureka.ask("GET apps/T/put").status == 404).then_some(()));
    eventually("lists say so too", || (listed(&eureka) == 3).then_some(()));
}

#[test]
fn out_of_service_has_an_end_where_that_is_asked_for() {
    let (daemon, eureka) = start("--min_ttl 1s --default_ttl 1s --out_of_service_max 2s");
    let begun = Instant::now();
    eureka.register(&with(leased("a", 1), &json!({"status": "OUT_OF_SERVICE"})));
    let native = daemon.client();
    let id = native.register(&with(instance("T", "10.0.0.1:80"), &json!({"status": "OUT_OF_SERVICE"})));
    eventually("both are gone", || {
        let is_gone = |id: &str| eureka.ask(&format!("GET apps/T/{id}")).status == 404;
        (is_gone("a") && is_gone(&id)).then_some(())
    });
    assert!(Duration::from_secs(2) <= begun.elapsed() + ROUNDING, "{:?}", begun.elapsed());
    eventually("lists say so too", || {
        (native.get("/api/v1/instances?status=ALL").json() == json!({"instances": []})).then_some(())
    });
}

#[test]
fn a_lease_within_the_limits_is_what_reads_show() {
    let (daemon, eureka) = start("--min_ttl 20s --max_ttl 2m");
    for (asked, granted) in [(5, 20), (20, 20), (45, 45), (3600, 120)] {
        eureka.register(&leased("a", asked));
        assert_eq!(eureka.one("a")["leaseInfo"]["durationInSecs"], granted, "asked for {asked}");
        let native = daemon.client().get("/api/v1/instances").json();
        assert_eq!(native["instances"][0]["ttl"], Value::from(granted), "asked for {asked}");
    }
}

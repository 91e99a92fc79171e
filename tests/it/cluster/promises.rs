//! What every member promises of every instance, while all members are there.
//!
//! Never: has a member fail.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::members::{Cluster, instance, shows};
use crate::support::{Client, eventually};

/// More than a lease and all that comes with it, on a machine that does something else as well.
const SLACK: Duration = Duration::from_secs(6);

/// Looks for longer than it takes to tell the others of renewals.
#[track_caller]
fn stays_gone(clients: &[Client]) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        for client in clients {
            assert!(client.ids("/api/v1/instances").is_empty(), "after {:?}", begun.elapsed());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_registration_is_read_on_all_members_soon() {
    let cluster = Cluster::start(3, "");
    let clients = cluster.clients();
    let mut took: Vec<Duration> = (0..60)
        .map(|nth| {
            let id = clients[nth % 3].register(&instance(&format!("10.0.0.{nth}:80"), 30));
            assert!(shows(&clients[nth % 3], &id), "it is read at once where it was registered");
            let begun = Instant::now();
            for client in &clients {
                eventually("the others show it", || shows(client, &id).then_some(()));
            }
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    eprintln!("read on all members after {:?} (median), {:?} (59 of 60)", took[30], took[58]);
    assert!(took[30] < Duration::from_millis(250), "{:?}", took[30]);
}

#[test]
fn all_that_there_is_to_an_instance_is_the_same_on_all_members() {
    let cluster = Cluster::start(3, "");
    let clients = cluster.clients();
    let id = clients[0].register(&json!({
        "service_name": "web", "endpoint": {"type": "https", "value": "10.0.0.1:443"}, "ttl": 60,
        "status": "STARTING", "tags": ["a", "ä"], "metadata": {"zone": [1, 2.5, {"x": null}]},
    }));
    let path = format!("/api/v1/instances/{id}");
    let shown = |client: &Client| {
        let mut shown = client.get(&path).json();
        shown["links"] = Value::Null;
        // Elsewhere it may be a little older.
        shown["last_heartbeat"] = Value::Null;
        shown
    };
    let same = |what: &str| {
        for client in &clients[1..] {
            eventually(what, || (shown(client) == shown(&clients[0])).then_some(()));
        }
    };
    same("the registration");
    assert_eq!(clients[1].put(&format!("{path}/status"), r#"{"status":"OUT_OF_SERVICE"}"#).status, 200);
    same("the status");
    assert_eq!(shown(&clients[0])["status"], "OUT_OF_SERVICE");

    let json = |client: &Client| client.with("Accept: application/json");
    let body = json!({"instance": {
        "instanceId": "pay-1", "hostName": "pay.example", "app": "PAY", "ipAddr": "10.0.0.1", "vipAddress": "pay",
        "status": "UP", "port": {"$": 8080, "@enabled": "true"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"durationInSecs": 90, "renewalIntervalInSecs": 30},
        "metadata": {"zone": "z1"}, "homePageUrl": "http://pay.example/",
    }});
    assert_eq!(json(&clients[2]).send("POST /eureka/v2/apps/PAY", &body.to_string()).status, 204);
    let at = "/eureka/v2/apps/PAY/pay-1";
    for client in &clients {
        eventually("the Eureka document", || (json(client).get(at).status == 200).then_some(()));
        let shown = json(client).get(at).json();
        assert_eq!(shown["instance"]["metadata"]["zone"], "z1");
        assert_eq!(shown["instance"]["homePageUrl"], "http://pay.example/");
    }
    // An override holds at all of them, also when the client registers anew.
    assert_eq!(json(&clients[0]).put(&format!("{at}/status?value=OUT_OF_SERVICE"), "").status, 200);
    let status = |client: &Client| json(client).get(at).json()["instance"]["status"].clone();
    for client in &clients {
        eventually("the override", || (status(client) == "OUT_OF_SERVICE").then_some(()));
    }
    assert_eq!(json(&clients[1]).send("POST /eureka/v2/apps/PAY", &body.to_string()).status, 204);
    assert_eq!(status(&clients[1]), "OUT_OF_SERVICE");
}

#[test]
fn who_renews_anywhere_is_kept_everywhere_and_who_stops_is_gone_everywhere() {
    let cluster = Cluster::start(3, "--min_ttl 1s");
    let clients = cluster.clients();
    let ttl = Duration::from_secs(2);
    let kept = clients[0].register(&instance("kept", 2));
    let begun = Instant::now();
    let lost: Vec<String> =
        (0..30).map(|nth| clients[nth % 3].register(&instance(&format!("lost{nth}"), 2))).collect();
    for client in &clients {
        eventually("all show both", || (shows(client, &kept) && shows(client, &lost[29])).then_some(()));
    }
    let mut nth = 0;
    let mut gone = None;
    while begun.elapsed() < ttl + SLACK && (gone.is_none() || begun.elapsed() < ttl * 2) {
        nth += 1;
        assert_eq!(clients[nth % 3].renew(&kept).status, 200, "renewal {nth}");
        for client in &clients {
            assert!(shows(client, &kept), "after {:?}", begun.elapsed());
        }
        if gone.is_none() && clients.iter().all(|client| client.ids("/api/v1/instances") == [kept.clone()]) {
            gone = Some(begun.elapsed());
        }
        thread::sleep(Duration::from_millis(300));
    }
    let gone = gone.expect("all others are gone everywhere");
    assert!(ttl <= gone && gone < ttl + SLACK, "{gone:?}");
    // Now it stops.
    let last = Instant::now();
    for client in &clients {
        eventually("it is gone", || (!shows(client, &kept)).then_some(()));
    }
    let took = last.elapsed();
    eprintln!("gone everywhere {took:?} after the last renewal with a lease of {ttl:?}");
    assert!(took < ttl + SLACK, "{took:?}");
}

#[test]
fn what_was_deregistered_does_not_come_back() {
    let cluster = Cluster::start(3, "");
    let clients = cluster.clients();
    let ids: Vec<String> =
        (0..20).map(|nth| clients[nth % 3].register(&instance(&format!("x{nth}"), 30))).collect();
    cluster.agree_on(&ids);
    for (nth, id) in ids.iter().enumerate() {
        // A renewal elsewhere may be on its way meanwhile.
        clients[(nth + 2) % 3].renew(id);
        assert_eq!(clients[(nth + 1) % 3].delete(&format!("/api/v1/instances/{id}")).status, 200);
    }
    cluster.agree_on(&[]);
    stays_gone(&clients);
    assert!(clients.iter().all(|client| client.renew(&ids[0]).status == 410));
    // Registered anew it is there again.
    let again = clients[1].register(&instance("x0", 30));
    assert_eq!(again, ids[0]);
    cluster.agree_on(&[again]);
}

#[test]
fn what_is_deregistered_elsewhere_right_after_a_renewal_stays_gone() {
    let cluster = Cluster::start(2, "");
    let (a, b) = (cluster.client(0), cluster.client(1));
    // Over connections that stay, so that it is right after.
    let (mut to_a, mut to_b) = (a.connect(), b.connect());
    for nth in 0..50 {
        let id = a.register(&instance(&format!("x{nth}"), 30));
        eventually("the other shows it", || shows(&b, &id).then_some(()));
        assert_eq!(to_a.ask(&a, &format!("PUT /api/v1/instances/{id}/heartbeat"), "").status, 200);
        assert_eq!(to_b.ask(&b, &format!("DELETE /api/v1/instances/{id}"), "").status, 200);
    }
    cluster.agree_on(&[]);
    stays_gone(&cluster.clients());
}

#[test]
fn namespaces_stay_apart_on_all_members() {
    let cluster = Cluster::start(2, "--auth_mode trusted");
    let (a, b) = (cluster.client(0), cluster.client(1));
    let one = a.bearer("one").register(&instance("x", 30));
    let two = b.bearer("two").register(&instance("y", 30));
    for client in [&a, &b] {
        for (token, id) in [("one", &one), ("two", &two)] {
            eventually("each has its own", || {
                (client.bearer(token).ids("/api/v1/instances") == [id.clone()]).then_some(())
            });
        }
    }
}

#[test]
fn a_member_that_joins_has_everything_before_it_is_ready() {
    let mut cluster = Cluster::start(2, "");
    let bodies: Vec<_> = (0..3000).map(|nth| instance(&format!("x{nth}"), 60)).collect();
    let mut ids = cluster.client(0).register_many(&bodies);
    ids.sort_unstable();
    let nth = cluster.join("");
    // Ready is what it says; no waiting here.
    let mut shown = cluster.client(nth).ids("/api/v1/instances");
    shown.sort_unstable();
    assert_eq!(shown.len(), ids.len());
    assert_eq!(shown, ids);
}

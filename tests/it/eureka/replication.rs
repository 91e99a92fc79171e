//! Cases 92 to 101: what peers tell and are told. Case 100, with a real server, belongs to `make interop`.
//!
//! Never: waits for silence; that nothing was sent is judged when something later has come.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::eureka::{JSON, MY_OWN, by_id, document, start, versioned, with, zipped};
use crate::support::peer::is;
use crate::support::{Daemon, Eureka, Peer, eventually};

/// A registration as an item of a batch.
fn registration(document: &Value) -> Value {
    json!({
        "appName": document["app"], "id": document["instanceId"], "action": "Register", "status": document["status"],
        "lastDirtyTimestamp": document["lastDirtyTimestamp"].as_str().and_then(|text| text.parse::<u64>().ok()),
        "instanceInfo": document,
    })
}

fn item(action: &str, id: &str, version: u64) -> Value {
    json!({"appName": "T", "id": id, "action": action, "status": "UP", "lastDirtyTimestamp": version})
}

fn codes(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["statusCode"].as_u64().expect("a status")).collect()
}

fn with_peer(peer: &Peer) -> (Daemon, Eureka) {
    start(&peer.flag())
}

#[test]
fn case_093_a_replicated_registration_goes_no_further() {
    let peer = Peer::agreeing();
    let (_daemon, eureka) = with_peer(&peer);
    let results = eureka.batch(&json!([registration(&versioned("a", 1000, "UP"))]));
    assert_eq!(results, [json!({"statusCode": 200})]);
    assert_eq!(eureka.one("a")["lastDirtyTimestamp"], "1000");
    let single = eureka.with(crate::support::eureka::REPLICATION);
    single.register(&versioned("b", 1000, "UP"));
    single.ask("PUT apps/T/b?lastDirtyTimestamp=1000").empty(200);
    single.ask("PUT apps/T/b/status?value=DOWN").empty(200);
    single.ask("DELETE apps/T/b/status?value=UP").empty(200);
    single.ask("DELETE apps/T/b").empty(200);
    eureka.batch(&json!([item("Heartbeat", "a", 1000), item("StatusUpdate", "a", 1000)]));
    eureka.register(&document("T", "fence"));
    peer.item("Register", "fence");
    let items = peer.items();
    assert!(items.iter().all(|item| item["id"] == "fence"), "{items:?}");
}

#[test]
fn case_094_heartbeats_in_a_batch() {
    let (_daemon, eureka) = start("");
    eureka.register(&with(versioned("a", 1000, "UP"), &json!({"metadata": {"k": "v"}})));
    let results = eureka.batch(&json!([
        item("Heartbeat", "nobody", 1000),
        item("Heartbeat", "a", 999),
        item("Heartbeat", "a", 1001),
        item("Heartbeat", "a", 1000),
    ]));
    assert_eq!(codes(&results), [404, 409, 404, 200]);
    let entity = &results[1]["responseEntity"];
    assert_eq!((&entity["instanceId"], &entity["app"]), (&json!("a"), &json!("T")), "it is not wrapped");
    assert_eq!((&entity["lastDirtyTimestamp"], &entity["metadata"]), (&json!("1000"), &json!({"k": "v"})));
    for result in &results {
        let members: Vec<_> = result.as_object().expect("an object").keys().map(String::as_str).collect();
        let is_conflict = result["statusCode"] == 409;
        let mut known = vec!["statusCode"];
        known.extend(is_conflict.then_some("responseEntity"));
        known.sort_unstable();
        assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), known.into_iter().collect(), "{result}");
    }
    let mut knows_more = item("Heartbeat", "a", 1001);
    knows_more["overriddenStatus"] = json!("OUT_OF_SERVICE");
    assert_eq!(codes(&eureka.batch(&json!([knows_more]))), [404]);
    assert_eq!(eureka.overrides(), json!({"a": "OUT_OF_SERVICE"}));
}

#[test]
fn case_095_changes_in_a_batch() {
    let (_daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "UP"));
    let mut down = item("StatusUpdate", "a", 1000);
    down["status"] = json!("DOWN");
    assert_eq!(codes(&eureka.batch(&json!([down]))), [200]);
    assert_eq!(eureka.statuses("a"), ["DOWN", "DOWN"]);
    assert_eq!(codes(&eureka.batch(&json!([item("DeleteStatusOverride", "a", 1000)]))), [200]);
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
    let cancel = json!({"appName": "T", "id": "a", "action": "Cancel"});
    assert_eq!(codes(&eureka.batch(&json!([cancel, cancel]))), [200, 404]);
    eureka.ask("GET apps/T/a").empty(404);
    let unknown = json!([item("StatusUpdate", "a", 1000), item("DeleteStatusOverride", "a", 1000)]);
    assert_eq!(codes(&eureka.batch(&unknown)), [404, 404]);
}

#[test]
fn case_096_one_bad_item_spoils_no_other() {
    let (_daemon, eureka) = start("");
    let mut bad = item("StatusUpdate", "a", 1000);
    bad["status"] = json!("wobbly");
    let nothing = json!({"appName": "T", "id": "x", "action": "Register", "lastDirtyTimestamp": 1});
    let results = eureka.batch(&json!([
        registration(&versioned("a", 1000, "UP")),
        bad,
        item("Heartbeat", "nobody", 1),
        nothing,
        registration(&versioned("b", 1000, "DOWN")),
    ]));
    let codes = codes(&results);
    assert_eq!((codes.len(), codes[0], codes[2], codes[4]), (5, 200, 404, 200));
    assert!([400, 500].contains(&codes[1]) && [400, 500].contains(&codes[3]), "{codes:?}");
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
    assert_eq!(eureka.one("b")["status"], "DOWN");
}

#[test]
fn case_097_odd_batches() {
    let (_daemon, eureka) = start("");
    for line in ["POST peerreplication/batch/", "POST peerreplication/batch"] {
        let answer = eureka.send(line, JSON, r#"{"replicationList":[]}"#);
        assert_eq!((answer.status, &*answer.text()), (200, r#"{"responseList":[]}"#), "{line}");
    }
    let unknown = json!({"replicationList": [item("Sing", "a", 1)]}).to_string();
    for (body, statuses) in
        [(&*unknown, [400, 400]), ("{bad", [400, 400]), ("", [400, 400]), ("{}", [400, 500])]
    {
        let answer = eureka.send("POST peerreplication/batch/", JSON, body);
        assert!(statuses.contains(&answer.status), "{body}: {}", answer.status);
    }
    assert_eq!(eureka.send("POST peerreplication/batch/", "text/plain", "{}").status, 415);
    let body = json!({"replicationList": [registration(&versioned("a", 1000, "UP"))]}).to_string();
    let coded = eureka.with("Content-Encoding: gzip");
    let answer = coded.send("POST peerreplication/batch/", JSON, zipped(&body));
    assert_eq!(answer.ok().json(), json!({"responseList": [{"statusCode": 200}]}));
    let head = eureka.head(
        "POST peerreplication/batch/",
        &["Content-Type: application/json", "Transfer-Encoding: chunked"],
    );
    let answer = eureka.raw(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    assert_eq!(answer.ok().json(), json!({"responseList": [{"statusCode": 200}]}));
}

#[test]
fn a_batch_of_250_is_done_item_by_item() {
    let (_daemon, eureka) = start("");
    let items: Vec<_> = (0..250).map(|n| registration(&versioned(&format!("i{n}"), 1000, "UP"))).collect();
    assert_eq!(codes(&eureka.batch(&json!(items))), [200; 250]);
    assert_eq!(eureka.list("apps")["apps__hashcode"], "UP_250_");
    let beats: Vec<_> = (0..250).map(|n| item("Heartbeat", &format!("i{n}"), 1000)).collect();
    assert_eq!(codes(&eureka.batch(&json!(beats))), [200; 250]);
}

#[test]
fn an_item_beyond_a_limit_is_refused_and_the_others_are_not() {
    let (_daemon, eureka) = start("--eureka_metadata_max 1000");
    let large = with(versioned("a", 1000, "UP"), &json!({"metadata": {"k": "v".repeat(2000)}}));
    let results = eureka.batch(&json!([registration(&large), registration(&versioned("b", 1000, "UP"))]));
    assert_eq!(codes(&results), [400, 200]);
    eureka.ask("GET apps/T/a").empty(404);
    assert_eq!(eureka.one("b")["instanceId"], "b");
}

#[test]
fn case_098_outgoing_items_have_exactly_their_members() {
    let peer = Peer::agreeing();
    let (_daemon, eureka) = with_peer(&peer);
    let plain = ["action", "appName", "id", "lastDirtyTimestamp", "status"];
    let with_more = |more: &[&'static str]| plain.iter().chain(more).copied().collect::<BTreeSet<_>>();
    let expect = |action: &str, number: usize, members: &BTreeSet<&str>, status: &str| {
        let item = peer.nth_item(action, "a", number);
        let item_members = item.as_object().expect("an object");
        let names: BTreeSet<_> = item_members.keys().map(String::as_str).collect();
        assert_eq!(&names, members, "{item}");
        assert!(!item.to_string().contains(":null"), "{item}");
        assert_eq!(item["appName"], "T", "{item}");
        if members.contains("status") {
            assert_eq!(
                (&item["status"], &item["lastDirtyTimestamp"]),
                (&json!(status), &json!(1000)),
                "{item}"
            );
        }
        item
    };

    eureka.register(&with(versioned("a", 1000, "UP"), &json!({"metadata": {"k": "v"}})));
    let registered = expect("Register", 0, &with_more(&["instanceInfo"]), "UP");
    let instance = &registered["instanceInfo"];
    assert_eq!(
        (&instance["instanceId"], &instance["metadata"]),
        (&json!("a"), &json!({"k": "v"})),
        "not wrapped"
    );
    assert_eq!(instance["leaseInfo"]["durationInSecs"], 90);
    eureka.ask("PUT apps/T/a?status=UP&lastDirtyTimestamp=1000").empty(200);
    expect("Heartbeat", 0, &with_more(&[]), "UP");
    eureka.ask("PUT apps/T/a/status?value=OUT_OF_SERVICE").empty(200);
    expect("StatusUpdate", 0, &with_more(&[]), "OUT_OF_SERVICE");
    eureka.ask("PUT apps/T/a").empty(200);
    let beat = expect("Heartbeat", 1, &with_more(&["overriddenStatus"]), "OUT_OF_SERVICE");
    assert_eq!(beat["overriddenStatus"], "OUT_OF_SERVICE");
    eureka.ask("DELETE apps/T/a/status?value=UP").empty(200);
    expect("DeleteStatusOverride", 0, &with_more(&[]), "UP");
    eureka.ask("PUT apps/T/a/metadata?more=1").empty(200);
    let merged = expect("Register", 1, &with_more(&["instanceInfo"]), "UP");
    assert_eq!(merged["instanceInfo"]["metadata"], json!({"k": "v", "more": "1"}));
    eureka.ask("DELETE apps/T/a").empty(200);
    expect("Cancel", 0, &BTreeSet::from(["action", "appName", "id"]), "");

    for batch in peer.taken().into_iter().filter(crate::support::peer::Noted::is_batch) {
        assert_eq!(batch.line, "POST /eureka/v2/peerreplication/batch/");
        assert!(batch.header("content-type").starts_with(JSON) && batch.header("accept").contains(JSON));
        assert_eq!(batch.header("discoveryidentity-name"), "DefaultServer");
        assert!(batch.items().len() <= 250);
        let body: Value = serde_json::from_str(&batch.body).expect("JSON");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    }
}

#[test]
fn case_099_a_peer_that_does_not_know_an_instance_is_told_of_it() {
    let peer = Peer::answering(|noted, _| {
        let is_news = |item: &Value| is(item, "Heartbeat", "a").then(|| json!({"statusCode": 404}));
        noted.is_batch().then(|| (200, noted.results(is_news)))
    });
    let (_daemon, eureka) = with_peer(&peer);
    eureka.register(&versioned("a", 1000, "UP"));
    peer.item("Register", "a");
    eureka.ask("PUT apps/T/a").empty(200);
    peer.item("Heartbeat", "a");
    let again = peer.nth_item("Register", "a", 1);
    assert_eq!(again["instanceInfo"]["lastDirtyTimestamp"].as_str(), Some("1000"));
}

#[test]
fn case_099_a_peer_that_knows_more_is_believed() {
    let newer = with(
        versioned("a", 5000, "UP"),
        &json!({
            "metadata": {"from": "peer"}, "overriddenStatus": "DOWN", "port": {"$": 81, "@enabled": "true"},
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90},
        }),
    );
    let peer = Peer::answering(move |noted, _| {
        let conflict = json!({"statusCode": 409, "responseEntity": newer});
        let known = |item: &Value| is(item, "Heartbeat", "a").then(|| conflict.clone());
        noted.is_batch().then(|| (200, noted.results(known)))
    });
    let (_daemon, eureka) = with_peer(&peer);
    eureka.register(&versioned("a", 1000, "UP"));
    peer.item("Register", "a");
    eureka.ask("PUT apps/T/a").empty(200);
    let one = eventually("the peer's document is taken", || {
        let one = eureka.one("a");
        (one["lastDirtyTimestamp"] == "5000").then_some(one)
    });
    assert_eq!((&one["metadata"], &one["port"]["$"]), (&json!({"from": "peer"}), &json!(81)));
    assert_eq!(eureka.statuses("a"), ["DOWN", "DOWN"]);
    eureka.register(&document("T", "fence"));
    peer.item("Register", "fence");
    let told = peer.items().into_iter().filter(|item| is(item, "Register", "a")).count();
    assert_eq!(told, 1, "what came from the peer is not sent to it");
}

#[test]
fn case_099_a_busy_peer_gets_everything_again() {
    let peer =
        Peer::answering(|noted, before| (noted.is_batch() && before < 2).then_some((503, Value::Null)));
    let (_daemon, eureka) = with_peer(&peer);
    for id in ["a", "b", "c"] {
        eureka.register(&versioned(id, 1000, "UP"));
    }
    eventually("all of them come in batches that are taken", || {
        let batches: Vec<_> =
            peer.taken().into_iter().filter(crate::support::peer::Noted::is_batch).collect();
        let items: Vec<_> = batches.iter().skip(2).flat_map(crate::support::peer::Noted::items).collect();
        ["a", "b", "c"].iter().all(|id| items.iter().any(|item| is(item, "Register", id))).then_some(())
    });
    assert_eq!(eureka.list("apps")["apps__hashcode"], "UP_3_");
}

#[test]
fn a_peer_that_is_away_delays_nobody_and_is_told_when_it_is_back() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let (_daemon, eureka) = start(&format!("--eureka_peer_url http://127.0.0.1:{port}/eureka/v2/"));
    eureka.register(&versioned("a", 1000, "UP"));
    assert_eq!(eureka.one("a")["instanceId"], "a");
    let peer = Peer::at(port);
    let item = peer.item("Register", "a");
    assert_eq!(item["status"], "UP");
}

#[test]
fn credentials_of_a_peers_address_are_shown_to_it_and_to_nobody_else() {
    let peer = Peer::agreeing();
    let flag = peer.flag().replace("http://", "http://user:pass-word-4711@");
    let (daemon, eureka) = start(&flag);
    eureka.register(&versioned("a", 1000, "UP"));
    peer.item("Register", "a");
    let batches = peer.taken().into_iter().filter(crate::support::peer::Noted::is_batch);
    // user:pass-word-4711
    assert!(
        batches
            .into_iter()
            .all(|batch| batch.header("authorization") == "Basic dXNlcjpwYXNzLXdvcmQtNDcxMQ==")
    );
    for path in ["GET status", "GET /metrics"] {
        assert!(!eureka.with("Accept: */*").ask(path).text().contains("4711"), "{path}");
    }
    assert!(!daemon.log().contains("4711"));
}

#[test]
fn case_101_what_a_peer_holds_is_taken_over_at_the_start() {
    let held = |id: &str, status: &str, overridden: &str| {
        let lease = json!({"renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 1,
            "lastRenewalTimestamp": 1, "evictionTimestamp": 0, "serviceUpTimestamp": 1});
        json!({"instanceId": id, "hostName": "h", "app": "HELD", "ipAddr": "10.0.0.9", "status": status,
            "overriddenStatus": overridden, "port": {"$": 80, "@enabled": "true"}, "countryId": 1,
            "securePort": {"$": 443, "@enabled": "false"}, "leaseInfo": lease, "metadata": {"k": id},
            "dataCenterInfo": {"@class": MY_OWN, "name": "MyOwn"}, "isCoordinatingDiscoveryServer": "false",
            "lastUpdatedTimestamp": "1000", "lastDirtyTimestamp": "1000", "actionType": "ADDED"})
    };
    let instances = json!([
        held("a", "UP", "UNKNOWN"),
        held("b", "DOWN", "UNKNOWN"),
        held("c", "OUT_OF_SERVICE", "OUT_OF_SERVICE"),
        held("d", "STARTING", "UNKNOWN"),
    ]);
    let list = json!({"applications": {"versions__delta": "1", "application": [{"name": "HELD", "instance": instances}],
        "apps__hashcode": "DOWN_1_OUT_OF_SERVICE_1_STARTING_1_UP_1_"}});
    let peer = Peer::answering(move |noted, _| {
        let is_list = noted.line.starts_with("GET ") && noted.line.trim_end_matches('/').ends_with("/apps");
        is_list.then(|| (200, list.clone()))
    });
    let (_daemon, eureka) = with_peer(&peer);
    let all = eventually("all are taken over", || {
        let answer = eureka.ask("GET apps");
        let all = by_id(&answer.json()["applications"]);
        (answer.status == 200 && all.len() == 4).then_some(all)
    });
    for (id, status, overridden) in [
        ("a", "UP", "UNKNOWN"),
        ("b", "DOWN", "UNKNOWN"),
        ("c", "OUT_OF_SERVICE", "OUT_OF_SERVICE"),
        ("d", "STARTING", "UNKNOWN"),
    ] {
        let one = &all[&("HELD".to_owned(), id.to_owned())];
        assert_eq!((&one["status"], &one["overriddenStatus"]), (&json!(status), &json!(overridden)), "{id}");
        assert_eq!((&one["metadata"], &one["lastDirtyTimestamp"]), (&json!({"k": id}), &json!("1000")));
    }
    assert_eq!(eureka.overrides(), json!({"c": "OUT_OF_SERVICE"}));
    let asked = peer.taken().into_iter().find(|noted| noted.line.starts_with("GET ")).expect("a read");
    assert!(asked.header("accept").contains(JSON));
    eureka.register(&document("T", "fence"));
    peer.item("Register", "fence");
    let told = peer.items().into_iter().filter(|item| item["appName"] == "HELD").count();
    assert_eq!(told, 0, "what came from the peer is not sent to it");
    eureka.ask("PUT apps/HELD/c").empty(200);
    assert_eq!(eureka.one_of("HELD", "c")["status"], "OUT_OF_SERVICE");
}

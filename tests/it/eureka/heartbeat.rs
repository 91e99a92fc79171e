//! Cases 56 to 65: renewals, and who knows more about an instance.
//!
//! Never: waits for a lease to run out, but in case 64, which is about that.

use serde_json::{Value, json};

use crate::support::eureka::{JSON, REPLICATION, inside, leased, next_millisecond, start, versioned, with};
use crate::support::redis::leaves_out;
use crate::support::{Daemon, Eureka, eventually};

/// A registry with `a` of `T` at version 1000.
fn with_one() -> (Daemon, Eureka) {
    let (daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "UP"));
    (daemon, eureka)
}

#[test]
fn case_056_a_heartbeat_has_no_answer_but_its_status() {
    let (daemon, eureka) = with_one();
    let time = || eureka.one("a")["leaseInfo"]["lastRenewalTimestamp"].as_u64().expect("a number");
    let before = time();
    next_millisecond();
    eureka.ask("PUT apps/T/a").empty(200);
    assert!(before < time(), "the time of the renewal is shown");
    Eureka::of(&daemon).ask("PUT apps/T/a").empty(200);
    eureka.send("PUT apps/T/a?status=UP&lastDirtyTimestamp=1000", JSON, "{}").empty(200);
    eureka.send("PUT apps/T/a", "", "").empty(200);
}

#[test]
fn case_057_an_unknown_instance() {
    let (daemon, eureka) = with_one();
    for client in [&eureka, &Eureka::of(&daemon)] {
        for path in ["apps/T/b", "apps/U/a", "apps/T/A", "apps/T/b?status=UP&lastDirtyTimestamp=1000"] {
            client.ask(&format!("PUT {path}")).empty(404);
            client.send(&format!("PUT {path}"), JSON, "{}").empty(404);
        }
    }
}

/// Versions and what a heartbeat with each is answered, by a client and by a peer.
const CONFLICTS: [(u64, u16, u16); 3] = [(1000, 200, 200), (1001, 404, 404), (999, 200, 409)];

#[test]
fn case_058_versions_of_clients() {
    let (daemon, eureka) = with_one();
    for client in [&eureka, &Eureka::of(&daemon)] {
        for (version, status, _) in CONFLICTS {
            client.ask(&format!("PUT apps/T/a?status=UP&lastDirtyTimestamp={version}")).empty(status);
        }
    }
    assert_eq!(eureka.one("a")["lastDirtyTimestamp"], "1000");
}

#[test]
fn case_059_versions_of_peers() {
    let (daemon, eureka) = with_one();
    for (version, _, status) in CONFLICTS {
        let line = format!("PUT apps/T/a?status=UP&lastDirtyTimestamp={version}");
        let json = eureka.with(REPLICATION).ask(&line);
        let xml = Eureka::of(&daemon).with(REPLICATION).ask(&line);
        assert_eq!((json.status, xml.status), (status, status), "{version}");
        if status == 409 {
            let one: Value = json.json()["instance"].clone();
            assert_eq!((json.header("content-type"), &one["lastDirtyTimestamp"]), (JSON, &json!("1000")));
            assert_eq!((&one["instanceId"], &one["app"]), (&json!("a"), &json!("T")));
            let text = xml.text();
            assert_eq!(xml.header("content-type"), "application/xml");
            assert!(text.contains("<instance>") && text.contains("<instanceId>a</instanceId>"), "{text}");
        } else {
            json.empty(status);
            xml.empty(status);
        }
    }
    eureka.with(REPLICATION).ask("PUT apps/T/b?lastDirtyTimestamp=1").empty(404);
    eureka.with(REPLICATION).ask("PUT apps/T/a").empty(200);
}

#[test]
fn case_060_a_peer_that_knows_more_leaves_its_override() {
    let (_daemon, eureka) = with_one();
    let line = "PUT apps/T/a?status=UP&lastDirtyTimestamp=1001&overriddenstatus=";
    eureka.with(REPLICATION).ask(&format!("{line}UNKNOWN")).empty(404);
    assert_eq!(eureka.overrides(), json!({}));
    eureka.with(REPLICATION).ask(&format!("{line}OUT_OF_SERVICE")).empty(404);
    assert_eq!(eureka.overrides(), json!({"a": "OUT_OF_SERVICE"}));
    assert_eq!(eureka.one("a")["overriddenStatus"], "OUT_OF_SERVICE");
    eureka.ask("PUT apps/T/a").empty(200);
    assert_eq!(eureka.statuses("a"), ["OUT_OF_SERVICE", "OUT_OF_SERVICE"]);
}

#[test]
fn a_client_leaves_no_override_with_a_heartbeat() {
    let (_daemon, eureka) = with_one();
    eureka.ask("PUT apps/T/a?lastDirtyTimestamp=1001&overriddenstatus=DOWN").empty(404);
    assert_eq!((eureka.overrides(), eureka.statuses("a")), (json!({}), ["UP", "UNKNOWN"].map(Into::into)));
}

#[test]
fn case_061_the_status_of_a_heartbeat_changes_nothing() {
    let (_daemon, eureka) = with_one();
    for status in ["DOWN", "OUT_OF_SERVICE", "wobbly"] {
        eureka.ask(&format!("PUT apps/T/a?status={status}")).empty(200);
        eureka.ask(&format!("PUT apps/T/a?status={status}&lastDirtyTimestamp=1000")).empty(200);
    }
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
}

#[test]
fn case_062_no_query_at_all() {
    let (_daemon, eureka) = with_one();
    eureka.ask("PUT apps/T/a").empty(200);
    eureka.ask("PUT apps/T/a?").empty(200);
    eureka.ask("PUT apps/T/a?other=1").empty(200);
}

#[test]
fn case_063_an_instance_of_unknown_status_has_to_register() {
    let (_daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "UNKNOWN"));
    eureka.ask("PUT apps/T/a").empty(404);
    eureka.ask("PUT apps/T/a?status=UP&lastDirtyTimestamp=1000").empty(404);
    assert_eq!(eureka.one("a")["status"], "UNKNOWN");
    eureka.register(&versioned("a", 1001, "UP"));
    eureka.ask("PUT apps/T/a").empty(200);
}

#[test]
fn case_064_a_lease_that_ran_out_but_is_there_can_be_renewed() {
    if leaves_out("a lease that ran out and is not removed yet, read singly") {
        return;
    }
    let (_daemon, eureka) = start("--eureka_strict_expiry --min_ttl 1s");
    eureka.register(&leased("a", 1));
    eventually("the lease runs out", || (eureka.ask("GET apps/T/a").status == 404).then_some(()));
    eureka.ask("PUT apps/T/a").empty(200);
    assert_eq!(inside(&eureka.ask("GET apps/T/a"), "instance")["instanceId"], "a");
}

#[test]
fn case_065_only_the_word_true_marks_a_peer() {
    let (_daemon, eureka) = with_one();
    for value in ["TRUE", "True", "1", "yes", "false", ""] {
        let client = eureka.with(&format!("x-netflix-discovery-replication: {value}"));
        client.ask("PUT apps/T/a?lastDirtyTimestamp=999").empty(200);
    }
    let peer = eureka.with("X-Netflix-Discovery-Replication: true");
    assert_eq!(peer.ask("PUT apps/T/a?lastDirtyTimestamp=999").status, 409);
}

#[test]
fn a_version_that_is_no_number_is_refused() {
    let (_daemon, eureka) = with_one();
    for value in ["x", "1e3", "99999999999999999999999"] {
        eureka.ask(&format!("PUT apps/T/a?lastDirtyTimestamp={value}")).empty(400);
    }
}

#[test]
fn a_change_of_status_by_a_rule_shows_in_the_delta() {
    let (_daemon, eureka) = with_one();
    let line = "PUT apps/T/a?status=UP&lastDirtyTimestamp=1001&overriddenstatus=DOWN";
    eureka.with(REPLICATION).ask(line).empty(404);
    eureka.ask("PUT apps/T/a").empty(200);
    let delta = eureka.list("apps/delta");
    let one = &delta["application"][0]["instance"][0];
    assert_eq!((&one["status"], &delta["apps__hashcode"]), (&json!("DOWN"), &json!("DOWN_1_")));
    eureka.register(&with(versioned("a", 1002, "UP"), &json!({"vipAddress": "v"})));
    assert_eq!(eureka.one("a")["status"], "DOWN");
}

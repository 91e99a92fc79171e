//! Cases 66 to 78: status overrides and their rules, metadata, cancellation.
//!
//! Never: judges what peers are told of it.

use serde_json::json;

use crate::support::eureka::{
    JDK_ACCEPT, REPLICATION, document, inside, next_millisecond, start, versioned, with,
};
use crate::support::{Daemon, Eureka};

/// A registry with `a` of `T` at version 1000.
fn with_one() -> (Daemon, Eureka) {
    let (daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "UP"));
    (daemon, eureka)
}

/// A registry whose `a` of `T` is out of service by override.
fn with_override() -> (Daemon, Eureka) {
    let (daemon, eureka) = with_one();
    eureka.ask("PUT apps/T/a/status?value=OUT_OF_SERVICE").empty(200);
    (daemon, eureka)
}

/// Registers these statuses one after another, each with a newer document; what is shown after each.
#[track_caller]
fn after_each(eureka: &Eureka, steps: &[(&str, &str)]) {
    for (number, (said, shown)) in (2000..).zip(steps) {
        eureka.register(&versioned("a", number, said));
        assert_eq!(&eureka.one("a")["status"], shown, "after {said}, step {number} of {steps:?}");
    }
}

#[test]
fn case_066_an_override_is_shown_everywhere() {
    let (_daemon, eureka) = with_override();
    assert_eq!(eureka.statuses("a"), ["OUT_OF_SERVICE", "OUT_OF_SERVICE"]);
    assert_eq!(eureka.overrides(), json!({"a": "OUT_OF_SERVICE"}));
    let delta = eureka.list("apps/delta");
    let one = &delta["application"][0]["instance"][0];
    assert_eq!((&one["actionType"], &one["status"]), (&json!("MODIFIED"), &json!("OUT_OF_SERVICE")));
    assert_eq!(delta["apps__hashcode"], "OUT_OF_SERVICE_1_");
    eureka.ask("PUT apps/T/a").empty(200);
    assert_eq!(eureka.one("a")["status"], "OUT_OF_SERVICE");
}

#[test]
fn case_067_an_override_outlives_registrations() {
    let (_daemon, eureka) = with_override();
    after_each(
        &eureka,
        &[("UP", "OUT_OF_SERVICE"), ("DOWN", "DOWN"), ("UP", "OUT_OF_SERVICE"), ("STARTING", "STARTING")],
    );
    assert_eq!(eureka.statuses("a"), ["STARTING", "OUT_OF_SERVICE"]);
}

#[test]
fn case_068_without_an_override_the_client_has_to_say_its_status() {
    let (_daemon, eureka) = with_override();
    eureka.ask("DELETE apps/T/a/status").empty(200);
    assert_eq!(eureka.statuses("a"), ["UNKNOWN", "UNKNOWN"]);
    assert_eq!(eureka.overrides(), json!({}));
    let delta = eureka.list("apps/delta");
    assert_eq!(delta["application"][0]["instance"][0]["actionType"], "MODIFIED");
    assert_eq!(delta["apps__hashcode"], "UNKNOWN_1_");
    eureka.ask("PUT apps/T/a").empty(404);
    after_each(&eureka, &[("UP", "UP")]);
    eureka.ask("PUT apps/T/a").empty(200);
}

#[test]
fn case_069_an_override_can_be_replaced_by_a_status() {
    let (_daemon, eureka) = with_override();
    eureka.ask("DELETE apps/T/a/status?value=UP").empty(200);
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
    eureka.ask("PUT apps/T/a").empty(200);
    // Without an override there is nothing to remove.
    eureka.ask("DELETE apps/T/a/status?value=DOWN").empty(200);
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
}

#[test]
fn case_070_the_status_that_it_has_is_no_override() {
    let (_daemon, eureka) = with_one();
    eureka.ask("PUT apps/T/a/status?value=UP").empty(200);
    assert_eq!(eureka.statuses("a"), ["UP", "UNKNOWN"]);
    assert_eq!(eureka.overrides(), json!({}));
    after_each(&eureka, &[("DOWN", "DOWN")]);
}

#[test]
fn case_071_status_calls_that_change_nothing() {
    let (daemon, eureka) = with_one();
    for client in [&eureka, &Eureka::of(&daemon), &Eureka::of(&daemon).with(JDK_ACCEPT)] {
        for (line, status) in [
            ("PUT apps/T/b/status?value=DOWN", 404),
            ("PUT apps/U/a/status?value=DOWN", 404),
            ("DELETE apps/T/b/status", 404),
            ("DELETE apps/T/b/status?value=UP", 404),
            ("PUT apps/T/a/status", 400),
            ("PUT apps/T/a/status?value=", 400),
            ("PUT apps/T/a/status?value=wobbly", 400),
            ("PUT apps/T/a/status?value=DOWN&lastDirtyTimestamp=x", 400),
            ("DELETE apps/T/a/status?value=wobbly", 400),
            ("DELETE apps/T/a/status?lastDirtyTimestamp=x", 400),
        ] {
            let answer = client.ask(line);
            assert_eq!((line, answer.status), (line, status));
            answer.empty(status);
        }
    }
    assert_eq!((eureka.statuses("a"), eureka.overrides()), (["UP", "UNKNOWN"].map(Into::into), json!({})));
}

#[test]
fn case_072_a_status_call_can_raise_the_version() {
    let (_daemon, eureka) = with_one();
    let version = || eureka.one("a")["lastDirtyTimestamp"].clone();
    eureka.ask("PUT apps/T/a/status?value=DOWN&lastDirtyTimestamp=900").empty(200);
    assert_eq!(version(), "1000");
    eureka.ask("PUT apps/T/a/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=5000").empty(200);
    assert_eq!(version(), "5000");
    eureka.ask("DELETE apps/T/a/status?value=UP&lastDirtyTimestamp=6000").empty(200);
    assert_eq!(version(), "6000");
    eureka.ask("PUT apps/T/a?lastDirtyTimestamp=6000").empty(200);
}

#[test]
fn case_073_a_client_cannot_take_itself_out_of_service_by_registering() {
    let (_daemon, eureka) = with_one();
    after_each(&eureka, &[("OUT_OF_SERVICE", "UP"), ("DOWN", "DOWN"), ("OUT_OF_SERVICE", "OUT_OF_SERVICE")]);
    let (_daemon, eureka) = start("");
    after_each(
        &eureka,
        &[
            ("OUT_OF_SERVICE", "OUT_OF_SERVICE"),
            ("UP", "OUT_OF_SERVICE"),
            ("DOWN", "DOWN"),
            ("UP", "UP"),
            ("STARTING", "STARTING"),
            ("UP", "UP"),
        ],
    );
    assert_eq!(eureka.overrides(), json!({}));
}

#[test]
fn case_074_a_peers_word_is_taken_as_sent() {
    let (_daemon, eureka) = start("");
    let peer = eureka.with(REPLICATION);
    after_each(&peer, &[("UP", "UP"), ("OUT_OF_SERVICE", "OUT_OF_SERVICE"), ("UP", "UP"), ("DOWN", "DOWN")]);
}

#[test]
fn case_075_a_registration_can_bring_its_override() {
    for name in ["overriddenStatus", "overriddenstatus"] {
        let (_daemon, eureka) = start("");
        let document = with(versioned("a", 1000, "UP"), &json!({ name: "OUT_OF_SERVICE" }));
        eureka.register(&document);
        assert_eq!(eureka.statuses("a"), ["OUT_OF_SERVICE", "OUT_OF_SERVICE"], "{name}");
        assert_eq!(eureka.overrides(), json!({"a": "OUT_OF_SERVICE"}));
        // The one that is there wins.
        eureka.register(&with(versioned("a", 1001, "UP"), &json!({ name: "DOWN" })));
        assert_eq!(eureka.statuses("a"), ["OUT_OF_SERVICE", "OUT_OF_SERVICE"], "{name}");
    }
}

#[test]
fn case_076_metadata_is_merged() {
    let (_daemon, eureka) = start("");
    let document = with(versioned("a", 1000, "UP"), &json!({"metadata": {"old": "o", "b": "0"}}));
    eureka.register(&document);
    let before = eureka.one("a");
    next_millisecond();
    eureka.ask("PUT apps/T/a/metadata?a=1&b=2&a=3&empty=&sp%20ace=%C3%A9+x").empty(200);
    let one = eureka.one("a");
    let merged = json!({"old": "o", "a": "1", "b": "2", "empty": "", "sp ace": "\u{e9} x"});
    assert_eq!(one["metadata"], merged);
    assert_eq!((&one["lastDirtyTimestamp"], &one["actionType"]), (&json!("1000"), &json!("ADDED")));
    assert!(before["lastUpdatedTimestamp"].as_str() < one["lastUpdatedTimestamp"].as_str());
    eureka.ask("PUT apps/T/a/metadata").empty(200);
    assert_eq!(eureka.one("a")["metadata"], merged);
    eureka.ask("PUT apps/T/b/metadata?a=1").empty(404);
    // The client's next registration replaces it.
    eureka.register(&document);
    assert_eq!(eureka.one("a")["metadata"], json!({"old": "o", "b": "0"}));
}

#[test]
fn case_077_a_cancelled_instance_takes_its_override_with_it() {
    let (_daemon, eureka) = with_override();
    eureka.ask("DELETE apps/T/a").empty(200);
    eureka.ask("DELETE apps/T/a").empty(404);
    assert_eq!(eureka.overrides(), json!({}));
    eureka.ask("GET apps/T/a").empty(404);
    after_each(&eureka, &[("UP", "UP")]);
}

#[test]
fn case_078_an_override_belongs_to_an_application() {
    let (_daemon, eureka) = with_override();
    eureka.register(&document("U", "a"));
    assert_eq!(inside(&eureka.ask("GET apps/U/a"), "instance")["status"], "UP");
    eureka.ask("DELETE apps/U/a").empty(200);
    assert_eq!(eureka.statuses("a"), ["OUT_OF_SERVICE", "OUT_OF_SERVICE"]);
    after_each(&eureka, &[("UP", "OUT_OF_SERVICE")]);
}

#[test]
fn every_status_can_be_an_override() {
    let (_daemon, eureka) = with_one();
    for status in ["DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN", "UP"] {
        eureka.ask(&format!("PUT apps/T/a/status?value={status}")).empty(200);
        assert_eq!(eureka.statuses("a"), [status, status]);
    }
}

#[test]
fn an_override_to_up_begins_the_time_of_service() {
    let (_daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "STARTING"));
    eureka.ask("PUT apps/T/a/status?value=UP").empty(200);
    assert_ne!(eureka.one("a")["leaseInfo"]["serviceUpTimestamp"], 0);
}

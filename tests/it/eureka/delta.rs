//! Cases 79 to 84 and 86: what changed lately. What a client makes of it is case 85, in `model.rs`.
//!
//! Never: takes the order of entries for granted.

use serde_json::{Value, json};

use crate::support::eureka::{by_id, document, next_millisecond, now_millis, start, versioned, with};
use crate::support::{Eureka, eventually};

/// What the delta says of one id of `T`: how often, then action and status of the last.
#[track_caller]
fn entry(delta: &Value, id: &str) -> Value {
    by_id(delta).remove(&("T".to_owned(), id.to_owned())).unwrap_or_else(|| panic!("no {id} in {delta}"))
}

/// The delta, whose hash must be that of the full list.
#[track_caller]
fn delta(eureka: &Eureka) -> Value {
    let delta = eureka.list("apps/delta");
    assert_eq!(delta["apps__hashcode"], eureka.list("apps")["apps__hashcode"]);
    assert!(delta["versions__delta"].as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{delta}");
    delta
}

#[test]
fn case_079_a_registration_is_added() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    let delta = delta(&eureka);
    assert_eq!(entry(&delta, "a")["actionType"], "ADDED");
    assert_eq!(delta["apps__hashcode"], "UP_1_");
    assert_eq!(eureka.list("apps")["versions__delta"], "1");
}

#[test]
fn case_080_a_status_change_is_modified_once() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    eureka.ask("PUT apps/T/a/status?value=OUT_OF_SERVICE").empty(200);
    eureka.ask("PUT apps/T/a/status?value=DOWN").empty(200);
    let delta = delta(&eureka);
    let one = entry(&delta, "a");
    assert_eq!((&one["actionType"], &one["status"]), (&json!("MODIFIED"), &json!("DOWN")));
    assert_eq!(by_id(&delta).len(), 1);
}

#[test]
fn case_081_a_cancelled_instance_is_deleted() {
    let (_daemon, eureka) = start("");
    eureka.register(&with(versioned("a", 1000, "UP"), &json!({"vipAddress": "v", "metadata": {"k": "v"}})));
    eureka.register(&document("T", "b"));
    let before = now_millis();
    eureka.ask("DELETE apps/T/a").empty(200);
    let delta = delta(&eureka);
    let one = entry(&delta, "a");
    assert_eq!(one["actionType"], "DELETED");
    let evicted = one["leaseInfo"]["evictionTimestamp"].as_u64().expect("a number");
    assert!(before <= evicted + 2, "{before} {one}");
    assert_eq!((&one["vipAddress"], &one["metadata"]), (&json!("v"), &json!({"k": "v"})), "it is complete");
    assert_eq!(delta["apps__hashcode"], "UP_1_");
    assert_eq!(entry(&delta, "b")["leaseInfo"]["evictionTimestamp"], 0);
}

#[test]
fn case_082_one_entry_for_all_that_happened_to_an_instance() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    eureka.ask("PUT apps/T/a/status?value=DOWN").empty(200);
    eureka.ask("DELETE apps/T/a").empty(200);
    let delta = delta(&eureka);
    assert_eq!((by_id(&delta).len(), &entry(&delta, "a")["actionType"]), (1, &json!("DELETED")));
    assert_eq!(delta["apps__hashcode"], "");
    eureka.register(&document("T", "a"));
    let delta = self::delta(&eureka);
    assert_eq!((by_id(&delta).len(), &entry(&delta, "a")["actionType"]), (1, &json!("ADDED")));
}

#[test]
fn case_083_other_content_has_another_version() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    let mut before = delta(&eureka);
    for change in
        ["metadata?k=1", "metadata?k=2", "status?value=DOWN", "status?value=OUT_OF_SERVICE", "metadata?k=3"]
    {
        next_millisecond();
        eureka.ask(&format!("PUT apps/T/a/{change}")).empty(200);
        let after = delta(&eureka);
        assert_ne!(before["application"], after["application"], "{change}");
        let version =
            |delta: &Value| delta["versions__delta"].as_str().and_then(|text| text.parse::<u64>().ok());
        assert!(version(&before) < version(&after), "{change}: {before} {after}");
        if change.starts_with("metadata") {
            assert_eq!(before["apps__hashcode"], after["apps__hashcode"], "{change}");
        }
        before = after;
    }
}

#[test]
fn case_084_entries_are_forgotten() {
    let (_daemon, eureka) = start("--change_log_age 2s");
    eureka.register(&document("T", "a"));
    let before = delta(&eureka);
    assert_eq!(entry(&before, "a")["actionType"], "ADDED");
    let after = eventually("the entry is forgotten", || {
        let delta = delta(&eureka);
        by_id(&delta).is_empty().then_some(delta)
    });
    assert_eq!((&after["apps__hashcode"], &after["application"]), (&json!("UP_1_"), &json!([])));
    assert_ne!(before["versions__delta"], after["versions__delta"]);
    eureka.register(&document("T", "b"));
    let all = by_id(&delta(&eureka));
    assert!(all.keys().map(|(_, id)| id).eq(["b"]), "{all:?}");
}

#[test]
fn what_happens_by_the_other_api_shows_in_the_delta() {
    let (daemon, eureka) = start("");
    let native = daemon.client();
    let id = native.register(&crate::support::client::instance("T", "10.0.0.1:80"));
    assert_eq!(entry(&delta(&eureka), &id)["actionType"], "ADDED");
    native.put(&format!("/api/v1/instances/{id}/status"), r#"{"status": "STARTING"}"#).ok();
    let modified = delta(&eureka);
    assert_eq!(
        (&entry(&modified, &id)["status"], &modified["apps__hashcode"]),
        (&json!("STARTING"), &json!("STARTING_1_"))
    );
    native.delete(&format!("/api/v1/instances/{id}")).ok();
    assert_eq!(entry(&delta(&eureka), &id)["actionType"], "DELETED");
}

#[test]
fn case_086_deltas_can_be_switched_off_and_lists_held_back_while_there_may_be_more() {
    let (_daemon, eureka) = start("--eureka_delta=false");
    eureka.register(&document("T", "a"));
    eureka.ask("GET apps/delta").empty(403);
    assert_eq!(by_id(&eureka.list("apps")).len(), 1);

    let (_daemon, eureka) = start("--eureka_empty_wait 1h");
    eureka.register(&with(document("T", "a"), &json!({"vipAddress": "v", "secureVipAddress": "v"})));
    for list in ["apps", "apps/", "apps/delta", "apps/T", "vips/v", "svips/v"] {
        eureka.ask(&format!("GET {list}")).empty(403);
    }
    assert_eq!(eureka.one("a")["status"], "UP");
    eureka.ask("GET apps/T/b").empty(404);
    eureka.ask("PUT apps/T/a").empty(200);
    eureka.ask("PUT apps/T/a/status?value=DOWN").empty(200);
    eureka.ask("DELETE apps/T/a").empty(200);

    let (_daemon, eureka) = start("--eureka_empty_wait 500ms");
    eventually("it is over", || (eureka.ask("GET apps").status == 200).then_some(()));
}

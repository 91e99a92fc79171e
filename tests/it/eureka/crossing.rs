//! One registry, two APIs: what either registers, the other sees, renews, changes and removes.
//!
//! Never: expects of one API what only the other promises.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Eureka;
use crate::support::client::instance;
use crate::support::eureka::{MY_OWN, by_id, document, next_millisecond, now_millis, start, with};

fn native(kind: &str, value: &str) -> Value {
    json!({"service_name": "billing", "endpoint": {"type": kind, "value": value}})
}

#[track_caller]
fn only(eureka: &Eureka, app: &str) -> Value {
    let application = crate::support::eureka::inside(&eureka.ask(&format!("GET apps/{app}")), "application");
    let instances = application["instance"].as_array().expect("a list");
    assert_eq!(instances.len(), 1, "{application}");
    instances[0].clone()
}

#[test]
fn endpoints_become_hosts_and_ports() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    // Kind and value, then host, port and whether it is the secure one.
    for (kind, value, host, port, is_secure) in [
        ("http", "10.0.0.1:8080", "10.0.0.1", Some(8080), false),
        ("tcp", "db.test:5432", "db.test", Some(5432), false),
        ("https", "safe.test:8443", "safe.test", Some(8443), true),
        ("http", "http://url.test:81/path", "url.test", Some(81), false),
        ("https", "https://url.test:444/path?q=1", "url.test", Some(444), true),
        ("http", "https://url.test:445", "url.test", Some(445), true),
        ("tcp", "justhost", "justhost", None, false),
        ("http", "10.0.0.2", "10.0.0.2", None, false),
        ("http", "[2001:db8::1]:80", "2001:db8::1", Some(80), false),
    ] {
        let id = client.register(&native(kind, value));
        let one = only(&eureka, "BILLING");
        let shown = one["hostName"].as_str().expect("text").trim_matches(['[', ']']);
        assert_eq!(shown, host, "{kind} {value}");
        assert_eq!(one["ipAddr"].as_str().expect("text").trim_matches(['[', ']']), host, "{kind} {value}");
        let enabled = json!({"$": port, "@enabled": "true"});
        let (used, other) = if is_secure { ("securePort", "port") } else { ("port", "securePort") };
        if port.is_some() {
            assert_eq!(one[used], enabled, "{kind} {value}");
            assert_eq!(one[other]["@enabled"], "false", "{kind} {value}");
        }
        for port in [&one["port"], &one["securePort"]] {
            assert!(port["$"].is_u64() && port["@enabled"].is_string(), "{kind} {value}: {one}");
        }
        client.delete(&format!("/api/v1/instances/{id}")).ok();
        eureka.ask("GET apps/billing").empty(404);
    }
}

#[test]
fn a_native_instance_is_a_whole_one_to_eureka() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    let before = now_millis();
    let id = client.register(&with(
        native("http", "10.0.0.1:8080"),
        &json!({
            "ttl": 60, "tags": ["v1", "blue"], "status": "STARTING",
            "metadata": {"zone": "blue", "number": 1, "flag": true, "deep": {"a": [1]}, "nothing": null},
        }),
    ));
    for path in ["BILLING", "billing", "Billing"] {
        let one = only(&eureka, path);
        assert_eq!(one["app"], "billing", "as it was given");
        assert_eq!((&one["instanceId"], &one["vipAddress"]), (&json!(id), &json!("billing")));
        assert_eq!((&one["status"], &one["countryId"]), (&json!("STARTING"), &json!(1)));
        assert_eq!(one["dataCenterInfo"], json!({"@class": MY_OWN, "name": "MyOwn"}));
        assert_eq!(one["isCoordinatingDiscoveryServer"], "false");
        let metadata = one["metadata"].as_object().expect("an object");
        assert!(metadata.values().all(Value::is_string), "{one}");
        assert_eq!(
            (&metadata["zone"], &metadata["number"], &metadata["flag"]),
            (&json!("blue"), &json!("1"), &json!("true"))
        );
        let tags: BTreeSet<_> = metadata["amalgam8.tags"].as_str().expect("text").split([',', ';']).collect();
        assert_eq!(tags, BTreeSet::from(["v1", "blue"]));
        let lease = &one["leaseInfo"];
        assert_eq!(lease["durationInSecs"], 60);
        let times = ["registrationTimestamp", "lastRenewalTimestamp"].map(|name| lease[name].as_u64());
        let texts =
            ["lastUpdatedTimestamp", "lastDirtyTimestamp"].map(|name| one[name].as_str()?.parse().ok());
        for time in times.into_iter().chain(texts) {
            let time = time.expect("milliseconds");
            assert!(before <= time + 2 && time <= now_millis() + 2, "{time} is not about {before}: {one}");
        }
    }
    assert_eq!(eureka.one_of("BILLING", &id)["instanceId"], json!(id));
    eureka.ask(&format!("GET instances/{id}")).ok();
    assert_eq!(by_id(&eureka.list("vips/billing")).len(), 1);
    let list = eureka.list("apps");
    assert_eq!(
        (&list["apps__hashcode"], &list["application"][0]["name"]),
        (&json!("STARTING_1_"), &json!("billing"))
    );
    let text = Eureka::of(&daemon).ask("GET apps").xml("applications");
    assert!(text.contains("<zone>blue</zone>") && text.contains("<amalgam8.tags>"), "{text}");
}

#[test]
fn a_native_instance_without_tags_or_metadata_has_none() {
    let (daemon, eureka) = start("");
    daemon.client().register(&instance("billing", "10.0.0.1:80"));
    let one = only(&eureka, "billing");
    assert_eq!(one["metadata"], json!({"@class": "java.util.Collections$EmptyMap"}));
    assert_eq!((&one["status"], &one["leaseInfo"]["durationInSecs"]), (&json!("UP"), &json!(30)));
}

#[test]
fn a_eureka_instance_is_a_whole_one_natively() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    let port = |number: u16, enabled: &str| json!({"$": number, "@enabled": enabled});
    for (ports, kind, value) in [
        (json!({"port": port(8080, "true")}), "tcp", "host.test:8080"),
        (json!({"port": port(80, "true"), "securePort": port(443, "true")}), "https", "host.test:443"),
        (json!({"port": port(80, "false"), "securePort": port(443, "true")}), "https", "host.test:443"),
        (json!({"port": port(80, "true"), "securePort": port(443, "false")}), "tcp", "host.test:80"),
        (json!({"port": port(80, "false")}), "tcp", "host.test"),
    ] {
        let more = json!({
            "metadata": {"zone": "blue", "amalgam8.tags": "v1, blue"}, "status": "UP",
            "leaseInfo": {"durationInSecs": 45, "renewalIntervalInSecs": 15},
        });
        eureka.register(&with(with(document("shop", "a"), &ports), &more));
        let list = client.get("/api/v1/instances").ok().json();
        let one = &list["instances"][0];
        assert_eq!(one["endpoint"], json!({"type": kind, "value": value}), "{ports}");
        assert_eq!((&one["ttl"], &one["status"]), (&json!(45), &json!("UP")));
        assert_eq!((&one["tags"], &one["metadata"]["zone"]), (&json!(["v1", "blue"]), &json!("blue")));
        assert!(one["id"].as_str().is_some_and(|id| id.to_uppercase() == "SHOP:A"), "{one}");
        let service = one["service_name"].as_str().expect("text");
        assert!(service.eq_ignore_ascii_case("shop"), "{service}");
        assert_eq!(client.ids("/api/v1/instances?tags=blue,v1").len(), 1);
        assert_eq!(client.ids(&format!("/api/v1/services/{service}")).len(), 1);
    }
    for status in ["DOWN", "STARTING", "UNKNOWN"] {
        eureka.register(&with(document("T", status), &json!({ "status": status })));
        assert_eq!(client.ids(&format!("/api/v1/instances?status={status}")), [format!("T:{status}")]);
    }
}

/// For an instance registered by either API: its application, its id there, and its native id.
fn one_of_each(eureka: &Eureka, client: &crate::support::Client) -> [(String, String, String); 2] {
    eureka.register(&document("T", "a"));
    let native = client.register(&instance("billing", "10.0.0.1:80"));
    [("T".into(), "a".into(), "T:a".into()), ("billing".into(), native.clone(), native)]
}

#[test]
fn renewals_by_either_api_are_the_same_leases() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    for (app, id, native) in one_of_each(&eureka, &client) {
        let eureka_time =
            || eureka.one_of(&app, &id)["leaseInfo"]["lastRenewalTimestamp"].as_u64().expect("a number");
        let native_time = || {
            let one = client.get(&format!("/api/v1/instances/{native}")).ok().json();
            one["last_heartbeat"].as_str().expect("a time").to_owned()
        };
        let before = (eureka_time(), native_time());
        next_millisecond();
        client.renew(&native).ok();
        let between = (eureka_time(), native_time());
        assert!(before.0 < between.0 && before.1 < between.1, "{id}: {before:?} {between:?}");
        next_millisecond();
        eureka.ask(&format!("PUT apps/{app}/{id}?status=UP")).empty(200);
        let after = (eureka_time(), native_time());
        assert!(between.0 < after.0 && between.1 < after.1, "{id}: {between:?} {after:?}");
    }
}

#[test]
fn status_changes_by_either_api_are_seen_by_the_other() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    for (app, id, native) in one_of_each(&eureka, &client) {
        let path = format!("/api/v1/instances/{native}");
        client.put(&format!("{path}/status"), r#"{"status": "STARTING"}"#).ok();
        assert_eq!(eureka.one_of(&app, &id)["status"], "STARTING", "{id}");
        eureka.ask(&format!("PUT apps/{app}/{id}/status?value=OUT_OF_SERVICE")).empty(200);
        assert_eq!(client.get(&path).ok().json()["status"], "OUT_OF_SERVICE", "{id}");
        eureka.ask(&format!("DELETE apps/{app}/{id}/status?value=UP")).empty(200);
        assert_eq!(client.get(&path).ok().json()["status"], "UP", "{id}");
        eureka.ask(&format!("PUT apps/{app}/{id}/metadata?k=v")).empty(200);
        assert_eq!(client.get(&path).ok().json()["metadata"]["k"], "v", "{id}");
    }
}

#[test]
fn deregistrations_by_either_api_are_seen_by_the_other() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    for (app, id, native) in one_of_each(&eureka, &client) {
        client.delete(&format!("/api/v1/instances/{native}")).ok();
        eureka.ask(&format!("GET apps/{app}/{id}")).empty(404);
        eureka.ask(&format!("PUT apps/{app}/{id}")).empty(404);
    }
    for (app, id, native) in one_of_each(&eureka, &client) {
        eureka.ask(&format!("DELETE apps/{app}/{id}")).empty(200);
        client.get(&format!("/api/v1/instances/{native}")).refused(404);
        client.renew(&native).refused(410);
    }
    assert_eq!(client.get("/api/v1/instances?status=ALL").json(), json!({"instances": []}));
    assert_eq!(eureka.list("apps")["apps__hashcode"], "");
}

#[test]
fn names_of_either_api_are_one_application_in_any_letter_case() {
    let (daemon, eureka) = start("");
    let client = daemon.client();
    client.register(&instance("Orders", "10.0.0.1:80"));
    for name in ["ORDERS", "orders", "Orders", "oRDERS"] {
        assert_eq!(only(&eureka, name)["app"], "Orders", "{name}");
    }
    let id = client.ids("/api/v1/services/Orders").remove(0);
    for name in ["ORDERS", "orders"] {
        eureka.ask(&format!("PUT apps/{name}/{id}")).empty(200);
        eureka.ask(&format!("PUT apps/{name}/{id}/status?value=DOWN")).empty(200);
        eureka.ask(&format!("DELETE apps/{name}/{id}/status?value=UP")).empty(200);
    }
    eureka.ask(&format!("DELETE apps/orders/{id}")).empty(200);
    eureka.ask("GET apps/Orders").empty(404);
}

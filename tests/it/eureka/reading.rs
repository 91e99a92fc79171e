//! Cases 28 to 55: lists, applications and instances; formats, detail, codings, names and paths.
//!
//! Never: depends on the order of members or of instances, but where a client does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::eureka::{
    JDK_ACCEPT, JSON, MY_OWN, REPLICATION, ROOTS, XML, by_id, document, hash_of, inside, leased, start,
    versioned, with,
};
use crate::support::{Answer, Client, Eureka};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";

/// An instance with everything that can be said about one.
fn complete(id: &str) -> Value {
    with(
        document("T", id),
        &json!({
            "appGroupName": "shop", "sid": "s1", "vipAddress": "v1,v2", "secureVipAddress": "s", "asgName": "t-v1",
            "port": {"$": 9001, "@enabled": "true"}, "securePort": {"$": 9443, "@enabled": "true"},
            "homePageUrl": "http://h:9001/", "statusPageUrl": "http://h:9001/info", "countryId": 1,
            "healthCheckUrl": "http://h:9001/health", "secureHealthCheckUrl": "https://h:9443/health",
            "leaseInfo": {"renewalIntervalInSecs": 20, "durationInSecs": 60}, "lastDirtyTimestamp": "1000",
            "metadata": {"zone": "blue", "management.port": "9001", "notes": "n".repeat(3000)},
        }),
    )
}

/// The paths that read one complete instance `a` of `T`.
const READS: [&str; 7] = ["apps", "apps/delta", "apps/T", "apps/T/a", "instances/a", "vips/v1", "svips/s"];

/// Those that can be had compactly.
const LISTS: [&str; 5] = ["apps", "apps/delta", "apps/T", "vips/v1", "svips/s"];

fn ids(applications: &Value) -> Vec<String> {
    by_id(applications).into_keys().map(|(_, id)| id).collect()
}

/// The XML client of the same registry, which says nothing about what it takes.
fn silent(daemon: &crate::support::Daemon) -> Eureka {
    Eureka::of(daemon)
}

#[test]
fn case_028_an_empty_registry_in_xml() {
    let (daemon, _) = start("");
    let text = silent(&daemon).ask("GET apps").xml("applications");
    assert!(text.contains("<versions__delta>1</versions__delta>"), "{text}");
    assert!(text.contains("<apps__hashcode></apps__hashcode>"), "{text}");
    assert!(!text.contains("<application>"), "{text}");
}

#[test]
fn case_029_an_empty_registry_in_json() {
    let (_daemon, eureka) = start("");
    let answer = eureka.ask("GET apps");
    let expected = r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#;
    assert_eq!((&*answer.ok().text(), answer.header("content-type")), (expected, JSON));
}

#[test]
fn case_030_a_slash_at_the_end_changes_nothing() {
    let (daemon, eureka) = start("");
    for registered in [false, true] {
        if registered {
            eureka.register(&complete("a"));
        }
        for reader in [&eureka, &silent(&daemon)] {
            assert_eq!(reader.ask("GET apps/").ok().text(), reader.ask("GET apps").ok().text());
        }
    }
    assert_eq!(eureka.ask("GET apps/T/").ok().text(), eureka.ask("GET apps/T").text());
    assert_eq!(eureka.ask("GET apps/T/a/").ok().text(), eureka.ask("GET apps/T/a").text());
    eureka.ask("PUT apps/T/a/").empty(200);
    eureka.ask("GET apps/delta/").ok();
    eureka.ask("GET vips/v1/").ok();
    eureka.ask("GET status/").ok();
}

/// Checks each member's type as section 2.4 has it, and that no decoder meets one that it does not know.
#[track_caller]
fn assert_shape(instance: &Value) {
    const TEXTS: [&str; 20] = [
        "instanceId",
        "hostName",
        "app",
        "appGroupName",
        "ipAddr",
        "sid",
        "homePageUrl",
        "statusPageUrl",
        "healthCheckUrl",
        "secureHealthCheckUrl",
        "vipAddress",
        "secureVipAddress",
        "status",
        "overriddenStatus",
        "isCoordinatingDiscoveryServer",
        "lastUpdatedTimestamp",
        "lastDirtyTimestamp",
        "actionType",
        "asgName",
        "countryId",
    ];
    const ALWAYS: [&str; 15] = [
        "hostName",
        "app",
        "ipAddr",
        "status",
        "overriddenStatus",
        "port",
        "securePort",
        "countryId",
        "dataCenterInfo",
        "leaseInfo",
        "metadata",
        "isCoordinatingDiscoveryServer",
        "lastUpdatedTimestamp",
        "lastDirtyTimestamp",
        "actionType",
    ];
    const LEASE: [&str; 6] = [
        "renewalIntervalInSecs",
        "durationInSecs",
        "registrationTimestamp",
        "lastRenewalTimestamp",
        "evictionTimestamp",
        "serviceUpTimestamp",
    ];
    for (name, value) in instance.as_object().expect("an object") {
        let is_sound = match name.as_str() {
            "countryId" => value.is_u64(),
            "port" | "securePort" => {
                value["$"].is_u64()
                    && (value["@enabled"] == "true" || value["@enabled"] == "false")
                    && value.as_object().map(serde_json::Map::len) == Some(2)
            }
            "leaseInfo" => {
                value.as_object().expect("an object").keys().map(String::as_str).collect::<BTreeSet<_>>()
                    == BTreeSet::from(LEASE)
                    && LEASE.iter().all(|name| value[name].is_u64())
            }
            "metadata" => value.as_object().expect("an object").values().all(Value::is_string),
            "dataCenterInfo" => {
                let known = ["@class", "name", "metadata"];
                value.as_object().expect("an object").keys().all(|name| known.contains(&name.as_str()))
                    && value["@class"].is_string()
                    && value["name"].is_string()
            }
            name => TEXTS.contains(&name) && value.is_string(),
        };
        assert!(is_sound, "{name} is {value}");
    }
    for name in ALWAYS {
        assert!(instance.get(name).is_some(), "{name} is missing in {instance}");
    }
    for name in ["lastUpdatedTimestamp", "lastDirtyTimestamp"] {
        let text = instance[name].as_str().expect("text");
        assert!(text.parse::<u64>().is_ok(), "{name} is {text}");
    }
}

#[test]
fn case_031_every_member_has_its_type() {
    let (_daemon, eureka) = start("");
    eureka.register(&complete("a"));
    let list = eureka.list("apps");
    assert_eq!(list["versions__delta"], "1");
    assert_eq!(list["apps__hashcode"], "UP_1_");
    assert_eq!(list.as_object().map(serde_json::Map::len), Some(3));
    let application = &list["application"][0];
    assert_eq!(application.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(application["name"], "T");
    let instance = &application["instance"][0];
    assert_shape(instance);
    for (name, value) in complete("a").as_object().expect("an object") {
        match name.as_str() {
            "leaseInfo" => assert_eq!(instance[name]["durationInSecs"], 60),
            "appGroupName" => assert_eq!(instance[name], "SHOP", "in capitals, as application names are"),
            name => assert_eq!(&instance[name], value, "{name}"),
        }
    }
    for path in ["apps", "apps/delta"] {
        assert_shape(&eureka.list(path)["application"][0]["instance"][0]);
    }
    eureka.register(&document("T", "b"));
    assert_shape(&eureka.one("b"));
    // Old clients read the class of a data center before the rest.
    let text = eureka.ask("GET apps/T/a").text();
    assert!(text.contains(&format!(r#""dataCenterInfo":{{"@class":"{MY_OWN}","name":"MyOwn"}}"#)), "{text}");
}

#[test]
fn case_032_the_hash_counts_statuses_in_their_order() {
    let (_daemon, eureka) = start("");
    for (id, status) in [("a", "UP"), ("b", "DOWN"), ("c", "UP"), ("d", "OUT_OF_SERVICE")] {
        eureka.register(&versioned(id, 1000, status));
    }
    let list = eureka.list("apps");
    assert_eq!(list["apps__hashcode"], "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
    assert_eq!(hash_of(by_id(&list).values()), "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
    assert_eq!(eureka.list("apps/delta")["apps__hashcode"], "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
}

#[test]
fn case_033_one_application() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    eureka.register(&document("U", "b"));
    for path in ["apps/T", "apps/t"] {
        let application = inside(&eureka.ask(&format!("GET {path}")), "application");
        assert_eq!(application["name"], "T");
        assert_eq!(application["instance"].as_array().map(Vec::len), Some(1));
    }
    silent(&daemon).ask("GET apps/T").xml("application");
    eureka.ask("GET apps/NONE").empty(404);
    silent(&daemon).ask("GET apps/NONE").empty(404);
}

#[test]
fn case_034_an_application_ends_with_its_last_instance() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    eureka.register(&document("U", "b"));
    eureka.ask("DELETE apps/T/a").empty(200);
    eureka.ask("GET apps/T").empty(404);
    let list = eureka.list("apps");
    let names: Vec<_> =
        list["application"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["U"]);
}

#[test]
fn case_035_one_instance() {
    let (daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    assert_eq!(eureka.one("a")["instanceId"], "a");
    let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
    assert!(text.contains("<instanceId>a</instanceId>"), "{text}");
    for path in ["apps/T/b", "apps/T/A", "apps/U/a"] {
        eureka.ask(&format!("GET {path}")).empty(404);
        silent(&daemon).ask(&format!("GET {path}")).empty(404);
    }
}

#[test]
fn case_036_ids_are_decoded() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "host:app:1"));
    assert_eq!(eureka.one("host%3Aapp%3A1")["instanceId"], "host:app:1");
    assert_eq!(eureka.one("host:app:1")["instanceId"], "host:app:1");
    eureka.ask("PUT apps/T/host%3Aapp%3A1?status=UP").empty(200);
    eureka.register(&document("T", "a/b c"));
    assert_eq!(eureka.one("a%2Fb%20c")["instanceId"], "a/b c");
}

#[test]
fn case_037_one_instance_of_any_application() {
    let (daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    assert_eq!(inside(&eureka.ask("GET instances/a"), "instance")["instanceId"], "a");
    silent(&daemon).ask("GET instances/a").xml("instance");
    for id in ["b", "A", "T:a"] {
        eureka.ask(&format!("GET instances/{id}")).empty(404);
    }
}

#[test]
fn case_038_vips_are_split_at_commas() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    eureka.register(&with(versioned("b", 1000, "DOWN"), &json!({"vipAddress": "v2"})));
    eureka.register(&with(document("U", "c"), &json!({"vipAddress": "v22"})));
    let list = eureka.list("vips/v2");
    assert_eq!(ids(&list), ["a", "b"]);
    assert_eq!((&list["versions__delta"], &list["apps__hashcode"]), (&json!("-1"), &json!("DOWN_1_UP_1_")));
    assert_eq!(ids(&eureka.list("vips/v1")), ["a"]);
    let text = silent(&daemon).ask("GET vips/v1").xml("applications");
    assert!(text.contains("<versions__delta>-1</versions__delta>"), "{text}");
}

#[test]
fn case_039_an_unknown_vip_is_an_empty_list() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    for path in ["vips/none", "vips/V2", "svips/none"] {
        let list = eureka.list(path);
        let empty = json!({"versions__delta": "-1", "apps__hashcode": "", "application": []});
        assert_eq!(list, empty, "{path}");
    }
    silent(&daemon).ask("GET vips/none").xml("applications");
}

#[test]
fn case_040_secure_vips() {
    let (_daemon, eureka) = start("");
    eureka.register(&complete("a"));
    eureka.register(&with(document("T", "b"), &json!({"vipAddress": "s"})));
    let list = eureka.list("svips/s");
    assert_eq!((ids(&list), &list["apps__hashcode"]), (vec!["a".to_owned()], &json!("UP_1_")));
}

#[test]
fn case_041_vips_without_a_name() {
    let (_daemon, eureka) = start("");
    for path in ["vips", "vips/", "svips"] {
        let answer = eureka.ask(&format!("GET {path}"));
        assert!([404, 405].contains(&answer.status), "{path}: {}", answer.status);
    }
}

#[test]
fn case_042_what_is_accepted() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    let xml = [
        "",
        "Accept: */*",
        "Accept:",
        BROWSER,
        "Accept: application/xml",
        "Accept: application/*",
        JDK_ACCEPT,
    ];
    for path in READS {
        for accept in xml {
            let client = if accept.is_empty() { silent(&daemon) } else { silent(&daemon).with(accept) };
            let answer = client.ask(&format!("GET {path}"));
            assert_eq!((answer.status, answer.header("content-type")), (200, XML), "{path}, {accept:?}");
        }
        silent(&daemon).with("Accept: text/plain").ask(&format!("GET {path}")).empty(406);
    }
    let jdk = silent(&daemon).with(JDK_ACCEPT);
    jdk.ask("PUT apps/T/a").empty(200);
    jdk.ask("PUT apps/T/a/status?value=DOWN").empty(200);
    jdk.ask("DELETE apps/T/a/status?value=UP").empty(200);
    jdk.ask("DELETE apps/T/a").empty(200);
}

#[test]
fn below_api_anything_means_json_and_nothing_means_xml() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    let api = silent(&daemon).at("/api/eureka/default/v2");
    for path in READS {
        let line = format!("GET {path}");
        assert_eq!(api.ask(&line).ok().header("content-type"), XML, "{path}");
        assert!(api.with("Accept: */*").ask(&line).ok().header("content-type").starts_with(JSON), "{path}");
        assert!(
            api.with("Accept: application/json").ask(&line).ok().header("content-type").starts_with(JSON)
        );
        assert_eq!(api.with("Accept: application/xml").ask(&line).ok().header("content-type"), XML, "{path}");
    }
}

#[test]
fn case_043_springs_accept() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    for accept in ["Accept: application/json, application/*+json", "Accept: application/json;charset=UTF-8"] {
        for path in READS {
            let answer = silent(&daemon).with(accept).ask(&format!("GET {path}"));
            assert_eq!((answer.status, answer.header("content-type")), (200, JSON), "{path}");
            answer.json();
        }
    }
}

#[test]
fn case_044_compressed_answers() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    for path in READS {
        let line = format!("GET {path}");
        for reader in [&eureka, &silent(&daemon)] {
            let plain = reader.ask(&line);
            for coding in ["gzip", "gzip, deflate", "deflate, gzip;q=0.5"] {
                let coded = reader.with(&format!("Accept-Encoding: {coding}")).ask(&line);
                assert_eq!(comparable(&coded.unzipped()), comparable(&plain.text()), "{path}, {coding}");
                assert_eq!(coded.header("content-type"), plain.header("content-type"));
            }
            for coding in ["identity", "deflate", "gzip;q=0"] {
                let coded = reader.with(&format!("Accept-Encoding: {coding}")).ask(&line);
                assert_eq!(coded.header("content-encoding"), "", "{path}, {coding}");
                assert_eq!(comparable(&coded.ok().text()), comparable(&plain.text()), "{path}, {coding}");
            }
        }
    }
}

/// A document without the number of the delta.
fn comparable(text: &str) -> String {
    let without = |from: &str, to: &str| {
        let start = text.find(from)? + from.len();
        let end = start + text[start..].find(to)?;
        Some(format!("{}{}", &text[..start], &text[end..]))
    };
    without("<versions__delta>", "<")
        .or_else(|| without(r#""versions__delta":""#, "\""))
        .unwrap_or(text.into())
}

/// What a compact instance may have.
const COMPACT: [&str; 13] = [
    "instanceId",
    "app",
    "ipAddr",
    "vipAddress",
    "secureVipAddress",
    "dataCenterInfo",
    "hostName",
    "status",
    "lastUpdatedTimestamp",
    "actionType",
    "asgName",
    "port",
    "securePort",
];

#[test]
fn case_045_compact_lists() {
    let (daemon, eureka) = start("");
    let empty = eureka.with("X-Eureka-Accept: compact").list("apps");
    assert_eq!(empty["registeredApplicationsEmpty"], true);
    eureka.register(&complete("a"));
    for detail in ["compact", "COMPACT", "Compact"] {
        let compact = eureka.with(&format!("X-Eureka-Accept: {detail}"));
        for path in LISTS {
            let whole = compact.ask(&format!("GET {path}")).ok().json();
            let application = if path == "apps/T" {
                whole["application"].clone()
            } else {
                let list = &whole["applications"];
                assert_eq!(list["registeredApplicationsEmpty"], false, "{path}");
                assert!(list["versions__delta"].is_string() && list["apps__hashcode"] == "UP_1_", "{list}");
                assert_eq!(list.as_object().map(serde_json::Map::len), Some(4), "{list}");
                list["application"][0].clone()
            };
            let one = &application["instance"][0];
            let names: BTreeSet<_> = one.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(names, BTreeSet::from(COMPACT), "{path}");
            assert!(one["lastUpdatedTimestamp"].is_u64(), "{one}");
            assert_eq!(one["port"], json!({"$": 9001, "@enabled": "true"}));
        }
    }
    for detail in ["bogus", "full", "FULL", ""] {
        let full = eureka.with(&format!("X-Eureka-Accept: {detail}"));
        for path in LISTS {
            let answer = full.ask(&format!("GET {path}"));
            assert_eq!(
                comparable(&answer.ok().text()),
                comparable(&eureka.ask(&format!("GET {path}")).text())
            );
        }
    }
    let xml = silent(&daemon).with("X-Eureka-Accept: compact").ask("GET apps").xml("applications");
    assert!(!xml.trim().contains('\n') && !xml.contains("<metadata") && !xml.contains("leaseInfo"), "{xml}");
    assert!(xml.contains("<registeredApplicationsEmpty>false</registeredApplicationsEmpty>"), "{xml}");
}

#[test]
fn a_compact_amazon_instance_keeps_what_tells_where_it_is() {
    let (_daemon, eureka) = start("");
    let center = json!({"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon", "metadata": {
        "instance-id": "i-1", "ami-id": "ami-1", "public-ipv4": "1.2.3.4", "public-hostname": "p", "vpc-id": "x",
        "local-ipv4": "10.0.0.1", "availability-zone": "z", "accountId": "7"}});
    eureka.register(&with(document("T", "a"), &json!({"dataCenterInfo": center})));
    let list = eureka.with("X-Eureka-Accept: compact").list("apps");
    let metadata = &list["application"][0]["instance"][0]["dataCenterInfo"]["metadata"];
    let names: BTreeSet<_> = metadata.as_object().expect("an object").keys().map(String::as_str).collect();
    let kept = ["instance-id", "public-ipv4", "public-hostname", "local-ipv4", "availability-zone"];
    assert_eq!(names, BTreeSet::from(kept));
    assert_eq!(eureka.one("a")["dataCenterInfo"], center);
}

#[test]
fn case_046_one_instance_is_never_compact() {
    let (_daemon, eureka) = start("");
    eureka.register(&complete("a"));
    for path in ["apps/T/a", "instances/a"] {
        let line = format!("GET {path}");
        let compact = eureka.with("X-Eureka-Accept: compact").ask(&line);
        assert_eq!(compact.ok().text(), eureka.ask(&line).text());
    }
}

#[test]
fn case_047_empty_metadata() {
    let (daemon, eureka) = start("");
    for metadata in [Value::Null, json!({}), json!({"@class": "java.util.Collections$EmptyMap"})] {
        eureka.register(&with(document("T", "a"), &json!({"metadata": metadata})));
        assert_eq!(eureka.one("a")["metadata"], json!({"@class": "java.util.Collections$EmptyMap"}));
        let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
        assert!(text.contains(r#"<metadata class="java.util.Collections$EmptyMap"/>"#), "{text}");
    }
    eureka.register(&with(document("T", "a"), &json!({"metadata": {"k": "v"}})));
    let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
    assert!(text.contains("<k>v</k>") && !text.contains("EmptyMap"), "{text}");
    assert_eq!(eureka.one("a")["metadata"], json!({"k": "v"}));
}

#[test]
fn case_048_names_of_elements_are_escaped() {
    let (daemon, eureka) = start("");
    let pairs = [
        ("my_key", "my__key"),
        ("a$b", "a_-b"),
        ("a b", "a_.0020b"),
        ("1x", "_.0031x"),
        ("x/y", "x_.002fy"),
        ("a.b:c-d", "a.b:c-d"),
        ("gr\u{fc}n", "gr\u{fc}n"),
    ];
    let metadata: serde_json::Map<String, Value> =
        pairs.iter().map(|(key, _)| ((*key).to_owned(), json!("<&>"))).collect();
    eureka.register(&with(document("T", "a"), &json!({ "metadata": metadata })));
    let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
    for (key, element) in pairs {
        assert!(text.contains(&format!("<{element}>&lt;&amp;&gt;</{element}>")), "{key}: {text}");
    }
    assert_eq!(eureka.one("a")["metadata"], Value::Object(metadata.clone()));

    // What is shown can be registered.
    eureka.send("POST apps/T", XML, text.replace(">a</instanceId>", ">b</instanceId>")).empty(204);
    assert_eq!(eureka.one("b")["metadata"], Value::Object(metadata));

    // A key that no element can have is left out.
    eureka.register(&with(document("T", "c"), &json!({"metadata": {"": "x", "k": "v"}})));
    let text = silent(&daemon).ask("GET apps/T/c").xml("instance");
    assert!(text.contains("<k>v</k>") && !text.contains("<>"), "{text}");
}

#[test]
fn case_049_every_letter() {
    let (daemon, eureka) = start("");
    let text = "H\u{f6}he \u{2603} \u{1f980} \"quoted\" <&> \\ \u{2028}";
    eureka.register(&with(document("T", "a"), &json!({"metadata": {"k": text}})));
    assert_eq!(eureka.one("a")["metadata"]["k"], text);
    let xml = silent(&daemon).ask("GET apps/T/a");
    assert!(xml.xml("instance").contains("H\u{f6}he \u{2603} \u{1f980}"), "{}", xml.text());
    assert_eq!(eureka.ask("GET apps").header("content-type"), JSON);
    assert_eq!(silent(&daemon).ask("GET apps").header("content-type"), XML);
}

#[test]
fn case_050_sid_is_shown_when_it_says_something() {
    let (daemon, eureka) = start("");
    for (sid, shown) in
        [(Value::Null, false), (json!("na"), false), (json!("unknown"), false), (json!("s1"), true)]
    {
        eureka.register(&with(document("T", "a"), &json!({ "sid": sid })));
        assert_eq!(eureka.one("a").get("sid").is_some(), shown, "{sid}");
        assert_eq!(silent(&daemon).ask("GET apps/T/a").text().contains("<sid>"), shown, "{sid}");
    }
}

#[test]
fn case_051_regions_are_accepted() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    for path in ["apps", "apps/delta"] {
        let with = eureka.ask(&format!("GET {path}?regions=foo,bar"));
        assert_eq!(comparable(&with.ok().text()), comparable(&eureka.ask(&format!("GET {path}")).text()));
    }
}

#[test]
fn case_052_all_roots_give_the_same_answers() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    eureka.register(&versioned("b", 1000, "OUT_OF_SERVICE"));
    let v1 = ["/eureka/v1", "/v1"];
    for root in ROOTS[1..3].iter().chain(&v1) {
        let other = eureka.at(root);
        for path in READS {
            let line = format!("GET {path}");
            let same = |one: &Answer, two: &Answer| {
                assert_eq!(comparable(&one.ok().text()), comparable(&two.ok().text()), "{root} {path}");
                assert_eq!(one.header("content-type"), two.header("content-type"), "{root} {path}");
            };
            same(&other.ask(&line), &eureka.ask(&line));
            if !v1.contains(root) {
                same(&silent(&daemon).at(root).ask(&line), &silent(&daemon).ask(&line));
            }
        }
        other.ask("PUT apps/T/a?status=UP").empty(200);
        other.ask("PUT apps/T/nobody").empty(404);
        other.register(&document("T", "c"));
        other.ask("PUT apps/T/c/status?value=DOWN").empty(200);
        other.ask("DELETE apps/T/c/status").empty(200);
        other.ask("PUT apps/T/c/metadata?k=v").empty(200);
        other.ask("DELETE apps/T/c").empty(200);
        assert_eq!(other.batch(&json!([])), Vec::<Value>::new());
        other.ask("GET status").ok();
    }
}

#[test]
fn case_053_version_1_knows_three_statuses_in_xml() {
    let (daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "OUT_OF_SERVICE"));
    eureka.register(&versioned("b", 1000, "UNKNOWN"));
    eureka.register(&versioned("c", 1000, "STARTING"));
    for root in ["/eureka/v1", "/v1"] {
        let text = silent(&daemon).at(root).ask("GET apps").xml("applications");
        assert_eq!(text.matches("<status>DOWN</status>").count(), 2, "{text}");
        assert_eq!(text.matches("<status>STARTING</status>").count(), 1, "{text}");
        assert_eq!(eureka.at(root).list("apps")["apps__hashcode"], "OUT_OF_SERVICE_1_STARTING_1_UNKNOWN_1_");
        let statuses: Vec<_> =
            by_id(&eureka.at(root).list("apps")).into_values().map(|it| it["status"].clone()).collect();
        assert_eq!(statuses, ["OUT_OF_SERVICE", "UNKNOWN", "STARTING"]);
    }
    let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
    assert!(text.contains("<status>OUT_OF_SERVICE</status>"), "{text}");
}

#[test]
fn case_054_methods() {
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    let client: Client = daemon.client().with("Accept: application/json");
    for path in READS {
        // On one connection, which shows that no byte of a body was sent.
        let mut connection = client.connect();
        let head = connection.ask(&client, &format!("HEAD /eureka/v2/{path}"), "");
        let get = connection.ask(&client, &format!("GET /eureka/v2/{path}"), "");
        assert_eq!((head.status, get.status), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    for (line, allowed) in [
        ("DELETE apps/T", "POST"),
        ("PUT apps", "GET"),
        ("POST apps/T/a", "DELETE"),
        ("GET apps/T/a/metadata", "PUT"),
        ("GET peerreplication/batch", "POST"),
        ("DELETE instances/a", "GET"),
    ] {
        let answer = eureka.ask(line);
        assert_eq!((answer.status, answer.text()), (405, String::new()), "{line}");
        assert!(answer.header("allow").contains(allowed), "{line}: {}", answer.header("allow"));
    }
    assert_eq!(eureka.one("a")["instanceId"], "a");
}

#[test]
fn case_055_a_change_shows_at_once() {
    let (_daemon, eureka) = start("");
    for number in 0..20 {
        let metadata = json!({"n": number.to_string()});
        eureka.register(&with(document("T", "a"), &json!({ "metadata": metadata })));
        assert_eq!(eureka.one("a")["metadata"], metadata);
        let status = if number % 2 == 0 { "DOWN" } else { "OUT_OF_SERVICE" };
        eureka.ask(&format!("PUT apps/T/a/status?value={status}")).empty(200);
        assert_eq!(eureka.one("a")["status"], status);
        assert_eq!(eureka.list("apps")["apps__hashcode"], format!("{status}_1_"));
        eureka.ask("PUT apps/T/a/metadata?m=1").empty(200);
        assert_eq!(eureka.one("a")["metadata"]["m"], "1");
        eureka.ask("DELETE apps/T/a").empty(200);
        eureka.ask("GET apps/T/a").empty(404);
        assert_eq!(eureka.list("apps")["apps__hashcode"], "");
    }
}

/// Paths as people and proxies write them.
#[test]
fn paths_are_read_as_the_java_server_reads_them_but_for_double_slashes() {
    let (_daemon, eureka) = start("");
    eureka.register(&document("T", "a"));
    for line in ["GET APPS", "GET apps/T/a/STATUS", "GET Instances/a", "GET nowhere"] {
        eureka.ask(line).empty(404);
    }
    for line in ["GET /eureka/v2//apps", "GET //eureka//v2/apps//T/a", "GET /v2//apps/T", "GET apps/T/a;x=1"]
    {
        eureka.ask(line).ok();
    }
}

#[test]
fn the_order_of_elements_is_that_of_old_clients() {
    const ORDER: [&str; 24] = [
        "<instanceId>",
        "<hostName>",
        "<app>",
        "<ipAddr>",
        "<sid>",
        "<status>",
        "<overriddenstatus>",
        "<port ",
        "<securePort ",
        "<countryId>",
        "<dataCenterInfo ",
        "<leaseInfo>",
        "<metadata>",
        "<appGroupName>",
        "<homePageUrl>",
        "<statusPageUrl>",
        "<healthCheckUrl>",
        "<secureHealthCheckUrl>",
        "<vipAddress>",
        "<secureVipAddress>",
        "<isCoordinatingDiscoveryServer>",
        "<lastUpdatedTimestamp>",
        "<lastDirtyTimestamp>",
        "<actionType>",
    ];
    let (daemon, eureka) = start("");
    eureka.register(&complete("a"));
    let text = silent(&daemon).ask("GET apps/T/a").xml("instance");
    let places: Vec<_> =
        ORDER.iter().map(|name| text.find(name).unwrap_or_else(|| panic!("{name}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(text.contains(r#"<port enabled="true">9001</port>"#), "{text}");
    assert!(!text.starts_with("<?xml"), "no declaration");
    // A replicated read is an ordinary one.
    eureka.with(REPLICATION).ask("GET apps/T/a").ok();
    eureka.register(&leased("lease", 45));
    assert!(silent(&daemon).ask("GET apps/T/lease").text().contains("<durationInSecs>45</durationInSecs>"));
}

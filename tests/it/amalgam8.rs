//! The Amalgam8 API of a running registry, from the first registration to the last deregistration.
//!
//! Never: waits for a lease to run out; that is another chapter.

use std::io::Read;

use a8registry::api::Route;
use flate2::bufread::GzDecoder;
use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::{Answer, Client, Daemon};

/// Paths that read, given one instance `web/http/10.0.0.1:80`.
const READS: [&str; 6] = [
    "/api/v1/instances",
    "/api/v1/instances?service_name=web&fields=tags,status",
    "/api/v1/instances?status=ALL",
    "/api/v1/services",
    "/api/v1/services/web",
    WEB_PATH,
];

const WEB_PATH: &str = "/api/v1/instances/a514120dc1beb9aa";

fn with(mut registration: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().expect("an object") {
        registration[name] = value.clone();
    }
    registration
}

/// The one gzip member that an answer consists of.
fn unzipped(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut member = GzDecoder::new(&answer.body[..]);
    let mut plain = Vec::new();
    member.read_to_end(&mut plain).expect("sound, check sum included");
    assert!(member.into_inner().is_empty(), "nothing follows the member");
    plain
}

#[test]
fn an_instance_is_registered_found_renewed_changed_and_lost() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    let host = daemon.address();

    let registration = with(
        instance("billing", "10.0.0.1:8080"),
        &json!({"ttl": 60, "tags": ["v1", "blue"], "metadata": {"zone": [1, 2.50]}}),
    );
    let answer = client.post(&registration);
    let this = format!("http://{host}/api/v1/instances/20a12a48f6ae0566");
    let links = json!({"self": this, "heartbeat": format!("{this}/heartbeat")});
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), this);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.json(), json!({"id": "20a12a48f6ae0566", "ttl": 60, "links": links}));
    let id = "20a12a48f6ae0566";

    let mut shown = client.get("/api/v1/instances").ok().json()["instances"][0].clone();
    let heartbeat = shown.as_object_mut().expect("an object").remove("last_heartbeat").expect("is there");
    assert_eq!(heartbeat.as_str().map(str::len), Some("2026-01-01T00:00:00.000Z".len()));
    assert_eq!(shown, with(registration, &json!({"id": id, "status": "UP"})));
    assert_eq!(client.get("/api/v1/services").ok().json(), json!({"services": ["billing"]}));
    let service = client.get("/api/v1/services/billing");
    assert_eq!((service.ids(), &service.json()["service_name"]), (vec![id.into()], &json!("billing")));
    let one = client.get(&format!("/api/v1/instances/{id}")).ok().json();
    assert_eq!((&one["links"], &one["metadata"]), (&links, &json!({"zone": [1, 2.5]})));
    let selected = client.get("/api/v1/instances?service_name=billing&tags=blue,v1&fields=status");
    let endpoint = json!({"type": "http", "value": "10.0.0.1:8080"});
    assert_eq!(selected.json(), json!({"instances": [{"id": id, "endpoint": endpoint, "status": "UP"}]}));
    assert!(client.ids("/api/v1/instances?tags=green").is_empty());

    let renewed = client.renew(id);
    assert_eq!((renewed.status, renewed.text()), (200, String::new()));

    let path = format!("/api/v1/instances/{id}/status");
    let changed = client.put(&path, r#"{"status": "out_of_service"}"#);
    assert_eq!(changed.ok().json(), json!({"id": id, "status": "OUT_OF_SERVICE"}));
    assert!(client.ids("/api/v1/instances").is_empty(), "the plain list shows who serves");
    for path in [
        "/api/v1/instances?status=ALL",
        "/api/v1/instances?status=out_of_service",
        "/api/v1/services/billing",
    ] {
        assert_eq!(client.ids(path), [id], "{path}");
    }
    client.put(&format!("{path}?value=STARTING"), "").ok();
    assert_eq!(client.ids("/api/v1/instances?status=STARTING"), [id]);

    // Registering again replaces everything.
    assert_eq!(client.register(&instance("billing", "10.0.0.1:8080")), id);
    let shown = client.get("/api/v1/instances").json()["instances"][0].clone();
    assert_eq!((&shown["status"], &shown["ttl"]), (&json!("UP"), &json!(30)));
    assert_eq!((&shown["tags"], &shown["metadata"]), (&Value::Null, &Value::Null));

    let gone = client.delete(&format!("/api/v1/instances/{id}"));
    assert_eq!((gone.status, gone.text()), (200, String::new()));
    assert_eq!(client.get("/api/v1/instances?status=ALL").json(), json!({"instances": []}));
    assert_eq!(client.get("/api/v1/services").json(), json!({"services": []}));
    client.get("/api/v1/services/billing").refused(404);
    client.get(&format!("/api/v1/instances/{id}")).refused(404);
    client.renew(id).refused(410);
    client.put(&path, r#"{"status": "UP"}"#).refused(410);
    let again = client.delete(&format!("/api/v1/instances/{id}")).refused(410);
    assert_eq!(again["Error"], "Failed to deregister instance");
}

#[test]
fn the_registration_decides_id_and_ttl() {
    let daemon = Daemon::start("--default_ttl 5s --min_ttl 10s --max_ttl 1m");
    daemon.logged("outside --min_ttl");
    let client = daemon.client();
    for (service, kind, value, id) in [
        ("billing", "http", "10.0.0.1:8080", "20a12a48f6ae0566"),
        ("a", "http", "x", "c98a600570f3c50b"),
        ("billing", "tcp", "10.0.0.1:8080", "2df4e797d24a56c1"),
        ("höchst/é ", "user", "\u{1f980} \"\n", "32a56c6b475b8bbc"),
    ] {
        let endpoint = json!({"type": kind, "value": value});
        let answer = client.post(&json!({"service_name": service, "endpoint": endpoint, "id": "chosen"}));
        assert_eq!(answer.json()["id"], id, "{service} {kind} {value}");
    }
    for (asked, granted) in [
        (Value::Null, 5),
        (json!(0), 5),
        (json!(1), 10),
        (json!(59), 59),
        (json!(61), 60),
        (json!(u32::MAX), 60),
    ] {
        let answer = client.post(&with(instance("t", "x"), &json!({"ttl": asked})));
        assert_eq!(answer.json()["ttl"], granted, "asked for {asked}");
    }
}

#[test]
fn names_with_every_kind_of_letter_are_found_again() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    let name = "a/b c?d&e#%\u{e9}\"\\<";
    let id = client.register(&instance(name, "x y"));
    let path = "/api/v1/services/a%2Fb%20c%3Fd%26e%23%25%C3%A9%22%5C%3C";
    let service = client.get(path);
    assert_eq!((service.ids(), &service.json()["service_name"]), (vec![id.clone()], &json!(name)));
    assert_eq!(client.get("/api/v1/services").json(), json!({"services": [name]}));
    let query = "/api/v1/instances?service_name=a/b+c?d%26e%23%25%C3%A9%22%5C%3C";
    assert_eq!(client.ids(query), [id]);
}

#[test]
fn a_full_namespace_takes_no_new_instance_and_keeps_the_others_working() {
    let daemon = Daemon::start("--namespace_capacity 2");
    let client = daemon.client();
    let first = client.register(&instance("web", "1"));
    client.register(&instance("web", "2"));
    let full = client.post(&instance("web", "3")).refused(403);
    assert_eq!(full["Error"], "Failed to register instance");
    assert!(full["reason"].as_str().is_some_and(|reason| reason.contains("2 instances")), "{full}");
    client.renew(&first).ok();
    assert_eq!(client.register(&with(instance("web", "1"), &json!({"status": "STARTING"}))), first);
    client.delete(&format!("/api/v1/instances/{first}")).ok();
    client.register(&instance("web", "3"));
    client.post(&instance("web", "1")).refused(403);
    assert!(daemon.metric(r#"a8_store_refusals_total{reason="namespace_full"}"#) >= 2.0);
}

#[test]
fn a_batch_of_ten_thousand_renewals_answers_each_id_for_itself() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    let registrations: Vec<_> = (0..200).map(|n| instance("web", &n.to_string())).collect();
    let known = client.register_many(&registrations);
    let gone = &known[..100];
    for id in gone {
        client.delete(&format!("/api/v1/instances/{id}")).ok();
    }
    let ids: Vec<String> = (0..10_000)
        .map(|n| match n % 4 {
            3 => format!("{n:016x}"),
            _ => known[n % known.len()].clone(),
        })
        .collect();
    let answer = client.put("/api/v1/heartbeats", &json!({"ids": ids}).to_string());
    let results = answer.ok().json()["results"].as_array().expect("a list").clone();
    assert_eq!(results.len(), ids.len());
    for (result, id) in results.iter().zip(&ids) {
        let is_known = known[100..].contains(id);
        let status = if is_known { 200 } else { 410 };
        assert_eq!((result["id"].as_str(), result["status"].as_u64()), (Some(&**id), Some(status)));
        assert_eq!(result["Error"].is_string(), !is_known, "{result}");
    }
    // A list alone will do.
    let bare = client.put("/api/v1/heartbeats", &json!([known[150], "nobody", ""]).to_string()).ok().json();
    let statuses: Vec<_> = (0..3).map(|n| bare["results"][n]["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(200), Some(410), Some(410)]);
}

#[test]
fn every_read_has_a_tag_that_renewals_keep_and_changes_end() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    let id = client.register(&instance("web", "10.0.0.1:80"));
    assert!(WEB_PATH.ends_with(&id), "{id}");
    // Others keep the service there when this one goes.
    client.register(&instance("web", "10.0.0.2:80"));

    let changes: [&dyn Fn(); 4] = [
        &|| drop(client.register(&instance("other", "1"))),
        &|| drop(client.register(&with(instance("web", "10.0.0.1:80"), &json!({"tags": ["new"]})))),
        &|| drop(client.put(&format!("{WEB_PATH}/status"), r#"{"status": "STARTING"}"#)),
        &|| drop(client.delete(&format!("/api/v1/instances/{}", client.register(&instance("x", "y"))))),
    ];
    for (number, change) in changes.iter().enumerate() {
        let tags: Vec<_> = READS.iter().map(|path| tag_of(&client, path)).collect();
        client.renew(&id).ok();
        client.register(&instance("web", "10.0.0.2:80"));
        for (path, tag) in READS.iter().zip(&tags) {
            let reader = client.with(&format!("If-None-Match: \"other\", {tag}"));
            for (line, reader) in [
                (format!("GET {path}"), reader.clone()),
                (format!("HEAD {path}"), reader.clone()),
                (format!("GET {path}"), reader.with("Accept-Encoding: gzip")),
            ] {
                let unchanged = reader.send(&line, "");
                assert_eq!((unchanged.status, unchanged.header("etag")), (304, &**tag), "{line}");
            }
        }
        change();
        for (path, tag) in READS.iter().zip(&tags) {
            let answer = client.with(&format!("If-None-Match: {tag}")).get(path);
            assert_eq!(answer.status, 200, "{path} after change {number}");
            assert_ne!(answer.header("etag"), tag, "{path} after change {number}");
        }
    }
}

#[track_caller]
fn tag_of(client: &Client, path: &str) -> String {
    let answer = client.get(path);
    let tag = answer.ok().header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{path}: {tag}");
    assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
    assert_eq!(client.with("Accept-Encoding: gzip").get(path).header("etag"), tag, "{path}");
    tag
}

#[test]
fn a_restarted_registry_shares_no_tag_with_the_one_before() {
    let tags = || {
        let daemon = Daemon::start("");
        let empty = tag_of(&daemon.client(), "/api/v1/instances");
        daemon.client().register(&instance("web", "10.0.0.1:80"));
        let tag = tag_of(&daemon.client(), "/api/v1/instances");
        assert_eq!(daemon.stop().status, Some(0));
        [empty, tag]
    };
    let (before, after) = (tags(), tags());
    for tag in &before {
        assert!(!after.contains(tag), "{before:?} {after:?}");
    }
}

#[test]
fn head_and_options_work_on_every_route() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    client.register(&instance("web", "10.0.0.1:80"));
    for route in Route::ALL.into_iter().filter(|route| *route != Route::Nowhere) {
        let path = ["{name}", "{app}", "{vip}", "{asg}"]
            .iter()
            .fold(route.pattern().replace("{id}", "a514120dc1beb9aa"), |path, parameter| {
                path.replace(parameter, "web")
            });
        let options = client.send(&format!("OPTIONS {path}"), "");
        assert_eq!((options.status, options.header("allow")), (204, route.allow()), "{path}");
        let mut connection = client.connect();
        let head = connection.ask(&client, &format!("HEAD {path}"), "");
        if !route.allow().contains("HEAD") {
            assert_eq!((head.status, head.header("allow")), (405, route.allow()), "{path}");
            continue;
        }
        // On the same connection, which shows that no byte of a body was sent.
        let get = connection.ask(&client, &format!("GET {path}"), "");
        // Alone, it has no members to tell of.
        let status = if route == Route::Cluster { 404 } else { 200 };
        assert_eq!((head.status, get.status), (status, status), "{path}");
        for name in ["content-type", "etag", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert!(!head.header("request_id").is_empty());
        assert_ne!(head.header("request_id"), get.header("request_id"));
    }
}

#[test]
fn a_long_compressed_list_is_one_member_and_equals_the_plain_one() {
    let daemon = Daemon::start("");
    let client = daemon.client();
    let metadata = "m".repeat(900);
    let registrations: Vec<_> = (0..1500)
        .map(|n| {
            with(
                instance(&format!("s{}", n % 7), &n.to_string()),
                &json!({"metadata": metadata, "tags": [n.to_string()]}),
            )
        })
        .collect();
    let ids = client.register_many(&registrations);
    let reader = client.with("Accept-Encoding: gzip");
    for path in ["/api/v1/instances", "/api/v1/services/s3", "/api/v1/instances?tags=77"] {
        let plain = client.get(path);
        assert_eq!(plain.header("content-encoding"), "");
        for _ in 0..2 {
            let zipped = reader.get(path);
            if zipped.header("content-encoding").is_empty() {
                assert_eq!(zipped.body, plain.body, "too short to compress: {path}");
                continue;
            }
            assert!(unzipped(&zipped) == plain.body, "{path}");
            assert!(zipped.body.len() < plain.body.len() / 5, "{path}: {}", zipped.body.len());
        }
    }
    let (mut ids, list) = (ids, client.get("/api/v1/instances"));
    ids.sort();
    assert!(1_000_000 < list.body.len());
    assert_eq!(list.ids(), ids);

    // Changes show at once, also among fragments that are kept.
    client.delete(&format!("/api/v1/instances/{}", ids[700])).ok();
    let changed = client.register(&with(instance("s3", "new"), &json!({"metadata": "n"})));
    let zipped = unzipped(&reader.get("/api/v1/instances"));
    assert!(zipped == client.get("/api/v1/instances").body);
    let zipped = String::from_utf8(zipped).expect("text");
    assert!(zipped.contains(&changed) && !zipped.contains(&ids[700]));
}

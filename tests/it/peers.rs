//! Eureka servers as peers: what they are sent, what their answers do, and what is taken over at the start
//! (spec eureka section 4).
//!
//! Never: needs a server that is not started here.

mod late;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::upstream::{Asked, Reserved, Said, Upstream};
use crate::support::{Client, Daemon, Setup, eventually};

/// A write is to be seen at a peer within this.
const SOON: Duration = Duration::from_secs(2);
const BATCH: &str = "POST /eureka/v2/peerreplication/batch/";
const LIST: &str = "GET /eureka/v2/apps/";

fn no_applications() -> Value {
    json!({"applications": {"versions__delta": "1", "apps__hashcode": "", "application": []}})
}

/// An instance as a peer lists it.
fn listed(id: &str, status: &str, overridden: &str, dirty_at: u64) -> Value {
    json!({
        "instanceId": id, "hostName": format!("{id}.test"), "app": "SHOP", "ipAddr": "10.20.0.11",
        "status": status, "overriddenStatus": overridden,
        "port": {"$": 9001, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"
        },
        "leaseInfo": {
            "renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 1_750_000_000_100_u64,
            "lastRenewalTimestamp": 1_750_000_000_100_u64, "evictionTimestamp": 0, "serviceUpTimestamp": 0
        },
        "metadata": {"zone": "blue"}, "vipAddress": "shop", "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": "1750000000100", "lastDirtyTimestamp": dirty_at.to_string(),
        "actionType": "ADDED"
    })
}

fn list_of(instances: &[Value]) -> Value {
    json!({"applications": {
        "versions__delta": "1", "apps__hashcode": "",
        "application": [{"name": "SHOP", "instance": instances}]
    }})
}

/// Answers of a peer that is well; `item` is what it says of an item of a batch.
fn well(asked: &Asked, list: &Value, item: impl Fn(&Value) -> Value) -> Said {
    match asked.line.as_str() {
        BATCH => {
            let items = asked.json()["replicationList"].as_array().expect("a list").clone();
            (200, Some(json!({"responseList": items.iter().map(item).collect::<Vec<_>>()})))
        }
        LIST => (200, Some(list.clone())),
        line if line.starts_with("POST ") => (204, None),
        _ => (200, None),
    }
}

fn taken(_: &Value) -> Value {
    json!({"statusCode": 200})
}

/// A registry with this peer, and what else is to be set.
#[track_caller]
fn peered(peer: &Upstream, flags: &str) -> Daemon {
    let url = format!("http://user:pa%3Ass@{}/eureka/v2", peer.address());
    Setup::new(&format!("--min_ttl 1s {flags}")).arg(format!("--eureka_peer_url={url}")).start()
}

/// All items that a peer was sent.
fn items(peer: &Upstream) -> Vec<Value> {
    let batches = peer.asked().into_iter().filter(|asked| asked.line == BATCH);
    batches.flat_map(|asked| asked.json()["replicationList"].as_array().expect("a list").clone()).collect()
}

/// The first item with this action, soon.
#[track_caller]
fn item(peer: &Upstream, action: &str) -> Value {
    let begun = Instant::now();
    let found = eventually(&format!("the peer is sent {action}"), || {
        items(peer).into_iter().find(|item| item["action"] == action)
    });
    assert!(begun.elapsed() < SOON, "{action} took {:?}", begun.elapsed());
    found
}

fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(has_null),
        Value::Object(all) => all.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The sample of a peer.
fn sample(name: &str, peer: &Upstream, more: &str) -> String {
    format!("{name}{{peer=\"{}\"{more}}}", peer.address())
}

#[track_caller]
fn until_ready(client: &Client) {
    eventually("it is ready", || (client.get("/health/ready").status == 200).then_some(()));
}

#[test]
fn a_peer_is_sent_what_it_can_read() {
    let peer = Upstream::start(|asked| well(asked, &no_applications(), taken));
    let daemon = peered(&peer, "");
    let client = daemon.client();
    let id = client.register(&instance("web", "10.1.2.3:80"));
    let registered = item(&peer, "Register");
    client.renew(&id).ok();
    let renewed = item(&peer, "Heartbeat");
    client.put(&format!("/api/v1/instances/{id}/status"), r#"{"status": "OUT_OF_SERVICE"}"#).ok();
    let changed = item(&peer, "StatusUpdate");
    client.delete(&format!("/api/v1/instances/{id}")).ok();
    let cancelled = item(&peer, "Cancel");

    let common = ["action", "appName", "id", "lastDirtyTimestamp", "status"];
    assert_eq!(
        members(&registered),
        ["action", "appName", "id", "instanceInfo", "lastDirtyTimestamp", "status"]
    );
    assert_eq!((members(&renewed), members(&changed)), (common.to_vec(), common.to_vec()));
    assert_eq!(members(&cancelled), ["action", "appName", "id"]);
    assert_eq!(changed["status"], "OUT_OF_SERVICE");
    for item in items(&peer) {
        assert!(!has_null(&item), "{item}");
        assert_eq!((&item["appName"], &item["id"]), (&json!("web"), &json!(id)));
        assert!(item["action"] == "Cancel" || item["lastDirtyTimestamp"].is_u64(), "{item}");
    }
    let info = &registered["instanceInfo"];
    assert_eq!((&info["instanceId"], &info["hostName"]), (&json!(id), &json!("10.1.2.3")));
    assert!(info["leaseInfo"]["durationInSecs"].is_u64(), "{info}");
    daemon.until_metric(&sample("a8_peer_items_total", &peer, ",result=\"sent\""), 4.0);
    assert_eq!(daemon.metric(&sample("a8_peer_up", &peer, "")), 1.0);
}

#[test]
fn requests_say_who_sends_them() {
    let peer = Upstream::start(|asked| well(asked, &no_applications(), taken));
    let daemon = peered(&peer, "--eureka_own_url https://registry.test:8443/eureka --eureka_app registry");
    daemon.client().register(&instance("web", "x"));
    item(&peer, "Register");
    let own = eventually("the peer lists us", || {
        peer.asked().into_iter().find(|asked| asked.line == "POST /eureka/v2/apps/REGISTRY")
    });
    let document = &own.json()["instance"];
    assert_eq!((&document["hostName"], &document["app"]), (&json!("registry.test"), &json!("REGISTRY")));
    assert_eq!((&document["status"], &document["securePort"]["$"]), (&json!("UP"), &json!(8443)));
    let log = daemon.stop();
    assert_eq!(log.status, Some(0), "{}", log.stderr);
    assert!(!log.stderr.contains("pa%3Ass") && !log.stderr.contains("pa:ss"), "{}", log.stderr);
    let asked = peer.asked();
    let last = asked.last().expect("something was asked");
    assert_eq!(last.line, "DELETE /eureka/v2/apps/REGISTRY/registry.test%3Aregistry%3A8443");
    for asked in &asked {
        assert_eq!(asked.header("authorization"), "Basic dXNlcjpwYTpzcw==", "{}", asked.line);
        assert_eq!(asked.header("discoveryidentity-name"), "DefaultServer");
        assert_eq!(asked.header("discoveryidentity-version"), "1.0");
        assert_eq!(asked.header("discoveryidentity-id"), "127.0.0.1");
        assert_eq!((asked.header("accept"), asked.header("accept-encoding")), ("application/json", "gzip"));
        // What we say of ourselves we say as a client.
        let is_own = asked.line.contains("/apps/REGISTRY");
        assert_eq!(asked.header("x-netflix-discovery-replication"), if is_own { "" } else { "true" });
        if asked.line == BATCH {
            assert_eq!(asked.header("content-type"), "application/json");
        }
    }
}

#[test]
fn an_instance_that_a_peer_does_not_know_is_registered_there() {
    let peer = Upstream::start(|asked| {
        well(asked, &no_applications(), |item| match item["action"].as_str() {
            Some("Heartbeat") => json!({"statusCode": 404}),
            _ => json!({"statusCode": 200}),
        })
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    let id = client.register(&instance("web", "x"));
    item(&peer, "Register");
    client.renew(&id).ok();
    item(&peer, "Heartbeat");
    eventually("it is registered again", || {
        let items = items(&peer);
        let registered = items.iter().filter(|item| item["action"] == "Register" && item["id"] == *id);
        (2 == registered.count()).then_some(())
    });
}

#[test]
fn a_newer_copy_of_a_peer_replaces_ours() {
    let peer = Upstream::start(|asked| {
        let list = list_of(&[listed("a", "UP", "UNKNOWN", 1_750_000_000_042)]);
        well(asked, &list, |item| match item["action"].as_str() {
            Some("Heartbeat") => {
                let newer = listed("a", "OUT_OF_SERVICE", "OUT_OF_SERVICE", 1_750_000_000_043);
                json!({"statusCode": 409, "responseEntity": newer})
            }
            _ => json!({"statusCode": 200}),
        })
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    until_ready(&client);
    let path = "/api/v1/instances/SHOP:a";
    assert_eq!(client.get(path).ok().json()["status"], "UP");
    client.renew("SHOP:a").ok();
    eventually("it is replaced", || (client.get(path).json()["status"] == "OUT_OF_SERVICE").then_some(()));
    // A renewal does not bring the old one back, and tells the override.
    client.renew("SHOP:a").ok();
    eventually("the override is told", || {
        let has_it = |item: &Value| item["overriddenStatus"] == "OUT_OF_SERVICE";
        items(&peer).iter().any(has_it).then_some(())
    });
    assert!(items(&peer).iter().all(|item| item["action"] == "Heartbeat"), "{:?}", items(&peer));
}

#[test]
fn a_peer_that_is_busy_gets_it_again() {
    let batches = AtomicUsize::new(0);
    let peer = Upstream::start(move |asked| {
        let is_first = asked.line == BATCH && batches.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { (503, None) } else { well(asked, &no_applications(), taken) }
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    let ids = ["x", "y"].map(|value| client.register(&instance("web", value)));
    eventually("all is sent again", || {
        let batches: Vec<_> = peer.asked().into_iter().filter(|asked| asked.line == BATCH).collect();
        let [first, rest @ ..] = &batches[..] else { return None };
        let ids_of = |asked: &Asked| {
            let items = asked.json()["replicationList"].as_array().expect("a list").clone();
            items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        let again: Vec<_> = rest.iter().flat_map(ids_of).collect();
        let first = ids_of(first);
        (again.len() == ids.len() && first.iter().chain(&ids).all(|id| again.contains(id))).then_some(())
    });
    daemon.until_metric(&sample("a8_peer_items_total", &peer, ",result=\"sent\""), 2.0);
    assert_eq!(daemon.metric(&sample("a8_peer_batches_total", &peer, ",result=\"busy\"")), 1.0);
    daemon.logged("is back");
}

#[test]
fn credentials_that_a_peer_refuses_are_told_once() {
    let peer = Upstream::start(|_| (401, None));
    let daemon = peered(&peer, "");
    let client = daemon.client();
    for value in ["x", "y"] {
        client.register(&instance("web", value));
        let begun = items(&peer).len();
        eventually("it is tried", || (begun < items(&peer).len()).then_some(()));
    }
    daemon.until_metric(&sample("a8_peer_items_total", &peer, ",result=\"dropped\""), 2.0);
    let log = daemon.stop().stderr;
    assert_eq!(log.matches("nothing reaches it until").count(), 1, "{log}");
}

#[test]
fn a_peer_that_is_not_there_costs_nothing_and_gets_the_newest_when_it_comes() {
    let reserved = Reserved::new();
    let url = format!("http://{}/eureka/v2/", reserved.address());
    let name = reserved.address();
    let daemon = Daemon::start(&format!("--eureka_peer_url {url}"));
    let client = daemon.client();
    let begun = Instant::now();
    let ids: Vec<_> = (0..20).map(|at| client.register(&instance("web", &format!("h{at}")))).collect();
    for _ in 0..5 {
        client.renew(&ids[0]).ok();
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    daemon.logged("is lost");
    // One registration for each, and one renewal.
    daemon.until_metric(&format!("a8_peer_queue_items{{peer=\"{name}\"}}"), 21.0);
    assert_eq!(daemon.metric(&format!("a8_peer_up{{peer=\"{name}\"}}")), 0.0);
    until_ready(&client);
    let components = client.get("/health/ready").json();
    assert_eq!(components["components"]["PEERS"]["properties"][name.to_string()]["up"], false);

    let peer = reserved.serve(|asked| well(asked, &no_applications(), taken));
    eventually("all is sent", || {
        let items = items(&peer);
        let sent = |id: &String| items.iter().any(|item| item["action"] == "Register" && item["id"] == **id);
        ids.iter().all(sent).then_some(())
    });
    daemon.logged("is back");
    let log = daemon.stop().stderr;
    assert_eq!(log.matches(" is lost").count(), 1, "{log}");
}

#[test]
fn the_list_of_a_peer_is_taken_over_at_the_start() {
    let broken = json!({"instanceId": "no-host", "app": "SHOP", "status": "UP"});
    let list = list_of(&[
        listed("up", "UP", "UNKNOWN", 1),
        listed("down", "DOWN", "UNKNOWN", 2),
        listed("starting", "STARTING", "UNKNOWN", 3),
        listed("out", "OUT_OF_SERVICE", "OUT_OF_SERVICE", 4),
        listed("unknown", "UNKNOWN", "UNKNOWN", 5),
        broken,
    ]);
    let lists = AtomicUsize::new(0);
    let peer = Upstream::start(move |asked| {
        // Warming up, at first.
        let is_early = asked.line == LIST && lists.fetch_add(1, Ordering::Relaxed) < 2;
        if is_early { (403, None) } else { well(asked, &list, taken) }
    });
    let daemon = peered(&peer, "--eureka_empty_wait 1h");
    let client = daemon.client();
    until_ready(&client);
    assert_eq!(client.get("/eureka/v2/apps").status, 200, "there is something to show");
    for (id, status) in [
        ("up", "UP"),
        ("down", "DOWN"),
        ("starting", "STARTING"),
        ("out", "OUT_OF_SERVICE"),
        ("unknown", "UNKNOWN"),
    ] {
        let found = client.get(&format!("/api/v1/instances/SHOP:{id}")).ok().json();
        assert_eq!((&found["status"], &found["ttl"]), (&json!(status), &json!(90)), "{id}");
    }
    assert_eq!(daemon.metric(&sample("a8_peer_instances_total", &peer, ",result=\"registered\"")), 5.0);
    assert_eq!(daemon.metric(&sample("a8_peer_instances_total", &peer, ",result=\"invalid\"")), 1.0);
    client.renew("SHOP:out").ok();
    assert_eq!(item(&peer, "Heartbeat")["overriddenStatus"], "OUT_OF_SERVICE");
    // What came from a peer is told to none.
    assert!(items(&peer).iter().all(|item| item["action"] == "Heartbeat"), "{:?}", items(&peer));
}

#[test]
fn only_the_shared_namespace_is_told() {
    let peer = Upstream::start(|asked| well(asked, &no_applications(), taken));
    let daemon = peered(&peer, "--auth_mode trusted --eureka_namespace shared");
    daemon.client().bearer("hidden").register(&instance("web", "x"));
    let id = daemon.client().bearer("shared").register(&instance("web", "y"));
    item(&peer, "Register");
    assert!(items(&peer).iter().all(|item| item["id"] == *id), "{:?}", items(&peer));
}

#[test]
fn this_server_itself_is_no_peer() {
    let daemon = Daemon::start(
        "--eureka_own_url http://registry.test/eureka --eureka_peer_url http://REGISTRY.test:80/eureka/",
    );
    until_ready(&daemon.client());
    daemon.logged("is this server itself");
    assert_eq!(daemon.client().metric("a8_peer_up"), None);
}

#[test]
fn two_registries_agree_without_loops() {
    let (one, other) = (Reserved::new(), Reserved::new());
    let start = |own: &Reserved, peer: &Reserved| {
        let port = own.address().port();
        Daemon::start(&format!(
            "--min_ttl 1s --api_port {port} --eureka_peer_url http://{}/eureka/",
            peer.address()
        ))
    };
    let daemons = [start(&one, &other), start(&other, &one)];
    let [a, b] = [daemons[0].client(), daemons[1].client()];
    let ids = |client: &Client| {
        let list = client.get("/api/v1/services/web?status=ALL");
        let instances = list.json()["instances"].as_array().cloned().unwrap_or_default();
        let mut seen: Vec<_> = instances
            .iter()
            .map(|instance| (instance["endpoint"]["value"].clone(), instance["status"].clone()))
            .map(|(value, status)| format!("{value} {status}"))
            .collect();
        seen.sort();
        seen
    };
    let sent = |daemon: &Daemon, peer: &Reserved| {
        daemon
            .client()
            .metric(&format!("a8_peer_items_total{{peer=\"{}\",result=\"sent\"}}", peer.address()))
            .unwrap_or_default()
    };
    let ida = a.register(&instance("web", "10.0.0.1:80"));
    b.register(&instance("web", "10.0.0.2:80"));
    let begun = Instant::now();
    eventually("both have both", || (ids(&a).len() == 2 && ids(&a) == ids(&b)).then_some(()));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // A client that comes to the other one has one instance still.
    assert_eq!(b.register(&instance("web", "10.0.0.1:80")), ida);
    eventually("nobody has it twice", || (ids(&a).len() == 2 && ids(&a) == ids(&b)).then_some(()));
    // What is still under way when the instance ends elsewhere would be a registration after its end.
    eventually("both registrations there are told of", || (2.0 <= sent(&daemons[1], &one)).then_some(()));
    a.put(&format!("/api/v1/instances/{ida}/status"), r#"{"status": "OUT_OF_SERVICE"}"#).ok();
    eventually("both know that it is out", || {
        let seen = ids(&b);
        (ids(&a) == seen && seen.iter().any(|it| it.contains("OUT_OF_SERVICE"))).then_some(())
    });
    a.delete(&format!("/api/v1/instances/{ida}")).ok();
    eventually("both have the other alone", || (ids(&a).len() == 1 && ids(&b).len() == 1).then_some(()));

    // Nothing was written meanwhile, so nothing is sent but what each says of itself.
    let settled = || (sent(&daemons[0], &other), sent(&daemons[1], &one));
    let mut last = settled();
    let mut since = Instant::now();
    eventually("no item goes from one to the other any more", || {
        let now = settled();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (Duration::from_secs(1) < since.elapsed()).then_some(())
    });
    // A registration and the instance that each is itself, a change and an end: far from a loop.
    assert!(last.0 + last.1 <= 12.0, "{last:?}");
}

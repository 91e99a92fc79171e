//! Several registries over one Redis: each shows what any of them was told, and they agree on who comes first.
//!
//! Never: what happens when Redis fails; that is other chapters'.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::instance;
use crate::support::{Client, Daemon, Redis, eventually};

/// Registries over one Redis.
struct Nodes {
    redis: Redis,
    daemons: Vec<Daemon>,
}

fn nodes(count: usize, flags: &str) -> Option<Nodes> {
    let redis = Redis::start("")?;
    let flags = format!("--store redis --store_address {} {flags}", redis.address());
    let daemons = (0..count).map(|_| Daemon::start(&flags)).collect();
    Some(Nodes { redis, daemons })
}

impl Nodes {
    fn client(&self, nth: usize) -> Client {
        self.daemons[nth].client()
    }

    /// Waits until all nodes show these ids.
    #[track_caller]
    fn agree_on(&self, path: &str, ids: &[&str]) {
        let want: BTreeSet<_> = ids.iter().map(|id| (*id).to_owned()).collect();
        for daemon in &self.daemons {
            eventually(&format!("{path} shows {want:?}"), || {
                let shown: BTreeSet<_> = daemon.client().ids(path).into_iter().collect();
                (shown == want).then_some(())
            });
        }
    }
}

#[test]
fn a_write_to_one_is_read_from_all() {
    let Some(nodes) = nodes(2, "") else { return };
    let (a, b) = (nodes.client(0), nodes.client(1));
    let id = a.register(&instance("web", "10.0.0.1:80"));
    nodes.agree_on("/api/v1/instances", &[&id]);
    let path = format!("/api/v1/instances/{id}");
    let without_times = |client: &Client| {
        let mut shown = client.get(&path).ok().json();
        shown["last_heartbeat"] = json!(null);
        shown["links"] = json!(null);
        shown
    };
    assert_eq!(without_times(&a), without_times(&b));
    let tag = |client: &Client| client.get("/api/v1/instances").ok().header("etag").to_owned();
    assert_eq!(tag(&a), tag(&b));

    assert_eq!(b.put(&format!("{path}/status"), r#"{"status":"OUT_OF_SERVICE"}"#).status, 200);
    assert_eq!(b.get(&path).json()["status"], "OUT_OF_SERVICE", "its own write is read at once");
    eventually("the other node shows the status", || {
        (a.get(&path).json()["status"] == "OUT_OF_SERVICE").then_some(())
    });
    assert_eq!(a.renew(&id).status, 200);
    assert_eq!(a.delete(&path).status, 200);
    assert_eq!(a.get(&path).status, 404);
    eventually("the other node shows that it is gone", || (b.get(&path).status == 404).then_some(()));
    assert_eq!((b.renew(&id).status, a.delete(&path).status), (410, 410));
    assert_eq!(tag(&a), tag(&b));
}

#[test]
fn the_same_instance_registered_everywhere_at_once_is_one() {
    let Some(nodes) = nodes(2, "") else { return };
    thread::scope(|scope| {
        for nth in 0..4 {
            let client = nodes.client(nth % 2);
            scope.spawn(move || {
                for tag in 0..20 {
                    let mut asked = instance("web", "10.0.0.1:80");
                    asked["tags"] = json!([format!("{nth}-{tag}")]);
                    assert_eq!(client.post(&asked).status, 201);
                }
            });
        }
    });
    eventually("both show the same", || {
        let shown =
            |nth| nodes.client(nth).get("/api/v1/services/web").ok().json()["instances"][0]["tags"].clone();
        (shown(0) == shown(1)).then_some(())
    });
    assert_eq!(nodes.client(0).ids("/api/v1/services/web").len(), 1);
}

#[test]
fn many_renewals_are_put_together_and_each_gets_its_own_answer() {
    let Some(nodes) = nodes(2, "") else { return };
    let ids =
        nodes.client(0).register_many(&(0..50).map(|n| instance("web", &format!("{n}"))).collect::<Vec<_>>());
    let last = ids.last().expect("fifty").clone();
    nodes.agree_on("/api/v1/instances", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let b = nodes.client(1);
    assert_eq!(b.delete(&format!("/api/v1/instances/{last}")).status, 200);
    thread::scope(|scope| {
        for id in &ids {
            let (b, last) = (b.clone(), &last);
            scope.spawn(move || {
                for _ in 0..10 {
                    assert_eq!(b.renew(id).status, if id == last { 410 } else { 200 });
                }
            });
        }
    });
    let (renewals, calls) = (
        nodes.daemons[1].metric("a8_redis_renewals_total"),
        nodes.daemons[1].metric("a8_redis_renewal_calls_total"),
    );
    eprintln!("{renewals} renewals in {calls} calls");
    assert!(490.0 <= renewals && calls < renewals, "{renewals} renewals in {calls} calls");
    let body = json!({"ids": [ids[0], "nobody", ids[1]]}).to_string();
    let answer = b.put("/api/v1/heartbeats", &body).ok().json();
    assert_eq!(answer.to_string().matches("410").count(), 1, "{answer}");
}

#[test]
fn the_time_of_a_renewal_is_shown_elsewhere_a_little_later() {
    let Some(nodes) = nodes(2, "") else { return };
    let (a, b) = (nodes.client(0), nodes.client(1));
    let id = a.register(&instance("web", "x"));
    nodes.agree_on("/api/v1/instances", &[&id]);
    let shown = || b.get(&format!("/api/v1/instances/{id}")).ok().json()["last_heartbeat"].clone();
    let before = shown();
    thread::sleep(Duration::from_millis(50));
    let begun = Instant::now();
    assert_eq!(a.renew(&id).status, 200);
    eventually("the other node shows the renewal", || (shown() != before).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn names_of_namespaces_are_opaque() {
    let Some(nodes) = nodes(2, "--auth_mode trusted") else { return };
    let names = ["a", "a*", "a?", "[ab]", "a:inst:b", "{a8:00}", "%00"];
    let of = |nth: usize, name: &str| nodes.client(nth).bearer(name);
    let ids: Vec<_> = names.iter().map(|name| of(0, name).register(&instance("web", name))).collect();
    for (name, id) in names.iter().zip(&ids) {
        eventually(&format!("{name} has its own"), || {
            (of(1, name).ids("/api/v1/instances") == [id.clone()]).then_some(())
        });
    }
    let keys: Vec<String> = redis::from_redis_value(nodes.redis.ask("KEYS *")).expect("keys");
    assert!(keys.iter().all(|key| key.starts_with("{a8:")), "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains('*') && !key.contains("inst")), "{keys:?}");
}

#[test]
fn eureka_clients_see_one_registry() {
    let Some(nodes) = nodes(2, "") else { return };
    let (a, b) = (nodes.client(0), nodes.client(1));
    let body = json!({"instance": {
        "instanceId": "pay-1", "hostName": "pay.example", "app": "PAY", "ipAddr": "10.0.0.1", "vipAddress": "pay",
        "status": "UP", "port": {"$": 8080, "@enabled": "true"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"durationInSecs": 90, "renewalIntervalInSecs": 30},
        "metadata": {"zone": "z1"},
    }});
    let json = |client: &Client| client.with("Accept: application/json");
    assert_eq!(json(&a).send("POST /eureka/apps/PAY", &body.to_string()).status, 204);
    let at = "/eureka/apps/PAY/pay-1";
    eventually("the other node knows it", || (json(&b).get(at).status == 200).then_some(()));
    assert_eq!(json(&b).get(at).json()["instance"]["metadata"]["zone"], "z1");
    assert_eq!(json(&b).put(at, "").status, 200);
    assert_eq!(json(&b).put("/eureka/apps/PAY/nobody", "").status, 404);
    // An override at one holds at the other, also when the client registers there again.
    assert_eq!(json(&b).put(&format!("{at}/status?value=OUT_OF_SERVICE"), "").status, 200);
    let status = |client: &Client| json(client).get(at).json()["instance"]["status"].clone();
    eventually("the override is seen", || (status(&a) == "OUT_OF_SERVICE").then_some(()));
    assert_eq!(json(&a).send("POST /eureka/apps/PAY", &body.to_string()).status, 204);
    assert_eq!(status(&a), "OUT_OF_SERVICE");
    let delta = |client: &Client| {
        let delta = json(client).get("/eureka/apps/delta").ok().json();
        // The number of versions also says how far back a node's log goes, which is its own affair.
        delta["applications"]["apps__hashcode"].clone()
    };
    eventually("both give the same delta", || (delta(&a) == delta(&b)).then_some(()));
    assert_eq!(json(&a).delete(&format!("{at}/status?value=UP")).status, 200);
    eventually("the override is gone", || (status(&b) == "UP").then_some(()));
    assert_eq!(json(&a).delete(at).status, 200);
    eventually("it is gone", || (json(&b).get(at).status == 404).then_some(()));
}

#[test]
fn a_node_that_comes_later_reads_everything() {
    let Some(mut nodes) = nodes(1, "--default_ttl 5m") else { return };
    let a = nodes.client(0);
    let asked: Vec<_> = (0..2500).map(|nth| instance(&format!("s{}", nth % 7), &format!("v{nth}"))).collect();
    let mut ids = a.register_many(&asked);
    nodes.daemons.push(Daemon::start(&format!("--store redis --store_address {}", nodes.redis.address())));
    let mut shown = nodes.client(1).ids("/api/v1/instances");
    ids.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, ids);
    let tag = |nth| nodes.client(nth).get("/api/v1/instances").ok().header("etag").to_owned();
    assert_eq!(tag(0), tag(1));
}

#[test]
fn a_namespace_that_is_empty_is_forgotten() {
    let Some(nodes) = nodes(2, "--change_log_age 1s") else { return };
    let (a, b) = (nodes.client(0), nodes.client(1));
    let id = a.register(&instance("web", "x"));
    nodes.agree_on("/api/v1/instances", &[&id]);
    assert_eq!(a.delete(&format!("/api/v1/instances/{id}")).status, 200);
    nodes.daemons[0].until_metric("a8_namespaces", 0.0);
    nodes.daemons[1].until_metric("a8_namespaces", 0.0);
    let id = b.register(&instance("web", "y"));
    nodes.agree_on("/api/v1/instances", &[&id]);
}

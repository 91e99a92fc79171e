//! The catalog of Eureka servers, against a small server that lists and tells changes as a real one does, and against
//! servers that lie (spec amalgam8 section 8, eureka sections 1.3, 1.4 and 3.8).
//!
//! Never: needs a server that is not started here, but for what is named `real`.

mod real;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::catalogs::{
    Behind, Length, System, health, keep_the_contract, said_of_a_call, survive_all_faults, until_shown,
};
use crate::support::client::instance;
use crate::support::tls::Pki;
use crate::support::upstream::{Asked, Reserved, Upstream, say};
use crate::support::{Client, Daemon, Far, Fault, Setup, eventually};

/// A server of instances in the test's hand.
struct Server {
    upstream: Upstream,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    /// By application and address.
    has: BTreeMap<(String, String), Value>,
    /// What changed since the beginning, each in its latest state.
    changed: BTreeMap<(String, String), Value>,
    changes: usize,
    /// In the place of the true one.
    hash: Option<String>,
    /// In the place of every answer.
    lie: Option<Lie>,
}

/// Writes something else than a list.
type Lie = fn(&mut TcpStream) -> io::Result<()>;

const FULL: &str = "GET /eureka/apps";
const DELTA: &str = "GET /eureka/apps/delta";

/// An instance as a server lists it.
fn listed(app: &str, address: &str) -> Value {
    let (host, port) = address.split_once(':').expect("host and port");
    json!({
        "instanceId": format!("{app}-{address}"), "hostName": host, "app": app, "ipAddr": host, "status": "UP",
        "overriddenStatus": "UNKNOWN", "port": {"$": port.parse::<u16>().expect("a port"), "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"}, "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"
        },
        "leaseInfo": {
            "renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 1_750_000_000_100_u64,
            "lastRenewalTimestamp": 1_750_000_120_100_u64, "evictionTimestamp": 0, "serviceUpTimestamp": 0
        },
        "metadata": {"@class": "java.util.Collections$EmptyMap"}, "vipAddress": app,
        "isCoordinatingDiscoveryServer": "false", "lastUpdatedTimestamp": "1750000000100",
        "lastDirtyTimestamp": "1750000000042", "actionType": "ADDED"
    })
}

// === impl World ===

impl World {
    fn put(&mut self, key: (String, String), instance: Value, action: &str) {
        let mut told = instance.clone();
        told["actionType"] = action.into();
        self.has.insert(key.clone(), instance);
        self.changed.insert(key, told);
        self.changes += 1;
    }

    fn remove(&mut self, key: &(String, String)) {
        if let Some(mut gone) = self.has.remove(key) {
            gone["actionType"] = "DELETED".into();
            self.changed.insert(key.clone(), gone);
            self.changes += 1;
        }
    }

    fn hash(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        for instance in self.has.values() {
            *counts.entry(instance["status"].as_str().expect("a status")).or_default() += 1;
        }
        counts.into_iter().map(|(status, count)| format!("{status}_{count}_")).collect()
    }

    fn list(&self, version: &str, instances: &BTreeMap<(String, String), Value>) -> Value {
        let mut applications = BTreeMap::<&str, Vec<&Value>>::new();
        for ((app, _), instance) in instances {
            applications.entry(app).or_default().push(instance);
        }
        let hash = self.hash.clone().unwrap_or_else(|| self.hash());
        let applications: Vec<_> = applications
            .into_iter()
            .map(|(name, instances)| json!({"name": name, "instance": instances}))
            .collect();
        json!({"applications": {
            "versions__delta": version, "apps__hashcode": hash, "application": applications
        }})
    }

    fn answer(&self, asked: &Asked, to: &mut TcpStream) -> io::Result<()> {
        if let Some(lie) = self.lie {
            return lie(to);
        }
        let list = match asked.line.as_str() {
            FULL => self.list("1", &self.has),
            DELTA => self.list(&self.changes.to_string(), &self.changed),
            _ => return say(to, 404, "", b""),
        };
        say(to, 200, "", list.to_string().as_bytes())
    }
}

// === impl Server ===

impl Server {
    fn start() -> Self {
        Self::on(Reserved::new())
    }

    fn on(port: Reserved) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let answering = world.clone();
        let upstream = port.serve_bytes(move |asked, to| {
            let world = answering.lock().unwrap_or_else(PoisonError::into_inner);
            let lie = world.lie;
            match lie {
                // It may take as long as it likes.
                Some(lie) => {
                    drop(world);
                    lie(to)
                }
                None => world.answer(asked, to),
            }
        });
        Self { upstream, world }
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn add(&self, app: &str, address: &str) {
        self.add_as(app, address, |_| ());
    }

    fn add_as(&self, app: &str, address: &str, but: impl FnOnce(&mut Value)) {
        let mut instance = listed(app, address);
        but(&mut instance);
        self.change(|world| world.put((app.into(), address.into()), instance, "ADDED"));
    }

    fn set_status(&self, app: &str, address: &str, status: &str) {
        let key = (app.to_owned(), address.to_owned());
        self.change(|world| {
            let mut instance = world.has[&key].clone();
            instance["status"] = status.into();
            world.put(key, instance, "MODIFIED");
        });
    }

    fn remove(&self, app: &str, address: &str) {
        self.change(|world| world.remove(&(app.into(), address.into())));
    }

    fn lie(&self, lie: Option<Lie>) {
        self.change(|world| world.lie = lie);
    }

    fn url(&self) -> String {
        format!("http://{}/eureka/", self.upstream.address())
    }

    /// How often this was asked.
    fn asked(&self, line: &str) -> usize {
        self.upstream.asked().iter().filter(|asked| asked.line == line).count()
    }

    /// Waits until it was asked for changes so often again.
    #[track_caller]
    fn until_looked(&self, times: usize) {
        let before = self.asked(DELTA);
        eventually("changes are asked for", || (before + times <= self.asked(DELTA)).then_some(()));
    }
}

impl System for Server {
    fn catalog(&self) -> &'static str {
        "eureka"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        flags_at(at)
    }

    fn far(&self) -> Far {
        Far::Tcp(self.upstream.address())
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let wanted: Vec<_> =
            instances.iter().map(|(app, at)| ((*app).to_owned(), (*at).to_owned())).collect();
        self.change(|world| {
            let left: Vec<_> = world.has.keys().filter(|key| !wanted.contains(key)).cloned().collect();
            for key in left {
                world.remove(&key);
            }
            for (app, address) in wanted {
                if !world.has.contains_key(&(app.clone(), address.clone())) {
                    let instance = listed(&app, &address);
                    world.put((app, address), instance, "ADDED");
                }
            }
        });
    }
}

#[track_caller]
fn following(servers: &[&str], flags: &str) -> Daemon {
    let urls = servers.iter().map(|url| format!("--eureka_url={url}"));
    urls.fold(Setup::new(&format!("--eureka_poll 50ms {flags}")), Setup::arg).start()
}

fn statuses(client: &Client) -> BTreeMap<String, String> {
    let list = client.get("/api/v1/instances?status=ALL").ok().json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let instances = list["instances"].as_array().expect("a list").iter();
    instances.map(|it| (text(&it["endpoint"]["value"]), text(&it["status"]))).collect()
}

#[track_caller]
fn until_state(client: &Client, state: &str) {
    eventually(state, || (health(client, "eureka")["state"] == state).then_some(()));
}

/// The flags that make a registry follow a server at this address.
fn flags_at(address: SocketAddr) -> Vec<String> {
    vec![format!("--eureka_url=http://{address}/eureka/"), "--eureka_poll=50ms".into()]
}

/// One of what health says of each fault.
fn said_of(fault: Fault) -> &'static [&'static str] {
    said_of_a_call(fault, &["answers what is no list of applications in JSON"])
}

#[test]
fn it_keeps_the_contract_of_catalogs() {
    keep_the_contract(&mut Behind::proxy(Server::start()));
}

#[test]
fn it_survives_all_faults() {
    survive_all_faults(&mut Server::start(), said_of, Length::Short);
}

#[test]
fn after_one_whole_list_changes_are_enough() {
    let server = Server::start();
    server.add("SHOP", "10.0.0.1:80");
    server.add("CART", "10.0.0.2:80");
    let registry = following(&[&server.url()], "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80", "10.0.0.2:80"]);
    server.set_status("SHOP", "10.0.0.1:80", "OUT_OF_SERVICE");
    eventually("the status shows", || (statuses(&client)["10.0.0.1:80"] == "OUT_OF_SERVICE").then_some(()));
    server.set_status("SHOP", "10.0.0.1:80", "DOWN");
    eventually("the status shows", || (statuses(&client)["10.0.0.1:80"] == "DOWN").then_some(()));
    server.remove("CART", "10.0.0.2:80");
    server.add("CART", "10.0.0.3:80");
    until_shown(&client, &["10.0.0.1:80", "10.0.0.3:80"]);
    assert_eq!(client.get("/api/v1/instances").ok().ids(), ["CART:CART-10.0.0.3:80"]);
    server.until_looked(3);
    assert_eq!(server.asked(FULL), 1);

    let shown = client.get("/api/v1/instances/CART:CART-10.0.0.3:80").ok().json();
    assert_eq!((&shown["service_name"], &shown["ttl"]), (&json!("CART"), &json!(90)));
    assert_eq!(shown["last_heartbeat"], "2025-06-15T15:08:40.100Z");
    let eureka = client.with("Accept: application/json").get("/eureka/v2/apps/CART/CART-10.0.0.3:80");
    let eureka = eureka.ok().json();
    let lease = &eureka["instance"]["leaseInfo"];
    assert_eq!(lease["registrationTimestamp"], 1_750_000_000_100_u64, "{eureka}");
    assert_eq!(lease["lastRenewalTimestamp"], 1_750_000_120_100_u64, "{eureka}");
    assert_eq!(eureka["instance"]["metadata"], json!({"@class": "java.util.Collections$EmptyMap"}));
}

/// What a Spring Cloud Eureka server answered, with a Netflix client and a Python client registered in it; then
/// the first was put out of service and the second left.
#[test]
fn what_a_real_server_said_is_understood() {
    let recorded = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let full = recorded(include_str!("../fixtures/catalogs/eureka-apps.json"));
    let delta = recorded(include_str!("../fixtures/catalogs/eureka-delta.json"));
    let tells = Arc::new(Mutex::new(false));
    let answering = tells.clone();
    let upstream = Upstream::start(move |asked| match asked.line.as_str() {
        FULL => (200, Some(full.clone())),
        DELTA if *answering.lock().unwrap_or_else(PoisonError::into_inner) => (200, Some(delta.clone())),
        DELTA => {
            let list = json!({"versions__delta": "1", "apps__hashcode": "UP_2_", "application": []});
            (200, Some(json!({ "applications": list })))
        }
        _ => (404, None),
    });
    let registry = following(&[&format!("http://{}/eureka", upstream.address())], "");
    let client = registry.client();
    until_shown(&client, &["a.interop:8001", "b.interop:8002"]);
    assert_eq!(statuses(&client).into_values().collect::<Vec<_>>(), ["UP", "UP"]);
    *tells.lock().unwrap_or_else(PoisonError::into_inner) = true;
    until_shown(&client, &["a.interop:8001"]);
    assert_eq!(statuses(&client)["a.interop:8001"], "OUT_OF_SERVICE");
    assert_eq!(upstream.asked().iter().filter(|asked| asked.line == FULL).count(), 1);
}

#[test]
fn changes_that_do_not_lead_to_the_servers_hash_code_are_read_anew() {
    let server = Server::start();
    server.add("SHOP", "10.0.0.1:80");
    let registry = following(&[&server.url()], "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    server.until_looked(2);
    assert_eq!(server.asked(FULL), 1);
    // A change that the server does not tell.
    server.change(|world| {
        world.has.insert(("SHOP".into(), "10.0.0.2:80".into()), listed("SHOP", "10.0.0.2:80"));
    });
    until_shown(&client, &["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(2 <= server.asked(FULL));
    // One whose hash code is never right is read anew each time, and shown.
    server.change(|world| world.hash = Some("UP_7_".into()));
    server.add("SHOP", "10.0.0.3:80");
    until_shown(&client, &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    let before = server.asked(FULL);
    eventually("it is read anew", || (before + 2 <= server.asked(FULL)).then_some(()));
    until_state(&client, "current");
}

#[test]
fn what_cannot_be_shown_is_left_out_and_does_not_get_in_the_way() {
    let server = Server::start();
    server.add("SHOP", "10.0.0.1:80");
    server.add_as("SHOP", "10.0.0.2:80", |it| {
        it["dataCenterInfo"]["name"] = "Moon".into();
        it["instanceId"] = Value::Null;
        it["status"] = "DOWN".into();
    });
    server.add_as("SHOP", "10.0.0.3:80", |it| it["port"]["$"] = 70_000.into());
    server.add_as("SHOP", "10.0.0.4:80", |it| it["metadata"] = json!({"a": "x".repeat(20_000)}));
    server.add_as(&"S".repeat(65), "10.0.0.5:80", |_| ());
    server.add_as("SHOP", "10.0.0.6:80", |it| it["metadata"] = Value::Null);
    let registry = following(&[&server.url()], "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80", "10.0.0.6:80"]);
    registry.until_metric("a8_catalog_skipped_total{catalog=\"eureka\"}", 4.0);
    // Those that are left out count in the hash code, so changes are enough.
    server.add("SHOP", "10.0.0.7:80");
    until_shown(&client, &["10.0.0.1:80", "10.0.0.6:80", "10.0.0.7:80"]);
    assert_eq!(server.asked(FULL), 1);
    // One that becomes such goes, and comes back when it is well.
    server.add_as("SHOP", "10.0.0.1:80", |it| it["port"]["$"] = (-1).into());
    until_shown(&client, &["10.0.0.6:80", "10.0.0.7:80"]);
    server.add("SHOP", "10.0.0.1:80");
    until_shown(&client, &["10.0.0.1:80", "10.0.0.6:80", "10.0.0.7:80"]);
    assert_eq!(server.asked(FULL), 1);
    // One that nobody can read is left out, too.
    server.add_as("SHOP", "10.0.0.8:80", |it| it["port"] = 80.into());
    server.add("SHOP", "10.0.0.9:80");
    until_shown(&client, &["10.0.0.1:80", "10.0.0.6:80", "10.0.0.7:80", "10.0.0.9:80"]);
}

#[test]
fn a_list_of_one_may_be_its_element_and_a_version_a_number() {
    let upstream = Upstream::start(|asked| match asked.line.as_str() {
        FULL => {
            let application = json!({"name": "SHOP", "instance": listed("SHOP", "10.0.0.1:80")});
            let list = json!({"versions__delta": 1, "apps__hashcode": "UP_1_", "application": application});
            (200, Some(json!({ "applications": list })))
        }
        _ => {
            let mut instance = listed("SHOP", "10.0.0.2:80");
            instance["status"] = "STARTING".into();
            let application = json!({"name": "SHOP", "instance": instance});
            let list = json!({"versions__delta": 2, "apps__hashcode": "STARTING_1_UP_1_", "application": application});
            (200, Some(json!({ "applications": list })))
        }
    });
    let registry = following(&[&format!("http://{}/eureka", upstream.address())], "");
    until_shown(&registry.client(), &["10.0.0.1:80", "10.0.0.2:80"]);
    let full = upstream.asked().iter().filter(|asked| asked.line == FULL).count();
    assert_eq!(full, 1);
}

#[test]
fn the_next_server_is_asked_when_one_fails() {
    let (reserved, second) = (Reserved::new(), Server::start());
    let first_url = format!("http://us%40er:sec%2Fret@{}/eureka//", reserved.address());
    second.add("SHOP", "10.0.0.2:80");
    let registry = following(&[&first_url, &second.url()], "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.2:80"]);
    until_state(&client, "current");
    registry.logged("catalog eureka is read from");
    // Back again when the second one fails.
    let first = Server::on(reserved);
    first.add("SHOP", "10.0.0.1:80");
    second.lie(Some(|to| say(to, 403, "", b"")));
    until_shown(&client, &["10.0.0.1:80"]);
    let asked = first.upstream.asked();
    assert_eq!(asked[0].header("authorization"), "Basic dXNAZXI6c2VjL3JldA==");
    assert_eq!((asked[0].line.as_str(), asked[0].header("accept")), (FULL, "application/json"));
    assert!(second.upstream.asked().iter().all(|asked| asked.header("authorization").is_empty()));
    // And when none answers, what there was stays.
    first.lie(Some(|to| say(to, 500, "", b"")));
    until_state(&client, "failing");
    until_shown(&client, &["10.0.0.1:80"]);
    let log = registry.log();
    assert!(!log.contains("sec/ret") && !log.contains("sec%2Fret") && !log.contains("dXNAZXI"), "{log}");
}

/// Writes so many bytes again and again, until the other side has enough.
fn endless(to: &mut TcpStream, head: &str, again: &str) -> io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
    to.write_all(head.as_bytes())?;
    let block = again.repeat(64 * 1024 / again.len() + 1);
    loop {
        to.write_all(block.as_bytes())?;
    }
}

const LIES: &[(&str, Lie)] = &[
    ("another status", |to| say(to, 202, "", br#"{"applications":{"application":[]}}"#)),
    ("a redirection", |to| say(to, 302, "Location: /eureka/apps\r\n", b"")),
    ("a page", |to| say(to, 200, "", b"<html>It works!</html>")),
    ("another document", |to| say(to, 200, "", b"{}")),
    ("no list", |to| say(to, 200, "", br#"{"applications":[]}"#)),
    ("half a list", |to| say(to, 200, "", br#"{"applications":{"application":[{"name":"X","instance":["#)),
    ("silence in the middle", |to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"applications\":{")?;
        io::copy(to, &mut io::sink()).and(Err(io::ErrorKind::Other.into()))
    }),
    ("no HTTP", |to| to.write_all(b"\0\0\0\0\0\0\0\0\r\n\r\n\r\n").and(Err(io::ErrorKind::Other.into()))),
    ("depth", |to| {
        let deep = format!(r#"{{"applications":{{"application":{}"#, "[".repeat(1_000_000));
        say(to, 200, "", deep.as_bytes())
    }),
    ("blanks without end", |to| endless(to, r#"{"applications":{"application":["#, " ")),
    ("depth without end", |to| endless(to, r#"{"applications":{"application":["#, "[")),
    ("members without end", |to| endless(to, r#"{"applications":{"#, r#""a":[],"#)),
    ("a text without end", |to| endless(to, r#"{"applications":{"application":[{"name":""#, "x")),
    ("instances without end", |to| endless(to, r#"{"applications":{"application":[{"instance":["#, "{},")),
    ("no gzip", |to| say(to, 200, "Content-Encoding: gzip\r\n", br#"{"applications":{}}"#)),
];

#[test]
fn whoever_lies_costs_little_and_takes_nothing_away() {
    let server = Server::start();
    server.add("SHOP", "10.0.0.1:80");
    let registry = following(&[&server.url()], "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    let before = registry.resident();
    let failures = "a8_catalog_failures_total{catalog=\"eureka\"}";
    for (what, lie) in LIES {
        let before = registry.metric(failures);
        server.lie(Some(*lie));
        eventually(what, || (before < registry.metric(failures)).then_some(()));
        until_shown(&client, &["10.0.0.1:80"]);
        server.lie(None);
        until_state(&client, "current");
    }
    let more = registry.resident().saturating_sub(before) >> 20;
    assert!(more < 100, "it takes {more} MiB more");
}

#[test]
fn a_hundred_thousand_instances_cost_what_may_be_shown_of_them() {
    let server = Server::start();
    server.add("SHOP", "10.0.0.1:80");
    let registry = following(&[&server.url()], "--catalog_max_instances 10");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    let before = registry.resident();
    server.lie(Some(|to| {
        let one = |nth: u32| {
            format!(r#"{{"instanceId":"i{nth}","hostName":"h{nth}","app":"X","ipAddr":"i","status":"UP"}}"#)
        };
        let all = (0..100_000).map(one).collect::<Vec<_>>().join(",");
        let list = format!(
            r#"{{"applications":{{"versions__delta":"1","application":[{{"name":"X","instance":[{all}]}}]}}}}"#
        );
        say(to, 200, "", list.as_bytes())
    }));
    eventually("it is cut off", || (health(&client, "eureka")["instances"] == 10).then_some(()));
    assert!(64 <= health(&client, "eureka")["left_out"].as_u64().expect("a number"));
    let more = registry.resident().saturating_sub(before) >> 20;
    assert!(more < 200, "it takes {more} MiB more");
}

#[test]
fn a_server_that_says_nothing_holds_up_neither_start_nor_end() {
    let silent = Reserved::new().serve_bytes(|_, to| {
        // Until the other side has enough.
        io::copy(to, &mut io::sink()).map(drop)
    });
    let begun = Instant::now();
    let registry = following(&[&format!("http://{}/", silent.address())], "");
    registry.client().get("/api/v1/services").ok();
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
    let ended = registry.stop();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn another_registry_is_followed_by_tls() {
    let pki = Pki::new();
    let followed = Setup::new(&pki.flags()).start();
    let port = followed.address().port();
    let there = Client::new(followed.address()).by_tls(pki.client(None, &[]));
    there.register(&instance("web", "10.1.2.3:80"));
    let url = format!("https://localhost:{port}/eureka/v2");

    let strict = following(&[&url], "");
    eventually("its certificate is refused", || {
        health(&strict.client(), "eureka")["last_error"].is_string().then_some(())
    });
    assert_eq!(strict.client().get("/api/v1/instances").ok().ids(), Vec::<String>::new());
    drop(strict);

    let authorities = pki.path("ca.pem").display().to_string();
    let trusting = Setup::new("--eureka_poll 50ms").arg(format!("--eureka_url={url}"));
    let trusting = trusting.env("SSL_CERT_FILE", &authorities).start();
    let careless = following(&[&url], "--eureka_insecure");
    let hosts = |client: &Client| {
        let list = client.get("/api/v1/instances").ok().json();
        list["instances"].as_array().expect("a list").len()
    };
    for registry in [&trusting, &careless] {
        eventually("it is followed", || (hosts(&registry.client()) == 1).then_some(()));
    }
    there.register(&instance("web", "10.1.2.4:80"));
    for registry in [&trusting, &careless] {
        eventually("its changes are followed", || (hosts(&registry.client()) == 2).then_some(()));
    }
}

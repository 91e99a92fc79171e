//! The catalog of Consul, against a small agent that answers blocking queries as a real one does, and against agents that
//! lie.
//!
//! Never: needs an agent that is not started here, but for what is named `real`.

mod real;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalogs::{
    Behind, Length, System, health, keep_the_contract, said_of_a_call, survive_all_faults, until_shown,
};
use crate::support::upstream::{Asked, Reserved, Upstream, say};
use crate::support::{Client, Daemon, Far, Fault, Setup, eventually};

/// An agent in the test's hand.
struct Agent {
    /// Ended before the world is told that it is over, which nothing waits for then.
    upstream: Option<Upstream>,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    state: Mutex<State>,
    changed: Condvar,
    /// Questions that are waited for, now and at most.
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// By name: position of the last change, and entries.
    services: BTreeMap<String, (u64, Vec<Value>)>,
    names_at: u64,
    position: u64,
    /// When the names were asked for.
    names_asked: Vec<Instant>,
    lie: Option<Lie>,
    /// In the place of waiting.
    is_hasty: bool,
    is_over: bool,
    /// How often there was another agent at this address, with a past of its own.
    replaced: usize,
}

/// Writes something else than what was asked for; for all questions, or only those whose path begins so.
#[derive(Clone, Copy)]
struct Lie {
    about: &'static str,
    words: fn(&mut TcpStream) -> io::Result<()>,
}

const NAMES: &str = "/v1/catalog/services";
const HEALTH: &str = "/v1/health/service/";

/// An instance as an agent lists it.
fn entry(service: &str, address: &str) -> Value {
    let (host, port) = address.split_once(':').expect("host and port");
    json!({
        "Node": {"ID": "c3207614", "Node": "n1", "Address": "10.255.0.1", "Datacenter": "dc1", "Meta": {}},
        "Service": {
            "ID": format!("{service}-{address}"), "Service": service, "Tags": ["v1"], "Address": host,
            "Meta": {"zone": "blue"}, "Port": port.parse::<u16>().expect("a port"),
            "Weights": {"Passing": 1, "Warning": 1}, "Proxy": {"Mode": ""}, "Connect": {}
        },
        "Checks": [
            {"Node": "n1", "CheckID": "serfHealth", "Status": "passing", "ServiceID": ""},
            {"Node": "n1", "CheckID": "alive", "Status": "passing", "ServiceID": format!("{service}-{address}")}
        ]
    })
}

// === impl World ===

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn answer(&self, asked: &Asked, to: &mut TcpStream) -> io::Result<()> {
        let target = asked.line.strip_prefix("GET ").expect("it only reads");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key));
        let index: u64 = value("index=").map_or(0, |text| text.parse().expect("a position"));
        let wait = value("wait=").map_or(0, |text| text.trim_end_matches("ms").parse().expect("a time"));
        let mut state = self.lock();
        if path == NAMES {
            state.names_asked.push(Instant::now());
        }
        self.most_waiting.fetch_max(self.waiting.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_millis(wait);
        let (replaced, mut last) = (state.replaced, None);
        let answer = loop {
            if let Some(last) = last.take_if(|_| replaced != state.replaced) {
                // Who ends has no time to wait.
                break last;
            }
            if let Some(lie) = state.lie.filter(|lie| path.starts_with(lie.about)) {
                drop(state);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return (lie.words)(to);
            }
            let (at, body) = match path.strip_prefix(HEALTH) {
                None => {
                    let named = |(name, (_, entries)): (&String, &(u64, Vec<Value>))| {
                        (!entries.is_empty()).then(|| (name.clone(), json!(["v1"])))
                    };
                    let mut names: BTreeMap<_, _> = state.services.iter().filter_map(named).collect();
                    names.insert("consul".to_owned(), json!([]));
                    (state.names_at, json!(names))
                }
                Some(name) => match state.services.get(name) {
                    Some((at, entries)) => (*at, json!(entries)),
                    None => (state.position, json!([])),
                },
            };
            let left = until.saturating_duration_since(Instant::now());
            let is_new = if state.replaced == 0 { at != index } else { index < at };
            if is_new || left.is_zero() || state.is_over || state.is_hasty {
                break (at, body.to_string());
            }
            last = Some((at, body.to_string()));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        say(to, 200, &format!("X-Consul-Index: {}\r\n", answer.0), answer.1.as_bytes())
    }
}

// === impl Agent ===

impl Agent {
    fn start() -> Self {
        let world = Arc::new(World::default());
        world.change(|state| (state.position, state.names_at) = (10, 10));
        let answering = world.clone();
        let upstream = Reserved::new().serve_bytes(move |asked, to| answering.answer(asked, to));
        Self { upstream: Some(upstream), world }
    }

    fn upstream(&self) -> &Upstream {
        self.upstream.as_ref().expect("it runs")
    }

    fn flag(&self) -> String {
        format!("--consul_url=http://{}", self.upstream().address())
    }

    /// The service has these entries.
    fn set(&self, service: &str, entries: Vec<Value>) {
        self.world.change(|state| {
            state.position += 1;
            let position = state.position;
            let before = state.services.insert(service.to_owned(), (position, entries));
            if before.is_none_or(|(_, entries)| entries.is_empty()) {
                state.names_at = position;
            }
        });
    }

    fn remove(&self, service: &str) {
        self.world.change(|state| {
            state.position += 1;
            state.services.remove(service);
            state.names_at = state.position;
        });
    }

    fn lie(&self, lie: Option<Lie>) {
        self.world.change(|state| state.lie = lie);
    }

    fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.upstream().asked().into_iter();
        asked.filter(|asked| asked.line.starts_with(&format!("GET {path}"))).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.world.change(|state| state.is_over = true);
        drop(self.upstream.take());
    }
}

impl System for Agent {
    fn catalog(&self) -> &'static str {
        "consul"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--consul_url=http://{at}")]
    }

    fn far(&self) -> Far {
        Far::Tcp(self.upstream().address())
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let mut wanted = BTreeMap::<&str, Vec<Value>>::new();
        for (service, address) in instances {
            wanted.entry(service).or_default().push(entry(service, address));
        }
        let there: Vec<_> = self.world.lock().services.keys().cloned().collect();
        for service in there.iter().filter(|service| !wanted.contains_key(service.as_str())) {
            self.remove(service);
        }
        for (service, entries) in wanted {
            self.set(service, entries);
        }
    }
}

#[track_caller]
fn following(agent: &Agent, flags: &str) -> Daemon {
    Setup::new(flags).arg(agent.flag()).start()
}

fn one(client: &Client) -> Value {
    client.get("/api/v1/instances?status=ALL").ok().json()["instances"][0].clone()
}

/// One of what health says of each fault.
fn said_of(fault: Fault) -> &'static [&'static str] {
    said_of_a_call(fault, &["answers what is no list of services in JSON"])
}

#[test]
fn it_keeps_the_contract_of_catalogs() {
    keep_the_contract(&mut Behind::proxy(Agent::start()));
}

#[test]
fn it_survives_all_faults() {
    survive_all_faults(&mut Agent::start(), said_of, Length::Short);
}

#[test]
fn what_consul_says_is_shown_as_soon_as_it_changes() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    let registry = following(&agent, "--consul_token=t0p-s3cret --consul_datacenter=dc2");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    let shown = one(&client);
    assert_eq!((&shown["id"], &shown["service_name"]), (&json!("n1:web-10.0.0.1:80"), &json!("web")));
    assert_eq!((&shown["tags"], &shown["metadata"]), (&json!(["v1"]), &json!({"zone": "blue"})));
    assert_eq!(
        (&shown["status"], &shown["endpoint"]["type"], &shown["ttl"]),
        (&json!("UP"), &json!("tcp"), &Value::Null)
    );
    for (check, status, want) in [
        ("alive", "warning", "UP"),
        ("alive", "critical", "DOWN"),
        ("serfHealth", "critical", "DOWN"),
        ("_service_maintenance:web", "critical", "OUT_OF_SERVICE"),
        ("_node_maintenance", "critical", "OUT_OF_SERVICE"),
        ("alive", "passing", "UP"),
    ] {
        let mut changed = entry("web", "10.0.0.1:80");
        changed["Checks"].as_array_mut().expect("checks").push(json!({"CheckID": check, "Status": status}));
        let begun = Instant::now();
        agent.set("web", vec![changed]);
        eventually(check, || (one(&client)["status"] == want).then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
        let is_shown = client.get("/api/v1/instances").ok().ids().len() == 1;
        assert_eq!(is_shown, want == "UP", "{check}");
    }
    agent.set("db", vec![entry("db", "10.0.0.2:5432")]);
    until_shown(&client, &["10.0.0.1:80", "10.0.0.2:5432"]);
    agent.remove("web");
    until_shown(&client, &["10.0.0.2:5432"]);

    // Each question names its position and says how long the agent may wait, but the first of its kind.
    let names = agent.asked(NAMES);
    assert_eq!(names[0].line, "GET /v1/catalog/services?dc=dc2");
    assert_eq!(names[1].line, "GET /v1/catalog/services?dc=dc2&index=11&wait=60000ms");
    assert_eq!(agent.asked(HEALTH)[0].line, "GET /v1/health/service/web?dc=dc2");
    assert!(agent.upstream().asked().iter().all(|asked| asked.header("x-consul-token") == "t0p-s3cret"));
    assert!(!registry.log().contains("t0p-s3cret"));
}

/// What an agent of Consul 1.20 answered: a service that is well, one in maintenance, one of a node without an agent whose
/// check is critical, and a proxy.
#[test]
fn what_a_real_agent_said_is_understood() {
    let agent = Agent::start();
    let recorded = |text: &str| serde_json::from_str::<Vec<Value>>(text).expect("a list");
    agent.set("web", recorded(include_str!("../fixtures/catalogs/consul-health-web.json")));
    agent.set("web-sidecar-proxy", recorded(include_str!("../fixtures/catalogs/consul-health-proxy.json")));
    let registry = following(&agent, "");
    let client = registry.client();
    until_shown(&client, &["10.1.0.1:8001", "10.1.0.1:8002", "10.2.0.1"]);
    let list = client.get("/api/v1/instances?status=ALL").ok().json();
    let mut shown: Vec<_> = list["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| ["id", "status"].map(|key| it[key].as_str().expect("a text")))
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, [["agent:web-1", "UP"], ["agent:web-2", "OUT_OF_SERVICE"], ["elsewhere:web", "DOWN"]]);
}

#[test]
fn what_is_no_service_is_not_shown_and_what_cannot_be_is_left_out() {
    let agent = Agent::start();
    let but = |service: &str, address: &str, change: fn(&mut Value)| {
        let mut changed = entry(service, address);
        change(&mut changed["Service"]);
        changed
    };
    agent.set("consul", vec![entry("consul", "10.0.0.9:8300")]);
    agent.set(
        "web-sidecar-proxy",
        vec![but("web-sidecar-proxy", "10.0.0.8:1", |it| it["Kind"] = "connect-proxy".into())],
    );
    agent.set(
        "web",
        vec![
            entry("web", "10.0.0.1:80"),
            but("web", "10.0.0.2:80", |it| it["Port"] = 70_000.into()),
            but("web", "10.0.0.3:80", |it| it["Port"] = "80".into()),
            but("web", "10.0.0.4:80", |it| it["Address"] = "x".repeat(200).into()),
            json!(5),
            but("web", "10.0.0.5:80", |it| (it["Address"], it["Port"]) = ("".into(), 81.into())),
            but("web", "10.0.0.6:80", |it| (it["Tags"], it["Meta"]) = (json!(["http"]), Value::Null)),
        ],
    );
    agent.set(&"s".repeat(65), vec![entry(&"s".repeat(65), "10.0.0.7:80")]);
    let registry = following(&agent, "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80", "10.255.0.1:81", "10.0.0.6:80"]);
    registry.until_metric("a8_catalog_skipped_total{catalog=\"consul\"}", 5.0);
    let list = client.get("/api/v1/services/web").ok().json();
    let kinds: Vec<_> =
        list["instances"].as_array().expect("a list").iter().map(|it| &it["endpoint"]["type"]).collect();
    assert_eq!(kinds.iter().filter(|kind| ***kind == "http").count(), 1, "{list}");
    assert!(agent.asked("/v1/health/service/consul").is_empty());
}

#[test]
fn an_instance_registered_anew_under_another_name_is_not_lost() {
    let agent = Agent::start();
    let named = |service: &str| {
        let mut entry = entry(service, "10.0.0.1:80");
        entry["Service"]["ID"] = "same".into();
        entry
    };
    agent.set("old", vec![named("old")]);
    agent.set("stays", vec![entry("stays", "10.0.0.2:80")]);
    let registry = following(&agent, "");
    let client = registry.client();
    let services = |want: &[&str]| {
        eventually("the services are these", || {
            (client.get("/api/v1/services").ok().json()["services"] == json!(want)).then_some(())
        });
    };
    services(&["old", "stays"]);
    agent.set("new", vec![named("new")]);
    services(&["new", "stays"]);
    agent.remove("old");
    agent.set("stays", vec![entry("stays", "10.0.0.3:80")]);
    until_shown(&client, &["10.0.0.1:80", "10.0.0.3:80"]);
    services(&["new", "stays"]);
}

#[test]
fn an_index_that_goes_back_begins_anew() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    let registry = following(&agent, "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    // Restored from a backup: the same service is another one, at an earlier position.
    agent.world.change(|state| {
        (state.position, state.names_at) = (3, 3);
        state.services.insert("web".into(), (2, vec![entry("web", "10.0.0.2:80")]));
    });
    until_shown(&client, &["10.0.0.2:80"]);
    let after = || agent.asked(&format!("{HEALTH}web?index=2&")).len();
    eventually("it goes on from there", || (after() != 0).then_some(()));
    let lines: Vec<_> = agent.asked(&format!("{HEALTH}web")).into_iter().map(|asked| asked.line).collect();
    let anew = lines.iter().filter(|line| !line.contains("index=")).count();
    assert_eq!(anew, 2, "{lines:?}");
    agent.set("web", vec![entry("web", "10.0.0.3:80")]);
    until_shown(&client, &["10.0.0.3:80"]);
}

#[test]
fn an_agent_without_the_past_of_the_one_before_is_not_waited_for() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    let registry = following(&agent, "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    eventually("names and instances are waited for", || {
        (agent.world.waiting.load(Ordering::Relaxed) == 2).then_some(())
    });
    agent.world.change(|state| {
        (state.position, state.names_at, state.replaced) = (3, 3, 1);
        state.services = [("web".into(), (2, vec![entry("web", "10.0.0.2:80")]))].into();
    });
    until_shown(&client, &["10.0.0.2:80"]);
}

#[test]
fn thousands_of_services_are_no_thousands_of_connections() {
    const MANY: usize = 300;
    let agent = Agent::start();
    let address = |nth: usize| format!("10.0.{}.{}:80", nth / 256, nth % 256);
    for nth in 0..MANY {
        agent.set(&format!("s{nth}"), vec![entry(&format!("s{nth}"), &address(nth))]);
    }
    let registry = following(&agent, "");
    let client = registry.client();
    let shown = |count: usize| {
        eventually("all are shown", || {
            (client.get("/api/v1/services").ok().json()["services"].as_array()?.len() == count).then_some(())
        });
    };
    shown(MANY);
    // One that is new has not to wait, and any that changes is seen when its turn comes.
    let begun = Instant::now();
    agent.set("new", vec![entry("new", "10.9.0.1:80")]);
    shown(MANY + 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    for nth in [0, MANY / 2, MANY - 1] {
        agent.set(&format!("s{nth}"), vec![entry(&format!("s{nth}"), "10.9.9.9:80")]);
    }
    eventually("the changes show", || {
        let list = client.get("/api/v1/instances").ok().text();
        (list.matches("10.9.9.9:80").count() == 6).then_some(())
    });
    agent.remove("s7");
    shown(MANY);
    let most = agent.world.most_waiting.load(Ordering::Relaxed);
    assert!((30..=65).contains(&most), "{most} questions at once");
}

#[test]
fn an_agent_that_never_waits_is_not_asked_without_a_pause() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    agent.world.change(|state| state.is_hasty = true);
    let registry = following(&agent, "");
    until_shown(&registry.client(), &["10.0.0.1:80"]);
    let asked = eventually("it is asked again and again", || {
        let asked = agent.world.lock().names_asked.clone();
        (5 <= asked.len()).then_some(asked)
    });
    let took = asked[4].duration_since(asked[0]);
    assert!(Duration::from_secs(3) < took, "five questions in {took:?}");
}

#[test]
fn room_that_becomes_free_is_used() {
    let agent = Agent::start();
    agent.set("one", vec![entry("one", "10.0.0.1:80")]);
    agent.set("many", (2..10).map(|nth| entry("many", &format!("10.0.0.{nth}:80"))).collect());
    agent.world.change(|state| state.is_hasty = true);
    let registry = following(&agent, "--catalog_max_instances 5");
    let client = registry.client();
    let services = |want: &[&str], count: usize| {
        eventually("the services are these", || {
            let list = client.get("/api/v1/services").ok().json();
            let shown = client.get("/api/v1/instances").ok().ids().len();
            (list["services"] == json!(want) && shown == count).then_some(())
        });
    };
    eventually("there is no more room", || {
        (client.get("/api/v1/instances").ok().ids().len() == 5).then_some(())
    });
    agent.remove("many");
    services(&["one"], 1);
    agent.set("many", (2..10).map(|nth| entry("many", &format!("10.0.0.{nth}:80"))).collect());
    services(&["many", "one"], 5);
    agent.remove("one");
    services(&["many"], 5);
}

#[test]
fn what_is_left_out_counts_once_however_often_it_changes() {
    let agent = Agent::start();
    let tagged = |tag: usize| -> Vec<Value> {
        let entries = (1..=4).map(|nth| {
            let mut entry = entry("web", &format!("10.0.0.{nth}:80"));
            entry["Service"]["Tags"] = json!([format!("t{tag}")]);
            entry
        });
        entries.collect()
    };
    agent.set("web", tagged(0));
    let registry = following(&agent, "--catalog_max_instances 2");
    let client = registry.client();
    for nth in 1..=3 {
        agent.set("web", tagged(nth));
        eventually("the change shows", || {
            (client.get("/api/v1/instances").ok().text().matches(&format!("t{nth}")).count() == 2)
                .then_some(())
        });
    }
    let left_out = "a8_catalog_left_out_instances{catalog=\"consul\"}";
    assert_eq!(registry.metric(left_out), 2.0);
    // Of those that are shown one goes, then all but one.
    agent.set("web", tagged(4).split_off(1));
    registry.until_metric(left_out, 1.0);
    agent.set("web", tagged(5).split_off(3));
    registry.until_metric(left_out, 0.0);
}

#[test]
fn a_token_that_is_refused_keeps_what_there_was() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    let registry = following(&agent, "--consul_token=t0p-s3cret");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    agent.lie(Some(Lie { about: "/", words: |to| say(to, 403, "", b"ACL not found t0p-s3cret") }));
    let error =
        eventually("it fails", || health(&client, "consul")["last_error"].as_str().map(str::to_owned));
    assert!(error.contains("403") && error.contains("token"), "{error}");
    until_shown(&client, &["10.0.0.1:80"]);
    agent.lie(None);
    eventually("it is current", || (health(&client, "consul")["state"] == "current").then_some(()));
    assert!(!registry.log().contains("t0p-s3cret"));
}

const INDEXED: &str = "X-Consul-Index: 99\r\n";

/// Writes the same again and again, until the other side has enough.
fn endless(to: &mut TcpStream, head: &str, again: &str) -> io::Result<()> {
    to.write_all(format!("HTTP/1.1 200 OK\r\n{INDEXED}\r\n{head}").as_bytes())?;
    let block = again.repeat(64 * 1024 / again.len() + 1);
    loop {
        to.write_all(block.as_bytes())?;
    }
}

type Words = fn(&mut TcpStream) -> io::Result<()>;

const LIES: &[(&str, Words)] = &[
    ("no index", |to| say(to, 200, "", b"{}")),
    ("an index that is none", |to| say(to, 200, "X-Consul-Index: many\r\n", b"{}")),
    ("a page", |to| say(to, 200, INDEXED, b"<html>It works!</html>")),
    ("a list", |to| say(to, 200, INDEXED, b"[]")),
    ("another status", |to| say(to, 204, INDEXED, b"")),
    ("depth", |to| say(to, 200, INDEXED, format!(r#"{{"web":{}"#, "[".repeat(1_000_000)).as_bytes())),
    ("names without end", |to| endless(to, "{", r#""a":[],"#)),
    ("a name without end", |to| endless(to, "{\"", "x")),
];

#[test]
fn whoever_lies_costs_little_and_takes_nothing_away() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    let registry = following(&agent, "--catalog_max_instances 10");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80"]);
    let failures = "a8_catalog_failures_total{catalog=\"consul\"}";
    for (what, words) in LIES {
        let before = registry.metric(failures);
        agent.lie(Some(Lie { about: NAMES, words: *words }));
        eventually(what, || (before < registry.metric(failures)).then_some(()));
        until_shown(&client, &["10.0.0.1:80"]);
        agent.lie(None);
        eventually(what, || (health(&client, "consul")["state"] == "current").then_some(()));
    }
    let resident = registry.resident() >> 20;
    assert!(resident < 300, "it takes {resident} MiB");
}

#[test]
fn a_service_that_cannot_be_read_is_alone_in_that() {
    let agent = Agent::start();
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    agent.set("bad", vec![entry("bad", "10.0.0.2:80")]);
    let registry = following(&agent, "");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:80", "10.0.0.2:80"]);
    let skipped = "a8_catalog_skipped_total{catalog=\"consul\"}";
    agent.lie(Some(Lie { about: "/v1/health/service/bad", words: |to| endless(to, "[", "{},") }));
    eventually("it is left out", || (1.0 <= registry.metric(skipped)).then_some(()));
    agent.set("web", vec![entry("web", "10.0.0.3:80")]);
    until_shown(&client, &["10.0.0.2:80", "10.0.0.3:80"]);
    eventually("it is current", || (health(&client, "consul")["state"] == "current").then_some(()));
    // It goes as any other.
    agent.remove("bad");
    until_shown(&client, &["10.0.0.3:80"]);
    let resident = registry.resident() >> 20;
    assert!(resident < 500, "it takes {resident} MiB");
}

#[test]
fn an_agent_that_is_away_is_followed_again() {
    let reserved = Reserved::new();
    let address = reserved.address();
    let registry = Setup::new(&format!("--consul_url http://{address}")).start();
    let client = registry.client();
    eventually("it fails", || health(&client, "consul")["last_error"].is_string().then_some(()));
    let world = Arc::new(World::default());
    let answering = world.clone();
    let upstream = reserved.serve_bytes(move |asked, to| answering.answer(asked, to));
    let agent = Agent { upstream: Some(upstream), world };
    agent.set("web", vec![entry("web", "10.0.0.1:80")]);
    until_shown(&client, &["10.0.0.1:80"]);
}

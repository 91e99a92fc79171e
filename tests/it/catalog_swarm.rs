//! The catalog of a Docker Swarm, against a small engine in the words of a recorded one.
//!
//! Never: looks at what the registry keeps of a swarm but through its API.

mod engine;
mod real;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::engine::{Engine, Mood, Swarm};
use crate::catalogs::{Behind, Length, System, health, keep_the_contract, survive_all_faults, until_shown};
use crate::support::tls::Pki;
use crate::support::upstream::Upstream;
use crate::support::{Client, Daemon, Far, Fault, Setup, eventually};

/// A swarm for the suite that all catalogs play.
struct SmallSwarm(Engine);

// === impl SmallSwarm ===

impl System for SmallSwarm {
    fn catalog(&self) -> &'static str {
        "swarm"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--swarm_url=tcp://{at}"), "--swarm_network=app".to_owned()]
    }

    fn far(&self) -> Far {
        Far::Socket(self.0.socket())
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        self.0.set(Swarm::with(instances));
        self.0.happen();
    }
}

fn start(engine: &Engine, flags: &str) -> Daemon {
    Setup::new(flags).arg(engine.flag()).start()
}

/// What is listed of a service, by the value of its endpoint.
#[track_caller]
fn listed(client: &Client, service: &str) -> Vec<(String, Value)> {
    let list = client.get(&format!("/api/v1/services/{service}")).ok().json();
    let instances = list["instances"].as_array().expect("a list").clone();
    let mut listed: Vec<_> = instances
        .into_iter()
        .map(|it| (it["endpoint"]["value"].as_str().expect("a text").to_owned(), it))
        .collect();
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    listed
}

const MESH: &str = "127.0.0.1:18081";
const PUBLISHED: &str = "127.0.0.1:18080";

/// One of what health says of each fault.
fn said_of(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Cut => &["the connection to the engine broke off", "the engine cannot be connected to"],
        Fault::Delayed => &[],
        Fault::Refusing => &["the engine answers with status 500"],
        Fault::Half => &["the connection to the engine broke off"],
        Fault::Garbage | Fault::Endless => &["the engine answers with what is not a list"],
        Fault::Silent => &["the engine does not answer in time"],
    }
}

#[test]
fn a_swarm_keeps_the_contract() {
    keep_the_contract(&mut Behind::proxy(SmallSwarm(Engine::start(Swarm::with(&[])))));
}

#[test]
fn a_swarm_survives_all_faults() {
    survive_all_faults(&mut SmallSwarm(Engine::start(Swarm::with(&[]))), said_of, Length::Short);
}

#[test]
fn tasks_are_shown_by_network_or_by_published_ports() {
    let engine = Engine::start(Swarm::recorded());
    let plain = start(&engine, "--catalog_namespace world --auth_mode trusted");
    until_shown(&plain.client().bearer("world"), &[MESH, PUBLISHED]);
    until_shown(&plain.client().bearer("default"), &[]);
    let networked = start(&engine, "--swarm_network app");
    let client = networked.client();
    until_shown(&client, &["10.0.1.2", "10.0.1.3", MESH, PUBLISHED]);
    let (_, web) = &listed(&client, "web")[0];
    assert_eq!(web["endpoint"], json!({"type": "http", "value": "10.0.1.2"}));
    assert_eq!(web["tags"], json!(["team=blue"]));
    assert_eq!(web["metadata"]["swarm.node"], "vm");
    assert_eq!(web["last_heartbeat"], "0001-01-01T00:00:00Z");
    assert_eq!((&web["ttl"], &web["status"]), (&Value::Null, &json!("UP")));
    let asked = engine.asked();
    assert!(asked.iter().all(|path| !path.contains("network")), "{asked:?}");
}

#[test]
fn an_event_is_followed_by_a_look_and_many_by_few() {
    let engine = Engine::start(Swarm::with(&[("s", "10.0.0.1:1")]));
    let registry = start(&engine, "--swarm_network app");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:1"]);
    eventually("it listens to events", || (engine.listeners() == 1).then_some(()));
    engine.set(Swarm::with(&[("s", "10.0.0.2:1")]));
    let begun = Instant::now();
    engine.happen();
    until_shown(&client, &["10.0.0.2:1"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    let looks = || engine.asked().iter().filter(|path| path.starts_with("/tasks")).count();
    let (before, begun) = (looks(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        engine.happen();
        std::thread::sleep(Duration::from_millis(1));
    }
    let looks = looks() - before;
    assert!((1..=8).contains(&looks), "{looks} looks in 2 s");
}

#[test]
fn changes_that_no_event_tells_of_are_seen() {
    let engine = Engine::start(Swarm::with(&[("s", "10.0.0.1:1")]));
    let registry = start(&engine, "--swarm_network app");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:1"]);
    let mut swarm = Swarm::with(&[("s", "10.0.0.1:1"), ("s", "10.0.0.2:1"), ("s", "10.0.0.3:1")]);
    swarm.tasks[1]["Status"]["State"] = "starting".into();
    swarm.tasks[2]["Status"]["State"] = "preparing".into();
    engine.set(swarm.clone());
    until_shown(&client, &["10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(listed(&client, "s")[1].1["status"], "STARTING");
    swarm.tasks[0]["DesiredState"] = "shutdown".into();
    swarm.tasks[1]["Status"]["State"] = "running".into();
    engine.set(swarm);
    until_shown(&client, &["10.0.0.2:1"]);
    assert_eq!(listed(&client, "s")[0].1["status"], "UP");
}

#[test]
fn an_engine_that_restarts_is_followed_again() {
    let mut engine = Engine::start(Swarm::with(&[("s", "10.0.0.1:1")]));
    let registry = start(&engine, "--swarm_network app");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:1"]);
    eventually("it listens to events", || (engine.listeners() == 1).then_some(()));
    engine.stop();
    registry.logged("catalog swarm cannot be followed: the engine cannot be connected to");
    until_shown(&client, &["10.0.0.1:1"]);
    engine.set(Swarm::with(&[("s", "10.0.0.2:1")]));
    engine.listen();
    until_shown(&client, &["10.0.0.2:1"]);
    registry.logged("catalog swarm is followed again");
    eventually("it listens to events again", || (engine.listeners() == 1).then_some(()));
}

#[test]
fn what_an_engine_says_wrongly_changes_nothing() {
    let engine = Engine::start(Swarm::with(&[("s", "10.0.0.1:1")]));
    let registry = start(&engine, "--swarm_network app");
    let client = registry.client();
    until_shown(&client, &["10.0.0.1:1"]);
    let no_manager =
        "This node is not a swarm manager. Use \"docker swarm init\" to connect this node to swarm.";
    for (mood, says) in [
        (Mood::Refusing(503, no_manager), "the engine is not in a swarm, or no manager of it"),
        (Mood::Refusing(503, "secret"), "the engine answers with status 503"),
        (Mood::Refusing(301, ""), "the engine answers with status 301"),
        (Mood::Babbling("<html>secret"), "the engine answers with what is not a list"),
        (Mood::Babbling("{\"secret\": 1}"), "the engine answers with what is not a list"),
    ] {
        engine.be(mood.clone());
        eventually(&format!("it is said of {mood:?}"), || {
            engine.happen();
            let error = health(&client, "swarm")["last_error"].as_str()?.to_owned();
            error.starts_with(says).then_some(())
        });
        until_shown(&client, &["10.0.0.1:1"]);
        engine.be(Mood::Well);
        eventually("it is well again", || (health(&client, "swarm")["state"] == "current").then_some(()));
    }
    assert!(!registry.log().contains("secret"), "{}", registry.log());
}

#[test]
fn one_wrong_task_does_not_hide_the_others() {
    let mut swarm = Swarm::with(&[("s", "10.0.0.1:1"), ("s", "10.0.0.2:1"), ("t", "10.0.0.3:1")]);
    swarm.tasks[0]["Slot"] = "one".into();
    swarm.services[1]["Spec"]["Name"] = "x".repeat(65).into();
    let engine = Engine::start(swarm);
    let registry = start(&engine, "--swarm_network app");
    until_shown(&registry.client(), &["10.0.0.2:1"]);
    registry.logged("catalog swarm: 1 tasks cannot be read");
    registry.logged("catalog swarm: a service: service_name has 65 bytes, at most 64 are allowed");
    registry.until_metric("a8_catalog_skipped_total{catalog=\"swarm\"}", 2.0);
}

#[test]
fn an_engine_is_followed_by_tcp_also_when_it_tells_no_events() {
    let swarm = Swarm::recorded();
    let upstream = Upstream::start(move |asked| match asked.line.split(['?', ' ']).nth(1) {
        Some("/services") => (200, Some(swarm.services.clone())),
        Some("/nodes") => (200, Some(swarm.nodes.clone())),
        Some("/tasks") => (200, Some(swarm.tasks.clone())),
        Some(_) | None => (403, Some(json!({"message": "not allowed"}))),
    });
    let registry = Setup::new(&format!("--swarm_url tcp://{}", upstream.address())).start();
    until_shown(&registry.client(), &[MESH, PUBLISHED]);
    eventually("events were asked for", || {
        upstream.asked().iter().any(|asked| asked.line.starts_with("GET /events")).then_some(())
    });
    assert_eq!(health(&registry.client(), "swarm")["failures"], 0);
}

#[test]
fn files_of_tls_that_cannot_be_used_are_refused_at_the_start() {
    let pki = Pki::new();
    let path = |name: &str| pki.path(name).display().to_string();
    pki.replace("empty.pem", "");
    let flags = |ca: &str, cert: &str, key: &str| {
        Setup::new("--swarm_url tcp://localhost:1")
            .arg(format!("--swarm_ca_file={ca}"))
            .arg(format!("--swarm_cert={cert}"))
            .arg(format!("--swarm_key={key}"))
            .args("--api_address 127.0.0.1 --api_port 0")
    };
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    for (setup, says) in [
        (flags(&path("none.pem"), &cert, &key), "--swarm_ca_file: "),
        (flags(&ca, &path("empty.pem"), &key), "holds no certificate in PEM"),
        (flags(&ca, &cert, &cert), "--swarm_key: "),
    ] {
        let ended = setup.run();
        assert_ne!(ended.status, Some(0));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

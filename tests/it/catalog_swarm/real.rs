//! The suite that all catalogs play, with a real Docker engine whose socket is at `A8_TEST_SWARM`, a path. It is the only
//! node of a swarm, advertised at 127.0.0.1, without services, and has the image `task:1`, which runs `/task PORT`.
//!
//! Which address a task has on a network Docker decides: instances are told apart by published ports here.
//! Never: leaves a service there, unless it fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::said_of;
use crate::catalogs::{Behind, Length, System, keep_the_contract, survive_all_faults};
use crate::support::{Client, Far, FaultProxy, real};

/// An engine that somebody else has started.
struct RealEngine {
    socket: PathBuf,
    /// By which the test itself asks it.
    door: FaultProxy,
    /// The published ports of each service.
    has: BTreeMap<String, Vec<u16>>,
}

// === impl RealEngine ===

impl RealEngine {
    #[track_caller]
    fn given() -> Self {
        let socket = PathBuf::from(real::given("A8_TEST_SWARM"));
        Self { door: FaultProxy::to(Far::Socket(socket.clone())), socket, has: BTreeMap::new() }
    }
}

/// A service of one task that is reached at these ports on every node.
fn spec(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<_> = ports
        .iter()
        .map(|port| json!({"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": port, "PublishMode": "ingress"}))
        .collect();
    json!({
        "Name": name,
        "TaskTemplate": {"ContainerSpec": {"Image": "task:1", "Args": ["/task", "8080"]}},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "vip", "Ports": ports}
    })
}

impl System for RealEngine {
    fn catalog(&self) -> &'static str {
        "swarm"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--swarm_url=tcp://{at}")]
    }

    fn far(&self) -> Far {
        Far::Socket(self.socket.clone())
    }

    fn place(&self, nth: u16) -> String {
        format!("127.0.0.1:{}", 18_100 + nth)
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let port = |value: &str| value.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let (gone, new) = real::exchange_by_service(&mut self.has, instances, port);
        let engine = Client::new(self.door.address());
        for name in gone {
            engine.delete(&format!("/services/{name}")).ok();
        }
        for (name, is_there) in new {
            let line = match is_there {
                true => {
                    let there = engine.get(&format!("/services/{name}")).ok().json();
                    format!("POST /services/{name}/update?version={}", there["Version"]["Index"])
                }
                false => "POST /services/create".to_owned(),
            };
            let answer = engine.send(&line, &spec(&name, &self.has[&name]).to_string());
            assert!(matches!(answer.status, 200 | 201), "{line}: {} {}", answer.status, answer.text());
        }
    }
}

#[test]
#[ignore = "needs a real swarm of Docker: make test.swarm"]
fn a_swarm_keeps_the_contract() {
    keep_the_contract(&mut Behind::proxy(RealEngine::given()));
}

#[test]
#[ignore = "needs a real swarm of Docker: make test.swarm"]
fn a_swarm_survives_all_faults() {
    survive_all_faults(&mut RealEngine::given(), said_of, Length::Long);
}

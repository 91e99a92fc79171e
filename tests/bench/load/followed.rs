//! The systems that catalogs follow, each as small as a registry needs it that only reads, and all with the same instances.
//!
//! Never: changes what it has, or outlives its owner.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{Engine, Swarm};
use crate::faults::Far;
use crate::kubernetes::Cluster;
use crate::upstream::{Asked, Reserved, Upstream, say};

/// A kind of system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// An API server.
    Kubernetes,
    /// A server that tells the whole list, and that nothing changed since.
    Eureka,
    /// An agent that waits for changes, of which there are none.
    Consul,
    /// A manager's engine.
    Swarm,
}

/// A system that runs; ended when it is dropped.
pub(crate) struct Running {
    far: Far,
    _held: Box<dyn Send>,
}

/// How many services each system has, and addresses of each of them.
pub(crate) const SERVICES: usize = 50;
pub(crate) const EACH: usize = 20;

// === impl System ===

impl System {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Kubernetes, Self::Eureka, Self::Consul, Self::Swarm];

    /// As metrics and the report call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Eureka => "eureka",
            Self::Consul => "consul",
            Self::Swarm => "swarm",
        }
    }

    /// The flags that make a registry follow it at this loopback port.
    pub(crate) fn flags(self, port: u16) -> String {
        match self {
            Self::Kubernetes => format!("--k8s_url http://127.0.0.1:{port}"),
            Self::Eureka => format!("--eureka_url http://127.0.0.1:{port}/eureka/ --eureka_poll 500ms"),
            Self::Consul => format!("--consul_url http://127.0.0.1:{port}"),
            Self::Swarm => format!("--swarm_url tcp://127.0.0.1:{port} --swarm_network app"),
        }
    }

    /// Starts one.
    pub(crate) fn start(self) -> Running {
        match self {
            Self::Kubernetes => {
                let cluster = Cluster::start(&["default"]);
                (0..SERVICES).for_each(|service| cluster.put("default/endpointslices", slice(service)));
                Running { far: Far::Tcp(([127, 0, 0, 1], cluster.port()).into()), _held: Box::new(cluster) }
            }
            Self::Eureka => {
                let all = |service| json!({"name": name(service), "instance": listed(service)});
                let list = told(&(0..SERVICES).map(all).collect::<Vec<_>>());
                let changes = told(&[]);
                Running::serving(move |asked, to| match asked.line.as_str() {
                    "GET /eureka/apps" => say(to, 200, "", list.as_bytes()),
                    "GET /eureka/apps/delta" => say(to, 200, "", changes.as_bytes()),
                    _ => say(to, 404, "", b""),
                })
            }
            Self::Consul => {
                let names = (0..SERVICES).map(|service| (name(service), json!([])));
                let names = Value::Object(names.collect()).to_string();
                let of_each: Vec<_> = (0..SERVICES).map(|service| entries(service).to_string()).collect();
                Running::serving(move |asked, to| {
                    let path = asked.line.split('?').next().unwrap_or_default();
                    let body = match path.strip_prefix("GET /v1/health/service/") {
                        None => Some(&names),
                        Some(asked) => {
                            (0..SERVICES).find(|nth| name(*nth) == asked).and_then(|nth| of_each.get(nth))
                        }
                    };
                    let body = body.map_or("[]", String::as_str);
                    wait_as_told(to, &asked.line)?;
                    say(to, 200, "X-Consul-Index: 10\r\n", body.as_bytes())
                })
            }
            Self::Swarm => {
                let all: Vec<_> = (0..SERVICES)
                    .flat_map(|service| (0..EACH).map(move |at| (name(service), address(service, at))))
                    .collect();
                let all: Vec<_> = all.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
                let engine = Engine::start(Swarm::with(&all));
                Running { far: Far::Socket(engine.socket()), _held: Box::new(engine) }
            }
        }
    }
}

// === impl Running ===

impl Running {
    /// Where it is.
    pub(crate) fn far(&self) -> Far {
        self.far.clone()
    }

    fn serving(answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let upstream: Upstream = Reserved::new().serve_bytes(move |asked, to| {
            answer(asked, to)?;
            to.flush()
        });
        let address: SocketAddr = upstream.address();
        Self { far: Far::Tcp(address), _held: Box::new(upstream) }
    }
}

/// Nothing ever changes, so a question for changes is answered when its time is over, or its connection ends.
fn wait_as_told(to: &TcpStream, line: &str) -> io::Result<()> {
    let wait = line.split("wait=").nth(1).and_then(|rest| rest.trim_end_matches("ms").parse().ok());
    if let Some(wait) = wait {
        to.set_read_timeout(Some(Duration::from_millis(wait)))?;
        let _ = to.peek(&mut [0]);
        to.set_read_timeout(None)?;
    }
    Ok(())
}

/// The name of a service.
pub(crate) fn name(service: usize) -> String {
    format!("followed-{service}")
}

/// `host:port` of an instance.
pub(crate) fn address(service: usize, at: usize) -> String {
    format!("{}:80", host(service, at))
}

fn host(service: usize, at: usize) -> String {
    format!("10.1.{service}.{at}")
}

fn slice(service: usize) -> Value {
    let endpoints: Vec<_> = (0..EACH).map(|at| json!({"addresses": [host(service, at)]})).collect();
    let name = name(service);
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80}]
    })
}

/// What a server answers, whose list has all instances.
fn told(applications: &[Value]) -> String {
    let hash = format!("UP_{}_", SERVICES * EACH);
    json!({"applications": {"versions__delta": "1", "apps__hashcode": hash, "application": applications}})
        .to_string()
}

fn listed(service: usize) -> Value {
    let instances = (0..EACH).map(|at| {
        let host = host(service, at);
        json!({
            "instanceId": address(service, at), "hostName": host, "app": name(service), "ipAddr": host,
            "status": "UP", "port": {"$": 80, "@enabled": "true"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        })
    });
    instances.collect()
}

fn entries(service: usize) -> Value {
    let entries = (0..EACH).map(|at| {
        let id = address(service, at);
        json!({
            "Node": {"Node": "n1", "Address": "10.255.0.1", "Datacenter": "dc1"},
            "Service": {"ID": id, "Service": name(service), "Address": host(service, at), "Port": 80},
            "Checks": [{"CheckID": "serfHealth", "Status": "passing", "ServiceID": ""}]
        })
    });
    Value::Array(entries.collect())
}

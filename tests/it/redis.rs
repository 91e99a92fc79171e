//! The store in Redis, with real servers: registries that share one, and what happens when it fails.
//!
//! Where there is no Redis, each test says that it is skipped.
//! Never: looks at how things are kept in Redis, apart from breaking it.

mod clocks;
mod cluster;
mod faults;
mod leases;
mod load;
mod nodes;
mod security;
mod sentinel;
mod sharing;
mod versions;

use serde_json::Value;

use crate::support::{Client, Daemon, eventually};

/// Registries that share a store.
#[derive(Debug)]
struct Nodes(Vec<Daemon>);

const LIST: &str = "/api/v1/instances";

// === impl Nodes ===

impl Nodes {
    /// Three of them on one address, with short leases.
    #[track_caller]
    fn start(address: &str) -> Self {
        Self::with(address, "")
    }

    #[track_caller]
    fn with(address: &str, flags: &str) -> Self {
        let flags = format!("--store redis --store_address {address} --min_ttl 1s --default_ttl 5s {flags}");
        let nodes = Self((0..3).map(|_| Daemon::start(&flags)).collect());
        nodes.until_ready();
        nodes
    }

    fn clients(&self) -> Vec<Client> {
        // Where nobody has to say who they are, nobody minds.
        self.0.iter().map(|node| node.client().bearer("default")).collect()
    }

    #[track_caller]
    fn until_ready(&self) {
        for client in self.clients() {
            eventually("the node is ready", || (client.get("/health/ready").status == 200).then_some(()));
            eventually("its store is well", || Said::by(&client).is_well().then_some(()));
        }
    }

    /// Waits until every node lists these and no others.
    #[track_caller]
    fn until_all_list(&self, ids: &[String]) {
        for client in self.clients() {
            eventually(&format!("a node lists {} instances", ids.len()), || {
                (client.ids(LIST) == ids).then_some(())
            });
        }
    }

    /// Waits until every node says that its lists may be old, and checks all the places where it says so.
    #[track_caller]
    fn until_all_say_stale(&self) {
        for client in self.clients() {
            let said = eventually("a node says that its lists may be old", || {
                let said = Said::by(&client);
                (said.warning.starts_with("110 ") && !said.is_connected).then_some(said)
            });
            assert_eq!((said.list, said.ready), (200, 200), "{said:?}");
            eventually("health says so, too", || (Said::by(&client).mirror == "stale").then_some(()));
        }
    }

    /// Waits until no node says so any more.
    #[track_caller]
    fn until_all_are_current(&self) {
        for client in self.clients() {
            eventually("a node is well again", || Said::by(&client).is_well().then_some(()));
        }
    }

    /// How often each node has logged that Redis was lost, and that it is back.
    fn outages(&self) -> Vec<[usize; 2]> {
        let texts = ["cannot be used", " is back after "];
        let count = |log: &str| texts.map(|text| log.lines().filter(|line| line.contains(text)).count());
        self.0.iter().map(|node| count(&node.log())).collect()
    }

    /// The sum of a sample over all nodes.
    #[track_caller]
    fn sum(&self, sample: &str) -> f64 {
        self.0.iter().map(|node| node.client().metric(sample).unwrap_or_default()).sum()
    }
}

/// What a node says of its store.
#[derive(Debug)]
struct Said {
    list: u16,
    warning: String,
    ready: u16,
    mirror: String,
    is_connected: bool,
}

// === impl Said ===

impl Said {
    #[track_caller]
    fn by(client: &Client) -> Self {
        let list = client.get(LIST);
        let ready = client.get("/health/ready");
        Self {
            list: list.status,
            warning: list.header("warning").to_owned(),
            ready: ready.status,
            mirror: found(&ready.json(), "mirror").and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_connected: client.metric("a8_redis_connected") == Some(1.0),
        }
    }

    fn is_well(&self) -> bool {
        let Self { list, warning, ready, mirror, is_connected } = self;
        (*list, *ready) == (200, 200) && warning.is_empty() && mirror == "current" && *is_connected
    }
}

/// The first member with this name, however deep.
fn found<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    match document {
        Value::Object(members) => {
            members.get(name).or_else(|| members.values().find_map(|inside| found(inside, name)))
        }
        Value::Array(items) => items.iter().find_map(|inside| found(inside, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

//! From what an engine says to instances: one for each port of each task that runs, where it is reached.
//!
//! Pure. A task is reached by its address on the chosen network and the ports of its containers; without such an
//! address by its node's and the ports published there. What cannot be shown is said with its reason.
//! Never: shows a task that is not meant to run, or trusts a list to be consistent with another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::labels::Described;
use super::lists::{Lists, Node, Port, Service, Task};
use crate::model::{CatalogName, Endpoint, EndpointType, Foreign, Instance, Registration, Status, Timestamp};

/// What of a swarm is shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) instances: Vec<Instance>,
    /// Why something is not as it should be: the first of all reasons.
    pub(super) faults: BTreeSet<String>,
    /// Tasks are on their way to run.
    pub(super) is_settling: bool,
}

/// What all tasks have to do with.
struct World<'a> {
    network: Option<&'a str>,
    services: HashMap<&'a str, Described<'a>>,
    nodes: HashMap<&'a str, &'a Node>,
}

/// Where a task is reached.
struct Place {
    kind: EndpointType,
    value: String,
}

/// Reasons that are kept.
const FAULTS_MAX: usize = 20;

// === impl Shown ===

impl Shown {
    /// At most `max` instances of what was listed; `network` is the name or id of the chosen one.
    pub(super) fn of(lists: &Lists, network: Option<&str>, max: usize, found_at: Timestamp) -> Self {
        let mut shown = Self::default();
        for (what, number) in [
            ("services", lists.services.unreadable),
            ("nodes", lists.nodes.unreadable),
            ("tasks", lists.tasks.unreadable),
        ] {
            if number != 0 {
                shown.fault(format!("{number} {what} cannot be read"));
            }
        }
        let world = World {
            network,
            services: shown.described(&lists.services.elements),
            nodes: lists.nodes.elements.iter().map(|node| (&*node.id, node)).collect(),
        };
        let mut tasks: Vec<_> =
            lists.tasks.elements.iter().filter(|task| &*task.desired_state == "running").collect();
        // Of tasks that are reached at one place the first is shown.
        tasks.sort_unstable_by_key(|task| {
            (&*task.status.state != "running", &task.service_id, task.slot, &task.id)
        });
        let (mut seen, mut beyond) = (HashSet::new(), 0_usize);
        for task in tasks {
            let status = match &*task.status.state {
                "running" => Status::Up,
                "starting" => Status::Starting,
                _ => {
                    shown.is_settling = true;
                    continue;
                }
            };
            shown.is_settling |= status == Status::Starting;
            // A service that came or went between two lists has no tasks yet, or none any more.
            let Some(service) = world.services.get(&*task.service_id) else { continue };
            for Place { kind, value } in shown.places(task, service, &world) {
                if max <= shown.instances.len() {
                    beyond += 1;
                    continue;
                }
                let endpoint = match Endpoint::new(kind, &value) {
                    Ok(endpoint) => endpoint,
                    Err(why) => {
                        shown.fault(format!("service {}: {why}", service.name));
                        continue;
                    }
                };
                let registration = Registration {
                    service: service.name.clone(),
                    endpoint,
                    status,
                    tags: service.tags.clone(),
                    metadata: service.metadata(&name_of(task, service), world.hostname(task)),
                    ttl: None,
                    eureka: None,
                };
                let foreign = Foreign { catalog: CatalogName::Swarm, renewed: None };
                let instance = registration.found(None, foreign, found_at);
                if seen.insert(instance.id.clone()) {
                    shown.instances.push(instance);
                }
            }
        }
        if beyond != 0 {
            shown
                .faults
                .insert(format!("{beyond} instances after {max} are left out; see --catalog_max_instances"));
        }
        shown
    }

    fn described<'a>(&mut self, services: &'a [Service]) -> HashMap<&'a str, Described<'a>> {
        let mut described = HashMap::with_capacity(services.len());
        for service in services {
            match Described::of(service, &mut |fault| self.fault(fault)) {
                Ok(it) => drop(described.insert(&*service.id, it)),
                Err(why) => self.fault(format!("a service: {why}")),
            }
        }
        described
    }

    fn places(&mut self, task: &Task, service: &Described<'_>, world: &World<'_>) -> Vec<Place> {
        if let Some(address) = world.address_on_network(task) {
            let ports = service.container_ports();
            if ports.is_empty() {
                let kind = service.kind_without_port();
                return vec![Place { kind, value: address.to_string() }];
            }
            return ports
                .iter()
                .filter_map(|port| self.place(address, port.target_port, port, service))
                .collect();
        }
        let ports = published(task, service);
        if ports.is_empty() {
            return Vec::new();
        }
        let Some(address) = task.node_id.as_deref().and_then(|id| address_of(world.nodes.get(id)?)) else {
            self.fault(format!("service {}: the node of a task has no address", service.name));
            return Vec::new();
        };
        ports.iter().filter_map(|port| self.place(address, port.published_port, port, service)).collect()
    }

    fn place(&mut self, address: IpAddr, number: u16, port: &Port, service: &Described<'_>) -> Option<Place> {
        let value = match address {
            IpAddr::V4(address) => format!("{address}:{number}"),
            IpAddr::V6(address) => format!("[{address}]:{number}"),
        };
        let kind = service.kind(port);
        if kind.is_none() {
            let protocol = port.protocol.as_deref().unwrap_or_default();
            self.fault(format!(
                "service {}: port {number} speaks {protocol:?}, wanted tcp or udp",
                service.name
            ));
        }
        Some(Place { kind: kind?, value })
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.insert(fault);
        }
    }
}

/// Ports that a task can be reached at on its node, each once. Those on that node alone are told when it runs; before, they
/// are what the service asks for.
fn published(task: &Task, service: &Described<'_>) -> Vec<Port> {
    let told =
        task.status.port_status.as_ref().and_then(|status| status.ports.as_deref()).unwrap_or_default();
    let is_told = |port: &&Port| told.is_empty() || port.publish_mode.as_deref() != Some("host");
    let ports = told.iter().chain(service.ports.iter().filter(is_told));
    let ports = ports.filter(|port| port.published_port != 0 && service.wants(port));
    let ports: BTreeMap<_, _> = ports.map(|port| ((port.published_port, &port.protocol), port)).collect();
    ports.into_values().cloned().collect()
}

/// As Docker's client names it.
fn name_of(task: &Task, service: &Described<'_>) -> String {
    let (name, id) = (&service.name, &task.id);
    match (task.slot, task.node_id.as_deref()) {
        (Some(slot), _) if slot != 0 => format!("{name}.{slot}.{id}"),
        (_, Some(node)) => format!("{name}.{node}.{id}"),
        (_, None) => format!("{name}.{id}"),
    }
}

/// Where a node is; a manager that was set up without an address knows the one that the others see.
fn address_of(node: &Node) -> Option<IpAddr> {
    let own = node.status.as_ref().and_then(|status| status.addr.parse().ok());
    let as_manager = || {
        let address = &*node.manager_status.as_ref()?.addr;
        let (host, _) = address.rsplit_once(':')?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    };
    let is_real = |address: &IpAddr| !address.is_unspecified();
    own.filter(is_real).or_else(as_manager).filter(is_real)
}

// === impl World ===

impl World<'_> {
    fn address_on_network(&self, task: &Task) -> Option<IpAddr> {
        let network = self.network?;
        let attachments = task.networks_attachments.iter().flatten();
        attachments
            .filter(|it| &*it.network.id == network || &*it.network.spec.name == network)
            .flat_map(|it| it.addresses.iter().flatten())
            .find_map(|address| address.split('/').next()?.parse().ok())
    }

    fn hostname(&self, task: &Task) -> Option<&str> {
        let node = self.nodes.get(task.node_id.as_deref()?)?;
        node.description.as_ref().map(|it| &*it.hostname).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests;

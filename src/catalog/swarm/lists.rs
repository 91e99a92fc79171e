//! What an engine says of its swarm (Docker Engine API, `/services`, `/nodes` and `/tasks`), as far as it matters here.
//!
//! Docker's own description of a task leaves out the addresses that it has on networks, so no client that is made from
//! it has them; engines have sent them since there are swarms.
//! Never: a place for what is not shown; all else is skipped while it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// All of a swarm, at about one moment.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) services: Many<Service>,
    pub(super) nodes: Many<Node>,
    /// Those that should run.
    pub(super) tasks: Many<Task>,
}

/// A list, of which what cannot be read is left out.
#[derive(Debug)]
pub(super) struct Many<T> {
    pub(super) elements: Vec<T>,
    /// How many are left out.
    pub(super) unreadable: usize,
    /// There were more than are read.
    pub(super) is_cut: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: Box<str>,
    pub(super) spec: ServiceSpec,
    pub(super) endpoint: Option<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ServiceSpec {
    pub(super) name: Box<str>,
    pub(super) labels: Option<BTreeMap<Box<str>, Box<str>>>,
    pub(super) endpoint_spec: Option<Ports>,
}

/// What was made of the specification: ports that nobody chose have a number here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Endpoint {
    pub(super) ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Ports {
    pub(super) ports: Option<Vec<Port>>,
}

/// A port of a service or task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Port {
    pub(super) name: Option<Box<str>>,
    /// `tcp`, `udp` or `sctp`
    pub(super) protocol: Option<Box<str>>,
    /// In the container.
    pub(super) target_port: u16,
    /// On nodes; 0 when there is none.
    pub(super) published_port: u16,
    /// `ingress`: on all nodes; `host`: on that of the task.
    pub(super) publish_mode: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Node {
    #[serde(rename = "ID")]
    pub(super) id: Box<str>,
    pub(super) description: Option<Description>,
    pub(super) status: Option<Address>,
    pub(super) manager_status: Option<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Description {
    pub(super) hostname: Box<str>,
}

/// An address; of a manager with a port.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Address {
    pub(super) addr: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Task {
    #[serde(rename = "ID")]
    pub(super) id: Box<str>,
    #[serde(rename = "ServiceID")]
    pub(super) service_id: Box<str>,
    /// Which replica; none of a service that has one task on each node.
    pub(super) slot: Option<u64>,
    #[serde(rename = "NodeID")]
    pub(super) node_id: Option<Box<str>>,
    pub(super) status: TaskStatus,
    pub(super) desired_state: Box<str>,
    pub(super) networks_attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct TaskStatus {
    pub(super) state: Box<str>,
    /// Those published on its node.
    pub(super) port_status: Option<Ports>,
}

/// A network that a task is on.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Attachment {
    pub(super) network: Network,
    /// `10.0.1.2/24`
    pub(super) addresses: Option<Vec<Box<str>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Network {
    #[serde(rename = "ID")]
    pub(super) id: Box<str>,
    pub(super) spec: NetworkSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct NetworkSpec {
    pub(super) name: Box<str>,
}

/// Most elements of a list; real ones have so many bytes that the bound on an answer is met before.
const ELEMENTS_MAX: usize = 100_000;

// === impl Many ===

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self { elements: Vec::new(), unreadable: 0, is_cut: false }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            /// An empty list, as some engines write it.
            fn visit_unit<E>(self) -> Result<Many<T>, E> {
                Ok(Many::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Many<T>, A::Error> {
                let mut many = Many::default();
                while many.elements.len() < ELEMENTS_MAX {
                    match list.next_element::<&RawValue>()? {
                        None => return Ok(many),
                        Some(element) => match serde_json::from_str(element.get()) {
                            Ok(element) => many.elements.push(element),
                            Err(_) => many.unreadable += 1,
                        },
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    many.is_cut = true;
                }
                Ok(many)
            }
        }

        from.deserialize_any(List(PhantomData))
    }
}

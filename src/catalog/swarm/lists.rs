//! What an engine says of its swarm (Docker Engine API, `/services`, `/nodes` and `/tasks`), as far as it matters here.
//!
//! Docker's own description of a task leaves out the addresses that it has on networks, so no client that is made from
//! it has them; engines have sent them since there are swarms.
//! Never: a place for what is not shown; all else is skipped while it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::wire::lenient::{Gap, Unreadable, read_elements};

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

/// Reads a list as it comes.
///
/// # Errors
/// When it is none, has more than a mebibyte without an element, or cannot be read to its end.
pub(super) fn read_many<T: DeserializeOwned>(body: impl Read) -> Result<Many<T>, Unreadable> {
    let (gap, mut many) = (Gap::default(), Many::default());
    match read_elements(body, &gap, Elements { many: &mut many, gap: &gap }) {
        Err(_) if many.is_cut => Ok(many),
        read => read.map(|()| many),
    }
}

/// Reads elements into a list.
struct Elements<'m, T> {
    many: &'m mut Many<T>,
    gap: &'m Gap,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Elements<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Elements<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// An empty list, as some engines write it.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { many, gap } = self;
        while let Some(element) = list.next_element::<Box<RawValue>>()? {
            gap.close();
            if ELEMENTS_MAX <= many.elements.len() {
                many.is_cut = true;
                return Err(A::Error::custom("its elements were enough"));
            }
            match serde_json::from_str(element.get()) {
                Ok(element) => many.elements.push(element),
                Err(_) => many.unreadable += 1,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(usize, usize, bool)> {
        let many = read_many::<Service>(text.as_bytes()).ok()?;
        Some((many.elements.len(), many.unreadable, many.is_cut))
    }

    #[test]
    fn what_cannot_be_read_of_a_list_is_left_out() {
        assert_eq!(read("null"), Some((0, 0, false)));
        assert_eq!(read(r#"[{"ID":"a"},5,{"ID":7},{}]"#), Some((2, 2, false)));
        for bad in ["", "{}", "[{}", "[{}] x", "<html>"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_list_is_read_as_far_as_is_needed() {
        let full = format!("[{}{{}}", "{},".repeat(ELEMENTS_MAX - 1));
        assert_eq!(read(&format!("{full}]")), Some((ELEMENTS_MAX, 0, false)));
        assert_eq!(read(&format!("{full},{{}},")), Some((ELEMENTS_MAX, 0, true)));
        for filler in [b' ', b'"', b'['] {
            assert!(read_many::<Service>((&b"[{},"[..]).chain(std::io::repeat(filler))).is_err());
        }
    }
}

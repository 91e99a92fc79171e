//! What a service says of itself: its name, its labels, its ports, and which of them speak what.
//!
//! Labels become tags `key=value` and metadata; those that begin with `a8.endpoint.` are for us and become neither.
//! Never: fails over a label; one that cannot be used is said and passed over.

use std::collections::BTreeMap;

use super::lists::{Port, Service};
use crate::model::{EndpointType, Invalid, Metadata, ServiceName};

/// A service, as far as all its tasks have it in common.
#[derive(Debug)]
pub(super) struct Described<'a> {
    pub(super) name: ServiceName,
    pub(super) tags: Box<[Box<str>]>,
    /// All that it publishes.
    pub(super) ports: &'a [Port],
    labels: BTreeMap<&'a str, &'a str>,
    /// Container ports that the label `a8.endpoint.port` names.
    wanted: Vec<Port>,
    kind: Option<EndpointType>,
    kinds: BTreeMap<u16, EndpointType>,
}

/// How its tasks' endpoints are spoken to; followed by a dot and a container port: only there.
const KIND: &str = "a8.endpoint.type";
/// Which container ports are shown: `8080` or `8080, 53/udp`.
const PORT: &str = "a8.endpoint.port";
const OURS: &str = "a8.endpoint.";
/// Most bytes of the labels of a service; with more, it is shown without them.
const LABELS_MAX: usize = 8 * 1024;
/// Room for the labels with every character escaped, and for the names of task and node.
const METADATA_MAX: usize = 8 * LABELS_MAX;

// === impl Described ===

impl<'a> Described<'a> {
    /// # Errors
    /// When its name is too long.
    pub(super) fn of(service: &'a Service, fault: &mut dyn FnMut(String)) -> Result<Self, Invalid> {
        let name: ServiceName = service.spec.name.parse()?;
        let all = service.spec.labels.iter().flatten().map(|(key, value)| (&**key, &**value));
        let (ours, mut labels): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(key, _)| key.starts_with(OURS));
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        if LABELS_MAX < bytes {
            fault(format!("service {name}: its labels have {bytes} bytes, at most {LABELS_MAX} are shown"));
            labels.clear();
        }
        let made = service.endpoint.as_ref().and_then(|endpoint| endpoint.ports.as_deref());
        let asked = service.spec.endpoint_spec.as_ref().and_then(|spec| spec.ports.as_deref());
        let mut described = Self {
            name,
            tags: labels.iter().map(|(key, value)| format!("{key}={value}").into()).collect(),
            ports: made.or(asked).unwrap_or_default(),
            labels,
            wanted: Vec::new(),
            kind: None,
            kinds: BTreeMap::new(),
        };
        for (key, value) in ours {
            if let Err(why) = described.take(key, value) {
                fault(format!("service {}: label {key}: {why}", described.name));
            }
        }
        Ok(described)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let kind = || value.parse::<EndpointType>().map_err(|invalid| invalid.to_string());
        if key == KIND {
            self.kind = Some(kind()?);
        } else if key == PORT {
            self.wanted = value.split(',').map(|port| port_of(port.trim())).collect::<Result<_, _>>()?;
        } else if let Some(port) = key.strip_prefix(KIND).and_then(|rest| rest.strip_prefix('.')) {
            let port = port.parse().map_err(|_| "does not end with the number of a port".to_owned())?;
            self.kinds.insert(port, kind()?);
        } else {
            return Err(format!("is not known, wanted {KIND}, {KIND}.PORT or {PORT}"));
        }
        Ok(())
    }

    /// Its ports as its containers have them: those that a label names, or else those that it publishes.
    pub(super) fn container_ports(&self) -> Vec<&Port> {
        let ports = if self.wanted.is_empty() { self.ports } else { &self.wanted };
        let ports: BTreeMap<_, _> =
            ports.iter().map(|port| ((port.target_port, &port.protocol), port)).collect();
        ports.into_values().collect()
    }

    /// Whether a published port is one that it wants to be shown.
    pub(super) fn wants(&self, port: &Port) -> bool {
        let is_same = |it: &Port| it.target_port == port.target_port && protocol(it) == protocol(port);
        self.wanted.is_empty() || self.wanted.iter().any(is_same)
    }

    /// How a port is spoken to: as the label of that port says, else what the label of the service says of ports with
    /// TCP, else by the port's name, else its protocol. None when that is neither `tcp` nor `udp`.
    pub(super) fn kind(&self, port: &Port) -> Option<EndpointType> {
        let by_protocol = match protocol(port) {
            "tcp" => EndpointType::Tcp,
            "udp" => EndpointType::Udp,
            _ => return None,
        };
        let own = self.kinds.get(&port.target_port).copied();
        let by_name = || match port.name.as_deref() {
            Some("http") => Some(EndpointType::Http),
            Some("https") => Some(EndpointType::Https),
            Some(_) | None => None,
        };
        let of_tcp = || match by_protocol {
            EndpointType::Tcp => self.kind.or_else(by_name),
            EndpointType::Udp | EndpointType::Http | EndpointType::Https | EndpointType::User => None,
        };
        Some(own.or_else(of_tcp).unwrap_or(by_protocol))
    }

    /// How an address is spoken to of which no port is known.
    pub(super) fn kind_without_port(&self) -> EndpointType {
        self.kind.unwrap_or(EndpointType::Tcp)
    }

    /// The labels and who it is, as an object of texts.
    pub(super) fn metadata(&self, task: &str, node: Option<&str>) -> Option<Metadata> {
        let mut texts = self.labels.clone();
        texts.insert("swarm.task", task);
        texts.extend(node.map(|node| ("swarm.node", node)));
        let json = serde_json::to_string(&texts).ok()?;
        Metadata::from_json(&json, METADATA_MAX).ok()
    }
}

/// Docker leaves out the usual one.
fn protocol(port: &Port) -> &str {
    port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("tcp")
}

fn port_of(text: &str) -> Result<Port, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match number.parse() {
        Ok(target_port) if target_port != 0 => {
            Ok(Port { target_port, protocol: Some(protocol.into()), ..Port::default() })
        }
        Ok(_) | Err(_) => Err(format!(
            "holds {:?}, wanted ports such as 8080 or 53/udp",
            crate::wire::lenient::excerpt(text)
        )),
    }
}

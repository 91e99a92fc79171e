//! What the API server says, as far as it is shown: addresses that serve, their ports, pods' labels and annotations.
//!
//! Objects are stripped while they are read: of a pod that fills a page, a few texts stay.
//! Never: keeps what cannot be shown, or decides what an instance is made of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{EndpointType, Metadata, ServiceName};

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    pub(super) metadata: PageMeta,
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: Option<String>,
    pub(super) r#continue: Option<String>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    pub(super) r#type: String,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// Which object an event is about, and the version that it makes.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    pub(super) metadata: IdentityMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityMeta {
    pub(super) name: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// What a request, or a watch, ended with.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct Refusal {
    pub(super) code: Option<u16>,
    pub(super) details: Option<RefusalDetails>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct RefusalDetails {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
}

/// An object that is followed.
pub(super) trait Followed: Sized {
    /// What is kept of the object, and what had to be left out of it. None when nothing of it is shown.
    ///
    /// # Errors
    /// When it is no such object; the text says why.
    fn read(object: &RawValue, namespace: &str) -> Result<(Option<Self>, Option<String>), String>;

    /// Roughly the memory that it and what is made of it take, in bytes.
    fn weight(&self) -> usize;
}

/// Addresses of a service that serve: an EndpointSlice, or an Endpoints object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) service: ServiceName,
    pub(super) groups: Box<[Group]>,
}

/// Addresses that all have the same ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) addresses: Box<[Address]>,
    pub(super) ports: Box<[Port]>,
}

/// An address that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) text: Box<str>,
    pub(super) pod: Option<PodReference>,
    /// Whether it will soon be gone.
    pub(super) is_terminating: bool,
}

/// Whose address it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodReference {
    pub(super) name: Box<str>,
    pub(super) uid: Option<Box<str>>,
}

/// A port that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) kind: PortKind,
}

/// How a port is spoken to. Of several at one port of an address the first of its protocol counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum PortKind {
    Https,
    Http,
    Tcp,
    Udp,
}

/// A pod, as far as its instances show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) uid: Box<str>,
    pub(super) tags: Box<[Box<str>]>,
    pub(super) metadata: Metadata,
}

#[derive(Deserialize)]
struct SliceObject {
    metadata: ObjectMeta,
    endpoints: Option<Vec<EndpointObject>>,
    ports: Option<Vec<PortObject>>,
    subsets: Option<Vec<SubsetObject>>,
}

#[derive(Deserialize)]
struct ObjectMeta {
    name: Option<String>,
    uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointObject {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize)]
struct PortObject {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

#[derive(Deserialize)]
struct SubsetObject {
    addresses: Option<Vec<SubsetAddress>>,
    ports: Option<Vec<PortObject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubsetAddress {
    ip: Option<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize)]
struct PodObject {
    metadata: ObjectMeta,
}

/// The label that names the service of an EndpointSlice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Most bytes of the labels of a pod that are shown.
const TAGS_MAX: usize = 4096;
/// What an instance takes besides its texts.
const INSTANCE_WEIGHT: usize = 256;

// === impl Slice ===

impl Followed for Slice {
    fn read(object: &RawValue, namespace: &str) -> Result<(Option<Self>, Option<String>), String> {
        let SliceObject { metadata, endpoints, ports, subsets } = parsed(object)?;
        let name = metadata.name.ok_or("it has no name")?;
        let slice = match (endpoints, subsets) {
            // Neither is there: a slice without endpoints, or an Endpoints object without addresses.
            (None, None) => return Ok((None, None)),
            (Some(endpoints), _) => {
                let Some(service) = metadata.labels.unwrap_or_default().remove(SERVICE_LABEL) else {
                    return Ok((None, None));
                };
                let addresses = endpoints.into_iter().filter_map(|it| it.into_address(namespace)).collect();
                Self::of(&service, vec![Group { addresses, ports: shown_ports(ports) }])?
            }
            (None, Some(subsets)) => {
                let groups = subsets.into_iter().map(|subset| subset.into_group(namespace)).collect();
                Self::of(&name, groups)?
            }
        };
        Ok(((!slice.groups.is_empty()).then_some(slice), None))
    }

    fn weight(&self) -> usize {
        let texts = |address: &Address| {
            address.text.len() + address.pod.as_ref().map_or(0, |pod| 2 * pod.name.len() + 36)
        };
        let of_group = |group: &Group| {
            let texts: usize = group.addresses.iter().map(|it| texts(it) + INSTANCE_WEIGHT).sum();
            texts.saturating_mul(group.ports.len())
        };
        self.groups.iter().map(of_group).fold(0, usize::saturating_add)
    }
}

impl Slice {
    fn of(service: &str, groups: Vec<Group>) -> Result<Self, String> {
        let service = service.parse().map_err(|why| format!("its service {service:?}: {why}"))?;
        let is_shown = |group: &Group| !group.addresses.is_empty() && !group.ports.is_empty();
        Ok(Self { service, groups: groups.into_iter().filter(is_shown).collect() })
    }
}

impl EndpointObject {
    /// The address if it serves. All addresses of an endpoint lead to the same place; the first is shown.
    fn into_address(self, namespace: &str) -> Option<Address> {
        let Self { addresses, conditions, target_ref } = self;
        let Conditions { ready, serving, terminating } = conditions.unwrap_or_default();
        // Unknown counts as ready (EndpointConditions of discovery.k8s.io/v1).
        let is_ready = ready.unwrap_or(true);
        let is_terminating = terminating.unwrap_or(false);
        let is_serving = if is_terminating { serving.unwrap_or(is_ready) } else { is_ready };
        let text = addresses?.into_iter().next().filter(|text| is_serving && !text.is_empty())?;
        let pod = target_ref.and_then(|target| target.into_pod(namespace));
        Some(Address { text: text.into(), pod, is_terminating })
    }
}

impl SubsetObject {
    fn into_group(self, namespace: &str) -> Group {
        let addresses = self.addresses.unwrap_or_default().into_iter().filter_map(|address| {
            let text = address.ip.filter(|text| !text.is_empty())?;
            let pod = address.target_ref.and_then(|target| target.into_pod(namespace));
            Some(Address { text: text.into(), pod, is_terminating: false })
        });
        Group { addresses: addresses.collect(), ports: shown_ports(self.ports) }
    }
}

impl TargetRef {
    fn into_pod(self, of_namespace: &str) -> Option<PodReference> {
        let Self { kind, namespace, name, uid } = self;
        let is_ours = namespace.is_none_or(|it| it.is_empty() || it == of_namespace);
        let name = name.filter(|_| is_ours && kind.is_some_and(|kind| kind == "Pod"))?;
        Some(PodReference { name: name.into(), uid: uid.map(String::into_boxed_str) })
    }
}

// === impl Port ===

/// The ports that can be shown; others, such as those of SCTP, are left out (spec amalgam8 section 8).
fn shown_ports(ports: Option<Vec<PortObject>>) -> Box<[Port]> {
    let mut shown: Vec<_> = ports.unwrap_or_default().iter().filter_map(PortObject::shown).collect();
    shown.sort_unstable();
    shown.dedup();
    shown.into()
}

impl PortObject {
    fn shown(&self) -> Option<Port> {
        let number = self.port.and_then(|port| u16::try_from(port).ok()).filter(|number| *number != 0)?;
        let name = self.name.as_deref().unwrap_or_default();
        let kind = match self.protocol.as_deref().unwrap_or_default() {
            "UDP" => PortKind::Udp,
            "TCP" | "" if name.eq_ignore_ascii_case("https") => PortKind::Https,
            "TCP" | "" if name.eq_ignore_ascii_case("http") => PortKind::Http,
            "TCP" | "" => PortKind::Tcp,
            _ => return None,
        };
        Some(Port { number, kind })
    }
}

impl PortKind {
    pub(super) fn endpoint_type(self) -> EndpointType {
        match self {
            Self::Https => EndpointType::Https,
            Self::Http => EndpointType::Http,
            Self::Tcp => EndpointType::Tcp,
            Self::Udp => EndpointType::Udp,
        }
    }

    pub(super) fn is_udp(self) -> bool {
        self == Self::Udp
    }
}

// === impl Pod ===

impl Followed for Pod {
    fn read(object: &RawValue, _namespace: &str) -> Result<(Option<Self>, Option<String>), String> {
        let PodObject { metadata: ObjectMeta { name, uid, labels, annotations } } = parsed(object)?;
        let name = name.ok_or("it has no name")?;
        let uid = uid.filter(|uid| !uid.is_empty()).ok_or("it has no uid")?;
        let labels = labels.unwrap_or_default();
        let had = labels.len();
        let tag = |(key, value): (&String, &String)| format!("{key}={value}").into_boxed_str();
        let tags = shortest(labels.iter().map(tag).collect(), TAGS_MAX, |tag| tag.len());
        let cut = (tags.len() < had).then(|| {
            format!("pod {name:?}: {} of its {had} labels, {TAGS_MAX} bytes are shown", had - tags.len())
        });
        let (metadata, cut_metadata) = metadata_of(&name, annotations)?;
        let pod = Self { uid: uid.into(), tags: tags.into(), metadata };
        Ok((Some(pod), cut.or(cut_metadata)))
    }

    fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        INSTANCE_WEIGHT + self.uid.len() + tags + self.metadata.as_json().len()
    }
}

/// Annotations as metadata: an object of texts, `null` when there are none (spec amalgam8 section 8).
fn metadata_of(
    pod: &str,
    annotations: Option<BTreeMap<String, String>>,
) -> Result<(Metadata, Option<String>), String> {
    let annotations = annotations.unwrap_or_default();
    let had = annotations.len();
    let quoted = |text: &str| serde_json::to_string(text).map_err(|error| error.to_string());
    let mut members = Vec::with_capacity(had);
    for (key, value) in &annotations {
        members.push(format!("{}:{}", quoted(key)?, quoted(value)?));
    }
    // Two braces, and a comma before each but the first.
    let members = shortest(members, Metadata::AMALGAM8_MAX - 2, |member| member.len() + 1);
    let cut = (members.len() < had).then(|| {
        let max = Metadata::AMALGAM8_MAX;
        format!("pod {pod:?}: {} of its {had} annotations, {max} bytes are shown", had - members.len())
    });
    let json = if had == 0 { "null".to_owned() } else { format!("{{{}}}", members.join(",")) };
    let metadata = Metadata::from_json(&json, Metadata::AMALGAM8_MAX).map_err(|why| why.to_string())?;
    Ok((metadata, cut))
}

/// As many of them as fit, the shortest first, in the order that they came in.
fn shortest<T>(texts: Vec<T>, max: usize, length: impl Fn(&T) -> usize) -> Vec<T> {
    if texts.iter().map(&length).sum::<usize>() <= max {
        return texts;
    }
    let mut by_length: Vec<_> = texts.iter().map(&length).enumerate().collect();
    by_length.sort_by_key(|(position, length)| (*length, *position));
    let mut room = max;
    let mut fits = vec![false; texts.len()];
    for (position, length) in by_length {
        let Some(left) = room.checked_sub(length) else { break };
        room = left;
        fits[position] = true;
    }
    texts.into_iter().zip(fits).filter_map(|(text, fits)| fits.then_some(text)).collect()
}

fn parsed<'a, T: Deserialize<'a>>(object: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(object.get()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

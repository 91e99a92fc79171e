//! What is known of one Kubernetes namespace, and the instances that it makes.
//!
//! The same address and port in several slices of a service is one instance: slices split, move and overlap for a
//! moment. An id is that of the pod (or address) and port; where several instances would have the same, which
//! service, address and protocol they are of decides who has it, so that all registries agree.
//! Never: waits, speaks, or changes what it was told.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::objects::{Address, Followed, Pod, Port, PortKind, Slice};
use super::room::{Held, Room};
use crate::model::{
    CatalogName, Endpoint, Foreign, Instance, InstanceId, Registration, ServiceName, Status, Timestamp,
};

/// One namespace of Kubernetes.
#[derive(Debug)]
pub(super) struct World {
    slices: Shelf<Slice>,
    pods: Shelf<Pod>,
    /// Pods that are no more, until nothing refers to them.
    departed: HashMap<Box<str>, Held<Pod>>,
    services: BTreeMap<ServiceName, Service>,
    /// The services that have an address of a pod.
    referrers: HashMap<Box<str>, BTreeSet<ServiceName>>,
    /// Who would have an id.
    claims: HashMap<Box<str>, BTreeSet<Claim>>,
    /// Services that may have changed since the last time that differences were taken.
    touched: BTreeSet<ServiceName>,
}

/// What differs from the last time.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) puts: Vec<Instance>,
    pub(super) gone: Vec<InstanceId>,
    /// What could not be shown, and why.
    pub(super) left_out: Vec<String>,
}

/// There is no room for one more object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Objects of one kind by name.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    room: Room,
    held: HashMap<Box<str>, Held<T>>,
    /// Those that the list under way has named.
    seen: Option<HashSet<Box<str>>>,
    is_listed: bool,
}

#[derive(Debug, Default)]
struct Service {
    slices: BTreeSet<Box<str>>,
    pods: BTreeSet<Box<str>>,
    claims: Vec<(Box<str>, Claim)>,
    ids: Vec<InstanceId>,
}

/// One instance's claim to an id; the first in order has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Claim {
    service: ServiceName,
    /// IPv4 before IPv6.
    is_ipv6: bool,
    address: Box<str>,
    kind: PortKind,
}

/// An instance without its id.
#[derive(Debug)]
struct Candidate {
    base: Box<str>,
    claim: Claim,
    registration: Registration,
}

/// Most instances of one service that are made, so that a lying API server costs bounded time.
const SERVICE_MAX: usize = 100_000;

// === impl Shelf ===

impl<T: Followed> Shelf<T> {
    fn new(room: Room) -> Self {
        Self { room, held: HashMap::new(), seen: None, is_listed: false }
    }

    /// All objects follow.
    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    /// Names of those that the list did not have.
    fn end(&mut self) -> Vec<Box<str>> {
        self.is_listed = true;
        let seen = self.seen.take().unwrap_or_default();
        self.held.keys().filter(|name| !seen.contains(*name)).cloned().collect()
    }

    /// Puts it there.
    fn add(&mut self, name: &str, object: T) -> Result<(), NoRoom> {
        let weight = object.weight().saturating_add(name.len());
        let held = self.room.hold(object, weight).ok_or(NoRoom)?;
        self.held.insert(name.into(), held);
        self.see(name);
        Ok(())
    }

    /// The list under way has it.
    fn see(&mut self, name: &str) {
        if let Some(seen) = &mut self.seen {
            seen.insert(name.into());
        }
    }

    fn has(&self, name: &str, object: &T) -> bool
    where
        T: PartialEq,
    {
        self.held.get(name).is_some_and(|held| **held == *object)
    }
}

// === impl World ===

impl World {
    /// Nothing is known yet.
    pub(super) fn new(room: &Room) -> Self {
        Self {
            slices: Shelf::new(room.clone()),
            pods: Shelf::new(room.clone()),
            departed: HashMap::new(),
            services: BTreeMap::new(),
            referrers: HashMap::new(),
            claims: HashMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Whether all objects were listed once.
    pub(super) fn is_listed(&self) -> bool {
        self.slices.is_listed && self.pods.is_listed
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.slices.held.is_empty() && self.pods.held.is_empty()
    }

    /// Whether something may differ.
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// All slices follow.
    pub(super) fn begin_slices(&mut self) {
        self.slices.begin();
    }

    /// Those were all slices.
    pub(super) fn end_slices(&mut self) {
        for name in self.slices.end() {
            // Taking away needs no room.
            let _ = self.put_slice(&name, None);
        }
    }

    /// A slice is so, or is no more.
    pub(super) fn put_slice(&mut self, name: &str, slice: Option<Slice>) -> Result<(), NoRoom> {
        if slice.as_ref().is_some_and(|slice| self.slices.has(name, slice)) {
            self.slices.see(name);
            return Ok(());
        }
        if let Some(before) = self.slices.held.remove(name) {
            self.touched.insert(before.service.clone());
            if let Some(service) = self.services.get_mut(&before.service) {
                service.slices.remove(name);
            }
        }
        let Some(slice) = slice else { return Ok(()) };
        let service = slice.service.clone();
        self.slices.add(name, slice)?;
        self.touched.insert(service.clone());
        self.services.entry(service).or_default().slices.insert(name.into());
        Ok(())
    }

    /// All pods follow.
    pub(super) fn begin_pods(&mut self) {
        self.pods.begin();
    }

    /// Those were all pods.
    pub(super) fn end_pods(&mut self) {
        for name in self.pods.end() {
            // Taking away needs no room.
            let _ = self.put_pod(&name, None);
        }
    }

    /// A pod is so, or is no more. One that is no more counts until its addresses are gone.
    pub(super) fn put_pod(&mut self, name: &str, pod: Option<Pod>) -> Result<(), NoRoom> {
        if pod.as_ref().is_some_and(|pod| self.pods.has(name, pod)) {
            self.pods.see(name);
            return Ok(());
        }
        let referrers = self.referrers.get(name);
        let before = self.pods.held.remove(name);
        let is_another = |before: &Held<Pod>| pod.as_ref().is_none_or(|pod| pod.uid != before.uid);
        if let Some(before) = before.filter(is_another)
            && (referrers.is_some() || !self.touched.is_empty())
        {
            self.departed.insert(name.into(), before);
        }
        self.touched.extend(referrers.into_iter().flatten().cloned());
        pod.map_or(Ok(()), |pod| self.pods.add(name, pod))
    }

    /// What differs since the last time.
    pub(super) fn differences(&mut self, now: Timestamp) -> Differences {
        let mut differences = Differences::default();
        let mut fresh: BTreeMap<ServiceName, Vec<Candidate>> = BTreeMap::new();
        let mut rivals = BTreeSet::new();
        for name in std::mem::take(&mut self.touched) {
            let candidates = self.candidates(&name, &mut differences.left_out);
            self.claim(&name, &candidates, &mut rivals);
            fresh.insert(name, candidates);
        }
        for name in rivals {
            if !fresh.contains_key(&name) {
                let candidates = self.candidates(&name, &mut differences.left_out);
                fresh.insert(name, candidates);
            }
        }
        let mut gone = HashSet::new();
        let mut put = HashSet::new();
        for (name, candidates) in fresh {
            let instances: Vec<_> = candidates.into_iter().map(|it| self.instance(it, now)).collect();
            let ids = instances.iter().map(|instance| instance.id.clone());
            put.extend(ids.clone());
            if let Some(service) = self.services.get_mut(&name) {
                gone.extend(std::mem::replace(&mut service.ids, ids.collect()));
            }
            differences.puts.extend(instances);
            if self.services.get(&name).is_some_and(|service| service.slices.is_empty()) {
                self.services.remove(&name);
            }
        }
        differences.gone = gone.into_iter().filter(|id| !put.contains(id)).collect();
        let referrers = &self.referrers;
        self.departed.retain(|name, _| referrers.contains_key(name));
        differences
    }

    /// All instances.
    pub(super) fn everything(&mut self, now: Timestamp) -> Differences {
        self.touched.extend(self.services.keys().cloned());
        self.differences(now)
    }

    /// The instances of a service; notes which pods they are of.
    fn candidates(&mut self, name: &ServiceName, left_out: &mut Vec<String>) -> Vec<Candidate> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let slices = service.slices.iter().filter_map(|slice| self.slices.held.get(slice));
        let mut serving: BTreeMap<(&str, u16, bool), (&Address, PortKind)> = BTreeMap::new();
        let groups = slices.flat_map(|slice| slice.groups.iter());
        let pairs = groups.flat_map(|group| {
            group.addresses.iter().flat_map(|address| group.ports.iter().map(move |port| (address, port)))
        });
        let mut is_full = false;
        for (address, Port { number, kind }) in pairs {
            let key = (&*address.text, *number, kind.is_udp());
            let is_new_and_full = SERVICE_MAX <= serving.len() && !serving.contains_key(&key);
            if is_new_and_full {
                is_full = true;
                break;
            }
            match serving.get_mut(&key) {
                Some((known, known_kind)) => {
                    *known_kind = (*known_kind).min(*kind);
                    if address.is_better_than(known) {
                        *known = address;
                    }
                }
                None => {
                    serving.insert(key, (address, *kind));
                }
            }
        }
        if is_full {
            left_out.push(format!("what service {name} has besides {SERVICE_MAX} instances"));
        }
        let mut pods = BTreeSet::new();
        let mut candidates = Vec::with_capacity(serving.len());
        for ((text, port, _), (address, kind)) in serving {
            pods.extend(address.pod.as_ref().map(|pod| pod.name.clone()));
            match self.candidate(name, text, port, address, kind) {
                Ok(candidate) => candidates.push(candidate),
                Err(why) => left_out.push(format!("an address of service {name}: {why}")),
            }
        }
        self.refer(name, pods);
        candidates
    }

    fn candidate(
        &self,
        service: &ServiceName,
        text: &str,
        port: u16,
        address: &Address,
        kind: PortKind,
    ) -> Result<Candidate, crate::model::Invalid> {
        let pod = self.pod_of(address);
        let is_ipv6 = text.contains(':');
        let value = if is_ipv6 { format!("[{text}]:{port}") } else { format!("{text}:{port}") };
        let registration = Registration {
            service: service.clone(),
            endpoint: Endpoint::new(kind.endpoint_type(), &value)?,
            status: if address.is_terminating { Status::OutOfService } else { Status::Up },
            tags: pod.map(|pod| pod.tags.clone()).unwrap_or_default(),
            metadata: pod.map(|pod| pod.metadata.clone()),
            ttl: None,
            eureka: None,
        };
        let base = format!("{}-{port}", pod.map_or(text, |pod| &pod.uid)).into();
        Ok(Candidate {
            base,
            claim: Claim { service: service.clone(), is_ipv6, address: text.into(), kind },
            registration,
        })
    }

    /// The pod that an address is of, if it is known.
    fn pod_of(&self, address: &Address) -> Option<&Pod> {
        let reference = address.pod.as_ref()?;
        let named = [self.pods.held.get(&reference.name), self.departed.get(&reference.name)];
        let is_it = |pod: &&Pod| reference.uid.as_ref().is_none_or(|uid| *uid == pod.uid);
        named.into_iter().flatten().map(|held| &**held).find(is_it)
    }

    fn refer(&mut self, name: &ServiceName, pods: BTreeSet<Box<str>>) {
        let Some(service) = self.services.get_mut(name) else { return };
        for pod in pods.difference(&service.pods) {
            self.referrers.entry(pod.clone()).or_default().insert(name.clone());
        }
        for pod in service.pods.difference(&pods) {
            if let Some(services) = self.referrers.get_mut(pod) {
                services.remove(name);
                if services.is_empty() {
                    self.referrers.remove(pod);
                }
            }
        }
        service.pods = pods;
    }

    /// Replaces the claims of a service; those who then may have another id are its rivals.
    fn claim(&mut self, name: &ServiceName, candidates: &[Candidate], rivals: &mut BTreeSet<ServiceName>) {
        let Some(service) = self.services.get_mut(name) else { return };
        let claims: Vec<_> = candidates.iter().map(|it| (it.base.clone(), it.claim.clone())).collect();
        let before = std::mem::take(&mut service.claims);
        let known: HashSet<_> = before.iter().collect();
        let new: Vec<_> = claims.iter().filter(|claim| !known.contains(claim)).cloned().collect();
        let kept: HashSet<_> = claims.iter().collect();
        for (base, claim) in before.iter().filter(|claim| !kept.contains(claim)) {
            if let Some(claims) = self.claims.get_mut(base) {
                claims.remove(claim);
                rivals.extend(claims.iter().map(|it| it.service.clone()));
                if claims.is_empty() {
                    self.claims.remove(base);
                }
            }
        }
        for (base, claim) in new {
            let others = self.claims.entry(base).or_default();
            rivals.extend(others.iter().map(|it| it.service.clone()));
            others.insert(claim);
        }
        service.claims = claims;
    }

    fn instance(&self, candidate: Candidate, now: Timestamp) -> Instance {
        let Candidate { base, claim, registration } = candidate;
        let first = self.claims.get(&base).and_then(BTreeSet::first);
        let id = claim.id(&base, first.unwrap_or(&claim));
        let foreign = Foreign { catalog: CatalogName::Kubernetes, renewed: None };
        registration.found(Some(InstanceId::from_text(&id)), foreign, now)
    }
}

// === impl Claim ===

impl Claim {
    /// The id of who claims one that `first` has: it says what sets them apart.
    fn id(&self, base: &str, first: &Self) -> String {
        let mut id = base.to_owned();
        if self.service != first.service {
            id.push('-');
            id.push_str(self.service.as_str());
        }
        if self.address != first.address {
            id.push('-');
            id.push_str(&self.address);
        }
        if self.kind.is_udp() != first.kind.is_udp() {
            // No service has a dot in its name, so this is nobody else's id.
            id.push('.');
            id.push_str(self.kind.endpoint_type().as_str());
        }
        id
    }
}

// === impl Address ===

impl Address {
    /// Which of two entries for the same address is believed: that which says that it stays.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.is_terminating, self.pod.is_none()) < (other.is_terminating, other.pod.is_none())
    }
}

#[cfg(test)]
mod tests;

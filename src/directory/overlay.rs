//! What catalogs have beside the store's own: instances without a lease, of which one is shown when nobody of
//! higher precedence has its id.
//!
//! Never: ends a lease, or counts what a catalog has against a namespace's capacity.

use std::collections::HashMap;
use std::sync::Arc;

use super::chunk::Edit;
use super::index::Entry;
use super::slots::Slot;
use super::writing::Changed;
use super::{Cause, Directory, Op, Refusal};
use crate::model::{CatalogName, Instance, InstanceId, Timestamp};
use crate::wire::encoded::Encoded;

/// What differs in a catalog.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Whose it is.
    pub catalog: CatalogName,
    /// New or changed, each id once; each has [`Instance::foreign`].
    pub puts: Vec<Arc<Instance>>,
    /// Ids that it has no more; none of them is among the new.
    pub gone: Vec<InstanceId>,
}

/// What each catalog has in a namespace, in order of precedence.
#[derive(Debug, Default)]
pub(super) struct Layers([HashMap<InstanceId, Arc<Instance>>; CatalogName::ALL.len()]);

// === impl Overlay ===

impl Overlay {
    /// Nothing differs.
    #[must_use]
    pub fn of(catalog: CatalogName) -> Self {
        Self { catalog, puts: Vec::new(), gone: Vec::new() }
    }
}

// === impl Layers ===

impl Layers {
    /// What is shown of an id when the store does not have it.
    pub(super) fn first(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.0.iter().find_map(|layer| layer.get(id))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(HashMap::is_empty)
    }
}

impl Directory {
    /// Takes over what differs in a catalog, as one change of what readers see.
    ///
    /// # Errors
    /// When the directory was closed.
    pub fn overlay(&self, overlay: Overlay) -> Result<(), Refusal> {
        let Overlay { catalog, puts, gone } = overlay;
        let now = self.clock.now();
        let mut writer = self.writing();
        if writer.is_closed {
            return Err(Refusal::Closed);
        }
        let mut layers = writer.layers.take().unwrap_or_default();
        let (mut edits, mut changes) = (Vec::new(), Vec::new());
        for id in &gone {
            let Some(was) = layers.0[catalog.position()].remove(id) else { continue };
            let shown = self.index.with(id.as_str(), |entry| Arc::ptr_eq(&entry.instance, &was));
            if shown != Some(true) {
                continue; // It was hidden.
            }
            match layers.first(id) {
                Some(next) => {
                    let (put, change) = self.put_foreign(next, Some(was));
                    edits.extend(put);
                    changes.push(change);
                }
                None => {
                    self.index.remove(id.as_str(), |_| true);
                    edits.push(Edit::removal(&was));
                    let (before, cause) = (Some(was.clone()), Cause::Catalog(catalog));
                    changes.push(Changed { op: Op::Remove, before, instance: was, slot: Slot::NONE, cause });
                }
            }
        }
        for instance in puts {
            let id = instance.id.clone();
            layers.0[catalog.position()].insert(id.clone(), instance.clone());
            let before = self.index.with(id.as_str(), Entry::clone);
            let is_hidden = before
                .as_ref()
                .is_some_and(|before| before.instance.foreign.is_none_or(|other| other.catalog < catalog));
            if !is_hidden {
                let (put, change) = self.put_foreign(&instance, before.map(|before| before.instance));
                edits.extend(put);
                changes.push(change);
            }
        }
        writer.layers = Some(layers).filter(|layers| !layers.is_empty());
        if !edits.is_empty() {
            self.publish(&mut writer, edits, now, changes);
        }
        Ok(())
    }

    /// Puts what a catalog has into the index, in the place of what is shown under its id.
    pub(super) fn put_foreign(
        &self,
        instance: &Arc<Instance>,
        before: Option<Arc<Instance>>,
    ) -> (Vec<Edit>, Changed) {
        let slot = Slot::NONE;
        self.index.put(slot, instance.clone(), || ());
        let encoded = Encoded::of(instance, Timestamp::default());
        let mut edits = vec![Edit::Put(slot, encoded, instance.clone())];
        if let Some(before) = &before
            && before.service != instance.service
        {
            edits.push(Edit::removal(before));
        }
        let catalog = instance.foreign.map(|foreign| foreign.catalog);
        let cause = catalog.map_or(Cause::Peer, Cause::Catalog);
        (edits, Changed { op: Op::Put, before, instance: instance.clone(), slot, cause })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Delta, LeaseRules, LogLimits, Placed, Selector, Shown};
    use super::*;
    use crate::model::{Endpoint, EndpointType, Foreign, Origin, Registration, Status};

    const MINUTE: Duration = Duration::from_secs(60);

    fn registration(value: &str) -> Registration {
        Registration {
            service: "web".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, value).unwrap(),
            status: Status::Up,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        }
    }

    fn own(value: &str) -> Instance {
        registration(value).grant(MINUTE, Timestamp::default())
    }

    /// Tagged with its catalog, so that one can tell whose it is.
    fn found(catalog: CatalogName, value: &str) -> Arc<Instance> {
        let tagged = Registration { tags: [catalog.as_str().into()].into(), ..registration(value) };
        Arc::new(tagged.found(None, Foreign { catalog, renewed: None }, Timestamp::default()))
    }

    fn directory() -> Directory {
        Directory::new(1, Arc::default(), Arc::default(), LogLimits::default(), LeaseRules::default())
    }

    fn put(directory: &Directory, catalog: CatalogName, values: &[&str]) {
        let puts = values.iter().map(|value| found(catalog, value)).collect();
        directory.overlay(Overlay { puts, ..Overlay::of(catalog) }).unwrap();
    }

    fn take(directory: &Directory, catalog: CatalogName, value: &str) {
        let gone = vec![found(catalog, value).id.clone()];
        directory.overlay(Overlay { gone, ..Overlay::of(catalog) }).unwrap();
    }

    /// Whose instance is shown, and that lists, look-ups and numbers agree about it.
    fn shown(directory: &Directory, value: &str) -> Option<&'static str> {
        let id = own(value).id;
        let shown = directory.get(id.as_str())?;
        let whose = shown.foreign.map_or("store", |foreign| foreign.catalog.as_str());
        assert_eq!(directory.catalog_of(id.as_str()).is_some(), whose != "store");
        assert_eq!(directory.get_own(id.as_str()).is_some(), whose == "store");
        let all = Selector { shown: Shown::All, ..Selector::default() };
        let listed = directory.select(&all).render("[".into(), "]".into(), super::super::Encoding::Identity);
        let listed: Vec<serde_json::Value> =
            serde_json::from_slice(&listed.collect::<Vec<_>>().concat()).unwrap();
        let one = listed.iter().find(|it| it["id"] == id.as_str()).unwrap();
        let tag = one["tags"][0].as_str().unwrap_or("store");
        assert_eq!((tag, one.get("ttl").is_some()), (whose, whose == "store"));
        assert_eq!(listed.len(), directory.len());
        assert_eq!(directory.counts().iter().sum::<usize>(), directory.len());
        Some(whose)
    }

    #[test]
    fn of_equal_ids_the_store_counts_and_then_the_order_of_catalogs() {
        let directory = directory();
        let id = own("a").id;
        put(&directory, CatalogName::Filesystem, &["a", "b"]);
        assert_eq!(shown(&directory, "a"), Some("filesystem"));
        put(&directory, CatalogName::Swarm, &["a"]);
        assert_eq!(shown(&directory, "a"), Some("filesystem"));
        put(&directory, CatalogName::Kubernetes, &["a"]);
        assert_eq!(shown(&directory, "a"), Some("kubernetes"));
        assert_eq!(directory.place(&own("a"), Some(1), Origin::Client).unwrap().0, Placed::New);
        assert_eq!((shown(&directory, "a"), directory.own_len(), directory.len()), (Some("store"), 1, 2));
        take(&directory, CatalogName::Kubernetes, "a");
        assert_eq!(shown(&directory, "a"), Some("store"));
        assert!(directory.remove(id.as_str(), Origin::Client).is_some());
        assert_eq!((shown(&directory, "a"), directory.own_len()), (Some("filesystem"), 0));
        take(&directory, CatalogName::Filesystem, "a");
        assert_eq!(shown(&directory, "a"), Some("swarm"));
        take(&directory, CatalogName::Swarm, "a");
        take(&directory, CatalogName::Filesystem, "b");
        assert_eq!((shown(&directory, "a"), directory.len()), (None, 0));
        assert!(directory.writer.lock().layers.is_none());
    }

    #[test]
    fn nobody_writes_to_what_a_catalog_has() {
        let directory = directory();
        put(&directory, CatalogName::Consul, &["a"]);
        let (id, now) = (own("a").id, directory.clock.now());
        let before = directory.tag();
        assert!(!directory.renew(id.as_str(), now));
        assert_eq!(directory.update(id.as_str(), Origin::Client, |it| Ok(it.clone())), Ok(None));
        assert_eq!(directory.remove(id.as_str(), Origin::Client), None);
        assert!(directory.slots.due(now.plus(Duration::from_secs(100_000))).is_empty(), "it has no lease");
        assert_eq!((directory.tag(), shown(&directory, "a")), (before, Some("consul")));
    }

    #[test]
    fn changes_name_the_catalog_and_what_is_hidden_is_no_change() {
        let directory = directory();
        put(&directory, CatalogName::Eureka, &["a", "b"]);
        directory.place(&own("a"), None, Origin::Client).unwrap();
        put(&directory, CatalogName::Eureka, &["a"]);
        take(&directory, CatalogName::Eureka, "b");
        directory.remove(own("a").id.as_str(), Origin::Client).unwrap();
        let Delta::Changes(changes) = directory.since(0) else { panic!("all of them are kept") };
        let eureka = Cause::Catalog(CatalogName::Eureka);
        let told: Vec<_> = changes.iter().map(|it| (it.op, it.cause, it.instance.endpoint.value())).collect();
        assert_eq!(
            told,
            [
                (Op::Put, eureka, "a"),
                (Op::Put, eureka, "b"),
                (Op::Put, Cause::Client, "a"),
                (Op::Remove, eureka, "b"),
                (Op::Put, eureka, "a"),
            ]
        );
    }

    #[test]
    fn an_instance_that_expires_uncovers_what_a_catalog_has() {
        let directory = directory();
        let soon = Instance { ttl: Duration::from_millis(1), ..own("a") };
        directory.place(&soon, None, Origin::Client).unwrap();
        put(&directory, CatalogName::Filesystem, &["a"]);
        let later = directory.clock.now().plus(Duration::from_secs(1));
        assert_eq!(directory.expire(&directory.slots.due(later), later).len(), 1);
        assert_eq!(shown(&directory, "a"), Some("filesystem"));
    }
}

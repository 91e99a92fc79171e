//! Read-only catalogs: foreign systems whose instances stand beside the registry's own in every read.
//!
//! Each catalog is a loop that follows one system and says what it finds through its [`Sink`]; [`Catalogs`] brings
//! that into the directories, in order of precedence and within bounds, and tells how each catalog stands.
//! Never: delays a read, writes to a foreign system, or lets a catalog that fails take away what it had.

pub mod config;
pub mod consul;
pub mod eureka;
pub mod filesystem;
mod following;
pub mod kubernetes;
mod left_out;
mod metrics;
mod sink;
mod standing;
pub mod swarm;
mod usage;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::left_out::LeftOut;
use self::sink::Says;
use crate::directory::Overlay;
use crate::model::{CatalogName, Clock, Instance, InstanceId, Moment, Namespace};
use crate::store::Store;

pub use config::CatalogsConfig;
pub use following::Following;
pub use metrics::CatalogMetrics;
pub use sink::{Sink, Taken};
pub use standing::{STALE_AFTER, Standing, State};
pub use usage::InUse;

/// Why a catalog cannot be set up; says which flag is wrong and what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(pub String);

/// What all catalogs have found, brought into the store's directories; cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    on: Vec<CatalogName>,
    max_instances: usize,
    in_use: InUse,
    books: [Mutex<Book>; CatalogName::ALL.len()],
    tried: [CancellationToken; CatalogName::ALL.len()],
}

/// What one catalog has.
#[derive(Debug)]
struct Book {
    standing: Standing,
    /// What it has in each namespace, by id.
    found: HashMap<Namespace, HashMap<InstanceId, Arc<Instance>>>,
    left_out: LeftOut,
    /// When something skipped was last logged, and how much was not since.
    skip_logged: Option<Moment>,
    skips_unlogged: u64,
}

/// What a catalog tells of a namespace.
#[derive(Debug)]
struct Telling<'a> {
    name: CatalogName,
    namespace: &'a Namespace,
    says: Says,
    extent: Extent,
    puts: Vec<Instance>,
    gone: Vec<InstanceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Everything,
    Changes,
}

/// Ids of instances beyond a catalog's bound that are remembered, over all namespaces.
const LEFT_OUT_REMEMBERED: usize = 50_000;
/// Between two lines about things left out.
const SKIP_LOG_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

// === impl Catalogs ===

impl Catalogs {
    /// The catalogs that are `on`, of at most `max_instances` each, whose instances appear in the directories of
    /// `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<Clock>, on: Vec<CatalogName>, max_instances: usize) -> Self {
        Self(Arc::new(Inner {
            store,
            in_use: InUse::new(clock.clone()),
            clock,
            on,
            max_instances,
            books: std::array::from_fn(|_| Mutex::new(Book::empty())),
            tried: Default::default(),
        }))
    }

    /// The way of one catalog into the directories.
    #[must_use]
    pub fn sink(&self, name: CatalogName) -> Sink {
        Sink::new(self.clone(), name)
    }

    /// The namespaces that somebody uses.
    #[must_use]
    pub fn in_use(&self) -> &InUse {
        &self.0.in_use
    }

    /// The catalogs that are on, in order of precedence.
    pub fn on(&self) -> impl Iterator<Item = CatalogName> {
        self.0.on.iter().copied()
    }

    /// Whether a catalog is on.
    #[must_use]
    pub fn is_on(&self, name: CatalogName) -> bool {
        self.0.on.contains(&name)
    }

    /// The present, by which ages are told.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// How a catalog stands.
    #[must_use]
    pub fn standing(&self, name: CatalogName) -> Standing {
        self.book(name).lock().standing.clone()
    }

    /// Waits until a catalog's first attempt is over.
    pub async fn until_tried(&self, name: CatalogName) {
        self.0.tried[name.position()].cancelled().await;
    }

    fn book(&self, name: CatalogName) -> &Mutex<Book> {
        &self.0.books[name.position()]
    }

    /// All that a catalog has in a namespace.
    fn replace(&self, name: CatalogName, says: Says, namespace: &Namespace, puts: Vec<Instance>) -> Taken {
        let mut book = self.book(name).lock();
        let ids: HashSet<&InstanceId> = puts.iter().map(|instance| &instance.id).collect();
        let known = book.found.get(namespace);
        let gone =
            known.into_iter().flat_map(HashMap::keys).filter(|id| !ids.contains(id)).cloned().collect();
        book.left_out.forget(namespace);
        self.take(&mut book, Telling { name, namespace, says, extent: Extent::Everything, puts, gone })
    }

    /// What changed in a namespace.
    fn change(
        &self,
        name: CatalogName,
        says: Says,
        namespace: &Namespace,
        puts: Vec<Instance>,
        gone: &[InstanceId],
    ) -> Taken {
        let (extent, gone) = (Extent::Changes, gone.to_vec());
        let mut book = self.book(name).lock();
        self.take(&mut book, Telling { name, namespace, says, extent, puts, gone })
    }

    /// Takes over what differs, as far as the catalog may have it.
    fn take(&self, book: &mut Book, telling: Telling<'_>) -> Taken {
        let Telling { name, namespace, says, extent, puts, gone } = telling;
        let Book { standing, found, left_out, .. } = book;
        let known = found.entry(namespace.clone()).or_default();
        let mut overlay = Overlay::of(name);
        let put: HashSet<&InstanceId> = puts.iter().map(|instance| &instance.id).collect();
        for id in gone.into_iter().filter(|id| !put.contains(id)) {
            if known.remove(&id).is_some() {
                standing.instances -= 1;
                overlay.gone.push(id);
            } else {
                left_out.remove(namespace, &id);
            }
        }
        drop(put);
        let (mut skipped, mut seen) = (0, HashSet::new());
        for instance in puts {
            if !seen.insert(instance.id.clone()) {
                continue;
            }
            match known.get(&instance.id) {
                Some(before) if before.same_content(&instance) => continue,
                Some(_) => {}
                None if self.0.max_instances <= standing.instances => {
                    skipped += 1;
                    match extent {
                        Extent::Everything => left_out.list(namespace, instance.id),
                        Extent::Changes => left_out.add(namespace, instance.id),
                    }
                    continue;
                }
                None => {
                    left_out.remove(namespace, &instance.id);
                    standing.instances += 1;
                }
            }
            let instance = Arc::new(instance);
            known.insert(instance.id.clone(), instance.clone());
            overlay.puts.push(instance);
        }
        if known.is_empty() {
            found.remove(namespace);
        }
        if standing.left_out == 0 && skipped != 0 {
            tracing::warn!(
                catalog = %name, instances = skipped,
                "catalog {name}: {skipped} instances are left out, it has more than {}; see --catalog_max_instances",
                self.0.max_instances
            );
        }
        standing.left_out = left_out.count();
        match says {
            Says::Current => self.is_current(name, standing),
            Says::Nothing => {}
        }
        let changed = overlay.puts.len() + overlay.gone.len();
        if changed != 0
            && let Err(error) = self.0.store.overlay(namespace, overlay)
        {
            tracing::warn!(catalog = %name, %error, "catalog {name}: namespace {namespace} cannot be shown: {error}");
            standing.error = Some(format!("not shown: {error}"));
        }
        Taken { changed, left_out: skipped }
    }

    fn current(&self, name: CatalogName) {
        self.is_current(name, &mut self.book(name).lock().standing);
    }

    fn is_current(&self, name: CatalogName, standing: &mut Standing) {
        let now = self.0.clock.now();
        if standing.error.take().is_some() {
            let since = standing.current_at.map(|at| now.since(at));
            tracing::info!(catalog = %name, ?since, "catalog {name} is followed again");
        } else if standing.current_at.is_none() {
            tracing::info!(catalog = %name, "catalog {name} is followed");
        }
        standing.current_at = Some(now);
    }

    fn failed(&self, name: CatalogName, error: &str) {
        let mut book = self.book(name).lock();
        let standing = &mut book.standing;
        standing.failures += 1;
        if standing.error.is_none() {
            tracing::warn!(
                catalog = %name, error,
                "catalog {name} cannot be followed: {error}; {} instances stay as they were", standing.instances
            );
        }
        standing.error = Some(error.to_owned());
    }

    fn skipped(&self, name: CatalogName, what: &dyn Display) {
        let now = self.0.clock.now();
        let mut book = self.book(name).lock();
        book.standing.skipped += 1;
        if book.skip_logged.is_some_and(|at| now.since(at) < SKIP_LOG_EVERY) {
            book.skips_unlogged += 1;
            return;
        }
        let unlogged = std::mem::take(&mut book.skips_unlogged);
        book.skip_logged = Some(now);
        tracing::warn!(catalog = %name, unlogged, "catalog {name}: left out: {what}");
    }

    fn left_out(&self, name: CatalogName, things: usize) {
        self.book(name).lock().standing.skipped += u64::try_from(things).unwrap_or(u64::MAX);
    }

    fn max_instances(&self) -> usize {
        self.0.max_instances
    }

    fn tried(&self, name: CatalogName) {
        self.0.tried[name.position()].cancel();
    }
}

// === impl Book ===

impl Book {
    fn empty() -> Self {
        Self {
            standing: Standing::waiting(),
            found: HashMap::new(),
            left_out: LeftOut::none(LEFT_OUT_REMEMBERED),
            skip_logged: None,
            skips_unlogged: 0,
        }
    }
}

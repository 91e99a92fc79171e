//! The narrow waist: writes go to the store, reads to the namespace's directory.
//!
//! Never: knows a protocol, or which store it has.

mod forward;
mod metrics;
mod recent;

use std::future::ready;
use std::sync::{Arc, OnceLock};

use futures_util::future::Either;

use crate::directory::Directory;
use crate::model::{
    Clock, Heard, Instance, InstanceId, Namespace, Origin, Registration, Status, Timestamp, TtlLimits, Update,
};
use crate::store::{Census, Registered, Store};

pub use crate::store::{Answer, Standing, StoreError};
pub use forward::{Forward, Forwarded, Replica, Replicas};
pub use metrics::RegistryMetrics;
pub use recent::{Known, Since, TakenOver};

use recent::Recent;

/// What handlers call; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    ttl: TtlLimits,
    /// What readers of a namespace see that nobody has written to.
    vacant: Arc<Directory>,
    /// Told of each namespace that is read or written, when somebody wants to know.
    usage: OnceLock<Arc<dyn Usage>>,
    forward: OnceLock<Arc<dyn Forward>>,
    recent: Recent,
}

/// Who wants to know which namespaces are used. Called for each read: it must cost next to nothing.
pub trait Usage: Send + Sync + std::fmt::Debug {
    /// Somebody reads this namespace.
    fn used(&self, namespace: &Namespace);
}

/// A renewal by the Eureka API.
#[derive(Debug, Clone, Copy)]
pub struct Beat<'a> {
    /// The application's name in any letter case.
    pub application: &'a str,
    /// The id within the application.
    pub id: &'a str,
    /// The version of the document that the caller has.
    pub dirty_at: Option<Timestamp>,
    /// The override that a peer has.
    pub overridden: Option<Status>,
    /// Who renews.
    pub origin: Origin,
}

/// What a renewal by the Eureka API came to.
#[derive(Debug, Clone)]
pub enum Beaten {
    /// The lease goes on.
    Renewed,
    /// There is no such instance, or the caller knows a newer one: it has to register.
    MustRegister,
    /// A peer's copy is older; this is ours.
    PeerIsBehind(Arc<Instance>),
}

/// What becomes of an instance by a renewal.
#[derive(Debug)]
enum Verdict {
    /// Its lease begins anew.
    Renew(Beaten),
    /// Nothing: it has no status.
    Refuse,
    /// An override comes into force, and its lease begins anew.
    Override { id: InstanceId, status: Status, outcome: Beaten },
}

/// A lease that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The id to renew and deregister with.
    pub id: InstanceId,
    /// Length of the lease in force.
    pub ttl: std::time::Duration,
    /// Whether anything but the lease changed.
    pub changed: bool,
}

// === impl Beat ===

impl Beat<'_> {
    fn judge(&self, instance: &Arc<Instance>) -> Verdict {
        if instance.status == Status::Unknown {
            return Verdict::Refuse;
        }
        let heard = instance.hear(self.dirty_at, self.origin);
        let theirs = self.overridden.filter(|status| {
            heard == Heard::MustRegister && self.origin == Origin::Peer && *status != Status::Unknown
        });
        let wanted = theirs.or_else(|| instance.pending_override());
        let outcome = match heard {
            Heard::Renewed => Beaten::Renewed,
            Heard::MustRegister => Beaten::MustRegister,
            Heard::PeerIsBehind => Beaten::PeerIsBehind(instance.clone()),
        };
        match wanted.filter(|status| *status != instance.status) {
            None => Verdict::Renew(outcome),
            Some(status) => Verdict::Override { id: instance.id.clone(), status, outcome },
        }
    }
}

// === impl Registry ===

impl Registry {
    /// A registry over one store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<Clock>, ttl: TtlLimits) -> Self {
        let vacant = Arc::new(Directory::vacant(clock.clone()));
        let (usage, forward, recent) = (OnceLock::new(), OnceLock::new(), Recent::default());
        Self(Arc::new(Inner { store, clock, ttl, vacant, usage, forward, recent }))
    }

    /// Registers or replaces an instance.
    ///
    /// # Errors
    /// When the namespace, or the number of namespaces, is at its limit.
    pub async fn register(
        &self,
        namespace: &Namespace,
        asked: Registration,
        origin: Origin,
    ) -> Result<Granted, StoreError> {
        let ttl = self.0.ttl.grant(asked.ttl);
        let now = self.0.clock.time_of_day(self.0.clock.now());
        let registered = self.0.store.register(namespace, asked.grant(ttl, now), origin).await?;
        let Registered { instance, changed } = registered;
        if changed {
            let Instance { id, service, .. } = &*instance;
            tracing::info!(%namespace, %service, instance = %id, "instance {id} of {service} registered");
        }
        if changed && origin == Origin::Client && instance.document.is_none() && self.forwards(namespace) {
            self.forget_copy_of(namespace, &instance).await;
        }
        self.forward(namespace, origin, || match changed {
            true => Forwarded::Register(instance.clone()),
            false => Forwarded::Renew(instance.clone()),
        });
        Ok(Granted { id: instance.id.clone(), ttl: instance.ttl, changed })
    }

    /// Ends what a peer told of an instance by the Amalgam8 API that is now registered here itself.
    async fn forget_copy_of(&self, namespace: &Namespace, instance: &Instance) {
        let copy = InstanceId::of_application(instance.service.as_str(), instance.id.as_str());
        self.about_to_write(namespace, copy.as_str()).await;
        if self.directory(namespace).get_own(copy.as_str()).is_some() {
            // When it went meanwhile, that is as well.
            let _ = self.0.store.deregister(namespace, copy.as_str(), Origin::Peer).await;
        }
    }

    /// Begins a lease anew; fails when no living instance has this id.
    #[must_use]
    pub fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        if self.forwards(namespace)
            && let Some(instance) = self.directory(namespace).get_own(id)
        {
            self.forward(namespace, Origin::Client, || Forwarded::Renew(instance));
        }
        self.0.store.renew(namespace, id)
    }

    /// Begins many leases anew; one result for each id, in order.
    ///
    /// # Errors
    /// When the store as a whole cannot answer.
    pub async fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if self.forwards(namespace) {
            let directory = self.directory(namespace);
            for instance in ids.iter().filter_map(|id| directory.get_own(id)) {
                self.forward(namespace, Origin::Client, || Forwarded::Renew(instance));
            }
        }
        self.0.store.renew_many(namespace, ids).await
    }

    /// Changes a living instance; counts as a renewal. Answers with the instance as it is now.
    ///
    /// # Errors
    /// When no living instance has this id, or it would break a rule.
    pub async fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        self.about_to_write(namespace, id).await;
        self.update_at_once(namespace, id, update, origin).await
    }

    async fn update_at_once(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        let instance = self.0.store.update(namespace, id, update.clone(), origin).await?;
        let Instance { service, status, .. } = &*instance;
        tracing::info!(%namespace, %service, instance = %id, %status, "instance {id} of {service} is now {status}");
        self.forward(namespace, origin, || Forwarded::of_update(&instance, &update));
        Ok(instance)
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// When no living instance has this id.
    pub async fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        self.about_to_write(namespace, id).await;
        let instance = self.0.store.deregister(namespace, id, origin).await?;
        let service = &instance.service;
        tracing::info!(%namespace, %service, instance = %id, "instance {id} of {service} deregistered");
        self.forward(namespace, origin, || Forwarded::Deregister(instance.clone()));
        Ok(instance)
    }

    /// The id of what Eureka's clients know as `id` in this application, its name in any letter case.
    /// There may be no instance with it.
    #[must_use]
    pub fn id_of(&self, namespace: &Namespace, application: &str, id: &str) -> InstanceId {
        let found = self.directory(namespace).resolve(application, id);
        found.unwrap_or_else(|| InstanceId::of_application(application, id))
    }

    /// A renewal by the Eureka API (spec eureka section 1.8).
    #[must_use]
    pub fn beat(&self, namespace: &Namespace, beat: &Beat<'_>) -> Answer<Result<Beaten, StoreError>> {
        let store = &self.0.store;
        let (mut verdict, mut told) = (None, None);
        let is_told = beat.origin == Origin::Client && self.forwards(namespace);
        let answer = store.renew_if(namespace, (beat.application, beat.id), &mut |instance| {
            if is_told && instance.status != Status::Unknown {
                told = Some(instance.clone());
            }
            matches!(verdict.insert(beat.judge(instance)), Verdict::Renew(_))
        });
        if let Some(instance) = told {
            self.forward(namespace, beat.origin, || Forwarded::Renew(instance));
        }
        match verdict {
            None => answered(answer, Beaten::Renewed),
            Some(Verdict::Renew(outcome)) => answered(answer, outcome),
            Some(Verdict::Refuse) => Either::Left(ready(Ok(Beaten::MustRegister))),
            Some(Verdict::Override { id, status, outcome }) => {
                let update = Update::Override { status, dirty_at: None };
                let update = store.update(namespace, id.as_str(), update, beat.origin);
                Either::Right(Box::pin(async { beaten(update.await.map(drop), outcome) }))
            }
        }
    }

    fn forwards(&self, namespace: &Namespace) -> bool {
        self.0.forward.get().is_some_and(|forward| forward.wants(namespace))
    }

    fn forward(&self, namespace: &Namespace, origin: Origin, write: impl FnOnce() -> Forwarded) {
        if let (Origin::Client, Some(forward)) = (origin, self.0.forward.get())
            && forward.wants(namespace)
        {
            forward.offer(write());
        }
    }

    /// Has clients' writes sent on from now on; once for a registry.
    pub fn forward_to(&self, forward: Arc<dyn Forward>) {
        let is_first = self.0.forward.set(forward).is_ok();
        debug_assert!(is_first, "writes are forwarded by one");
    }

    /// Has `usage` told of each namespace that is read from now on; once for a registry.
    pub fn tell_usage(&self, usage: Arc<dyn Usage>) {
        let is_first = self.0.usage.set(usage).is_ok();
        debug_assert!(is_first, "usage is told to one");
    }

    /// Everything there is to read of a namespace. Reading never makes a namespace.
    #[must_use]
    pub fn directory(&self, namespace: &Namespace) -> Arc<Directory> {
        if let Some(usage) = self.0.usage.get() {
            usage.used(namespace);
        }
        self.0.store.directory(namespace).unwrap_or_else(|| self.0.vacant.clone())
    }

    /// Whether readers see all that was written.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.store.standing()
    }

    /// How much there is, with the `largest` namespaces by number of instances.
    #[must_use]
    pub fn census(&self, largest: usize) -> Census {
        self.0.store.census(largest)
    }
}

/// What a renewal came to, as soon as the store has heard it.
fn answered(answer: Answer<Result<(), StoreError>>, outcome: Beaten) -> Answer<Result<Beaten, StoreError>> {
    match answer {
        Either::Left(answer) => Either::Left(ready(beaten(answer.into_inner(), outcome))),
        Either::Right(answer) => Either::Right(Box::pin(async { beaten(answer.await, outcome) })),
    }
}

/// What a renewal came to, when the store has heard it.
fn beaten(renewed: Result<(), StoreError>, outcome: Beaten) -> Result<Beaten, StoreError> {
    match renewed {
        Ok(()) => Ok(outcome),
        Err(StoreError::NoSuchInstance | StoreError::ReadOnly { .. }) => Ok(Beaten::MustRegister),
        Err(error) => Err(error),
    }
}

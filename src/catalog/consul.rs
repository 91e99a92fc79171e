//! The catalog of a Consul datacenter: a question for the names of its services, and one for each of them, that are
//! answered when something changed.
//!
//! So many services at once are waited for; when there are more, they take turns by shorter waits, so that thousands
//! of services are no thousands of connections. Indexes follow the rules of Consul's documentation.
//! Never: writes to what it follows, waits for more than a bounded number of answers at once, or shows a service that
//! the agent does not name any more.

mod agent;
mod look;
mod translation;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::agent::{Agent, Index, Manner, Trouble};
use self::look::{Look, Looked, Outcome, Size};
use super::config::ConsulConfig;
use super::{CatalogError, Sink};
use crate::model::{InstanceId, Namespace};
use crate::outbound::Backoff;
use crate::wire::consul::read_names;

/// Follows the services of one datacenter.
#[derive(Debug)]
pub struct Consul {
    agent: Agent,
    namespace: Namespace,
    sink: Sink,
}

/// What is known of the datacenter.
#[derive(Debug)]
struct Follower {
    namespace: Namespace,
    sink: Sink,
    services: HashMap<Box<str>, Service>,
    /// Which service has an instance: one that is registered anew under another name may be seen there first.
    owners: HashMap<InstanceId, Box<str>>,
    /// Whether the token may not see everything.
    is_filtered: bool,
    /// Ends the looks under way, so that others have their turn.
    turn: CancellationToken,
    are_patient: bool,
    /// Services that were ever new.
    births: u64,
}

/// One service.
#[derive(Debug)]
struct Service {
    index: Index,
    size: Size,
    /// Not to be looked at before.
    rest: Instant,
    is_seen: bool,
    /// Whether the agent answered before its time, without anything new.
    was_early: bool,
    /// Whether some of its instances were beyond the catalog's bound.
    is_cut: bool,
    ids: Vec<InstanceId>,
    /// Ends the look at it.
    ended: CancellationToken,
    /// Tells it from one of the same name before.
    born: u64,
}

/// A service that is to be looked at when its turn comes.
#[derive(Debug, Clone)]
struct Due {
    service: Box<str>,
    born: u64,
}

/// Services that are waited for at once; agents allow one client 200 connections by default.
const AT_ONCE: usize = 64;
/// How long the agent may wait for a change.
const WAIT: Duration = Duration::from_secs(60);
/// With more services than are waited for at once, each is looked at about so often, or as often as the shortest wait allows.
const ROUND: Duration = Duration::from_secs(15);
const WAIT_MIN: Duration = Duration::from_millis(250);
/// Between two questions for the same thing, when the answer was new, and when it was not.
const REST: Duration = Duration::from_millis(250);
const REST_UNCHANGED: Duration = Duration::from_secs(1);
/// How long an agent may wait that answered before its time without anything new. One that ends answers so; the next at
/// its address may know less, and waits until it has come as far.
const WAIT_DOUBTED: Duration = Duration::from_secs(1);
/// Until a service that cannot be read is looked at again.
const REST_UNREAD: Duration = Duration::from_secs(30);
/// Most bytes of the names of all services.
const NAMES_BYTES: usize = 16 * 1024 * 1024;
/// Instances beyond those that may be shown that are counted at least.
const BEYOND: usize = 64;
/// First and longest wait after a failure.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

// === impl Consul ===

impl Consul {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub fn new(config: ConsulConfig, sink: Sink) -> Result<Self, CatalogError> {
        Ok(Self { agent: Agent::new(&config)?, namespace: config.namespace, sink })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.follow()).await;
        shutdown.cancelled().await;
    }

    async fn follow(self) {
        let Self { agent, namespace, sink } = self;
        let mut follower = Follower::new(namespace, sink.clone());
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        loop {
            let trouble = follower.follow(&agent, &mut backoff).await;
            sink.failed(format_args!("{} {trouble}", agent.name()));
            sink.tried();
            sleep(backoff.next()).await;
        }
    }
}

// === impl Follower ===

impl Follower {
    fn new(namespace: Namespace, sink: Sink) -> Self {
        Self {
            namespace,
            sink,
            services: HashMap::new(),
            owners: HashMap::new(),
            is_filtered: false,
            turn: CancellationToken::new(),
            are_patient: false,
            births: 0,
        }
    }

    /// Follows the datacenter until the agent cannot be asked; what is known stays.
    async fn follow(&mut self, agent: &Agent, backoff: &mut Backoff) -> Trouble {
        let large = Semaphore::new(1);
        for service in self.services.values_mut() {
            service.begin_anew();
        }
        let mut names = std::pin::pin!(names(agent, Place::beginning(), most(&self.sink)));
        let mut looks = FuturesUnordered::new();
        let mut due = VecDeque::new();
        let (mut are_named, mut is_tried) = (false, false);
        loop {
            self.take_turns(looks.len(), &due);
            while looks.len() < AT_ONCE
                && let Some(next) = due.pop_front()
            {
                if let Some(look) = self.look_at(next) {
                    looks.push(look.take(agent, &large));
                }
            }
            if are_named && !is_tried && self.services.values().all(|service| service.is_seen) {
                is_tried = true;
                self.sink.tried();
            }
            tokio::select! {
                named = &mut names => match named {
                    Err(trouble) => return trouble,
                    Ok(Named { next, services, is_filtered }) => {
                        self.tell_filtered(is_filtered);
                        if !are_named {
                            due.extend(self.all_due());
                            are_named = true;
                        }
                        for new in self.rename(services) {
                            due.push_front(new);
                        }
                        backoff.reset();
                        names.set(self::names(agent, next, most(&self.sink)));
                    }
                },
                Some(Looked { of, outcome }) = looks.next(), if !looks.is_empty() => match outcome {
                    Outcome::Failed(trouble) => return trouble,
                    Outcome::Ended => {}
                    outcome => {
                        self.take(&of.service, outcome);
                        due.push_back(of);
                    }
                },
            }
        }
    }

    /// Ends the looks under way when others wait for their turn that nobody reckoned with.
    fn take_turns(&mut self, under_way: usize, due: &VecDeque<Due>) {
        let is_crowded = AT_ONCE < self.services.len();
        if is_crowded && self.are_patient && AT_ONCE < under_way + due.len() {
            std::mem::take(&mut self.turn).cancel();
        }
        self.are_patient = !is_crowded;
    }

    fn all_due(&self) -> impl Iterator<Item = Due> {
        self.services.iter().map(|(name, service)| Due { service: name.clone(), born: service.born })
    }

    /// None when it is no more.
    fn look_at(&self, due: Due) -> Option<Look> {
        let service = self.services.get(&due.service).filter(|service| service.born == due.born)?;
        let Service { index, size, rest, ended, .. } = service;
        let wait = match u32::try_from(self.services.len()) {
            Ok(_) if service.was_early => WAIT_DOUBTED,
            Ok(count) if AT_ONCE < self.services.len() => {
                (ROUND * u32::try_from(AT_ONCE).unwrap_or(1) / count).clamp(WAIT_MIN, WAIT)
            }
            Ok(_) => WAIT,
            Err(_) => ROUND,
        };
        Some(Look {
            of: due,
            index: *index,
            wait,
            size: *size,
            rest: *rest,
            ended: ended.clone(),
            turn: self.turn.clone(),
            sink: self.sink.clone(),
        })
    }

    /// Takes over which services there are; answers with those that are new.
    fn rename(&mut self, names: Vec<Box<str>>) -> Vec<Due> {
        let mut before = std::mem::take(&mut self.services);
        let mut new = Vec::new();
        for name in names {
            if self.services.contains_key(&name) {
                continue;
            }
            let service = before.remove(&name).unwrap_or_else(|| {
                self.births += 1;
                new.push(Due { service: name.clone(), born: self.births });
                Service::unseen(self.births)
            });
            self.services.insert(name, service);
        }
        let mut gone = Vec::new();
        for (name, service) in before {
            service.ended.cancel();
            self.disown(&name, service.ids, &mut gone);
        }
        if gone.is_empty() {
            self.sink.current();
        } else {
            self.sink.change(&self.namespace, Vec::new(), &gone);
            self.fill_up();
        }
        new
    }

    /// Takes over what a look at a service found.
    fn take(&mut self, name: &str, outcome: Outcome) {
        let Some(service) = self.services.get_mut(name) else { return };
        let now = Instant::now();
        let (index, instances) = match outcome {
            Outcome::Found { index, instances } => (index, instances),
            Outcome::Unchanged { was_early } => {
                service.rest = now + if was_early { REST_UNCHANGED } else { Duration::ZERO };
                service.was_early = was_early;
                return;
            }
            Outcome::Interrupted => return,
            Outcome::Unread(size) => {
                let is_final = size == service.size;
                service.rest = now + if is_final { REST_UNREAD } else { Duration::ZERO };
                service.is_seen |= is_final;
                service.size = size;
                return;
            }
            Outcome::Ended | Outcome::Failed(_) => return,
        };
        service.rest = now + REST;
        service.index = index;
        (service.is_seen, service.was_early) = (true, false);
        let before = std::mem::take(&mut service.ids);
        let here: HashSet<&InstanceId> = instances.iter().map(|instance| &instance.id).collect();
        let left: Vec<_> = before.into_iter().filter(|id| !here.contains(id)).collect();
        let mut gone = Vec::new();
        self.disown(name, left, &mut gone);
        let (count, most) = (instances.len(), most(&self.sink));
        let (mut puts, mut ids) = (Vec::new(), Vec::new());
        for instance in instances {
            if self.owners.len() < most || self.owners.contains_key(&instance.id) {
                self.owners.insert(instance.id.clone(), name.into());
                ids.push(instance.id.clone());
                puts.push(instance);
            }
        }
        let is_cut_here = puts.len() < count;
        let taken = self.sink.change(&self.namespace, puts, &gone);
        if !gone.is_empty() {
            self.fill_up();
        }
        if let Some(service) = self.services.get_mut(name) {
            service.ids = ids;
            service.is_cut = is_cut_here || taken.left_out != 0;
        }
    }

    /// There is room: the next look at a service that was cut off is one at all of its instances.
    fn fill_up(&mut self) {
        for service in self.services.values_mut().filter(|service| service.is_cut) {
            service.index = Index::default();
        }
    }

    /// A service has these instances no longer; those that no other one has are gone.
    fn disown(&mut self, name: &str, ids: Vec<InstanceId>, gone: &mut Vec<InstanceId>) {
        for id in ids {
            if self.owners.get(&id).is_some_and(|owner| **owner == *name) {
                self.owners.remove(&id);
                gone.push(id);
            }
        }
    }

    fn tell_filtered(&mut self, is_filtered: bool) {
        if is_filtered && !self.is_filtered {
            tracing::warn!("catalog consul: the ACL lets the token see some services only, or none");
        }
        self.is_filtered = is_filtered;
    }
}

// === impl Service ===

impl Service {
    fn unseen(born: u64) -> Self {
        Self {
            index: Index::default(),
            size: Size::Usual,
            rest: Instant::now(),
            is_seen: false,
            was_early: false,
            is_cut: false,
            ids: Vec::new(),
            ended: CancellationToken::new(),
            born,
        }
    }

    /// The agent may not be the one that it was.
    fn begin_anew(&mut self) {
        self.index = Index::default();
        self.rest = Instant::now();
    }
}

// === impl Place ===

impl Place {
    fn beginning() -> Self {
        Self { index: Index::default(), rest: Instant::now(), wait: WAIT }
    }
}

/// Where to go on.
struct Place {
    index: Index,
    /// Not before.
    rest: Instant,
    wait: Duration,
}

/// The names of all services.
struct Named {
    next: Place,
    services: Vec<Box<str>>,
    is_filtered: bool,
}

/// So many instances are taken over, and so many services followed: some more than may be shown, so that it is seen how
/// many are left out, or that they are very many.
fn most(sink: &Sink) -> usize {
    let max = sink.max_instances();
    max.saturating_add(max / 8).saturating_add(BEYOND)
}

/// Asks for the names of all services, as soon as they differ from those of the answer before.
async fn names(agent: &Agent, from: Place, most: usize) -> Result<Named, Trouble> {
    sleep_until(from.rest).await;
    let begun = Instant::now();
    let manner = Manner { index: from.index, wait: from.wait, bytes: NAMES_BYTES };
    let answer = agent.ask(&["v1", "catalog", "services"], manner).await?;
    let was_early = answer.index == from.index && begun.elapsed() < from.wait / 2;
    let (rest, wait) = if was_early { (REST_UNCHANGED, WAIT_DOUBTED) } else { (REST, WAIT) };
    let next = Place { index: answer.index, rest: begun + rest, wait };
    let read = move |body: &mut (dyn Read + Send)| {
        let mut services = Vec::new();
        let read = read_names(body, |name| {
            // Consul itself is no service of anybody's.
            if name != "consul" && services.len() < most {
                services.push(name.into());
            }
        });
        read.map(|()| services)
    };
    let services = answer.body.read(read).await.map_err(Trouble::Unanswered)?;
    let services = services.map_err(|_| Trouble::Unreadable)?;
    Ok(Named { next, services, is_filtered: answer.is_filtered })
}

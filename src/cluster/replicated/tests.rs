//! Members whose links are pumped by hand: what one is told, all have, whatever happens to links and members.
//!
//! Time is paused and passes in steps; frames arrive in the step in which they are sent.
//! Never: opens a socket.

mod content;
mod faults;
mod leases;
mod limits;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cluster::message::MemberId;
use crate::cluster::replicator::{Link, Settings};
use crate::directory::{Cause, Delta, LeaseRules, LogLimits, Op};
use crate::model::{Clock, Endpoint, EndpointType, EurekaClaim, Registration, Status, Timestamp};
use crate::store::StoreMetrics;
use crate::store::expiry::Leases;
use crate::store::memory::MemoryConfig;

const TTL: Duration = Duration::from_secs(10);
const HOLD: Duration = Duration::from_secs(60);
/// Time passes in steps of so many milliseconds.
const STEP: u64 = 50;

/// A member of the cluster.
struct Member {
    name: &'static str,
    incarnation: u64,
    config: MemoryConfig,
    clock: Arc<Clock>,
    memory: Arc<MemoryStore>,
    replication: Arc<Replication>,
    store: Arc<ReplicatedStore>,
}

/// A connection and the members at its ends.
struct Wire {
    ends: [usize; 2],
    links: [Link; 2],
}

/// Members and what connects them.
struct Net {
    members: Vec<Member>,
    wires: Vec<Wire>,
    links: u64,
    steps: u64,
}

// === impl Member ===

impl Member {
    fn new(name: &'static str, incarnation: u64, config: MemoryConfig, hold: Duration) -> Self {
        let member = Self::closed(name, incarnation, config, hold);
        member.replication.open();
        member
    }

    /// One that lets no readers in.
    fn closed(name: &'static str, incarnation: u64, config: MemoryConfig, hold: Duration) -> Self {
        let clock = Arc::new(Clock::default());
        let memory = Arc::new(MemoryStore::tracking(config, clock.clone(), StoreMetrics::default()));
        let settings = Settings {
            me: MemberId(name.into()),
            incarnation,
            max_ttl: Duration::from_secs(600),
            hold,
            flush: Duration::from_millis(200),
            frame_max: 64 << 10,
            leases: config.leases,
        };
        let replication = Replication::new(settings, memory.clone(), clock.clone());
        let store = Arc::new(ReplicatedStore::new(memory.clone(), replication.clone()));
        Self { name, incarnation, config, clock, memory, replication, store }
    }

    fn register(&self, instance: &Instance) -> Registered {
        self.try_register(instance).expect("there is room")
    }

    fn try_register(&self, instance: &Instance) -> Result<Registered, StoreError> {
        given(self.store.register(&Namespace::default(), instance.clone(), Origin::Client))
    }

    fn renew(&self, instance: &Instance) -> Result<(), StoreError> {
        given(self.store.renew(&Namespace::default(), instance.id.as_str()))
    }

    fn update(&self, instance: &Instance, update: Update) -> Arc<Instance> {
        let id = instance.id.as_str();
        given(self.store.update(&Namespace::default(), id, update, Origin::Client)).expect("it lives")
    }

    fn deregister(&self, instance: &Instance) -> Arc<Instance> {
        let id = instance.id.as_str();
        given(self.store.deregister(&Namespace::default(), id, Origin::Client)).expect("it lives")
    }

    fn directory(&self) -> Option<Arc<Directory>> {
        self.store.directory(&Namespace::default())
    }

    /// What a reader sees by the id.
    fn get(&self, instance: &Instance) -> Option<Arc<Instance>> {
        self.directory()?.get(instance.id.as_str())
    }

    /// How many a reader of everything sees.
    fn len(&self) -> usize {
        self.directory().map_or(0, |directory| directory.len())
    }

    /// How long ago the lease was last renewed, as far as readers here can see.
    fn age(&self, instance: &Instance) -> Duration {
        let mut age = None;
        let directory = self.directory().expect("somebody is there");
        directory.for_each(&mut |it, renewed| {
            if it.id == instance.id {
                let now = self.clock.time_of_day(self.clock.now());
                age = Some(Duration::from_millis(now.as_millis().saturating_sub(renewed.as_millis())));
            }
        });
        age.expect("it is listed")
    }

    /// The causes of all changes so far, in order.
    fn causes(&self) -> Vec<(Op, Cause)> {
        match self.directory().expect("somebody is there").since(0) {
            Delta::Changes(changes) => changes.iter().map(|change| (change.op, change.cause)).collect(),
            Delta::Compacted => panic!("everything is kept"),
        }
    }

    fn revision(&self) -> u64 {
        self.directory().map_or(0, |directory| directory.tag().revision)
    }

    fn held(&self) -> usize {
        self.replication.held()
    }

    fn look_for_expired(&self) {
        let now = self.clock.now();
        self.replication.watch(now);
        let due = Leases::due(&*self.replication, now);
        self.replication.expire(&due, now, &mut |_, _| {});
        self.memory.compact(now);
    }
}

// === impl Net ===

impl Net {
    /// So many members, all connected.
    fn of(size: usize) -> Self {
        Self::with(size, config(), HOLD)
    }

    fn with(size: usize, config: MemoryConfig, hold: Duration) -> Self {
        let names = ["a", "b", "c"];
        let members = names[..size].iter().map(|name| Member::new(name, 1, config, hold)).collect();
        let mut net = Self { members, wires: Vec::new(), links: 0, steps: 0 };
        for a in 0..size {
            for b in 0..a {
                net.connect(b, a);
            }
        }
        net.pump();
        net
    }

    fn connect(&mut self, a: usize, b: usize) {
        let links = [Link(self.links), Link(self.links + 1)];
        self.links += 2;
        for (from, to, link) in [(a, b, links[0]), (b, a, links[1])] {
            self.members[from].replication.connected(link, MemberId(self.members[to].name.into()));
        }
        self.wires.push(Wire { ends: [a, b], links });
    }

    /// Ends the connections between two members; what was under way is lost.
    fn cut(&mut self, a: usize, b: usize) {
        for wire in self.wires.extract_if(.., |wire| wire.ends.contains(&a) && wire.ends.contains(&b)) {
            for (end, link) in wire.ends.into_iter().zip(wire.links) {
                self.members[end].replication.disconnected(link);
            }
        }
    }

    /// A member ends and comes back with nothing; it is not connected.
    fn restart(&mut self, at: usize) {
        for other in (0..self.members.len()).filter(|other| *other != at) {
            self.cut(at, other);
        }
        let Member { name, incarnation, config, .. } = self.members[at];
        self.members[at] = Member::new(name, incarnation + 1, config, HOLD);
    }

    /// Carries frames until nobody has any.
    fn pump(&mut self) {
        let mut carried = 0;
        loop {
            let before = carried;
            for Wire { ends: [a, b], links: [at_a, at_b] } in &self.wires {
                for (from, link, to, far) in [(*a, *at_a, *b, *at_b), (*b, *at_b, *a, *at_a)] {
                    while let Some(frame) = self.members[from].replication.next_frame(link) {
                        self.members[to].replication.received(far, &frame).expect("no rule is broken");
                        carried += 1;
                        assert!(carried < 10_000, "they never come to rest");
                    }
                }
            }
            if carried == before {
                return;
            }
        }
    }

    /// Lets time pass: leases are looked at and renewals flushed as in a registry, frames carried all the time.
    async fn pass(&mut self, time: Duration) {
        self.pass_and(time, |_| {}).await;
    }

    /// The same, looking in each step.
    async fn pass_and(&mut self, time: Duration, mut look: impl FnMut(&Self)) {
        let steps = u64::try_from(time.as_millis()).expect("a short time") / STEP;
        for _ in 0..steps {
            tokio::time::advance(Duration::from_millis(STEP)).await;
            self.steps += 1;
            for member in &self.members {
                if self.steps.is_multiple_of(4) {
                    member.replication.flush();
                }
                if self.steps.is_multiple_of(5) {
                    member.look_for_expired();
                }
            }
            self.pump();
            look(self);
        }
    }

    /// Whether all members have the same, as they themselves reckon and as readers see it.
    fn agree(&self) -> bool {
        let shown = |member: &Member| {
            let mut all = Vec::new();
            if let Some(directory) = member.directory() {
                directory.for_each(&mut |instance, _| all.push(instance.clone()));
            }
            (member.replication.report().digest, all)
        };
        self.members.iter().all(|member| shown(member) == shown(&self.members[0]))
    }
}

fn config() -> MemoryConfig {
    MemoryConfig {
        namespace_capacity: None,
        max_namespaces: 10,
        change_log: LogLimits { age: Duration::from_secs(3600), ..LogLimits::default() },
        leases: LeaseRules::default(),
    }
}

fn registration(value: &str, status: Status) -> Registration {
    Registration {
        service: "web".parse().expect("a name"),
        endpoint: Endpoint::new(EndpointType::Http, value).expect("an endpoint"),
        status,
        tags: ["blue".into(), "".into()].into(),
        metadata: Some(crate::model::Metadata::from_json(r#"{"zone":[1,2]}"#, 100).expect("JSON")),
        ttl: None,
        eureka: None,
    }
}

/// An instance with a lease of ten seconds.
fn instance(value: &str) -> Instance {
    registration(value, Status::Up).grant(TTL, Timestamp::from_millis(1_700_000_000_000))
}

/// The same by the Eureka API.
fn eureka(host: &str, status: Status, dirty_at: u64) -> Instance {
    let document = crate::model::Document {
        instance_id: Some(format!("{host}:web:1").into()),
        vip_address: Some("web.vip".into()),
        app_group: Some("shop".into()),
        ..crate::model::Document::of_host(host, "10.0.0.1")
    };
    let claim = EurekaClaim { document, dirty_at: Some(Timestamp::from_millis(dirty_at)), overridden: None };
    let asked = Registration { eureka: Some(claim), metadata: None, ..registration(host, status) };
    asked.grant(TTL, Timestamp::from_millis(1_700_000_000_000))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

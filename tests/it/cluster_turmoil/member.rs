//! A member as software of a simulated host: all that a registry in a cluster has, but for its API.
//!
//! Never: shares anything with another member but the network.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::config::{ClusterConfig, ClusterSecret, Place, Source};
use a8registry::cluster::replicated::ReplicatedStore;
use a8registry::cluster::replication::Replication;
use a8registry::cluster::replication::flushing::Flusher;
use a8registry::cluster::replicator::Report;
use a8registry::cluster::{FLUSH_EVERY, Member, View};
use a8registry::directory::{LeaseRules, LogLimits};
use a8registry::model::{Clock, Namespace, Secret, Status, Timestamp};
use a8registry::store::expiry::Reaper;
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Store, StoreMetrics};
use a8registry::telemetry::Panel;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::clients::version_of;
use super::network::{Listener, Simulated};

/// What a member is started with, each time.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) network: Simulated,
    /// Everybody, this member too.
    pub(super) names: Vec<&'static str>,
    pub(super) secret: &'static str,
    pub(super) door: Door,
}

/// The way to a member that runs: what is asked here is done there, by its clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Door(Rc<RefCell<Option<Open>>>);

#[derive(Debug)]
struct Open {
    asked: mpsc::UnboundedSender<Asked>,
    leave: CancellationToken,
}

type Asked = Box<dyn FnOnce(&Life)>;

/// One run of a member.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) store: ReplicatedStore,
    replication: Arc<Replication>,
    view: Arc<View>,
}

/// What a member shows at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// Each instance with its version and its status.
    pub(super) instances: BTreeMap<Box<str>, (u64, Status)>,
    pub(super) report: Report,
    /// Instances that are kept although their lease ran out.
    pub(super) held: usize,
    pub(super) is_open: bool,
    /// As operators see it.
    pub(super) shown: Value,
}

/// Where members listen.
pub(super) const PORT: u16 = 6100;
/// The time of day when the world began.
const DAWN: u64 = 1_800_000_000_000;
/// All leases.
pub(super) const TTL: Duration = Duration::from_secs(8);
pub(super) const HOLD: Duration = Duration::from_secs(6);
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a member until it is told to end, or the host crashes.
pub(super) async fn live(plan: Plan) -> turmoil::Result {
    let Plan { name, network, names, secret, door } = plan;
    let passed = turmoil::sim_elapsed().expect("the world goes on");
    let now = Timestamp::from_millis(DAWN + u64::try_from(passed.as_millis())?);
    let clock = Arc::new(Clock::apart(now));
    let listener = Listener(turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
    let member = Member::reached(network, (listener, place(name)), now, config(&names, secret))?;
    let limits = MemoryConfig {
        namespace_capacity: None,
        max_namespaces: 10,
        change_log: LogLimits::default(),
        leases: LeaseRules::default(),
    };
    let memory = Arc::new(MemoryStore::tracking(limits, clock.clone(), StoreMetrics::default()));
    let replication = Replication::new(member.settings(limits.leases), memory.clone(), clock.clone());
    let (mesh, view) = member.meets(replication.clone(), Arc::default());
    let store = ReplicatedStore::new(memory.clone(), replication.clone());
    let reaper = Reaper::of_leases(memory, replication.clone(), clock);
    let flusher = Flusher::new(replication.clone(), FLUSH_EVERY);
    let (asked, mut asking) = mpsc::unbounded_channel::<Asked>();
    let (leave, shutdown) = (CancellationToken::new(), CancellationToken::new());
    *door.0.borrow_mut() = Some(Open { asked, leave: leave.clone() });
    let life = Life { store, replication, view };
    let left = mesh.left();
    let answering = async {
        while let Some(Some(asked)) = shutdown.run_until_cancelled(asking.recv()).await {
            asked(&life);
        }
    };
    let leaving = async {
        leave.cancelled().await;
        left.cancelled().await;
        shutdown.cancel();
    };
    tokio::join!(
        biased;
        mesh.run(leave.clone(), shutdown.clone()),
        flusher.run(shutdown.clone()),
        reaper.run(shutdown.clone()),
        answering,
        leaving,
    );
    Ok(())
}

fn place(name: &str) -> Place {
    format!("{name}:{PORT}").parse().expect("a place")
}

fn config(names: &[&str], secret: &str) -> ClusterConfig {
    ClusterConfig {
        source: Source::Fixed(names.iter().map(|name| place(name)).collect()),
        advertise: None,
        port: PORT,
        secret: ClusterSecret::Given(Secret::new(secret).expect("not empty")),
        size: 1,
        sync_timeout: SYNC_TIMEOUT,
        hold: HOLD,
        max_ttl: TTL,
        tls: None,
    }
}

// === impl Door ===

impl Door {
    /// Has something done by the member at its next step; nobody does it when none runs.
    pub(super) fn ask(&self, what: impl FnOnce(&Life) + 'static) {
        if let Some(open) = &*self.0.borrow() {
            // A member that has ended answers nobody.
            let _ = open.asked.send(Box::new(what));
        }
    }

    /// Has the member leave politely, and end; false when none runs, or it has only just begun.
    pub(super) fn leave(&self) -> bool {
        let door = self.0.borrow();
        let open = door.as_ref().filter(|open| !open.asked.is_closed());
        open.inspect(|open| open.leave.cancel()).is_some()
    }
}

// === impl Life ===

impl Life {
    pub(super) fn sight(&self) -> Sight {
        let mut instances = BTreeMap::new();
        if let Some(directory) = self.store.directory(&Namespace::default()) {
            directory.for_each(&mut |instance, _| {
                let seen = (version_of(instance), instance.status);
                instances.insert(instance.id.as_str().into(), seen);
            });
        }
        let (report, held) = (self.replication.report(), self.replication.held());
        Sight { instances, report, held, is_open: self.replication.is_open(), shown: self.view.shown() }
    }
}

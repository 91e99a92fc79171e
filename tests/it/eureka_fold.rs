//! Random histories, followed by a Eureka client that applies deltas and checks the hash: what it knows must be
//! what a full fetch at the same revision says (spec eureka sections 3.8 and 5.1).
//!
//! Time is paused; the reaper runs as in the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use a8registry::directory::{Directory, Encoding, LeaseRules, LogLimits, Wanted};
use a8registry::model::{
    Clock, Document, Endpoint, EndpointType, EurekaClaim, InstanceId, Metadata, Namespace, Origin,
    Registration, Status, Timestamp, Update,
};
use a8registry::store::expiry::Reaper;
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Store, StoreMetrics};
use a8registry::wire::eureka::Format;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const AGE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
enum Step {
    Register { app: u8, instance: u8, status: u8, dirty: u8, metadata: u8, by_peer: bool },
    RegisterNatively { app: u8, instance: u8, status: u8 },
    RegisterMany { app: u8, count: u8 },
    Renew { app: u8, instance: u8 },
    Update { app: u8, instance: u8, kind: u8, status: u8 },
    Deregister { app: u8, instance: u8 },
    Pass { tenths: u8 },
    Poll { client: u8 },
}

/// A client that fetches everything once, and deltas from then on.
#[derive(Debug)]
struct Follower {
    format: Format,
    known: Option<BTreeMap<Key, Value>>,
    epoch: u64,
    polled: tokio::time::Instant,
}

/// Application and id.
type Key = (String, String);

struct World {
    store: Arc<MemoryStore>,
    followers: Vec<Follower>,
    is_log_long: bool,
}

const FORMATS: [Format; 3] = [Format::Json, Format::JsonAmalgam8, Format::JsonCompact];
const APPS: [&str; 5] = ["orders", "ORDERS", "web", "Web-1", "a\"<b"];

fn service(app: u8) -> &'static str {
    APPS[usize::from(app) % APPS.len()]
}

fn status(nth: u8) -> Status {
    Status::ALL[usize::from(nth) % Status::ALL.len()]
}

fn instance_id(app: u8, instance: u8) -> String {
    // A third of the instances are native ones.
    match instance % 3 {
        0 => InstanceId::of_endpoint(service(app), "http", &format!("h{instance}:80")).to_string(),
        _ => InstanceId::of_application(service(app), &format!("h{instance}")).to_string(),
    }
}

fn native(app: u8, instance: u8, status: Status) -> Registration {
    Registration {
        service: service(app).parse().expect("a valid name"),
        endpoint: Endpoint::new(EndpointType::Http, &format!("h{instance}:80")).expect("valid"),
        status,
        tags: [].into(),
        metadata: None,
        ttl: Some(TTL),
        eureka: None,
    }
}

fn document(instance: u8, dirty: u8) -> EurekaClaim {
    let instance_id = Some(format!("h{instance}").into());
    let document = Document { instance_id, ..Document::of_host(&format!("h{instance}"), "10.0.0.1") };
    EurekaClaim {
        document,
        dirty_at: Some(Timestamp::from_millis(1_750_000_000_000 + u64::from(dirty))),
        overridden: None,
    }
}

// === impl Follower ===

impl Follower {
    fn new(format: Format) -> Self {
        Self { format, known: None, epoch: 0, polled: tokio::time::Instant::now() }
    }

    /// One round of a Java client; afterwards it must know what a full fetch says.
    fn poll(&mut self, directory: &Directory, may_differ: bool) {
        let now = tokio::time::Instant::now();
        let epoch = directory.tag().epoch;
        let is_late = AGE <= now - self.polled + Duration::from_millis(300) || epoch != self.epoch;
        (self.polled, self.epoch) = (now, epoch);
        let (full, full_hash) = read(directory, Wanted::All, self.format);
        let full: BTreeMap<_, _> = full.into_iter().map(|(key, value)| (key, shown(value))).collect();
        assert_eq!(hash_of(&full), full_hash, "the hash is that of the list");
        if let Some(known) = &mut self.known {
            let (delta, hash) = read(directory, Wanted::Changes, self.format);
            for (key, instance) in delta {
                match instance["actionType"].as_str() {
                    Some("DELETED") => drop(known.remove(&key)),
                    Some("ADDED" | "MODIFIED") => drop(known.insert(key, shown(instance))),
                    other => panic!("{other:?} is no kind of change"),
                }
            }
            assert_eq!(hash, full_hash, "full and delta belong to one revision");
            if hash_of(known) == hash {
                assert!(is_late || *known == full, "{known:#?}\nis not\n{full:#?}");
            } else {
                assert!(is_late || may_differ, "the delta was not enough");
            }
        }
        self.known = Some(full);
    }
}

/// The instances of a list by application and id, and its hash.
fn read(directory: &Directory, wanted: Wanted<'_>, format: Format) -> (Vec<(Key, Value)>, String) {
    let applications = directory.applications(wanted, format);
    let len = applications.len();
    let pages = applications.render(Encoding::Identity);
    let promised = pages.remaining();
    let body: Vec<u8> = pages.flat_map(|page| page.to_vec()).collect();
    assert_eq!(promised, u64::try_from(body.len()).ok(), "the length is as promised");
    let body: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&body)));
    let list = &body["applications"];
    let mut instances = Vec::new();
    let mut names = Vec::new();
    for application in list["application"].as_array().expect("a list") {
        let name = application["name"].as_str().expect("a name").to_ascii_uppercase();
        assert!(!names.contains(&name), "{name} stands once");
        names.push(name.clone());
        for instance in application["instance"].as_array().expect("a list") {
            let id = instance["instanceId"].as_str().expect("an id").to_owned();
            instances.push(((name.clone(), id), instance.clone()));
        }
    }
    assert_eq!(instances.len(), len);
    (instances, list["apps__hashcode"].as_str().expect("a hash").into())
}

/// What has to agree: all but the time of the last renewal, which is not content.
fn shown(mut instance: Value) -> Value {
    if let Some(lease) = instance.get_mut("leaseInfo") {
        lease["lastRenewalTimestamp"] = 0.into();
    }
    instance
}

fn hash_of(known: &BTreeMap<Key, Value>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in known.values() {
        *counts.entry(instance["status"].as_str().expect("a status")).or_default() += 1;
    }
    counts.into_iter().map(|(status, count)| format!("{status}_{count}_")).collect()
}

// === impl World ===

impl World {
    async fn play(&mut self, step: &Step) {
        let namespace = Namespace::default();
        match *step {
            Step::Register { app, instance, status: nth, dirty, metadata, by_peer } if instance % 3 != 0 => {
                let metadata =
                    Some(Metadata::from_json(&format!(r#"{{"m":"{metadata}"}}"#), 99).expect("valid"));
                let eureka = Some(document(instance, dirty));
                let asked = Registration { metadata, eureka, ..native(app, instance, status(nth)) };
                let origin = if by_peer { Origin::Peer } else { Origin::Client };
                self.register(asked, origin).await;
            }
            Step::Register { app, instance, status: nth, .. }
            | Step::RegisterNatively { app, instance, status: nth } => {
                let instance = instance - instance % 3;
                self.register(native(app, instance, status(nth)), Origin::Client).await;
            }
            Step::RegisterMany { app, count } => {
                for instance in 0..count {
                    let eureka = Some(document(instance, 0));
                    let asked = Registration { eureka, ..native(app, instance, Status::Up) };
                    self.register(asked, Origin::Client).await;
                }
            }
            Step::Renew { app, instance } => {
                let _ = self.store.renew(&namespace, &instance_id(app, instance)).await;
            }
            Step::Update { app, instance, kind, status: nth } => {
                let (status, dirty_at) = (status(nth), None);
                let update = match kind % 4 {
                    0 => Update::Status(status),
                    1 => Update::Override { status, dirty_at },
                    2 => Update::ClearOverride { fallback: status, dirty_at },
                    _ => Update::Metadata { entries: vec![("k".into(), format!("{nth}").into())], max: 999 },
                };
                let _ =
                    self.store.update(&namespace, &instance_id(app, instance), update, Origin::Client).await;
            }
            Step::Deregister { app, instance } => {
                let _ = self.store.deregister(&namespace, &instance_id(app, instance), Origin::Client).await;
            }
            Step::Pass { tenths } => tokio::time::sleep(Duration::from_millis(u64::from(tenths) * 100)).await,
            Step::Poll { client } => {
                let Some(directory) = self.store.directory(&namespace) else { return };
                let nth = usize::from(client) % self.followers.len();
                self.followers[nth].poll(&directory, !self.is_log_long);
            }
        }
    }

    async fn register(&self, asked: Registration, origin: Origin) {
        let now = Timestamp::of_system();
        self.store
            .register(&Namespace::default(), asked.grant(TTL, now), origin)
            .await
            .expect("there is room");
    }
}

fn steps() -> impl Strategy<Value = (bool, Vec<Step>)> {
    let small = || any::<u8>().prop_map(|nth| nth % 12);
    let step = prop_oneof![
        6 => (small(), small(), small(), small(), small(), any::<bool>()).prop_map(
            |(app, instance, status, dirty, metadata, by_peer)| Step::Register { app, instance, status, dirty, metadata, by_peer }
        ),
        2 => (small(), small(), small())
            .prop_map(|(app, instance, status)| Step::RegisterNatively { app, instance, status }),
        1 => (small(), any::<u8>()).prop_map(|(app, count)| Step::RegisterMany { app, count }),
        2 => (small(), small()).prop_map(|(app, instance)| Step::Renew { app, instance }),
        4 => (small(), small(), small(), small())
            .prop_map(|(app, instance, kind, status)| Step::Update { app, instance, kind, status }),
        3 => (small(), small()).prop_map(|(app, instance)| Step::Deregister { app, instance }),
        2 => any::<u8>().prop_map(|tenths| Step::Pass { tenths: tenths % 40 }),
        6 => small().prop_map(|client| Step::Poll { client }),
    ];
    (any::<bool>(), proptest::collection::vec(step, 1..60))
}

#[test]
fn deltas_fold_into_the_full_list() {
    // Proptest's own variable asks for more; its own default would take long.
    let cases = std::env::var("PROPTEST_CASES").map_or(150, |_| Config::default().cases);
    let cases =
        std::env::var("FOLD_CASES").map_or(cases, |cases| cases.parse().expect("FOLD_CASES is a number"));
    let threads = thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    thread::scope(|scope| {
        for nth in 0..threads {
            // Each has its share; the first ones have one more when it does not come out even.
            let cases = cases / threads + u32::from(nth < cases % threads);
            scope.spawn(move || play(cases));
        }
    });
}

fn play(cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |(is_log_long, steps)| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(follow(is_log_long, &steps));
            Ok(())
        })
        .expect("every history agrees");
}

async fn follow(is_log_long: bool, steps: &[Step]) {
    let clock = Arc::new(Clock::default());
    let config = MemoryConfig {
        namespace_capacity: None,
        max_namespaces: 1,
        change_log: LogLimits { size: if is_log_long { 65_536 } else { 40 }, age: AGE },
        leases: LeaseRules::default(),
    };
    let store = Arc::new(MemoryStore::new(config, clock.clone(), StoreMetrics::default()));
    let shutdown = CancellationToken::new();
    let reaper = tokio::spawn(Reaper::new(store.clone(), clock).run(shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let followers = FORMATS.into_iter().map(Follower::new).collect();
    let mut world = World { store, followers, is_log_long };
    for step in steps {
        world.play(step).await;
    }
    for client in 0..3 {
        world.play(&Step::Poll { client }).await;
    }
    shutdown.cancel();
    reaper.await.expect("the reaper ends when told to");
}

//! Random histories played on a store and on a naive model of it: whatever a reader can see must agree.
//!
//! Time is paused; the reaper runs as in the daemon.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::replication::flushing::Flusher;
use a8registry::directory::{
    Delta, Directory, Encoding, LeaseRules, LogLimits, Op, Selector, Shown, Tag, Tags,
};
use a8registry::model::{
    Clock, Endpoint, EndpointType, Metadata, Namespace, Origin, Registration, Status, Timestamp, Update,
};
use a8registry::store::expiry::Reaper;
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::redis::{RedisConfig, RedisLimits, RedisLoops, RedisMetrics, RedisStore};
use a8registry::store::{Store, StoreError, StoreMetrics};
use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::Redis;
use crate::support::members::{FLUSH, Member, connect, pump};

const CAPACITY: usize = 300;
const NAMESPACES_MAX: usize = 2;
/// Asks for a lease of 20 seconds.
const LONGEST: u8 = 19;

#[derive(Debug, Clone)]
enum Step {
    Register { namespace: u8, service: u8, instance: u8, status: u8, ttl: u8, big: bool },
    RegisterMany { namespace: u8, service: u8, count: u8, ttl: u8 },
    Renew { namespace: u8, service: u8, instance: u8 },
    SetStatus { namespace: u8, service: u8, instance: u8, status: u8 },
    Deregister { namespace: u8, service: u8, instance: u8 },
    Pass { tenths: u8 },
    Look,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    service: String,
    value: String,
    status: Status,
    ttl: Duration,
    tags: Vec<String>,
    metadata: Option<String>,
    /// Milliseconds since the beginning.
    renewed: u64,
}

#[derive(Debug, Default)]
struct Model {
    namespaces: BTreeMap<u8, BTreeMap<String, Known>>,
    now: u64,
}

struct World {
    store: Arc<dyn Store>,
    model: Model,
    /// What a reader knows who only ever follows the change log.
    followers: BTreeMap<u8, (Option<Tag>, BTreeMap<String, Value>)>,
}

// === impl Model ===

impl Model {
    /// Living for certain; what is within half a second of its end may be either.
    fn is_alive(&self, known: &Known) -> bool {
        known.status == Status::OutOfService || self.now < known.renewed + millis(known.ttl)
    }

    fn may_be_seen(&self, known: &Known) -> bool {
        known.status == Status::OutOfService || self.now <= known.renewed + millis(known.ttl) + 500
    }

    fn forget_the_dead(&mut self) {
        let now = self.now;
        for instances in self.namespaces.values_mut() {
            instances.retain(|_, known| {
                known.status == Status::OutOfService || now <= known.renewed + millis(known.ttl) + 500
            });
        }
        self.namespaces.retain(|_, instances| !instances.is_empty());
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).expect("short")
}

fn namespace(nth: u8) -> Namespace {
    format!("tenant-{nth}").parse().expect("a valid name")
}

fn registration(service: u8, instance: u8, status: u8, ttl: u8, big: bool) -> (Registration, Known) {
    // Names in several letter cases, and with characters that JSON escapes.
    let service = ["web", "WEB", "Web-1", "a\"b", "é", "web "][usize::from(service) % 6];
    let value = format!("10.0.0.{instance}:80");
    let tags: Vec<String> = (0..instance % 3).map(|nth| format!("t{nth},\"")).collect();
    let metadata = (instance.is_multiple_of(2)).then(|| match big {
        true => format!("\"{}\"", "x".repeat(1000)),
        false => format!("{{\"n\":{instance}}}"),
    });
    let ttl = Duration::from_secs(u64::from(ttl % 20) + 1);
    let status = status_of(status);
    let asked = Registration {
        service: service.parse().expect("a valid name"),
        endpoint: Endpoint::new(EndpointType::Http, &value).expect("a valid endpoint"),
        status,
        tags: tags.iter().map(|tag| tag.as_str().into()).collect(),
        metadata: metadata.as_ref().map(|m| Metadata::from_json(m, 4096).expect("valid metadata")),
        ttl: Some(ttl),
        eureka: None,
    };
    (asked, Known { service: service.into(), value, status, ttl, tags, metadata, renewed: 0 })
}

fn status_of(nth: u8) -> Status {
    [Status::Up, Status::Up, Status::Starting, Status::OutOfService][usize::from(nth) % 4]
}

fn id_of(service: u8, instance: u8) -> String {
    let (asked, known) = registration(service, instance, 0, 0, false);
    asked.grant(known.ttl, Timestamp::default()).id.to_string()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_u8, any::<u8>(), 0..40_u8, any::<u8>(), any::<u8>(), any::<bool>()).prop_map(
            |(namespace, service, instance, status, ttl, big)| Step::Register { namespace, service, instance, status, ttl, big }),
        1 => (0..3_u8, any::<u8>(), any::<u8>(), any::<u8>()).prop_map(
            |(namespace, service, count, ttl)| Step::RegisterMany { namespace, service, count, ttl }),
        6 => (0..3_u8, any::<u8>(), 0..40_u8).prop_map(
            |(namespace, service, instance)| Step::Renew { namespace, service, instance }),
        3 => (0..3_u8, any::<u8>(), 0..40_u8, any::<u8>()).prop_map(
            |(namespace, service, instance, status)| Step::SetStatus { namespace, service, instance, status }),
        3 => (0..3_u8, any::<u8>(), 0..40_u8).prop_map(
            |(namespace, service, instance)| Step::Deregister { namespace, service, instance }),
        3 => any::<u8>().prop_map(|tenths| Step::Pass { tenths }),
        2 => proptest::strategy::Just(Step::Look),
    ];
    proptest::collection::vec(step, 1..80)
}

// === impl World ===

impl World {
    async fn play(&mut self, step: &Step) {
        let now = self.model.now;
        match *step {
            Step::Register { namespace, service, instance, status, ttl, big } => {
                self.register(namespace, service, instance, status, ttl, big).await;
            }
            Step::RegisterMany { namespace, service, count, ttl } => {
                for instance in 0..count {
                    self.register(namespace, service, instance, 0, ttl, false).await;
                }
            }
            Step::Renew { namespace: ns, service, instance } => {
                let id = id_of(service, instance);
                let renewed = self.store.renew(&namespace(ns), &id).await.is_ok();
                self.expect(ns, &id, renewed, "renew");
                if let (true, Some(known)) = (renewed, self.known(ns, &id)) {
                    known.renewed = now;
                }
            }
            Step::SetStatus { namespace: ns, service, instance, status } => {
                let (id, status) = (id_of(service, instance), status_of(status));
                let set =
                    self.store.update(&namespace(ns), &id, Update::Status(status), Origin::Client).await;
                self.expect(ns, &id, set.is_ok(), "set_status");
                if let (Ok(set), Some(known)) = (set, self.known(ns, &id)) {
                    assert_eq!(set.status, status);
                    (known.status, known.renewed) = (status, now);
                }
            }
            Step::Deregister { namespace: ns, service, instance } => {
                let id = id_of(service, instance);
                let gone = self.store.deregister(&namespace(ns), &id, Origin::Client).await;
                self.expect(ns, &id, gone.is_ok(), "deregister");
                if gone.is_ok()
                    && let Some(instances) = self.model.namespaces.get_mut(&ns)
                {
                    instances.remove(&id);
                }
            }
            Step::Pass { tenths } => {
                for _ in 0..tenths {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    self.model.now += 100;
                }
                self.model.forget_the_dead();
            }
            Step::Look => self.look(),
        }
    }

    async fn register(&mut self, ns: u8, service: u8, instance: u8, status: u8, ttl: u8, big: bool) {
        let (asked, mut known) = registration(service, instance, status, ttl, big);
        known.renewed = self.model.now;
        let granted = asked.grant(known.ttl, Timestamp::default());
        let id = granted.id.to_string();
        let held = self.model.namespaces.get(&ns);
        let is_known = held.is_some_and(|held| held.contains_key(&id));
        let certain = held.map_or(0, |held| held.values().filter(|known| self.model.is_alive(known)).count());
        let possible = held.map_or(0, BTreeMap::len);
        match self.store.register(&namespace(ns), granted, Origin::Client).await {
            Ok(_) => {
                assert!(is_known || certain < CAPACITY, "capacity was exceeded");
                self.model.namespaces.entry(ns).or_default().insert(id, known);
            }
            Err(StoreError::NamespaceFull { capacity }) => {
                assert_eq!(capacity, CAPACITY);
                assert!(!is_known && CAPACITY <= possible, "refused with {possible} instances");
            }
            Err(StoreError::TooManyNamespaces { max }) => {
                assert_eq!(max, NAMESPACES_MAX);
                assert!(!is_known, "an instance that is there can be registered again");
            }
            Err(
                error @ (StoreError::NoSuchInstance
                | StoreError::ReadOnly { .. }
                | StoreError::Invalid(_)
                | StoreError::Unavailable),
            ) => panic!("a valid registration needs no instance: {error}"),
        }
    }

    fn known(&mut self, ns: u8, id: &str) -> Option<&mut Known> {
        self.model.namespaces.get_mut(&ns)?.get_mut(id)
    }

    /// A write that needs a living instance succeeds exactly when there is one; within a tenth of a second
    /// of its end either will do.
    fn expect(&self, ns: u8, id: &str, done: bool, what: &str) {
        let known = self.model.namespaces.get(&ns).and_then(|held| held.get(id));
        match known {
            None => assert!(!done, "{what} found {id}, which is not there"),
            Some(known) if self.model.is_alive(known) => assert!(done, "{what} did not find {id}"),
            Some(known) => {
                let late = self.model.now - (known.renewed + millis(known.ttl));
                assert!(!done || late < 200, "{what} found {id} {late} ms after its lease");
            }
        }
    }

    fn look(&mut self) {
        for ns in 0..3 {
            let empty = BTreeMap::new();
            let held = self.model.namespaces.get(&ns).unwrap_or(&empty);
            let Some(directory) = self.store.directory(&namespace(ns)) else {
                assert!(held.values().all(|known| !self.model.is_alive(known)), "namespace {ns} was lost");
                self.followers.remove(&ns);
                continue;
            };
            let everything = Selector { shown: Shown::All, ..Selector::default() };
            let seen = read(&directory, &everything);
            for (id, known) in held {
                match seen.get(id) {
                    Some(value) => assert_shows(value, id, known),
                    None => assert!(!self.model.is_alive(known), "{id} of namespace {ns} is not listed"),
                }
            }
            for id in seen.keys() {
                let may = held.get(id).is_some_and(|known| self.model.may_be_seen(known));
                assert!(may, "{id} of namespace {ns} is listed");
            }
            let living = |id: &String| held.get(id).is_some_and(|known| self.model.is_alive(known));
            check_selections(&directory, &seen, &living);
            follow(self.followers.entry(ns).or_default(), &directory, &seen);
        }
    }
}

fn assert_shows(value: &Value, id: &str, known: &Known) {
    let mut want = serde_json::json!({
        "id": id, "service_name": known.service, "status": known.status.as_str(),
        "endpoint": {"type": "http", "value": known.value}, "ttl": known.ttl.as_secs(),
    });
    if let Some(metadata) = &known.metadata {
        want["metadata"] = serde_json::from_str(metadata).expect("JSON");
    }
    if !known.tags.is_empty() {
        want["tags"] = known.tags.clone().into();
    }
    let mut got = value.clone();
    got.as_object_mut().expect("an object").remove("last_heartbeat").expect("last_heartbeat is always there");
    assert_eq!(got, want);
}

/// Every selection shows exactly those of the whole list that fit it, in plain and in gzip.
fn check_selections(directory: &Directory, all: &BTreeMap<String, Value>, living: &dyn Fn(&String) -> bool) {
    let check = |selector: Selector, fits: &dyn Fn(&Value) -> bool| {
        let want: Vec<_> = all.iter().filter(|(_, it)| fits(it)).map(|(id, _)| id.clone()).collect();
        let got: Vec<_> = read(directory, &selector).into_keys().collect();
        assert_eq!(got, want, "{selector:?}");
    };
    check(Selector::default(), &|it| it["status"] == "UP");
    for status in [Status::Up, Status::Starting, Status::OutOfService] {
        check(Selector { shown: Shown::Only(status), ..Selector::default() }, &|it| {
            it["status"] == status.as_str()
        });
    }
    for service in ["web", "WEB", "a\"b", "é", "nobody"] {
        let selector = Selector { service: Some(service.into()), shown: Shown::All, ..Selector::default() };
        check(selector, &|it| it["service_name"] == service);
    }
    let has = |it: &Value, tag: &str| it["tags"].as_array().is_some_and(|tags| tags.iter().any(|t| t == tag));
    let tags: Vec<Box<str>> = vec!["t1,\"".into(), "t0,\"".into()];
    check(Selector { tags, shown: Shown::All, ..Selector::default() }, &|it| {
        has(it, "t1,\"") && has(it, "t0,\"")
    });
    check(Selector { tags: vec!["t1".into()], shown: Shown::All, ..Selector::default() }, &|_| false);
    // One instance is judged by its lease at the call, a list only when somebody looked at the leases.
    for id in all.keys().filter(|id| living(id)).take(3) {
        let selector = Selector { id: Some(id.as_str().into()), shown: Shown::All, ..Selector::default() };
        check(selector, &|it| it["id"] == id.as_str());
        let one: Value =
            serde_json::from_slice(&directory.get_json(id).expect("it is listed")).expect("JSON");
        assert_eq!(one, all[id]);
    }
    let names: Vec<String> = serde_json::from_slice(&directory.service_names()).expect("JSON");
    let mut want: Vec<String> =
        all.values().map(|it| it["service_name"].as_str().expect("text").into()).collect();
    want.sort();
    want.dedup();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, want, "service names");
}

/// Plays the change log from where the follower was, and compares with the whole list.
fn follow(
    (tag, held): &mut (Option<Tag>, BTreeMap<String, Value>),
    directory: &Directory,
    all: &BTreeMap<String, Value>,
) {
    let now = directory.tag();
    let delta = match *tag {
        Some(was) if was.epoch == now.epoch => directory.since(was.revision),
        _ => Delta::Compacted,
    };
    match delta {
        Delta::Compacted => *held = all.clone(),
        Delta::Changes(changes) => {
            let mut next = tag.map_or(0, |tag| tag.revision);
            for change in changes {
                next += 1;
                assert_eq!(change.revision, next, "revisions have no gaps");
                let id = change.instance.id.to_string();
                match change.op {
                    Op::Put => held.insert(id.clone(), all.get(&id).cloned().unwrap_or_default()),
                    Op::Remove => held.remove(&id),
                };
            }
            assert_eq!(next, now.revision, "the log ends at the revision");
            assert!(held.keys().eq(all.keys()), "the log leads to the list");
        }
    }
    *tag = Some(now);
}

/// The instances of a listing by id; plain and gzip must be the same but for the times of leases.
fn read(directory: &Directory, selector: &Selector) -> BTreeMap<String, Value> {
    let body = |encoding| {
        let frames =
            directory.select(selector).render(Bytes::from_static(b"["), Bytes::from_static(b"]"), encoding);
        let promised = frames.remaining();
        let body = frames.fold(Vec::new(), |mut body, frame| {
            body.extend_from_slice(&frame);
            body
        });
        assert!(promised.is_none_or(|len| len == u64::try_from(body.len()).expect("short")));
        body
    };
    let plain: Vec<Value> = serde_json::from_slice(&body(Encoding::Identity)).expect("a list is JSON");
    let mut inflated = Vec::new();
    let coded = body(Encoding::Gzip);
    let mut decoder = flate2::bufread::GzDecoder::new(coded.as_slice());
    decoder.read_to_end(&mut inflated).expect("a gzip member");
    assert!(decoder.into_inner().is_empty(), "one member and nothing behind it");
    let coded: Vec<Value> = serde_json::from_slice(&inflated).expect("a compressed list is JSON");
    let ids = |list: &[Value]| list.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&plain), ids(&coded));
    let count = plain.len();
    let by_id: BTreeMap<_, _> =
        plain.into_iter().map(|it| (it["id"].as_str().expect("an id").to_owned(), it)).collect();
    assert_eq!(by_id.len(), count, "an id is listed twice");
    by_id
}

#[test]
fn random_histories_look_the_same_in_the_store_and_in_a_naive_model() {
    on_random_histories(false);
}

#[test]
fn random_histories_look_the_same_at_a_member_that_another_one_follows() {
    on_random_histories(true);
}

fn on_random_histories(replicates: bool) {
    // Proptest's own variable asks for more; its own default would take minutes.
    let few = if replicates { 50 } else { 150 };
    let cases = std::env::var("PROPTEST_CASES").map_or(few, |_| Config::default().cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(play(&steps, replicates));
            Ok(())
        })
        .expect("every history agrees");
}

/// The same where leases run on another process' clock: no time passes, and no lease ends.
#[test]
fn random_histories_look_the_same_in_redis_and_in_a_naive_model() {
    let Some(redis) = Redis::start("") else { return };
    let cases = std::env::var("PROPTEST_CASES").map_or(20, |_| Config::default().cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            redis.ask("FLUSHALL");
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(play_in_redis(&redis, steps));
            Ok(())
        })
        .expect("every history agrees");
}

async fn play_in_redis(redis: &Redis, steps: Vec<Step>) {
    let config = RedisConfig {
        address: redis.address().parse().expect("an address"),
        user: None,
        password: None,
        ca_file: None,
        certificate: None,
        timeout: Duration::from_secs(30),
    };
    let limits = RedisLimits {
        namespace_capacity: Some(CAPACITY),
        max_namespaces: NAMESPACES_MAX,
        change_log: LogLimits { size: 200, age: Duration::from_secs(60) },
        tags: Tags::Shared,
        leases: LeaseRules::default(),
    };
    let metrics = (StoreMetrics::default(), RedisMetrics::default());
    let (store, loops) = RedisStore::new(config, limits, Arc::default(), metrics, Arc::default());
    let RedisLoops { follower, coalescer, reaper, upkeep, tried, read: _ } = loops;
    let shutdown = CancellationToken::new();
    let loops = [
        tokio::spawn(follower.run(shutdown.clone())),
        tokio::spawn(coalescer.run(shutdown.clone())),
        tokio::spawn(reaper.run(shutdown.clone())),
        tokio::spawn(upkeep.run(shutdown.clone())),
    ];
    tried.cancelled().await;
    let mut world = World { store: Arc::new(store), model: Model::default(), followers: BTreeMap::new() };
    for step in steps {
        let step = match step {
            Step::Pass { .. } => Step::Look,
            Step::Register { namespace, service, instance, status, big, ttl: _ } => {
                Step::Register { namespace, service, instance, status, big, ttl: LONGEST }
            }
            Step::RegisterMany { namespace, service, count, ttl: _ } => {
                Step::RegisterMany { namespace, service, count, ttl: LONGEST }
            }
            step => step,
        };
        world.play(&step).await;
    }
    world.look();
    shutdown.cancel();
    for ended in loops {
        ended.await.expect("a loop ends when told to");
    }
}

/// With `replicates`, the store is that of a member that another one follows.
async fn play(steps: &[Step], replicates: bool) {
    let config = MemoryConfig {
        namespace_capacity: Some(CAPACITY),
        max_namespaces: NAMESPACES_MAX,
        change_log: LogLimits { size: 200, age: Duration::from_secs(5) },
        leases: LeaseRules::default(),
    };
    let shutdown = CancellationToken::new();
    let (store, loops) = match replicates {
        true => replicated(config, &shutdown),
        false => {
            let clock = Arc::new(Clock::default());
            let store = Arc::new(MemoryStore::new(config, clock.clone(), StoreMetrics::default()));
            let reaper = Reaper::new(store.clone(), clock).run(shutdown.clone());
            (store as Arc<dyn Store>, vec![tokio::spawn(reaper)])
        }
    };
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut world = World { store, model: Model::default(), followers: BTreeMap::new() };
    for step in steps {
        world.play(step).await;
    }
    world.look();
    // After the longest lease and the log's age, nothing is left but what never expires.
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.model.now += 30_000;
    world.model.forget_the_dead();
    world.look();
    for ns in 0..3 {
        let is_empty = !world.model.namespaces.contains_key(&ns);
        assert_eq!(
            world.store.directory(&namespace(ns)).is_none(),
            is_empty,
            "namespace {ns} was dropped or kept"
        );
    }
    shutdown.cancel();
    for ended in loops {
        ended.await.expect("a loop ends when told to");
    }
}

fn replicated(
    config: MemoryConfig,
    shutdown: &CancellationToken,
) -> (Arc<dyn Store>, Vec<tokio::task::JoinHandle<()>>) {
    let pair = ["a", "b"].map(|name| Member::new(name, config));
    connect(&pair);
    let store = pair[0].store.clone();
    let mut loops = Vec::new();
    for Member { clock, memory, replication, .. } in pair.clone() {
        let reaper = Reaper::of_leases(memory, replication.clone(), clock);
        loops.push(tokio::spawn(reaper.run(shutdown.clone())));
        loops.push(tokio::spawn(Flusher::new(replication, FLUSH).run(shutdown.clone())));
    }
    let shutdown = shutdown.clone();
    loops.push(tokio::spawn(async move {
        loop {
            let [a, b] = pair.each_ref().map(|member| Box::pin(member.replication.news()));
            pump(&pair);
            let moved = futures_util::future::select(a, b);
            if shutdown.run_until_cancelled(moved).await.is_none() {
                return;
            }
        }
    }));
    (store, loops)
}

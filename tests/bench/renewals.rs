//! What a renewal costs in the store itself, without a request around it: in memory, and in memory with replication.
//! Run with `cargo bench --bench renewals`, or the binary with a count of renewals and one of `plain` and `replicated`
//! under a tool that counts instructions.
//!
//! A measurement, not a test. Never: opens a socket, or needs anything but itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use a8registry::cluster::message::MemberId;
use a8registry::cluster::replicated::ReplicatedStore;
use a8registry::cluster::replication::Replication;
use a8registry::cluster::replicator::Settings;
use a8registry::directory::{LeaseRules, LogLimits};
use a8registry::model::{Clock, Endpoint, EndpointType, Namespace, Origin, Registration, Status, Timestamp};
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Store, StoreMetrics};
use futures_util::FutureExt;

const INSTANCES: usize = 10_000;
const EACH: usize = 100_000;
const ROUNDS: usize = 25;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.as_slice() {
        [] => compare(),
        [renewals, kind] => {
            let renewals = renewals.parse().expect("a count of renewals");
            match kind.as_str() {
                "plain" => {
                    let store = plain();
                    renew(&store, &filled(&store), renewals);
                }
                "replicated" => {
                    let (memory, store) = replicated();
                    renew(&store, &filled(&*memory), renewals);
                }
                other => panic!("{other} is neither plain nor replicated"),
            }
        }
        other => panic!("got {other:?}, want a count and plain or replicated"),
    }
}

/// Takes turns, so that both see the same machine; the best round of each counts.
#[allow(clippy::print_stdout, reason = "a measurement is for people")]
fn compare() {
    let plain = plain();
    let (memory, replicated) = replicated();
    let stores: [(&str, &dyn Store, _); 2] =
        [("plain", &plain, filled(&plain)), ("replicated", &replicated, filled(&*memory))];
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        for (best, (_, store, ids)) in best.iter_mut().zip(&stores) {
            let begun = Instant::now();
            renew(*store, ids, EACH);
            *best = best
                .min(begun.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(EACH).expect("small")));
        }
    }
    for (best, (name, ..)) in best.iter().zip(&stores) {
        println!("{name}: {best:.1} ns for a renewal, {INSTANCES} instances");
    }
}

fn renew(store: &dyn Store, ids: &[Box<str>], renewals: usize) {
    let namespace = Namespace::default();
    for id in ids.iter().cycle().take(renewals) {
        let renewed = store.renew(&namespace, id).now_or_never();
        assert!(matches!(renewed, Some(Ok(()))));
    }
}

fn filled(store: &dyn Store) -> Vec<Box<str>> {
    let add = |number| {
        let asked = Registration {
            service: "bench".parse().expect("a name"),
            endpoint: Endpoint::new(EndpointType::Http, &format!("10.0.0.1:{number}")).expect("an endpoint"),
            status: Status::Up,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        let instance = asked.grant(Duration::from_secs(3600), Timestamp::default());
        let id = instance.id.as_str().into();
        let registered = store.register(&Namespace::default(), instance, Origin::Client).now_or_never();
        assert!(matches!(registered, Some(Ok(_))));
        id
    };
    (0..INSTANCES).map(add).collect()
}

fn config() -> MemoryConfig {
    MemoryConfig {
        namespace_capacity: None,
        max_namespaces: 10,
        change_log: LogLimits::default(),
        leases: LeaseRules::default(),
    }
}

fn plain() -> MemoryStore {
    MemoryStore::new(config(), Arc::default(), StoreMetrics::default())
}

/// The store in memory can be filled without anybody being told.
fn replicated() -> (Arc<MemoryStore>, ReplicatedStore) {
    let clock = Arc::new(Clock::default());
    let memory = Arc::new(MemoryStore::tracking(config(), clock.clone(), StoreMetrics::default()));
    let settings = Settings {
        me: MemberId("bench".into()),
        incarnation: 1,
        max_ttl: Duration::from_secs(3600),
        hold: Duration::from_secs(300),
        flush: Duration::from_millis(200),
        frame_max: 1 << 20,
        leases: LeaseRules::default(),
    };
    let replication = Replication::new(settings, memory.clone(), clock);
    replication.open();
    (memory.clone(), ReplicatedStore::new(memory, replication))
}

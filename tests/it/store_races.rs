//! Threads that write, readers that look and a reaper that removes, all at once on one namespace: what a
//! client was told stays true.
//!
//! Never: depends on how fast the machine is; every claim is judged by times taken around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use a8registry::directory::{Directory, Encoding, LeaseRules, LogLimits, Selector, Shown};
use a8registry::model::{
    Clock, Endpoint, EndpointType, Instance, Namespace, Origin, Registration, Status, Timestamp,
};
use a8registry::store::expiry::Leases;
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Answer, Store, StoreMetrics};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::support::members::{Member, carry, connect, pump};

const TTL: Duration = Duration::from_millis(300);

fn instance(service: &str, value: &str, ttl: Duration) -> Instance {
    let asked = Registration {
        service: service.parse().expect("a valid name"),
        endpoint: Endpoint::new(EndpointType::Tcp, value).expect("a valid endpoint"),
        status: Status::Up,
        tags: [].into(),
        metadata: None,
        ttl: None,
        eureka: None,
    };
    asked.grant(ttl, Timestamp::default())
}

fn now<T>(answer: Answer<T>) -> T {
    answer.now_or_never().expect("a store in memory answers at once")
}

fn body(directory: &Directory, service: &str) -> String {
    let selector = Selector { service: Some(service.into()), shown: Shown::All, ..Selector::default() };
    let (open, close) = (Bytes::from_static(b"["), Bytes::from_static(b"]"));
    let frames = directory.select(&selector).render(open, close, Encoding::Identity);
    String::from_utf8(frames.flatten().collect()).expect("text")
}

/// Registers, then renews: after each success the instance is listed, unless its lease ran out meanwhile.
fn keep(store: &dyn Store, namespace: &Namespace, service: &str, value: &str, end: &AtomicBool) -> usize {
    let id = instance(service, value, TTL).id.to_string();
    let mut kept = 0;
    while !end.load(Ordering::Relaxed) {
        let asked_at = Instant::now();
        let is_new = now(store.renew(namespace, &id)).is_err();
        if is_new {
            now(store.register(namespace, instance(service, value, TTL), Origin::Client))
                .expect("there is room");
        }
        let directory = store.directory(namespace).expect("it has an instance");
        let list = body(&directory, service);
        if asked_at.elapsed() < TTL {
            assert!(list.contains(&id), "{id} was answered and is not listed (new: {is_new}): {list}");
            kept += 1;
        }
        // Now and then it is late, so that renewals race with the reaper.
        let pause = if kept % 16 == 0 { TTL } else { TTL / 40 };
        std::thread::sleep(pause);
    }
    kept
}

/// Registers and deregisters: what is deregistered is not listed.
fn churn(store: &dyn Store, namespace: &Namespace, thread: usize, end: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !end.load(Ordering::Relaxed) {
        let service = format!("churn-{thread}-{}", rounds % 50);
        let ids: Vec<_> = (0..40)
            .map(|nth| {
                let new = instance(&service, &format!("10.0.{thread}.{nth}:80"), Duration::from_secs(60));
                now(store.register(namespace, new, Origin::Client))
                    .expect("there is room")
                    .instance
                    .id
                    .clone()
            })
            .collect();
        for id in &ids {
            now(store.deregister(namespace, id.as_str(), Origin::Client)).expect("it was registered");
            assert!(now(store.renew(namespace, id.as_str())).is_err(), "{id} came back");
        }
        let list = store.directory(namespace).map(|directory| body(&directory, &service));
        assert_eq!(list.as_deref().unwrap_or("[]"), "[]");
        rounds += 1;
    }
    rounds
}

fn config() -> MemoryConfig {
    let change_log = LogLimits { size: 1000, age: Duration::from_secs(1) };
    MemoryConfig { namespace_capacity: None, max_namespaces: 2, change_log, leases: LeaseRules::default() }
}

/// Threads that write to the stores, in turn, while `upkeep` is called again and again.
/// In the end `settle` brings everything to everybody.
fn race(stores: &[&dyn Store], upkeep: impl Fn(), settle: impl Fn()) {
    let namespace = Namespace::default();
    // Enough to have the index grow while others use it.
    for nth in 0..4000 {
        let fixed =
            instance("fixed", &format!("10.9.{}.{}:1", nth / 200, nth % 200), Duration::from_secs(600));
        now(stores[0].register(&namespace, fixed, Origin::Client)).expect("there is room");
    }
    let end = AtomicBool::new(false);
    let (kept, churned) = std::thread::scope(|scope| {
        let (namespace, end) = (&namespace, &end);
        let store = |nth: usize| stores[nth % stores.len()];
        let keeper = |nth| {
            let (store, value) = (store(nth), format!("10.1.1.{nth}:80"));
            scope.spawn(move || keep(store, namespace, "kept", &value, end))
        };
        let churner = |nth| {
            let store = store(nth);
            scope.spawn(move || churn(store, namespace, nth, end))
        };
        let (keepers, churners): (Vec<_>, Vec<_>) =
            ((0..8).map(keeper).collect(), (0..3).map(churner).collect());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            upkeep();
            std::thread::sleep(Duration::from_millis(5));
        }
        end.store(true, Ordering::Relaxed);
        let joined = |threads: Vec<std::thread::ScopedJoinHandle<'_, usize>>| {
            threads.into_iter().map(|thread| thread.join().expect("no claim failed")).sum::<usize>()
        };
        (joined(keepers), joined(churners))
    });
    assert!(0 < kept && 0 < churned, "kept {kept}, churned {churned}");
    upkeep();
    settle();
    for store in stores {
        let directory = store.directory(&namespace).expect("the fixed ones are there");
        assert_eq!(body(&directory, "fixed").matches("\"id\"").count(), 4000);
        let is_empty = |nth| body(&directory, &format!("churn-{}-{}", nth / 50, nth % 50)) == "[]";
        assert!((0..150).all(is_empty), "who was deregistered is gone everywhere");
    }
}

#[test]
fn what_a_client_was_told_stays_true_under_concurrent_writes_and_expiry() {
    let clock = Arc::new(Clock::default());
    let store = MemoryStore::new(config(), clock.clone(), StoreMetrics::default());
    race(
        &[&store],
        || {
            let moment = clock.now();
            store.expire(&store.due(moment), moment, |_, _| {});
            store.compact(moment);
        },
        || (),
    );
}

#[test]
fn what_a_client_was_told_stays_true_when_two_members_replicate_meanwhile() {
    let pair = ["a", "b"].map(|name| Member::new(name, config()));
    connect(&pair);
    race(
        &[&*pair[0].store, &*pair[1].store],
        || {
            for Member { clock, memory, replication, .. } in &pair {
                let moment = clock.now();
                replication.flush();
                replication.watch(moment);
                replication.expire(&replication.due(moment), moment, &mut |_, _| {});
                memory.compact(moment);
            }
            // As many as a link takes in between; threads make new ones all the time.
            carry(&pair, 4);
        },
        || pump(&pair),
    );
    let [a, b] = pair.map(|member| member.memory.census(1).instances);
    // Who keeps its short lease now and then is late.
    assert!(a.abs_diff(b) <= 8, "{a} and {b}");
}

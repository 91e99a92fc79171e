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
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Answer, Store, StoreMetrics};
use bytes::Bytes;
use futures_util::FutureExt;

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
fn keep(store: &MemoryStore, namespace: &Namespace, service: &str, value: &str, end: &AtomicBool) -> usize {
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
fn churn(store: &MemoryStore, namespace: &Namespace, thread: usize, end: &AtomicBool) -> usize {
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

#[test]
fn what_a_client_was_told_stays_true_under_concurrent_writes_and_expiry() {
    let clock = Arc::new(Clock::default());
    let change_log = LogLimits { size: 1000, age: Duration::from_secs(1) };
    let config = MemoryConfig {
        namespace_capacity: None,
        max_namespaces: 2,
        change_log,
        leases: LeaseRules::default(),
    };
    let store = MemoryStore::new(config, clock.clone(), StoreMetrics::default());
    let namespace = Namespace::default();
    // Enough to have the index grow while others use it.
    for nth in 0..4000 {
        let fixed =
            instance("fixed", &format!("10.9.{}.{}:1", nth / 200, nth % 200), Duration::from_secs(600));
        now(store.register(&namespace, fixed, Origin::Client)).expect("there is room");
    }
    let end = AtomicBool::new(false);
    let (kept, churned) = std::thread::scope(|scope| {
        let (store, namespace, end) = (&store, &namespace, &end);
        let keepers: Vec<_> = (0..8)
            .map(|nth| scope.spawn(move || keep(store, namespace, "kept", &format!("10.1.1.{nth}:80"), end)))
            .collect();
        let churners: Vec<_> =
            (0..3).map(|nth| scope.spawn(move || churn(store, namespace, nth, end))).collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            let moment = clock.now();
            store.expire(&store.due(moment), moment, |_, _| {});
            store.compact(moment);
            std::thread::sleep(Duration::from_millis(5));
        }
        end.store(true, Ordering::Relaxed);
        let joined = |threads: Vec<std::thread::ScopedJoinHandle<'_, usize>>| {
            threads.into_iter().map(|thread| thread.join().expect("no claim failed")).sum::<usize>()
        };
        (joined(keepers), joined(churners))
    });
    assert!(0 < kept && 0 < churned, "kept {kept}, churned {churned}");
    let directory = store.directory(&namespace).expect("the fixed ones are there");
    assert_eq!(body(&directory, "fixed").matches("\"id\"").count(), 4000);
}

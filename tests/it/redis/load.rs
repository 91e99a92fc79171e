//! Clients that register and renew while something breaks, and readers that look whether anybody is gone.
//!
//! Clients behave as real ones: turned away, they ask the next registry; told that they are unknown, they register.
//! Never: judges by speed, but for the bound within which a write is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{LIST, Nodes};
use crate::support::{Answer, Client, eventually};

/// A load that goes on.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Kept>>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// Those that are renewed from the beginning to the end; readers have to see them always.
    steady: Mutex<BTreeSet<String>>,
    /// Writes that were turned away.
    refused: AtomicUsize,
    /// Writes that were done.
    done: AtomicUsize,
    /// What should not have been.
    wrong: Mutex<Vec<String>>,
    /// Renewals of steady ones that met with 410.
    forgotten: AtomicUsize,
    begun: OnceLock<Instant>,
}

/// An instance as its owner knows it.
#[derive(Debug, Clone)]
struct Kept {
    service: String,
    value: String,
    id: String,
}

/// What came of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) refused: usize,
    /// Renewals of instances that were never let down and met with 410.
    pub(super) forgotten: usize,
}

/// Seconds that an instance lives without renewal; renewals come much more often, on any machine.
const TTL: u64 = 5;
/// Instances at each node that stay.
const STEADY: usize = 6;
/// Within this a write is refused: two seconds, and what a busy machine adds.
const BOUND: Duration = Duration::from_millis(4500);
/// Between two renewals of an instance.
const PAUSE: Duration = Duration::from_millis(250);
/// How long after the end of all others' leases the lists may differ from what is renewed.
const SETTLED: Duration = Duration::from_secs(30);

// === impl Load ===

impl Load {
    /// Clients and a reader for each node, under way.
    #[track_caller]
    pub(super) fn start(nodes: &Nodes) -> Self {
        let shared = Arc::new(Shared::default());
        shared.begun.get_or_init(Instant::now);
        let all = nodes.clients();
        let mut clients = Vec::new();
        for at in 0..all.len() {
            // Each client has its own order of registries.
            let own: Vec<_> = all[at..].iter().chain(&all[..at]).cloned().collect();
            for number in 0..STEADY {
                let (service, value) = (format!("steady-{at}"), format!("10.0.{at}.{number}:80"));
                let id = own[0].register(&registration(&service, &value));
                shared.steady.lock().expect("nobody panicked").insert(id.clone());
                let (shared, own, kept) = (shared.clone(), own.clone(), Kept { service, value, id });
                clients
                    .push(thread::spawn(move || shared.keep(&own, kept, usize::MAX).into_iter().collect()));
            }
            let shared = shared.clone();
            clients.push(thread::spawn(move || shared.come_and_go(&own, at)));
        }
        let steady = shared.steady.lock().expect("nobody panicked").clone();
        for client in &all {
            eventually("every node lists the steady ones", || {
                steady.is_subset(&client.ids(LIST).into_iter().collect()).then_some(())
            });
        }
        let readers = all.into_iter().enumerate().map(|(at, client)| {
            let shared = shared.clone();
            thread::spawn(move || shared.read(at, &client))
        });
        let load = Self { readers: readers.collect(), shared, clients };
        load.until_done(20);
        load
    }

    /// Waits for so many more writes to be done.
    #[track_caller]
    pub(super) fn until_done(&self, more: usize) {
        until_more(&self.shared.done, more, "writes are done");
    }

    /// Waits for so many more writes to be refused.
    #[track_caller]
    pub(super) fn until_refused(&self, more: usize) {
        until_more(&self.shared.refused, more, "writes are refused");
    }

    /// Ends it: every node lists exactly those that are still renewed, and nothing was wrong meanwhile.
    #[track_caller]
    pub(super) fn end(mut self, nodes: &Nodes) -> Outcome {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let clients = nodes.clients();
        let kept = self.clients.drain(..).flat_map(|it| it.join().expect("no panic"));
        let kept: BTreeMap<String, Kept> = kept.map(|it| (it.id.clone(), it)).collect();
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic");
        }
        let begun = Instant::now();
        // Those who were left alone have to go while the others are renewed.
        eventually("all nodes list exactly those that are renewed", || {
            for Kept { service, value, id } in kept.values() {
                if clients[0].renew(id).status == 410 {
                    clients[0].register(&registration(service, value));
                }
            }
            let differences: Vec<_> = clients
                .iter()
                .map(|client| {
                    let listed: BTreeSet<_> = client.ids(LIST).into_iter().collect();
                    let missing = kept.keys().filter(|id| !listed.contains(*id)).count();
                    (listed.iter().filter(|id| !kept.contains_key(*id)).count(), missing)
                })
                .collect();
            assert!(begun.elapsed() < SETTLED, "too many and too few at each node: {differences:?}");
            differences.iter().all(|it| *it == (0, 0)).then_some(())
        });
        let wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let some = &wrong[..wrong.len().min(12)];
        assert!(wrong.is_empty(), "{} things went wrong, first {some:#?}", wrong.len());
        Outcome {
            refused: self.shared.refused.load(Ordering::SeqCst),
            forgotten: self.shared.forgotten.load(Ordering::SeqCst),
        }
    }
}

impl Drop for Load {
    /// A test that fails leaves nobody behind, who would find others at the ports of its nodes.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

#[track_caller]
fn until_more(counter: &AtomicUsize, more: usize, what: &str) {
    let before = counter.load(Ordering::SeqCst);
    eventually(&format!("{more} {what}"), || (before + more <= counter.load(Ordering::SeqCst)).then_some(()));
}

fn registration(service: &str, value: &str) -> serde_json::Value {
    json!({"service_name": service, "endpoint": {"type": "http", "value": value}, "ttl": TTL})
}

// === impl Shared ===

impl Shared {
    fn wrong(&self, what: &str) {
        let after = self.begun.get().map(|begun| begun.elapsed().as_secs_f64()).unwrap_or_default();
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{after:.2} s: {what}"));
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Renews an instance so many times; none when that is done before it is over.
    fn keep(&self, clients: &[Client], mut kept: Kept, times: usize) -> Option<Kept> {
        let mut renewed = 0;
        while !self.is_over() {
            if times <= renewed {
                return None;
            }
            let line = format!("PUT /api/v1/instances/{}/heartbeat", kept.id);
            match self.write(clients, &line, "").map(|answer| answer.status) {
                Some(410) => {
                    if times == usize::MAX {
                        self.forgotten.fetch_add(1, Ordering::SeqCst);
                    }
                    kept = self.register(clients, kept.service, kept.value)?;
                }
                Some(_) => renewed += 1,
                None => {}
            }
            thread::sleep(PAUSE);
        }
        Some(kept)
    }

    /// Registers, as long as it takes; none when it is over before.
    fn register(&self, clients: &[Client], service: String, value: String) -> Option<Kept> {
        let body = registration(&service, &value).to_string();
        while !self.is_over() {
            let answer = self.write(clients, "POST /api/v1/instances", &body);
            if let Some(answer) = answer.filter(|answer| answer.status == 201) {
                let id = answer.json()["id"].as_str().expect("an id").to_owned();
                return Some(Kept { service, value, id });
            }
            thread::sleep(PAUSE);
        }
        None
    }

    /// Lets instances come one after another, each of which is renewed for a while and then left alone.
    fn come_and_go(self: &Arc<Self>, clients: &[Client], at: usize) -> Vec<Kept> {
        let mut living = Vec::new();
        for number in 0.. {
            if self.is_over() {
                break;
            }
            let (shared, clients) = (self.clone(), clients.to_vec());
            living.push(thread::spawn(move || {
                let kept =
                    shared.register(&clients, format!("passing-{at}"), format!("10.1.{at}.1:{number}"))?;
                shared.keep(&clients, kept, 1 + number % 16)
            }));
            thread::sleep(2 * PAUSE);
        }
        living.into_iter().filter_map(|it| it.join().expect("no panic")).collect()
    }

    /// Asks one registry after another; none when all of them turn it away.
    fn write(&self, clients: &[Client], line: &str, body: &str) -> Option<Answer> {
        for client in clients {
            let asked = Instant::now();
            let answer = client.send(line, body);
            let took = asked.elapsed();
            if BOUND < took {
                self.wrong(&format!("{line}: {} after {took:?}", answer.status));
            }
            match answer.status {
                503 => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    let seconds: Option<u32> = answer.header("retry-after").parse().ok();
                    if seconds.is_none() {
                        self.wrong(&format!("{line}: 503 without Retry-After"));
                    }
                }
                200 | 201 | 410 => {
                    self.done.fetch_add(1, Ordering::SeqCst);
                    return Some(answer);
                }
                other => self.wrong(&format!("{line}: {other} {}", answer.text())),
            }
        }
        None
    }

    /// Looks whether somebody is missing who was renewed all the time.
    fn read(&self, at: usize, client: &Client) {
        let mut missed = BTreeSet::new();
        while !self.is_over() {
            let steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let answer = client.get(LIST);
            if answer.status == 200 {
                let listed: BTreeSet<_> = answer.ids().into_iter().collect();
                let missing: BTreeSet<_> = steady.difference(&listed).cloned().collect();
                if missing != missed {
                    let all = steady.len();
                    self.wrong(&format!("node {at} lists {} of {all} that are renewed", all - missing.len()));
                }
                missed = missing;
            } else {
                self.wrong(&format!("node {at} answers a read with {}", answer.status));
            }
            thread::sleep(PAUSE / 4);
        }
    }
}

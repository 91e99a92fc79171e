//! Clients that register and renew while something breaks, and readers that look whether anybody is gone.
//!
//! Clients behave as real ones: turned away, they ask the next registry; told that they are unknown, they register.
//! Never: judges by speed, but for the bound within which a write is refused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{LIST, Nodes};
use crate::support::{Answer, Client, eventually};

/// A load that goes on.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    keepers: Vec<JoinHandle<Kept>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// Those that are renewed from the beginning to the end; readers have to see them always.
    steady: Mutex<BTreeSet<String>>,
    /// Turned-away writes.
    refused: AtomicUsize,
    /// Writes that were done.
    done: AtomicUsize,
    /// What should not have been.
    wrong: Mutex<Vec<String>>,
    /// Renewals of steady ones that met with 410.
    forgotten: AtomicUsize,
    begun: Mutex<Option<Instant>>,
}

/// What a client still renews.
#[derive(Debug, Default)]
struct Kept {
    /// Service, value and id.
    instances: Vec<(String, String, String)>,
    number: usize,
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
const STEADY: usize = 8;
/// Within this a write is refused: two seconds, and what a busy machine adds.
const BOUND: Duration = Duration::from_millis(4500);
const PAUSE: Duration = Duration::from_millis(100);

// === impl Load ===

impl Load {
    /// A client and a reader for each node, under way.
    #[track_caller]
    pub(super) fn start(nodes: &Nodes) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.begun.lock().expect("nobody panicked") = Some(Instant::now());
        let clients = nodes.clients();
        let mut keepers = Vec::new();
        for at in 0..clients.len() {
            let mut kept = Kept { number: at, ..Kept::default() };
            // Each client has its own order of registries.
            let own: Vec<_> = clients[at..].iter().chain(&clients[..at]).cloned().collect();
            for number in 0..STEADY {
                let (service, value) = (format!("steady-{at}"), format!("10.0.{at}.{number}:80"));
                let id = own[0].register(&registration(&service, &value));
                shared.steady.lock().expect("nobody panicked").insert(id.clone());
                kept.instances.push((service, value, id));
            }
            let shared = shared.clone();
            keepers.push(thread::spawn(move || shared.keep(&own, kept)));
        }
        let steady = shared.steady.lock().expect("nobody panicked").clone();
        for client in &clients {
            eventually("every node lists the steady ones", || {
                steady.is_subset(&client.ids(LIST).into_iter().collect()).then_some(())
            });
        }
        let readers = clients.into_iter().enumerate().map(|(at, client)| {
            let shared = shared.clone();
            thread::spawn(move || shared.read(at, &client))
        });
        let load = Self { readers: readers.collect(), shared, keepers };
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
    pub(super) fn end(self, nodes: &Nodes) -> Outcome {
        // Those who were left alone have to go while the others are renewed.
        let abandoned_from = Instant::now();
        self.until_done(20);
        self.shared.is_over.store(true, Ordering::SeqCst);
        let clients = nodes.clients();
        let mut kept: Vec<Kept> = self.keepers.into_iter().map(|it| it.join().expect("no panic")).collect();
        for reader in self.readers {
            reader.join().expect("no panic");
        }
        eventually("all nodes list exactly those that are renewed", || {
            for one in &mut kept {
                for (service, value, id) in &mut one.instances {
                    if clients[0].renew(id).status == 410 {
                        *id = clients[0].register(&registration(service, value));
                    }
                }
            }
            let wanted: BTreeSet<_> =
                kept.iter().flat_map(|one| one.instances.iter().map(|it| it.2.clone())).collect();
            let lists = |client: &Client| client.ids(LIST).into_iter().collect::<BTreeSet<_>>();
            let differences: Vec<_> = clients
                .iter()
                .map(|client| {
                    let listed = lists(client);
                    (listed.difference(&wanted).count(), wanted.difference(&listed).count())
                })
                .collect();
            if Duration::from_secs(30) < abandoned_from.elapsed() {
                panic!("too many and too few at each node: {differences:?}");
            }
            differences.iter().all(|it| *it == (0, 0)).then_some(())
        });
        let wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(wrong.is_empty(), "{} things went wrong, first {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
        Outcome {
            refused: self.shared.refused.load(Ordering::SeqCst),
            forgotten: self.shared.forgotten.load(Ordering::SeqCst),
        }
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
    fn wrong(&self, what: String) {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let after = begun.map(|begun| begun.elapsed().as_secs_f64()).unwrap_or_default();
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{after:.2} s: {what}"));
    }

    /// Renews what there is, now and then adds one and leaves another alone.
    fn keep(&self, clients: &[Client], mut kept: Kept) -> Kept {
        let mut round = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            round += 1;
            for (service, value, id) in &mut kept.instances {
                let line = format!("PUT /api/v1/instances/{id}/heartbeat");
                let Some(answer) = self.write(clients, &line, "") else { continue };
                if answer.status == 410 {
                    if service.starts_with("steady") {
                        self.forgotten.fetch_add(1, Ordering::SeqCst);
                    }
                    let body = registration(service, value).to_string();
                    self.write(clients, "POST /api/v1/instances", &body);
                }
            }
            if round % 4 == 0 {
                let (service, value) = (format!("passing-{}", kept.number), format!("10.1.{}.1:{round}", kept.number));
                let body = registration(&service, &value).to_string();
                if let Some(answer) = self.write(clients, "POST /api/v1/instances", &body)
                    && answer.status == 201
                {
                    let id = answer.json()["id"].as_str().expect("an id").to_owned();
                    kept.instances.push((service, value, id));
                }
            }
            // Left alone: it has to go.
            if STEADY + 4 < kept.instances.len() {
                kept.instances.remove(STEADY);
            }
            thread::sleep(PAUSE);
        }
        kept
    }

    /// Asks one registry after another; none when all of them turn it away.
    fn write(&self, clients: &[Client], line: &str, body: &str) -> Option<Answer> {
        for client in clients {
            let asked = Instant::now();
            let answer = client.send(line, body);
            let took = asked.elapsed();
            if BOUND < took {
                self.wrong(format!("{line}: {} after {took:?}", answer.status));
            }
            match answer.status {
                503 => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    let seconds: Option<u32> = answer.header("retry-after").parse().ok();
                    if seconds.is_none() {
                        self.wrong(format!("{line}: 503 without Retry-After"));
                    }
                }
                200 | 201 | 410 => {
                    self.done.fetch_add(1, Ordering::SeqCst);
                    return Some(answer);
                }
                other => self.wrong(format!("{line}: {other} {}", answer.text())),
            }
        }
        None
    }

    /// Looks whether somebody is missing who was renewed all the time.
    fn read(&self, at: usize, client: &Client) {
        let mut missed = BTreeSet::new();
        while !self.is_over.load(Ordering::SeqCst) {
            let steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let answer = client.get(LIST);
            if answer.status == 200 {
                let listed: BTreeSet<_> = answer.ids().into_iter().collect();
                let missing: BTreeSet<_> = steady.difference(&listed).cloned().collect();
                if missing != missed {
                    let all = steady.len();
                    self.wrong(format!("node {at} lists {} of {all} that are renewed", all - missing.len()));
                }
                missed = missing;
            } else {
                self.wrong(format!("node {at} answers a read with {}", answer.status));
            }
            thread::sleep(PAUSE / 2);
        }
    }
}

//! All members restarted one after the other under load: nobody is told that a living instance is not there.
//!
//! Never: counts a connection that is refused as an answer; a client with several servers takes the next one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::members::{Cluster, instance};
use crate::support::{Answer, Client, eventually};

/// Servers as clients know them.
struct Servers(RwLock<Vec<Option<SocketAddr>>>);

/// How much there is to do.
struct Load {
    instances: usize,
    renewers: usize,
    pollers: usize,
    /// Between two lists of a poller.
    pause: Duration,
    ttl: u32,
}

impl Servers {
    fn put(&self, nth: usize, address: Option<SocketAddr>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[nth] = address;
    }

    /// The answer of the first that serves, beginning with one of them.
    fn ask(&self, first: usize, line: &str) -> Answer {
        let begun = Instant::now();
        let mut nth = first;
        loop {
            let address = {
                let servers = self.0.read().unwrap_or_else(PoisonError::into_inner);
                servers[nth % servers.len()]
            };
            if let Some(answer) = address.and_then(|address| try_ask(address, line))
                && answer.status != 503
            {
                return answer;
            }
            nth += 1;
            assert!(begun.elapsed() < Duration::from_secs(30), "no server answers {line}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a server answers, if it does.
fn try_ask(address: SocketAddr, line: &str) -> Option<Answer> {
    let client = Client::new(address);
    let mut connection = client.try_connect().ok()?;
    connection.try_write(client.request(line, "")).ok()?;
    connection.try_answer(false).ok()?
}

/// Pauses, but not beyond the end.
fn wait(pause: Duration, is_over: &AtomicBool) {
    let begun = Instant::now();
    while begun.elapsed() < pause && !is_over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10).min(pause));
    }
}

fn load() -> Load {
    match std::env::var_os("A8_TEST_LONG") {
        Some(_) => {
            Load { instances: 5000, renewers: 8, pollers: 200, pause: Duration::from_secs(4), ttl: 60 }
        }
        None => {
            eprintln!("small: A8_TEST_LONG has it with 5 000 instances and 200 pollers");
            Load { instances: 300, renewers: 2, pollers: 8, pause: Duration::from_millis(50), ttl: 20 }
        }
    }
}

#[test]
fn a_rolling_restart_hides_no_living_instance() {
    let Load { instances, renewers, pollers, pause, ttl } = load();
    let mut cluster = Cluster::start(3, "");
    let servers = Servers(RwLock::new((0..3).map(|nth| Some(cluster.daemon(nth).address())).collect()));
    let bodies: Vec<_> = (0..instances).map(|nth| instance(&format!("x{nth}"), ttl)).collect();
    let mut ids = cluster.client(0).register_many(&bodies);
    ids.sort_unstable();
    cluster.agree_on(&ids);
    let lease = Duration::from_secs(ttl.into());
    let is_over = AtomicBool::new(false);
    let (polls, renewals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for nth in 0..renewers {
            let (ids, servers, is_over, renewals) = (&ids, &servers, &is_over, &renewals);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    for (at, id) in ids.iter().enumerate().skip(nth).step_by(renewers) {
                        let line = format!("PUT /api/v1/instances/{id}/heartbeat");
                        let answer = servers.ask(at, &line);
                        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
                        renewals.fetch_add(1, Ordering::Relaxed);
                        if is_over.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    let took = begun.elapsed();
                    assert!(took < lease / 2, "this machine is too slow: a round of renewals took {took:?}");
                    wait((lease / 4).saturating_sub(took), is_over);
                }
            });
        }
        for nth in 0..pollers {
            let (ids, servers, is_over, polls) = (&ids, &servers, &is_over, &polls);
            scope.spawn(move || {
                // Not all at once.
                wait(pause * u32::try_from(nth % 100).unwrap_or_default() / 100, is_over);
                while !is_over.load(Ordering::Relaxed) {
                    let mut shown = servers.ask(nth, "GET /api/v1/services/web").ok().ids();
                    shown.sort_unstable();
                    assert_eq!(shown.len(), ids.len(), "living instances are missing");
                    assert!(shown == *ids);
                    polls.fetch_add(1, Ordering::Relaxed);
                    wait(pause, is_over);
                }
            });
        }
        // What fails here must not leave the others running.
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for nth in 0..3 {
                let ended = cluster.take(nth).stop();
                assert_eq!(ended.status, Some(0), "{}", ended.stderr);
                // Its port may be somebody else's soon.
                servers.put(nth, None);
                cluster.start_again(nth, "");
                servers.put(nth, Some(cluster.daemon(nth).address()));
                cluster.until_size(3);
                let before = polls.load(Ordering::Relaxed);
                eventually("all have looked since", || {
                    (before + pollers <= polls.load(Ordering::Relaxed)).then_some(())
                });
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = rolled {
            std::panic::resume_unwind(panic);
        }
    });
    let (polls, renewals) = (polls.into_inner(), renewals.into_inner());
    eprintln!("three restarts, {polls} lists of {instances} instances, {renewals} renewals");
    assert_ne!(renewals, 0);
    cluster.agree_on(&ids);
}

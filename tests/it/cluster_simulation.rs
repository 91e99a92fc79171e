//! The rules of replication in a simulated world: several members over connections that are cut, delayed, lost and slow,
//! clients that come and go, clocks that are wrong; all decided by a seed, so that what fails once fails again.
//!
//! `SIM_SEEDS=50000` plays so many worlds, `SIM_SEED=7` plays one again.
//! Never: a socket, a clock, or a thread that the outcome depends on.

mod checks;
mod clients;
mod member;
mod network;
mod pair;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use a8registry::cluster::replicator::Fault;

use checks::Checks;
use world::{STEP, World};

/// How long things go wrong, and how long all is well afterwards, until only what lives can be left.
const CHAOS: u64 = 120_000;
const RECOVERED: u64 = 25_000;
/// How long at the end nothing but renewals happens.
const STILL: u64 = 12_000;

/// What a world has seen.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    repairs: u64,
    frames: u64,
}

/// Plays one world to its end, or to the first broken promise.
fn play(seed: u64, fault: Option<Fault>) -> Result<Seen, String> {
    let mut world = World::new(seed, fault);
    let mut checks = Checks::default();
    let (mut next, mut mended, mut digest) = (15_000, 0, 0);
    let calm = CHAOS + RECOVERED + world.rules.ttl + world.rules.hold + 15_000;
    while world.time < calm {
        if world.time < CHAOS && next <= world.time {
            world.disturb();
            next = world.time + world.random.between(1000, 12_000);
        }
        if world.time == CHAOS {
            world.calm_down();
        }
        world.step();
        if world.time == CHAOS + RECOVERED {
            mended = world.repairs();
        }
        if world.time == calm - STILL {
            digest = world.digest();
        }
        if world.time.is_multiple_of(5 * STEP) {
            checks.check(&world).map_err(|what| format!("at {} ms: {what}", world.time))?;
        }
    }
    checks.check_end(&world)?;
    if digest != world.digest() {
        return Err("I5: renewals have changed a stamp".into());
    }
    if mended != world.repairs() {
        return Err("I9: something had to be mended although all was well".into());
    }
    Ok(Seen { repairs: mended, frames: world.frames })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays many worlds on all processors; the smallest seed that fails, and what all have seen.
fn play_all(seeds: std::ops::Range<u64>, fault: Option<Fault>) -> (Option<(u64, String)>, Seen) {
    let next = AtomicU64::new(seeds.start);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let results: Vec<_> = thread::scope(|scope| {
        let work = || {
            let (mut failed, mut all): (Option<(u64, String)>, Seen) = (None, Seen::default());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return (failed, all);
                }
                match play(seed, fault) {
                    Ok(seen) => {
                        all.repairs += seen.repairs;
                        all.frames += seen.frames;
                    }
                    Err(what) => {
                        next.store(seeds.end, Ordering::Relaxed);
                        if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                            failed = Some((seed, what));
                        }
                    }
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let mut all = Seen::default();
    let mut first: Option<(u64, String)> = None;
    for (failed, seen) in results {
        all.repairs += seen.repairs;
        all.frames += seen.frames;
        first = first.into_iter().chain(failed).min_by_key(|(seed, _)| *seed);
    }
    (first, all)
}

#[test]
fn no_living_instance_is_lost_whatever_befalls_the_network() {
    let from = number("SIM_SEED");
    let first = from.unwrap_or(0);
    let count = number("SIM_SEEDS").unwrap_or(if from.is_some() { 1 } else { 500 });
    let begun = std::time::Instant::now();
    let (failed, seen) = play_all(first..first + count, None);
    if let Some((seed, what)) = failed {
        panic!(
            "seed {seed}: {what}\nagain: SIM_SEED={seed} cargo test --test it cluster_simulation::no_living"
        );
    }
    eprintln!("{count} worlds in {:?}: {seen:?}", begun.elapsed());
}

/// Found by the scene, and only when the rule is broken.
fn check_scene(scene: impl Fn(Option<Fault>) -> Result<(), String>, faults: &[Fault]) {
    assert_eq!(scene(None), Ok(()));
    for fault in faults {
        assert!(scene(Some(*fault)).is_err(), "{fault:?} is not found");
    }
}

#[test]
fn a_connection_that_is_lost_in_the_middle_loses_nothing() {
    check_scene(pair::interrupted, &[Fault::VersionVectorAhead]);
}

#[test]
fn who_does_not_read_costs_no_more_than_the_window() {
    check_scene(pair::unread, &[Fault::CreditIgnored]);
}

#[test]
fn who_was_long_away_does_not_bring_back_what_never_expires() {
    check_scene(pair::away, &[Fault::NoReconciliation]);
}

#[test]
fn who_is_back_under_a_name_that_was_used_loses_nothing() {
    check_scene(pair::reborn, &[Fault::IncarnationIgnored]);
}

#[test]
fn renewals_cost_at_most_four_bytes_on_a_link() {
    let bytes = pair::bytes_of_renewals(2000);
    eprintln!("{bytes} bytes for 2000 renewals");
    assert!(bytes <= 4 * 2000, "{bytes}");
}

/// Each rule, when it is broken, is missed within so many worlds.
#[test]
fn planted_faults_are_found() {
    let found = |fault, within| {
        let (failed, _) = play_all(0..within, Some(fault));
        let (seed, what) = failed.unwrap_or_else(|| panic!("{fault:?} was not found in {within} worlds"));
        eprintln!("{fault:?}: seed {seed}: {what:.150}");
    };
    for (fault, within) in [
        (Fault::NoPull, 100),
        (Fault::TombstonesTooShort, 100),
        (Fault::WallClockLeases, 100),
        (Fault::DirtyBitForgotten, 100),
        (Fault::ExpiryReplicated, 100),
        (Fault::StampsIgnored, 100),
        (Fault::RenewalStamps, 100),
        (Fault::NoRelay, 100),
        (Fault::HoldForEver, 100),
        (Fault::HoldVouches, 100),
        (Fault::NoHold, 100),
        (Fault::IncarnationIgnored, 100),
        (Fault::NoRepair, 100),
        (Fault::NamespacesMixed, 100),
        (Fault::EmptyDeletes, 100),
    ] {
        found(fault, within);
    }
}

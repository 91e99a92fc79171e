//! What connects members, under turmoil: their loops, dialling, handshakes and links over a simulated network that is
//! cut, holds things back, is slow and loses, on hosts that crash and come back; all decided by a seed.
//!
//! `TURMOIL_SEEDS=500` plays so many worlds, `TURMOIL_SEED=7` plays one again.
//! Never: a socket, or a clock that does not belong to the world.

mod checks;
mod clients;
mod member;
mod network;
mod scenes;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use network::Event;
use world::World;

/// How long things go wrong.
const CHAOS: u64 = 30_000;
/// How long members may take to be whole afterwards: silence is noticed, places are dialled again, all is compared.
const RECOVERY: u64 = 20_000;

/// Plays one world to its end, or to the first broken promise; says all that was done with the network.
fn play(seed: u64) -> (Result<(), String>, Vec<Event>) {
    let size = 3 + usize::try_from(seed % 3).expect("few");
    let mut world = World::new(seed, size, None).with_clients(8);
    let played = play_in(&mut world);
    let played = played.map_err(|what| format!("at {} ms: {what}", world.now()));
    let books = world.books.clone();
    drop(world);
    let events = std::mem::take(&mut *books.events.lock());
    (played, events)
}

fn play_in(world: &mut World) -> Result<(), String> {
    let (mut disturbed, mut looked) = (6_000, 0);
    while world.now() < CHAOS {
        if disturbed <= world.now() {
            world.disturb();
            disturbed = world.now() + world.random.between(300, 4_000);
        }
        world.step()?;
        if looked + 500 <= world.now() {
            looked = world.now();
            let sights = world.look()?;
            checks::always(world, &sights)?;
        }
    }
    world.calm_down();
    settle(world, RECOVERY)?;
    let until = world.now() + u64::try_from(clients::lifetime().as_millis()).expect("short");
    while world.now() < until {
        world.pass(1_000)?;
        let sights = world.look()?;
        checks::always(world, &sights)?;
    }
    let sights = world.look()?;
    checks::at_the_end(world, &sights)?;
    // They still are; each looks now and then whether its own place is its own, which takes a moment.
    settle(world, 3_000)
}

/// Waits until all members are whole; from then on every one of them knows everybody.
fn settle(world: &mut World, within: u64) -> Result<(), String> {
    let until = world.now() + within;
    loop {
        let sights = world.look()?;
        checks::always(world, &sights)?;
        match checks::whole(world, &sights) {
            Ok(()) => break,
            Err(what) if until <= world.now() => return Err(format!("after {within} ms of calm: {what}")),
            Err(_) => world.pass(250)?,
        }
    }
    world.is_settled = true;
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays many worlds on all processors; the smallest seed that fails.
fn play_all(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let work = || loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return None;
            }
            if let (Err(what), _) = play(seed) {
                next.store(seeds.end, Ordering::Relaxed);
                return Some((seed, what));
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let failed = workers.into_iter().filter_map(|worker| worker.join().expect("a worker ends"));
        failed.min_by_key(|(seed, _)| *seed)
    })
}

#[test]
fn members_find_each_other_again_and_lose_nobody() {
    let (first, count) = match number("TURMOIL_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("TURMOIL_SEEDS").unwrap_or(6)),
    };
    let begun = std::time::Instant::now();
    if let Some((seed, what)) = play_all(first..first + count) {
        panic!(
            "seed {seed}: {what}\nagain: TURMOIL_SEED={seed} cargo test --test it cluster_turmoil::members_find"
        );
    }
    eprintln!("{count} worlds in {:?}", begun.elapsed());
}

#[test]
fn what_happened_once_happens_again() {
    let seed = number("TURMOIL_SEED").unwrap_or(1);
    let (first, second) = (play(seed), play(seed));
    assert_eq!(first.0, second.0);
    let differs = first.1.iter().zip(&second.1).position(|(one, two)| one != two);
    if let Some(at) = differs {
        panic!("seed {seed}: event {at} is {:?} and {:?}", first.1[at], second.1[at]);
    }
    assert_eq!(first.1.len(), second.1.len());
    assert!(1000 < first.1.len(), "{} events", first.1.len());
    let (_, other) = play(seed + 3);
    assert_ne!(first.1, other, "another seed is another world");
}

//! Scenes of which one thing is known that must come of it, and when.
//!
//! Never: leaves to chance what is looked at.

use std::collections::BTreeSet;

use super::checks::{connected, is_linked, shown, whole, whole_but};
use super::world::{Trouble, World};
use super::{number, settle};

/// More than any scene takes.
const LONG: u64 = 1_000_000;

/// Until when one of two members says that the other is connected, at most so long.
fn parted(world: &mut World, (a, b): (usize, usize), within: u64) -> Result<u64, String> {
    let begun = world.now();
    while world.now() < begun + within {
        let sights = world.look()?;
        if !is_linked(&sights[&a], world.names[b]) && !is_linked(&sights[&b], world.names[a]) {
            return Ok(world.now() - begun);
        }
    }
    Err(format!("still connected after {within} ms"))
}

fn met(size: usize, seed: u64) -> World {
    let mut world = World::new(seed, size, None).with_clients(4);
    settle(&mut world, 10_000).expect("they meet");
    world
}

#[test]
fn members_that_dial_each_other_at_once_keep_one_connection() {
    // All begin at the same moment, so each pair dials twice.
    for seed in 0..number("TURMOIL_SEEDS").unwrap_or(12) {
        let mut world = World::new(seed, 3 + usize::try_from(seed % 3).expect("few"), None);
        let all: Vec<usize> = (0..world.size()).collect();
        let pairs: Vec<_> = all.iter().flat_map(|a| (0..*a).map(move |b| (*a, b))).collect();
        let mut met = BTreeSet::new();
        world.pass(20).expect("all begin");
        while world.now() < 4_000 {
            let sights = world.look().expect("all go on");
            for (a, b) in &pairs {
                let is_linked = |one, two: &usize| is_linked(&sights[one], world.names[*two]);
                match is_linked(a, b) && is_linked(b, a) {
                    true => _ = met.insert((*a, *b)),
                    false => assert!(!met.contains(&(*a, *b)), "seed {seed}: {a} and {b} lose each other"),
                }
            }
        }
        let sights = world.look().expect("all go on");
        assert_eq!(connected(&world, &sights, &all), Ok(()), "seed {seed}");
        let dialled = world.books.connections();
        world.pass(3_000).expect("all go on");
        assert_eq!(world.books.connections(), dialled, "seed {seed}: who is connected is not dialled again");
    }
}

#[test]
fn a_connection_that_says_nothing_any_more_is_given_up_after_five_seconds() {
    for trouble in [Trouble::Held, Trouble::Cut] {
        let mut world = met(3, 1);
        world.is_settled = false;
        world.trouble(0, 1, trouble, LONG);
        let noticed = parted(&mut world, (0, 1), 10_000).expect("silence is noticed");
        assert!((4_000..=6_500).contains(&noticed), "{trouble:?}: after {noticed} ms");
        // The third one is not affected, and what clients say goes by it.
        let sights = world.look().expect("all go on");
        assert!(is_linked(&sights[&2], "ada") && is_linked(&sights[&2], "bob"));
        world.calm_down();
        settle(&mut world, 12_000).expect("they meet again");
    }
}

#[test]
fn who_hears_the_other_but_is_not_heard_is_given_up_too() {
    for (a, b) in [(0, 1), (1, 0)] {
        let mut world = met(3, 2);
        world.is_settled = false;
        world.trouble(a, b, Trouble::OneWay, LONG);
        let noticed = parted(&mut world, (0, 1), 14_000).expect("silence is noticed");
        assert!((4_000..=12_000).contains(&noticed), "after {noticed} ms");
        world.calm_down();
        settle(&mut world, 15_000).expect("they meet again");
    }
}

#[test]
fn a_short_pause_costs_no_connection() {
    let mut world = met(3, 3);
    let before = world.books.connections();
    world.trouble(0, 1, Trouble::Held, world.now() + 3_000);
    world.pass(8_000).expect("nothing is lost");
    let sights = world.look().expect("all go on");
    assert_eq!(whole(&world, &sights), Ok(()));
    assert_eq!(world.books.connections(), before, "nobody dialled");
}

#[test]
fn a_member_with_another_secret_stays_outside() {
    let mut world = World::new(4, 4, Some(3)).with_clients(0);
    world.pass(10_000).expect("nobody ends");
    for _ in 0..20 {
        world.pass(500).expect("nobody ends");
        let sights = world.look().expect("all go on");
        for nth in 0..3 {
            let stranger = shown(&sights[&nth], "dan").expect("its place is known");
            assert_eq!(stranger["state"], "unreachable");
            let trouble = stranger["trouble"].as_str().unwrap_or_default();
            assert!(trouble.contains("has another secret"), "{trouble}");
        }
        assert_eq!(sights[&3].report.links, []);
    }
    // Handshakes with it come and go.
    let is_whole = (0..50).any(|_| {
        let sights = world.look().expect("all go on");
        whole_but(&world, &sights, &[0, 1, 2]).is_ok()
    });
    assert!(is_whole, "the others are not whole");
}

#[test]
fn a_member_that_is_killed_is_back_under_its_name() {
    for is_told in [true, false] {
        let mut world = met(3, 5);
        world.is_settled = false;
        world.crash(1, is_told, world.now() + 8_000);
        world.pass(1_000).expect("nobody is lost");
        let sights = world.look().expect("the others go on");
        let is_lost = !is_linked(&sights[&0], "bob");
        assert_eq!(is_lost, is_told, "a closed connection is noticed at once, a silent one is not");
        world.pass(8_000).expect("nobody is lost");
        settle(&mut world, 12_000).expect("it is back");
    }
}

#[test]
fn who_is_back_before_it_was_missed_takes_the_place_of_its_old_connection() {
    let mut world = met(3, 7);
    world.is_settled = false;
    let back = world.now() + 1_000;
    world.crash(1, false, back);
    // Its old connections would be silent for five seconds before they were given up.
    world.pass(3_500).expect("nobody is lost");
    let sights = world.look().expect("all go on");
    assert_eq!(connected(&world, &sights, &[0, 1, 2]), Ok(()));
}

#[test]
fn a_member_that_leaves_ends_and_comes_back() {
    let mut world = met(4, 6);
    world.is_settled = false;
    world.restart(2);
    world.pass(3_000).expect("it ends and nobody is lost");
    assert_eq!(world.run(2), (2, 1), "it was started again");
    settle(&mut world, 10_000).expect("it is back");
}

//! Case 85: a client that reads everything once and then only deltas has what a full list would give it.
//!
//! Here a process is asked by HTTP while others write; histories in large numbers are played inside this process, in
//! `eureka_fold.rs`.
//! Never: lets the follower read everything a second time to put itself right.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::eureka::{by_id, document, hash_of, start, with};
use crate::support::{Client, Eureka};

const WRITERS: u64 = 4;
const STEPS: u64 = 120;
const STATUSES: [&str; 5] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"];

/// Numbers without order, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(end).expect("small")).expect("small")
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// What a Eureka client keeps: instances by application and id.
type Held = BTreeMap<(String, String), Value>;

/// Puts a delta in, as clients do.
fn apply(held: &mut Held, delta: &Value) {
    for (key, one) in by_id(delta) {
        match one["actionType"].as_str() {
            Some("ADDED" | "MODIFIED") => drop(held.insert(key, one)),
            Some("DELETED") => drop(held.remove(&key)),
            other => panic!("{other:?} is no action: {one}"),
        }
    }
}

/// What must be the same in a list and in what deltas led to: all but the times of renewals and the way it came.
fn comparable(held: &Held) -> BTreeMap<&(String, String), Value> {
    let without = |one: &Value| {
        let mut one = one.clone();
        one["actionType"] = Value::Null;
        one["leaseInfo"]["lastRenewalTimestamp"] = Value::Null;
        one
    };
    held.iter().map(|(key, one)| (key, without(one))).collect()
}

/// Changes at random; the writers share applications and ids.
fn write(dice: &mut Dice, eureka: &Eureka, native: &Client) {
    let (app, id) = (dice.one_of(&["T", "U", "V"]), dice.one_of(&["a", "b", "c", "d", "e", "f"]));
    let status = dice.one_of(&STATUSES);
    let number = dice.below(1000);
    let answer = match dice.below(10) {
        0..=3 => {
            let members = json!({"status": status, "metadata": {"n": number.to_string()}, "vipAddress": app});
            eureka.post(&with(document(app, id), &members))
        }
        4 => eureka.ask(&format!("PUT apps/{app}/{id}/status?value={status}")),
        5 => eureka.ask(&format!("DELETE apps/{app}/{id}/status?value={status}")),
        6 => eureka.ask(&format!("PUT apps/{app}/{id}/metadata?m={number}")),
        7 => eureka.ask(&format!("DELETE apps/{app}/{id}")),
        8 => native.post(&instance(app, &format!("10.0.0.{}:80", number % 4))),
        _ => {
            let all = native.get("/api/v1/instances?status=ALL").ok().ids();
            match all.len() {
                0 => return,
                count => native.delete(&format!("/api/v1/instances/{}", all[dice.below(count)])),
            }
        }
    };
    assert!([200, 201, 204, 404, 410].contains(&answer.status), "{}: {}", answer.status, answer.text());
}

#[test]
fn case_085_full_and_deltas_are_the_full_list() {
    let (daemon, eureka) = start("");
    let native = daemon.client();
    eureka.register(&document("T", "before"));
    let mut held = by_id(&eureka.list("apps"));
    let left = AtomicUsize::new(usize::try_from(WRITERS).expect("small"));
    let mut looks = 0;
    thread::scope(|scope| {
        for seed in 0..WRITERS {
            let (eureka, native, left) = (&eureka, &native, &left);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..STEPS {
                    write(&mut dice, eureka, native);
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        // A writer that fails does not count down: it ends the test when the time of the others is over.
        let begun = std::time::Instant::now();
        while left.load(Ordering::SeqCst) != 0 && begun.elapsed() < crate::support::PATIENCE {
            let delta = eureka.list("apps/delta");
            apply(&mut held, &delta);
            assert_eq!(delta["apps__hashcode"], hash_of(held.values()), "look {looks}");
            looks += 1;
        }
    });
    apply(&mut held, &eureka.list("apps/delta"));
    let list = eureka.list("apps");
    let full = by_id(&list);
    assert_eq!(list["apps__hashcode"], hash_of(full.values()));
    assert_eq!(comparable(&held), comparable(&full), "after {looks} looks");
    assert!(1 < looks, "the follower looked while others wrote");
}

/// The same without concurrency, where every single step can be judged by its content.
#[test]
fn case_085_each_step_is_in_the_delta() {
    let (daemon, eureka) = start("");
    let (native, mut dice) = (daemon.client(), Dice(4711));
    let mut held = by_id(&eureka.list("apps"));
    let compact = eureka.with("X-Eureka-Accept: compact");
    for step in 0..200 {
        write(&mut dice, &eureka, &native);
        let delta = eureka.list("apps/delta");
        apply(&mut held, &delta);
        let list = eureka.list("apps");
        assert_eq!(comparable(&held), comparable(&by_id(&list)), "step {step}");
        for hash in
            [&delta["apps__hashcode"], &list["apps__hashcode"], &compact.list("apps")["apps__hashcode"]]
        {
            assert_eq!(hash, &hash_of(held.values()), "step {step}");
        }
    }
}

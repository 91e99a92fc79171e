//! Links that are cut and members that restart: who is alive is never lost for good, who is not does not stay.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_renews_through_a_member_that_cannot_be_reached_is_held_for_so_long() {
    let mut net = Net::of(2);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(1)).await;
    net.cut(0, 1);
    let begin = net.steps;
    let mut last_seen = 0;
    net.pass_and(TTL + HOLD + secs(15), |net| {
        let is_here = net.members[1].get(&it).is_some();
        if is_here {
            last_seen = (net.steps - begin) * STEP;
            assert!(net.members[1].len() == 1, "lists show who is held");
        }
        // Nobody renewed it, so the member it renewed through lets it go.
        let lapsed = TTL + Duration::from_millis(700) < Duration::from_millis(net.steps * STEP);
        assert!(!lapsed || net.members[0].len() == 0);
    })
    .await;
    let seen = Duration::from_millis(last_seen);
    assert!(HOLD - secs(2) <= seen && seen <= TTL + HOLD + secs(1), "it was seen for {seen:?} after the cut");
    assert_eq!((net.members[1].len(), net.members[1].held()), (0, 0));
    assert_eq!(net.members[1].causes().last(), Some(&(Op::Remove, Cause::Expiry)));
}

#[tokio::test(start_paused = true)]
async fn who_is_held_is_counted_until_it_renews_directly() {
    let mut net = Net::of(2);
    let [it, other] = ["x", "y"].map(instance);
    net.members[0].register(&it);
    net.members[0].register(&other);
    net.pass(secs(1)).await;
    net.cut(0, 1);
    net.pass(secs(20)).await;
    assert_eq!(net.members[1].held(), 2);
    assert!(net.members[1].age(&it) >= secs(20), "nobody renewed it");
    net.members[1].renew(&it).expect("who is held can renew");
    net.pass(secs(1)).await;
    assert_eq!(net.members[1].held(), 1);
    net.pass(secs(8)).await;
    assert!(net.members[1].get(&it).is_some(), "its lease began anew");
    net.pass(secs(2)).await;
    assert!(net.members[1].get(&it).is_none(), "and is as long as any: it is not held");
    assert!(net.members[1].get(&other).is_some());
}

#[tokio::test(start_paused = true)]
async fn after_the_return_of_a_member_the_living_live_and_the_rest_go() {
    let mut net = Net::of(2);
    let [living, dead] = ["x", "y"].map(instance);
    net.members[0].register(&living);
    net.members[0].register(&dead);
    net.pass(secs(1)).await;
    net.cut(0, 1);
    for _ in 0..5 {
        net.pass(secs(5)).await;
        net.members[0].renew(&living).expect("it lives");
    }
    assert_eq!(net.members[1].held(), 2);
    net.connect(0, 1);
    net.pass(secs(1)).await;
    assert_eq!(net.members[1].held(), 1, "who lives is held no more");
    assert!(net.members[1].age(&living) < secs(2));
    // Whose member is back has one lease to renew.
    for _ in 0..2 {
        net.members[0].renew(&living).expect("it lives");
        net.pass_and(secs(6), |net| {
            assert!(net.members.iter().all(|member| member.get(&living).is_some()));
        })
        .await;
    }
    assert!(net.members[1].get(&dead).is_none());
    assert_eq!(net.members[1].held(), 0);
    assert!(net.agree());
}

#[tokio::test(start_paused = true)]
async fn who_was_let_go_during_a_cut_comes_back_with_its_next_renewal() {
    let mut net = Net::with(2, config(), Duration::ZERO);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(1)).await;
    net.cut(0, 1);
    for _ in 0..4 {
        net.pass(secs(5)).await;
        net.members[0].renew(&it).expect("it lives");
    }
    assert!(net.members[1].get(&it).is_none(), "nothing is held");
    net.connect(0, 1);
    net.members[0].renew(&it).expect("it lives");
    net.pass(secs(1)).await;
    assert!(net.members[1].get(&it).is_some());
    assert!(net.agree());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_empty_takes_over_everything_and_ends_nothing() {
    let mut net = Net::of(3);
    let all: Vec<_> = (0..50).map(|nth| instance(&format!("h:{nth}"))).collect();
    all.iter().enumerate().for_each(|(at, it)| drop(net.members[at % 3].register(it)));
    net.pass(secs(1)).await;
    net.restart(1);
    net.pass(secs(2)).await;
    net.connect(0, 1);
    net.connect(1, 2);
    net.pass_and(secs(2), |net| assert!(net.members[0].len() == 50 && net.members[2].len() == 50)).await;
    assert_eq!(net.members[1].len(), 50);
    assert!(net.agree());
    for it in &all {
        net.members[1].renew(it).expect("it is known there again");
    }
    net.pass(secs(8)).await;
    assert!(net.members.iter().all(|member| member.len() == 50));
}

#[tokio::test(start_paused = true)]
async fn a_broken_link_is_gone_round_by_a_third_member() {
    let mut net = Net::of(3);
    net.cut(0, 2);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(1)).await;
    assert!(net.members[2].get(&it).is_some());
    for _ in 0..6 {
        net.members[0].renew(&it).expect("it lives");
        net.pass_and(secs(5), |net| assert!(net.members[2].get(&it).is_some())).await;
        assert_eq!(net.members[2].held(), 0);
    }
    net.members[2].deregister(&it);
    net.pass(secs(1)).await;
    assert!(net.members[0].get(&it).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_says_goodbye_leaves_no_instance_behind_that_lives() {
    let mut net = Net::of(2);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(4)).await;
    net.members[0].renew(&it).expect("it lives");
    net.members[0].replication.drain();
    net.pump();
    net.cut(0, 1);
    assert!(net.members[1].age(&it) < secs(1), "the last renewal was told with the goodbye");
    net.members[1].renew(&it).expect("it is known there");
    net.pass(secs(9)).await;
    assert!(net.members[1].get(&it).is_some());
}

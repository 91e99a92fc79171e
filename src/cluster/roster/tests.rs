//! Members that come, go, dial each other at once and are found in several ways.

use super::*;
use crate::cluster::members::Seen;

const HOLD: Duration = Duration::from_secs(300);

fn id(name: &str) -> MemberId {
    MemberId(name.into())
}

fn place(name: &str) -> Place {
    name.parse().expect("a place")
}

fn roster(me: &str) -> Roster {
    Roster::new(id(me), HOLD)
}

fn greeted(peer: &str, incarnation: u64) -> Greeted {
    Greeted { peer: id(peer), incarnation, version: 1 }
}

fn listed(members: &[(&str, Option<&str>)]) -> Picture {
    let seen = members.iter().map(|(at, who)| Seen { place: place(at), id: who.map(id) }).collect();
    Picture { seen, trouble: None, is_known: true }
}

#[track_caller]
fn wanted(admission: Admission) -> (Linked, Option<Linked>) {
    match admission {
        Admission::Wanted { linked, instead_of } => (linked, instead_of),
        Admission::Unwanted => panic!("it is not wanted"),
    }
}

fn later(now: Instant, millis: u64) -> Instant {
    now + Duration::from_millis(millis)
}

#[test]
fn two_that_dial_each_other_keep_one_connection() {
    // A's connection to B is 1, B's to A is 2; each end may see them in either order.
    let now = Instant::now();
    for (a_first, b_first) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let see = |me: &str, peer: &str, first: u8| {
            let mut roster = roster(me);
            roster.sighted(&listed(&[("peer:1", None)]), now);
            roster.due(now);
            let mut used = None;
            for nth in [first, 3 - first] {
                let dialled = (nth == 1) == (me == "a:1");
                let at = place("peer:1");
                if let Admission::Wanted { .. } = roster.admit(&greeted(peer, 1), dialled.then_some(&at), now)
                {
                    used = Some(nth);
                }
            }
            assert_eq!(roster.size(), 2);
            used
        };
        assert_eq!((see("a:1", "b:1", a_first), see("b:1", "a:1", b_first)), (Some(1), Some(1)));
    }
}

#[test]
fn a_member_that_started_anew_takes_the_place_of_the_one_before() {
    let (mut roster, now) = (roster("a:1"), Instant::now());
    let (first, none) = wanted(roster.admit(&greeted("b:1", 5), None, now));
    assert!(none.is_none());
    let (second, instead_of) = wanted(roster.admit(&greeted("b:1", 6), None, now));
    assert_eq!(instead_of.map(|linked| linked.link), Some(first.link));
    assert!(matches!(roster.admit(&greeted("b:1", 5), None, now), Admission::Unwanted));
    assert!(!roster.lost(&id("b:1"), first.link, false, now), "the old one is nobody's loss");
    assert_eq!(roster.size(), 2);
    assert!(roster.lost(&id("b:1"), second.link, false, now));
    assert_eq!(roster.size(), 1);
}

#[test]
fn the_smaller_id_dials_and_the_larger_waits() {
    let now = Instant::now();
    for (me, peer, waits) in [("a:1", "b:1", 400), ("b:1", "a:1", 1500)] {
        let mut roster = roster(me);
        roster.stop_waiting();
        roster.sighted(&listed(&[(peer, Some(peer)), (me, Some(me))]), now);
        assert!(roster.due(later(now, waits - 1)).is_empty(), "{me}");
        assert_eq!(roster.due(later(now, waits)), [place(peer)]);
        assert!(roster.due(later(now, 60_000)).is_empty(), "it is being dialled");
        let at = place(peer);
        let (linked, _) = wanted(roster.admit(&greeted(peer, 1), Some(&at), now));
        assert!(roster.due(later(now, 60_000)).is_empty(), "it is connected");
        roster.lost(&id(peer), linked.link, false, later(now, 60_000));
        let again = if me < peer { 50 } else { 1500 };
        assert!(roster.due(later(now, 60_000 + again - 1)).is_empty());
        assert_eq!(roster.wake_at(), Some(later(now, 60_000 + again)));
        assert_eq!(roster.due(later(now, 60_000 + again)), [place(peer)]);
    }
}

#[test]
fn a_new_member_is_settled_when_everybody_was_tried() {
    let (mut roster, now) = (roster("c:1"), Instant::now());
    assert!(!roster.is_settled(), "nobody could be asked yet");
    roster.sighted(&Picture { is_known: false, ..Picture::default() }, now);
    assert!(!roster.is_settled());
    roster.sighted(&listed(&[("c:1", Some("c:1"))]), now);
    assert!(roster.is_settled(), "alone");
    roster.sighted(&listed(&[("a:1", Some("a:1")), ("b:1", None), ("me:1", None)]), now);
    assert_eq!(roster.due(now).len(), 3, "all are dialled at once");
    assert!(!roster.is_settled());
    roster.missed(&place("b:1"), Missed::Unwanted(id("b:1")), now, 0);
    assert!(!roster.is_settled(), "its own connection is still on its way");
    assert!(roster.missed(&place("b:1"), Missed::Trouble("refused".into()), now, 0));
    assert!(!roster.missed(&place("b:1"), Missed::Trouble("refused".into()), now, 0), "it is known");
    assert!(!roster.missed(&place("me:1"), Missed::Own, now, 0));
    assert!(!roster.is_settled());
    wanted(roster.admit(&greeted("a:1", 1), None, now));
    assert!(roster.is_settled(), "whoever dialled");
    let shown = roster.shown();
    assert_eq!(shown.len(), 2, "this member itself is not shown: {shown:?}");
    assert!(shown.iter().any(|it| it.trouble.as_deref() == Some("refused") && it.linked.is_none()));
}

#[test]
fn a_place_whose_member_dialled_this_one_is_left_alone_until_that_is_lost() {
    let (mut roster, now) = (roster("b:1"), Instant::now());
    roster.sighted(&listed(&[("a:1", None)]), now);
    assert_eq!(roster.due(now), [place("a:1")]);
    let (linked, _) = wanted(roster.admit(&greeted("a:1", 1), None, now));
    assert!(!roster.missed(&place("a:1"), Missed::Unwanted(id("a:1")), now, 0));
    assert!(roster.is_settled() && roster.wake_at().is_none());
    let [shown] = &roster.shown()[..] else { panic!("one member: {:?}", roster.shown()) };
    assert_eq!((&shown.id, &shown.places[..]), (&Some(id("a:1")), &[place("a:1")][..]));
    assert!(roster.lost(&id("a:1"), linked.link, false, now));
    assert_eq!(roster.due(later(now, 1500)), [place("a:1")]);
}

#[test]
fn a_place_is_dialled_again_when_it_names_somebody_who_is_not_connected() {
    let (mut roster, now) = (roster("b:1"), Instant::now());
    roster.sighted(&listed(&[("a:1", None)]), now);
    assert_eq!(roster.due(now), [place("a:1")]);
    roster.missed(&place("a:1"), Missed::Unwanted(id("c:1")), now, 0);
    assert_eq!(roster.due(later(now, 100)), [place("a:1")]);
}

#[test]
fn who_is_not_listed_any_more_is_dialled_for_a_while() {
    let (mut roster, now) = (roster("a:1"), Instant::now());
    roster.sighted(&listed(&[("b:1", Some("b:1")), ("c:1", None)]), now);
    roster.due(now);
    let at = place("b:1");
    let (linked, _) = wanted(roster.admit(&greeted("b:1", 1), Some(&at), now));
    roster.sighted(&listed(&[]), now);
    assert_eq!(roster.size(), 2, "connected is alive, whatever the source says");
    roster.lost(&id("b:1"), linked.link, false, now);
    assert_eq!(roster.due(later(now, 100)), [place("b:1")]);
    roster.missed(&place("b:1"), Missed::Trouble("refused".into()), now, 0);
    assert!(roster.due(now + HOLD - Duration::from_secs(1)) == [place("b:1")]);
    roster.missed(&place("b:1"), Missed::Trouble("refused".into()), now, 0);
    assert!(roster.due(now + HOLD).is_empty() && roster.shown().is_empty());
    assert_eq!(roster.wake_at(), None);
}

#[test]
fn who_said_goodbye_is_not_waited_for() {
    let (mut roster, now) = (roster("a:1"), Instant::now());
    roster.sighted(&listed(&[("b:1", Some("b:1"))]), now);
    let (linked, _) = wanted(roster.admit(&greeted("b:1", 1), None, now));
    roster.sighted(&listed(&[]), now);
    assert!(roster.lost(&id("b:1"), linked.link, true, now));
    assert!(roster.shown().is_empty() && roster.wake_at().is_none());
}

#[test]
fn strangers_without_number_are_not_heeded() {
    let (mut roster, now) = (roster("a:1"), Instant::now());
    for nth in 0..MEMBERS_MAX {
        wanted(roster.admit(&greeted(&format!("m{nth}:1"), 1), None, now));
    }
    assert!(matches!(roster.admit(&greeted("more:1", 1), None, now), Admission::Unwanted));
    wanted(roster.admit(&greeted("m0:1", 2), None, now));
}

#[test]
fn who_has_left_dials_nobody() {
    let (mut roster, now) = (roster("a:1"), Instant::now());
    roster.sighted(&listed(&[("b:1", None)]), now);
    roster.leave();
    assert!(roster.due(now).is_empty() && roster.wake_at().is_none());
}

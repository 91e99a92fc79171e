//! What one member does with what another one says, frame by frame.

use super::*;
use crate::cluster::frame::{Batch, Hello, Mark, Message, Record};
use crate::wire;

const NEWER: &str =
    r#"{"v":1,"id":"a","svc":"s","ep":["http","x"],"st":"UP","ttl":30000,"reg":1,"zone":{"left":[1,2.5]}}"#;
const LINK: Link = Link(1);

fn settings(name: &str) -> Settings {
    Settings {
        me: MemberId(name.into()),
        incarnation: 5,
        max_ttl: Duration::from_secs(60),
        hold: Duration::from_secs(60),
        flush: Duration::from_millis(100),
        frame_max: 1 << 20,
        leases: LeaseRules::default(),
    }
}

fn at(millis: u64) -> Now {
    let at = Moment::from_millis(1_000_000 + millis);
    Now { at, wall: Timestamp::from_millis(1_800_000_000_000 + millis) }
}

fn key() -> Key {
    Key { namespace: "red".parse().unwrap(), id: crate::model::InstanceId::from_text("a") }
}

fn hello(name: &str, incarnation: u64) -> Vec<u8> {
    let hello = Hello {
        protocol: (1, 1),
        features: u64::MAX,
        was_away: false,
        me: MemberId(name.into()),
        incarnation,
        window: 1 << 20,
        direct: Vec::new(),
        have: Vec::new(),
    };
    Message::Hello(hello).encode()
}

/// A member with links to these, all of which have said hello.
fn connected(names: &[&str]) -> Replicator {
    let mut member = Replicator::new(settings("ada"), at(0));
    for (name, link) in names.iter().zip(1..) {
        member.connected(at(0), Link(link), MemberId((*name).into()));
        member.received(at(0), Link(link), &hello(name, 1)).unwrap();
        while member.next_frame(at(0), Link(link)).is_some() {}
    }
    member
}

/// The first thing that a member writes.
fn entries(name: &str, json: &str) -> Vec<u8> {
    let stream = StreamId { origin: MemberId(name.into()).origin(), incarnation: 1 };
    let mut batch = Batch::new();
    let (time, age, home) = (1_800_000_000_000 << 16, Duration::ZERO, stream.origin);
    let json = Some(json.as_bytes());
    batch.push(&Record { stream, seq: 1, time, handle: 0, home, age, key: key(), is_repair: false, json });
    batch.mark(Mark { stream, from: 0, upto: 1 });
    batch.done()
}

fn sent(member: &mut Replicator, now: Now, link: Link) -> String {
    let frames: Vec<u8> = std::iter::from_fn(|| member.next_frame(now, link)).flatten().collect();
    String::from_utf8_lossy(&frames).into_owned()
}

#[test]
fn what_a_newer_build_says_survives_a_relay_and_a_change() {
    let mut member = connected(&["bob", "cyd"]);
    member.received(at(0), LINK, &entries("bob", NEWER)).unwrap();
    let effects = member.effects();
    let [Effect::Put { instance, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    member.placed(&key(), Some(3));
    let relayed = sent(&mut member, at(0), Link(2));
    assert!(relayed.contains(r#""zone":{"left":[1,2.5]}"#), "{relayed}");
    let changed = Instance { status: crate::model::Status::Starting, ..Instance::clone(instance) };
    member.put(at(10), key(), 3, Arc::new(changed));
    let changed = sent(&mut member, at(10), LINK);
    assert!(changed.contains("STARTING") && changed.contains(r#""zone":{"left":[1,2.5]}"#), "{changed}");
}

#[test]
fn a_record_that_cannot_be_read_is_counted_and_the_link_goes_on() {
    let mut member = connected(&["bob"]);
    for json in
        [NEWER.replace(r#""v":1"#, r#""v":2"#), NEWER.replace(r#""id":"a""#, r#""id":"b""#), "{".into()]
    {
        member.received(at(0), LINK, &entries("bob", &json)).unwrap();
    }
    let report = member.report(at(0).at);
    assert_eq!((report.unreadable, report.alive, member.effects().len()), (3, 0, 0));
}

#[test]
fn two_members_with_one_id_are_noticed() {
    let mut member = Replicator::new(settings("ada"), at(0));
    member.connected(at(0), LINK, MemberId("ada".into()));
    let error = member.received(at(0), LINK, &hello("ada", 9)).unwrap_err();
    assert_eq!(error.0, "another member is called ada, too");
    assert!(member.report(at(20_000).at).has_twin && !member.report(at(40_000).at).has_twin);

    let mut member = connected(&["bob"]);
    member.connected(at(100), Link(7), MemberId("bob".into()));
    let error = member.received(at(100), Link(7), &hello("bob", 2)).unwrap_err();
    assert_eq!(error.0, "two members are called bob, and both are alive");
    // When the first one is silent, the other one is its next life.
    member.connected(at(4000), Link(8), MemberId("bob".into()));
    assert_eq!(member.received(at(4000), Link(8), &hello("bob", 2)), Ok(()));
    let error = member.received(at(4000), LINK, &hello("bob", 1)).unwrap_err();
    assert_eq!(error.0, "member bob or this one is in a later life");
}

#[test]
fn nothing_counts_before_the_first_message() {
    let mut member = Replicator::new(settings("ada"), at(0));
    member.connected(at(0), LINK, MemberId("bob".into()));
    let error = member.received(at(0), LINK, &entries("bob", NEWER)).unwrap_err();
    assert_eq!(error.0, "member bob did not say hello first");
    let error = member.received(at(0), LINK, &hello("cyd", 1)).unwrap_err();
    assert_eq!(error.0, "member bob calls itself cyd");
}

#[test]
fn what_could_not_be_placed_is_tried_again_while_it_lives() {
    let mut member = connected(&["bob"]);
    member.received(at(0), LINK, &entries("bob", NEWER)).unwrap();
    assert_eq!(member.effects().len(), 1);
    member.placed(&key(), None);
    member.tick(at(5000));
    assert!(matches!(member.effects().as_slice(), [Effect::Put { .. }]));
    member.placed(&key(), None);
    // Its lease and the hold are over.
    member.tick(at(200_000));
    assert_eq!((member.effects().len(), member.report(at(200_000).at).alive), (0, 0));
}

#[test]
fn an_identical_registration_is_a_renewal() {
    let mut member = connected(&["bob"]);
    let instance = Arc::new(wire::record::Record::from_json(NEWER.as_bytes()).unwrap().instance);
    member.put(at(0), key(), 3, instance.clone());
    let digest = member.report(at(0).at).digest;
    assert!(sent(&mut member, at(0), LINK).contains(r#""id":"a""#));
    member.put(at(500), key(), 3, instance);
    member.tick(at(600));
    assert_eq!(member.report(at(600).at).digest, digest);
    let renewed = sent(&mut member, at(600), LINK);
    assert!(!renewed.contains(r#""id":"a""#), "{renewed}");
}

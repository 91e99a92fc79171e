//! Frames that come back as they were, and bytes that are none.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cluster::message::{MemberId, Stamp};
use crate::model::InstanceId;

fn key() -> impl Strategy<Value = Key> {
    ("[a-zé]{1,9}", ".{0,20}").prop_map(|(namespace, id)| Key {
        namespace: namespace.parse().unwrap(),
        id: InstanceId::from_text(&id),
    })
}

fn stream() -> impl Strategy<Value = StreamId> {
    (any::<u64>(), any::<u64>()).prop_map(|(origin, incarnation)| StreamId { origin, incarnation })
}

/// Ages as they come back: in whole units.
fn age() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 40).prop_map(renewals::age)
}

fn handles() -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), 0..50).prop_map(|mut handles| {
        handles.sort_unstable();
        handles.dedup();
        handles
    })
}

/// Reads the frame and writes it again.
fn again(message: &Message<'_>) -> (Vec<u8>, Vec<u8>) {
    let frame = message.encode();
    let read = Message::decode(&frame).expect("it is a frame").encode();
    (frame, read)
}

proptest! {
    #[test]
    fn greetings_come_back(
        id in "[a-z0-9:.]{1,200}", incarnation in any::<u64>(), was_away in any::<bool>(), window in any::<u64>(),
        direct in vec(stream(), 0..9), have in vec((stream(), any::<u64>()), 0..9),
    ) {
        let hello = Hello {
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX), features: 5, was_away, me: MemberId(id.into()), incarnation,
            window, direct, have,
        };
        let frame = Message::Hello(hello).encode();
        let Ok(Message::Hello(read)) = Message::decode(&frame) else { panic!("it is a hello") };
        prop_assert_eq!(Message::Hello(read).encode(), frame.clone());
        // A newer build may say more.
        let longer = [frame.as_slice(), b"more"].concat();
        let is_read = matches!(Message::decode(&longer), Ok(Message::Hello(_)));
        prop_assert!(is_read);
        let ping = Message::Ping(Ping { sample: window, is_draining: was_away, direct: vec![], have: vec![] });
        let (frame, read) = again(&ping);
        prop_assert_eq!(frame, read);
    }

    #[test]
    fn renewals_come_back(home in any::<u64>(), handles in handles(), ages in vec(age(), 50)) {
        let renewals: Vec<_> = handles.into_iter().zip(ages).collect();
        let frame = Message::Renew(Renewals { home, renewals: renewals.clone() }).encode();
        prop_assert!(frame.len() <= 2 + 8 + 10 + renewals.len() * Renewals::EACH_MAX);
        let Ok(Message::Renew(read)) = Message::decode(&frame) else { panic!("it is a frame") };
        prop_assert_eq!(read, Renewals { home, renewals });
    }

    #[test]
    fn binds_come_back(home in any::<u64>(), keys in vec((any::<u32>(), key(), any::<u64>(), age()), 0..20)) {
        let texts: usize = keys.iter().map(|(_, key, ..)| key.namespace.as_str().len() + key.id.as_str().len()).sum();
        let bind = |(handle, key, time, age)| Bind { handle, key, stamp: Stamp { time, origin: !time }, age };
        let binds: Vec<_> = keys.into_iter().map(bind).collect();
        let most = 2 + 8 + texts + binds.len() * Bind::OVERHEAD;
        let frame = Message::Bind(Binds { home, binds }).encode();
        prop_assert!(frame.len() <= most);
        let Ok(Message::Bind(read)) = Message::decode(&frame) else { panic!("it is a frame") };
        prop_assert_eq!(Message::Bind(read).encode(), frame);
    }

    #[test]
    fn entries_come_back(
        records in vec((stream(), any::<u64>(), key(), age(), any::<bool>(), ".{0,40}", any::<u32>()), 0..20),
        (from, length) in (0..1_u64 << 40, 0..1_u64 << 40),
    ) {
        let mut batch = Batch::new();
        let mut written = Vec::new();
        for (stream, number, key, age, is_repair, json, handle) in &records {
            let json = (!json.is_empty()).then_some(json.as_bytes());
            let most = batch.len() + Batch::cost(key, json.map_or(0, <[u8]>::len));
            let record = Record {
                stream: *stream, seq: *number, time: !number, handle: *handle, home: number / 3, age: *age,
                key: key.clone(), is_repair: *is_repair, json,
            };
            batch.push(&record);
            batch.mark(Mark { stream: *stream, from, upto: from + length });
            prop_assert!(batch.len() <= most);
            written.push(record);
        }
        let most = batch.len();
        let frame = batch.done();
        prop_assert!(frame.len() <= most);
        let Ok(Message::Entries(mut read)) = Message::decode(&frame) else { panic!("it is a frame") };
        let marked = read.marks.iter().all(|mark| (mark.from, mark.upto) == (from, from + length));
        prop_assert!(marked);
        for record in written {
            prop_assert_eq!(read.next().unwrap(), Some(record));
        }
        prop_assert_eq!(read.next().unwrap(), None);
    }

    #[test]
    fn comparisons_come_back(
        is_repair in any::<bool>(), handles in handles(), asked in vec((any::<u32>(), key()), 0..9),
        items in vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<bool>()), 0..9), number in any::<u64>(),
    ) {
        let listed = |(hash, version, handle, is_settled)| Listed { hash, version, handle, is_settled };
        let items: Vec<_> = items.into_iter().map(listed).collect();
        let listing = Listing { first: number, last: !number, items };
        let asked = asked.into_iter().map(|(handle, key)| Asked { handle, key }).collect();
        let mut sums = Box::new([number; BUCKETS]);
        sums[7] = 1;
        for message in [
            Message::Pull(Handles { is_repair, handles: handles.clone() }),
            Message::Lacking(Handles { is_repair, handles }),
            Message::Keys(listing), Message::Ask(asked), Message::Buckets(sums),
            Message::Credit(number), Message::Pong(number), Message::Digest(number), Message::Agree, Message::Caught,
        ] {
            let (frame, read) = again(&message);
            prop_assert_eq!(frame, read);
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in vec(any::<u8>(), 0..200), kind in 0..20_u8) {
        let frame = [&[kind, 0], bytes.as_slice()].concat();
        if let Ok(Message::Entries(mut entries)) = Message::decode(&frame) {
            while let Ok(Some(_)) = entries.next() {}
        }
    }
}

#[test]
fn unknown_messages_are_skipped_when_they_say_so() {
    assert!(matches!(Message::decode(&[99, MAY_BE_SKIPPED, 1, 2, 3]), Ok(Message::Unknown)));
    assert_eq!(Message::decode(&[99, 0, 1, 2, 3]).unwrap_err(), Malformed::Type(99));
    assert!(Message::decode(&[]).is_err() && Message::decode(&[CAUGHT, 0, 1]).is_err());
}

#[test]
fn lengths_are_not_believed() {
    let much = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for kind in [HELLO, ENTRIES, BIND, ASK, PING] {
        for before in 0..24 {
            let frame = [&[kind, 0], vec![0; before].as_slice(), &much].concat();
            let _ = Message::decode(&frame).map(|it| assert!(it.encode().len() <= 4 * frame.len() + 4096));
        }
    }
}

#[test]
fn the_versions_that_both_speak_are_found() {
    let hello = |min, max| Hello {
        protocol: (min, max),
        features: 0,
        was_away: false,
        me: MemberId("a".into()),
        incarnation: 1,
        window: 1,
        direct: vec![],
        have: vec![],
    };
    assert_eq!(hello(1, 1).common_protocol(), Some(1));
    assert_eq!(hello(1, 9).common_protocol(), Some(PROTOCOL_MAX));
    assert_eq!(hello(PROTOCOL_MAX + 1, 9).common_protocol(), None);
}

/// A flush of a busy member, and all leases after a connection.
#[test]
fn a_renewal_costs_at_most_four_bytes() {
    let cost = |every: u32, age: &dyn Fn(u32) -> u64| {
        let renewals: Vec<_> =
            (0..4000).map(|nth| (nth * every + nth % 7, Duration::from_millis(age(nth)))).collect();
        let frame = Message::Renew(Renewals { home: 1, renewals }).encode();
        frame.len().div_ceil(4000)
    };
    for (every, age) in [
        (7, (|nth| u64::from(nth % 250)) as fn(u32) -> u64),
        (120, |nth| u64::from(nth * 7 % 250)),
        (16_000, |nth| u64::from(nth * 7 % 250)),
        (8, |nth| u64::from(nth * 7919 % 30_000)),
    ] {
        assert!(cost(every, &age) <= 4, "{} bytes with a lease in {every}", cost(every, &age));
    }
}

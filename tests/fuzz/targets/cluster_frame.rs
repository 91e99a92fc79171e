//! Frames of a member that is trusted and should not be: any bytes, in any order, between what clients do here.
//!
//! An input is a list of steps, each a byte and what belongs to it: a frame with its length, a write, a renewal, a while
//! that passes, a new connection. No step panics, no frame that goes out is too long or one of too many, and what is
//! remembered is no more than what came.
//! Never: judges whether a frame should have been refused.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::message::{Key, MemberId};
use a8registry::cluster::replicator::{Effect, Link, Now, Replicator, Row, Settings};
use a8registry::directory::LeaseRules;
use a8registry::model::{Instance, InstanceId, Moment, Timestamp};
use a8registry::wire::record::Record;
use libfuzzer_sys::fuzz_target;

const RECORD: &str = r#"{"v":1,"id":"a","svc":"s","ep":["http","x"],"st":"UP","ttl":30000,"reg":1}"#;
const FRAME_MAX: usize = 4096;
/// Most frames that go out after one step: a few for each entry that there can be.
const FRAMES_MAX: usize = 20_000;

struct World {
    member: Replicator,
    now: Now,
    link: u64,
    rows: Row,
    writes: usize,
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    world.connect();
    let (mut rest, mut steps) = (input, 0);
    while let Some((kind, more)) = rest.split_first() {
        steps += 1;
        rest = world.step(*kind, more);
    }
    let report = world.member.report(world.now.at);
    // An entry takes at least this much of a frame.
    assert!(report.alive + report.dead <= world.writes + input.len() / 20, "{steps} steps: {report:?}");
});

fn settings(name: &str) -> Settings {
    Settings {
        me: MemberId(name.into()),
        incarnation: 1,
        max_ttl: Duration::from_secs(30),
        hold: Duration::from_secs(20),
        flush: Duration::from_millis(100),
        frame_max: FRAME_MAX,
        leases: LeaseRules::default(),
    }
}

impl World {
    fn new() -> Self {
        let now = Now { at: Moment::from_millis(1_000_000), wall: Timestamp::from_millis(1_800_000_000_000) };
        Self { member: Replicator::new(settings("ada"), now), now, link: 0, rows: 0, writes: 0 }
    }

    /// A connection of which the first frame is a good one.
    fn connect(&mut self) {
        self.member.disconnected(self.now, Link(self.link));
        self.link += 1;
        self.member.connected(self.now, Link(self.link), MemberId("bob".into()));
        let mut other = Replicator::new(settings("bob"), self.now);
        other.connected(self.now, Link(1), MemberId("ada".into()));
        let hello = other.next_frame(self.now, Link(1)).expect("a link begins with a frame");
        self.receive(&hello);
    }

    fn receive(&mut self, frame: &[u8]) {
        if self.member.received(self.now, Link(self.link), frame).is_err() {
            self.settle();
            self.member.disconnected(self.now, Link(self.link));
            self.link += 1;
            self.member.connected(self.now, Link(self.link), MemberId("bob".into()));
        }
        self.settle();
    }

    fn step<'a>(&mut self, kind: u8, rest: &'a [u8]) -> &'a [u8] {
        let (first, behind) = rest.split_first().map_or((0, rest), |(first, behind)| (*first, behind));
        let key = Key { namespace: "red".parse().expect("a name"), id: InstanceId::from_text(&format!("{first}")) };
        match kind {
            0 => {
                let (second, behind) = behind.split_first().map_or((0, behind), |(it, behind)| (*it, behind));
                let length = usize::from(u16::from_le_bytes([first, second])).min(behind.len());
                let (frame, behind) = behind.split_at(length);
                self.receive(frame);
                return behind;
            }
            1 => {
                let record = Record::from_json(RECORD.as_bytes()).expect("a record");
                let instance = Instance { id: key.id.clone(), ..record.instance };
                self.writes += 1;
                self.rows += 1;
                self.member.put(self.now, key, self.rows, Arc::new(instance));
            }
            2 => self.member.renewed(&[(u32::from(first), self.now.at)]),
            3 => self.member.remove(self.now, &key),
            4 => {
                let length = Duration::from_millis(u64::from(first) * u64::from(first) * 10);
                self.now.at = self.now.at.plus(length);
                self.member.tick(self.now);
            }
            5 => self.connect(),
            6 => self.member.expired(&key),
            _ => {
                self.receive(rest);
                return &[];
            }
        }
        self.settle();
        behind
    }

    fn settle(&mut self) {
        for effect in self.member.effects() {
            if let Effect::Put { key, .. } = effect {
                self.rows += 1;
                let has_room = !self.rows.is_multiple_of(7);
                self.member.placed(&key, has_room.then_some(self.rows));
            }
        }
        let mut frames = 0;
        while let Some(frame) = self.member.next_frame(self.now, Link(self.link)) {
            frames += 1;
            assert!(frame.len() <= FRAME_MAX && frames < FRAMES_MAX, "frame {frames} has {} bytes", frame.len());
        }
        let _ = self.member.held_until(self.rows, self.now.at);
    }
}

//! Scenes with two members that a seed would seldom bring about.

use std::sync::Arc;

use a8registry::cluster::message::MemberId;
use a8registry::cluster::replicator::{Fault, Link};
use a8registry::model::{Instance, Status};

use super::clients::Client;
use super::member::{FRAME_MAX, Member, Rules};
use super::network::Network;

/// Two members and at most one connection.
struct Pair {
    members: [Member; 2],
    network: Network,
    link: Option<Link>,
    time: u64,
    rules: Rules,
}

const NAMES: [&str; 2] = ["ada", "bob"];

impl Pair {
    fn new(fault: Option<Fault>) -> Self {
        let rules = Rules { ttl: 30_000, hold: 0, flush: 200, fault };
        let members = [1, 2]
            .map(|nth| Member::new(NAMES[usize::try_from(nth).unwrap() - 1], rules, 0, (nth * 1000, nth), 0));
        Self { members, network: Network::default(), link: None, time: 0, rules }
    }

    fn connect(&mut self) {
        let link = self.network.open(0, 1, self.time);
        for (nth, member) in self.members.iter_mut().enumerate() {
            let now = member.now(self.time);
            member.replicator.connected(now, link, MemberId(NAMES[1 - nth].into()));
        }
        self.link = Some(link);
    }

    fn cut(&mut self) {
        let Some(link) = self.link.take() else { return };
        for (end, member) in self.members.iter_mut().enumerate() {
            self.network.close(link, end);
            let now = member.now(self.time);
            member.replicator.disconnected(now, link);
        }
    }

    /// Moves at most so many frames from one to the other; answers with their bytes to the second.
    fn exchange(&mut self, most: usize) -> usize {
        let Some(link) = self.link else { return 0 };
        let (mut moved, mut bytes) = (0, 0);
        loop {
            let before = moved;
            for end in [0, 1] {
                self.send(link, end);
                while moved < most {
                    let Some(frame) = self.network.take(link, 1 - end, self.time) else { break };
                    moved += 1;
                    bytes += if end == 0 { frame.len() } else { 0 };
                    let member = &mut self.members[1 - end];
                    let now = member.now(self.time);
                    let received = member.replicator.received(now, link, &frame);
                    member.settle();
                    if let Err(why) = received {
                        assert!(why.0.contains("begins anew"), "{why}");
                        self.cut();
                        return bytes;
                    }
                }
            }
            if moved == before {
                return bytes;
            }
        }
    }

    fn send(&mut self, link: Link, end: usize) {
        let member = &mut self.members[end];
        let now = member.now(self.time);
        while let Some(frame) = member.replicator.next_frame(now, link) {
            self.network.send(link, end, frame, self.time);
        }
    }

    /// Lets time pass.
    fn pass(&mut self, length: u64) {
        let until = self.time + length;
        while self.time < until {
            self.time += 100;
            for member in &mut self.members {
                let now = member.now(self.time);
                member.expire(self.time);
                if member.replicator.wake_at() <= now.at {
                    member.replicator.tick(now);
                    member.settle();
                }
            }
            self.exchange(usize::MAX);
        }
    }

    fn register(&mut self, at: usize, nth: usize, status: Status) {
        let client = Client::new(nth, true);
        let instance = Instance { status, ..Instance::clone(&client.instance(self.rules.ttl)) };
        self.members[at].register(self.time, &client.key, Arc::new(instance));
    }

    fn counts(&self) -> [usize; 2] {
        self.members.each_ref().map(|member| member.rows.len())
    }
}

/// A connection is lost in the middle of many deregistrations; the next one brings all of them, before any comparison
/// could.
pub(super) fn interrupted(fault: Option<Fault>) -> Result<(), String> {
    let mut pair = Pair::new(fault);
    (0..400).for_each(|nth| pair.register(0, nth, Status::Up));
    pair.connect();
    pair.exchange(usize::MAX);
    pair.cut();
    if pair.counts() != [400; 2] {
        return Err(format!("I1: {:?} of 400 instances are there", pair.counts()));
    }
    for nth in 0..400 {
        pair.members[0].deregister(pair.time, &Client::new(nth, true).key);
    }
    for most in [6, 8, usize::MAX] {
        pair.connect();
        pair.exchange(most);
        pair.cut();
    }
    if pair.counts() == [0; 2] { Ok(()) } else { Err(format!("I9: {:?} instances are left", pair.counts())) }
}

/// Much is to be sent, and nobody takes it.
pub(super) fn unread(fault: Option<Fault>) -> Result<(), String> {
    let mut pair = Pair::new(fault);
    (0..400).for_each(|nth| pair.register(0, nth, Status::Up));
    pair.connect();
    pair.exchange(2);
    let link = pair.link.expect("it is connected");
    for _ in 0..30 {
        pair.time += 100;
        let now = pair.members[0].now(pair.time);
        pair.members[0].replicator.tick(now);
        pair.send(link, 0);
    }
    let bytes = pair.network.connections[&link].queues[1].bytes;
    if bytes <= 6 * FRAME_MAX { Ok(()) } else { Err(format!("I6: {bytes} bytes wait")) }
}

/// One member is away for longer than deregistrations are remembered. What it still has although it was deregistered
/// goes; what was registered meanwhile, on either side, stays.
pub(super) fn away(fault: Option<Fault>) -> Result<(), String> {
    let mut pair = Pair::new(fault);
    (0..10).for_each(|nth| pair.register(nth % 2, nth, Status::OutOfService));
    pair.connect();
    pair.pass(10_000);
    pair.cut();
    for nth in 0..5 {
        pair.members[1].deregister(pair.time, &Client::new(nth, true).key);
    }
    pair.register(0, 10, Status::OutOfService);
    pair.register(1, 11, Status::OutOfService);
    pair.pass(100_000);
    if pair.members[1].replicator.report(pair.members[1].now(pair.time).at).dead != 0 {
        return Err("deregistrations are remembered for longer than was thought".into());
    }
    for _ in 0..2 {
        pair.connect();
        pair.pass(20_000);
        pair.cut();
    }
    if pair.counts() == [7; 2] {
        Ok(())
    } else {
        Err(format!("I4: {:?} of 7 instances are there", pair.counts()))
    }
}

/// A member is back with an incarnation that it had before, and writes before it hears of that.
pub(super) fn reborn(fault: Option<Fault>) -> Result<(), String> {
    let mut pair = Pair::new(fault);
    (0..5).for_each(|nth| pair.register(1, nth, Status::Up));
    pair.connect();
    pair.exchange(usize::MAX);
    pair.cut();
    pair.members[1] = Member::new(NAMES[1], pair.rules, pair.time, (5000, 2), 0);
    (5..9).for_each(|nth| pair.register(1, nth, Status::Up));
    for _ in 0..2 {
        pair.connect();
        pair.exchange(usize::MAX);
    }
    let ended = pair.members[1].replicator.is_caught_up();
    if pair.counts() == [9; 2] && ended {
        Ok(())
    } else {
        Err(format!("I11: {:?} instances are there", pair.counts()))
    }
}

/// What so many renewals cost on a link, pings and all, in a second in which each lease is renewed once.
pub(super) fn bytes_of_renewals(count: usize) -> usize {
    let mut pair = Pair::new(None);
    (0..count).for_each(|nth| pair.register(0, nth, Status::Up));
    pair.connect();
    pair.pass(5_000);
    let (mut bytes, until) = (0, pair.time + 1000);
    while pair.time < until {
        // The leases of a tenth, spread over all.
        let part = usize::try_from(pair.time / 100 % 10).unwrap();
        for nth in (0..count).filter(|nth| nth % 10 == part) {
            assert!(pair.members[0].renew(pair.time, &Client::new(nth, true).key));
        }
        pair.time += 100;
        for member in &mut pair.members {
            let now = member.now(pair.time);
            member.replicator.tick(now);
        }
        bytes += pair.exchange(usize::MAX);
    }
    pair.time += 300;
    let now = pair.members[0].now(pair.time);
    pair.members[0].replicator.tick(now);
    bytes += pair.exchange(usize::MAX);
    let late =
        pair.members[1].rows.values().filter(|held| pair.members[1].time_of(held.renewed) + 1500 < pair.time);
    assert_eq!(late.count(), 0, "all renewals have come");
    bytes
}

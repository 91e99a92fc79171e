//! The world: members, connections and clients, moved on in small steps by what a seed decides.

use a8registry::cluster::message::MemberId;
use a8registry::cluster::replicator::{Fault, Replicator};
use a8registry::model::Status;

use super::clients::{Client, RENEWS, State};
use super::member::{Member, Rules};
use super::network::Network;
use crate::support::random::Random;

/// All there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) time: u64,
    pub(super) random: Random,
    /// None while it is down.
    pub(super) members: Vec<Option<Member>>,
    /// When it is started again.
    revival: Vec<Option<u64>>,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    /// Clocks differ and are set.
    pub(super) is_skewed: bool,
    pub(super) has_crashed: bool,
    /// When a member was last there that is called like the first one.
    pub(super) twin: Option<u64>,
    incarnations: u64,
    pub(super) broken: Option<String>,
    /// How many were sent.
    pub(super) frames: u64,
    is_calm: bool,
    touched: Vec<bool>,
}

/// One step, in milliseconds.
pub(super) const STEP: u64 = 100;

const NAMES: [&str; 7] = ["ada", "bob", "cyd", "dan", "eve", "fay", "gil"];

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut random = Random::new(seed);
        let size = usize::try_from(random.pick(&[3, 3, 3, 4, 4, 5, 7]).unwrap()).unwrap();
        let hold = random.pick(&[0, 20_000, 20_000, 40_000]).unwrap();
        let rules = Rules { ttl: 30_000, hold, flush: random.pick(&[100, 200, 250]).unwrap(), fault };
        let is_bulky = seed.is_multiple_of(10);
        let steady = if is_bulky { 100 } else { 0 };
        let mut clients: Vec<_> = (0..12).map(|nth| Client::new(nth, false)).collect();
        clients.extend((12..12 + steady).map(|nth| Client::new(nth, true)));
        let mut world = Self {
            rules,
            time: 0,
            members: Vec::new(),
            revival: Vec::new(),
            network: Network::default(),
            clients,
            is_skewed: seed % 4 == 1,
            has_crashed: false,
            twin: None,
            incarnations: 1000,
            broken: None,
            frames: 0,
            is_calm: false,
            touched: vec![false; size + 1],
            random,
        };
        for nth in 0..size {
            world.members.push(None);
            world.revival.push(None);
            world.start(nth);
            for other in 0..nth {
                let delay = world.random.pick(&[0, 0, 100, 300, 1000]).unwrap();
                world.network.delay.insert((nth, other), delay);
                world.network.delay.insert((other, nth), delay);
            }
        }
        // The place of a member that is called like another one.
        world.members.push(None);
        world.revival.push(None);
        world
    }

    /// Members that are no twins.
    pub(super) fn size(&self) -> usize {
        self.members.len() - 1
    }

    pub(super) fn up(&self) -> Vec<usize> {
        (0..self.size()).filter(|nth| self.members[*nth].is_some()).collect()
    }

    /// Whether somebody might take another member for the one that a client tells.
    pub(super) fn is_confused(&self, home: usize) -> bool {
        home == 0 && self.twin.is_some_and(|at| self.time < at + self.rules.ttl)
    }

    fn start(&mut self, nth: usize) {
        let name = if nth < self.touched.len() - 1 { NAMES[nth] } else { NAMES[0] };
        // Incarnations as they come, and when a clock was set back.
        self.incarnations += 1;
        let incarnation = match self.random.below(4) {
            0 => 500_000 - self.incarnations,
            _ => self.incarnations,
        };
        let offset = self.random.below(1_000_000);
        let hour = 3_600_000;
        let skew =
            if self.is_skewed { self.random.pick(&[0, 0, hour, -hour, 5000, -5000]).unwrap() } else { 0 };
        let mut member = Member::new(name, self.rules, self.time, (offset, incarnation), skew);
        member.is_skewed = self.is_skewed;
        self.members[nth] = Some(member);
    }

    /// All that happens in one step.
    pub(super) fn step(&mut self) {
        self.time += STEP;
        for nth in 0..self.members.len() {
            if self.revival[nth].is_some_and(|at| at <= self.time) {
                self.revival[nth] = None;
                self.start(nth);
            }
        }
        if self.members[self.size()].is_some() {
            self.twin = Some(self.time);
        }
        self.dial();
        self.deliver();
        self.act();
        for nth in 0..self.members.len() {
            let time = self.time;
            let Some(member) = &mut self.members[nth] else { continue };
            if time.is_multiple_of(300) {
                member.expire(time);
            }
            if member.replicator.wake_at() <= member.now(time).at {
                member.replicator.tick(member.now(time));
                member.settle();
                self.touched[nth] = true;
            }
            if let Some(broken) = &member.broken {
                self.broken.get_or_insert(broken.clone());
            }
        }
        for nth in 0..self.members.len() {
            if std::mem::take(&mut self.touched[nth]) {
                self.pump(nth);
            }
        }
    }

    /// Takes what a member has to send.
    fn pump(&mut self, nth: usize) {
        for (link, end) in self.network.of(nth) {
            let Some(member) = &mut self.members[nth] else { return };
            let now = member.now(self.time);
            let mut budget = 1000;
            while let Some(frame) = member.replicator.next_frame(now, link) {
                budget -= 1;
                if super::member::FRAME_MAX < frame.len() {
                    self.broken.get_or_insert(format!("a frame of {} bytes", frame.len()));
                }
                if budget == 0 {
                    self.broken.get_or_insert(format!("{} sends without end", member.name));
                    return;
                }
                self.frames += 1;
                self.network.send(link, end, frame, self.time);
            }
        }
    }

    fn dial(&mut self) {
        for a in 0..self.members.len() {
            for b in 0..a {
                if self.members[a].is_none()
                    || self.members[b].is_none()
                    || self.network.is_cut(a, b, self.time)
                {
                    continue;
                }
                let open = |member: usize| {
                    let of = |it: &super::network::Connection| it.ends.iter().position(|end| *end == member);
                    self.network.between(a, b).any(|(_, it)| of(it).is_some_and(|end| it.is_open[end]))
                };
                let dials = !open(a) || !open(b);
                if (dials && self.random.percent(20)) || (!self.is_calm && self.random.below(3000) == 0) {
                    self.connect(a, b);
                }
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let link = self.network.open(a, b, self.time);
        for (it, other) in [(a, b), (b, a)] {
            let name = self.members[other].as_ref().map_or("", |member| member.name);
            if let Some(member) = &mut self.members[it] {
                let now = member.now(self.time);
                member.replicator.connected(now, link, MemberId(name.into()));
                self.touched[it] = true;
            }
        }
    }

    /// Frames that have arrived, ends that are let go.
    fn deliver(&mut self) {
        let links: Vec<_> = self.network.connections.keys().copied().collect();
        for link in links {
            for end in [0, 1] {
                let Some(connection) = self.network.connections.get(&link) else { continue };
                let (nth, other) = (connection.ends[end], connection.ends[1 - end]);
                if !connection.is_open[end] {
                    continue;
                }
                let silent = self.time - connection.heard[end];
                let is_told = !connection.is_open[1 - end] && !self.network.is_mute(other, nth, self.time);
                if u128::from(silent) >= Replicator::SILENCE.as_millis() || is_told {
                    self.hang_up(link, end);
                    continue;
                }
                while self.network.has_arrived(link, end, self.time) {
                    let Some(frame) = self.network.take(link, end, self.time) else { break };
                    let Some(member) = &mut self.members[nth] else { break };
                    let now = member.now(self.time);
                    self.touched[nth] = true;
                    let received = member.replicator.received(now, link, &frame);
                    member.settle();
                    if let Err(why) = received {
                        if !["called", "later life", "begins anew"].iter().any(|word| why.0.contains(word)) {
                            self.broken.get_or_insert(format!("{} says: {why}", member.name));
                        }
                        self.hang_up(link, end);
                        break;
                    }
                }
            }
        }
    }

    fn hang_up(&mut self, link: a8registry::cluster::replicator::Link, end: usize) {
        let Some(connection) = self.network.connections.get(&link) else { return };
        let nth = connection.ends[end];
        self.network.close(link, end);
        if let Some(member) = &mut self.members[nth] {
            let now = member.now(self.time);
            member.replicator.disconnected(now, link);
            self.touched[nth] = true;
        }
    }

    /// What clients do.
    fn act(&mut self) {
        let up = self.up();
        for nth in 0..self.clients.len() {
            let client = &self.clients[nth];
            let is_due = client.next <= self.time;
            match client.state {
                State::Idle if is_due && self.random.percent(5) && (!self.is_calm || client.is_steady) => {
                    if let Some(home) = self.random.pick(&up) {
                        self.register(nth, home);
                    }
                }
                State::Alive if is_due => self.renew(nth, &up),
                State::Alive if !self.is_calm && !client.is_steady && self.random.below(250) == 0 => {
                    self.change(nth, &up);
                }
                State::Crashed | State::Gone(_) | State::Forgotten
                    if !self.is_calm && self.random.below(600) == 0 =>
                {
                    if let Some(home) = self.random.pick(&up) {
                        self.register(nth, home);
                    }
                }
                State::Idle | State::Alive | State::Crashed | State::Gone(_) | State::Forgotten => {}
            }
        }
    }

    fn register(&mut self, nth: usize, home: usize) {
        let (time, ttl) = (self.time, self.rules.ttl);
        let client = &mut self.clients[nth];
        client.version += 1;
        client.was_out |= client.status == Status::OutOfService;
        let instance = client.instance(ttl);
        if let Some(member) = &mut self.members[home] {
            member.register(time, &client.key, instance);
            self.touched[home] = true;
            if client.home != home || client.state != State::Alive {
                (client.home, client.home_since) = (home, time);
            }
            (client.state, client.last, client.written, client.next) =
                (State::Alive, time, time, time + RENEWS);
        }
    }

    fn renew(&mut self, nth: usize, up: &[usize]) {
        let time = self.time;
        let client = &mut self.clients[nth];
        client.next = time + RENEWS;
        if self.members[client.home].is_none() {
            // Its member is down: it turns to another one.
            let Some(home) = self.random.pick(up) else { return };
            (client.home, client.home_since) = (home, time);
        }
        let home = client.home;
        let Some(member) = &mut self.members[home] else { return };
        self.touched[home] = true;
        if member.renew(time, &client.key) {
            client.last = time;
        } else {
            self.register(nth, home);
        }
    }

    fn change(&mut self, nth: usize, up: &[usize]) {
        let Some(other) = self.random.pick(up) else { return };
        let time = self.time;
        match self.random.below(6) {
            0 => self.clients[nth].state = State::Crashed,
            1 => {
                let key = &self.clients[nth].key;
                let Some(member) = &mut self.members[other] else { return };
                let is_there = member.deregister(time, key);
                self.touched[other] = true;
                self.clients[nth].was_gone |= is_there;
                self.clients[nth].state = if is_there { State::Gone(other) } else { State::Crashed };
                self.clients[nth].written = time;
            }
            2 | 3 => {
                let client = &mut self.clients[nth];
                (client.home, client.home_since, client.next) = (other, time, time);
            }
            _ => {
                let home = self.clients[nth].home;
                let status = self.random.pick(&[Status::Up, Status::Starting, Status::OutOfService]);
                if let (Some(status), true) = (status, self.members[home].is_some()) {
                    self.clients[nth].status = status;
                    self.register(nth, home);
                }
            }
        }
    }

    /// Differences that digests have found and mended.
    pub(super) fn repairs(&self) -> u64 {
        let members = self.members.iter().flatten();
        members.map(|it| it.replicator.report(it.now(self.time).at).repairs).sum()
    }

    /// The sum over all that the first member has.
    pub(super) fn digest(&self) -> u64 {
        let first = self.members[0].as_ref();
        first.map_or(0, |it| it.replicator.report(it.now(self.time).at).digest)
    }

    // --- what befalls the world ---

    /// One misfortune.
    pub(super) fn disturb(&mut self) {
        let size = u64::try_from(self.size()).unwrap();
        let (a, b) = (self.random.below(size), self.random.below(size));
        let (a, b) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
        let until = self.time + self.random.between(1000, 40_000);
        match self.random.below(12) {
            0 | 1 => {
                let groups: Vec<_> = (0..self.size()).map(|_| self.random.below(2)).collect();
                self.cut(until, |from, to| groups[from] != groups[to]);
            }
            2 => {
                let until = self.time + self.random.pick(&[20_000, 60_000, 100_000]).unwrap();
                self.cut(until, |from, to| from == a || to == a);
            }
            3 | 4 => self.cut(until, |from, to| (from, to) == (a, b) || (from, to) == (b, a)),
            5 => self.cut(until, |from, to| (from, to) == (a, b)),
            6 => {
                let until = self.time + self.random.between(500, 4500);
                self.cut(until, |from, to| from == a && to != a);
            }
            7 => {
                let slowness = self.random.between(20, 150);
                self.network.slow.insert((a, b), slowness);
            }
            8 => {
                let of = self.network.of(a);
                if let Some((link, end)) = self.random.pick(&of) {
                    self.hang_up(link, end);
                }
            }
            9 => self.crash(a, until),
            10 => {
                if let Some(member) = &mut self.members[a] {
                    member.replicator.drain(member.now(self.time));
                    self.touched[a] = true;
                    self.pump(a);
                }
                let is_abrupt = self.random.percent(30);
                self.crash(a, if is_abrupt { self.time + STEP } else { until });
            }
            _ if self.is_skewed => {
                let step = i64::try_from(self.random.below(7_200_000)).unwrap() - 3_600_000;
                if let Some(member) = &mut self.members[a] {
                    member.skew = step;
                }
            }
            _ => {
                let twin = self.size();
                match self.members[twin] {
                    Some(_) => self.crash(twin, u64::MAX),
                    None => self.start(twin),
                }
            }
        }
    }

    fn cut(&mut self, until: u64, is_cut: impl Fn(usize, usize) -> bool) {
        for from in 0..self.size() {
            for to in (0..self.size()).filter(|to| *to != from && is_cut(from, *to)) {
                self.network.mute.insert((from, to), until);
            }
        }
    }

    fn crash(&mut self, nth: usize, until: u64) {
        if self.members[nth].is_none() {
            return;
        }
        self.has_crashed |= nth != self.size();
        for (link, end) in self.network.of(nth) {
            self.network.close(link, end);
        }
        self.members[nth] = None;
        self.revival[nth] = (until != u64::MAX).then_some(until);
        for client in self.clients.iter_mut().filter(|client| client.state == State::Gone(nth)) {
            let shows = |member: &Member| member.rows.contains_key(&client.key);
            if self.members.iter().flatten().any(shows) {
                client.state = State::Forgotten;
            }
        }
    }

    /// All is well from now on.
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.network.mute.clear();
        self.network.slow.clear();
        self.crash(self.size(), u64::MAX);
        for nth in 0..self.size() {
            if self.members[nth].is_none() {
                self.revival[nth] = Some(self.time);
            }
        }
    }
}

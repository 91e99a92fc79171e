//! The world: simulated hosts with members, the network between them, and clients; what a seed decides befalls them.
//!
//! Never: has anything happen that the seed does not decide.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use a8registry::model::Status;
use turmoil::Sim;

use super::clients::{Call, Client, Outcome, RENEWS, Run, State};
use super::member::{Door, Plan, Sight, live};
use super::network::{Books, Simulated};
use crate::support::random::Random;

/// All there is.
pub(super) struct World {
    pub(super) sim: Sim<'static>,
    pub(super) random: Random,
    pub(super) names: Vec<&'static str>,
    pub(super) books: Arc<Books>,
    doors: Vec<Door>,
    /// How often each member was started before.
    starts: Vec<u32>,
    /// When a member that is down is started again.
    down: BTreeMap<usize, u64>,
    /// By when a member that leaves must have ended.
    leaving: BTreeMap<usize, u64>,
    /// What is wrong with the network, and until when.
    troubles: BTreeMap<(usize, usize), (Trouble, u64)>,
    pub(super) clients: Vec<Client>,
    answers: Rc<RefCell<Vec<Answer>>>,
    versions: u64,
    /// All members agree and stay connected, so every one of them knows every instance.
    pub(super) is_settled: bool,
}

struct Answer {
    client: usize,
    call: Call,
    run: Run,
    at: u64,
    outcome: Outcome,
}

/// What is wrong with the network between two members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing comes through.
    Cut,
    /// Nothing comes from the first to the second.
    OneWay,
    /// Everything comes, later.
    Held,
}

/// Most members.
pub(super) const SIZE_MAX: usize = 5;
const NAMES: [&str; SIZE_MAX] = ["ada", "bob", "cyd", "dan", "eve"];
/// One step.
const TICK: Duration = Duration::from_millis(20);
/// How likely a segment is to break the network between two members, until a later one mends it.
const LOSS: f64 = 0.003;

// === impl World ===

impl World {
    /// So many members, of which one has another secret, if any.
    pub(super) fn new(seed: u64, size: usize, stranger: Option<usize>) -> Self {
        let mut builder = turmoil::Builder::new();
        let mut random = Random::new(seed);
        let latency = random.pick(&[20, 60, 200]).expect("some");
        builder
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3600))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(latency))
            .repair_rate(0.3)
            .enable_random_order();
        let mut sim = builder.build();
        let (names, books) = (NAMES[..size].to_vec(), Arc::new(Books::default()));
        let doors: Vec<Door> = (0..size).map(|_| Door::default()).collect();
        for (nth, door) in doors.iter().enumerate() {
            let network = Simulated { member: nth, books: books.clone() };
            let secret = if stranger == Some(nth) { "another" } else { "ours" };
            let plan = Plan { name: NAMES[nth], network, names: names.clone(), secret, door: door.clone() };
            sim.host(NAMES[nth], move || live(plan.clone()));
        }
        Self {
            sim,
            random,
            names,
            books,
            doors,
            starts: vec![0; size],
            down: BTreeMap::new(),
            leaving: BTreeMap::new(),
            troubles: BTreeMap::new(),
            clients: Vec::new(),
            answers: Rc::default(),
            versions: 0,
            is_settled: false,
        }
    }

    pub(super) fn with_clients(mut self, count: u64) -> Self {
        self.clients = (0..count).map(Client::new).collect();
        self
    }

    /// Milliseconds since the world began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).expect("not for ever")
    }

    pub(super) fn size(&self) -> usize {
        self.names.len()
    }

    fn one(&mut self) -> usize {
        let size = u64::try_from(self.size()).expect("few");
        usize::try_from(self.random.below(size)).expect("few")
    }

    /// Members that run.
    pub(super) fn up(&self) -> Vec<usize> {
        (0..self.size()).filter(|nth| !self.down.contains_key(nth)).collect()
    }

    /// Which run of a member it is at present.
    pub(super) fn run(&self, nth: usize) -> Run {
        (nth, self.starts[nth])
    }

    /// Whether that run of a member goes on.
    pub(super) fn goes_on(&self, run: Run) -> bool {
        self.run(run.0) == run && !self.down.contains_key(&run.0)
    }

    /// Lets time pass by one step.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|error| format!("a member has ended: {error}"))?;
        let now = self.now();
        let healed: Vec<_> =
            self.troubles.iter().filter(|(_, (_, until))| *until <= now).map(|it| *it.0).collect();
        healed.into_iter().for_each(|pair| self.heal(pair));
        let risen: Vec<_> = self.down.iter().filter(|(_, until)| **until <= now).map(|it| *it.0).collect();
        risen.into_iter().for_each(|nth| self.rise(nth));
        for (nth, until) in std::mem::take(&mut self.leaving) {
            match self.sim.is_host_running(self.names[nth]) {
                true if now < until => _ = self.leaving.insert(nth, until),
                true => return Err(format!("{} does not end", self.names[nth])),
                false => _ = self.down.insert(nth, now + 100),
            }
        }
        self.hear()?;
        self.act();
        Ok(())
    }

    pub(super) fn pass(&mut self, millis: u64) -> Result<(), String> {
        let until = self.now() + millis;
        while self.now() < until {
            self.step()?;
        }
        Ok(())
    }

    /// What members show, those that run.
    pub(super) fn look(&mut self) -> Result<BTreeMap<usize, Sight>, String> {
        let sights = Rc::new(RefCell::new(BTreeMap::new()));
        for nth in self.up() {
            let sights = sights.clone();
            self.doors[nth].ask(move |life| _ = sights.borrow_mut().insert(nth, life.sight()));
        }
        self.step()?;
        Ok(sights.take())
    }

    // --- what befalls members and the network ---

    /// Breaks the network between two members, until then.
    pub(super) fn trouble(&mut self, a: usize, b: usize, trouble: Trouble, until: u64) {
        if a == b || self.troubles.contains_key(&(a, b)) || self.troubles.contains_key(&(b, a)) {
            return;
        }
        let (from, to) = (self.names[a], self.names[b]);
        match trouble {
            Trouble::Cut => self.sim.partition(from, to),
            Trouble::OneWay => self.sim.partition_oneway(from, to),
            Trouble::Held => self.sim.hold(from, to),
        }
        self.troubles.insert((a, b), (trouble, until));
    }

    fn heal(&mut self, (a, b): (usize, usize)) {
        let Some((trouble, _)) = self.troubles.remove(&(a, b)) else { return };
        let (from, to) = (self.names[a], self.names[b]);
        match trouble {
            Trouble::Cut | Trouble::OneWay => self.sim.repair(from, to),
            Trouble::Held => self.sim.release(from, to),
        }
    }

    /// Ends a member at once, and starts it again then; when its machine loses power, nobody is told.
    pub(super) fn crash(&mut self, nth: usize, is_told: bool, until: u64) {
        if self.down.contains_key(&nth) || self.leaving.contains_key(&nth) {
            return;
        }
        if !is_told {
            for other in 0..self.size() {
                self.trouble(nth, other, Trouble::Cut, until);
            }
        }
        self.sim.crash(self.names[nth]);
        self.down.insert(nth, until);
    }

    /// Has a member leave, and come back at once.
    pub(super) fn restart(&mut self, nth: usize) {
        if !self.down.contains_key(&nth) && !self.leaving.contains_key(&nth) && self.doors[nth].leave() {
            self.leaving.insert(nth, self.now() + 12_000);
        }
    }

    fn rise(&mut self, nth: usize) {
        self.down.remove(&nth);
        self.starts[nth] += 1;
        self.sim.bounce(self.names[nth]);
    }

    /// Something goes wrong.
    pub(super) fn disturb(&mut self) {
        let (a, b, until) = (self.one(), self.one(), self.now() + self.random.between(500, 14_000));
        let trouble = self.random.pick(&[Trouble::Cut, Trouble::OneWay, Trouble::Held]).expect("some");
        match self.random.below(10) {
            0 => {
                let sides: Vec<u64> = (0..self.size()).map(|_| self.random.below(2)).collect();
                let pairs = (0..self.size()).flat_map(|a| (0..a).map(move |b| (a, b)));
                for (a, b) in pairs.filter(|(a, b)| sides[*a] != sides[*b]) {
                    self.trouble(a, b, trouble, until);
                }
            }
            1 => (0..self.size()).for_each(|b| self.trouble(a, b, trouble, until)),
            2..=4 => self.trouble(a, b, trouble, until),
            5 if a != b => {
                let latency = Duration::from_millis(self.random.between(0, 600));
                self.sim.set_link_max_message_latency(self.names[a], self.names[b], latency);
            }
            5 => self.sim.set_fail_rate(LOSS),
            6 => self.sim.set_fail_rate(0.0),
            7 => self.crash(a, true, until),
            8 => self.crash(a, false, until),
            _ => self.restart(a),
        }
    }

    /// Nothing goes wrong from now on.
    pub(super) fn calm_down(&mut self) {
        self.sim.set_fail_rate(0.0);
        let pairs: Vec<_> = self.troubles.keys().copied().collect();
        pairs.into_iter().for_each(|pair| self.heal(pair));
        let down: Vec<_> = self.down.keys().copied().collect();
        down.into_iter().for_each(|nth| self.rise(nth));
    }

    // --- what clients do ---

    fn act(&mut self) {
        let (now, up) = (self.now(), self.up());
        for nth in 0..self.clients.len() {
            if now < self.clients[nth].next || up.is_empty() {
                continue;
            }
            let is_homeless = !up.contains(&self.clients[nth].home);
            if is_homeless || self.is_settled || self.random.percent(15) {
                self.clients[nth].home = self.random.pick(&up).expect("somebody is up");
            }
            let call = self.choose(nth);
            let client = &mut self.clients[nth];
            client.next = now + RENEWS;
            let Some(call) = call else { continue };
            let (run, answers) = ((client.home, self.starts[client.home]), self.answers.clone());
            let client = client.clone();
            self.doors[run.0].ask(move |life| {
                let outcome = client.call(call, life);
                answers.borrow_mut().push(Answer { client: nth, call, run, at: now, outcome });
            });
        }
    }

    fn choose(&mut self, nth: usize) -> Option<Call> {
        let chance = if self.is_settled { 100 } else { self.random.below(100) };
        match self.clients[nth].state {
            State::Idle => Some(self.register()),
            State::Alive => match chance {
                0..4 => Some(Call::Deregister),
                4..7 => {
                    self.clients[nth].state = State::Silent;
                    None
                }
                7..12 => Some(self.register()),
                12..17 => Some(Call::SetStatus(self.status())),
                _ => Some(Call::Renew),
            },
            State::Silent | State::Gone(_) if chance < 10 => Some(self.register()),
            State::Silent | State::Gone(_) => None,
        }
    }

    fn register(&mut self) -> Call {
        self.versions += 1;
        Call::Register { version: self.versions, status: self.status() }
    }

    fn status(&mut self) -> Status {
        self.random.pick(&[Status::Up, Status::Starting, Status::Down]).expect("some")
    }

    fn hear(&mut self) -> Result<(), String> {
        for Answer { client: nth, call, run, at, outcome } in self.answers.take() {
            let (name, is_settled) = (self.names[run.0], self.is_settled);
            let client = &mut self.clients[nth];
            let is_lost = client.must_be_known(run, at) || is_settled && client.state == State::Alive;
            match outcome {
                Outcome::Done { version } => client.done(call, version, run, at),
                Outcome::Unknown if is_lost => {
                    return Err(format!("{name} has lost an instance that renews: {client:?}"));
                }
                Outcome::Unready if is_settled => return Err(format!("{name} is not ready")),
                // It comes again as something new, or asks somebody else.
                Outcome::Unknown => (client.state, client.next) = (State::Idle, 0),
                Outcome::Unready => (client.home, client.next) = ((run.0 + 1) % self.names.len(), 0),
            }
        }
        Ok(())
    }
}

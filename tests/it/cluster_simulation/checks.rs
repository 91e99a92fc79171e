//! What must hold. Each check says which of the promises it keeps:
//!
//! I1 members that are left alone agree, and have no difference to mend · I2 who renews is seen: at its own member
//! always, at every member that can hear of it, and while the hold lasts at those that can not · I3 who does not renew is
//! gone · I4 who deregistered stays gone · I5 neither a content nor a lease goes back (in `member.rs`) · I6 what is
//! under way is bounded · I7 who restarts empty takes nothing away (I2 and I4 while members restart) · I8 no frame is
//! refused, and nobody sends without end (in `world.rs`) · I9 what counts as had is there (I1: nothing to mend) · I10
//! namespaces do not mix (in `member.rs`) · I11 members come back with smaller incarnations and other clocks
//! (all of it).

use std::collections::{BTreeMap, BTreeSet};

use a8registry::model::Status;

use super::clients::{Client, RENEWS, State};
use super::member::{FRAME_MAX, Member};
use super::world::World;

/// What is remembered from check to check.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Since when two members hear each other without trouble.
    sound: BTreeMap<(usize, usize), u64>,
    /// When they last did not.
    unsound: BTreeMap<(usize, usize), u64>,
    /// When a member last had good reason to know of a client, and through which home.
    reasons: BTreeMap<(usize, usize), (u64, usize)>,
    /// Since when a member has not shown a client that it must know.
    missing: BTreeMap<(usize, usize), u64>,
    /// Who never expires, and whose deregistration was forgotten before all could hear of it.
    outlived: BTreeSet<usize>,
    /// When the network was last anything but sound.
    trouble: u64,
}

/// How long after trouble all must be as it should: silence is noticed, a connection made, everything told.
const RECOVERY: u64 = 20_000;
/// How long after a write or a move it must be known.
const PROMPT: u64 = 5_000;
/// How much later than it should an entry may go: ages do not count the time that they are under way.
const LATE: u64 = 12_000;
/// How long a deregistration is remembered after a lease and the hold, at least.
const REMEMBRANCE: u64 = 20_000;

impl Checks {
    /// Everything that must hold at any time.
    pub(super) fn check(&mut self, world: &World) -> Result<(), String> {
        if let Some(broken) = &world.broken {
            return Err(broken.clone());
        }
        self.observe(world);
        self.look_for_outlived(world);
        check_queues(world)?;
        for (nth, client) in world.clients.iter().enumerate() {
            for (at, member) in world.members.iter().enumerate().take(world.size()) {
                let Some(member) = member else { continue };
                self.check_client(world, (nth, client), (at, member))
                    .map_err(|what| format!("{what}: {client:?} at {}", member.name))?;
            }
        }
        Ok(())
    }

    fn observe(&mut self, world: &World) {
        for a in 0..world.size() {
            for b in 0..a {
                let up = world.members[a].is_some() && world.members[b].is_some();
                let open = world.network.between(a, b).filter(|(_, it)| it.is_open == [true; 2]);
                let linked = open.map(|(_, it)| it.opened).min();
                let troubled = world.network.is_cut(a, b, world.time) || world.network.is_slow(a, b);
                if let (Some(opened), true, false) = (linked, up, troubled) {
                    let since = self.sound.entry((a, b)).or_insert(world.time);
                    if *since < opened {
                        // It was lost and made anew since the last look.
                        *since = world.time;
                        self.unsound.insert((a, b), world.time);
                        self.trouble = world.time;
                    }
                } else {
                    self.sound.remove(&(a, b));
                    self.unsound.insert((a, b), world.time);
                    self.trouble = world.time;
                }
            }
        }
    }

    /// Whose deregistration is forgotten where it was made, while somebody who never heard of it has them.
    fn look_for_outlived(&mut self, world: &World) {
        for (nth, client) in world.clients.iter().enumerate() {
            let State::Gone(from) = client.state else {
                self.outlived.remove(&nth);
                continue;
            };
            let is_forgotten =
                client.written + world.rules.ttl + world.rules.hold + REMEMBRANCE <= world.time;
            let has_it = |at: usize| {
                world.members[at].as_ref().is_some_and(|member| member.rows.contains_key(&client.key))
            };
            let is_untold = |at: usize| self.hear_since(world.size(), at, from).is_none();
            if client.was_out
                && is_forgotten
                && (0..world.size()).any(|at| at != from && is_untold(at) && has_it(at))
            {
                self.outlived.insert(nth);
            }
        }
    }

    /// Since when two members hear each other, at first hand or by a third one.
    fn hear_since(&self, size: usize, a: usize, b: usize) -> Option<u64> {
        let direct = |a: usize, b: usize| self.sound.get(&(a.max(b), a.min(b))).copied();
        // A third one steps in when it has learnt that it must.
        let lost = self.unsound.get(&(a.max(b), a.min(b))).copied().unwrap_or_default();
        let by = |c: usize| Some(direct(a, c)?.max(direct(c, b)?).max(lost));
        direct(a, b).into_iter().chain((0..size).filter(|c| *c != a && *c != b).filter_map(by)).min()
    }

    fn check_client(
        &mut self,
        world: &World,
        (nth, client): (usize, &Client),
        (at, member): (usize, &Member),
    ) -> Result<(), String> {
        let time = world.time;
        let is_seen = member.rows.contains_key(&client.key);
        let hears = |other: usize| {
            at == other
                || self.hear_since(world.size(), at, other).is_some_and(|since| since + RECOVERY <= time)
        };
        match client.state {
            State::Idle => is_seen.then_some(()).map_or(Ok(()), |()| Err("seen before it was there".into())),
            State::Alive => {
                let is_known = client.written + PROMPT <= time && client.home_since + PROMPT <= time;
                let is_own = at == client.home && client.home_since.max(member.born) < client.last;
                // A deregistration that a clock ahead has stamped may win until the next renewal.
                if world.is_skewed && client.written == client.last {
                    return Ok(());
                }
                if is_own && !is_seen && time < client.last + world.rules.ttl {
                    return Err("I2: not seen at its own member".into());
                }
                if world.is_confused(client.home) {
                    return Ok(());
                }
                let must_be_seen = is_known && member.born + RECOVERY <= time && hears(client.home);
                if must_be_seen {
                    self.reasons.insert((nth, at), (time, client.home));
                }
                if must_be_seen && !is_seen {
                    let since = *self.missing.entry((nth, at)).or_insert(time);
                    // Until its home has said that it knows better than the clock that was ahead.
                    let is_doubted = world.is_skewed && client.was_gone && time <= since + PROMPT;
                    if !is_doubted {
                        return Err("I2: not seen where it must be known".into());
                    }
                } else {
                    self.missing.remove(&(nth, at));
                }
                self.check_hold(world, (nth, client), (at, member), is_seen)
            }
            State::Crashed | State::Forgotten => {
                let ends = client.last + world.rules.ttl;
                let is_left = !client.was_out && client.status != Status::OutOfService && is_seen;
                if is_left && ends + world.rules.hold + LATE < time {
                    return Err("I3: seen although it does not renew".into());
                }
                let is_quiet = self.trouble + world.rules.ttl + RECOVERY < client.last;
                if is_left && is_quiet && ends + PROMPT < time {
                    return Err("I3: seen although it does not renew, without any trouble".into());
                }
                Ok(())
            }
            State::Gone(from) => {
                let is_known = client.written + PROMPT <= time && member.born + RECOVERY <= time;
                let is_outlived = self.outlived.contains(&nth);
                if is_seen && is_known && hears(from) && !world.is_skewed && !is_outlived {
                    return Err("I4: seen although it deregistered".into());
                }
                Ok(())
            }
        }
    }

    /// While a client's member cannot be heard, who knew of it keeps it.
    fn check_hold(
        &self,
        world: &World,
        (nth, client): (usize, &Client),
        (at, member): (usize, &Member),
        is_seen: bool,
    ) -> Result<(), String> {
        let Some((reason, home)) = self.reasons.get(&(nth, at)).copied() else { return Ok(()) };
        // A deregistration that a clock ahead has stamped wins until who knows better is heard.
        if world.is_skewed && client.was_gone {
            return Ok(());
        }
        if world.is_confused(home) || world.twin.is_some_and(|at| reason < at) && home == 0 {
            return Ok(());
        }
        // News of its former member may outdo its first renewal at this one: ages do not count the time under way.
        let is_at_home = home == client.home && client.home_since + RENEWS + PROMPT < reason;
        let is_same = is_at_home && client.written < reason;
        if is_same && member.born < reason && world.time < reason + world.rules.hold && !is_seen {
            return Err("I2: not held while its member is out of reach".into());
        }
        Ok(())
    }

    /// Everything that must hold when the world has been calm for long.
    pub(super) fn check_end(&self, world: &World) -> Result<(), String> {
        let members: Vec<&Member> = world.members.iter().take(world.size()).flatten().collect();
        let content = |member: &Member| {
            let rows = member.rows.iter();
            rows.map(|(key, held)| (key.clone(), held.instance.clone())).collect::<BTreeMap<_, _>>()
        };
        let (first, first_content) = (members[0], content(members[0]));
        for member in &members {
            let report = member.replicator.report(member.now(world.time).at);
            let digest = first.replicator.report(first.now(world.time).at).digest;
            if report.digest != digest || content(member) != first_content {
                return Err(format!("I1: {} and {} differ", member.name, first.name));
            }
            if report.alive != member.rows.len() {
                return Err(format!(
                    "I1: {} has {} entries of {} rows",
                    member.name,
                    report.alive,
                    member.rows.len()
                ));
            }
            if member.holds(world.time) || !member.replicator.is_caught_up() {
                return Err(format!("I1: {} holds something or is behind: {report:?}", member.name));
            }
            let known: std::collections::BTreeSet<_> = report.links.iter().map(|link| &link.peer).collect();
            if known.len() + 1 != members.len() || report.links.iter().any(|link| link.agrees != Some(true)) {
                return Err(format!("I1: {} is not in agreement with all: {report:?}", member.name));
            }
        }
        for (nth, client) in world.clients.iter().enumerate() {
            let seen = first_content.get(&client.key);
            let is_gone = match client.state {
                State::Idle | State::Gone(_) => {
                    (!world.is_skewed || !client.was_out) && !self.outlived.contains(&nth)
                }
                State::Crashed | State::Forgotten => !client.was_out,
                State::Alive => false,
            };
            if is_gone && seen.is_some() {
                return Err(format!("I3, I4: still there: {client:?}"));
            }
            let lasts = client.state == State::Crashed && client.status == Status::OutOfService;
            if (client.state == State::Alive || lasts && !world.has_crashed) && !world.is_skewed {
                let version = seen.map(|instance| instance.dirty_at.as_millis());
                // A write that nobody could be told of before its lease ran out is lost; that its client lives is not.
                let written = (client.key.clone(), client.version);
                let is_lost = members.iter().any(|member| member.expired.contains(&written));
                if version != Some(client.version) && !world.has_crashed && !is_lost {
                    return Err(format!("I1: version {version:?} is there of {client:?}"));
                }
            }
        }
        Ok(())
    }
}

/// What is under way is bounded by the window and what else is sent meanwhile.
fn check_queues(world: &World) -> Result<(), String> {
    let most = 4 * FRAME_MAX + 3 * FRAME_MAX + 8192;
    for connection in world.network.connections.values() {
        for queue in &connection.queues {
            if most < queue.bytes {
                return Err(format!("I6: {} bytes are under way", queue.bytes));
            }
        }
    }
    Ok(())
}

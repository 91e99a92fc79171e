//! What must hold of what members show: always, once they could meet, and at the end.
//!
//! Never: changes anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clients::State;
use super::member::{PORT, Sight};
use super::world::World;

type Sights = BTreeMap<usize, Sight>;

/// What holds whatever happens: who was deregistered at a member does not come back there, and who renews there stays.
pub(super) fn always(world: &World, sights: &Sights) -> Result<(), String> {
    for client in &world.clients {
        for (nth, sight) in sights {
            let (run, name, is_there) =
                (world.run(*nth), world.names[*nth], sight.instances.contains_key(client.id.as_str()));
            if client.state == State::Gone(run) && is_there {
                return Err(format!("{name} shows again who was deregistered there: {client:?}"));
            }
            // Who lets no reader in yet may know more than it shows.
            if sight.is_open && client.must_be_known(run, world.now()) && !is_there {
                return Err(format!("{name} does not show who renews there: {client:?}"));
            }
        }
    }
    Ok(())
}

/// Whether all members are connected, each pair once, and agree; the reason why not.
pub(super) fn whole(world: &World, sights: &Sights) -> Result<(), String> {
    let all: Vec<usize> = (0..world.size()).collect();
    whole_but(world, sights, &all)
}

/// The same of these members.
pub(super) fn whole_but(world: &World, sights: &Sights, members: &[usize]) -> Result<(), String> {
    connected(world, sights, members)?;
    let (first, first_name) = (&sights[&members[0]], world.names[members[0]]);
    for nth in members {
        let (name, sight) = (world.names[*nth], &sights[nth]);
        if !sight.is_open {
            return Err(format!("{name} does not answer"));
        }
        // While clients write, a comparison may have met what was under way.
        let agrees = |agrees: Option<bool>| agrees.is_some_and(|it| it || !world.is_settled);
        if sight.report.links.iter().any(|link| !agrees(link.agrees)) {
            return Err(format!("{name} is not in agreement with all: {:?}", sight.report.links));
        }
        if sight.instances != first.instances || sight.report.digest != first.report.digest {
            let (one, two) = (&sight.instances, &first.instances);
            return Err(format!("{name} and {first_name} differ: {one:?}, {two:?}"));
        }
    }
    Ok(())
}

/// Whether each two of these members have one connection, and use it at both ends; the reason why not.
pub(super) fn connected(world: &World, sights: &Sights, members: &[usize]) -> Result<(), String> {
    for nth in members {
        let (name, open, others) = (world.names[*nth], world.books.open(*nth), members.len() - 1);
        let Some(sight) = sights.get(nth) else { return Err(format!("{name} is down")) };
        if sight.report.links.len() != others {
            return Err(format!("{name} is not connected to all: {:?}", sight.report.links));
        }
        if open != others {
            return Err(format!("{name} has {open} connections to {others} members"));
        }
        for other in members.iter().filter(|other| *other != nth) {
            let (here, there) = (dialled_by(sight, world.names[*other]), sights.get(other));
            let there = there.and_then(|sight| dialled_by(sight, name));
            if here.is_none() || there.is_none() || here == there {
                let other = world.names[*other];
                return Err(format!("{name} and {other} use different connections: {here:?}, {there:?}"));
            }
        }
    }
    Ok(())
}

/// Whether a member has a connection to another one in use.
pub(super) fn is_linked(sight: &Sight, other: &str) -> bool {
    let id = address(other);
    sight.report.links.iter().any(|link| *link.peer.0 == *id)
}

/// Which end of its connection to another a member says dialled.
pub(super) fn dialled_by<'a>(sight: &'a Sight, other: &str) -> Option<&'a str> {
    shown(sight, other)?["dialled_by"].as_str()
}

/// What a member shows operators of another one.
pub(super) fn shown<'a>(sight: &'a Sight, other: &str) -> Option<&'a Value> {
    let address = address(other);
    let is_it = |it: &&Value| {
        it["addresses"].as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(&address)))
    };
    sight.shown["members"].as_array()?.iter().find(is_it)
}

fn address(name: &str) -> String {
    format!("{name}:{PORT}")
}

/// What holds when all members have been whole for as long as an instance lives that nobody renews.
pub(super) fn at_the_end(world: &World, sights: &Sights) -> Result<(), String> {
    for (nth, sight) in sights {
        for client in &world.clients {
            let (name, seen) = (world.names[*nth], sight.instances.get(client.id.as_str()));
            match client.state {
                State::Alive => {
                    let Some(seen) = seen else { return Err(format!("{name} lacks {client:?}")) };
                    // What was written at a member that crashed at once may be lost; who lives is not.
                    if world.goes_on(client.written) && *seen != (client.version, client.status) {
                        return Err(format!("{name} shows {seen:?} of {client:?}"));
                    }
                }
                State::Idle | State::Silent | State::Gone(_) if seen.is_some() => {
                    return Err(format!("{name} still shows {client:?}"));
                }
                State::Idle | State::Silent | State::Gone(_) => {}
            }
        }
        if sight.held != 0 {
            return Err(format!("{} holds {} instances", world.names[*nth], sight.held));
        }
    }
    Ok(())
}

//! Which members can be reached, and what that means for instances that renew through them.
//!
//! Silence of a member is not silence of its instances: what last renewed through a member that cannot be reached is
//! kept for a while, and gets one more lease when the member is back or has said goodbye.
//! Never: ends a lease, or keeps what would have ended without any partition.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Moment;

/// All members that were ever heard of.
#[derive(Debug)]
pub(super) struct Members {
    members: BTreeMap<u64, Member>,
    /// How long an instance is kept whose member cannot be reached.
    hold: Duration,
    /// How much later than its lease a renewal may be known here in the ordinary course of things.
    wire: Duration,
}

/// By which way a member is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It is not.
    None,
    /// A member that is heard hears it.
    ByOthers,
    /// There is a link.
    Direct,
}

#[derive(Debug)]
struct Member {
    route: Route,
    /// Since when it is heard by this way, or is not.
    since: Moment,
    /// When it was last heard at first hand.
    contact: Option<Moment>,
    /// When it said goodbye.
    farewell: Option<Moment>,
}

/// What is judged: a lease, and through whom it was last renewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewed {
    pub(super) home: u64,
    pub(super) last: Moment,
    pub(super) lease: Duration,
}

/// A link on which nothing has come for so long is as good as cut.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// A member that was not heard for so long may be about to be silent for longer.
const QUIET: Duration = Duration::from_secs(2);
/// So many members are remembered that cannot be reached.
const REMEMBERED: usize = 4096;

// === impl Members ===

impl Members {
    pub(super) fn new(hold: Duration, wire: Duration) -> Self {
        Self { members: BTreeMap::new(), hold, wire }
    }

    /// A frame came from a member.
    pub(super) fn heard(&mut self, origin: u64, now: Moment) {
        self.member(origin, now).contact = Some(now);
    }

    /// How long a member was not heard; none when it never was.
    pub(super) fn silent_for(&self, origin: u64, now: Moment) -> Option<Duration> {
        self.members.get(&origin)?.contact.map(|contact| now.since(contact))
    }

    /// A member says goodbye, or is here again.
    pub(super) fn takes_leave(&mut self, origin: u64, now: Moment, leaves: bool) {
        let member = self.member(origin, now);
        member.farewell = leaves.then(|| member.farewell.unwrap_or(now));
    }

    /// Takes over by which ways members are heard now; those that are not listed are not.
    pub(super) fn observe(&mut self, now: Moment, routes: &BTreeMap<u64, Route>) {
        for origin in routes.keys() {
            self.member(*origin, now);
        }
        for (origin, member) in &mut self.members {
            let route = routes.get(origin).copied().unwrap_or(Route::None);
            if member.route != route {
                (member.route, member.since) = (route, now);
            }
        }
        while REMEMBERED < self.members.len() {
            let gone =
                self.members.iter().filter(|(_, it)| it.route == Route::None).min_by_key(|(_, it)| it.since);
            let Some(origin) = gone.map(|(origin, _)| *origin) else { break };
            self.members.remove(&origin);
        }
    }

    pub(super) fn route(&self, origin: u64) -> Route {
        self.members.get(&origin).map_or(Route::None, |member| member.route)
    }

    /// Until when at most what was renewed through another member is kept, as things stand.
    pub(super) fn keeps_until(&self, renewed: Renewed, now: Moment) -> Moment {
        let Renewed { home, last, lease } = renewed;
        let (ends, longest) = (last.plus(lease).plus(self.wire), self.longest(renewed));
        let Some(member) = self.members.get(&home) else { return longest.max(ends) };
        let until = match (member.farewell, member.route) {
            (Some(farewell), _) => longest.min(farewell.plus(lease)),
            (None, Route::None) => longest,
            (None, Route::ByOthers | Route::Direct) if last <= member.since => {
                longest.min(member.since.plus(lease))
            }
            (None, Route::Direct) => match member.contact {
                Some(contact) if QUIET < now.since(contact) => longest.min(contact.plus(SILENCE + QUIET)),
                Some(_) | None => ends,
            },
            (None, Route::ByOthers) => ends,
        };
        until.max(ends)
    }

    /// Until when anything is kept at all, whoever can be reached.
    pub(super) fn longest(&self, renewed: Renewed) -> Moment {
        renewed.last.plus(renewed.lease).plus(self.hold)
    }

    fn member(&mut self, origin: u64, now: Moment) -> &mut Member {
        self.members.entry(origin).or_insert(Member {
            route: Route::None,
            since: now,
            contact: None,
            farewell: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1000)
    }

    fn members() -> Members {
        let mut members = Members::new(Duration::from_secs(300), Duration::ZERO);
        members.observe(at(0), &BTreeMap::from([(1, Route::Direct)]));
        members
    }

    fn until(members: &Members, last: u64, now: u64) -> Moment {
        members.keeps_until(Renewed { home: 1, last: at(last), lease: LEASE }, at(now))
    }

    #[test]
    fn nothing_is_kept_while_its_member_is_heard() {
        let mut members = members();
        members.heard(1, at(40));
        assert_eq!(until(&members, 10, 40), at(40));
    }

    #[test]
    fn what_renewed_through_an_unreachable_member_is_kept_until_the_hold_ends() {
        let mut members = members();
        members.observe(at(20), &BTreeMap::new());
        assert_eq!(until(&members, 10, 40), at(10 + 30 + 300));
        assert_eq!(members.keeps_until(Renewed { home: 9, last: at(10), lease: LEASE }, at(40)), at(340));
    }

    #[test]
    fn the_return_of_a_member_gives_one_more_lease() {
        let mut members = members();
        members.observe(at(20), &BTreeMap::new());
        members.observe(at(100), &BTreeMap::from([(1, Route::ByOthers)]));
        assert_eq!(until(&members, 10, 100), at(130));
        // Unless the hold ends before.
        members.observe(at(330), &BTreeMap::from([(1, Route::Direct)]));
        assert_eq!(until(&members, 10, 330), at(340));
    }

    #[test]
    fn a_goodbye_gives_one_more_lease() {
        let mut members = members();
        members.takes_leave(1, at(20), true);
        members.observe(at(21), &BTreeMap::new());
        assert_eq!(until(&members, 10, 45), at(50));
        assert_eq!(until(&members, 15, 45), at(50));
    }
}

//! Which of the namespaces in use are followed: names that Kubernetes can have, that the operator allows, that the
//! API server knows, and of those the ones that were used last.
//!
//! Pure: the caller brings the time. A name that is not known costs one look-up in [`AGAIN`].
//! Never: gives up a namespace within [`STAY`] for another, so that many in turn do not push each other out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Namespace;

/// Which Kubernetes namespaces may be followed.
#[derive(Debug)]
pub(super) struct Patterns {
    wanted: Vec<Box<str>>,
    unwanted: Vec<Box<str>>,
}

/// What is known of the names in use.
#[derive(Debug)]
pub(super) struct Selection {
    patterns: Patterns,
    max: usize,
    names: HashMap<Namespace, Known>,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Names to ask the API server for.
    pub(super) look_up: Vec<Namespace>,
    /// Namespaces to begin with.
    pub(super) follow: Vec<Namespace>,
    /// Namespaces to end with.
    pub(super) leave: Vec<Namespace>,
}

/// What the API server said of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is such a namespace, or it may not be said.
    Known,
    /// There is none.
    Unknown,
    /// It did not answer.
    None,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Asked,
    /// Not to be asked for before.
    Missing(Instant),
    /// There is no place for it.
    Waiting,
    /// Since when.
    Followed(Instant),
}

/// Time between two look-ups of a name that is not known.
pub(super) const AGAIN: Duration = Duration::from_secs(60);
/// Time between two look-ups of a name when the API server does not answer.
const UNANSWERED: Duration = Duration::from_secs(5);
/// How long a namespace is followed at least while it is in use.
const STAY: Duration = Duration::from_secs(60);
/// Look-ups at a time.
const LOOK_UPS: usize = 8;

// === impl Patterns ===

impl Patterns {
    /// `*` stands for any characters, `!` in front leaves out. Without any pattern all but `kube-*`; when all leave
    /// out, everything else.
    pub(super) fn new(patterns: &[Box<str>]) -> Self {
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        for pattern in patterns {
            match pattern.trim().strip_prefix('!') {
                Some(pattern) => unwanted.push(pattern.into()),
                None => wanted.push(pattern.trim().into()),
            }
        }
        if patterns.is_empty() {
            unwanted.push("kube-*".into());
        }
        if wanted.is_empty() {
            wanted.push("*".into());
        }
        Self { wanted, unwanted }
    }

    /// Whether a namespace of this name can be there and may be followed.
    pub(super) fn allow(&self, name: &str) -> bool {
        let any = |patterns: &[Box<str>]| patterns.iter().any(|pattern| matches(pattern, name));
        is_label(name) && any(&self.wanted) && !any(&self.unwanted)
    }
}

/// A label of DNS as RFC 1123 has it: what names of namespaces are.
fn is_label(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The parts between the stars are found one after the other, each as early as it can be.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(tail)
}

// === impl Selection ===

impl Selection {
    /// Of those that `patterns` allow at most `max` are followed at once.
    pub(super) fn new(patterns: Patterns, max: usize) -> Self {
        Self { patterns, max, names: HashMap::new() }
    }

    /// What is to be done; `in_use` has those first that were used last.
    pub(super) fn steps(&mut self, in_use: &[Namespace], now: Instant) -> Steps {
        let mut steps = Steps::default();
        let allowed: Vec<_> = in_use.iter().filter(|name| self.patterns.allow(name.as_str())).collect();
        let still: HashSet<_> = allowed.iter().copied().collect();
        let unused = self.names.extract_if(|name, _| !still.contains(name));
        let followed = unused.filter(|(_, known)| matches!(known, Known::Followed(_)));
        steps.leave.extend(followed.map(|(name, _)| name));
        let mut asking = self.names.values().filter(|known| matches!(known, Known::Asked)).count();
        for name in &allowed {
            let is_due = match self.names.get(*name) {
                None => true,
                Some(Known::Missing(until)) => *until <= now,
                Some(Known::Asked | Known::Waiting | Known::Followed(_)) => false,
            };
            if is_due && asking < LOOK_UPS {
                asking += 1;
                self.names.insert((*name).clone(), Known::Asked);
                steps.look_up.push((*name).clone());
            }
        }
        self.give_places(&allowed, now, &mut steps);
        steps
    }

    /// Those that were followed for less than [`STAY`] have a place, then those that were used last.
    fn give_places(&mut self, allowed: &[&Namespace], now: Instant, steps: &mut Steps) {
        let is_settled =
            |known: &Known| matches!(known, Known::Followed(since) if now.duration_since(*since) < STAY);
        let mut places = self.max.saturating_sub(self.names.values().filter(|it| is_settled(it)).count());
        for name in allowed {
            let Some(known) = self.names.get_mut(*name) else { continue };
            match known {
                Known::Asked | Known::Missing(_) => {}
                Known::Followed(_) if is_settled(known) => {}
                Known::Followed(_) if 0 < places => places -= 1,
                Known::Followed(_) => {
                    *known = Known::Waiting;
                    steps.leave.push((*name).clone());
                }
                Known::Waiting if 0 < places => {
                    places -= 1;
                    *known = Known::Followed(now);
                    steps.follow.push((*name).clone());
                }
                Known::Waiting => {}
            }
        }
    }

    /// What the API server said of a name that was looked up, or of one that is followed.
    pub(super) fn answered(&mut self, name: &Namespace, answer: Answer, now: Instant) {
        // It may have gone out of use meanwhile.
        let Some(known) = self.names.get_mut(name) else { return };
        *known = match answer {
            Answer::Known => Known::Waiting,
            Answer::Unknown => Known::Missing(now + AGAIN),
            Answer::None => Known::Missing(now + UNANSWERED),
        };
    }

    /// Whether nothing is followed.
    pub(super) fn is_idle(&self) -> bool {
        !self.names.values().any(|known| matches!(known, Known::Followed(_)))
    }
}

#[cfg(test)]
mod tests;

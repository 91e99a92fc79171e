//! Who came and who went lately, for people to look at (spec eureka section 6.1).
//!
//! Never: more than a thousand of each, or anything that a reader could be told from.

use std::collections::VecDeque;

use crate::model::{Instance, Timestamp};

/// Who came and who went lately, newest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Registrations: when, and `APP(ID)`.
    pub registered: Vec<(Timestamp, Box<str>)>,
    /// Leases that were ended or ran out: when, and `APP(ID)`.
    pub gone: Vec<(Timestamp, Box<str>)>,
}

/// The newest events, newest last.
#[derive(Debug, Default)]
pub(super) struct Events {
    registered: VecDeque<(Timestamp, Box<str>)>,
    gone: VecDeque<(Timestamp, Box<str>)>,
}

/// As many as the Java servers show.
const KEPT: usize = 1000;

// === impl Events ===

impl Events {
    pub(super) fn registered(&mut self, instance: &Instance, at: Timestamp) {
        push(&mut self.registered, instance, at);
    }

    pub(super) fn gone(&mut self, instance: &Instance, at: Timestamp) {
        push(&mut self.gone, instance, at);
    }

    pub(super) fn history(&self) -> History {
        let newest_first = |events: &VecDeque<_>| events.iter().rev().cloned().collect();
        History { registered: newest_first(&self.registered), gone: newest_first(&self.gone) }
    }
}

fn push(events: &mut VecDeque<(Timestamp, Box<str>)>, instance: &Instance, at: Timestamp) {
    if events.len() == KEPT {
        events.pop_front();
    }
    events
        .push_back((at, [&*instance.application(), "(", instance.id_in_application(), ")"].concat().into()));
}

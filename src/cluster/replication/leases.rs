//! Leases that run out, seen by replication: who is held stays, and of who went the rules are told.
//!
//! Never: tells another member of an expiry; each finds out for itself.

use super::holds::AHEAD;
use super::{Locked, Replication};
use crate::cluster::message::Key;
use crate::directory::Due;
use crate::model::{Instance, Moment, Namespace};
use crate::store::expiry::Leases;

/// Leases that are judged at once, before others may write.
const BATCH: usize = 1024;

impl Leases for Replication {
    fn watch(&self, now: Moment) {
        let slots = self.memory.slots();
        for due in slots.due(now.plus(AHEAD)).chunks(BATCH) {
            let Locked { rules, holds, .. } = &mut *self.locked.lock();
            for due in due {
                holds.judge(slots, due.row, rules.held_until(due.row, now), now);
            }
        }
        self.locked.lock().holds.sweep(slots);
    }

    fn due(&self, now: Moment) -> Vec<Due> {
        self.memory.due(now)
    }

    fn expire(&self, due: &[Due], now: Moment, tell: &mut dyn FnMut(&Namespace, &Instance)) {
        let Locked { rules, .. } = &mut *self.locked.lock();
        self.memory.expire(due, now, |namespace, instance| {
            rules.expired(&Key { namespace: namespace.clone(), id: instance.id.clone() });
            tell(namespace, instance);
        });
    }
}

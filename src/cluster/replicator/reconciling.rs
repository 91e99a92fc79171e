//! Entries whose leases have no end, after two members were out of touch for longer than deregistrations are
//! remembered: what one of them had and has no more was taken away meanwhile, and the other one follows.
//!
//! Who is asked knew the entry, because it was behind what it had of the stream before the link began. An entry that
//! somebody renews is not asked about: it lives.
//! Never: asks about what a new member has never had.

use std::collections::BTreeSet;

use super::entries::Entry;
use super::peer::{Asking, Peer, Receiving};
use super::{Link, Now, Pending, Replicator};
use crate::cluster::frame::{Asked, Handles, KEY_OVERHEAD, Message};
use crate::cluster::message::Content;

impl Replicator {
    /// Asks about the entries from a slot on.
    pub(super) fn compose_question(&mut self, now: Now, link: Link, slot: u32) -> Option<Vec<u8>> {
        let (mut asked, mut size, mut next) = (Vec::new(), 0, slot);
        let peer = self.links.get(&link)?;
        while next < self.entries.end() && size < self.frame_aim() / 2 {
            if let Some(entry) =
                self.entries.get(next).filter(|entry| self.is_doubtful(next, entry, peer, now))
            {
                asked.push(Asked { handle: next, key: entry.key.clone() });
                size += 5 + KEY_OVERHEAD + entry.key.namespace.as_str().len() + entry.key.id.as_str().len();
            }
            next += 1;
        }
        let asking = &mut self.links.get_mut(&link)?.comparing.asking;
        if asked.is_empty() {
            *asking = Asking::Done;
            return None;
        }
        *asking = Asking::Asked(next);
        Some(Message::Ask(asked).encode())
    }

    /// Whether it is here only because it has no end, and the other end of a link has known it.
    fn is_doubtful(&self, slot: u32, entry: &Entry, peer: &Peer, now: Now) -> bool {
        let had = peer.receiving.had.get(&entry.stream).copied().unwrap_or_default();
        entry.is_alive()
            && self.lease_of(entry).is_none()
            && !self.is_vouched_for(slot, now.at)
            && entry.seq <= had
    }

    pub(super) fn on_ask(&mut self, link: Link, asked: Vec<Asked>) {
        let lacking = asked.into_iter().filter(|it| self.entries.find(&it.key).is_none()).map(|it| it.handle);
        let lacking: BTreeSet<_> = lacking.collect();
        if let Some(peer) = self.links.get_mut(&link) {
            // Only who does not wait for the answer asks again before it; it gets one answer to all.
            let answer = peer.comparing.lacking.get_or_insert_default();
            if answer.len() < Receiving::PULLS_MAX {
                answer.extend(lacking);
            }
        }
    }

    pub(super) fn on_lacking(&mut self, now: Now, link: Link, handles: &Handles) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        let Asking::Asked(next) = peer.comparing.asking else { return };
        peer.comparing.asking = Asking::From(next);
        for slot in &handles.handles {
            let Some(peer) = self.links.get(&link) else { return };
            let is_doubtful = |entry| self.is_doubtful(*slot, entry, peer, now);
            if *slot < next && self.entries.get(*slot).is_some_and(is_doubtful) {
                self.bury(now, *slot);
            }
        }
    }

    /// Deregisters an entry with the smallest stamp that does so: whatever was written since wins.
    fn bury(&mut self, now: Now, slot: u32) {
        let Some(entry) = self.entries.get(slot) else { return };
        let (key, before) = (entry.key.clone(), entry.stamp);
        self.write_at(now, slot, Some(Content::Dead), before.time + 1);
        self.pending.push(Pending::Remove(key));
    }
}

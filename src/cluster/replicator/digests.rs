//! Comparing what two members have when nothing should differ: sums, then the sums of parts, then the keys of parts.
//!
//! What is about to expire or has only just changed is not taken for drift, so that nothing is handed to and fro.
//! Never: compares while a link is still at its beginning.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::peer::Asking;
use super::{Link, Now, Replicator};
use crate::cluster::frame::{BUCKETS, Handles, LISTED_MAX, Listed, Listing, Malformed, Message};

/// Parts that are listed in one comparison.
const PARTS: usize = 4;

impl Replicator {
    pub(super) fn compose_comparison(&mut self, now: Now, link: Link) -> Option<Vec<u8>> {
        let (me, most) = (self.me, self.frame_aim() / 5);
        let peer = self.links.get_mut(&link)?;
        if std::mem::take(&mut peer.comparing.is_agreement_due) {
            return Some(Message::Agree.encode());
        }
        if std::mem::take(&mut peer.comparing.are_sums_due) {
            return Some(Message::Buckets(self.entries.sums()).encode());
        }
        if let Some(lacking) = peer.comparing.lacking.take() {
            let handles = lacking.into_iter().take(most).collect();
            return Some(Message::Lacking(Handles { is_repair: false, handles }).encode());
        }
        if let Asking::From(slot) = peer.comparing.asking {
            return self.compose_question(now, link, slot);
        }
        if let Some((bucket, first)) = peer.comparing.buckets.pop() {
            return Some(self.compose_listing(now, link, bucket, first));
        }
        // One of the two begins; the other one learns how it went, too.
        let begins =
            std::mem::take(&mut peer.comparing.is_digest_due) && me < peer.origin && peer.is_comparable();
        begins.then(|| Message::Digest(self.entries.digest()).encode())
    }

    pub(super) fn on_digest(&mut self, link: Link, sum: u64) {
        let agrees = self.entries.digest() == sum;
        let Some(peer) = self.links.get_mut(&link).filter(|peer| peer.is_comparable()) else { return };
        peer.agrees = Some(agrees);
        peer.comparing.is_agreement_due = agrees;
        peer.comparing.are_sums_due = !agrees;
    }

    pub(super) fn on_agree(&mut self, link: Link) {
        if let Some(peer) = self.links.get_mut(&link) {
            peer.agrees = Some(true);
        }
    }

    pub(super) fn on_sums(&mut self, link: Link, sums: &[u64; BUCKETS]) {
        let mine = self.entries.sums();
        let Some(peer) = self.links.get_mut(&link).filter(|peer| peer.is_comparable()) else { return };
        peer.agrees = Some(false);
        let (before, behind) = (0..peer.comparing.first, peer.comparing.first..=u8::MAX);
        let differs = |bucket: &u8| mine[usize::from(*bucket)] != sums[usize::from(*bucket)];
        let differing: Vec<_> = behind.chain(before).filter(differs).take(PARTS).collect();
        peer.comparing.first = differing.last().map_or(0, |last| last.wrapping_add(1));
        peer.comparing.buckets =
            differing.into_iter().map(|bucket| (bucket, u64::from(bucket) << 56)).collect();
    }

    fn compose_listing(&mut self, now: Now, link: Link, bucket: u8, first: u64) -> Vec<u8> {
        let end = u64::from(bucket) << 56 | u64::MAX >> 8;
        let most = self.frame_aim() / LISTED_MAX;
        let mut items = self.listed(now, bucket, first, end);
        let mut last = end;
        if most < items.len() {
            items.truncate(most);
            last = items.last().map_or(end, |item| item.hash);
            if last < end
                && let Some(peer) = self.links.get_mut(&link)
            {
                peer.comparing.buckets.push((bucket, last + 1));
            }
        }
        Message::Keys(Listing { first, last, items }).encode()
    }

    /// What is registered between two numbers of keys.
    fn listed(&self, now: Now, bucket: u8, first: u64, last: u64) -> Vec<Listed> {
        let entries =
            self.entries.bucket(bucket).iter().filter_map(|slot| Some((*slot, self.entries.get(*slot)?)));
        let within = entries.filter(|(_, entry)| (first..=last).contains(&entry.hash));
        let mut items: Vec<_> = within
            .map(|(handle, entry)| Listed {
                hash: entry.hash,
                version: u32::try_from(entry.version() >> 32).unwrap_or_default(),
                handle,
                is_settled: self.is_settled(handle, entry, now.at),
            })
            .collect();
        items.sort_unstable_by_key(|item| item.hash);
        items
    }

    pub(super) fn on_listing(&mut self, now: Now, link: Link, theirs: &Listing) -> Result<(), Malformed> {
        let Listing { first, last, items } = theirs;
        let bucket = u8::try_from(first >> 56).unwrap_or_default();
        if first >> 56 != last >> 56 {
            return Err(Malformed::Number("a part of the keys"));
        }
        let mine = self.listed(now, bucket, *first, *last);
        let repairs = !self.has(Fault::NoRepair);
        let Some(peer) = self.links.get_mut(&link).filter(|peer| peer.is_comparable() && repairs) else {
            return Ok(());
        };
        let versions = |items: &[Listed]| -> BTreeMap<u64, u32> {
            items.iter().map(|item| (item.hash, item.version)).collect()
        };
        let (known_here, known_there) = (versions(&mine), versions(items));
        for item in
            items.iter().filter(|item| item.is_settled && known_here.get(&item.hash) != Some(&item.version))
        {
            peer.receiving.pull(item.handle, true);
        }
        for item in
            mine.iter().filter(|item| item.is_settled && known_there.get(&item.hash) != Some(&item.version))
        {
            peer.owe(item.handle, true);
        }
        Ok(())
    }
}

//! Signed tokens that were verified already, so that a heartbeat does not pay for a signature.
//!
//! A token is found by its exact bytes. A digest would have to be a cryptographic one, or a collision
//! would let one token act as another; the bytes are both exact and cheaper (measured for a token of
//! 600 bytes: 0.1 us for a look, where SHA-256 alone takes 0.6 us).
//! Bounded: so many tokens, each of at most [`TokenCache::TOKEN_MAX`] bytes. Only verified tokens
//! come in, so nobody without a signed one can push others out.
//! Never: reads a clock, knows keys, keeps what was refused, or holds a lock while anything is verified.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::claims::Verified;
use crate::model::Namespace;

/// The verified tokens of one set of keys; who changes keys begins a new cache.
pub(super) struct TokenCache {
    hasher: RandomState,
    shards: Box<[RwLock<Shard>]>,
}

/// Tokens in order of arrival, a ring once it is full, and where each is.
struct Shard {
    places: HashTable<usize>,
    slots: Vec<Slot>,
    capacity: usize,
    hand: usize,
}

struct Slot {
    hash: u64,
    token: Box<str>,
    verified: Verified,
    /// Seen since the hand last passed; such a slot is spared once.
    used: AtomicBool,
}

/// Enough that two cores seldom meet at one lock.
const SHARDS: usize = 16;
/// How many slots the hand spares for one newcomer, which bounds what an insertion costs.
const SPARED_MAX: usize = 8;

// === impl TokenCache ===

impl TokenCache {
    /// Tokens that are kept, in total: some 10 MB at the usual length of a token.
    pub(super) const CAPACITY: usize = 10_000;
    /// Longest token in bytes that is kept.
    pub(super) const TOKEN_MAX: usize = 4096;

    /// An empty cache for `capacity` tokens, rounded up to the same number for each shard.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.div_ceil(SHARDS);
        let shard = || Shard { places: HashTable::new(), slots: Vec::new(), capacity, hand: 0 };
        Self { hasher: RandomState::default(), shards: (0..SHARDS).map(|_| RwLock::new(shard())).collect() }
    }

    /// The namespace of a token that was verified and has not expired by `now` (seconds since 1970).
    pub(super) fn get(&self, token: &str, now: i64) -> Option<Namespace> {
        let hash = self.hasher.hash_one(token);
        let shard = self.shard(hash).read();
        let slot = &shard.slots[shard.find(hash, token)?];
        if slot.verified.until.is_some_and(|until| until < now) {
            return None;
        }
        // Looked at first: a store would take the cache line from the other cores each time.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.verified.namespace.clone())
    }

    /// Keeps a token that was verified, in place of another when there is no room.
    pub(super) fn insert(&self, token: &str, verified: Verified) {
        if Self::TOKEN_MAX < token.len() {
            return;
        }
        let hash = self.hasher.hash_one(token);
        let slot = Slot { hash, token: token.into(), verified, used: AtomicBool::new(false) };
        let replaced = self.shard(hash).write().insert(slot);
        // Freed only here, when the lock is free already.
        drop(replaced);
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // A byte that the table uses for neither its buckets nor its tags.
        let [_, _, _, byte, ..] = hash.to_be_bytes();
        &self.shards[usize::from(byte) % SHARDS]
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

// === impl Shard ===

impl Shard {
    fn find(&self, hash: u64, token: &str) -> Option<usize> {
        self.places.find(hash, |&place| *self.slots[place].token == *token).copied()
    }

    /// Puts a slot in and gives back the one whose place it took.
    fn insert(&mut self, slot: Slot) -> Option<Slot> {
        if let Some(place) = self.find(slot.hash, &slot.token) {
            return Some(std::mem::replace(&mut self.slots[place], slot));
        }
        let hash = slot.hash;
        let (place, replaced) = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            (self.slots.len() - 1, None)
        } else {
            let place = self.victim()?;
            let old = std::mem::replace(&mut self.slots[place], slot);
            if let Ok(entry) = self.places.find_entry(old.hash, |&other| other == place) {
                entry.remove();
            }
            (place, Some(old))
        };
        let slots = &self.slots;
        self.places.insert_unique(hash, place, |&place| slots[place].hash);
        replaced
    }

    /// The next slot that nobody used since the hand passed it last. None when there are no slots.
    fn victim(&mut self) -> Option<usize> {
        for _ in 0..SPARED_MAX {
            let slot = self.slots.get_mut(self.hand)?;
            if !std::mem::take(slot.used.get_mut()) {
                break;
            }
            self.hand = (self.hand + 1) % self.slots.len();
        }
        let place = self.hand;
        self.hand = (self.hand + 1) % self.slots.len();
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(namespace: &str, until: Option<i64>) -> Verified {
        Verified { namespace: namespace.parse().expect("is a namespace"), until }
    }

    fn len(cache: &TokenCache) -> usize {
        cache.shards.iter().map(|shard| shard.read().slots.len()).sum()
    }

    fn found(cache: &TokenCache, token: &str, now: i64) -> Option<String> {
        cache.get(token, now).map(|namespace| namespace.to_string())
    }

    #[test]
    fn a_token_is_found_by_its_exact_text_until_it_expires() {
        let cache = TokenCache::new(100);
        cache.insert("a.b.c", verified("acme", Some(50)));
        cache.insert("d.e.f", verified("zeta", None));
        for (token, now, want) in [
            ("a.b.c", 50, Some("acme")),
            ("a.b.c", 51, None),
            ("a.b.C", 0, None),
            ("a.b.c=", 0, None),
            ("d.e.f", i64::MAX, Some("zeta")),
        ] {
            assert_eq!(found(&cache, token, now).as_deref(), want, "{token} at {now}");
        }
        cache.insert("a.b.c", verified("other", None));
        assert_eq!(found(&cache, "a.b.c", 51).as_deref(), Some("other"));
        assert_eq!(len(&cache), 2);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = TokenCache::new(160);
        for number in 0..5000 {
            cache.insert(&format!("token {number}"), verified(&format!("n{number}"), None));
        }
        assert_eq!(len(&cache), 160);
        let kept = (0..5000).filter(|number| {
            let namespace = found(&cache, &format!("token {number}"), 0);
            assert!(namespace.is_none() || namespace == Some(format!("n{number}")), "{number}");
            namespace.is_some()
        });
        assert_eq!(kept.count(), 160, "each that is held is found");
        cache.insert(&"x".repeat(TokenCache::TOKEN_MAX + 1), verified("long", None));
        assert_eq!(found(&cache, &"x".repeat(TokenCache::TOKEN_MAX + 1), 0), None);
    }

    #[test]
    fn a_token_in_use_outlives_those_seen_once() {
        let cache = TokenCache::new(160);
        cache.insert("busy", verified("busy", None));
        for number in 0..2000 {
            assert!(cache.get("busy", 0).is_some(), "gone after {number}");
            cache.insert(&format!("token {number}"), verified("n", None));
        }
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = TokenCache::new(0);
        cache.insert("a", verified("a", None));
        assert_eq!(found(&cache, "a", 0), None);
    }
}

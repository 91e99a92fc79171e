//! What ended or changed here lately, so that what another server knew before it does not undo it.
//!
//! Never: keeps an id itself, or more than a fixed number of them.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use tokio::sync::Mutex;

use super::Registry;
use crate::model::{InstanceId, Namespace, Origin, Registration, Status, Update};
use crate::store::StoreError;

/// A point in the order of the writes that end or change an instance; by default the beginning of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since(u64);

/// An instance as another server knows it.
#[derive(Debug)]
pub struct Known<'a> {
    /// The application's name in any letter case.
    pub application: &'a str,
    /// The id within the application.
    pub id: &'a str,
    /// What it says of itself.
    pub registration: Registration,
    /// The status that the other server puts over it; it wins over one of ours.
    pub overridden: Option<Status>,
    /// Writes here since then are newer than this.
    pub since: Since,
}

/// What became of an instance that another server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenOver {
    /// It is registered here too.
    Registered,
    /// It was ours all along.
    Ours,
    /// It ended or changed here meanwhile.
    Outdated,
}

/// Who holds it, keeps others from writing down what they are about to do.
#[derive(Debug)]
pub(super) struct Recent {
    hasher: RandomState,
    writes: Mutex<Writes>,
    max: usize,
}

#[derive(Debug, Default)]
struct Writes {
    /// Number of all so far.
    count: u64,
    /// Keys of the newest, the oldest first.
    keys: VecDeque<u64>,
    /// For each of these keys, the number of its newest.
    newest: HashMap<u64, u64, RandomState>,
}

// === impl Recent ===

impl Default for Recent {
    fn default() -> Self {
        Self::keeping(Self::MAX)
    }
}

impl Recent {
    /// Most writes that are remembered; older ones count as if everything had ended.
    const MAX: usize = 65_536;

    fn keeping(max: usize) -> Self {
        Self { hasher: RandomState::default(), writes: Mutex::default(), max }
    }

    async fn note(&self, id: &str) {
        let key = self.hasher.hash_one(id);
        self.writes.lock().await.note(key, self.max);
    }

    fn knows(&self, writes: &Writes, id: &str, since: Since) -> bool {
        writes.has(self.hasher.hash_one(id), since)
    }
}

// === impl Writes ===

impl Writes {
    fn note(&mut self, key: u64, max: usize) {
        self.count += 1;
        self.keys.push_back(key);
        self.newest.insert(key, self.count);
        if max < self.keys.len()
            && let Some(oldest) = self.keys.pop_front()
            && self.newest.get(&oldest).is_some_and(|number| *number <= self.forgotten())
        {
            self.newest.remove(&oldest);
        }
    }

    /// Number of writes that are not remembered any more.
    fn forgotten(&self) -> u64 {
        self.count.saturating_sub(u64::try_from(self.keys.len()).unwrap_or(u64::MAX))
    }

    fn has(&self, key: u64, Since(since): Since) -> bool {
        since < self.forgotten() || self.newest.get(&key).is_some_and(|number| since < *number)
    }
}

// === impl Registry ===

impl Registry {
    /// The point that writes have reached.
    pub async fn latest(&self) -> Since {
        Since(self.0.recent.writes.lock().await.count)
    }

    /// Writes down that an instance is about to end or to change. Must be called before it does: whoever
    /// takes it over at this moment has done so when this returns, and others see it.
    pub(super) async fn about_to_write(&self, namespace: &Namespace, id: &str) {
        if self.forwards(namespace) {
            self.0.recent.note(id).await;
        }
    }

    /// Registers an instance as another server knows it, unless it ended or changed here since then, by
    /// either form of its id, or is one that we told others of (see [`Registry::has_told_of`]).
    ///
    /// # Errors
    /// As for [`Registry::register`].
    pub async fn take_over(&self, namespace: &Namespace, known: Known<'_>) -> Result<TakenOver, StoreError> {
        let Known { application, id, registration, overridden, since } = known;
        // Held until it is registered: a write that is noted later is done later.
        let writes = self.0.recent.writes.lock().await;
        if self.has_told_of(namespace, application, id) {
            return Ok(TakenOver::Ours);
        }
        let joined = InstanceId::of_application(application, id);
        if [joined.as_str(), id].into_iter().any(|id| self.0.recent.knows(&writes, id, since)) {
            return Ok(TakenOver::Outdated);
        }
        let granted = self.register(namespace, registration, Origin::Peer).await?;
        let ours = self.directory(namespace).get(granted.id.as_str());
        if let Some(status) = overridden
            && ours.is_some_and(|ours| ours.overridden != Some(status))
        {
            let update = Update::Override { status, dirty_at: None };
            self.update_at_once(namespace, granted.id.as_str(), update, Origin::Peer).await?;
        }
        Ok(TakenOver::Registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_are_known_from_where_they_were_made() {
        let recent = Recent::default();
        recent.note("a").await;
        recent.note("b").await;
        let writes = recent.writes.lock().await;
        let known = |id, since| recent.knows(&writes, id, Since(since));
        assert!(known("a", 0) && known("b", 0) && known("b", 1));
        assert!(!known("a", 1) && !known("b", 2) && !known("c", 0));
    }

    #[tokio::test]
    async fn what_is_forgotten_counts_as_all() {
        let recent = Recent::keeping(2);
        for id in ["a", "b", "a", "c"] {
            recent.note(id).await;
        }
        let writes = recent.writes.lock().await;
        let known = |id, since| recent.knows(&writes, id, Since(since));
        assert!(known("never", 1) && !known("never", 2));
        assert!(known("a", 2) && known("c", 2) && !known("b", 2));
        assert_eq!((writes.keys.len(), writes.newest.len()), (2, 2));
    }
}

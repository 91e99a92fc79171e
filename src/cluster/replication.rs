//! What connects the rules of replication to the store: one lock around the [`Replicator`], under which what happened
//! here is told in the order in which it took effect, and what came from others is done to the directories.
//!
//! Never: opens a socket, waits, or has a renewal take the lock.

mod effects;
pub mod flushing;
mod holds;
mod leases;
mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::message::MemberId;
use super::replicator::{Link, Misbehaviour, Now, Replicator, Report, Settings};
use crate::directory::Show;
use crate::model::{Clock, Moment};
use crate::store::memory::MemoryStore;
use effects::{Applier, Place};
use holds::Holds;
use metrics::Applied;

/// The locked rules of one member, and the store that they are about.
#[derive(Debug)]
pub struct Replication {
    memory: Arc<MemoryStore>,
    clock: Arc<Clock>,
    /// Whoever writes to a directory holds this; renewals do not.
    locked: Mutex<Locked>,
    /// Whoever waits for something to send waits here, and is woken in the order of waiting.
    news: Notify,
    is_open: AtomicBool,
    applied: Applied,
}

#[derive(Debug)]
struct Locked {
    rules: Replicator,
    applier: Applier,
    holds: Holds,
}

// === impl Replication ===

impl Replication {
    /// The rules of a member that knows nothing yet, over a store that is [`MemoryStore::tracking`] renewals.
    #[must_use]
    pub fn new(settings: Settings, memory: Arc<MemoryStore>, clock: Arc<Clock>) -> Arc<Self> {
        let now = present(&clock);
        let applied = Applied::default();
        let locked = Locked {
            rules: Replicator::new(settings, now),
            applier: Applier::new(applied.clone()),
            holds: Holds::default(),
        };
        Arc::new(Self {
            memory,
            clock,
            locked: Mutex::new(locked),
            news: Notify::new(),
            is_open: AtomicBool::new(false),
            applied,
        })
    }

    // --- links: called by who has the sockets; none of these waits for anybody ---

    /// An authenticated connection to a member is there; a number that was not used before.
    pub fn connected(&self, link: Link, peer: MemberId) {
        self.told(|rules, now| rules.connected(now, link, peer));
    }

    /// A connection is no more.
    pub fn disconnected(&self, link: Link) {
        self.told(|rules, now| rules.disconnected(now, link));
    }

    /// A frame came; what it says is in force when this returns.
    ///
    /// # Errors
    /// When it is none, or breaks a rule: the link is to be cut.
    pub fn received(&self, link: Link, frame: &[u8]) -> Result<(), Misbehaviour> {
        self.told(|rules, now| rules.received(now, link, frame))
    }

    /// The next frame to send on a link, asked for when its socket takes more; none until there is [`Self::news`].
    #[must_use]
    pub fn next_frame(&self, link: Link) -> Option<Bytes> {
        let mut locked = self.locked.lock();
        let now = present(&self.clock);
        locked.rules.next_frame(now, link)
    }

    /// Comes when, after this call, a link may have something to send; a link that got no frame waits for it, having
    /// called before it asked.
    pub fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Collects what was renewed here and tells the rules that time has passed; called all the time, by
    /// [`flushing::Flusher`] as a rule. Answers with when it is to be called again at the latest.
    pub fn flush(&self) -> Moment {
        self.told(|rules, now| {
            self.memory.slots().take_renewed(|renewed| rules.renewed(renewed));
            rules.tick(now);
            rules.wake_at()
        })
    }

    /// Says goodbye: others take over what was renewed here at once.
    pub fn drain(&self) {
        self.told(|rules, now| {
            self.memory.slots().take_renewed(|renewed| rules.renewed(renewed));
            rules.drain(now);
        });
    }

    // --- how it stands ---

    /// Whether it has all that the members it is connected to had when they were connected.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.locked.lock().rules.is_caught_up()
    }

    /// Lets readers in: it has caught up, or has waited for that long enough. Until then reads are refused, and
    /// renewals, changes and deregistrations of what is not known here are too: another member may know it.
    pub fn open(&self) {
        // Under the lock nothing comes that would be shown later.
        let _locked = self.locked.lock();
        self.memory.show();
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether readers are let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// How it stands, for `/cluster`, health and metrics.
    #[must_use]
    pub fn report(&self) -> Report {
        self.locked.lock().rules.report(self.clock.now())
    }

    /// Number of instances that are kept although their lease ran out, because their member cannot be reached.
    #[must_use]
    pub fn held(&self) -> usize {
        self.locked.lock().holds.count(self.clock.now())
    }

    /// Has a client's write done and told under one lock.
    pub(super) fn written<R>(&self, write: impl FnOnce(&MemoryStore, &mut Replicator, Now) -> R) -> R {
        self.told(|rules, now| write(&self.memory, rules, now))
    }

    fn told<R>(&self, tell: impl FnOnce(&mut Replicator, Now) -> R) -> R {
        let mut locked = self.locked.lock();
        let Locked { rules, applier, .. } = &mut *locked;
        let now = present(&self.clock);
        let answer = tell(rules, now);
        // Before readers are let in nobody looks.
        let show = if self.is_open() { Show::AtOnce } else { Show::Later };
        applier.apply(rules, Place { memory: &self.memory, show, now: now.at });
        drop(locked);
        self.news.notify_waiters();
        answer
    }
}

fn present(clock: &Clock) -> Now {
    let at = clock.now();
    Now { at, wall: clock.time_of_day(at) }
}

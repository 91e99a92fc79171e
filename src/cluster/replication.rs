//! What connects the rules of replication to the store: one lock around the [`Replicator`], under which what happened
//! here is told in the order in which it took effect, and what came from others is done to the directories.
//!
//! Never: opens a socket, waits, or has a renewal take the lock.

pub mod flushing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::message::MemberId;
use super::replicator::{Link, Misbehaviour, Now, Replicator, Report, Settings};
use crate::model::{Clock, Moment};
use crate::store::memory::MemoryStore;

/// The locked rules of one member, and the store that they are about.
#[derive(Debug)]
pub struct Replication {
    memory: Arc<MemoryStore>,
    clock: Arc<Clock>,
    rules: Mutex<Replicator>,
    /// Moves whenever a link may have something to send.
    news: watch::Sender<()>,
    is_open: AtomicBool,
}

// === impl Replication ===

impl Replication {
    /// The rules of a member that knows nothing yet, over a store that keeps track of renewals.
    #[must_use]
    pub fn new(settings: Settings, memory: Arc<MemoryStore>, clock: Arc<Clock>) -> Arc<Self> {
        let now = Now { at: clock.now(), wall: clock.time_of_day(clock.now()) };
        Arc::new(Self {
            memory,
            clock,
            rules: Mutex::new(Replicator::new(settings, now)),
            news: watch::Sender::new(()),
            is_open: AtomicBool::new(false),
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

    /// The next frame to send on a link, asked for when its socket takes more; none until [`Self::news`] moves.
    #[must_use]
    pub fn next_frame(&self, link: Link) -> Option<Bytes> {
        let now = self.now();
        self.rules.lock().next_frame(now, link)
    }

    /// Moves whenever a link may have something to send; a link that got no frame waits for it, having marked it as
    /// seen before it asked.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Collects what was renewed here and tells the rules that time has passed; called all the time, by
    /// [`flushing::Flusher`] as a rule.
    pub fn flush(&self) {
        self.told(|rules, now| rules.tick(now));
    }

    /// Says goodbye: others take over what was renewed here at once.
    pub fn drain(&self) {
        self.told(|rules, now| rules.drain(now));
    }

    // --- how it stands ---

    /// Whether it has all that the members it is connected to had when they were connected.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.rules.lock().is_caught_up()
    }

    /// Lets readers in: it has caught up, or has waited for that long enough. Until then reads are refused, and writes
    /// to what is not known here are too.
    pub fn open(&self) {
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
        let now = self.now();
        self.rules.lock().report(now.at)
    }

    fn told<R>(&self, tell: impl FnOnce(&mut Replicator, Now) -> R) -> R {
        let now = self.now();
        let answer = tell(&mut self.rules.lock(), now);
        self.news.send_replace(());
        answer
    }

    fn now(&self) -> Now {
        let at: Moment = self.clock.now();
        Now { at, wall: self.clock.time_of_day(at) }
    }
}

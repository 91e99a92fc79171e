//! Where writes wait for one peer: anybody puts them in, its link takes them out.
//!
//! Never: makes who puts something in wait for the peer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::queue::{Due, Lost, Queue, Queued};
use crate::model::{Clock, Moment};
use crate::registry::Forwarded;

/// A queue, and a bell that is rung when it becomes due earlier.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    sooner: Notify,
}

// === impl Mailbox ===

impl Mailbox {
    /// Adds a write.
    pub(super) fn push(&self, write: Forwarded, now: Moment) -> Lost {
        let mut queue = self.queue.lock();
        let before = queue.due();
        let lost = queue.push(write, now);
        let is_sooner = queue.due() != before;
        drop(queue);
        if is_sooner {
            self.sooner.notify_one();
        }
        lost
    }

    /// Puts back what could not be sent.
    pub(super) fn put_back(&self, taken: Vec<Queued>, now: Moment) -> Lost {
        self.queue.lock().put_back(taken, now)
    }

    /// A batch.
    pub(super) fn take(&self, now: Moment) -> (Vec<Queued>, Lost) {
        self.queue.lock().take(now)
    }

    /// Number of writes that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// How long the first of them has waited.
    pub(super) fn age(&self, now: Moment) -> Duration {
        self.queue.lock().age(now)
    }

    /// Waits until a batch should be taken. For one caller at a time.
    pub(super) async fn due(&self, clock: &Clock) {
        loop {
            let due = self.queue.lock().due();
            match due {
                Due::Now => return,
                Due::Never => self.sooner.notified().await,
                Due::At(moment) => {
                    let wait = moment.since(clock.now());
                    if wait.is_zero() {
                        return;
                    }
                    // Woken or not, it is asked again.
                    let _ = tokio::time::timeout(wait, self.sooner.notified()).await;
                }
            }
        }
    }
}

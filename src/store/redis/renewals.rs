//! Renewals put together: what comes within a few milliseconds goes to Redis as one call for each bucket, and each
//! caller gets its own answer.
//!
//! Never: holds up one bucket for another, or keeps a caller waiting beyond the time that a call may take.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::Failure;
use super::keys::Bucket;
use super::{Lease, Shared};

/// Renewals that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    waiting: Mutex<Vec<Waiting>>,
    came: Notify,
}

#[derive(Debug)]
struct Waiting {
    lease: Lease,
    answer: oneshot::Sender<Result<bool, Failure>>,
}

/// Sends renewals.
#[derive(Debug)]
pub struct Coalescer {
    pub(super) shared: Arc<Shared>,
}

/// How long the first waits for others.
const GATHER: Duration = Duration::from_millis(3);
/// Most renewals in one call.
pub(super) const MOST: usize = 1000;

// === impl Renewals ===

impl Renewals {
    /// Adds a renewal; its answer comes when it was sent.
    pub(super) fn add(&self, lease: Lease) -> oneshot::Receiver<Result<bool, Failure>> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.push(Waiting { lease, answer });
        let is_first = waiting.len() == 1 || waiting.len() == MOST;
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
        answered
    }

    fn take(&self) -> Vec<Waiting> {
        mem::take(&mut *self.waiting.lock())
    }

    fn is_full(&self) -> bool {
        MOST <= self.waiting.lock().len()
    }
}

// === impl Coalescer ===

impl Coalescer {
    /// Sends until told to stop. Nothing it does can fail but for those who asked, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = &self.shared;
        let mut under_way = FuturesUnordered::new();
        loop {
            let came = shared.renewals.came.notified();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(()) = under_way.next(), if !under_way.is_empty() => continue,
                () = came => {}
            }
            if !shared.renewals.is_full() {
                let gathered = tokio::time::sleep(GATHER);
                tokio::pin!(gathered);
                loop {
                    tokio::select! {
                        () = &mut gathered => break,
                        () = shared.renewals.came.notified(), if !shared.renewals.is_full() => {
                            if shared.renewals.is_full() {
                                break;
                            }
                        }
                        Some(()) = under_way.next(), if !under_way.is_empty() => {}
                    }
                }
            }
            let mut by_bucket: HashMap<Bucket, Vec<Waiting>> = HashMap::new();
            for waiting in shared.renewals.take() {
                by_bucket.entry(waiting.lease.bucket).or_default().push(waiting);
            }
            for (bucket, mut waiting) in by_bucket {
                while !waiting.is_empty() {
                    let rest = waiting.split_off(waiting.len().min(MOST));
                    under_way.push(send(shared, bucket, mem::replace(&mut waiting, rest)));
                }
            }
        }
        while under_way.next().await.is_some() {}
    }
}

async fn send(shared: &Shared, bucket: Bucket, waiting: Vec<Waiting>) {
    let (leases, answers): (Vec<_>, Vec<_>) = waiting.into_iter().map(|it| (it.lease, it.answer)).unzip();
    match shared.renew_by_call(bucket, &leases).await {
        Ok(renewed) => {
            // Who does not wait any more is not told.
            answers.into_iter().zip(renewed).for_each(|(answer, renewed)| drop(answer.send(Ok(renewed))));
        }
        Err(failure) => {
            answers.into_iter().for_each(|answer| drop(answer.send(Err(failure.clone()))));
        }
    }
}

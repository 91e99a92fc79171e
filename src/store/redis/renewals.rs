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
use super::entry::Renewed;
use super::keys::{Bucket, Encoded};
use super::scripts::Call;
use super::{Lease, Shared, millis};
use crate::directory::Directory;
use crate::model::Namespace;
use crate::store::StoreError;

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

impl Shared {
    pub(super) async fn renew(&self, lease: Lease) -> Result<(), StoreError> {
        let renewed = match &lease.length {
            Some(_) if !self.connection.is_up() => return Err(StoreError::Unavailable),
            Some(_) => {
                // The loop that sends it has ended with the process.
                let answer = self.renewals.add(lease).await;
                answer.map_err(|_| StoreError::Unavailable)?
            }
            None => self.renew_unseen(&lease).await,
        };
        match renewed {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::NoSuchInstance),
            Err(failure) => Err(self.unavailable(&failure)),
        }
    }

    /// Renews leases of one bucket by one call; answers for each, in order.
    pub(super) async fn renew_by_call(&self, bucket: Bucket, leases: &[Lease]) -> Result<Vec<bool>, Failure> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<u8> = self.call(bucket, &self.renew_call(bucket, leases)).await?;
        let mut renewed: Vec<bool> = answers.iter().map(|answer| *answer == b'1').collect();
        self.redis_metrics.renewal_calls.inc();
        self.redis_metrics.renewals.inc_by(u64::try_from(leases.len()).unwrap_or(u64::MAX));
        self.note_renewed(
            bucket,
            leases.iter().zip(&renewed).filter_map(|(it, renewed)| renewed.then_some(it)),
        );
        for (at, lease) in leases.iter().enumerate().filter(|(at, _)| answers.get(*at) == Some(&b'2')) {
            let unseen = self.renew_unseen(lease).await?;
            renewed.get_mut(at).into_iter().for_each(|renewed| *renewed = unseen);
        }
        Ok(renewed)
    }

    fn renew_call(&self, bucket: Bucket, leases: &[Lease]) -> Call<'_> {
        let (keys, standpoint) = ([bucket.clock(), bucket.leases()], self.standpoint(bucket));
        let bytes = leases.iter().map(|lease| 3 * lease.namespace.as_str().len() + lease.id.len() + 16).sum();
        let mut call = self.scripts.renew.timed_with_room(&keys, standpoint, 2 * leases.len(), bytes);
        // Most are of one namespace, or of a few.
        let mut member: Vec<u8> = Vec::new();
        let mut namespace: Option<(&Namespace, usize)> = None;
        for lease in leases {
            let length = match namespace {
                Some((known, length)) if *known == lease.namespace => length,
                _ => {
                    member = Encoded::of(&lease.namespace).member("");
                    namespace = Some((&lease.namespace, member.len()));
                    member.len()
                }
            };
            member.truncate(length);
            member.extend_from_slice(lease.id.as_bytes());
            call = call.arg(member.as_slice());
        }
        for lease in leases {
            call = call.arg(lease.length.unwrap_or(0));
        }
        call
    }

    /// Renews a lease that this node does not know the length of.
    async fn renew_unseen(&self, lease: &Lease) -> Result<bool, Failure> {
        let Lease { bucket, namespace, id, .. } = lease;
        let encoded = Encoded::of(namespace);
        let keys = [bucket.clock(), bucket.leases(), bucket.instances(&encoded)];
        let call = self.scripts.renew_unseen.timed(&keys, self.standpoint(*bucket));
        let renewed = self.call(*bucket, &call.arg(encoded.as_str()).arg(&**id)).await?;
        if renewed {
            self.note_renewed(*bucket, [lease].into_iter());
        }
        Ok(renewed)
    }

    /// Shows and announces leases that began anew.
    fn note_renewed<'a>(&self, bucket: Bucket, leases: impl Iterator<Item = &'a Lease>) {
        let now = self.clock.now();
        let Some(mut announced) = self.renewed.get(bucket.position()).map(Mutex::lock) else { return };
        let mut count = 0;
        for lease in leases {
            count += 1;
            announced.add(&lease.namespace, lease.id.clone());
            if let Some(directory) = &lease.directory {
                directory.touch(&lease.id, now);
            }
        }
        self.metrics.renewals.inc_by(count);
    }

    /// Who renewed here since this was last asked for.
    pub(super) fn renewed_in(&self, bucket: Bucket) -> Renewed {
        let renewed = self.renewed.get(bucket.position()).map(|renewed| mem::take(&mut *renewed.lock()));
        renewed.unwrap_or_default()
    }

    pub(super) fn lease(&self, namespace: &Namespace, id: &str) -> Lease {
        self.lease_in(Bucket::of(namespace), self.mirror.directory(namespace).as_ref(), namespace, id)
    }

    /// The lease of an instance by what this node's directory shows.
    pub(super) fn lease_in(
        &self,
        bucket: Bucket,
        directory: Option<&Arc<Directory>>,
        namespace: &Namespace,
        id: &str,
    ) -> Lease {
        let known = directory.and_then(|directory| directory.get_own(id));
        let length = known.map(|instance| millis(self.limits.leases.renewed_lease(&instance)));
        Lease { bucket, namespace: namespace.clone(), id: id.into(), length, directory: directory.cloned() }
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

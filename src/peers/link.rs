//! The loop that sends one peer what waits for it, and does what its answers say (spec eureka section 4.4).
//!
//! Never: ends before it is told to, touches another peer's queue, or sends on what a peer said.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::metrics::{BatchResult, ItemResult};
use super::queue::{Queued, action_of};
use super::standing::Trouble;
use super::{Peer, Peers};
use crate::model::Timestamp;
use crate::outbound::{Backoff, Bounds, CallError, Reply};
use crate::registry::{Forwarded, Since};
use crate::wire::eureka::replication::{
    BatchAction, BatchAnswer, BatchItemAnswer, Entity, ItemToSend, batch_of, push_item,
};

/// Sends one peer what waits for it.
#[derive(Debug)]
pub struct Link {
    pub(super) peers: Arc<Peers>,
    pub(super) peer: Arc<Peer>,
    pub(super) intake: Intake,
}

/// How to go on after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// With the next batch as soon as it is due.
    Batch,
    /// The same after this.
    Pause(Duration),
}

/// What a batch may cost.
const BOUNDS: Bounds =
    Bounds { quiet: Duration::from_secs(5), whole: Duration::from_secs(10), bytes: 8 * 1024 * 1024 };
/// Bytes from which on a batch is long enough; an item is far below.
const BODY_ENOUGH: usize = 1024 * 1024;
/// For a peer that has too much to do.
const BUSY: Duration = Duration::from_secs(1);
/// Waits for a peer that is not there.
const GONE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// For what still waits when the process stops; leases make up for the rest.
const FLUSH: Duration = Duration::from_millis(800);

// === impl Link ===

impl Link {
    /// Sends until told to stop, then what still waits, for a moment. Every failure is retried or counted,
    /// so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let end = async {
            shutdown.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.send_all(&shutdown) => {}
            () = end => {}
        }
        let left = self.peer.mailbox.len();
        if left != 0 {
            let peer = &self.peer.name;
            tracing::warn!(peer, writes = left, "{left} writes do not reach peer {peer} before the end");
        }
    }

    /// Ends when it is told to and nothing waits, or the peer fails then.
    async fn send_all(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::new(GONE.0, GONE.1);
        loop {
            // Told to stop, what waits is due at once.
            let _ = shutdown.run_until_cancelled(self.peer.mailbox.due(&self.peers.clock)).await;
            if shutdown.is_cancelled() && self.peer.mailbox.len() == 0 {
                return;
            }
            match self.send_batch(&mut backoff).await {
                Next::Batch => {}
                Next::Pause(pause) => {
                    if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn send_batch(&self, backoff: &mut Backoff) -> Next {
        let (peers, peer) = (&self.peers, &*self.peer);
        let (mut taken, lost) = peer.mailbox.take(peers.clock.now());
        peers.count_lost(peer, lost);
        self.drop_outdated(&mut taken);
        if taken.is_empty() {
            return Next::Batch;
        }
        let (body, fitting) = body_of(&taken, peers.now());
        let since = self.intake.registry.latest().await;
        let too_much = taken.split_off(fitting);
        if !too_much.is_empty() {
            self.put_back(too_much);
        }
        let answer = match self.call(body).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) if reply.status == StatusCode::SERVICE_UNAVAILABLE => {
                self.put_back(taken);
                self.failed(BatchResult::Busy, Trouble::Busy);
                return Next::Pause(BUSY);
            }
            Ok(reply) => {
                peers.counts.items(peer, ItemResult::Dropped, number(taken.len()));
                self.failed(BatchResult::Refused, Trouble::of_status(reply.status));
                return Next::Batch;
            }
            Err(error @ CallError::TimedOut) => {
                self.put_back(taken);
                self.failed(BatchResult::TimedOut, Trouble::Unanswered(error));
                return Next::Pause(BUSY);
            }
            Err(error @ (CallError::Unconnected(_) | CallError::Broken(_))) => {
                self.put_back(taken);
                self.failed(BatchResult::Unreachable, Trouble::Unanswered(error));
                return Next::Pause(backoff.next());
            }
            // Once more would be answered the same.
            Err(CallError::TooLong { max: _ }) => return self.unreadable(taken.len()),
        };
        backoff.reset();
        match BatchAnswer::from_json(&answer.body) {
            Ok(answer) if answer.items.len() == taken.len() => {
                peers.counts.batch(peer, BatchResult::Answered);
                peers.took(peer);
                for (queued, answer) in taken.into_iter().zip(answer.items) {
                    self.answered(&queued, answer, since).await;
                }
                Next::Batch
            }
            Ok(_) | Err(_) => self.unreadable(taken.len()),
        }
    }

    /// Who waited until another server ended it is not told of: that would bring it back there.
    fn drop_outdated(&self, taken: &mut Vec<Queued>) {
        let before = taken.len();
        let directory = self.peers.directory(&self.intake.registry);
        taken.retain(|queued| match &queued.write {
            Forwarded::Register(instance) => directory.get_own(instance.id.as_str()).is_some(),
            Forwarded::Renew(_)
            | Forwarded::Override { .. }
            | Forwarded::ClearOverride { .. }
            | Forwarded::Deregister(_) => true,
        });
        self.peers.counts.items(&self.peer, ItemResult::Outdated, number(before - taken.len()));
    }

    async fn call(&self, body: Vec<u8>) -> Result<Reply, CallError> {
        let mut request = self.peer.request(Method::POST, &["peerreplication", "batch", ""], &[])?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Bytes::from(body).into();
        self.peers.outbound.call(request, BOUNDS).await
    }

    /// What the peer says of one write that it was sent then.
    async fn answered(&self, queued: &Queued, answer: BatchItemAnswer, sent: Since) {
        let BatchItemAnswer { status, entity } = answer;
        let instance = queued.write.instance();
        let result = match (action_of(&queued.write), status, entity) {
            (_, 200..=299, _) => ItemResult::Sent,
            (BatchAction::Heartbeat, 404, _) => {
                self.register_anew(instance.id.as_str());
                ItemResult::Conflict
            }
            (BatchAction::Heartbeat, 409, Some(Entity::Theirs(theirs))) => {
                self.peers.counts.intaken(&self.peer, self.intake.take(*theirs, sent).await);
                ItemResult::Conflict
            }
            // What is not there needs no end.
            (BatchAction::Cancel, 404, _) => ItemResult::Sent,
            (_, 400, _) => ItemResult::Invalid,
            (
                BatchAction::Register
                | BatchAction::Heartbeat
                | BatchAction::Cancel
                | BatchAction::StatusUpdate
                | BatchAction::DeleteStatusOverride,
                _,
                _,
            ) => ItemResult::Refused,
        };
        if matches!(result, ItemResult::Invalid | ItemResult::Refused) {
            let (peer, id, action) = (&self.peer.name, &instance.id, action_of(&queued.write));
            tracing::debug!(peer, instance = %id, status, "peer {peer} answers {status} to {action:?} of {id}");
        }
        self.peers.counts.items(&self.peer, result, 1);
    }

    /// Tells the peer of an instance as it is now: what it was when it renewed may be outdated.
    fn register_anew(&self, id: &str) {
        let directory = self.peers.directory(&self.intake.registry);
        let Some(instance) = directory.get_own(id) else { return };
        self.peers.push(&self.peer, Forwarded::Register(instance.clone()));
        // When it ended just now, its end may wait before this.
        if directory.get_own(id).is_none() {
            self.peers.push(&self.peer, Forwarded::Deregister(instance));
        }
    }

    fn unreadable(&self, items: usize) -> Next {
        self.peers.counts.items(&self.peer, ItemResult::Dropped, number(items));
        self.failed(BatchResult::Unreadable, Trouble::Unreadable);
        Next::Batch
    }

    fn failed(&self, result: BatchResult, trouble: Trouble) {
        self.peers.counts.batch(&self.peer, result);
        self.peers.failed(&self.peer, trouble);
    }

    fn put_back(&self, taken: Vec<Queued>) {
        let lost = self.peer.mailbox.put_back(taken, self.peers.clock.now());
        self.peers.count_lost(&self.peer, lost);
    }
}

/// The body of a batch, and of how many of the writes it is made.
fn body_of(taken: &[Queued], now: Timestamp) -> (Vec<u8>, usize) {
    let (mut items, mut length) = (Vec::with_capacity(taken.len()), 0);
    for queued in taken {
        let mut item = Vec::new();
        let application = queued.write.instance().application();
        push_item(&mut item, &item_of(&queued.write, &application, now));
        length += item.len();
        items.push(item);
        if BODY_ENOUGH <= length {
            break;
        }
    }
    (batch_of(items.iter().map(Vec::as_slice)), items.len())
}

/// A write as a peer takes it (spec eureka section 4.2).
fn item_of<'a>(write: &'a Forwarded, application: &'a str, now: Timestamp) -> ItemToSend<'a> {
    let instance = write.instance();
    let item = ItemToSend {
        application,
        id: instance.id_in_application(),
        dirty_at: Some(instance.dirty_at),
        status: Some(instance.status),
        overridden: None,
        instance: None,
        action: action_of(write),
    };
    match write {
        Forwarded::Register(instance) => ItemToSend { instance: Some((instance, now)), ..item },
        Forwarded::Renew(instance) => ItemToSend { overridden: instance.overridden, ..item },
        Forwarded::Override { instance: _, status, dirty_at } => {
            ItemToSend { status: Some(*status), dirty_at: Some(*dirty_at), ..item }
        }
        Forwarded::ClearOverride { instance: _, fallback, dirty_at } => {
            ItemToSend { status: Some(*fallback), dirty_at: Some(*dirty_at), ..item }
        }
        Forwarded::Deregister(_) => ItemToSend { dirty_at: None, status: None, ..item },
    }
}

fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

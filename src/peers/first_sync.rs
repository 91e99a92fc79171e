//! What a peer knows already when this server starts: taken over once (spec eureka sections 4.5 and 4.8).
//!
//! This server is ready when one peer has answered, or when none has in a few seconds; asking goes on then,
//! for a while. After that, heartbeats of peers bring what is missing.
//! Never: holds up a request, takes over a second list, brings back what ended or undoes what changed here
//! meanwhile, or ends before it is told to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Peer;
use super::Peers;
use super::intake::Intake;
use super::metrics::Intaken;
use super::standing::Trouble;
use crate::outbound::{Backoff, Bounds, CallError};
use crate::registry::Since;
use crate::telemetry::Health;
use crate::wire::eureka::applications::ApplicationsBody;
use crate::wire::eureka::registration::Listed;

/// Takes over the list of the first peer that has one.
#[derive(Debug)]
pub struct FirstSync {
    pub(super) peers: Arc<Peers>,
    pub(super) intake: Intake,
    pub(super) health: Arc<Health>,
}

const BOUNDS: Bounds =
    Bounds { quiet: Duration::from_secs(5), whole: Duration::from_secs(60), bytes: 256 * 1024 * 1024 };
/// How long peers may keep this server from being ready.
const READY_AFTER: Duration = Duration::from_secs(5);
/// How long peers are asked.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
/// Waits between two rounds of asking all.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// Instances after which others may run.
const BATCH: usize = 256;

// === impl FirstSync ===

impl FirstSync {
    /// What readiness waits for.
    pub(super) const PART: &str = "peers";

    /// Synchronizes, then waits to be told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.synchronize()).await;
        shutdown.cancelled().await;
    }

    async fn synchronize(&self) {
        let mut asking = std::pin::pin!(timeout(GIVE_UP_AFTER, self.ask_until_one_answers()));
        let outcome = match timeout(READY_AFTER, &mut asking).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!(
                    "no peer gave its list within {READY_AFTER:?}; this server is ready without it and goes on asking"
                );
                self.health.is_complete(FirstSync::PART);
                asking.await
            }
        };
        self.health.is_complete(FirstSync::PART);
        if outcome.is_err() {
            tracing::warn!(
                "no peer gave its list within {GIVE_UP_AFTER:?}; their heartbeats bring what is missing"
            );
        }
    }

    async fn ask_until_one_answers(&self) {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        loop {
            for peer in &self.peers.peers {
                match self.list_of(peer).await {
                    Ok(list) => return self.take_over(peer, list).await,
                    // Told once, by the peer's standing.
                    Err(trouble) => self.peers.failed(peer, trouble),
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn list_of(&self, peer: &Peer) -> Result<ApplicationsBody, Trouble> {
        let unanswered = |error: CallError| Trouble::Unanswered(error);
        let request = peer.request(Method::GET, &["apps", ""], &[]).map_err(unanswered)?;
        let reply = self.peers.outbound.call(request, BOUNDS).await.map_err(unanswered)?;
        match reply.status {
            StatusCode::OK => {}
            // A peer that warms up says that it has nothing yet by 403.
            StatusCode::FORBIDDEN => return Err(Trouble::Refuses(reply.status)),
            status => return Err(Trouble::of_status(status)),
        }
        // Aside: reading a long list takes a while.
        let read = tokio::task::spawn_blocking(move || ApplicationsBody::from_json(&reply.body)).await;
        match read {
            Ok(Ok(list)) => Ok(list),
            Ok(Err(_)) | Err(_) => Err(Trouble::Unreadable),
        }
    }

    async fn take_over(&self, peer: &Peer, list: ApplicationsBody) {
        self.peers.took(peer);
        // It may have heard of what was written here long after that, or not at all.
        let since = Since::default();
        let (mut registered, mut invalid) = (0_usize, 0_usize);
        for (at, listed) in list.instances.into_iter().enumerate() {
            if listed.action != Some(Listed::Deleted) {
                let intaken = self.intake.take(listed.body, since).await;
                self.peers.counts.intaken(peer, intaken);
                match intaken {
                    Intaken::Registered => registered += 1,
                    Intaken::Ours | Intaken::Outdated => {}
                    Intaken::Invalid => invalid += 1,
                }
            }
            if at % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
        }
        if registered != 0 {
            self.peers.has_taken_over.store(true, Ordering::Relaxed);
        }
        let peer = &peer.name;
        tracing::info!(
            peer,
            instances = registered,
            "{registered} instances are taken over from peer {peer}"
        );
        if invalid != 0 {
            tracing::warn!(
                peer,
                instances = invalid,
                "{invalid} instances of peer {peer} are left out: they break a limit of this server"
            );
        }
    }
}

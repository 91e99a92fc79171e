//! One look at the instances of one service, as soon as they differ from those of the look before.
//!
//! Never: publishes anything, or asks twice.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Due;
use super::agent::{Agent, Index, Manner, Trouble};
use super::translation::translated;
use crate::catalog::Sink;
use crate::model::{Instance, Timestamp};
use crate::outbound::CallError;
use crate::wire::consul::read_entries;
use crate::wire::lenient::Unreadable;

/// What is to be looked at, and how.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) of: Due,
    pub(super) index: Index,
    pub(super) wait: Duration,
    pub(super) size: Size,
    /// Not before.
    pub(super) rest: Instant,
    /// The service is no more.
    pub(super) ended: CancellationToken,
    /// Others wait for their turn.
    pub(super) turn: CancellationToken,
    pub(super) sink: Sink,
}

/// How long the answers are that a service is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// As those of other services.
    Usual,
    /// So long that no other such service is looked at meanwhile.
    Large,
}

/// A look that is over.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) of: Due,
    pub(super) outcome: Outcome,
}

/// What came of a look.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All instances that the service has and that can be shown.
    Found { index: Index, instances: Vec<Instance> },
    /// The same as before; early, when the agent did not wait for a change.
    Unchanged { was_early: bool },
    /// It ended to let others have their turn.
    Interrupted,
    /// The service is no more.
    Ended,
    /// The answer cannot be read, or not in this size.
    Unread(Size),
    /// The agent did not answer.
    Failed(Trouble),
}

/// Most bytes of an answer; of the usual ones there may be many at once.
const USUAL_BYTES: usize = 4 * 1024 * 1024;
const LARGE_BYTES: usize = 128 * 1024 * 1024;
/// Longest wait for a change of a service whose answers are large, which others wait for.
const LARGE_WAIT: Duration = Duration::from_secs(2);
/// So many instances that cannot be shown are read; a list with more is none.
const UNREAD_MAX: usize = 100_000;

// === impl Look ===

impl Look {
    /// Looks; `large` lets one service of that size in.
    pub(super) async fn take(self, agent: &Agent, large: &Semaphore) -> Looked {
        let outcome = tokio::select! {
            biased;
            () = self.ended.cancelled() => Outcome::Ended,
            () = self.turn.cancelled() => Outcome::Interrupted,
            outcome = self.outcome(agent, large) => outcome,
        };
        Looked { of: self.of, outcome }
    }

    async fn outcome(&self, agent: &Agent, large: &Semaphore) -> Outcome {
        sleep_until(self.rest).await;
        let (_permit, wait, bytes) = match self.size {
            Size::Usual => (None, self.wait, USUAL_BYTES),
            Size::Large => (large.acquire().await.ok(), self.wait.min(LARGE_WAIT), LARGE_BYTES),
        };
        let begun = Instant::now();
        let path = ["v1", "health", "service", &self.of.service];
        let answer = match agent.ask(&path, Manner { index: self.index, wait, bytes }).await {
            Ok(answer) => answer,
            Err(trouble) => return Outcome::Failed(trouble),
        };
        if answer.index == self.index {
            let was_early = begun.elapsed() < wait / 2;
            // Its connection can be used again when nothing is left of it; if that fails, there will be another.
            let _ = answer.body.read(|body| io::copy(body, &mut io::sink())).await;
            return Outcome::Unchanged { was_early };
        }
        let sink = self.sink.clone();
        match answer.body.read(move |body| read(body, &sink)).await {
            Ok(Ok(instances)) => Outcome::Found { index: answer.index, instances },
            Ok(Err(why)) => {
                self.sink.skipped(format_args!("changes of service {}, because {why}", self.of.service));
                Outcome::Unread(self.size)
            }
            Err(CallError::TooLong { max }) => {
                if self.size == Size::Large {
                    self.sink.skipped(format_args!(
                        "changes of service {}, because it answers with more than {max} bytes",
                        self.of.service
                    ));
                }
                Outcome::Unread(Size::Large)
            }
            Err(error) => Outcome::Failed(Trouble::Unanswered(error)),
        }
    }
}

/// The instances of an answer that can be shown, not many more than may be.
fn read(body: impl Read, sink: &Sink) -> Result<Vec<Instance>, Unreadable> {
    let (now, most) = (Timestamp::of_system(), super::most(sink));
    let (mut instances, mut unread) = (Vec::new(), 0_usize);
    read_entries(body, |entry| {
        let translated = entry.map_err(|why| format!("an instance, because {why}")).and_then(|entry| {
            let (node, id) = (&entry.node.node, &entry.service.id);
            translated(&entry, now).map_err(|why| format!("instance {id} on node {node}, because {why}"))
        });
        match translated {
            Ok(Some(instance)) if instances.len() < most => instances.push(instance),
            Ok(_) => {}
            Err(what) => {
                sink.skipped(what);
                unread += 1;
            }
        }
        if unread < UNREAD_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(instances)
}

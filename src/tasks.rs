//! Tasks: named loops with one owner, ended in order and by one deadline.
//!
//! Guarantees: a loop that ends on its own, or panics, ends the daemon; on a stop, each phase is cancelled only when the
//! one before it has drained; at the deadline, or when told so, everything left is aborted and named.
//!
//! Never: knows what a loop does, restarts one, or reads a signal itself.

use std::collections::HashMap;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When a loop ends after a stop; the phases end in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What tells others that this process serves: ends first, so that nobody sends it more.
    Announce,
    /// What accepts requests and answers them.
    Serve,
    /// What hands on the effects of requests.
    Flush,
    /// What the others stand on.
    Upkeep,
}

/// The loops of the daemon; dropping it aborts them all.
#[derive(Debug)]
#[must_use]
pub struct Tasks {
    set: JoinSet<()>,
    running: HashMap<Id, (Phase, &'static str)>,
    tokens: [CancellationToken; Phase::ALL.len()],
}

/// Why the loops did not end as they should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TasksError {
    /// A loop ended before it was told to.
    #[error("task {0} ended on its own")]
    Ended(&'static str),
    /// A loop panicked.
    #[error("task {0} panicked")]
    Panicked(&'static str),
    /// Loops were aborted at the deadline.
    #[error("not finished in time: {}", .0.join(", "))]
    Overdue(Vec<&'static str>),
    /// Loops were aborted because the caller said so.
    #[error("aborted before they finished: {}", .0.join(", "))]
    Aborted(Vec<&'static str>),
}

// === impl Phase ===

impl Phase {
    const ALL: [Self; 4] = [Self::Announce, Self::Serve, Self::Flush, Self::Upkeep];

    fn position(self) -> usize {
        match self {
            Self::Announce => 0,
            Self::Serve => 1,
            Self::Flush => 2,
            Self::Upkeep => 3,
        }
    }
}

// === impl Tasks ===

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No loops yet.
    pub fn new() -> Self {
        let tokens = std::array::from_fn(|_| CancellationToken::new());
        Self { set: JoinSet::new(), running: HashMap::new(), tokens }
    }

    /// Starts a loop, which is given its token; must be called within a tokio runtime.
    pub fn spawn<F>(&mut self, phase: Phase, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.set.spawn(task(self.token(phase)));
        self.running.insert(handle.id(), (phase, name));
    }

    /// Cancelled when the loops of `phase` are to end.
    #[must_use]
    pub fn token(&self, phase: Phase) -> CancellationToken {
        self.tokens[phase.position()].clone()
    }

    /// Runs until `stop`, or until a loop ends on its own; then ends all loops, phase by phase, within `deadline`, or at
    /// once when `abort` comes.
    ///
    /// # Errors
    /// The first thing that went wrong: a loop that ended or panicked, or loops that did not end.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
        deadline: Duration,
    ) -> Result<(), TasksError> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            failure = self.failure() => Err(failure),
        };
        let deadline = Instant::now() + deadline;
        let drained = tokio::select! {
            drained = self.drain() => drained,
            () = tokio::time::sleep_until(deadline) => Err(TasksError::Overdue(self.unfinished())),
            () = abort => Err(TasksError::Aborted(self.unfinished())),
        };
        // The set is dropped here, which aborts what is left.
        ended.and(drained)
    }

    /// Waits for a loop that ends though nobody told it to; for ever when there is none.
    async fn failure(&mut self) -> TasksError {
        match self.set.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => match self.bury(ended) {
                (name, Ok(())) => TasksError::Ended(name),
                (_, Err(panicked)) => panicked,
            },
        }
    }

    /// Ends the loops, phase by phase; a panic on the way does not keep the others from ending well.
    async fn drain(&mut self) -> Result<(), TasksError> {
        let mut drained = Ok(());
        for phase in Phase::ALL {
            self.tokens[phase.position()].cancel();
            while self.running.values().any(|(of, _)| *of <= phase) {
                let Some(ended) = self.set.join_next_with_id().await else { break };
                drained = drained.and(self.bury(ended).1);
            }
        }
        drained
    }

    fn bury(&mut self, ended: Result<(Id, ()), JoinError>) -> (&'static str, Result<(), TasksError>) {
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), true),
        };
        let name = self.running.remove(&id).map_or("unnamed", |(_, name)| name);
        (name, if panicked { Err(TasksError::Panicked(name)) } else { Ok(()) })
    }

    /// The names of what still runs, in the order of the phases.
    fn unfinished(&self) -> Vec<&'static str> {
        let mut running: Vec<_> = self.running.values().copied().collect();
        running.sort_unstable();
        running.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Ends `seconds` after it is told to, and says so.
    fn lasting(
        tasks: &mut Tasks,
        phase: Phase,
        name: &'static str,
        seconds: u64,
        ended: &Arc<Mutex<Vec<&'static str>>>,
    ) {
        let ended = ended.clone();
        tasks.spawn(phase, name, |shutdown| async move {
            shutdown.cancelled().await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            ended.lock().push(name);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn phases_end_one_after_the_other() {
        let (mut tasks, ended) = (Tasks::new(), Arc::default());
        lasting(&mut tasks, Phase::Upkeep, "reaper", 0, &ended);
        lasting(&mut tasks, Phase::Serve, "api", 3, &ended);
        lasting(&mut tasks, Phase::Serve, "ops", 2, &ended);
        lasting(&mut tasks, Phase::Announce, "member", 5, &ended);
        let since = Instant::now();
        assert_eq!(tasks.run(ready(()), pending(), DEADLINE).await, Ok(()));
        assert_eq!(*ended.lock(), ["member", "ops", "api", "reaper"]);
        assert_eq!(since.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_on_its_own_ends_the_others_well() {
        let (mut tasks, ended) = (Tasks::new(), Arc::default());
        lasting(&mut tasks, Phase::Serve, "api", 3, &ended);
        tasks.spawn(Phase::Upkeep, "reaper", |_| ready(()));
        assert_eq!(tasks.run(pending(), pending(), DEADLINE).await, Err(TasksError::Ended("reaper")));
        assert_eq!(*ended.lock(), ["api"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let mut tasks = Tasks::new();
        tasks.spawn(Phase::Upkeep, "reaper", |_| async { panic!("as asked") });
        assert_eq!(tasks.run(pending(), pending(), DEADLINE).await, Err(TasksError::Panicked("reaper")));
    }

    #[tokio::test(start_paused = true)]
    async fn one_deadline_is_for_all() {
        let (mut tasks, ended) = (Tasks::new(), Arc::default());
        lasting(&mut tasks, Phase::Announce, "member", 15, &ended);
        lasting(&mut tasks, Phase::Upkeep, "reaper", 0, &ended);
        lasting(&mut tasks, Phase::Serve, "api", 15, &ended);
        let overdue = TasksError::Overdue(vec!["api", "reaper"]);
        assert_eq!(tasks.run(ready(()), pending(), DEADLINE).await, Err(overdue));
        assert_eq!(*ended.lock(), ["member"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_aborts() {
        let (mut tasks, ended) = (Tasks::new(), Arc::default());
        lasting(&mut tasks, Phase::Serve, "api", 15, &ended);
        let second = tokio::time::sleep(Duration::from_secs(1));
        let aborted = TasksError::Aborted(vec!["api"]);
        assert_eq!(tasks.run(ready(()), second, DEADLINE).await, Err(aborted));
        assert!(ended.lock().is_empty());
    }
}

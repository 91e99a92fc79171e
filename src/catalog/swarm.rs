//! The catalog of a Docker Swarm: tasks of its services that run.
//!
//! The whole swarm is listed every few seconds, and soon after an event; a large one less often, so that listing it is
//! a small part of the time, but at least once a minute.
//! Never: writes to what it follows, or listens to what an event says: it only wakes.

mod engine;
mod instances;
mod labels;
mod lists;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::engine::{Engine, EngineError};
use self::instances::Shown;
use self::lists::Lists;
use super::config::SwarmConfig;
use super::{CatalogError, Sink};
use crate::model::Timestamp;

/// Follows a swarm.
#[derive(Debug)]
pub struct Swarm {
    config: SwarmConfig,
    sink: Sink,
    /// None: to be made anew, the files of TLS may have changed.
    engine: Option<Arc<Engine>>,
    happened: Arc<Notify>,
    /// What could not be shown at the last look.
    faults: BTreeSet<String>,
    /// Failures without a success between them.
    failures: u32,
    /// Until then tasks may be on their way.
    busy_until: Instant,
}

/// Between two looks when nothing happens.
const POLL: Duration = Duration::from_secs(5);
/// The same while tasks are on their way.
const POLL_BUSY: Duration = Duration::from_secs(1);
/// Longest time between two looks.
const POLL_MAX: Duration = Duration::from_secs(60);
/// A pause is at least so many times as long as the look before it.
const PACE: u32 = 20;
/// The same after something happened.
const PACE_EVENT: u32 = 4;
/// From an event to the look: others are likely to follow.
const SOON: Duration = Duration::from_millis(300);
/// How long tasks may be on their way after something happened.
const BUSY: Duration = Duration::from_secs(60);
/// Until events are asked for anew when that has failed.
const EVENTS_REST: Duration = Duration::from_secs(10);
/// After the first failure; doubles with each, up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

// === impl Swarm ===

impl Swarm {
    /// The catalog, not yet followed.
    ///
    /// # Errors
    /// When a file of TLS cannot be used.
    pub fn new(config: SwarmConfig, sink: Sink) -> Result<Self, CatalogError> {
        let engine = Some(Arc::new(Engine::new(&config.engine)?));
        Ok(Self {
            config,
            sink,
            engine,
            happened: Arc::default(),
            faults: BTreeSet::new(),
            failures: 0,
            busy_until: Instant::now() + BUSY,
        })
    }

    /// Follows it until told to stop; every error is retried, so it never ends early.
    pub async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        loop {
            // While the engine answers, events are listened to; when it does not, both begin anew.
            let Some(engine) = self.engine().cloned() else {
                self.rest().await;
                continue;
            };
            let happened = self.happened.clone();
            let listening = listen(&engine, &happened);
            let mut listening = std::pin::pin!(listening);
            while self.look(&engine, listening.as_mut()).await {}
            self.rest().await;
        }
    }

    fn engine(&mut self) -> Option<&Arc<Engine>> {
        if self.engine.is_none() {
            match Engine::new(&self.config.engine) {
                Ok(engine) => self.engine = Some(Arc::new(engine)),
                Err(error) => self.failed(&error),
            }
        }
        self.engine.as_ref()
    }

    /// Lists the swarm, shows it, and waits until the next look is due. Whether the engine could be asked.
    async fn look(
        &mut self,
        engine: &Engine,
        mut listening: Pin<&mut impl Future<Output = Infallible>>,
    ) -> bool {
        let begun = Instant::now();
        let listed = tokio::select! {
            listed = engine.lists() => listed,
            never = listening.as_mut() => match never {},
        };
        let is_settling = match listed {
            Ok(lists) => self.show(lists).await,
            Err(error) => {
                self.failed(&error);
                self.engine = None;
                return false;
            }
        };
        let took = begun.elapsed();
        let is_busy = is_settling && Instant::now() < self.busy_until;
        let pause = if is_busy { POLL_BUSY } else { POLL };
        let due = Instant::now() + pause.max(took * PACE).min(POLL_MAX);
        tokio::select! {
            () = sleep_until(due) => {}
            () = self.happened.notified() => {
                self.busy_until = Instant::now() + BUSY;
                let pause = SOON.max(took * PACE_EVENT).min(POLL_MAX);
                // What happens meanwhile is in the next look.
                let _ = timeout(pause, listening.as_mut()).await;
            }
            never = listening.as_mut() => match never {},
        }
        true
    }

    /// Shows what was listed, and answers whether tasks are on their way.
    async fn show(&mut self, lists: Lists) -> bool {
        let (sink, config) = (self.sink.clone(), self.config.clone());
        let show = move || {
            let (network, max) = (config.network.as_deref(), sink.enough());
            let Shown { instances, faults, is_settling } =
                Shown::of(&lists, network, max, Timestamp::of_system());
            sink.replace(&config.namespace, instances);
            (faults, is_settling)
        };
        // Much of it takes a while, in which requests are to be answered.
        let (faults, is_settling) = match tokio::task::spawn_blocking(show).await {
            Ok(shown) => shown,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return false,
            },
        };
        for fault in faults.difference(&self.faults) {
            tracing::warn!("catalog swarm: {fault}");
        }
        self.sink.left_out(faults.difference(&self.faults).count());
        self.faults = faults;
        self.failures = 0;
        self.sink.tried();
        is_settling
    }

    fn failed(&mut self, error: &dyn std::fmt::Display) {
        self.failures = self.failures.saturating_add(1);
        self.sink.failed(error);
        self.sink.tried();
    }

    /// Longer and longer while failures go on, and never twice the same.
    async fn rest(&self) {
        let longest = BACK_OFF.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(BACK_OFF_MAX);
        let part = u32::try_from(RandomState::new().hash_one(self.failures) % 500).unwrap_or_default();
        sleep(longest * (500 + part) / 1000).await;
    }
}

/// Listens to events again and again.
async fn listen(engine: &Engine, happened: &Notify) -> Infallible {
    loop {
        let why: EngineError = engine.events(|| happened.notify_one()).await;
        tracing::debug!(%why, "catalog swarm: events cannot be listened to: {why}");
        // Something may have happened that nobody told.
        happened.notify_one();
        sleep(EVENTS_REST).await;
    }
}

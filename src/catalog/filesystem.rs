//! The catalog of files: `NAMESPACE.json` or `NAMESPACE.conf` in one folder (spec amalgam8 section 8).
//!
//! The folder is looked at every second, and sooner when the system tells of a change in it: on a network, and behind
//! links, it does not.
//! Never: writes to the folder, blocks the runtime's own threads on it, or does nothing but look.

mod content;
mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::folder::{Folder, Identity, Looked};
use super::{CatalogError, Sink};

/// Follows a folder.
#[derive(Debug)]
pub struct Filesystem {
    sink: Sink,
    state: State,
    changed: Arc<Notify>,
    /// What the last look has shown; none before the first.
    last: Option<(Looked, Duration)>,
}

/// A look takes the follower to a thread that may block.
#[derive(Debug)]
enum State {
    Idle(Box<Follower>),
    Looking(JoinHandle<(Box<Follower>, Looked, Duration)>),
    /// The runtime ended under a look.
    Over,
}

#[derive(Debug)]
struct Follower {
    folder: Folder,
    watch: Watch,
    sink: Sink,
    /// Faults that the sink was told of.
    faults: usize,
}

/// Wakes the loop when the system tells of a change in the folder.
#[derive(Debug)]
struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// The folder that is watched, or that could not be; none before the first look, none within when it was not there.
    of: Option<Option<Identity>>,
    changed: Arc<Notify>,
}

/// Between two looks when the system tells of no change.
const POLL: Duration = Duration::from_secs(1);
/// Until the next look when the last one was not certain.
const SOON: Duration = Duration::from_millis(250);
/// A change counts when so long no other was told of.
const QUIET: Duration = Duration::from_millis(100);
/// Longest wait for that.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// A pause is at least as long as the look before it, and so many times as long when that found nothing new: a folder
/// that is slow to look at is looked at less often.
const PACE: u32 = 20;
/// Longest pause for that reason.
const POLL_MAX: Duration = Duration::from_secs(30);
/// A look that takes longer is a failure, and goes on.
const SLOW: Duration = Duration::from_secs(10);

// === impl Filesystem ===

impl Filesystem {
    /// The catalog of a folder, which need not be there; not yet followed.
    ///
    /// # Errors
    /// None at present; what is wrong with a folder can be put right while it is followed.
    pub fn new(folder: PathBuf, sink: Sink) -> Result<Self, CatalogError> {
        let changed = Arc::new(Notify::new());
        let follower = Follower {
            folder: Folder::new(folder, sink.enough()),
            watch: Watch { watcher: None, of: None, changed: changed.clone() },
            sink: sink.clone(),
            faults: 0,
        };
        Ok(Self { sink, state: State::Idle(Box::new(follower)), changed, last: None })
    }

    /// Reads the whole folder, and returns when that is done, or after 10 seconds on a folder that does not answer.
    /// Cancel safe.
    async fn first_look(&mut self) {
        if self.last.is_none() && timeout(SLOW, self.look()).await.is_err() {
            self.sink.failed("the folder does not answer");
        }
        self.sink.tried();
    }

    /// Follows it until told to stop; every fault is reported and retried, so it never ends early.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let follow = async {
            self.first_look().await;
            loop {
                self.pause().await;
                if timeout(SLOW, self.look()).await.is_err() {
                    self.sink.failed("the folder does not answer");
                    self.look().await;
                }
            }
        };
        // Cancelled anywhere: a file system that hangs must not hold the shutdown.
        shutdown.run_until_cancelled(follow).await;
    }

    /// Ends the look that is under way, or makes one. Cancel safe: a look goes on and is ended by the next call.
    async fn look(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = match state {
            State::Idle(mut follower) => State::Looking(tokio::task::spawn_blocking(move || {
                let begun = Instant::now();
                let looked = follower.look();
                (follower, looked, begun.elapsed())
            })),
            State::Looking(look) => State::Looking(look),
            State::Over => State::Over,
        };
        let State::Looking(look) = &mut self.state else { return std::future::pending().await };
        match look.await {
            Ok((follower, looked, took)) => {
                self.state = State::Idle(follower);
                self.last = Some((looked, took));
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => self.state = State::Over,
            },
        }
    }

    /// Waits until the next look is due.
    async fn pause(&self) {
        let Some((looked, took)) = &self.last else { return };
        let usual = if looked.is_unsettled { SOON } else { POLL };
        let pace = if looked.told == 0 { *took * PACE } else { *took };
        let is_told = timeout(usual.max(pace.min(POLL_MAX)), self.changed.notified()).await.is_ok();
        if is_told {
            let quiet = async { while timeout(QUIET, self.changed.notified()).await.is_ok() {} };
            // Changes without an end are looked at all the same.
            let _ = timeout(QUIET_MAX, quiet).await;
            sleep((*took).min(POLL)).await;
        }
    }
}

// === impl Follower ===

impl Follower {
    fn look(&mut self) -> Looked {
        let Self { folder, watch, sink, faults } = self;
        let begun = Instant::now();
        // While one file is broken, all is not well by another one that is read.
        let telling = if *faults == 0 { sink.clone() } else { sink.while_failing() };
        let looked = folder.look(&mut |namespace, instances| {
            telling.replace(namespace, instances);
        });
        sink.left_out(looked.left_out);
        // Something else was said of a look that took long.
        let is_late = SLOW <= begun.elapsed();
        match looked.faults {
            0 => sink.current(),
            now if now != *faults || is_late => {
                sink.failed(format!("{now} of its files cannot be used; the log says which"));
            }
            _ => {}
        }
        *faults = looked.faults;
        watch.follow(folder.path(), looked.identity);
        looked
    }
}

// === impl Watch ===

impl Watch {
    /// Sees to it that the folder is watched which is there now.
    fn follow(&mut self, folder: &Path, identity: Option<Identity>) {
        if self.of == Some(identity) {
            return;
        }
        self.of = Some(identity);
        self.watcher = None;
        if identity.is_none() {
            let path = folder.display();
            return tracing::warn!(folder = %path, "catalog filesystem: {path} is not there");
        }
        match self.watcher_of(folder) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                let path = folder.display();
                tracing::info!(
                    folder = %path, %error,
                    "catalog filesystem: changes of {path} are seen by looking every second only: {error}"
                );
            }
        }
    }

    fn watcher_of(&self, folder: &Path) -> notify::Result<RecommendedWatcher> {
        let changed = self.changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                changed.notify_one();
            }
        })?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Looks themselves open files and folder.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

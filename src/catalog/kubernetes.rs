//! The catalog of Kubernetes: the services of its namespaces that have the names of ours.
//!
//! The front keeps the namespaces: which are followed is `selection`'s, one of them `follower`'s, what is read of
//! it `feed`'s, what instances that makes `world`'s.
//! Never: writes to what it follows, or asks for what nobody uses.

mod api_server;
mod feed;
mod follower;
mod objects;
mod room;
mod selection;
mod world;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::config::KubernetesConfig;
use super::{CatalogError, Sink};
use crate::model::Namespace;
use api_server::{ApiServer, Failure, Patience};
use follower::Follower;
use room::Room;
use selection::{Answer, Patterns, Selection, Steps};

/// Follows the namespaces of a Kubernetes cluster.
#[derive(Debug)]
pub struct Kubernetes {
    server: ApiServer,
    sink: Sink,
    selection: Selection,
    room: Room,
}

/// The namespaces that are being followed or looked up.
struct Watched {
    server: ApiServer,
    sink: Sink,
    room: Room,
    failing: Arc<AtomicUsize>,
    /// Ends the follower of a namespace.
    ends: HashMap<Namespace, CancellationToken>,
    followers: FuturesUnordered<Ending>,
    look_ups: FuturesUnordered<LookUp>,
    probes: FuturesUnordered<Probe>,
}

type Ending = Pin<Box<dyn Future<Output = (Namespace, Ended)> + Send>>;
type LookUp = Pin<Box<dyn Future<Output = (Namespace, Result<Answer, Failure>)> + Send>>;

type Probe = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Why a namespace is not followed any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Left,
    /// Kubernetes has no such namespace any more.
    Unknown,
}

/// How long the API server may take.
const PATIENCE: Patience = Patience {
    quiet: Duration::from_secs(15),
    watch: Duration::from_secs(150),
    watch_quiet: Duration::from_secs(160),
};
/// How often it is looked which namespaces are in use; a new one is seen at once.
const LOOK: Duration = Duration::from_secs(5);
/// How often the API server is asked whether it is there when nothing is followed.
const PROBE: Duration = Duration::from_secs(60);
/// What may be remembered for each instance that may be shown: addresses, labels and annotations that were not
/// shown yet, and those of pods that serve nothing.
const ROOM_EACH: usize = 2048;
/// What may be remembered however few instances may be shown.
const ROOM_LEAST: usize = 16 * 1024 * 1024;

// === impl Kubernetes ===

impl Kubernetes {
    /// The catalog, not yet followed. Belongs into a runtime.
    ///
    /// # Errors
    /// When what the operator said cannot be used: a file, the URL.
    pub fn new(config: &KubernetesConfig, sink: Sink) -> Result<Self, CatalogError> {
        let server = ApiServer::new(config, PATIENCE)?;
        let selection = Selection::new(Patterns::new(&config.namespaces), config.max_namespaces);
        let room = Room::new(sink.max_instances().saturating_mul(ROOM_EACH).max(ROOM_LEAST));
        Ok(Self { server, sink, selection, room })
    }

    /// Follows it until told to stop; never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { server, sink, selection, room } = self;
        let watched = Watched {
            server,
            sink,
            room,
            failing: Arc::default(),
            ends: HashMap::new(),
            followers: FuturesUnordered::new(),
            look_ups: FuturesUnordered::new(),
            probes: FuturesUnordered::new(),
        };
        // Cancelled anywhere: nothing is left half done.
        let _ = shutdown.run_until_cancelled(watched.follow(selection)).await;
    }
}

// === impl Watched ===

impl Watched {
    async fn follow(mut self, mut selection: Selection) {
        let in_use = self.sink.in_use();
        let mut grown = in_use.grown();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probe = interval(PROBE);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                Ok(()) = grown.changed() => {}
                _ = probe.tick() => self.probe(&selection),
                Some(outcome) = self.probes.next() => {
                    match outcome {
                        Ok(()) => self.sink.current(),
                        Err(failure) => self.sink.failed(failure),
                    }
                    self.sink.tried();
                }
                Some((namespace, ended)) = self.followers.next() => {
                    if ended == Ended::Unknown {
                        self.forget(&namespace);
                        selection.answered(&namespace, Answer::Unknown, Instant::now());
                    }
                }
                Some((namespace, found)) = self.look_ups.next() => {
                    let answer = found.unwrap_or_else(|failure| {
                        self.sink.failed(failure);
                        Answer::None
                    });
                    selection.answered(&namespace, answer, Instant::now());
                }
            }
            let steps = selection.steps(&in_use.namespaces(), Instant::now());
            self.take(steps);
        }
    }

    /// Asks whether the API server is there, so that operators know before anybody needs it.
    fn probe(&self, selection: &Selection) {
        if selection.is_idle() && self.probes.is_empty() {
            let server = self.server.clone();
            self.probes.push(Box::pin(async move { server.probe().await }));
        }
    }

    /// A namespace that is not followed has no instances.
    fn forget(&mut self, namespace: &Namespace) {
        if let Some(end) = self.ends.remove(namespace) {
            end.cancel();
            self.sink.replace(namespace, Vec::new());
        }
    }

    fn take(&mut self, steps: Steps) {
        let Steps { look_up, follow, leave } = steps;
        for namespace in look_up {
            let server = self.server.clone();
            self.look_ups.push(Box::pin(async move {
                let found = server.look_up(&namespace).await;
                (namespace, found)
            }));
        }
        for namespace in leave {
            self.forget(&namespace);
        }
        for namespace in follow {
            let Self { server, sink, room, failing, .. } = self;
            let end = CancellationToken::new();
            let follower =
                Follower::new(server.clone(), sink.clone(), namespace.clone(), room, failing).run();
            self.ends.insert(namespace.clone(), end.clone());
            self.followers.push(Box::pin(async move {
                match end.run_until_cancelled(follower).await {
                    Some(namespace) => (namespace, Ended::Unknown),
                    None => (namespace, Ended::Left),
                }
            }));
        }
    }
}

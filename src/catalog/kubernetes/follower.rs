//! Follows one namespace: its addresses and its pods become instances.
//!
//! Changes are gathered for a moment before they are shown: what moves from one slice to another, or becomes known by
//! two watches, is one change then.
//! Never: shows a part of a namespace that was not read to its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::api_server::{ApiServer, Failure};
use super::feed::{self, Told};
use super::objects::{Pod, Slice};
use super::room::Room;
use super::selection::{AGAIN, Answer};
use super::world::{Differences, NoRoom, World};
use crate::catalog::Sink;
use crate::model::{Namespace, Timestamp};

/// Follows one namespace.
#[derive(Debug)]
pub(super) struct Follower {
    server: ApiServer,
    sink: Sink,
    namespace: Namespace,
    world: World,
    /// How many feeds of all namespaces cannot be followed just now.
    failing: Arc<AtomicUsize>,
    addresses: Health,
    pods: Health,
    /// When differences are shown.
    show_at: Option<Instant>,
    /// What the next time shows.
    extent: Extent,
    /// When it is tried again to show what had no place.
    retry_at: Option<Instant>,
    /// When there was nothing for so long that there may be no such namespace any more.
    look_up_at: Instant,
}

/// Whether a feed works.
#[derive(Debug)]
struct Health {
    is_failing: bool,
    failing: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Differences,
    /// After a list, and to try again.
    Everything,
}

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// After so long it is tried again to show what had no place.
const RETRY: Duration = Duration::from_secs(5);

// === impl Follower ===

impl Follower {
    pub(super) fn new(
        server: ApiServer,
        sink: Sink,
        namespace: Namespace,
        room: &Room,
        failing: &Arc<AtomicUsize>,
    ) -> Self {
        let health = || Health { is_failing: false, failing: failing.clone() };
        Self {
            server,
            sink,
            namespace,
            world: World::new(room),
            failing: failing.clone(),
            addresses: health(),
            pods: health(),
            show_at: None,
            extent: Extent::Everything,
            retry_at: None,
            look_up_at: Instant::now() + AGAIN,
        }
    }

    /// Follows until Kubernetes has no such namespace any more.
    pub(super) async fn run(mut self) -> Namespace {
        let mut addresses = pin!(feed::addresses(self.server.clone(), self.namespace.clone()));
        let mut pods = pin!(feed::pods(self.server.clone(), self.namespace.clone()));
        loop {
            let (show_at, retry_at) = (self.show_at, self.retry_at);
            let is_empty = self.world.is_listed() && self.world.is_empty();
            tokio::select! {
                Some(told) = addresses.next() => self.take_addresses(told),
                Some(told) = pods.next() => self.take_pods(told),
                () = until(show_at) => self.show(),
                () = until(retry_at) => {
                    self.extent = Extent::Everything;
                    self.show();
                }
                () = sleep_until(self.look_up_at), if is_empty => {
                    self.look_up_at = Instant::now() + AGAIN;
                    if self.server.look_up(&self.namespace).await == Ok(Answer::Unknown) {
                        return self.namespace;
                    }
                }
            }
        }
    }

    fn take_addresses(&mut self, told: Told<Slice>) {
        match told {
            Told::Listing => self.world.begin_slices(),
            Told::Listed => {
                self.world.end_slices();
                self.is_listed();
            }
            Told::Is(name, slice) => {
                let outcome = self.world.put_slice(&name, slice);
                self.has_room(outcome);
            }
            Told::Gone(name) => {
                let outcome = self.world.put_slice(&name, None);
                self.has_room(outcome);
            }
            Told::LeftOut(what) => self.leave_out(&what),
            Told::Alive => {
                self.addresses.works();
                self.is_alive();
            }
            Told::Failed(failure) => {
                self.addresses.fails();
                self.fail(&failure);
            }
        }
        self.gather();
    }

    fn take_pods(&mut self, told: Told<Pod>) {
        match told {
            Told::Listing => self.world.begin_pods(),
            Told::Listed => {
                self.world.end_pods();
                self.is_listed();
            }
            Told::Is(name, pod) => {
                let outcome = self.world.put_pod(&name, pod);
                self.has_room(outcome);
            }
            Told::Gone(name) => {
                let outcome = self.world.put_pod(&name, None);
                self.has_room(outcome);
            }
            Told::LeftOut(what) => self.leave_out(&what),
            Told::Alive => {
                self.pods.works();
                self.is_alive();
            }
            Told::Failed(failure) => {
                self.pods.fails();
                self.fail(&failure);
            }
        }
        self.gather();
    }

    fn has_room(&self, outcome: Result<(), NoRoom>) {
        if outcome == Err(NoRoom) {
            self.leave_out("the cluster has more than is remembered here; see --catalog_max_instances");
        }
    }

    fn leave_out(&self, what: &str) {
        self.sink.skipped(format_args!("namespace {}: {what}", self.namespace));
    }

    fn fail(&self, failure: &Failure) {
        self.sink.failed(failure);
    }

    fn is_listed(&mut self) {
        if self.world.is_listed() {
            self.extent = Extent::Everything;
            self.show_at = Some(Instant::now());
        }
    }

    fn is_alive(&self) {
        if self.world.is_listed() && self.failing.load(Ordering::Relaxed) == 0 {
            self.sink.current();
        }
    }

    /// Differences are shown a moment after the first of them.
    fn gather(&mut self) {
        if self.world.is_listed() && self.world.is_touched() {
            let soon = Instant::now() + GATHER;
            self.show_at = Some(self.show_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn show(&mut self) {
        self.show_at = None;
        let now = Timestamp::of_system();
        let extent = std::mem::replace(&mut self.extent, Extent::Differences);
        let is_failing = self.failing.load(Ordering::Relaxed) != 0;
        let sink = if is_failing { self.sink.while_failing() } else { self.sink.clone() };
        let (differences, taken) = match extent {
            Extent::Everything => {
                let mut all = self.world.everything(now);
                let taken = sink.replace(&self.namespace, std::mem::take(&mut all.puts));
                (all, taken)
            }
            Extent::Differences => {
                let mut some = self.world.differences(now);
                if some.puts.is_empty() && some.gone.is_empty() {
                    return;
                }
                let taken = sink.change(&self.namespace, std::mem::take(&mut some.puts), &some.gone);
                (some, taken)
            }
        };
        let Differences { puts: _, gone: _, left_out } = differences;
        for what in left_out {
            self.leave_out(&what);
        }
        match (extent, taken.left_out) {
            (Extent::Everything, 0) => self.retry_at = None,
            (Extent::Differences, 0) => {}
            (_, _) => self.retry_at = Some(Instant::now() + RETRY),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

// === impl Health ===

impl Health {
    fn fails(&mut self) {
        if !std::mem::replace(&mut self.is_failing, true) {
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            self.failing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.works();
    }
}

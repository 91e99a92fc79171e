//! The one loop that owns all connections to other members: it looks for them, dials, listens, carries frames, and says
//! when this member is ready.
//!
//! Strangers are bounded: so many handshakes at once, of which the oldest makes room, each with a short deadline, and a
//! line in the log at most once a minute.
//! Never: ends before it is told to, decides what a frame means, or lets a client wait.

mod strangers;

use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::strangers::Strangers;
use super::config::Place;
use super::dialling::{Introduction, Met};
use super::handshake::{Answer, HandshakeError};
use super::link::{Connection, Ended};
use super::members::{Picture, Source};
use super::message::MemberId;
use super::network::{Network, Stream, Tcp};
use super::replication::Replication;
use super::replicator::Link;
use super::roster::{Admission, Missed};
use super::view::View;

/// A member's connections, not yet looked for.
#[must_use]
pub struct Mesh<N: Network = Tcp> {
    pub(super) introduction: Introduction<N>,
    pub(super) listener: N::Listener,
    pub(super) source: Box<dyn Source>,
    pub(super) replication: Arc<Replication>,
    pub(super) view: Arc<View>,
    pub(super) sync_timeout: Duration,
    pub(super) answering: CancellationToken,
    pub(super) opened: CancellationToken,
    pub(super) left: CancellationToken,
}

/// The loop's state.
struct Weaving<N> {
    introduction: Introduction<N>,
    replication: Arc<Replication>,
    view: Arc<View>,
    sync_timeout: Duration,
    opened: CancellationToken,
    begun: Instant,
    strangers: Strangers,
    dials: FuturesUnordered<BoxFuture<'static, (Place, Result<Met, HandshakeError>)>>,
    heard: FuturesUnordered<Abortable<BoxFuture<'static, Heard>>>,
    half_open: VecDeque<(SocketAddr, AbortHandle)>,
    links: FuturesUnordered<BoxFuture<'static, (Link, MemberId, Ended)>>,
}

type Heard = (SocketAddr, Result<Met, HandshakeError>);

/// Handshakes of those who dialled, at once.
const HALF_OPEN_MAX: usize = 32;
/// Pause after `accept` found no descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// How often health is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A member that does not answer is not waited for beyond this.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// How long clients wait for a member that has just started, rather than being told to come again.
const MOMENT: Duration = Duration::from_secs(1);
/// How long a connection stays that is not to be used, while the other end may still use it: it has not heard yet that
/// another one is wanted, and would take this member for lost.
const GRACE: Duration = Duration::from_secs(1);
/// For what waits to go when this member ends.
const FAREWELL: Duration = Duration::from_secs(5);

// === impl Mesh ===

impl<N: Network> Mesh<N> {
    /// Cancelled when clients are to be answered: this member has caught up, or it takes longer than a moment, and they
    /// are to be told so.
    #[must_use]
    pub fn answering(&self) -> CancellationToken {
        self.answering.clone()
    }

    /// Cancelled when this member has caught up, or has waited for that long enough.
    #[must_use]
    pub fn opened(&self) -> CancellationToken {
        self.opened.clone()
    }

    /// Cancelled when the others were told that this member leaves.
    #[must_use]
    pub fn left(&self) -> CancellationToken {
        self.left.clone()
    }

    /// Takes part until `leave`, from when on nobody new is met; ends at `shutdown`, when what waits was sent.
    pub async fn run(self, leave: CancellationToken, shutdown: CancellationToken) {
        let Self { introduction, listener, source, replication, view, sync_timeout, answering, opened, left } =
            self;
        let (pictures, mut picture) = watch::channel(Picture::default());
        picture.mark_unchanged();
        let mut following = std::pin::pin!(follow(source, pictures, leave.clone()));
        let mut has_left = false;
        let mut weaving = Weaving::new(introduction, replication.clone(), view, sync_timeout, opened);
        let mut listener = Some(listener);
        let mut resume = None;
        let mut look = Instant::now();
        while !shutdown.is_cancelled() {
            let news = replication.news();
            weaving.open_when_settled();
            if weaving.opened.is_cancelled() || MOMENT <= weaving.begun.elapsed() {
                answering.cancel();
            }
            weaving.dial_due();
            let wake = weaving.view.roster.lock().wake_at().map_or(look, |at| at.min(look));
            // Each turn lets other tasks run when it is time, so that what is always ready keeps nobody out.
            tokio::task::consume_budget().await;
            let taking = unconstrained(accept(&weaving.introduction.network, listener.as_ref(), resume));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = &mut following, if !has_left => {
                    has_left = true;
                    listener = None;
                    weaving.leave();
                    left.cancel();
                }
                Ok(()) = picture.changed(), if !has_left => {
                    let seen = picture.borrow_and_update().clone();
                    weaving.sighted(&seen);
                }
                () = sleep_until(wake) => {}
                Some((place, met)) = weaving.dials.next() => weaving.dialled(&place, met),
                Some(heard) = weaving.heard.next() => weaving.heard(heard),
                Some((link, peer, ended)) = weaving.links.next() => weaving.ended(link, &peer, &ended),
                // Those who knock keep no member waiting; nor do members that have much to say keep out who knocks.
                accepted = taking => resume = weaving.accepted(accepted),
                () = news, if !weaving.opened.is_cancelled() => {}
            }
            if look <= Instant::now() {
                look = Instant::now() + LOOK_EVERY;
                weaving.view.report();
            }
        }
        left.cancel();
        weaving.finish().await;
    }
}

impl<N: Network> std::fmt::Debug for Mesh<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("me", &self.introduction.me).finish_non_exhaustive()
    }
}

/// Hands on each picture, until told to leave; then takes this member out of it.
async fn follow(mut source: Box<dyn Source>, pictures: watch::Sender<Picture>, leave: CancellationToken) {
    while let Some(picture) = leave.run_until_cancelled(source.next()).await {
        pictures.send_replace(picture);
    }
    source.withdraw().await;
}

async fn accept<N: Network>(
    network: &N,
    listener: Option<&N::Listener>,
    resume: Option<Instant>,
) -> std::io::Result<(N::Stream, SocketAddr)> {
    if let Some(resume) = resume {
        sleep_until(resume).await;
    }
    match listener {
        Some(listener) => network.accept(listener).await,
        None => std::future::pending().await,
    }
}

// === impl Weaving ===

impl<N: Network> Weaving<N> {
    fn new(
        introduction: Introduction<N>,
        replication: Arc<Replication>,
        view: Arc<View>,
        sync_timeout: Duration,
        opened: CancellationToken,
    ) -> Self {
        Self {
            introduction,
            replication,
            strangers: Strangers::new(view.counts.clone()),
            view,
            sync_timeout,
            opened,
            begun: Instant::now(),
            dials: FuturesUnordered::new(),
            heard: FuturesUnordered::new(),
            half_open: VecDeque::new(),
            links: FuturesUnordered::new(),
        }
    }

    fn sighted(&self, picture: &Picture) {
        self.view.roster.lock().sighted(picture, Instant::now());
        *self.view.trouble.lock() = picture.trouble.clone();
    }

    fn dial_due(&self) {
        let due = self.view.roster.lock().due(Instant::now());
        let limit = self.sync_timeout.min(DIAL_MAX);
        for place in due {
            let dialling = self.introduction.clone().dial(place.clone(), limit);
            self.dials.push(Box::pin(async move { (place, dialling.await) }));
        }
    }

    fn dialled(&mut self, place: &Place, met: Result<Met, HandshakeError>) {
        let missed = match met {
            Ok(met) => {
                self.met(met, Some(place));
                return;
            }
            Err(HandshakeError::Oneself) => Missed::Own,
            Err(HandshakeError::Unwanted(peer)) => Missed::Unwanted(peer),
            Err(error) => Missed::Trouble(error.to_string()),
        };
        let now = Instant::now();
        // As good as random, and the same whenever the same has happened.
        let chance = BuildHasherDefault::<DefaultHasher>::default();
        let Introduction { me, incarnation, .. } = &self.introduction;
        let random = chance.hash_one((me, incarnation, place, now - self.begun));
        if self.view.roster.lock().missed(place, missed.clone(), now, random)
            && let Missed::Trouble(trouble) = missed
        {
            tracing::warn!(%place, trouble, "no member is reached at {place}: {trouble}; it is tried again");
        }
    }

    /// Takes a connection in, or says until when to pause.
    fn accepted(&mut self, accepted: std::io::Result<(impl Stream, SocketAddr)>) -> Option<Instant> {
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.strangers.shortage(&error);
                return Some(Instant::now() + SHORTAGE_PAUSE);
            }
        };
        if HALF_OPEN_MAX <= self.half_open.len()
            && let Some((oldest, handle)) = self.half_open.pop_front()
        {
            handle.abort();
            self.strangers.crowded_out(oldest);
        }
        let (handle, registration) = AbortHandle::new_pair();
        let hearing = self.introduction.clone().hear(stream);
        let hearing: BoxFuture<'static, Heard> = Box::pin(async move { (from, hearing.await) });
        self.heard.push(Abortable::new(hearing, registration));
        self.half_open.push_back((from, handle));
        None
    }

    fn heard(&mut self, heard: Result<Heard, Aborted>) {
        // Who was crowded out is no longer among them.
        let Ok((from, met)) = heard else { return };
        self.half_open.retain(|(address, _)| *address != from);
        match met {
            Ok(met) => self.met(met, None),
            // This member dialled itself, and knows at the other end.
            Err(HandshakeError::Oneself) => {}
            Err(error) => self.strangers.turned_away(from, &error),
        }
    }

    /// Begins to carry frames over a connection, unless there is a better one.
    fn met(&mut self, met: Met, at: Option<&Place>) {
        let Met { greeted, mut stream, answer } = met;
        let peer = greeted.peer.clone();
        let admission = self.view.roster.lock().admit(&greeted, at, Instant::now());
        let (linked, instead_of) = match admission {
            Admission::Wanted { linked, instead_of } => (linked, instead_of),
            Admission::Unwanted => {
                self.links.push(Box::pin(async move {
                    match answer {
                        Some(_) => {
                            // It is only a courtesy.
                            let _ = timeout(LOOK_EVERY, stream.write_all(&Answer::unwanted())).await;
                        }
                        None => sleep(GRACE).await,
                    }
                    (Link(0), peer, Ended::Cut)
                }));
                return;
            }
        };
        let is_news = instead_of.is_none();
        if let Some(before) = instead_of {
            self.replication.disconnected(before.link);
            let grace = if answer.is_some() { GRACE } else { Duration::ZERO };
            let (link, cut, peer) = (before.link, before.cut, peer.clone());
            self.links.push(Box::pin(async move {
                sleep(grace).await;
                cut.cancel();
                (link, peer, Ended::Cut)
            }));
        }
        self.replication.connected(linked.link, peer.clone());
        let connection = Connection {
            link: linked.link,
            stream,
            greeting: answer.map(Answer::welcome),
            traffic: linked.traffic,
            cut: linked.cut,
        };
        if is_news {
            tracing::info!(member = %peer.0, "member {} is connected", peer.0);
        }
        self.links.push(Box::pin(connection.carry(peer, self.replication.clone())));
        self.view.resized();
    }

    fn ended(&mut self, link: Link, peer: &MemberId, ended: &Ended) {
        let report = self.replication.report();
        let goodbye = report.links.iter().any(|it| it.link == link && it.is_draining);
        if !self.view.roster.lock().lost(peer, link, goodbye, Instant::now()) {
            return;
        }
        self.replication.disconnected(link);
        let id = &peer.0;
        if goodbye {
            tracing::info!(member = %id, "member {id} has left");
        } else {
            tracing::warn!(member = %id, error = %ended, "member {id} is lost: {ended}");
        }
        self.view.resized();
    }

    fn open_when_settled(&mut self) {
        if self.opened.is_cancelled() {
            return;
        }
        let is_settled = self.view.roster.lock().is_settled() && self.replication.is_caught_up();
        let waited = self.begun.elapsed();
        if !is_settled && waited < self.sync_timeout {
            return;
        }
        self.view.roster.lock().stop_waiting();
        self.replication.open();
        self.opened.cancel();
        self.view.ready();
        let size = self.view.roster.lock().size();
        match is_settled {
            true => {
                tracing::info!(size, "this member has what the others have; members, with this one: {size}")
            }
            false => tracing::warn!(
                size,
                "this member may lack what others have: it has waited for them for {:?}; members, with this one: {size}",
                self.sync_timeout
            ),
        }
        self.view.report();
    }

    fn leave(&self) {
        self.view.roster.lock().leave();
        self.replication.drain();
        tracing::info!("this member leaves the cluster");
    }

    /// Sends what waits, then ends every connection.
    async fn finish(mut self) {
        self.replication.flush();
        let linked: Vec<_> = self.view.roster.lock().linked().map(|(_, linked)| linked.cut.clone()).collect();
        for cut in linked {
            cut.cancel();
        }
        let ending = async { while self.links.next().await.is_some() {} };
        if timeout(FAREWELL, ending).await.is_err() {
            tracing::warn!("some members did not take what was left to send within {FAREWELL:?}");
        }
    }
}

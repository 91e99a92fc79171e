//! What a connection tells the watchdog, and what the watchdog tells the connection.
//!
//! Counters and flags only: a request costs a few relaxed stores and reads no clock. The watchdog compares two looks
//! and knows the time of its own.
//!
//! Never: sleeps, or decides that something took too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::metrics::ListenerMetrics;
use super::stall::Stall;

/// More answers than this on one connection, and those that ended are forgotten before the next look.
const FLOWS_KEPT: usize = 256;

/// The state of one connection that both sides see.
#[derive(Debug)]
pub(super) struct Pulse {
    handshaking: AtomicBool,
    http2: AtomicBool,
    closing: AtomicBool,
    begun: AtomicU32,
    in_flight: AtomicU32,
    uploads: AtomicU32,
    /// Whether the last request came with a body.
    had_body: AtomicBool,
    read: AtomicUsize,
    /// `read` when the last answer ended: more than that is the head of the next request.
    read_at_answer: AtomicUsize,
    written: AtomicUsize,
    blocked: AtomicBool,
    finish: AtomicBool,
    abort: AtomicBool,
    waker: AtomicWaker,
    flows: Mutex<Vec<(Arc<Flow>, Stall)>>,
    /// Here so that a request need not carry them.
    metrics: ListenerMetrics,
}

/// One HTTP/2 answer under way.
#[derive(Debug, Default)]
pub(super) struct Flow {
    yielded: AtomicUsize,
    /// Whether the client, not the handler, is waited for.
    blocked: AtomicBool,
}

/// One look at a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// The TLS handshake is not over.
    pub(super) handshaking: bool,
    /// The client speaks HTTP/2.
    pub(super) http2: bool,
    /// This side has begun to close.
    pub(super) closing: bool,
    /// Requests begun, modulo 2^32.
    pub(super) begun: u32,
    /// Requests begun whose answers have not ended.
    pub(super) in_flight: u32,
    /// Requests with a body that have no answer yet.
    pub(super) uploads: u32,
    /// Bytes came that belong to no request begun.
    pub(super) head_begun: bool,
    /// Bytes written, modulo the word size.
    pub(super) written: usize,
    /// The socket takes no more.
    pub(super) blocked: bool,
}

/// What a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Take no new request, finish what is under way, close.
    Finish,
    /// Close now.
    Abort,
}

/// One request under way; ends when dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    pulse: Arc<Pulse>,
    uploading: bool,
}

// === impl Pulse ===

impl Pulse {
    /// A connection that was just accepted.
    pub(super) fn new(tls: bool, metrics: ListenerMetrics) -> Self {
        Self {
            handshaking: AtomicBool::new(tls),
            http2: AtomicBool::default(),
            closing: AtomicBool::default(),
            begun: AtomicU32::default(),
            in_flight: AtomicU32::default(),
            uploads: AtomicU32::default(),
            had_body: AtomicBool::default(),
            read: AtomicUsize::default(),
            read_at_answer: AtomicUsize::default(),
            written: AtomicUsize::default(),
            blocked: AtomicBool::default(),
            finish: AtomicBool::default(),
            abort: AtomicBool::default(),
            waker: AtomicWaker::new(),
            flows: Mutex::default(),
            metrics,
        }
    }

    pub(super) fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    pub(super) fn handshaken(&self) {
        self.handshaking.store(false, Ordering::Relaxed);
    }

    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// Only the connection's own task reads and writes, so a load and a store make an addition.
    pub(super) fn has_read(&self, bytes: usize) {
        self.read.store(self.read.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }

    pub(super) fn has_written(&self, bytes: usize) {
        self.written.store(self.written.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// A request head is complete.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> InFlight {
        self.begun.store(self.begun.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.had_body.store(has_body, Ordering::Relaxed);
        if has_body {
            self.uploads.fetch_add(1, Ordering::Relaxed);
        }
        InFlight { pulse: self.clone(), uploading: has_body }
    }

    /// Follows an HTTP/2 answer until its `Flow` is dropped.
    pub(super) fn follow(&self) -> Option<Arc<Flow>> {
        self.http2.load(Ordering::Relaxed).then(|| {
            let flow = Arc::new(Flow::default());
            let mut flows = self.flows.lock();
            if FLOWS_KEPT <= flows.len() {
                flows.retain(|(flow, _)| Arc::strong_count(flow) != 1);
            }
            flows.push((flow.clone(), Stall::default()));
            flow
        })
    }

    /// Looks at each HTTP/2 answer under way.
    pub(super) fn for_each_flow(&self, mut look: impl FnMut(&Flow, &mut Stall)) {
        let mut flows = self.flows.lock();
        flows.retain_mut(|(flow, stall)| {
            let alive = Arc::strong_count(flow) != 1;
            if alive {
                look(flow, stall);
            }
            alive
        });
    }

    /// Whether the client may still be sending what nobody will read: closing at once would reset the connection and
    /// could take the answer from it. Not so when the watchdog ordered the end.
    pub(super) fn lingers(&self) -> bool {
        let ordered = self.finish.load(Ordering::Relaxed) || self.abort.load(Ordering::Relaxed);
        !ordered && (self.had_body.load(Ordering::Relaxed) || self.head_begun())
    }

    pub(super) fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn head_begun(&self) -> bool {
        self.read.load(Ordering::Relaxed) != self.read_at_answer.load(Ordering::Relaxed)
    }

    /// What to do now; the task is woken when that changes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Order {
        self.waker.register(cx.waker());
        match (self.abort.load(Ordering::Acquire), self.finish.load(Ordering::Acquire)) {
            (true, _) => Order::Abort,
            (false, true) => Order::Finish,
            (false, false) => Order::Serve,
        }
    }

    /// Orders the connection to take no new request.
    pub(super) fn finish(&self) {
        self.finish.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Orders the connection to close now.
    pub(super) fn abort(&self) {
        self.abort.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn sample(&self) -> Sample {
        Sample {
            handshaking: self.handshaking.load(Ordering::Relaxed),
            http2: self.http2.load(Ordering::Relaxed),
            closing: self.closing.load(Ordering::Relaxed) || self.finish.load(Ordering::Relaxed),
            begun: self.begun.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            uploads: self.uploads.load(Ordering::Relaxed),
            head_begun: self.head_begun(),
            written: self.written.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
        }
    }
}

// === impl Flow ===

impl Flow {
    /// The handler gave `bytes`; until it is asked again, the client is waited for.
    pub(super) fn has_yielded(&self, bytes: usize) {
        self.yielded.store(self.yielded.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
        self.blocked.store(true, Ordering::Relaxed);
    }

    /// The handler was asked and has nothing yet.
    pub(super) fn awaits_handler(&self) {
        self.blocked.store(false, Ordering::Relaxed);
    }

    pub(super) fn yielded(&self) -> usize {
        self.yielded.load(Ordering::Relaxed)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The head of the answer is there.
    pub(super) fn answered(&mut self) {
        if std::mem::take(&mut self.uploading) {
            self.pulse.uploads.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered();
        let read = self.pulse.read.load(Ordering::Relaxed);
        self.pulse.read_at_answer.store(read, Ordering::Relaxed);
        self.pulse.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

//! What a listener counts.
//!
//! Never: a label that a client chooses.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of connections; clones share them, so several listeners may be counted as one.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    /// Connections that are open now, handshakes included.
    pub open: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// TLS handshakes that failed; those that took too long are in `closed`.
    pub refused_handshakes: Counter,
    /// Connections closed by a limit or a panic, by reason.
    pub closed: Family<Closed, Counter>,
}

/// The label of a connection closed by this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Closed {
    /// Why it was closed.
    pub reason: Reason,
}

/// Why this side closed a connection, other than by finishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The TLS handshake took too long.
    Handshake,
    /// A request head, or the first request, took too long.
    HeadTimeout,
    /// A request with a body was not answered in time.
    BodyTimeout,
    /// Nothing was asked for too long.
    Idle,
    /// The client did not take its answer.
    WriteStall,
    /// A handler panicked; over HTTP/1 and HTTP/2 the client gets 500 when the answer has not begun.
    Panic,
}

// === impl ListenerMetrics ===

impl Default for ListenerMetrics {
    /// Every reason begins at zero, so that a rate exists before the first event.
    fn default() -> Self {
        let closed = Family::<Closed, Counter>::default();
        for reason in Reason::ALL {
            drop(closed.get_or_create(&Closed { reason }));
        }
        Self {
            open: Gauge::default(),
            accepted: Counter::default(),
            refused_handshakes: Counter::default(),
            closed,
        }
    }
}

impl ListenerMetrics {
    /// Adds these metrics to the exposition.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("a8_connections_open", "Connections that are open now", self.open.clone());
        registry.register("a8_connections_accepted", "Connections accepted", self.accepted.clone());
        registry.register(
            "a8_handshakes_refused",
            "TLS handshakes that failed",
            self.refused_handshakes.clone(),
        );
        registry.register(
            "a8_connections_closed",
            "Connections closed by a limit, and panics of handlers",
            self.closed.clone(),
        );
    }

    /// Counts one connection closed, or one panic.
    pub(super) fn closed(&self, reason: Reason) {
        self.closed.get_or_create(&Closed { reason }).inc();
    }
}

// === impl Reason ===

impl Reason {
    const ALL: [Self; 6] =
        [Self::Handshake, Self::HeadTimeout, Self::BodyTimeout, Self::Idle, Self::WriteStall, Self::Panic];

    /// The name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::Idle => "idle",
            Self::WriteStall => "write_stall",
            Self::Panic => "panic",
        }
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

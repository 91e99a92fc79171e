//! What operators see of peers as numbers.
//!
//! Never: has a label that is not a peer's place or one of a few fixed words.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{Peer, Peers};

/// What was done, by peer and by what came of it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    items: Family<Labels, Counter>,
    batches: Family<Labels, Counter>,
    synced: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    peer: String,
    result: &'static str,
}

/// What became of a write for a peer.
#[derive(Debug, Clone, Copy)]
pub(super) enum ItemResult {
    /// The peer took it.
    Sent,
    /// The peer has something newer, or not enough to go by; that is being mended.
    Conflict,
    /// The peer says that it breaks a rule.
    Invalid,
    /// The peer refused it otherwise.
    Refused,
    /// The peer refused its whole batch.
    Dropped,
    /// It had to make place in the queue.
    Overflown,
    /// It waited for too long.
    Expired,
    /// What it tells of is not here any more.
    Outdated,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum BatchResult {
    /// There is an answer for each item.
    Answered,
    /// The answer cannot be read.
    Unreadable,
    /// It was refused.
    Refused,
    /// The peer had too much to do; it is sent again.
    Busy,
    /// There was no answer in time; it is sent again.
    TimedOut,
    /// There was no connection; it is sent again.
    Unreachable,
}

/// What became of an instance that a peer told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intaken {
    /// It is registered here too.
    Registered,
    /// It is ours, or this server itself.
    Ours,
    /// It ended or changed here meanwhile.
    Outdated,
    /// It breaks a rule or a limit of ours.
    Invalid,
}

/// Shows how peers are now.
#[derive(Debug)]
struct Gauges(Arc<Peers>);

// === impl Counts ===

impl Counts {
    pub(super) fn items(&self, peer: &Peer, result: ItemResult, number: u64) {
        if number != 0 {
            let result = match result {
                ItemResult::Sent => "sent",
                ItemResult::Conflict => "conflict",
                ItemResult::Invalid => "invalid",
                ItemResult::Refused => "refused",
                ItemResult::Dropped => "dropped",
                ItemResult::Overflown => "overflown",
                ItemResult::Expired => "expired",
                ItemResult::Outdated => "outdated",
            };
            self.items.get_or_create(&labels(peer, result)).inc_by(number);
        }
    }

    pub(super) fn batch(&self, peer: &Peer, result: BatchResult) {
        let result = match result {
            BatchResult::Answered => "answered",
            BatchResult::Unreadable => "unreadable",
            BatchResult::Refused => "refused",
            BatchResult::Busy => "busy",
            BatchResult::TimedOut => "timed_out",
            BatchResult::Unreachable => "unreachable",
        };
        self.batches.get_or_create(&labels(peer, result)).inc();
    }

    pub(super) fn intaken(&self, peer: &Peer, result: Intaken) {
        let result = match result {
            Intaken::Registered => "registered",
            Intaken::Ours => "ours",
            Intaken::Outdated => "outdated",
            Intaken::Invalid => "invalid",
        };
        self.synced.get_or_create(&labels(peer, result)).inc();
    }
}

fn labels(peer: &Peer, result: &'static str) -> Labels {
    Labels { peer: peer.name.clone(), result }
}

// === impl Gauges ===

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = |name, help, value: &dyn Fn(&Peer) -> Option<f64>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for peer in &self.0.peers {
                if let Some(value) = value(peer) {
                    ConstGauge::new(value).encode(family.encode_family(&[("peer", peer.name.as_str())])?)?;
                }
            }
            Ok(())
        };
        family("a8_peer_up", "Whether the peer took what it was last sent", &|peer| {
            peer.standing.is_up().map(|is_up| f64::from(u8::from(is_up)))
        })?;
        family("a8_peer_queue_items", "Writes that wait for the peer", &|peer| {
            u32::try_from(peer.mailbox.len()).ok().map(f64::from)
        })?;
        family("a8_peer_queue_age_seconds", "How long the first of them has waited", &|peer| {
            Some(peer.mailbox.age(self.0.clock.now()).as_secs_f64())
        })?;
        let help = "When the peer last took something, in seconds since 1970";
        family("a8_peer_last_success_timestamp_seconds", help, &|peer| {
            let millis = peer.standing.last_success()?.as_millis();
            Some(std::time::Duration::from_millis(millis).as_secs_f64())
        })
    }
}

// === impl Peers ===

impl Peers {
    /// Adds the metrics of peers to what is shown.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut Registry) {
        let Counts { items, batches, synced } = self.counts.clone();
        registry.register("a8_peer_items", "Writes for peers, by what became of them", items);
        registry.register("a8_peer_batches", "Batches sent to peers, by what became of them", batches);
        registry.register(
            "a8_peer_instances",
            "Instances that peers told of, by what became of them",
            synced,
        );
        registry.register_collector(Box::new(Gauges(self.clone())));
    }
}

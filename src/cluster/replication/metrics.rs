//! What replication did to the directories, and what it keeps.
//!
//! Never: names an instance or a namespace.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Replication;
use crate::cluster::replicator::Report;

/// What other members told of, and was done here.
#[derive(Debug, Clone, Default)]
pub(super) struct Applied {
    pub(super) registrations: Counter,
    pub(super) removals: Counter,
    pub(super) renewals: Counter,
    pub(super) refusals: Counter,
}

/// Shows how a [`Replication`] stands.
#[derive(Debug)]
struct Standing(Arc<Replication>);

// === impl Replication ===

impl Replication {
    /// Adds what is counted here to what is shown; of the links only their number.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        let Applied { registrations, removals, renewals, refusals } = self.applied.clone();
        let help = "Registrations and changes by other members that were taken over";
        registry.register("a8_cluster_registrations", help, registrations);
        let help = "Deregistrations by other members that were taken over";
        registry.register("a8_cluster_deregistrations", help, removals);
        registry.register("a8_cluster_renewals", "Renewals by other members that were taken over", renewals);
        let help = "Registrations by other members for which there was no place";
        registry.register("a8_cluster_refusals", help, refusals);
        registry.register_collector(Box::new(Standing(self.clone())));
    }
}

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Report { alive, dead, digest: _, repairs, stamps_ahead, unreadable, too_large, has_twin, links } =
            self.0.report();
        let mut show = |name, help, number: u64| {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let help = "Instances kept although their lease ran out, because their member cannot be reached";
        show("a8_cluster_held_instances", help, size(self.0.held()))?;
        show("a8_cluster_instances", "Instances that are replicated", size(alive))?;
        show("a8_cluster_tombstones", "Deregistrations that are remembered", size(dead))?;
        show("a8_cluster_links", "Members that are connected", size(links.len()))?;
        let help = "Differences between members that digests found and that were mended, since the start";
        show("a8_cluster_repairs", help, repairs)?;
        let help = "Writes stamped more than a minute ahead of this member's clock, since the start";
        show("a8_cluster_stamps_ahead", help, stamps_ahead)?;
        let help = "Records of other members that this version cannot read, since the start";
        show("a8_cluster_unreadable_records", help, unreadable)?;
        let help = "Instances that were not told because they are too large for a frame, since the start";
        show("a8_cluster_untold_instances", help, too_large)?;
        let help = "Whether another member was seen in the last half minute that has this one's name";
        show("a8_cluster_twin", help, u64::from(has_twin))
    }
}

//! What operators see of the cluster as numbers.
//!
//! Never: has a label that is not a member's name or one of a few fixed words.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::link::Traffic;
use super::replicator::{LinkReport, Report};
use super::roster::Shown;
use super::view::View;

/// What was counted by the way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    turned_away: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Why somebody who knocked was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// It speaks something else.
    Stranger,
    /// It did not say who it is in time.
    Slow,
    /// It went away.
    Broken,
    /// There were too many.
    Crowded,
    /// It has another secret.
    Secret,
    /// There is no version that both speak.
    Version,
    /// It has this member's name.
    SameName,
}

/// Shows how everything is now.
#[derive(Debug)]
struct Gauges(Arc<View>);

// === impl Counts ===

impl Counts {
    pub(super) fn turned_away(&self, why: TurnedAway) {
        let reason = match why {
            TurnedAway::Stranger => "stranger",
            TurnedAway::Slow => "slow",
            TurnedAway::Broken => "broken",
            TurnedAway::Crowded => "crowded",
            TurnedAway::Secret => "secret",
            TurnedAway::Version => "version",
            TurnedAway::SameName => "same_name",
        };
        self.turned_away.get_or_create(&Reason { reason }).inc();
    }
}

// === impl Gauges ===

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (size, members) = {
            let roster = self.0.roster.lock();
            (roster.size(), roster.shown())
        };
        let report = self.0.replication.report();
        let size = ConstGauge::new(u32::try_from(size).map_or(f64::INFINITY, f64::from));
        let help = "Members that are connected, and this one";
        size.encode(encoder.encode_descriptor("a8_cluster_size", help, None, MetricType::Gauge)?)?;
        links(&mut encoder, &members, &report)
    }
}

fn links(encoder: &mut DescriptorEncoder<'_>, members: &[Shown], report: &Report) -> Result<(), fmt::Error> {
    type Value<'a> = &'a dyn Fn(&Shown, Option<&LinkReport>) -> Option<f64>;
    let mut family = |name, help, value: Value<'_>| {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for member in members {
            let Some(id) = &member.id else { continue };
            let link = member.linked.as_ref().map(|linked| linked.link);
            let link = report.links.iter().find(|it| Some(it.link) == link);
            if let Some(value) = value(member, link) {
                ConstGauge::new(value).encode(family.encode_family(&[("member", &*id.0)])?)?;
            }
        }
        Ok(())
    };
    family("a8_cluster_link_up", "Whether the member is connected", &|member, _| {
        Some(f64::from(u8::from(member.linked.is_some())))
    })?;
    family("a8_cluster_link_behind_entries", "Entries that the member was not sent yet", &|_, link| {
        u32::try_from(link?.behind).ok().map(f64::from)
    })?;
    family("a8_cluster_link_agrees", "Whether both had the same at the last comparison", &|_, link| {
        Some(f64::from(u8::from(link?.agrees?)))
    })?;
    family("a8_cluster_link_round_trip_seconds", "Time for a ping and its answer", &|_, link| {
        let millis = link?.round_trip?;
        Some(std::time::Duration::from_millis(millis).as_secs_f64())
    })?;
    type Count = fn(&Traffic) -> (u64, u64);
    let frames: Count = |it| (it.frames_in.load(Ordering::Relaxed), it.frames_out.load(Ordering::Relaxed));
    let bytes: Count = |it| (it.bytes_in.load(Ordering::Relaxed), it.bytes_out.load(Ordering::Relaxed));
    for (name, help, count) in [
        ("a8_cluster_link_frames", "Frames of the present connection", frames),
        ("a8_cluster_link_bytes", "Bytes of frames of the present connection", bytes),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for member in members {
            let (Some(id), Some(linked)) = (&member.id, &member.linked) else { continue };
            let (received, sent) = count(&linked.traffic);
            for (direction, count) in [("in", received), ("out", sent)] {
                let labels = [("member", &*id.0), ("direction", direction)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

// === impl View ===

impl View {
    /// Adds the metrics of the cluster to what is shown.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut Registry) {
        registry.register(
            "a8_cluster_turned_away",
            "Connections of those who are no members, by reason",
            self.counts.turned_away.clone(),
        );
        registry.register_collector(Box::new(Gauges(self.clone())));
    }
}

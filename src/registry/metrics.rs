//! How much the registry holds, counted when somebody looks.
//!
//! Never: costs anything in between.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Registry;
use crate::directory::Preservation;

/// A view of what a registry holds.
#[derive(Debug)]
pub struct RegistryMetrics {
    registry: Registry,
    view: View,
}

#[derive(Debug, Clone, Copy)]
enum View {
    Totals,
    ByNamespace,
}

/// Namespaces that are shown by name, those with the most instances.
const NAMED: usize = 100;

// === impl RegistryMetrics ===

impl RegistryMetrics {
    /// Sums over all namespaces, which anybody may see.
    #[must_use]
    pub fn totals(registry: Registry) -> Self {
        Self { registry, view: View::Totals }
    }

    /// The largest namespaces by name, which only operators may see.
    #[must_use]
    pub fn by_namespace(registry: Registry) -> Self {
        Self { registry, view: View::ByNamespace }
    }
}

impl Collector for RegistryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name, help, number: usize| {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(metric)
        };
        match self.view {
            View::Totals => {
                let census = self.registry.census(0);
                gauge("a8_instances", "Instances of all namespaces", census.instances)?;
                gauge("a8_namespaces", "Namespaces that hold something", census.namespaces)?;
                let help = "Instances that are OUT_OF_SERVICE, of all namespaces";
                gauge("a8_out_of_service_instances", help, census.out_of_service)?;
                let help = "Namespaces that keep instances whose leases ran out (self-preservation)";
                gauge("a8_self_preserving_namespaces", help, census.preserving)
            }
            View::ByNamespace => {
                let largest = self.registry.census(NAMED).largest;
                let counted = largest.into_iter().map(|(namespace, instances)| {
                    let preservation = self.registry.directory(&namespace).preservation();
                    (namespace, u64::try_from(instances).unwrap_or(u64::MAX), preservation)
                });
                let counted: Vec<_> = counted.collect();
                let mut family = |name, help, of: fn(u64, Preservation) -> u64| {
                    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    for (namespace, instances, preservation) in &counted {
                        let number = of(*instances, *preservation);
                        let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
                        gauge.encode(family.encode_family(&[("namespace", namespace.as_str())])?)?;
                    }
                    Ok(())
                };
                let help = "Instances of the namespaces with the most";
                family("a8_namespace_instances", help, |instances, _| instances)?;
                let help = "Renewals in the last full minute";
                family("a8_namespace_renewals_last_minute", help, |_, it| it.renewals)?;
                let help =
                    "Renewals a minute that must be exceeded for leases to end under self-preservation";
                family("a8_namespace_renewals_threshold", help, |_, it| it.threshold)?;
                let help = "Whether the namespace keeps instances whose leases ran out (1) or not (0)";
                family("a8_namespace_self_preservation", help, |_, it| it.is_preserving.into())
            }
        }
    }
}

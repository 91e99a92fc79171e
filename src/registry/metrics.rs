//! How much the registry holds, counted when somebody looks.
//!
//! Never: costs anything in between.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Registry;

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
                gauge("a8_namespaces", "Namespaces that hold something", census.namespaces)
            }
            View::ByNamespace => {
                let help = "Instances of the namespaces with the most";
                let name = "a8_namespace_instances";
                let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                for (namespace, instances) in self.registry.census(NAMED).largest {
                    let gauge = ConstGauge::new(i64::try_from(instances).unwrap_or(i64::MAX));
                    gauge.encode(family.encode_family(&[("namespace", namespace.as_str())])?)?;
                }
                Ok(())
            }
        }
    }
}

//! How catalogs stand, as metrics and for health.
//!
//! Never: a label that a client chose, or a name from a foreign system.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Map, Value};

use super::{Catalogs, Standing, State};
use crate::model::{CatalogName, Moment};
use crate::telemetry::Component;

/// Shows how the catalogs that are on stand.
#[derive(Debug)]
pub struct CatalogMetrics(pub Catalogs);

impl Collector for CatalogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.now();
        let standings: Vec<_> = self.0.on().map(|name| (name, self.0.standing(name))).collect();
        let mut gauge = |name, help, value: &dyn Fn(&Standing) -> Option<f64>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (catalog, standing) in &standings {
                if let Some(value) = value(standing) {
                    let labels = [("catalog", catalog.as_str())];
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
            Ok(())
        };
        gauge("a8_catalog_up", "Whether the catalog is followed", &|standing| {
            Some(f64::from(u8::from(standing.state(now) == State::Current)))
        })?;
        gauge(
            "a8_catalog_age_seconds",
            "How long ago what is shown of it was known to be so",
            &|standing| standing.current_at.map(|at| now.since(at).as_secs_f64()),
        )?;
        gauge("a8_catalog_instances", "Instances that it has", &|standing| count(standing.instances))?;
        let help = "Instances that it has beyond its bound";
        gauge("a8_catalog_left_out_instances", help, &|standing| count(standing.left_out))?;
        let mut counter = |name, help, value: &dyn Fn(&Standing) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (catalog, standing) in &standings {
                let labels = [("catalog", catalog.as_str())];
                ConstCounter::new(value(standing)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        counter("a8_catalog_failures", "Times that it could not be followed", &|standing| standing.failures)?;
        let help = "Things in it that cannot be shown here and were left out";
        counter("a8_catalog_skipped", help, &|standing| standing.skipped)
    }
}

fn count(number: usize) -> Option<f64> {
    u32::try_from(number).ok().map(f64::from)
}

/// What health says of a catalog.
pub(super) fn component(standing: &Standing, now: Moment) -> Component {
    let Standing { current_at, error, instances, left_out, skipped, failures } = standing;
    let mut properties = Map::new();
    let mut say = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    say("state", standing.state(now).as_str().into());
    if let Some(at) = current_at {
        say("age_seconds", now.since(*at).as_secs().into());
    }
    say("instances", (*instances).into());
    say("left_out", (*left_out).into());
    say("skipped", (*skipped).into());
    say("failures", (*failures).into());
    if let Some(error) = error {
        say("last_error", error.as_str().into());
    }
    Component { healthy: error.is_none(), properties }
}

/// Its name among the components of health.
pub(super) fn component_name(name: CatalogName) -> &'static str {
    match name {
        CatalogName::Kubernetes => "CATALOG_KUBERNETES",
        CatalogName::Eureka => "CATALOG_EUREKA",
        CatalogName::Filesystem => "CATALOG_FILESYSTEM",
        CatalogName::Consul => "CATALOG_CONSUL",
        CatalogName::Swarm => "CATALOG_SWARM",
    }
}

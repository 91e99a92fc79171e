//! All metrics of the process as one text.
//!
//! Components register what they measure once, when the daemon is put together.
//! Never: measures anything itself, or decides who may read.

use std::fmt::{self, Write};

use prometheus_client::encoding::text;
use prometheus_client::registry;

/// The metrics of the process and the texts they are read as.
#[derive(Debug, Default)]
pub struct Exposition {
    registry: registry::Registry,
}

/// The two forms in which scrapers read metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, for readers that ask for nothing else.
    Prometheus,
}

// === impl Exposition ===

impl Exposition {
    /// Where components register their metrics; names begin with `a8_`.
    pub fn registry_mut(&mut self) -> &mut registry::Registry {
        &mut self.registry
    }

    /// All metrics as they are now.
    ///
    /// # Errors
    /// When a collector fails; none of ours does.
    pub fn encode(&self, dialect: Dialect) -> Result<String, fmt::Error> {
        let mut open_metrics = String::with_capacity(16 * 1024);
        text::encode(&mut open_metrics, &self.registry)?;
        match dialect {
            Dialect::OpenMetrics => Ok(open_metrics),
            Dialect::Prometheus => prometheus(&open_metrics),
        }
    }
}

// === impl Dialect ===

impl Dialect {
    /// The form that fits an `Accept` header; readers that say nothing get the older one.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of the text.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The same samples under the older format's headings: there the name of a counter has its suffix,
/// and units and the end mark are unknown.
fn prometheus(open_metrics: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(out, "{line}")?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    fn exposition() -> Exposition {
        let mut exposition = Exposition::default();
        let registry = exposition.registry_mut();
        registry.register("a8_renewals", "Leases begun anew", Counter::<u64>::default());
        registry.register_with_unit("a8_age", "Age", Unit::Seconds, Gauge::<i64>::default());
        registry.register("a8_build", "Build", Info::new([("version", "1\"\n")]));
        exposition
    }

    #[test]
    fn open_metrics_are_the_librarys() {
        let text = exposition().encode(Dialect::OpenMetrics).unwrap();
        assert!(text.contains("# TYPE a8_renewals counter\na8_renewals_total 0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_older_format_has_its_own_headings() {
        assert_eq!(
            exposition().encode(Dialect::Prometheus).unwrap(),
            "# HELP a8_renewals_total Leases begun anew.\n\
             # TYPE a8_renewals_total counter\n\
             a8_renewals_total 0\n\
             # HELP a8_age_seconds Age.\n\
             # TYPE a8_age_seconds gauge\n\
             a8_age_seconds 0\n\
             # HELP a8_build_info Build.\n\
             # TYPE a8_build_info gauge\n\
             a8_build_info{version=\"1\\\"\\n\"} 1\n"
        );
    }

    #[test]
    fn scrapers_choose_by_accept() {
        for (accept, want) in [
            (None, Dialect::Prometheus),
            (Some("*/*"), Dialect::Prometheus),
            (Some("text/plain;version=0.0.4"), Dialect::Prometheus),
            (Some("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5"), Dialect::OpenMetrics),
        ] {
            assert_eq!(Dialect::accepted(accept), want, "{accept:?}");
        }
    }
}

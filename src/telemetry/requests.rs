//! Counts requests by route and status, and how long they took.
//!
//! A request costs two additions on one cache line; sums and labels are made when somebody asks.
//! Never: allocates or locks while counting, or knows what a route means.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

/// Upper ends of the buckets in nanoseconds; one bucket without an end follows.
const BOUNDS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Label of each status class; the first is for what is no HTTP status.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters of all routes; cheap to clone, clones count together.
#[derive(Clone)]
pub struct RequestMetrics(Arc<[Route]>);

struct Route {
    pattern: &'static str,
    cells: [[Cell; BUCKETS]; CLASSES.len()],
}

/// Requests of one route, class and bucket. The two numbers lie side by side, so that processors
/// that count at once pass one cache line to and fro, not two.
#[derive(Default)]
struct Cell {
    requests: AtomicU64,
    nanos: AtomicU64,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Counters for these route patterns, all zero. A route's number is its place in `routes`.
    #[must_use]
    pub fn new(routes: &'static [&'static str]) -> Self {
        Self(routes.iter().map(|pattern| Route::new(pattern)).collect())
    }

    /// Counts one answered request. A `route` that was not in `routes` is not counted.
    pub fn observe(&self, route: usize, status: u16, elapsed: Duration) {
        let Some(route) = self.0.get(route) else { return };
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let class = match usize::from(status / 100) {
            class @ 1..=5 => class,
            _ => 0,
        };
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
        let cell = &route.cells[class][bucket];
        cell.requests.fetch_add(1, Ordering::Relaxed);
        cell.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "a8_http_requests",
            "Requests answered, by route and class of status",
            None,
            MetricType::Counter,
        )?;
        for route in self.0.iter() {
            for (cells, code) in route.cells.iter().zip(CLASSES) {
                let requests: u64 = cells.iter().map(Cell::requests).sum();
                if 0 < requests {
                    let labels = [("route", route.pattern), ("code", code)];
                    metric
                        .encode_family(&labels)?
                        .encode_counter(&requests, None::<&Exemplar<[(&str, &str); 0], u64>>)?;
                }
            }
        }
        Ok(())
    }

    fn encode_histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "a8_http_request_duration",
            "Time from the head of a request to the head of its answer, by route",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for route in self.0.iter() {
            let buckets = route.buckets();
            let requests = buckets.iter().map(|(_, requests)| requests).sum();
            if 0 < requests {
                let labels = [("route", route.pattern)];
                metric.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(
                    route.elapsed().as_secs_f64(),
                    requests,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|route| route.pattern)).finish()
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_counters(&mut encoder)?;
        self.encode_histograms(&mut encoder)
    }
}

// === impl Route ===

impl Route {
    fn new(pattern: &'static str) -> Self {
        Self { pattern, cells: array::from_fn(|_| array::from_fn(|_| Cell::default())) }
    }

    /// Upper end in seconds and requests of each bucket, all classes together.
    fn buckets(&self) -> [(f64, u64); BUCKETS] {
        array::from_fn(|bucket| {
            let end = BOUNDS.get(bucket).map_or(f64::INFINITY, |b| Duration::from_nanos(*b).as_secs_f64());
            (end, self.cells.iter().map(|cells| cells[bucket].requests()).sum())
        })
    }

    fn elapsed(&self) -> Duration {
        let cells = self.cells.iter().flatten();
        Duration::from_nanos(cells.map(|cell| cell.nanos.load(Ordering::Relaxed)).sum())
    }
}

// === impl Cell ===

impl Cell {
    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Dialect, Exposition};

    fn exported(metrics: &RequestMetrics) -> String {
        let mut exposition = Exposition::default();
        exposition.registry_mut().register_collector(Box::new(metrics.clone()));
        exposition.encode(Dialect::OpenMetrics).unwrap()
    }

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let metrics = RequestMetrics::new(&["/a/{id}", "/b", "/unused"]);
        for (route, status) in [(0, 200), (0, 204), (0, 410), (1, 503), (1, 0), (1, 999), (7, 200)] {
            metrics.observe(route, status, Duration::from_micros(60));
        }
        let text = exported(&metrics);
        for line in [
            r#"a8_http_requests_total{route="/a/{id}",code="2xx"} 2"#,
            r#"a8_http_requests_total{route="/a/{id}",code="4xx"} 1"#,
            r#"a8_http_requests_total{route="/b",code="5xx"} 1"#,
            r#"a8_http_requests_total{route="/b",code="other"} 2"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(!text.contains("/unused"), "{text}");
    }

    #[test]
    fn durations_fall_into_cumulative_buckets() {
        let metrics = RequestMetrics::new(&["/a"]);
        for millis in [0, 1, 250, 20_000] {
            metrics.observe(0, 200, Duration::from_millis(millis));
        }
        let text = exported(&metrics);
        for line in [
            "# TYPE a8_http_request_duration_seconds histogram",
            r#"a8_http_request_duration_seconds_bucket{le="0.00005",route="/a"} 1"#,
            r#"a8_http_request_duration_seconds_bucket{le="0.0005",route="/a"} 1"#,
            r#"a8_http_request_duration_seconds_bucket{le="0.001",route="/a"} 2"#,
            r#"a8_http_request_duration_seconds_bucket{le="0.25",route="/a"} 3"#,
            r#"a8_http_request_duration_seconds_bucket{le="10.0",route="/a"} 3"#,
            r#"a8_http_request_duration_seconds_bucket{le="+Inf",route="/a"} 4"#,
            r#"a8_http_request_duration_seconds_count{route="/a"} 4"#,
            r#"a8_http_request_duration_seconds_sum{route="/a"} 20.251"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn threads_count_together() {
        let metrics = RequestMetrics::new(&["/a"]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| metrics.observe(0, 200, Duration::ZERO)));
            }
        });
        assert!(exported(&metrics).contains("a8_http_requests_total{route=\"/a\",code=\"2xx\"} 4000"));
    }
}

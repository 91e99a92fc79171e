//! What the store in Redis measures.
//!
//! Never: decides anything.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// What the store in Redis measures. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    connected: Gauge,
    age: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// Times that a bucket was read as a whole.
    pub(super) reloads: Counter,
    /// Times that the connection was lost.
    pub(super) outages: Counter,
    errors: Family<Code, Counter>,
    /// Renewals that were asked for.
    pub(super) renewals: Counter,
    /// Scripts that they were asked for by.
    pub(super) renewal_calls: Counter,
    round_trips: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

const BUCKETS: [f64; 10] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];

// === impl RedisMetrics ===

impl Default for RedisMetrics {
    fn default() -> Self {
        Self {
            connected: Gauge::default(),
            age: Gauge::default(),
            reloads: Counter::default(),
            outages: Counter::default(),
            errors: Family::default(),
            renewals: Counter::default(),
            renewal_calls: Counter::default(),
            round_trips: Histogram::new(BUCKETS),
        }
    }
}

impl RedisMetrics {
    /// Adds these metrics to what is shown.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        let Self { connected, age, reloads, outages, errors, renewals, renewal_calls, round_trips } =
            self.clone();
        registry.register("a8_redis_connected", "Whether Redis answers (1) or not (0)", connected);
        let help = "How long ago the mirror of Redis was known to be complete";
        registry.register("a8_redis_mirror_age_seconds", help, age);
        let help = "Times that one of 64 parts of the mirror was read as a whole";
        registry.register("a8_redis_reloads", help, reloads);
        registry.register("a8_redis_outages", "Times that Redis was lost", outages);
        registry.register("a8_redis_errors", "Calls that Redis refused, by its code", errors);
        registry.register("a8_redis_renewals", "Renewals sent to Redis", renewals);
        let help =
            "Calls that renewals were sent by; renewals for each call is how well they are put together";
        registry.register("a8_redis_renewal_calls", help, renewal_calls);
        let help = "Time from a call of Redis to its answer";
        registry.register("a8_redis_round_trip_seconds", help, round_trips);
    }

    pub(super) fn is_connected(&self, connected: bool) {
        self.connected.set(connected.into());
    }

    pub(super) fn mirror_age(&self, age: Duration) {
        self.age.set(age.as_secs_f64());
    }

    pub(super) fn refused(&self, code: &str) {
        // The codes are Redis' own words; whatever else comes is one more.
        let is_word = code.len() <= 20 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_word { code } else { "OTHER" }.to_owned();
        self.errors.get_or_create(&Code { code }).inc();
    }

    pub(super) fn answered(&self, after: Duration) {
        self.round_trips.observe(after.as_secs_f64());
    }
}

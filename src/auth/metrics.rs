//! What authentication counts.
//!
//! Never: has a label that a client can choose.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::AuthError;
use super::refusal::Refusal;

/// Counters of authentication; all of them only rise.
#[derive(Debug, Default)]
pub struct AuthMetrics {
    /// Signed tokens that were found among the verified ones.
    pub cache_hits: Counter,
    /// Signed tokens (or what came in place of one) that had to be looked at.
    pub cache_misses: Counter,
    /// Requests that got no namespace, by a class of reasons.
    pub refusals: Family<[(&'static str, &'static str); 1], Counter>,
    /// Changed key files that were taken over.
    pub reloads: Counter,
    /// Changed key files that could not be used; the old keys stayed.
    pub reloads_failed: Counter,
}

// === impl AuthMetrics ===

impl AuthMetrics {
    /// Puts the counters into an exposition, under names that begin with `auth_`.
    pub fn register(&self, registry: &mut Registry) {
        let Self { cache_hits, cache_misses, refusals, reloads, reloads_failed } = self;
        let registry = registry.sub_registry_with_prefix("a8_auth");
        registry.register(
            "token_cache_hits",
            "Signed tokens found among the verified ones",
            cache_hits.clone(),
        );
        registry.register(
            "token_cache_misses",
            "Signed tokens that had to be verified",
            cache_misses.clone(),
        );
        registry.register("refusals", "Requests that got no namespace, by reason", refusals.clone());
        registry.register("key_reloads", "Changed key files taken over", reloads.clone());
        registry.register(
            "key_reloads_failed",
            "Changed key files that could not be used",
            reloads_failed.clone(),
        );
    }

    /// Counts a request that got no namespace.
    pub(super) fn refused(&self, error: &AuthError) {
        self.refusals.get_or_create(&[("reason", Refusal::class_of(error))]).inc();
    }
}

//! What changed lately, kept encoded for Eureka's readers.
//!
//! Never: a change that is not in the log any more.

/// Deltas, kept between readers.
#[derive(Debug, Default)]
pub(super) struct DeltaCache {}

impl DeltaCache {
    pub(super) fn forget(&self) {}
}

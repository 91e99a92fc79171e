//! stub
pub mod changes;
pub mod listing;
pub mod select;

use crate::model::Clock;
use bytes::Bytes;
pub use changes::Tag;
pub use listing::{Encoding, Frames, Listing};
pub use select::{Field, Fields, Selector, Shown};
use std::sync::Arc;

/// All instances of one namespace.
#[derive(Debug)]
pub struct Directory {}

impl Directory {
    /// An empty directory that never changes.
    pub fn vacant(_clock: Arc<Clock>) -> Self {
        Self {}
    }
    /// Where the directory stands now: epoch and revision. Take it before reading, so a concurrent change costs one more 200.
    pub fn tag(&self) -> Tag {
        unimplemented!()
    }
    /// The instances that fit, in order of service and id.
    pub fn select(&self, _selector: &Selector) -> Listing {
        unimplemented!()
    }
    /// One living instance (judged by its deadline now) as its JSON object, `last_heartbeat` exact.
    pub fn get_json(&self, _id: &str) -> Option<Bytes> {
        unimplemented!()
    }
    /// A JSON array of the names of all services that have an instance.
    pub fn service_names(&self) -> Bytes {
        unimplemented!()
    }
    /// Number of living instances.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
}

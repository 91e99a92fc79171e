//! The vocabulary of the registry: what a namespace, an instance and a lease are.
//!
//! Values of these types are valid by construction: text is parsed once, at the edge, and an
//! [`Invalid`] names the field, what came and what was wanted.
//! Never: JSON keys, status codes, clocks read on their own, or knowledge of any other module.

mod document;
mod foreign;
mod instance;
mod invalid;
mod lease;
mod metadata;
mod name;
mod secret;
mod succession;

pub(crate) use document::ALLOCATION;
pub use document::{DataCenter, Document, Port};
pub use foreign::{CatalogName, Foreign};
pub use instance::{Action, Endpoint, EndpointType, EurekaClaim, Instance, Registration, Status};
pub use invalid::Invalid;
pub use lease::{Clock, Moment, Rfc3339, Timestamp, TtlLimits};
pub use metadata::{METADATA_DEPTH_MAX, Metadata};
pub use name::{InstanceId, Namespace, ServiceName};
pub use secret::Secret;
pub use succession::{Heard, Origin, Update};

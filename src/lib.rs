//! a8registry: a multi-tenant, highly available service registry.
pub mod auth;
pub mod directory;
pub mod model;
pub mod registry;
pub mod store;
pub mod telemetry;

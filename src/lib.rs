//! a8registry: a multi-tenant, highly available service registry.
pub mod auth;
pub mod config;
pub mod directory;
pub mod healthcheck;
pub mod model;
pub mod registry;
pub mod store;
pub mod telemetry;

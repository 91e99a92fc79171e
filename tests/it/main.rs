//! Behaviour seen from outside, chapter by chapter.
//!
//! Never: looks inside a module; what is tested here goes through a public door.

mod amalgam8;
mod catalog_consul;
mod catalog_eureka;
mod catalog_filesystem;
mod catalog_kubernetes;
mod catalog_swarm;
mod catalogs;
mod cluster;
mod cluster_simulation;
mod cluster_turmoil;
mod dashboard;
mod eureka;
mod eureka_fold;
mod hostile;
mod leases;
mod limits;
mod peers;
mod process;
mod readme;
mod redis;
mod store_model;
mod store_races;
mod support;
mod swagger;
mod tenancy;
mod tidy;
mod transport;

//! The Eureka API from outside: each case of the conformance checklist has a test with its number.
//!
//! Not here: cases 100 and 102 to 109 talk to real servers and clients, which `make interop` does.
//! Never: looks at how a document is made, only at what is sent.

mod changes;
mod crossing;
mod delta;
mod expiry;
mod heartbeat;
mod model;
mod other;
mod reading;
mod registration;
mod replication;
mod roots;

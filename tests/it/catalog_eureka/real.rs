//! The suite that all catalogs play, with a real Eureka server at `A8_TEST_EUREKA`, a URL without a path, whose API is
//! below `/eureka` and which has no instances.
//!
//! Never: leaves an instance there, unless it fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::json;

use super::{flags_at, listed, said_of};
use crate::catalogs::{Behind, Length, System, keep_the_contract, survive_all_faults};
use crate::support::{Client, Far, real};

/// A server that somebody else has started.
struct RealServer {
    address: SocketAddr,
    /// What was registered, by application and address.
    has: BTreeSet<(String, String)>,
}

// === impl RealServer ===

impl RealServer {
    #[track_caller]
    fn given() -> Self {
        Self { address: real::address_in("A8_TEST_EUREKA"), has: BTreeSet::new() }
    }
}

impl System for RealServer {
    fn catalog(&self) -> &'static str {
        "eureka"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        flags_at(at)
    }

    fn far(&self) -> Far {
        Far::Tcp(self.address)
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let [gone, new] = real::exchange(&mut self.has, instances);
        let server = Client::new(self.address);
        for (app, at) in gone {
            server.delete(&format!("/eureka/apps/{app}/{app}-{at}")).ok();
        }
        for (app, at) in new {
            let mut instance = listed(&app, &at);
            // Nobody renews it.
            instance["leaseInfo"] = json!({"renewalIntervalInSecs": 30, "durationInSecs": 3600});
            let answer =
                server.send(&format!("POST /eureka/apps/{app}"), &json!({"instance": instance}).to_string());
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
    }
}

#[test]
#[ignore = "needs a real Eureka server: make interop"]
fn it_keeps_the_contract_of_catalogs() {
    keep_the_contract(&mut Behind::proxy(RealServer::given()));
}

#[test]
#[ignore = "needs a real Eureka server: make interop"]
fn it_survives_all_faults() {
    survive_all_faults(&mut RealServer::given(), said_of, Length::Long);
}

//! The suite that all catalogs play, with a real agent of Consul at `A8_TEST_CONSUL`, a URL, which is led and has no ACL.
//!
//! Never: leaves a service there, unless it fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::json;

use super::said_of;
use crate::catalogs::{Behind, Length, System, keep_the_contract, survive_all_faults};
use crate::support::{Client, Far, real};

/// An agent that somebody else has started.
struct RealAgent {
    address: SocketAddr,
    /// What was registered, by service and address.
    has: BTreeSet<(String, String)>,
}

// === impl RealAgent ===

impl RealAgent {
    #[track_caller]
    fn given() -> Self {
        Self { address: real::address_in("A8_TEST_CONSUL"), has: BTreeSet::new() }
    }
}

impl System for RealAgent {
    fn catalog(&self) -> &'static str {
        "consul"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--consul_url=http://{at}")]
    }

    fn far(&self) -> Far {
        Far::Tcp(self.address)
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let [gone, new] = real::exchange(&mut self.has, instances);
        let agent = Client::new(self.address);
        for (service, at) in gone {
            agent.put(&format!("/v1/agent/service/deregister/{service}-{at}"), "").ok();
        }
        for (service, at) in new {
            let (host, port) = at.split_once(':').expect("host and port");
            let port: u16 = port.parse().expect("a port");
            let body =
                json!({"ID": format!("{service}-{at}"), "Name": service, "Address": host, "Port": port});
            agent.put("/v1/agent/service/register", &body.to_string()).ok();
        }
    }
}

#[test]
#[ignore = "needs a real agent of Consul: make test.consul"]
fn it_keeps_the_contract_of_catalogs() {
    keep_the_contract(&mut Behind::proxy(RealAgent::given()));
}

#[test]
#[ignore = "needs a real agent of Consul: make test.consul"]
fn it_survives_all_faults() {
    survive_all_faults(&mut RealAgent::given(), said_of, Length::Long);
}

//! The suite that all catalogs play, with a real API server of Kubernetes, in whose namespace `default` nothing is.
//!
//! `A8_TEST_KUBERNETES` is its URL, without a path; `A8_TEST_KUBERNETES_CA` a file with who signed for it;
//! `A8_TEST_KUBERNETES_TOKEN_FILE` the file with the token that a registry shows; `A8_TEST_KUBERNETES_ADMIN` the token of
//! somebody who may change slices. Registries ask it through a proxy, to which they speak without TLS.
//! Never: leaves a slice there, unless it fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{said_of, slice};
use crate::catalogs::{Behind, Length, System, keep_the_contract, survive_all_faults};
use crate::support::{Client, Far, FaultProxy, real};

/// A cluster that somebody else has started.
struct RealCluster {
    far: Far,
    /// By which the test itself asks it.
    door: FaultProxy,
    admin: String,
    token_file: String,
    /// The addresses of each slice.
    has: BTreeMap<String, Vec<String>>,
}

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

// === impl RealCluster ===

impl RealCluster {
    #[track_caller]
    fn given() -> Self {
        let address = real::address_in("A8_TEST_KUBERNETES");
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(real::given("A8_TEST_KUBERNETES_CA")).expect("a readable file")
        {
            roots.add(certificate.expect("a certificate")).expect("who can sign");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let far = Far::Tls(address, Arc::new(config));
        Self {
            door: FaultProxy::to(far.clone()),
            far,
            admin: real::given("A8_TEST_KUBERNETES_ADMIN"),
            token_file: real::given("A8_TEST_KUBERNETES_TOKEN_FILE"),
            has: BTreeMap::new(),
        }
    }
}

impl System for RealCluster {
    fn catalog(&self) -> &'static str {
        "kubernetes"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--k8s_url=http://{at}"), format!("--k8s_token_file={}", self.token_file)]
    }

    fn far(&self) -> Far {
        self.far.clone()
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let address = |value: &str| value.strip_suffix(":80").expect("the port of all slices").to_owned();
        let (gone, new) = real::exchange_by_service(&mut self.has, instances, address);
        let server = Client::new(self.door.address()).bearer(&self.admin);
        for name in gone {
            server.delete(&format!("{SLICES}/{name}")).ok();
        }
        for (name, is_there) in new {
            let addresses: Vec<_> = self.has[&name].iter().map(String::as_str).collect();
            let body = slice(&name, &name, &addresses).to_string();
            let answer = match is_there {
                true => server.put(&format!("{SLICES}/{name}"), &body),
                false => server.send(&format!("POST {SLICES}"), &body),
            };
            assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        }
    }
}

#[test]
#[ignore = "needs a real API server of Kubernetes: make test.kubernetes"]
fn it_keeps_to_what_every_catalog_does() {
    keep_the_contract(&mut Behind::proxy(RealCluster::given()));
}

#[test]
#[ignore = "needs a real API server of Kubernetes: make test.kubernetes"]
fn it_survives_all_faults() {
    survive_all_faults(&mut RealCluster::given(), said_of, Length::Long);
}

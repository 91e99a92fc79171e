//! This server as an application of its own at a peer, so that its dashboard lists us among the available
//! replicas and its clients can find us (spec eureka sections 4.6 and 4.8).
//!
//! Never: registers this server in its own namespace, or ends before it is told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use tokio_util::sync::CancellationToken;

use super::standing::Trouble;
use super::{Peer, Peers};
use crate::model::{
    Document, Endpoint, EndpointType, EurekaClaim, Instance, Invalid, Port, Registration, ServiceName,
    Status, Timestamp,
};
use crate::outbound::{Backoff, BaseUrl, Bounds, CallError, Reply};
use crate::wire::eureka::Format;

/// Keeps this server registered at one peer.
#[derive(Debug)]
pub struct Announcement {
    pub(super) peers: Arc<Peers>,
    pub(super) peer: Arc<Peer>,
    pub(super) own: Arc<Instance>,
    /// The last status that the peer answered and should not have.
    refused: Option<StatusCode>,
}

const BOUNDS: Bounds =
    Bounds { quiet: Duration::from_secs(5), whole: Duration::from_secs(10), bytes: 1024 * 1024 };
/// Between two heartbeats.
const EVERY: Duration = Duration::from_secs(30);
/// How long a peer lists us that hears nothing more of us.
const LEASE: Duration = Duration::from_secs(90);
/// Waits after a failure.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// For the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

// === impl Announcement ===

impl Announcement {
    pub(super) fn new(peers: Arc<Peers>, peer: Arc<Peer>, own: Arc<Instance>) -> Self {
        Self { peers, peer, own, refused: None }
    }

    /// Registers and renews until told to stop, then deregisters. Every failure is retried, so it never ends
    /// early.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut is_known = false;
        let renew = async {
            let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
            loop {
                is_known = self.renew(is_known).await;
                let pause = if is_known { EVERY } else { backoff.next() };
                if is_known {
                    backoff.reset();
                }
                tokio::time::sleep(pause).await;
            }
        };
        shutdown.run_until_cancelled(renew).await;
        if is_known {
            // A peer that does not hear it drops us when our lease ends.
            let _ = tokio::time::timeout(GOODBYE, self.call(Method::DELETE)).await;
        }
    }

    /// A heartbeat, or a registration where the peer does not know us. Answers whether it does now.
    async fn renew(&mut self, is_known: bool) -> bool {
        let answered = match is_known {
            false => self.call(Method::POST).await,
            true => match self.call(Method::PUT).await {
                Ok(reply) if reply.status == StatusCode::NOT_FOUND => self.call(Method::POST).await,
                answered => answered,
            },
        };
        match answered {
            Ok(reply) if reply.status.is_success() => {
                self.refused = None;
                self.peers.took(&self.peer);
                true
            }
            Ok(reply) => {
                self.refused_with(reply.status);
                false
            }
            Err(error) => {
                self.peers.failed(&self.peer, Trouble::Unanswered(error));
                // It may know us all the same; if not, it will say so.
                is_known
            }
        }
    }

    /// Says once that the peer does not take us. It may take other things, so it does not count as lost.
    fn refused_with(&mut self, status: StatusCode) {
        let (peer, trouble) = (&self.peer.name, Trouble::of_status(status));
        match trouble {
            Trouble::Unauthorized(_) => self.peers.failed(&self.peer, trouble),
            Trouble::Busy | Trouble::Refuses(_) | Trouble::Unanswered(_) | Trouble::Unreadable => {
                if self.refused.replace(status) != Some(status) {
                    tracing::warn!(peer, %status, "peer {peer} does not list this server: it {trouble}");
                }
            }
        }
    }

    async fn call(&self, method: Method) -> Result<Reply, CallError> {
        let (application, id) = (self.own.application(), self.own.id_in_application());
        let version = self.own.dirty_at.as_millis().to_string();
        let mut request = match method {
            Method::POST => self.peer.request(method.clone(), &["apps", &application], &[]),
            Method::PUT => {
                let query = [("status", self.own.status.as_str()), ("lastDirtyTimestamp", &version)];
                self.peer.request(method.clone(), &["apps", &application, id], &query)
            }
            _ => self.peer.request(method.clone(), &["apps", &application, id], &[]),
        }?;
        // As a client: the peer is to tell its own peers.
        request.headers_mut().remove(Peer::REPLICATION);
        if method == Method::POST {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let document = Format::Json.instance_document(&self.own, self.peers.now());
            *request.body_mut() = Bytes::from(document).into();
        }
        self.peers.outbound.call(request, BOUNDS).await
    }
}

/// Where peers reach this server when nobody says: an address that is listened on, or one by which other
/// machines are reached.
pub(super) fn own_url(listen: SocketAddr, is_tls: bool, towards: &[BaseUrl]) -> Option<BaseUrl> {
    let ip = match listen.ip() {
        ip if ip.is_unspecified() => address_towards(towards),
        ip => ip,
    };
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}/eureka/", SocketAddr::new(ip, listen.port())).parse().ok()
}

/// The address of this machine that its routes give packets for a peer, or for machines in general; nothing is
/// sent to find out.
pub(super) fn address_towards(peers: &[BaseUrl]) -> IpAddr {
    // Of the block for documentation: whatever is far away.
    const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let of_peer = peers.iter().find_map(|peer| peer.host().parse::<IpAddr>().ok());
    let from = |to: IpAddr| -> std::io::Result<IpAddr> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect((to, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    of_peer.into_iter().chain([ANYWHERE]).find_map(|to| from(to).ok()).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// This server as peers list it.
///
/// # Errors
/// When a name in its URL is longer than one may be.
pub(super) fn own_instance(
    application: &ServiceName,
    url: &BaseUrl,
    ip: IpAddr,
    now: Timestamp,
) -> Result<Instance, Invalid> {
    let (host, port) = (url.host(), url.port());
    let ip = url.host().parse().unwrap_or(ip);
    let name: Box<str> = application.as_str().to_ascii_lowercase().into();
    let root = |scheme: &str, path: &str| -> Option<Box<str>> {
        Some(format!("{scheme}://{}{path}", url.host_and_port()).into())
    };
    let scheme = if url.is_tls() { "https" } else { "http" };
    let served = Port { number: port, is_enabled: true };
    let not_served = Port { number: if url.is_tls() { 80 } else { 443 }, is_enabled: false };
    let document = Document {
        instance_id: Some(format!("{host}:{name}:{port}").into()),
        port: if url.is_tls() { not_served } else { served },
        secure_port: if url.is_tls() { served } else { not_served },
        home_page_url: root(scheme, "/"),
        status_page_url: root(scheme, "/uptime"),
        health_check_url: (!url.is_tls()).then(|| root(scheme, "/health/ready")).flatten(),
        secure_health_check_url: url.is_tls().then(|| root(scheme, "/health/ready")).flatten(),
        secure_vip_address: url.is_tls().then(|| name.clone()),
        vip_address: Some(name),
        ..Document::of_host(host, &ip.to_string())
    };
    let kind = if url.is_tls() { EndpointType::Https } else { EndpointType::Http };
    let asked = Registration {
        service: application.clone(),
        endpoint: Endpoint::new(kind, &url.host_and_port())?,
        status: Status::Up,
        tags: [].into(),
        metadata: None,
        ttl: Some(LEASE),
        eureka: Some(EurekaClaim { document, dirty_at: Some(now), overridden: None }),
    };
    Ok(asked.grant(LEASE, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_an_address_that_they_can_reach() {
        let peers = ["http://127.0.0.1:8761/eureka/".parse().expect("a URL")];
        for (listen, is_tls, want) in [
            ("0.0.0.0:8080", false, "http://127.0.0.1:8080/eureka/"),
            ("[::]:8080", true, "https://127.0.0.1:8080/eureka/"),
            ("192.0.2.7:80", false, "http://192.0.2.7/eureka/"),
            ("[2001:db8::1]:8443", true, "https://[2001:db8::1]:8443/eureka/"),
        ] {
            let url = own_url(listen.parse().expect("an address"), is_tls, &peers);
            assert_eq!(url.map(|url| url.to_string()).as_deref(), Some(want));
        }
    }

    #[test]
    fn the_host_of_its_url_is_its_host_name() {
        let application: ServiceName = "EUREKA".parse().expect("a name");
        let url: BaseUrl = "https://registry.example:8443/eureka/v2/".parse().expect("a URL");
        let ip = "10.0.0.1".parse().expect("an address");
        let own = own_instance(&application, &url, ip, Timestamp::from_millis(7)).expect("it is valid");
        assert_eq!(own.id_in_application(), "registry.example:eureka:8443");
        let document = own.document.expect("a document");
        assert_eq!((&*document.host_name, &*document.ip_addr), ("registry.example", "10.0.0.1"));
        assert_eq!(document.secure_port, Port { number: 8443, is_enabled: true });
        assert!(!document.port.is_enabled);
        assert_eq!(
            document.secure_health_check_url.as_deref(),
            Some("https://registry.example:8443/health/ready")
        );
        let url: BaseUrl = "http://10.0.0.9/".parse().expect("a URL");
        let own = own_instance(&application, &url, ip, Timestamp::from_millis(7)).expect("it is valid");
        let document = own.document.expect("a document");
        assert_eq!((&*document.host_name, &*document.ip_addr), ("10.0.0.9", "10.0.0.9"));
    }
}

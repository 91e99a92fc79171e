//! Members that a name in DNS leads to: SRV records, or addresses and a port.
//!
//! Asked again every few seconds, whatever the records say of how long they hold: a new member should not wait. A name
//! that does not exist has nobody behind it; a server that does not answer leaves everybody who was known.
//! Never: says anything of this member; who fills the zone does.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

use super::{MEMBERS_MAX, Picture, Seen, Source};
use crate::cluster::config::{DnsName, Place};

/// Follows a name.
#[derive(Debug)]
pub(in crate::cluster) struct DnsMembers<L = SystemDns> {
    name: DnsName,
    /// Where the answers have no port.
    port: u16,
    look_up: L,
    last: Picture,
    due: Option<Instant>,
}

/// Who asks.
pub(in crate::cluster) trait LookUp: Send + std::fmt::Debug {
    /// The places behind a name; none when there is no such name.
    fn places(&self, name: &DnsName, port: u16) -> BoxFuture<'_, Result<BTreeSet<Place>, String>>;
}

/// The name servers of this machine.
pub(in crate::cluster) struct SystemDns(TokioResolver);

const EVERY: Duration = Duration::from_secs(3);

// === impl DnsMembers ===

impl DnsMembers<SystemDns> {
    /// # Errors
    /// When this machine's name servers are not known.
    pub(in crate::cluster) fn new(name: DnsName, port: u16) -> Result<Self, String> {
        Ok(Self::by(SystemDns::new()?, name, port))
    }
}

impl<L: LookUp> DnsMembers<L> {
    fn by(look_up: L, name: DnsName, port: u16) -> Self {
        let port = name.port().unwrap_or(port);
        Self { name, port, look_up, last: Picture::default(), due: None }
    }

    async fn look(&mut self) -> Picture {
        if let Some(due) = self.due {
            tokio::time::sleep_until(due).await;
        }
        let found = self.look_up.places(&self.name, self.port).await;
        self.due = Some(Instant::now() + EVERY);
        let trouble = match found {
            Ok(places) => {
                let seen = places.into_iter().take(MEMBERS_MAX).map(|place| Seen { place, id: None });
                self.last = Picture { seen: seen.collect(), trouble: None, is_known: true };
                None
            }
            Err(error) => Some(format!("{} cannot be looked up: {error}", self.name.name())),
        };
        Picture { trouble, ..self.last.clone() }
    }
}

impl<L: LookUp> Source for DnsMembers<L> {
    fn next(&mut self) -> BoxFuture<'_, Picture> {
        Box::pin(self.look())
    }

    fn withdraw(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn kind(&self) -> &'static str {
        "dns"
    }
}

// === impl SystemDns ===

impl SystemDns {
    fn new() -> Result<Self, String> {
        let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// The name server at one place.
    #[cfg(test)]
    fn at(server: std::net::SocketAddr) -> Self {
        use hickory_resolver::config::{NameServerConfig, ResolverConfig};
        use hickory_resolver::net::runtime::TokioRuntimeProvider;
        let mut config = NameServerConfig::udp(server.ip());
        config.connections[0].port = server.port();
        let config = ResolverConfig::from_name_servers(vec![config]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().timeout = Duration::from_millis(500);
        Self(builder.build().expect("a resolver"))
    }

    async fn srv(&self, name: &str) -> Result<BTreeSet<Place>, NetError> {
        let found = self.0.lookup(name, RecordType::SRV).await?;
        let places = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) if srv.port != 0 => Some(Place::new(host_of(&srv.target.to_ascii()), srv.port)),
            _ => None,
        });
        Ok(places.collect())
    }

    async fn addresses(&self, name: &str, port: u16) -> Result<BTreeSet<Place>, NetError> {
        let found = self.0.lookup_ip(name).await?;
        Ok(found.iter().map(|ip| Place::new(ip.to_string(), port)).collect())
    }
}

impl LookUp for SystemDns {
    fn places(&self, name: &DnsName, port: u16) -> BoxFuture<'_, Result<BTreeSet<Place>, String>> {
        let (is_srv, name) = (name.is_srv(), name.name().to_owned());
        Box::pin(async move {
            let found = if is_srv { self.srv(&name).await } else { self.addresses(&name, port).await };
            match found {
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(BTreeSet::new()),
                found => found.map_err(|error| error.to_string()),
            }
        })
    }
}

impl std::fmt::Debug for SystemDns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemDns")
    }
}

fn host_of(target: &str) -> Box<str> {
    target.strip_suffix('.').unwrap_or(target).to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;

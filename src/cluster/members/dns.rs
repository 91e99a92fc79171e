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
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    type Answer = Result<BTreeSet<Place>, String>;

    #[derive(Debug, Clone, Default)]
    struct Told(Arc<Mutex<Vec<Answer>>>);

    impl LookUp for Told {
        fn places(&self, _: &DnsName, port: u16) -> BoxFuture<'_, Answer> {
            let answer = self.0.lock().remove(0);
            let answer = answer.map(|places| places.iter().map(|it| Place::new(it.host(), port)).collect());
            Box::pin(std::future::ready(answer))
        }
    }

    fn places(hosts: &[&str]) -> BTreeSet<Place> {
        hosts.iter().map(|host| Place::new(*host, 1)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_stays_while_nobody_answers() {
        let told = Told::default();
        *told.0.lock() = vec![
            Err("no answer".into()),
            Ok(places(&["10.0.0.1", "10.0.0.2"])),
            Err("no answer".into()),
            Ok(places(&[])),
        ];
        let mut source = DnsMembers::by(told, "registry.example".parse().unwrap(), 6100);
        let shown = |picture: &Picture| -> Vec<String> {
            picture.seen.iter().map(|seen| seen.place.to_string()).collect()
        };
        let begun = Instant::now();
        let first = source.next().await;
        assert!(!first.is_known && first.trouble.is_some() && first.seen.is_empty());
        let second = source.next().await;
        assert_eq!(shown(&second), ["10.0.0.1:6100", "10.0.0.2:6100"]);
        assert_eq!(begun.elapsed(), EVERY, "it is asked at once and then every few seconds");
        let third = source.next().await;
        assert!(third.trouble.as_ref().is_some_and(|text| text.contains("registry.example")), "{third:?}");
        assert_eq!((shown(&third), third.is_known), (shown(&second), true));
        let fourth = source.next().await;
        assert!(fourth.seen.is_empty() && fourth.trouble.is_none() && fourth.is_known);
    }

    #[tokio::test]
    async fn this_machine_s_names_are_found() {
        let mut source = DnsMembers::new("localhost:7".parse().unwrap(), 1).expect("there are name servers");
        let picture = source.next().await;
        assert!(picture.seen.iter().any(|seen| seen.place.to_string() == "127.0.0.1:7"), "{picture:?}");
    }
}

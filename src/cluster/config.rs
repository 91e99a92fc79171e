//! What operators say of the cluster.
//!
//! Never: reads a file or looks a name up.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::model::Secret;

/// How a member takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Where members find each other.
    pub source: Source,
    /// The host, and perhaps the port, that others are told to dial; none: the first address of an interface that is
    /// not loopback, with the port in use.
    pub advertise: Option<Advertised>,
    /// Port for members; 0 is any free one.
    pub port: u16,
    /// What members know and strangers do not.
    pub secret: ClusterSecret,
    /// Members below which the cluster is too small; this one counts.
    pub size: usize,
    /// Longest time to dial a member, and to wait for others before this one is ready; above 0.
    pub sync_timeout: Duration,
    /// How long an instance is kept whose member cannot be reached.
    pub hold: Duration,
    /// Longest lease that is granted.
    pub max_ttl: Duration,
    /// Files for TLS between members; none: plain TCP.
    pub tls: Option<ClusterTls>,
}

/// Where members find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory that all of them can write to.
    Directory(PathBuf),
    /// A name whose addresses are the members.
    Dns(DnsName),
    /// A list.
    Fixed(Vec<Place>),
}

/// What members know and strangers do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterSecret {
    /// This.
    Given(Secret),
    /// What the shared directory holds; the first member writes it.
    Shared,
    /// Nothing: members are on loopback, and so is the port.
    Loopback,
}

/// PEM files for TLS between members, all of which show a certificate. Read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities that sign the certificates of members, and of nobody else.
    pub ca: PathBuf,
}

/// A host and a port: `10.0.0.1:6100`, `[fd00::1]:6100`, `registry-1.example:6100`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    host: Box<str>,
    port: u16,
}

/// A host, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    host: Box<str>,
    port: Option<u16>,
}

/// A name in DNS: `_service._proto.name`, which is asked for SRV records, or one for addresses, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName {
    name: Box<str>,
    port: Option<u16>,
}

/// The text is no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host, or a host and a port")]
pub struct NoPlace;

/// Longest name of a host, so that a member's id fits into 255 bytes.
const HOST_MAX: usize = 240;

// === impl Source ===

impl Source {
    /// Whether every member it can name is on this machine's loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Directory(_) | Self::Dns(_) => false,
            Self::Fixed(places) => places.iter().all(Place::is_loopback),
        }
    }
}

// === impl Place ===

impl Place {
    /// What is wanted of a text.
    pub const WANTED: &str = "host:port, such as 10.0.0.1:6100 or [fd00::1]:6100";

    /// That port of an address or a name.
    pub(super) fn new(host: impl Into<Box<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// An address, without brackets, or a name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Above 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match host_and_port(text)? {
            (host, Some(port)) => Ok(Self { host, port }),
            (_, None) => Err(NoPlace),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

// === impl Advertised ===

impl Advertised {
    /// What is wanted of a text.
    pub const WANTED: &str =
        "an address or a name, perhaps with :port, such as 10.0.0.1 or registry-1.example:6100";

    /// Loopback, for members that are all on one machine.
    #[must_use]
    pub fn loopback() -> Self {
        Self { host: "127.0.0.1".into(), port: None }
    }

    /// Whether nobody on another machine is meant.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The address, when it is none to look up.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// What others dial when this process has that port.
    pub(super) fn place(&self, bound: u16) -> Place {
        Place { host: self.host.clone(), port: self.port.unwrap_or(bound) }
    }
}

impl FromStr for Advertised {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (host, port) = host_and_port(text)?;
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => Err(NoPlace),
            Ok(_) | Err(_) => Ok(Self { host, port }),
        }
    }
}

// === impl DnsName ===

impl DnsName {
    /// What is wanted of a text.
    pub const WANTED: &str =
        "a name such as registry.example, registry.example:6100 or _cluster._tcp.registry.example";

    /// The name that is asked for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The port, where the answers have none.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is asked for SRV records, whose names are `_service._proto.name` (RFC 2782).
    pub(super) fn is_srv(&self) -> bool {
        self.name.starts_with('_')
    }
}

impl FromStr for DnsName {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (name, port) = host_and_port(text)?;
        if name.parse::<IpAddr>().is_ok() { Err(NoPlace) } else { Ok(Self { name, port }) }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Takes a text apart; an IPv6 address needs brackets when a port follows.
fn host_and_port(text: &str) -> Result<(Box<str>, Option<u16>), NoPlace> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip.to_string().into(), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port != 0).ok_or(NoPlace)?;
            (host, Some(port))
        }
        Some(_) | None => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (inner.map(str::parse::<IpAddr>), host.parse::<IpAddr>()) {
        (Some(Ok(ip @ IpAddr::V6(_))), _) | (None, Ok(ip @ IpAddr::V4(_))) => {
            Ok((ip.to_string().into(), port))
        }
        (None, Err(_)) if is_name(host) => Ok((host.to_ascii_lowercase().into(), port)),
        (Some(_), _) | (None, _) => Err(NoPlace),
    }
}

fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= HOST_MAX && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_hosts_with_ports() {
        for (text, want) in [
            ("10.0.0.1:6100", Some("10.0.0.1:6100")),
            (" [FD00::1]:6100 ", Some("[fd00::1]:6100")),
            ("Registry-1.example:6100", Some("registry-1.example:6100")),
            ("registry.example.:1", Some("registry.example.:1")),
            ("10.0.0.1", None),
            ("fd00::1:6100", None),
            ("[fd00::1]", None),
            ("[10.0.0.1]:1", None),
            ("a:0", None),
            ("a:65536", None),
            ("a:+1", None),
            ("a:", None),
            (":1", None),
            ("a b:1", None),
            ("a/b:1", None),
            ("a..b:1", None),
        ] {
            assert_eq!(text.parse::<Place>().ok().map(|place| place.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn what_is_advertised_takes_the_port_in_use_unless_it_has_one() {
        for (text, want) in [
            ("10.0.0.1", Some("10.0.0.1:7")),
            ("10.0.0.1:9", Some("10.0.0.1:9")),
            ("::1", Some("[::1]:7")),
            ("[::1]:9", Some("[::1]:9")),
            ("pod-0.registry", Some("pod-0.registry:7")),
            ("0.0.0.0", None),
            ("::", None),
            ("", None),
        ] {
            let place = text.parse::<Advertised>().ok().map(|advertised| advertised.place(7).to_string());
            assert_eq!(place.as_deref(), want, "{text}");
        }
        assert!("127.0.0.9:1".parse::<Advertised>().unwrap().is_loopback());
        assert!(!"10.0.0.9".parse::<Advertised>().unwrap().is_loopback());
    }

    #[test]
    fn names_with_an_underscore_in_front_are_asked_for_srv() {
        assert!("_a8._tcp.registry.example".parse::<DnsName>().unwrap().is_srv());
        let plain = "registry.example:6100".parse::<DnsName>().unwrap();
        assert_eq!((plain.name(), plain.port(), plain.is_srv()), ("registry.example", Some(6100), false));
        assert!("10.0.0.1".parse::<DnsName>().is_err());
    }
}

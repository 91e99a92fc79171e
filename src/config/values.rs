//! How the value of a flag is read; each reader says what it wants when it cannot.
//!
//! Never: knows which flag it reads for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::duration::{self, NoDuration};
use crate::api::{BadCidr, Cidr};
use crate::auth::Mode;
use crate::catalog::config::SwarmEngine;
use crate::cluster::config::{Advertised, DnsName, NoPlace, Place};
use crate::model::{Namespace, Secret, ServiceName};
use crate::outbound::{BaseUrl, NoBaseUrl};
use crate::telemetry::{LogFormat, LogLevel};

/// What a reader would have taken; continues the words "is ..., want".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wanted(String);

/// What --k8s_url says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KubernetesUrl {
    At(BaseUrl),
    InCluster,
}

/// What the table calls the value of a flag that is on or off; such a flag may stand alone.
pub(super) const BOOL: &str = "BOOL";

/// A flag that is on or off. By this name clap takes it for a flag with a value, which it is here.
pub(super) type Boolean = bool;

/// The word for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreName {
    Memory,
    Redis,
}

// === impl Wanted ===

impl Wanted {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// `10.0.0.0/8`, `fd00::/8`, or an address alone.
pub(super) fn cidr(text: &str) -> Result<Cidr, Wanted> {
    text.trim().parse().map_err(|BadCidr| Wanted::new(BadCidr::WANTED))
}

/// A duration of Go's, 0 or more.
pub(super) fn duration(text: &str) -> Result<Duration, Wanted> {
    duration::parse(text).map_err(|why| {
        Wanted::new(match why {
            NoDuration::Malformed => "a duration with units, such as 30s, 1m30s, 1.5h or 500ms",
            NoDuration::Negative => "a duration of 0 or more",
            NoDuration::TooLong => "a duration below 292 years",
        })
    })
}

/// A duration of Go's above 0.
pub(super) fn positive_duration(text: &str) -> Result<Duration, Wanted> {
    match duration(text)? {
        Duration::ZERO => Err(Wanted::new("a duration above 0")),
        length => Ok(length),
    }
}

/// One of Go's words for yes and no.
pub(super) fn boolean(text: &str) -> Result<bool, Wanted> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Wanted::new("true or false")),
    }
}

/// A whole number within `min ..= max`, decimal, `0x..`, or octal with a leading 0, as in Go.
pub(super) fn whole<T>(min: T, max: T) -> impl Fn(&str) -> Result<T, Wanted> + Clone + Send + Sync
where
    T: TryFrom<i64> + PartialOrd + Copy + fmt::Display + Send + Sync,
{
    move |text| {
        let number = whole_number(text).and_then(|number| T::try_from(number).ok());
        match number {
            Some(number) if min <= number && number <= max => Ok(number),
            Some(_) | None => Err(Wanted::new(format!("a whole number from {min} to {max}"))),
        }
    }
}

/// A whole number that may be negative.
pub(super) fn integer(text: &str) -> Result<i64, Wanted> {
    whole_number(text).ok_or_else(|| Wanted::new("a whole number"))
}

fn whole_number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(hex), _) => (16, hex),
        (None, Some(octal)) if !octal.is_empty() => (8, octal),
        (None, Some(_) | None) => (10, lower.as_str()),
    };
    // `from_str_radix` takes a sign of its own, which would be the second.
    digits.starts_with(|c: char| c.is_ascii_hexdigit()).then_some(())?;
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// A text that is not empty.
pub(super) fn text(text: &str) -> Result<String, Wanted> {
    if text.is_empty() { Err(Wanted::new("a text that is not empty")) } else { Ok(text.to_owned()) }
}

/// A secret that is not empty.
pub(super) fn secret(text: &str) -> Result<Secret, Wanted> {
    Secret::new(text).ok_or_else(|| Wanted::new("a secret that is not empty"))
}

/// An IP address, an IPv6 one also in brackets.
pub(super) fn ip_address(text: &str) -> Result<IpAddr, Wanted> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| Wanted::new("an IP address such as 127.0.0.1, 0.0.0.0 or ::"))
}

/// An IP address and port; a port alone is on loopback.
pub(super) fn loopback_address(text: &str) -> Result<SocketAddr, Wanted> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        let port = whole(0, u16::MAX)(port)?;
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    text.parse()
        .map_err(|_| Wanted::new("a port, or an IP address and port such as 0.0.0.0:9090 or [::]:9090"))
}

/// One of the original's levels (spec amalgam8 section 13).
pub(super) fn log_level(text: &str) -> Result<LogLevel, Wanted> {
    match text {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" | "warning" => Ok(LogLevel::Warn),
        "error" | "fatal" | "panic" => Ok(LogLevel::Error),
        _ => Err(Wanted::new("one of debug, info, warn, warning, error, fatal, panic")),
    }
}

/// One of the original's formats.
pub(super) fn log_format(text: &str) -> Result<LogFormat, Wanted> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "logstash" => Ok(LogFormat::Logstash),
        _ => Err(Wanted::new("one of text, json, logstash")),
    }
}

/// The name of an authenticator, blanks around it allowed.
pub(super) fn auth_mode(text: &str) -> Result<Mode, Wanted> {
    text.trim().parse().map_err(|_| Wanted::new("one of trusted, jwt"))
}

/// The name of a store.
pub(super) fn store(text: &str) -> Result<StoreName, Wanted> {
    match text {
        "inmem" => Ok(StoreName::Memory),
        "redis" => Ok(StoreName::Redis),
        _ => Err(Wanted::new("one of inmem, redis")),
    }
}

/// A URL of a server, blanks around it allowed.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, Wanted> {
    text.parse().map_err(|NoBaseUrl| Wanted::new(NoBaseUrl::WANTED))
}

/// A URL of Kubernetes' API server, or the word for that of the pod's own cluster.
pub(super) fn kubernetes_url(text: &str) -> Result<KubernetesUrl, Wanted> {
    match text.trim() {
        "in-cluster" => Ok(KubernetesUrl::InCluster),
        url => url
            .parse()
            .map(KubernetesUrl::At)
            .map_err(|NoBaseUrl| Wanted::new(format!("in-cluster, or {}", NoBaseUrl::WANTED))),
    }
}

/// Where a member of a cluster is.
pub(super) fn place(text: &str) -> Result<Place, Wanted> {
    text.parse().map_err(|NoPlace| Wanted::new(Place::WANTED))
}

/// By what the other members of a cluster reach this one.
pub(super) fn advertised(text: &str) -> Result<Advertised, Wanted> {
    text.parse().map_err(|NoPlace| Wanted::new(Advertised::WANTED))
}

/// A name whose addresses are the members of a cluster.
pub(super) fn dns_name(text: &str) -> Result<DnsName, Wanted> {
    text.parse().map_err(|NoPlace| Wanted::new(DnsName::WANTED))
}

/// Where a Docker engine is.
pub(super) fn swarm_engine(text: &str) -> Result<SwarmEngine, Wanted> {
    let wanted = || Wanted::new("unix:///path/to/docker.sock or tcp://host:port");
    match text.trim().split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(SwarmEngine::Socket(path.into())),
        Some(("tcp", address)) => {
            let address = address.trim_end_matches('/');
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            match port.map(|port| whole(1, u16::MAX)(port)) {
                Some(Ok(_)) if !address.contains(['/', '@']) => Ok(SwarmEngine::Tcp(address.into())),
                Some(_) | None => Err(wanted()),
            }
        }
        Some(_) | None => Err(wanted()),
    }
}

/// A namespace.
pub(super) fn namespace(text: &str) -> Result<Namespace, Wanted> {
    text.parse().map_err(|_| Wanted::new(format!("a text of 1 to {} bytes", Namespace::MAX)))
}

/// The name of a service.
pub(super) fn service_name(text: &str) -> Result<ServiceName, Wanted> {
    text.parse().map_err(|_| Wanted::new(format!("a text of 1 to {} bytes", ServiceName::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.1.2.3/8", "10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let network = cidr(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "proxy", "10.0.0.0/8/8"]
        {
            assert!(cidr(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_those_of_go() {
        for (text, want) in [
            ("9", 9),
            ("0x1F90", 8080),
            ("0X1f90", 8080),
            ("010", 8),
            ("+7", 7),
            ("0", 0),
            ("-0", 0),
            ("65535", 65535),
        ] {
            assert_eq!(whole(0, u16::MAX)(text), Ok(want), "{text}");
        }
        for bad in [
            "65536",
            "-1",
            "http",
            "",
            " 1",
            "1.0",
            "1e3",
            "0x",
            "08",
            "--1",
            "0x-1",
            "0x+1",
            "-+1",
            "1_000",
            "99999999999999999999",
            "٣",
        ] {
            assert!(whole(0, u16::MAX)(bad).is_err(), "{bad}");
        }
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("-0x10"), Ok(-16));
    }
}

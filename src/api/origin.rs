//! Where a request came from, as far as it says so: by https or not, and under which host.
//!
//! Proxies say it in headers; those count from everybody unless proxies are named, and they decide
//! links and redirects, never access.
//! Never: looks at `Forwarded`, `X-Forwarded-Host` or `X-Forwarded-Port` (spec amalgam8 section 2).

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::header::HOST;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderName, Version};

use super::{Api, path};
use crate::listener::Peer;
use crate::wire::amalgam8::Links;

/// A network: all addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    /// Bits that count; at most 32 or 128.
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wanted {}", Self::WANTED)]
pub struct BadCidr;

/// Whose word about https is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxies {
    /// Everybody's, as in the original.
    #[default]
    Everybody,
    /// That of these peers.
    These(Vec<Cidr>),
}

/// What the links of an answer begin with: `http://host:port`, or nothing when the request names no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

const SAID_BY_PROXIES: [HeaderName; 2] =
    [HeaderName::from_static("x-forwarded-proto"), HeaderName::from_static("$wssc")];

/// The host that the client asked, port included, as it was sent.
#[must_use]
pub fn host(request: &Parts) -> Option<&str> {
    let named = match request.uri.authority() {
        // What stands before an @ is a credential.
        Some(authority) => authority.as_str().rsplit('@').next(),
        None => request.headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    named.filter(|host| !host.is_empty())
}

/// An HTTP/1.1 request has to name its host, and only once (RFC 9112 section 3.2).
///
/// # Errors
/// What it has instead, in a word.
pub fn check_host(request: &Parts) -> Result<(), &'static str> {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (Some(_), Some(_)) => Err("several"),
        (None, _) if request.version != Version::HTTP_11 || request.uri.authority().is_some() => Ok(()),
        (None, _) => Err("nothing"),
    }
}

// === impl Cidr ===

impl Cidr {
    /// Whether the address belongs to this network. An IPv4 address in IPv6's clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_bits = match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        u32::from(self.prefix) <= same_bits
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    /// `10.0.0.0/8`, `fd00::/8`, or an address alone. Bits behind the prefix may be set, they do not count.
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| BadCidr)?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadCidr)?
            }
            Some(_) => return Err(BadCidr),
        };
        if longest < prefix { Err(BadCidr) } else { Ok(Self { network, prefix }) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

// === impl BadCidr ===

impl BadCidr {
    /// What would have been accepted.
    pub const WANTED: &'static str = "a network such as 10.0.0.0/8 or fd00::/8, or one IP address";
}

// === impl Proxies ===

impl Proxies {
    /// Whether a request came by https, or a proxy says that it did.
    #[must_use]
    pub fn is_secure(&self, request: &Parts) -> bool {
        let peer = request.extensions.get::<Peer>();
        peer.is_some_and(Peer::is_tls)
            || request.uri.scheme() == Some(&Scheme::HTTPS)
            || self.trusts(peer) && said_to_be_secure(request)
    }

    fn trusts(&self, peer: Option<&Peer>) -> bool {
        match self {
            Self::Everybody => true,
            Self::These(ranges) => {
                peer.is_some_and(|peer| ranges.iter().any(|range| range.contains(peer.address().ip())))
            }
        }
    }
}

/// Exactly `https`, as the original wants it.
fn said_to_be_secure(request: &Parts) -> bool {
    SAID_BY_PROXIES.iter().any(|name| request.headers.get(name).is_some_and(|value| value == "https"))
}

// === impl Base ===

impl Base {
    /// The links of an instance.
    #[must_use]
    pub fn links(&self, id: &str) -> Links {
        let mut this = String::with_capacity(self.0.len() + id.len() + 32);
        this.push_str(&self.0);
        this.push_str("/api/v1/instances/");
        this.extend(path::encode(id));
        let heartbeat = [this.as_str(), "/heartbeat"].concat();
        Links { this, heartbeat }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequestParts<Api> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, api: &Api) -> Result<Self, Infallible> {
        let scheme = if api.tenancy().proxies().is_secure(request) { "https" } else { "http" };
        Ok(Self(host(request).map(|host| [scheme, "://", host].concat()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let range: Cidr = range.parse().unwrap();
        for address in inside {
            assert!(range.contains(address.parse().unwrap()), "{address} in {range:?}");
        }
        for address in outside {
            assert!(!range.contains(address.parse().unwrap()), "{address} not in {range:?}");
        }
    }

    #[test]
    fn ranges_of_addresses() {
        check("10.0.0.0/8", &["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3"], &["11.0.0.1", "::1"]);
        check("10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]);
        check("0.0.0.0/0", &["1.2.3.4"], &["::1", "fd00::1"]);
        check("fd00::/8", &["fd12::1"], &["fe00::1", "10.0.0.1"]);
        check("::/0", &["::1"], &["1.2.3.4"]);
        assert_eq!("10.1.2.3/8".parse::<Cidr>().unwrap().to_string(), "10.1.2.3/8");
    }

    #[test]
    fn what_is_no_range() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}

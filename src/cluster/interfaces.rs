//! The address of this machine that others reach it by, when the operator names none: as the original finds it, the
//! first of any interface that is not loopback (spec amalgam8 section 10).
//!
//! Never: asks anything outside this machine.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// The first IPv4 address of an interface that is up and not loopback; without one the first of IPv6.
pub(super) fn private_address() -> Option<IpAddr> {
    let interfaces = getifaddrs().ok()?;
    let up = interfaces.filter(|interface| {
        interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let addresses: Vec<IpAddr> = up.filter_map(|interface| ip(&interface.address?)).collect();
    first(&addresses)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

fn first(addresses: &[IpAddr]) -> Option<IpAddr> {
    let usable = || addresses.iter().copied().filter(is_usable);
    usable().find(IpAddr::is_ipv4).or_else(|| usable().next())
}

/// Whether others can dial it; an address of a link alone needs to be told which link.
fn is_usable(ip: &IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !is_link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_others_can_dial_is_taken() {
        for (addresses, want) in [
            (&["127.0.0.1", "fe80::1", "fd00::1", "10.0.0.7", "10.0.0.8"][..], Some("10.0.0.7")),
            (&["fe80::1", "fd00::1"], Some("fd00::1")),
            (&["::1", "fe80::1"], None),
            (&[], None),
        ] {
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(first(&addresses), want.map(|text| text.parse().unwrap()), "{addresses:?}");
        }
        assert!(private_address().is_none_or(|ip| is_usable(&ip)));
    }
}

//! Where an instance of the Amalgam8 API is reached, taken apart into host and port (spec amalgam8 section 14, 41).
//!
//! Never: resolves a name, or refuses a value; their form is free.

use crate::model::{Endpoint, EndpointType, Port};

/// Host and ports of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// A name or an address, an IPv6 one without brackets; never empty.
    pub(super) host: &'a str,
    /// The port without TLS; number 0 when there is none.
    pub(super) port: Port,
    /// The port with TLS.
    pub(super) secure_port: Port,
    /// The value when it is a URL that a browser can open.
    pub(super) url: Option<&'a str>,
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Takes `host:port`, `[v6]:port`, a URL or a bare host apart; anything else is a host as a whole.
pub(super) fn place(endpoint: &Endpoint) -> Place<'_> {
    let value = endpoint.value();
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, value),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = match scheme {
        Some(_) => authority.rsplit('@').next().unwrap_or_default(),
        None => authority,
    };
    let (host, number) = host_and_port(authority);
    let host = if host.is_empty() { value } else { host };
    let is = |name: &str| scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(name));
    let url = (is("http") || is("https")).then_some(value);
    let is_http = is("http") || scheme.is_none() && endpoint.kind() == EndpointType::Http;
    if endpoint.is_secure() {
        let number = number.unwrap_or(HTTPS_PORT);
        let secure_port = Port { number, is_enabled: true };
        return Place { host, port: Port { number: 0, is_enabled: false }, secure_port, url };
    }
    let number = number.or(is_http.then_some(HTTP_PORT));
    let port = Port { number: number.unwrap_or(0), is_enabled: number.is_some() };
    Place { host, port, secure_port: Port { number: HTTPS_PORT, is_enabled: false }, url }
}

fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, after)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, after.strip_prefix(':').and_then(number));
    }
    match authority.split_once(':') {
        // More than one colon is an address without a port.
        Some((_, port)) if port.contains(':') => (authority, None),
        Some((host, "")) => (host, None),
        Some((host, port)) => match number(port) {
            Some(port) => (host, Some(port)),
            None => (authority, None),
        },
        None => (authority, None),
    }
}

fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        use EndpointType::{Http, Https, Tcp, Udp, User};
        const OFF: (u16, bool) = (0, false);
        const NO_TLS: (u16, bool) = (443, false);
        for (kind, value, host, port, secure_port, is_url) in [
            (Http, "10.2.0.1:8080", "10.2.0.1", (8080, true), NO_TLS, false),
            (Http, "h", "h", (80, true), NO_TLS, false),
            (Http, "h:8080/base", "h", (8080, true), NO_TLS, false),
            (Http, "http://h.example:81/path", "h.example", (81, true), NO_TLS, true),
            (Http, "HTTP://u:p@h?q", "h", (80, true), NO_TLS, true),
            (Http, "https://h/", "h", OFF, (443, true), true),
            (Https, "safe.example:8443", "safe.example", OFF, (8443, true), false),
            (Https, "h", "h", OFF, (443, true), false),
            (Https, "http://h", "h", (80, true), NO_TLS, true),
            (Tcp, "s:1", "s", (1, true), NO_TLS, false),
            (Tcp, "justhost", "justhost", OFF, NO_TLS, false),
            (Tcp, "[::1]:53", "::1", (53, true), NO_TLS, false),
            (Tcp, "[::1]", "::1", OFF, NO_TLS, false),
            (Tcp, "::1", "::1", OFF, NO_TLS, false),
            (Tcp, "h:", "h", OFF, NO_TLS, false),
            (Tcp, "h:65536", "h:65536", OFF, NO_TLS, false),
            (Tcp, "h:+1", "h:+1", OFF, NO_TLS, false),
            (Tcp, ":80", ":80", (80, true), NO_TLS, false),
            (Udp, "ftp://h:21/x", "h", (21, true), NO_TLS, false),
            (User, "/run/a.sock", "/run/a.sock", OFF, NO_TLS, false),
            (User, "://", "://", OFF, NO_TLS, false),
            (User, "[", "[", OFF, NO_TLS, false),
        ] {
            let endpoint = Endpoint::new(kind, value).unwrap();
            let port = Port { number: port.0, is_enabled: port.1 };
            let secure_port = Port { number: secure_port.0, is_enabled: secure_port.1 };
            let want = Place { host, port, secure_port, url: is_url.then_some(value) };
            assert_eq!(place(&endpoint), want, "{kind:?} {value}");
        }
    }
}

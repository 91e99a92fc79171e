//! Where another server is: scheme, host, port and the path that its own paths begin with.
//!
//! Never: shows the credentials that a URL had.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, InvalidUri, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A URL that ends with a slash, so that paths can be put behind it. Its credentials are kept apart from
/// it and are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    /// In small letters.
    host: Box<str>,
    port: u16,
    /// With a slash at both ends.
    path: Box<str>,
    credentials: Option<HeaderValue>,
}

/// A text that is no URL of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wanted {}", NoBaseUrl::WANTED)]
pub struct NoBaseUrl;

/// What stands for itself in a segment of a path and in a query.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

// === impl BaseUrl ===

impl BaseUrl {
    /// Whether it is called with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Name or address, in small letters, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The port, also where the URL leaves it to the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to send as `Authorization` when the URL had credentials.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }

    /// Whether both are the same place, whoever asks.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |url: &Self| (url.scheme.clone(), url.host.clone(), url.port, url.path.clone());
        place(self) == place(other)
    }

    /// The URL of what lies below: segments joined by slashes, of which an empty last one makes the URL end
    /// with a slash, and a query.
    ///
    /// # Errors
    /// When it would be longer than a URL may be.
    pub fn below(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Uri, InvalidUri> {
        let encoded = |text| utf8_percent_encode(text, SEGMENT).to_string();
        let path = segments.iter().map(|segment| encoded(segment)).collect::<Vec<_>>().join("/");
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{self}{path}{mark}{}", query.join("&")).parse()
    }
}

impl FromStr for BaseUrl {
    type Err = NoBaseUrl;

    fn from_str(text: &str) -> Result<Self, NoBaseUrl> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(NoBaseUrl)?;
        let scheme = [Scheme::HTTP, Scheme::HTTPS]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
            .ok_or(NoBaseUrl)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(basic(credentials)?), place),
            None => (None, authority),
        };
        let authority: Authority = place.to_ascii_lowercase().parse().map_err(|_| NoBaseUrl)?;
        let port = match (authority.port_u16(), place.rsplit_once(':')) {
            (Some(0), _) => return Err(NoBaseUrl),
            (Some(port), _) => port,
            // A port that is no number.
            (None, Some((_, port))) if !port.ends_with(']') => return Err(NoBaseUrl),
            (None, _) if scheme == Scheme::HTTPS => 443,
            (None, _) => 80,
        };
        let path = format!("{}/", path.trim_end_matches('/'));
        let is_path = path.starts_with('/') && !path.contains(['?', '#']) && path.parse::<Uri>().is_ok();
        if !is_path || authority.host().is_empty() {
            return Err(NoBaseUrl);
        }
        Ok(Self { scheme, host: authority.host().into(), port, path: path.into(), credentials })
    }
}

/// Shows it without credentials, and without a port that is its scheme's.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path, credentials: _ } = self;
        match (self.is_tls(), port) {
            (true, 443) | (false, 80) => write!(f, "{scheme}://{host}{path}"),
            _ => write!(f, "{scheme}://{host}:{port}{path}"),
        }
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&match self.credentials {
            Some(_) => self.to_string().replacen("://", "://@", 1),
            None => self.to_string(),
        }))
    }
}

// === impl NoBaseUrl ===

impl NoBaseUrl {
    /// What would have been one.
    pub const WANTED: &'static str =
        "a URL such as http://host:8761/eureka/ or https://user:password@host/eureka/v2/";
}

/// The header that says `user:password`, which are percent-encoded in a URL.
fn basic(credentials: &str) -> Result<HeaderValue, NoBaseUrl> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).map_err(|_| NoBaseUrl)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A text with URLs in it, in whatever state, with everything that could be credentials as `***`.
#[must_use]
pub fn redacted(text: &str) -> String {
    let shown = |part: &str| match part.rsplit_once('@') {
        Some((_, place)) => format!("***@{place}"),
        None => part.to_owned(),
    };
    text.split("://").map(shown).collect::<Vec<_>>().join("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_once_and_shown_without_credentials() {
        for (text, shown, place) in [
            ("http://h/eureka", "http://h/eureka/", "h:80"),
            ("HTTP://H:80", "http://h/", "h:80"),
            ("https://h/eureka/v2/", "https://h/eureka/v2/", "h:443"),
            ("https://h:80/", "https://h:80/", "h:80"),
            ("https://h/eureka//", "https://h/eureka/", "h:443"),
            ("http://u:p@h:8761/e/", "http://h:8761/e/", "h:8761"),
            ("http://u:p@x@h:8761/e/", "http://h:8761/e/", "h:8761"),
            ("http://[::1]:8761/", "http://[::1]:8761/", "[::1]:8761"),
            ("http://[::1]/", "http://[::1]/", "[::1]:80"),
        ] {
            let url: BaseUrl = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((url.to_string().as_str(), url.host_and_port().as_str()), (shown, place));
            assert!(!format!("{url:?}").contains("u:p"), "{url:?}");
            assert_eq!(format!("{url:?}").contains("***@"), text.contains('@'));
            assert!(url.is_same_place(&shown.parse().expect("a URL")));
        }
        for bad in [
            "",
            "h:8761",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://h:x/",
            "http://h:0/",
            "http://h:65536/",
            "http://h/?a=b",
            "http://h/#a",
            "http://h h/",
            "http://:80/",
            "http://h/a b",
        ] {
            assert_eq!(bad.parse::<BaseUrl>(), Err(NoBaseUrl), "{bad}");
        }
    }

    #[test]
    fn credentials_become_a_header() {
        let url: BaseUrl = "http://us%40er:p%3aw%2f@h/".parse().expect("a URL");
        let header = url.authorization().expect("credentials");
        assert_eq!(header.to_str().ok(), Some(&*format!("Basic {}", STANDARD.encode("us@er:p:w/"))));
        assert!(header.is_sensitive());
    }

    #[test]
    fn what_lies_below_is_encoded() {
        let url: BaseUrl = "http://u:p@h:8761/eureka".parse().expect("a URL");
        let below =
            |segments: &[&str], query: &[(&str, &str)]| url.below(segments, query).map(|it| it.to_string());
        assert_eq!(below(&["apps", ""], &[]).ok().as_deref(), Some("http://h:8761/eureka/apps/"));
        let heartbeat = below(&["apps", "A B", "h:x/y"], &[("status", "UP"), ("v", "é")]);
        let want = "http://h:8761/eureka/apps/A%20B/h%3Ax%2Fy?status=UP&v=%C3%A9";
        assert_eq!(heartbeat.ok().as_deref(), Some(want));
        assert!(below(&[&"x".repeat(70_000)], &[]).is_err());
    }

    #[test]
    fn credentials_are_hidden_in_whatever_was_meant_to_be_a_url() {
        for (text, shown) in [
            ("http://h/", "http://h/"),
            ("http://u:p@h/", "http://***@h/"),
            ("http://u:p/w@h/", "http://***@h/"),
            ("http://a/,http://u:p,x@b/", "http://a/,http://***@b/"),
            ("u:p@h", "***@h"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}

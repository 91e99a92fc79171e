//! What an answer is written in, and what a body came in (spec eureka section 2.1).
//!
//! Never: takes a client's preferences more strictly than its author did; most clients send what their library sends.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::path::{Root, Version};
use crate::api::ApiError;
use crate::wire::eureka::Format;
use crate::wire::lenient::excerpt;

/// One of the two languages of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Xml,
}

/// How much of an instance a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    Compact,
}

/// What a header admits, by the best quality in thousandths; none when it does not speak of it.
#[derive(Debug, Default)]
struct Admitted {
    json: Option<u16>,
    xml: Option<u16>,
    any: Option<u16>,
}

const DETAIL: HeaderName = HeaderName::from_static("x-eureka-accept");

/// The headers that decide how an answer is written.
pub(super) const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, X-Eureka-Accept");

/// The language of an answer; none when the client reads neither.
pub(super) fn media(root: Root<'_>, headers: &HeaderMap) -> Option<Media> {
    let Some(Admitted { json, xml, any }) = Admitted::by(headers) else { return Some(Media::Xml) };
    match root {
        _ if is_wanted(json) => Some(Media::Json),
        _ if is_wanted(xml) => Some(Media::Xml),
        Root::Netflix if is_wanted(any) && xml.is_none() => Some(Media::Xml),
        Root::Amalgam8 { .. } | Root::Netflix if is_wanted(any) && json.is_none() => Some(Media::Json),
        Root::Amalgam8 { .. } | Root::Netflix if is_wanted(any) && xml.is_none() => Some(Media::Xml),
        Root::Amalgam8 { .. } | Root::Netflix => None,
    }
}

/// Whether the client reads JSON, where there is nothing else.
pub(super) fn reads_json(headers: &HeaderMap) -> bool {
    Admitted::by(headers)
        .is_none_or(|Admitted { json, xml: _, any }| is_wanted(json) || json.is_none() && is_wanted(any))
}

fn is_wanted(quality: Option<u16>) -> bool {
    quality.is_some_and(|quality| 0 < quality)
}

/// How a list is written; none when the client reads neither language.
pub(super) fn of_lists(root: Root<'_>, version: Version, headers: &HeaderMap) -> Option<Format> {
    let is_compact =
        headers.get(DETAIL).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"compact"));
    let detail = if is_compact { Detail::Compact } else { Detail::Full };
    Some(media(root, headers)?.format(root, version, detail))
}

/// How a single instance is written, always in full; none when the client reads neither language.
pub(super) fn of_instances(root: Root<'_>, version: Version, headers: &HeaderMap) -> Option<Format> {
    Some(media(root, headers)?.format(root, version, Detail::Full))
}

/// The language of a body that the client sent.
///
/// # Errors
/// When it is none that is read here. Without a type it is JSON below `/api/` as long as its length is not known or
/// nothing, as in the original.
pub(super) fn sent(root: Root<'_>, headers: &HeaderMap) -> Result<Media, ApiError> {
    let refused = |got: &str| Err(ApiError::MediaType { got: excerpt(got).into() });
    let Some(value) = headers.get(CONTENT_TYPE) else {
        let length = headers.get(http::header::CONTENT_LENGTH).map(HeaderValue::as_bytes).unwrap_or_default();
        return match root {
            Root::Amalgam8 { .. } if length.iter().all(|digit| *digit == b'0') => Ok(Media::Json),
            Root::Amalgam8 { .. } | Root::Netflix => refused("nothing"),
        };
    };
    let Ok(value) = value.to_str() else { return refused("other bytes than ASCII") };
    let mut parts = value.split(';');
    let name = parts.next().unwrap_or_default().trim();
    let is_known_charset = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        let known = ["utf-8", "utf8", "iso-8859-1"];
        !name.trim().eq_ignore_ascii_case("charset") || known.iter().any(|k| value.eq_ignore_ascii_case(k))
    });
    let media = match root {
        _ if !is_known_charset => None,
        _ if name.eq_ignore_ascii_case("application/json") => Some(Media::Json),
        _ if name.eq_ignore_ascii_case("application/xml") => Some(Media::Xml),
        Root::Netflix if name.eq_ignore_ascii_case("text/xml") => Some(Media::Xml),
        Root::Amalgam8 { .. } | Root::Netflix => None,
    };
    media.map_or_else(|| refused(value), Ok)
}

// === impl Media ===

impl Media {
    /// The media type, without a charset: the text is always UTF-8.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        })
    }

    fn format(self, root: Root<'_>, version: Version, detail: Detail) -> Format {
        match (self, detail, root, version) {
            (Self::Json, Detail::Compact, _, _) => Format::JsonCompact,
            (Self::Json, Detail::Full, Root::Amalgam8 { .. }, _) => Format::JsonAmalgam8,
            (Self::Json, Detail::Full, Root::Netflix, _) => Format::Json,
            (Self::Xml, Detail::Compact, _, _) => Format::XmlCompact,
            (Self::Xml, Detail::Full, _, Version::One) => Format::XmlVersion1,
            (Self::Xml, Detail::Full, _, Version::Two) => Format::Xml,
        }
    }
}

// === impl Admitted ===

impl Admitted {
    /// None when the client does not say what it reads.
    fn by(headers: &HeaderMap) -> Option<Self> {
        let mut lines =
            headers.get_all(ACCEPT).iter().filter(|line| !line.as_bytes().trim_ascii().is_empty()).peekable();
        lines.peek()?;
        let mut admitted = Self::default();
        lines.for_each(|line| admitted.add(line.as_bytes()));
        Some(admitted)
    }

    fn add(&mut self, line: &[u8]) {
        for range in line.split(|b| *b == b',') {
            let mut parts = range.split(|b| *b == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let quality = parts.find_map(quality).unwrap_or(1000);
            let place = if contains(name, b"json") {
                &mut self.json
            } else if name.eq_ignore_ascii_case(b"application/xml") || name.eq_ignore_ascii_case(b"text/xml")
            {
                &mut self.xml
            } else if matches!(name, b"*/*" | b"*") || name.eq_ignore_ascii_case(b"application/*") {
                &mut self.any
            } else {
                continue;
            };
            *place = Some(place.unwrap_or(0).max(quality));
        }
    }
}

fn contains(name: &[u8], word: &[u8]) -> bool {
    name.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// `q=0.5` in thousandths, also as `q=.5`; what cannot be read counts as if it were not there.
fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    match (whole, fraction) {
        ("1", _) => Some(1000),
        ("0" | "", digits) if digits.len() <= 3 => format!("{digits:0<3}").parse().ok(),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BELOW_API: Root<'_> = Root::Amalgam8 { token: "t" };
    const JDK: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";

    fn accept(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        headers
    }

    fn check(lines: &[&'static str], netflix: Option<Media>, below_api: Option<Media>) {
        assert_eq!(media(Root::Netflix, &accept(lines)), netflix, "{lines:?}");
        assert_eq!(media(BELOW_API, &accept(lines)), below_api, "{lines:?} below /api");
    }

    #[test]
    fn answers_are_written_in_what_the_client_reads() {
        let (json, xml) = (Some(Media::Json), Some(Media::Xml));
        for none in [&[][..], &[""], &[" "]] {
            check(none, xml, xml);
        }
        for line in ["*/*", "application/*", JDK, "*/*;q=0.1", "application/xml;q=0, */*"] {
            let netflix = if line.contains("xml") { json } else { xml };
            check(&[line], netflix, json);
        }
        for line in ["application/xml", "text/xml", BROWSER, "application/xml, */*", "Application/XML;q=0.1"]
        {
            check(&[line], xml, xml);
        }
        for line in [
            "application/json",
            "application/json, application/*+json",
            "application/xml;q=0.9, application/json;q=0.1",
            "application/json;charset=UTF-8",
            "APPLICATION/JSON",
        ] {
            check(&[line], json, json);
        }
        check(&["application/xml", "application/json"], json, json);
        check(&["application/json;q=0, application/xml"], xml, xml);
        check(&["application/json;q=0, */*"], xml, xml);
        for line in ["text/plain", "text/html", "application/json;q=0", "*/*;q=0", "image/*"] {
            check(&[line], None, None);
        }
    }

    #[test]
    fn lists_are_compact_on_demand_and_instances_never() {
        let with = |accept: &'static str, detail: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            headers.insert(DETAIL, HeaderValue::from_static(detail));
            headers
        };
        let lists = |root, version, accept, detail| of_lists(root, version, &with(accept, detail));
        let (one, two) = (Version::One, Version::Two);
        assert_eq!(lists(Root::Netflix, two, "application/json", "COMPACT"), Some(Format::JsonCompact));
        assert_eq!(lists(BELOW_API, two, "application/json", "compact"), Some(Format::JsonCompact));
        assert_eq!(lists(Root::Netflix, one, "application/xml", "compact"), Some(Format::XmlCompact));
        for detail in ["full", "", "bogus"] {
            assert_eq!(lists(Root::Netflix, two, "application/json", detail), Some(Format::Json));
            assert_eq!(lists(BELOW_API, one, "*/*", detail), Some(Format::JsonAmalgam8));
            assert_eq!(lists(Root::Netflix, two, "*/*", detail), Some(Format::Xml));
            assert_eq!(lists(Root::Netflix, one, "*/*", detail), Some(Format::XmlVersion1));
            assert_eq!(lists(Root::Netflix, two, "text/plain", detail), None);
        }
        let compact = with("application/json", "compact");
        assert_eq!(of_instances(Root::Netflix, two, &compact), Some(Format::Json));
    }

    fn check_sent(value: Option<&'static str>, netflix: Option<Media>, below_api: Option<Media>) {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("10"));
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        assert_eq!(sent(Root::Netflix, &headers).ok(), netflix, "{value:?}");
        assert_eq!(sent(BELOW_API, &headers).ok(), below_api, "{value:?} below /api");
    }

    #[test]
    fn bodies_say_what_they_are_written_in() {
        let (json, xml) = (Some(Media::Json), Some(Media::Xml));
        for value in
            ["application/json", "APPLICATION/json; charset=UTF-8", "application/json;charset=iso-8859-1;x"]
        {
            check_sent(Some(value), json, json);
        }
        for value in ["application/xml", "application/xml; charset=\"utf-8\""] {
            check_sent(Some(value), xml, xml);
        }
        check_sent(Some("text/xml"), xml, None);
        for value in
            ["text/plain", "application/json; charset=utf-16", "", "application/x-www-form-urlencoded"]
        {
            check_sent(Some(value), None, None);
        }
        check_sent(None, None, None);
        assert_eq!(sent(BELOW_API, &HeaderMap::new()).ok(), json);
        assert_eq!(sent(Root::Netflix, &HeaderMap::new()).ok(), None);
    }
}

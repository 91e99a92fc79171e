//! The parameters in paths: one whole segment each, percent-decoded.
//!
//! Taken from the path as sent, so that a segment without escapes costs no copy.
//! Never: normalises anything, or treats `+` as a blank; that is a rule of queries.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, percent_decode_str, utf8_percent_encode};

use super::ApiError;
use crate::wire::lenient::excerpt;

/// A segment that stands for no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSegment {
    /// The parameter.
    pub name: &'static str,
    /// The segment as sent, shortened.
    pub got: Box<str>,
    /// What would have been accepted.
    pub why: &'static str,
}

/// What cannot stand for itself in a segment.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The `{id}` of a path under `/api/v1/instances`.
///
/// # Errors
/// When it is empty or cannot be decoded.
pub fn instance_id(uri: &Uri) -> Result<Cow<'_, str>, ApiError> {
    match segment(uri, "/api/v1/instances/") {
        "" => Err(ApiError::IdMissing),
        id => Ok(decode("id", id)?),
    }
}

/// The `{name}` of a path under `/api/v1/services`.
///
/// # Errors
/// When it cannot be decoded.
pub fn service_name(uri: &Uri) -> Result<Cow<'_, str>, ApiError> {
    Ok(decode("name", segment(uri, "/api/v1/services/"))?)
}

/// Any text as one segment.
pub fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ESCAPED)
}

fn segment<'a>(uri: &'a Uri, before: &str) -> &'a str {
    let rest = uri.path().strip_prefix(before).unwrap_or_default();
    rest.split_once('/').map_or(rest, |(segment, _)| segment)
}

/// The text that a segment stands for.
///
/// # Errors
/// When an escape is broken, or the text is not UTF-8.
pub fn decode<'a>(name: &'static str, segment: &'a str) -> Result<Cow<'a, str>, BadSegment> {
    let bad = |why| BadSegment { name, got: excerpt(segment).into(), why };
    if !escapes_are_whole(segment) {
        return Err(bad("two hex digits after every %"));
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| bad("UTF-8 once it is decoded"))
}

fn escapes_are_whole(segment: &str) -> bool {
    let mut parts = segment.as_bytes().split(|b| *b == b'%');
    parts.next();
    parts.all(|after| matches!(after, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &'static str, want: Result<&str, &str>) {
        let uri = Uri::from_static(path);
        let got = match instance_id(&uri) {
            Ok(id) => Ok(id),
            Err(ApiError::Segment(BadSegment { why, .. })) => Err(why),
            Err(ApiError::IdMissing) => Err("missing"),
            Err(other) => panic!("{path}: {other:?}"),
        };
        assert_eq!(got.as_deref(), want.as_ref().map(|s| *s), "{path}");
    }

    #[test]
    fn ids_are_decoded_once() {
        check("/api/v1/instances/20a12a48f6ae0566", Ok("20a12a48f6ae0566"));
        check("/api/v1/instances/20a12a48f6ae0566/heartbeat?x=/y", Ok("20a12a48f6ae0566"));
        check("/api/v1/instances/%32%30a", Ok("20a"));
        check("/api/v1/instances/APP:h%C3%B6st.a+b/status", Ok("APP:höst.a+b"));
        check("/api/v1/instances/a%2Fb/heartbeat", Ok("a/b"));
        check("/api/v1/instances/%252e%252e", Ok("%2e%2e"));
        check("/api/v1/instances/..%2f..", Ok("../.."));
    }

    #[test]
    fn what_is_no_id() {
        check("/api/v1/instances//heartbeat", Err("missing"));
        for path in ["/api/v1/instances/%", "/api/v1/instances/a%2", "/api/v1/instances/%zz/heartbeat"] {
            check(path, Err("two hex digits after every %"));
        }
        for path in ["/api/v1/instances/%ff", "/api/v1/instances/%c3%28", "/api/v1/instances/%ed%a0%80"] {
            check(path, Err("UTF-8 once it is decoded"));
        }
    }

    #[test]
    fn what_is_encoded_comes_back() {
        for id in ["20a12a48f6ae0566", "APP:host:80", "a/b c?d#e%f\u{0}", "höst"] {
            let path = format!("/api/v1/instances/{}/heartbeat", encode(id));
            assert_eq!(instance_id(&path.parse().unwrap()).as_deref(), Ok(id), "{path}");
        }
    }
}

//! Answers: whether the client has it already, how it is coded, and the body that it is sent as.
//!
//! Never: decides what is in an answer.

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, GetAll, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::directory::{Encoding, Frames, Pages, Tag, gzip};

/// What a reader asks for besides the resource: a coding, and nothing when it has the newest already.
#[derive(Debug)]
pub struct Wants {
    /// The coding of the answer.
    pub encoding: Encoding,
    known: Vec<HeaderValue>,
}

/// The entity tag of everything that a namespace shows at one revision. Weak: renewals do not change it.
#[derive(Debug, Clone)]
pub struct EntityTag(HeaderValue);

/// What a long answer is sent as: frames, each made when it is asked for.
pub trait InFrames: Iterator<Item = Bytes> + Send + Unpin + 'static {
    /// Bytes still to come; unknown for a body that is compressed while it is sent.
    fn remaining(&self) -> Option<u64>;
}

/// A list as a body.
struct ListBody<F> {
    frames: F,
    /// Counts this body among the long ones until it is sent or given up.
    _permit: Option<OwnedSemaphorePermit>,
}

/// A long text as a body. In pieces, so that nearly all of it has been sent when the last one is asked for.
struct LongBody {
    rest: Bytes,
    /// Counts this body among the long ones until it is sent or given up.
    _permit: OwnedSemaphorePermit,
}

/// The body of an answer that has none and whose length means nothing: 204 and 304.
struct NoBody;

/// Shorter bodies fit into one packet anyway.
const GZIP_MIN: usize = 860;

/// Length of the pieces that a long text is sent in.
const PIECE: usize = 64 * 1024;

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer that cannot have a body.
#[must_use]
pub fn bodiless(status: StatusCode) -> Response {
    let mut response = Response::new(Body::new(NoBody));
    *response.status_mut() = status;
    response
}

/// An answer that is there as a whole.
#[must_use]
pub fn whole(status: StatusCode, body: Bytes, encoding: Encoding) -> Response {
    coded(status, body, encoding, Body::from)
}

/// The same for a text that may be long. It keeps its permit until it is sent.
#[must_use]
pub fn long(body: Bytes, encoding: Encoding, permit: Option<OwnedSemaphorePermit>) -> Response {
    let Some(permit) = permit else { return whole(StatusCode::OK, body, encoding) };
    coded(StatusCode::OK, body, encoding, |rest| Body::new(LongBody { rest, _permit: permit }))
}

fn coded(
    status: StatusCode,
    body: Bytes,
    encoding: Encoding,
    into_body: impl FnOnce(Bytes) -> Body,
) -> Response {
    let is_coded = encoding == Encoding::Gzip && GZIP_MIN <= body.len();
    let mut response = Response::new(into_body(if is_coded { gzip(&body) } else { body }));
    *response.status_mut() = status;
    if is_coded {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A list, sent frame by frame. It keeps its permit until it is sent.
#[must_use]
pub fn list(frames: impl InFrames, encoding: Encoding, permit: Option<OwnedSemaphorePermit>) -> Response {
    let body = ListBody { frames, _permit: permit };
    let mut response = Response::new(Body::new(body));
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// What the client has is what it would get.
#[must_use]
pub fn unchanged(tag: EntityTag) -> Response {
    tag.on(bodiless(StatusCode::NOT_MODIFIED))
}

// === impl InFrames ===

impl InFrames for Frames {
    fn remaining(&self) -> Option<u64> {
        Self::remaining(self)
    }
}

impl InFrames for Pages {
    fn remaining(&self) -> Option<u64> {
        Self::remaining(self)
    }
}

// === impl EntityTag ===

impl EntityTag {
    /// The tag of a directory as it stands.
    #[must_use]
    pub fn of(tag: Tag) -> Self {
        let mut text = String::with_capacity(48);
        // Writing to a text cannot fail.
        let _ = write!(text, "W/\"{:x}-{}\"", tag.epoch, tag.revision);
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("W/\"\"")))
    }

    /// The same for one of several ways to write it, each with a number.
    #[must_use]
    pub fn of_variant(tag: Tag, variant: usize) -> Self {
        let mut text = String::with_capacity(48);
        // Writing to a text cannot fail.
        let _ = write!(text, "W/\"{:x}-{}-{variant}\"", tag.epoch, tag.revision);
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("W/\"\"")))
    }

    /// Puts the tag on an answer. Whoever keeps the answer has to ask again before using it.
    #[must_use]
    pub fn on(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(ETAG, self.0);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// What stands between the quotes and is compared (RFC 9110 section 13.1.2).
    fn opaque(&self) -> &[u8] {
        let tag = self.0.as_bytes();
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
}

// === impl Wants ===

impl Wants {
    /// What the head of a request asks for.
    #[must_use]
    pub fn of(request: &Parts) -> Self {
        let headers = &request.headers;
        Self {
            encoding: encoding(&headers.get_all(ACCEPT_ENCODING)),
            known: headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
        }
    }

    /// What the head of a request asks for that has no tag.
    #[must_use]
    pub fn coding_of(request: &Parts) -> Encoding {
        encoding(&request.headers.get_all(ACCEPT_ENCODING))
    }

    /// Whether the client has the answer with this tag.
    #[must_use]
    pub fn has(&self, tag: &EntityTag) -> bool {
        self.known.iter().any(|line| names(line.as_bytes(), tag.opaque()))
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(request))
    }
}

/// Whether a line of `If-None-Match` names this tag, weak or not. A comma may stand within a tag.
fn names(line: &[u8], opaque: &[u8]) -> bool {
    let mut rest = line.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while let Some(start) = memchr::memchr(b'"', rest) {
        let Some(len) = memchr::memchr(b'"', &rest[start + 1..]) else { return false };
        let end = start + 1 + len + 1;
        if &rest[start..end] == opaque {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

/// gzip when the client takes it at least as gladly as plain text (RFC 9110 section 12.5.3).
fn encoding(lines: &GetAll<'_, HeaderValue>) -> Encoding {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for coding in lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let name = name.trim();
        let place = if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if name.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if name == "*" {
            &mut any
        } else {
            continue;
        };
        *place = Some(quality(parameters));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    if 0 < gzip && identity.unwrap_or(0) <= gzip { Encoding::Gzip } else { Encoding::Identity }
}

/// `q=0.5` in thousandths; what cannot be read counts as refused, which is always safe.
fn quality(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let Some((_, value)) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else {
        return 1000;
    };
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    match (whole, fraction) {
        ("1", _) => 1000,
        ("0", "") => 0,
        ("0", digits) if digits.len() <= 3 => format!("{digits:0<3}").parse().unwrap_or(0),
        (_, _) => 0,
    }
}

// === impl ListBody ===

impl<F: InFrames> http_body::Body for ListBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.next().map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.remaining().map(SizeHint::with_exact).unwrap_or_default()
    }
}

// === impl LongBody ===

impl http_body::Body for LongBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = PIECE.min(self.rest.len());
        let frame = (piece != 0).then(|| Ok(Frame::data(self.rest.split_to(piece))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

// === impl NoBody ===

impl http_body::Body for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    /// Not even zero: a `Content-Length` would be that of the answer with a body.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn check_encoding(lines: &[&'static str], want: Encoding) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        assert_eq!(encoding(&headers.get_all(ACCEPT_ENCODING)), want, "{lines:?}");
    }

    #[test]
    fn codings_are_chosen_by_quality() {
        for lines in [
            &["gzip"][..],
            &["GZIP"],
            &["x-gzip"],
            &["gzip, deflate"],
            &["deflate, gzip"],
            &["deflate,gzip;q=1.0"],
            &["br", "gzip;q=0.5"],
            &["*"],
            &["identity;q=0.5, *;q=0.8"],
            &["gzip;Q=0.001"],
            &["gzip ; q=1.000, identity"],
        ] {
            check_encoding(lines, Encoding::Gzip);
        }
        for lines in [
            &[][..],
            &[""],
            &["identity"],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0.000"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["identity, gzip;q=0.9"],
            &["gzip;q=high"],
            &["gzip;q=0.1234"],
            &["gzipped"],
        ] {
            check_encoding(lines, Encoding::Identity);
        }
    }

    fn check_known(lines: &[&'static str], want: bool) {
        let known = lines.iter().map(|line| HeaderValue::from_static(line)).collect();
        let tag = EntityTag::of(Tag { epoch: 0xabc, revision: 42 });
        assert_eq!(Wants { encoding: Encoding::Identity, known }.has(&tag), want, "{lines:?}");
    }

    #[test]
    fn tags_are_compared_weakly() {
        for lines in [
            &["W/\"abc-42\""][..],
            &["\"abc-42\""],
            &["*"],
            &[" * "],
            &["\"a,b\", W/\"abc-42\" , \"z\""],
            &["W/\"abc-41\",W/\"abc-42\""],
            &["\"x\"", "W/\"abc-42\""],
        ] {
            check_known(lines, true);
        }
        for lines in [
            &[][..],
            &[""],
            &["abc-42"],
            &["W/\"abc-4\""],
            &["W/\"abc-421\""],
            &["W/\"abc-42"],
            &["\"x, W/\"abc-42\""],
            &["\"*\""],
        ] {
            check_known(lines, false);
        }
    }

    #[test]
    fn a_tag_names_epoch_and_revision() {
        let response = EntityTag::of(Tag { epoch: u64::MAX, revision: u64::MAX }).on(empty(StatusCode::OK));
        assert_eq!(response.headers()[ETAG], "W/\"ffffffffffffffff-18446744073709551615\"");
    }
}

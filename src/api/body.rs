//! Bodies of requests: which types are taken, in which coding, how much of them, for how long.
//!
//! Never: reads a body before its request is let in, or arms a timer for one that is already there.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::ApiError;
use crate::wire::lenient::excerpt;

/// The request has no body of known length, or one that says it is JSON in UTF-8 (spec amalgam8 section 2).
#[derive(Debug)]
pub struct JsonOnly;

/// Reads a whole body.
///
/// # Errors
/// When it is longer than `max` bytes, has not come after `deadline`, or breaks off.
pub async fn read(body: Body, max: usize, deadline: Duration) -> Result<Bytes, ApiError> {
    if usize::try_from(body.size_hint().lower()).is_ok_and(|least| max < least) {
        return Err(ApiError::BodyTooLarge { max });
    }
    let mut whole = pin!(Limited::new(body, max).collect());
    let at_once = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await;
    let read = match at_once {
        Poll::Ready(read) => read,
        Poll::Pending => tokio::time::timeout(deadline, whole)
            .await
            .map_err(|_| ApiError::BodyTooSlow { limit: deadline })?,
    };
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::BodyTooLarge { max }),
        // The client broke off or broke the coding of its body; there is nobody to tell more.
        Err(_) => Err(ApiError::BodyBroken),
    }
}

/// Reads a whole body that may be compressed; neither form is longer than `max` bytes.
///
/// # Errors
/// As [`read`], and when the coding is not known or the body is not in it.
pub async fn read_decoded(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    deadline: Duration,
) -> Result<Bytes, ApiError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = codings.next().map(|coding| coding.as_bytes().trim_ascii()).unwrap_or_default();
    let is_gzip = coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip");
    let is_plain = coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    if !(is_gzip || is_plain) || codings.next().is_some() {
        return Err(ApiError::Coding { got: excerpt(&String::from_utf8_lossy(coding)).into() });
    }
    let body = read(body, max, deadline).await?;
    if is_plain || body.is_empty() { Ok(body) } else { gunzip(&body, max) }
}

fn gunzip(coded: &[u8], max: usize) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(coded).take(limit).read_to_end(&mut body).map_err(|_| ApiError::BodyBroken)?;
    match body.len() <= max {
        true => Ok(body.into()),
        false => Err(ApiError::BodyTooLarge { max }),
    }
}

// === impl JsonOnly ===

impl<S: Sync> FromRequestParts<S> for JsonOnly {
    type Rejection = ApiError;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::check(request)
    }
}

impl JsonOnly {
    /// Judges the head of a request.
    ///
    /// # Errors
    /// When there is a body, and it does not say that it is JSON.
    pub(super) fn check(request: &Parts) -> Result<Self, ApiError> {
        let Some(length) = request.headers.get(CONTENT_LENGTH) else { return Ok(Self) };
        if length.as_bytes().iter().all(|digit| *digit == b'0') {
            return Ok(Self);
        }
        let Some(value) = request.headers.get(CONTENT_TYPE) else {
            return Err(ApiError::MediaType { got: "nothing".into() });
        };
        match value.to_str() {
            Ok(value) if is_json(value) => Ok(Self),
            Ok(value) => Err(ApiError::MediaType { got: excerpt(value).into() }),
            Err(_) => Err(ApiError::MediaType { got: "other bytes than ASCII".into() }),
        }
    }
}

/// `application/json`, alone or with a charset that is UTF-8. Other parameters, and broken ones, do not count.
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';');
    let media_type = parts.next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[test]
    fn json_by_type() {
        for value in [
            "application/json",
            "APPLICATION/JSON",
            " application/json ;charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; charset=\"Utf-8\"",
            "application/json; version=1; q",
            "application/json;",
        ] {
            assert!(is_json(value), "{value}");
        }
        for value in [
            "",
            "text/json",
            "application/jsonp",
            "application/hal+json",
            "application/json, text/plain",
            "application/json; charset=latin1",
            "application/json; charset=utf-16",
            "application/json; version=1; CHARSET=latin1",
            "*/*",
        ] {
            assert!(!is_json(value), "{value}");
        }
    }

    /// A body in pieces, whose length is not known.
    fn pieces(pieces: &[&'static str], end: bool) -> Body {
        let frames: Vec<_> = pieces
            .iter()
            .map(|p| Ok::<_, Infallible>(Frame::data(Bytes::from_static(p.as_bytes()))))
            .collect();
        let frames = futures_util::stream::iter(frames);
        let open = futures_util::stream::pending();
        match end {
            true => Body::new(StreamBody::new(frames)),
            false => Body::new(StreamBody::new(futures_util::StreamExt::chain(frames, open))),
        }
    }

    async fn check(body: Body, want: Result<&str, ApiError>) {
        let got = read(body, 10, Duration::from_secs(30)).await;
        assert_eq!(got.as_ref().map(|b| &b[..]), want.as_ref().map(|s| s.as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_read_within_their_limits() {
        check(Body::empty(), Ok("")).await;
        check(Body::new(Full::from("0123456789")), Ok("0123456789")).await;
        check(Body::new(Full::from("0123456789a")), Err(ApiError::BodyTooLarge { max: 10 })).await;
        check(pieces(&["01234", "56789"], true), Ok("0123456789")).await;
        check(pieces(&["01234", "56789", "a"], true), Err(ApiError::BodyTooLarge { max: 10 })).await;
        let limit = Duration::from_secs(30);
        check(pieces(&["0"], false), Err(ApiError::BodyTooSlow { limit })).await;
    }

    async fn check_coded(coding: &'static str, body: Vec<u8>, max: usize, want: Result<&[u8], ApiError>) {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(coding))]);
        let got = read_decoded(&headers, body.into(), max, Duration::from_secs(30)).await;
        assert_eq!(got.as_ref().map(|b| &b[..]), want.as_ref().copied(), "{coding}");
    }

    #[tokio::test]
    async fn bodies_are_decoded_within_their_limits() {
        let zeros = vec![0; 100_000];
        let coded = crate::directory::gzip(&zeros).to_vec();
        assert!(coded.len() < 1_000);
        for coding in ["gzip", "GZIP", "x-gzip"] {
            check_coded(coding, coded.clone(), zeros.len(), Ok(&zeros)).await;
        }
        let max = zeros.len() - 1;
        check_coded("gzip", coded.clone(), max, Err(ApiError::BodyTooLarge { max })).await;
        check_coded("gzip", coded.clone(), 10, Err(ApiError::BodyTooLarge { max: 10 })).await;
        check_coded("gzip", coded[..coded.len() - 9].to_vec(), 100_000, Err(ApiError::BodyBroken)).await;
        check_coded("gzip", b"plain".to_vec(), 10, Err(ApiError::BodyBroken)).await;
        check_coded("gzip", Vec::new(), 10, Ok(b"")).await;
        check_coded("identity", b"plain".to_vec(), 10, Ok(b"plain")).await;
        check_coded("", b"plain".to_vec(), 10, Ok(b"plain")).await;
        check_coded("br", b"x".to_vec(), 10, Err(ApiError::Coding { got: "br".into() })).await;
    }
}

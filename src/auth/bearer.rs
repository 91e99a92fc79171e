//! The token in an `Authorization` header (spec amalgam8 section 6).
//!
//! The header is `Bearer X` or `bearer X`; X is everything after the first blank.
//! Never: shows any word of the header that could be a credential.

/// Why an `Authorization` header holds no token that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The scheme is not one of the two spellings of Bearer.
    #[error("expected Bearer, got {got}")]
    Scheme {
        /// A well-known scheme by its name, anything else described.
        got: &'static str,
    },
    /// There is no blank, so there is either no scheme or no token.
    #[error("expected Bearer and a token with a blank between them, got a single word")]
    OneWord,
    /// Nothing follows the scheme.
    #[error("expected a token after Bearer, got nothing")]
    NoToken,
    /// The token has bytes that no token has.
    #[error("expected a token in UTF-8, got other bytes")]
    NotText,
    /// What follows Basic is not Base64 of `user:password` in UTF-8.
    #[error("expected a user and a password after Basic, in Base64, got something else")]
    NoPassword,
    /// More than one header; which of them counts would be a guess.
    #[error("expected one Authorization header, got several")]
    Several,
}

/// The token in the `Authorization` headers of a request. No header, and one that is empty, hold none.
/// Several headers are refused, so that no proxy and registry pick different ones.
///
/// # Errors
/// When there is a header and it is not one `Bearer X` or `bearer X`.
pub fn bearer_token<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a str>, Malformed> {
    let mut headers = headers.into_iter();
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(Malformed::Several);
    }
    if header.is_empty() {
        return Ok(None);
    }
    let blank = memchr::memchr(b' ', header).ok_or(Malformed::OneWord)?;
    let (scheme, token) = (&header[..blank], &header[blank + 1..]);
    if scheme != b"Bearer" && scheme != b"bearer" {
        return Err(Malformed::Scheme { got: name_of(scheme) });
    }
    if token.is_empty() {
        return Err(Malformed::NoToken);
    }
    std::str::from_utf8(token).map(Some).map_err(|_| Malformed::NotText)
}

/// A scheme by name when it is a known one: an unknown first word may be a part of a secret.
fn name_of(scheme: &[u8]) -> &'static str {
    const KNOWN: [&str; 8] =
        ["Basic", "Digest", "Token", "Negotiate", "NTLM", "ApiKey", "AWS4-HMAC-SHA256", "DPoP"];
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return "Bearer in other letters than Bearer or bearer";
    }
    KNOWN.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.as_bytes())).unwrap_or("another scheme")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], want: Result<Option<&str>, Malformed>) {
        assert_eq!(bearer_token(headers.iter().map(|header| header.as_bytes())), want, "{headers:?}");
    }

    #[test]
    fn the_token_is_everything_after_the_first_blank() {
        check(&[], Ok(None));
        check(&[""], Ok(None));
        check(&["Bearer acme"], Ok(Some("acme")));
        check(&["bearer acme"], Ok(Some("acme")));
        check(&["Bearer  x"], Ok(Some(" x")));
        check(&["Bearer a b"], Ok(Some("a b")));
        check(&["Bearer é"], Ok(Some("é")));
        assert_eq!(bearer_token(None), Ok(None));
        assert_eq!(bearer_token(Some(&b"Bearer x"[..])), Ok(Some("x")));
    }

    #[test]
    fn anything_else_is_malformed() {
        check(&["Bearer"], Err(Malformed::OneWord));
        check(&["default"], Err(Malformed::OneWord));
        check(&["Bearer\tx"], Err(Malformed::OneWord));
        check(&["Bearer "], Err(Malformed::NoToken));
        check(&["Basic dXNlcjpwdw=="], Err(Malformed::Scheme { got: "Basic" }));
        check(&["token acme"], Err(Malformed::Scheme { got: "Token" }));
        check(&[" Bearer x"], Err(Malformed::Scheme { got: "another scheme" }));
        check(
            &["BEARER default"],
            Err(Malformed::Scheme { got: "Bearer in other letters than Bearer or bearer" }),
        );
        check(&["Bearer a", "Bearer a"], Err(Malformed::Several));
        check(&["", ""], Err(Malformed::Several));
        assert_eq!(bearer_token(Some(&b"Bearer \xff"[..])), Err(Malformed::NotText));
    }

    #[test]
    fn an_unknown_first_word_is_not_shown() {
        let why = bearer_token(Some(&b"hunter2 hunter3"[..])).expect_err("is malformed").to_string();
        assert_eq!(why, "expected Bearer, got another scheme");
        let why = bearer_token(Some(&b"Basic aHVudGVyMg=="[..])).expect_err("is malformed").to_string();
        assert_eq!(why, "expected Bearer, got Basic");
    }
}

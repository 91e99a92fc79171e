//! The token in an `Authorization` header of clients that know users and passwords only: the password is the
//! token, whoever the user (RFC 7617, spec eureka section 4.7).
//!
//! Never: shows any part of the header.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::bearer::{Malformed, bearer_token};

const BASIC: &[u8] = b"Basic ";

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token in the `Authorization` headers of a request: Basic's password, or as [`bearer_token`] has it. An empty
/// password is no token.
///
/// # Errors
/// When there is a header and it is neither.
pub fn bearer_or_basic<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Cow<'a, str>>, Malformed> {
    let mut headers = headers.into_iter();
    let (Some(header), second) = (headers.next(), headers.next()) else { return Ok(None) };
    match header.split_at_checked(BASIC.len()) {
        Some((scheme, credentials)) if second.is_none() && scheme.eq_ignore_ascii_case(BASIC) => {
            password(credentials.trim_ascii()).map(Some)
        }
        Some(_) | None => Ok(bearer_token(std::iter::once(header).chain(second))?.map(Cow::Borrowed)),
    }
    .map(|token| token.filter(|token| !token.is_empty()))
}

/// What stands behind the first colon; a user has none.
fn password(credentials: &[u8]) -> Result<Cow<'static, str>, Malformed> {
    let mut decoded = BASE64.decode(credentials).map_err(|_| Malformed::NoPassword)?;
    let colon = memchr::memchr(b':', &decoded).ok_or(Malformed::NoPassword)?;
    let password = decoded.split_off(colon + 1);
    String::from_utf8(password).map(Cow::Owned).map_err(|_| Malformed::NoPassword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], want: Result<Option<&str>, Malformed>) {
        let got = bearer_or_basic(headers.iter().map(|header| header.as_bytes()));
        assert_eq!(
            got.as_ref().map(|token| token.as_deref()),
            want.as_ref().map(|token| *token),
            "{headers:?}"
        );
    }

    #[test]
    fn the_password_is_the_token() {
        // user:pw, user:p:w, :pw, user:, user:é
        check(&["Basic dXNlcjpwdw=="], Ok(Some("pw")));
        check(&["basic dXNlcjpwdw"], Ok(Some("pw")));
        check(&["BASIC   dXNlcjpwOnc="], Ok(Some("p:w")));
        check(&["Basic OnB3"], Ok(Some("pw")));
        check(&["Basic dXNlcjo="], Ok(None));
        check(&["Basic dXNlcjrDqQ=="], Ok(Some("é")));
    }

    #[test]
    fn bearer_is_read_as_everywhere() {
        check(&[], Ok(None));
        check(&[""], Ok(None));
        check(&["Bearer acme"], Ok(Some("acme")));
        check(&["Bearer "], Err(Malformed::NoToken));
        check(&["token acme"], Err(Malformed::Scheme { got: "Token" }));
        check(&["Bearer a", "Basic dXNlcjpwdw=="], Err(Malformed::Several));
        check(&["Basic dXNlcjpwdw==", "Basic dXNlcjpwdw=="], Err(Malformed::Several));
    }

    #[test]
    fn anything_else_is_malformed() {
        // user, user:\xff
        for header in ["Basic ", "Basic dXNlcg==", "Basic x", "Basic dXNlcjr/", "Basic user:pw"] {
            check(&[header], Err(Malformed::NoPassword));
        }
        check(&["Basic"], Err(Malformed::OneWord));
    }
}

//! How authentication is configured, and which configurations make no sense.
//!
//! Never: reads flags, variables or files, or shows a secret.

use std::path::PathBuf;
use std::str::FromStr;

use super::keys::KeyFileError;
use crate::model::Secret;

/// Which tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthConfig {
    /// In the order of asking. Empty: no authentication, everybody is in the namespace `default`.
    pub modes: Vec<Mode>,
    /// What [`Mode::Jwt`] needs.
    pub jwt: Option<JwtConfig>,
}

/// One way to read a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The token is the namespace.
    Trusted,
    /// The token is signed, and a claim names the namespace.
    Jwt,
}

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("got {0:?}, wanted trusted or jwt")]
pub struct UnknownMode(Box<str>);

/// How signed tokens are judged. At least one of the three sources of keys is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// Shared secret for HS256.
    pub secret: Option<Secret>,
    /// File with one or more public keys in PEM, for RS256, ES256 or EdDSA as each key is.
    pub public_key: Option<PathBuf>,
    /// File with a JWK set of public keys.
    pub jwks_file: Option<PathBuf>,
    /// The claim that names the namespace; usually [`JwtConfig::NAMESPACE_CLAIM`].
    pub namespace_claim: String,
    /// When there, `aud` must be or hold it.
    pub audience: Option<String>,
    /// When there, `iss` must be it.
    pub issuer: Option<String>,
}

/// Why a configuration cannot be used. Names the flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// Signed tokens were asked for, and there is nothing to verify them with.
    #[error("auth_mode jwt needs one of jwt_secret, jwt_public_key and jwt_jwks_file")]
    NoKey,
    /// A text that must say something is empty.
    #[error("{flag} is empty")]
    Empty {
        /// The flag that set it.
        flag: &'static str,
    },
    /// A public key as a secret would let everybody sign.
    #[error("jwt_secret holds a key in PEM or JWK form; give its file as jwt_public_key or jwt_jwks_file")]
    SecretIsKey,
    /// The claim has a meaning of its own.
    #[error("jwt_namespace_claim is {got}, which has a meaning of its own")]
    ReservedClaim {
        /// One of `exp`, `nbf`, `iat`, `aud`, `iss`.
        got: &'static str,
    },
    /// The keys of a file cannot be used.
    #[error("{flag} {}: {why}", path.display())]
    KeyFile {
        /// The flag that named the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: KeyFileError,
    },
}

// === impl Mode ===

impl Mode {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Jwt => "jwt",
        }
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;
    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "trusted" => Ok(Self::Trusted),
            "jwt" => Ok(Self::Jwt),
            other => Err(UnknownMode(other.into())),
        }
    }
}

// === impl JwtConfig ===

impl JwtConfig {
    /// The claim of the original (spec amalgam8 section 6).
    pub const NAMESPACE_CLAIM: &str = "namespace";

    /// Everything that can be said without looking into a file.
    pub(super) fn check(&self) -> Result<(), AuthConfigError> {
        const RESERVED: [&str; 5] = ["exp", "nbf", "iat", "aud", "iss"];
        let Self { secret, public_key, jwks_file, namespace_claim, audience, issuer } = self;
        if secret.is_none() && public_key.is_none() && jwks_file.is_none() {
            return Err(AuthConfigError::NoKey);
        }
        let texts = [
            ("jwt_namespace_claim", Some(namespace_claim.as_str())),
            ("jwt_audience", audience.as_deref()),
            ("jwt_issuer", issuer.as_deref()),
        ];
        if let Some((flag, _)) = texts.into_iter().find(|(_, text)| *text == Some("")) {
            return Err(AuthConfigError::Empty { flag });
        }
        if secret.as_ref().is_some_and(is_key) {
            return Err(AuthConfigError::SecretIsKey);
        }
        match RESERVED.into_iter().find(|reserved| reserved == namespace_claim) {
            Some(got) => Err(AuthConfigError::ReservedClaim { got }),
            None => Ok(()),
        }
    }
}

/// Whether somebody put a key where a secret belongs that everybody may know.
fn is_key(secret: &Secret) -> bool {
    let text = secret.expose().trim_start();
    text.contains("-----BEGIN ") || (text.starts_with('{') && text.contains("\"kty\""))
}

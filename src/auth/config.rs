//! How authentication is configured, and which configurations make no sense.
//!
//! Never: reads flags, variables or files, or shows a secret.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::keys::KeyFileError;

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

/// A text that `Debug` shows as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

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

// === impl AuthConfig ===

impl AuthConfig {
    /// Whether anyone can name any namespace.
    #[must_use]
    pub fn contains_trusted(&self) -> bool {
        self.modes.contains(&Mode::Trusted)
    }

    /// What an operator should know at the start, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let place = |mode| self.modes.iter().position(|each| *each == mode);
        let mut warnings = Vec::new();
        if self.contains_trusted() {
            warnings.push("auth_mode contains trusted: anyone can name any namespace");
        }
        match (place(Mode::Trusted), place(Mode::Jwt)) {
            (Some(trusted), Some(jwt)) if trusted < jwt => {
                warnings
                    .push("auth_mode has trusted before jwt: trusted takes every token, jwt is never asked");
            }
            _ => {}
        }
        let Some(jwt) = &self.jwt else { return warnings };
        if !self.modes.contains(&Mode::Jwt) {
            warnings.push("there are keys for jwt, but auth_mode does not contain jwt: they are not used");
        }
        if jwt.secret.as_ref().is_some_and(|secret| secret.reveal().len() < Secret::STRONG) {
            warnings.push("jwt_secret has less than 32 bytes: who holds one token may find it by trying");
        }
        warnings
    }
}

// === impl Mode ===

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
            ("jwt_secret", secret.as_ref().map(Secret::reveal)),
            ("jwt_namespace_claim", Some(namespace_claim.as_str())),
            ("jwt_audience", audience.as_deref()),
            ("jwt_issuer", issuer.as_deref()),
        ];
        if let Some((flag, _)) = texts.into_iter().find(|(_, text)| *text == Some("")) {
            return Err(AuthConfigError::Empty { flag });
        }
        if secret.as_ref().is_some_and(Secret::is_key) {
            return Err(AuthConfigError::SecretIsKey);
        }
        match RESERVED.into_iter().find(|reserved| reserved == namespace_claim) {
            Some(got) => Err(AuthConfigError::ReservedClaim { got }),
            None => Ok(()),
        }
    }
}

// === impl Secret ===

impl Secret {
    /// RFC 7518 section 3.2: a key for HS256 is as long as its hash.
    const STRONG: usize = 32;

    /// The text itself, to be used and not shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether somebody put a key here that everybody may know.
    fn is_key(&self) -> bool {
        let text = self.0.trim_start();
        text.contains("-----BEGIN ") || (text.starts_with('{') && text.contains("\"kty\""))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

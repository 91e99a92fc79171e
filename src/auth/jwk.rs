//! Public keys from a JWK set (RFC 7517).
//!
//! Keys for another use or of a kind that is not known here are left out, as the RFC asks; what would
//! be dangerous (a secret, a private or a weak key) makes the whole set unusable.
//! Never: makes a shared secret of what is in the set.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jose::base64url;
use super::keys::{Algorithm, Key, KeyError, KeyFileError};

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The members that count; secret ones are noticed, not read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

/// The keys of a set that tokens can be verified with.
pub(super) fn keys_of(bytes: &[u8]) -> Result<Vec<Key>, KeyFileError> {
    // The parser's own words may quote the file.
    let set: JwkSet = serde_json::from_slice(bytes)
        .map_err(|error| KeyFileError::NotJwks { line: error.line(), column: error.column() })?;
    let mut keys = Vec::new();
    for (at, jwk) in set.keys.into_iter().enumerate() {
        let key = jwk.into_key().map_err(|why| KeyFileError::Key { position: at + 1, why })?;
        keys.extend(key);
    }
    if keys.is_empty() { Err(KeyFileError::NoKey) } else { Ok(keys) }
}

// === impl Jwk ===

impl Jwk {
    /// None when the key is not for us.
    fn into_key(self) -> Result<Option<Key>, KeyError> {
        if self.kty == "oct" {
            return Err(KeyError::Symmetric);
        }
        if self.d.is_some() {
            return Err(KeyError::Private);
        }
        let Some(algorithm) = self.algorithm().filter(|_| self.is_for_signatures()) else {
            return Ok(None);
        };
        let Self { kid, n, e, x, y, .. } = self;
        let kid = kid.map(String::into_boxed_str);
        let bytes = |text: Option<String>| text.and_then(|text| base64url(&text)).ok_or(KeyError::Unreadable);
        match algorithm {
            Algorithm::Hs256 => Err(KeyError::Symmetric),
            Algorithm::Rs256 => Key::from_rsa(kid, &bytes(n)?, &bytes(e)?),
            Algorithm::Es256 => {
                let (x, y) = (bytes(x)?, bytes(y)?);
                if x.len() != 32 {
                    return Err(KeyError::NotP256);
                }
                Key::from_p256(kid, &[&[4], &*x, &*y].concat())
            }
            Algorithm::EdDsa => Key::from_ed25519(kid, &bytes(x)?),
        }
        .map(Some)
    }

    /// By kind and curve; an `alg` can only rule the key out, as RS512 does.
    fn algorithm(&self) -> Option<Algorithm> {
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return None,
        };
        self.alg.as_ref().is_none_or(|alg| alg == algorithm.name()).then_some(algorithm)
    }

    fn is_for_signatures(&self) -> bool {
        self.used_for.as_ref().is_none_or(|used_for| used_for == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
    }
}

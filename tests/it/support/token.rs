//! Signed tokens, good and bad, and the keys that sign them.
//!
//! Never: verifies one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A key pair of one algorithm; private keys are made anew for each run.
pub(crate) struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    /// The public half.
    pub(crate) pem: String,
    raw: Vec<u8>,
}

// === impl Signer ===

impl Signer {
    /// `RS256`, `ES256` or `EdDSA`.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            other => panic!("no key is made for {other:?}"),
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key can be made");
        let private = pair.serialize_pem();
        let private = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(private.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(private.as_bytes()),
            _ => EncodingKey::from_ed_pem(private.as_bytes()),
        };
        Self {
            algorithm,
            private: private.expect("a private key"),
            pem: pair.public_key_pem(),
            raw: pair.public_key_raw().to_vec(),
        }
    }

    /// The public half of an ES256 or EdDSA key in a JWK set's form.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self.algorithm {
            Algorithm::ES256 => {
                let (x, y) = self.raw[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y)})
            }
            Algorithm::EdDSA => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(&self.raw)})
            }
            other => panic!("{other:?} is written as PEM here"),
        }
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": format!("{:?}", self.algorithm)});
        sign(self.algorithm, &self.private, &header, claims)
    }
}

/// A token for a namespace, signed with a secret.
pub(crate) fn hs256(secret: &str, claims: &Value) -> String {
    hs256_with(secret, &json!({"alg": "HS256"}), claims)
}

/// The same, with a header that says what it likes.
pub(crate) fn hs256_with(secret: &str, header: &Value, claims: &Value) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()), header, claims)
}

/// Seconds since 1970, so many from now.
pub(crate) fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("fits") + seconds
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(algorithm: Algorithm, key: &EncodingKey, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("the key fits");
    format!("{signed}.{}", base64url(signer.try_sign(signed.as_bytes()).expect("signs")))
}

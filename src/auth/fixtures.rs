//! Keys and tokens for the tests of authentication. Private keys are made anew for each run.
//!
//! Never: part of the product.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    AuthConfig, AuthConfigError, AuthError, Authentication, Authenticator, JwtConfig, KeyReload, Mode,
};
use crate::model::Clock;

/// A key pair that signs, and its public half in both forms.
pub(super) struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    pub(super) private_pem: String,
    pub(super) pem: String,
    jwk: Value,
}

pub(super) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::RS256));
pub(super) static P256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256));
pub(super) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::EdDSA));

pub(super) const SECRET: &str = "s3cret";

// === impl Signer ===

impl Signer {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            other => panic!("no key is made for {other:?}"),
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key can be made");
        let (private_pem, pem) = (pair.serialize_pem(), pair.public_key_pem());
        let (private, jwk) = match algorithm {
            Algorithm::RS256 => {
                let public = DecodingKey::from_rsa_pem(pem.as_bytes()).expect("is an RSA key");
                let der = public.try_get_as_bytes().expect("has bytes");
                let (n, e) =
                    (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).expect("has parts");
                let jwk = json!({"kty": "RSA", "n": base64url(&n), "e": base64url(&e)});
                (EncodingKey::from_rsa_pem(private_pem.as_bytes()), jwk)
            }
            Algorithm::ES256 => {
                let (x, y) = pair.public_key_raw()[1..].split_at(32);
                let jwk = json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)});
                (EncodingKey::from_ec_pem(private_pem.as_bytes()), jwk)
            }
            _ => {
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key_raw())});
                (EncodingKey::from_ed_pem(private_pem.as_bytes()), jwk)
            }
        };
        Self { algorithm, private: private.expect("is a private key"), private_pem, pem, jwk }
    }

    /// The public key with further members, or with some replaced.
    pub(super) fn jwk(&self, more: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        for (name, value) in more.as_object().expect("is an object") {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// A token with the right `alg` and whatever else the header is to say.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let mut whole = json!({"alg": format!("{:?}", self.algorithm)});
        for (name, value) in header.as_object().expect("is an object") {
            whole[name] = value.clone();
        }
        self.sign(&format!("{}.{}", part(&whole), part(claims)))
    }

    pub(super) fn sign(&self, signed: &str) -> String {
        sign(self.algorithm, &self.private, signed)
    }
}

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn part(json: &Value) -> String {
    base64url(json.to_string())
}

fn sign(algorithm: Algorithm, key: &EncodingKey, signed: &str) -> String {
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("the key fits");
    format!("{signed}.{}", base64url(signer.try_sign(signed.as_bytes()).expect("signs")))
}

/// Signs two parts with a secret; the header says whatever it says.
pub(super) fn sign_hs256(secret: &[u8], signed: &str) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(secret), signed)
}

/// A token signed with [`SECRET`].
pub(super) fn hs256(claims: &Value) -> String {
    sign_hs256(SECRET.as_bytes(), &format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims)))
}

pub(super) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Authentication by signed tokens, with its key files in a directory of its own.
pub(super) struct Setup {
    pub(super) authentication: Arc<Authentication>,
    pub(super) reload: Option<KeyReload>,
    pub(super) clock: Arc<Clock>,
    directory: TempDir,
}

/// What a [`Setup`] is made of.
#[derive(Default)]
pub(super) struct Keys<'a> {
    pub(super) modes: &'a [Mode],
    pub(super) secret: Option<&'a str>,
    pub(super) pem: Option<&'a str>,
    pub(super) jwks: Option<&'a str>,
}

impl Setup {
    pub(super) fn new(keys: &Keys<'_>) -> Self {
        Self::try_new(keys).expect("the keys are good")
    }

    pub(super) fn try_new(keys: &Keys<'_>) -> Result<Self, AuthConfigError> {
        let Keys { modes, secret, pem, jwks } = keys;
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, content: &str| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::write(&path, content).expect("is written");
            path
        };
        let jwt = JwtConfig {
            secret: secret.and_then(crate::model::Secret::new),
            public_key: pem.map(|pem| file("key.pem", pem)),
            jwks_file: jwks.map(|jwks| file("jwks.json", jwks)),
            namespace_claim: JwtConfig::NAMESPACE_CLAIM.to_owned(),
            audience: None,
            issuer: None,
        };
        let modes = if modes.is_empty() { vec![Mode::Jwt] } else { modes.to_vec() };
        let clock = Arc::new(Clock::default());
        let (authentication, reload) =
            Authentication::new(AuthConfig { modes, jwt: Some(jwt) }, clock.clone())?;
        Ok(Self { authentication, reload, clock, directory })
    }

    pub(super) fn secret() -> Self {
        Self::new(&Keys { secret: Some(SECRET), ..Keys::default() })
    }

    /// One for many cases: to make one takes longer than to ask it.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Setup> = LazyLock::new(Setup::secret);
        &SHARED
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.time_of_day(self.clock.now()).as_millis() / 1000
    }

    /// The namespace, or the reason of the refusal.
    pub(super) fn ask(&self, token: &str) -> Result<String, String> {
        ask(&*self.authentication, Some(token))
    }

    /// Hits and misses of the token cache.
    pub(super) fn cache(&self) -> (u64, u64) {
        let metrics = self.authentication.metrics();
        (metrics.cache_hits.get(), metrics.cache_misses.get())
    }
}

pub(super) fn ask(authenticator: &dyn Authenticator, token: Option<&str>) -> Result<String, String> {
    match authenticator.authenticate(token) {
        Ok(namespace) => Ok(namespace.to_string()),
        Err(AuthError::MissingCredentials) => Err("missing".to_owned()),
        Err(AuthError::Unrecognized) => Err("unrecognized".to_owned()),
        Err(AuthError::Refused { why }) => Err(why.to_owned()),
    }
}

/// Compares what came of many tokens with what was wanted, and shows all that differ at once.
pub(super) fn check_all<'a>(
    setup: &Setup,
    cases: impl IntoIterator<Item = (&'a str, String, Result<&'a str, &'a str>)>,
) {
    let mut wrong = BTreeMap::new();
    for (name, token, want) in cases {
        let got = setup.ask(&token);
        if got.as_ref().map(String::as_str).map_err(String::as_str) != want {
            wrong.insert(name, (got, want));
        }
    }
    assert!(wrong.is_empty(), "got and wanted: {wrong:#?}");
}

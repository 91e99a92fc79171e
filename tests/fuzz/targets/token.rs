//! Authorization headers, through the header's grammar and every mode of authentication.
//!
//! The first byte of an input says what the rest is: a header as it stands, or the two parts of a token with
//! a zero byte between them, which is signed here with one of our keys, or in a way that only looks like it.
//! A namespace is given only to a token that one of our keys signed, as its claims say, and twice the same.
//! Never: reaches beyond authentication, or judges the words of a refusal.

#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use a8registry::auth::{AuthConfig, AuthError, Authentication, Authenticator, JwtConfig, Mode, bearer_token};
use a8registry::model::{Clock, Namespace, Secret};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

const SECRET: &str = "a secret of the fuzzer";
const LEEWAY: f64 = 5.0;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    pair: Ed25519KeyPair,
    /// What stands in the key file.
    pem: String,
    jwt: Arc<Authentication>,
    trusted: Arc<Authentication>,
    jwt_then_trusted: Arc<Authentication>,
    open: Arc<Authentication>,
    clock: Arc<Clock>,
}

/// How a token is signed.
#[derive(Clone, Copy, PartialEq)]
enum Signer {
    Secret,
    Pair,
    /// Another secret.
    Stranger,
    /// The public key as a secret, which everybody knows.
    Confusion,
    /// Not at all.
    Nobody,
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let world = &*WORLD;
    let signer = match kind {
        b'S' => Signer::Secret,
        b'P' => Signer::Pair,
        b'X' => Signer::Stranger,
        b'C' => Signer::Confusion,
        b'N' => Signer::Nobody,
        _ => return world.check_header(rest),
    };
    let (header, claims) = rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()));
    let token = world.token(signer, header, claims.get(1..).unwrap_or_default());
    let given = world.check(&token);
    if !matches!(signer, Signer::Secret | Signer::Pair) {
        assert_eq!(given, None, "{token}");
    }
});

// === impl World ===

impl World {
    fn new() -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("is a seed");
        // RFC 8410: a sequence of the algorithm's name and the key's 32 bytes.
        let mut der = vec![0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        der.extend_from_slice(pair.public_key().as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let file = std::env::temp_dir().join(format!("a8registry-fuzz-{}.pem", std::process::id()));
        std::fs::write(&file, &pem).expect("the key can be written");
        let jwt = JwtConfig {
            secret: Secret::new(SECRET),
            public_key: Some(file.clone()),
            jwks_file: None,
            namespace_claim: JwtConfig::NAMESPACE_CLAIM.to_owned(),
            audience: None,
            issuer: None,
        };
        let clock = Arc::new(Clock::default());
        let authentication = |modes: &[Mode]| {
            let config = AuthConfig { modes: modes.to_vec(), jwt: Some(jwt.clone()) };
            Authentication::new(config, clock.clone()).expect("the keys are good").0
        };
        let world = Self {
            jwt: authentication(&[Mode::Jwt]),
            trusted: authentication(&[Mode::Trusted]),
            jwt_then_trusted: authentication(&[Mode::Jwt, Mode::Trusted]),
            open: authentication(&[]),
            pair,
            pem,
            clock,
        };
        std::fs::remove_file(&file).expect("the key can be removed");
        world
    }

    fn token(&self, signer: Signer, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let with = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
        };
        let signature = match signer {
            Signer::Secret => with(SECRET.as_bytes()),
            Signer::Pair => self.pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Signer::Stranger => with(b"another secret"),
            Signer::Confusion if claims.len() % 2 == 0 => with(self.pem.as_bytes()),
            Signer::Confusion => with(self.pair.public_key().as_ref()),
            Signer::Nobody => Vec::new(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn check_header(&self, header: &[u8]) {
        // Several headers are never a choice.
        assert!(bearer_token([header, header]).is_err());
        match bearer_token([header]) {
            Ok(Some(token)) => {
                let scheme = header.len() - token.len();
                assert!(matches!(&header[..scheme], b"Bearer " | b"bearer ") && !token.is_empty());
                self.check(token);
            }
            Ok(None) => assert!(header.is_empty()),
            Err(_) => assert!(!header.starts_with(b"Bearer ") || header[7..].is_empty() || !is_text(header)),
        }
    }

    /// The namespace that signed tokens are asked for, after checking it.
    fn check(&self, token: &str) -> Option<Namespace> {
        let jwt = self.ask(&self.jwt, token);
        if let Ok(namespace) = &jwt {
            assert_eq!(self.claimed(token).as_deref(), Some(namespace.as_str()), "{token}");
        }
        let trusted = self.ask(&self.trusted, token);
        assert_eq!(trusted.as_ref().ok().map(Namespace::as_str), Some(token).filter(|t| t.len() <= 256));
        let chain = self.ask(&self.jwt_then_trusted, token);
        // Only what is no signed token at all is asked of the next.
        assert_eq!(chain, if jwt == Err(AuthError::Unrecognized) { trusted } else { jwt.clone() });
        let open = self.ask(&self.open, token);
        assert_eq!(open.ok(), (token == "default").then(Namespace::default));
        jwt.ok()
    }

    /// Answers twice the same, the second time from memory.
    fn ask(&self, authentication: &Authentication, token: &str) -> Result<Namespace, AuthError> {
        let first = authentication.authenticate(Some(token));
        assert_eq!(authentication.authenticate(Some(token)), first);
        first
    }

    /// The namespace in the claims of a token, when a key of ours signed it and its times are right.
    fn claimed(&self, token: &str) -> Option<String> {
        let without = token.strip_prefix("jwt.").filter(|rest| rest.split('.').count() == 3);
        let (signed, signature) = without.unwrap_or(token).rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = bytes(signature)?;
        let header = bytes(header)?;
        let is_signed = match members(&header)?.get("alg")?.as_str()? {
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
            }
            "EdDSA" => {
                let key = UnparsedPublicKey::new(&ED25519, self.pair.public_key());
                key.verify(signed.as_bytes(), &signature).is_ok()
            }
            _ => false,
        };
        let claims = bytes(claims)?;
        let claims = members(&claims)?;
        // A second of tolerance: it may have passed since the question.
        let now = self.clock.time_of_day(self.clock.now()).as_millis() as f64 / 1000.0;
        let expires = claims.get("exp").is_none_or(|exp| now - 1.0 <= exp.as_f64().unwrap_or(-1.0) + LEEWAY);
        let begins = claims.get("nbf").is_none_or(|nbf| nbf.as_f64().unwrap_or(1e18) <= now + LEEWAY + 1.0);
        let namespace = claims.get("namespace")?.as_str()?;
        (is_signed && expires && begins).then(|| namespace.to_owned())
    }
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// The members that a token may be judged by. Others need not be readable, only grammatical.
fn members(json: &[u8]) -> Option<BTreeMap<&'static str, Value>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(std::str::from_utf8(json).ok()?).ok()?;
    let read = |name| Some((name, serde_json::from_str(members.get(name)?.get()).ok()?));
    Some(["alg", "exp", "nbf", "namespace"].into_iter().filter_map(read).collect())
}

/// Padded or not.
fn bytes(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()
}

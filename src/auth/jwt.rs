//! Signed tokens (JWT): three parts of base64url, of which the claims name the namespace.
//!
//! What is not three parts with JSON in the first two is not ours; whatever else is wrong refuses the
//! token for good, so that no later authenticator takes a forged one for something it trusts.
//! The signature is judged before the claims.
//! Never: lets a token choose its algorithm, or holds a lock while it verifies.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::cache::TokenCache;
use super::claims::{ClaimRules, Verified};
use super::config::{AuthConfigError, JwtConfig};
use super::jose::{Members, base64url, is_json};
use super::keys::Key;
use super::metrics::AuthMetrics;
use super::refusal::Refusal;
use super::reload::KeyFile;
use super::{AuthError, Authenticator};
use crate::model::{Clock, Namespace};

/// Accepts tokens that one of its keys signed.
#[derive(Debug)]
pub struct JwtAuthenticator {
    ring: ArcSwap<Ring>,
    /// The configured secret; stays when files change.
    secret: Option<Arc<Key>>,
    rules: ClaimRules,
    clock: Arc<Clock>,
    metrics: Arc<AuthMetrics>,
}

/// The keys in force and the tokens that they verified. They are replaced together, so a token that was
/// verified by an old key while the keys changed is remembered only where nobody looks any more.
#[derive(Debug)]
struct Ring {
    keys: Vec<Arc<Key>>,
    verified: TokenCache,
}

/// A token taken apart; the texts are as they were sent.
struct Parts<'a> {
    /// Header, dot and claims: what the signature is of.
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// Longest token in bytes that is looked at.
const TOKEN_MAX: usize = 8192;

// === impl JwtAuthenticator ===

impl JwtAuthenticator {
    /// Reads the key files once and gives them back, to be looked at again.
    pub(super) fn new(
        config: JwtConfig,
        clock: Arc<Clock>,
        metrics: Arc<AuthMetrics>,
    ) -> Result<(Arc<Self>, Vec<KeyFile>), AuthConfigError> {
        config.check()?;
        let JwtConfig { secret, public_key, jwks_file, namespace_claim, audience, issuer } = config;
        let mut files = Vec::new();
        if let Some(path) = public_key {
            files.push(KeyFile::open_pem(path)?);
        }
        if let Some(path) = jwks_file {
            files.push(KeyFile::open_jwks(path)?);
        }
        let jwt = Self {
            ring: ArcSwap::from_pointee(Ring::new(Vec::new())),
            secret: secret.map(|secret| Arc::new(Key::from_secret(secret.expose()))),
            rules: ClaimRules {
                namespace: namespace_claim.into(),
                audience: audience.map(Into::into),
                issuer: issuer.map(Into::into),
            },
            clock,
            metrics,
        };
        jwt.replace_keys(&files);
        Ok((Arc::new(jwt), files))
    }

    /// Puts the keys of the files in force, beside the secret. Forgets every verified token.
    pub(super) fn replace_keys(&self, files: &[KeyFile]) {
        let keys = self.secret.iter().chain(files.iter().flat_map(KeyFile::keys)).cloned().collect();
        self.ring.store(Arc::new(Ring::new(keys)));
    }

    pub(super) fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        let millis = self.clock.time_of_day(self.clock.now()).as_millis();
        i64::try_from(millis / 1000).unwrap_or(i64::MAX)
    }

    fn verify(&self, token: &str, keys: &[Arc<Key>], now: i64) -> Result<Verified, AuthError> {
        if TOKEN_MAX < token.len() {
            return Err(Refusal::TooLong.into());
        }
        let parts = Parts::of(token).ok_or(AuthError::Unrecognized)?;
        let (header, claims) = parts.decode().ok_or(AuthError::Unrecognized)?;
        check_signature(&header, &parts, keys)?;
        let claims = Members::parse(&claims).ok_or(Refusal::ClaimsUnreadable)?;
        Ok(self.rules.judge(&claims, now)?)
    }
}

impl Authenticator for JwtAuthenticator {
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        let token = token.ok_or(AuthError::MissingCredentials)?;
        let ring = self.ring.load();
        let now = self.now();
        if let Some(namespace) = ring.verified.get(token, now) {
            self.metrics.cache_hits.inc();
            return Ok(namespace);
        }
        self.metrics.cache_misses.inc();
        let verified = self.verify(token, &ring.keys, now)?;
        let namespace = verified.namespace.clone();
        ring.verified.insert(token, verified);
        Ok(namespace)
    }
}

// === impl Ring ===

impl Ring {
    fn new(keys: Vec<Arc<Key>>) -> Self {
        Self { keys, verified: TokenCache::new(TokenCache::CAPACITY) }
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    /// Splits at the dots; a `jwt.` before three further parts is dropped.
    fn of(token: &'a str) -> Option<Self> {
        let token = match token.strip_prefix("jwt.") {
            Some(rest) if rest.matches('.').count() == 2 => rest,
            Some(_) | None => token,
        };
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        (!claims.contains('.')).then_some(Self { signed, header, claims, signature })
    }

    /// Header and claims, when both are JSON.
    fn decode(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let json = |part| base64url(part).filter(|bytes| is_json(bytes));
        Some((json(self.header)?, json(self.claims)?))
    }
}

/// Finds the key by `kid` and its algorithm, and has it judge the signature.
fn check_signature(header: &[u8], parts: &Parts<'_>, keys: &[Arc<Key>]) -> Result<(), Refusal> {
    let header = Members::parse(header).ok_or(Refusal::HeaderUnreadable)?;
    let text = |name| match header.get(name) {
        Ok(None) => Ok(None),
        Ok(Some(value)) => value.as_text().map(Some).ok_or(Refusal::HeaderUnreadable),
        Err(_) => Err(Refusal::HeaderUnreadable),
    };
    let (alg, kid) = (text("alg")?.ok_or(Refusal::AlgMissing)?, text("kid")?);
    // RFC 7515 section 4.1.11: an extension that is not understood makes the token invalid.
    if header.get("crit") != Ok(None) {
        return Err(Refusal::Critical);
    }
    let mut fitting = candidates(keys, kid).peekable();
    if fitting.peek().is_none() {
        return Err(Refusal::KidUnknown);
    }
    let mut fitting = fitting.filter(|key| key.algorithm().name() == alg).peekable();
    if fitting.peek().is_none() {
        return Err(Refusal::AlgOther);
    }
    let signature = base64url(parts.signature)
        .filter(|signature| !signature.is_empty())
        .ok_or(Refusal::SignatureUnreadable)?;
    if fitting.any(|key| key.signed(parts.signed, &signature)) {
        Ok(())
    } else {
        Err(Refusal::SignatureOther)
    }
}

/// The keys that a token may have been signed with: those of its `kid`; when no key has that `kid`,
/// those without one (a PEM file and a secret cannot have any); all of them when it has none.
fn candidates<'a>(keys: &'a [Arc<Key>], kid: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Key>> {
    let known = keys.iter().any(|key| kid.is_some() && key.kid() == kid);
    keys.iter().filter(move |key| match kid {
        None => true,
        Some(_) if known => key.kid() == kid,
        Some(_) => key.kid().is_none(),
    })
}

#[cfg(test)]
mod tests;

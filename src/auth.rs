//! From a token to the namespace that it stands for.
//!
//! One [`Authentication`] answers every request: it asks the configured modes in order and keeps
//! signed tokens that it has verified. What a token means is spec amalgam8 section 6.
//! Never: knows a path, a body, a status code, or what the namespace is wanted for; shows a token,
//! a secret or a key in a log, an error or `Debug`.

mod basic;
mod bearer;
mod cache;
mod claims;
mod config;
#[cfg(test)]
mod fixtures;
mod jose;
mod jwk;
mod jwt;
mod keys;
mod metrics;
mod pem;
mod refusal;
mod reload;

use std::fmt;
use std::sync::Arc;

use crate::model::{Clock, Namespace};

pub use basic::bearer_or_basic;
pub use bearer::{Malformed, bearer_token};
pub use config::{AuthConfig, AuthConfigError, JwtConfig, Mode, UnknownMode};
pub use jwt::JwtAuthenticator;
pub use keys::{KeyError, KeyFileError};
pub use metrics::AuthMetrics;
pub use reload::KeyReload;

use refusal::Refusal;

/// Turns a token into a namespace.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The namespace that `token` stands for; `None` is a request without a token.
    ///
    /// # Errors
    /// [`AuthError::Unrecognized`] means "not mine, ask the next"; any other error is final.
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError>;
}

/// Why a token was not accepted. Never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There was no token, and one is needed.
    #[error("a token is needed")]
    MissingCredentials,
    /// The token is of a kind that this authenticator does not know.
    #[error("the token is of no kind that is accepted here")]
    Unrecognized,
    /// The token is of a known kind and was refused.
    #[error("the token was refused: {why}")]
    Refused {
        /// What was wrong or missing, without the token itself.
        why: &'static str,
    },
}

/// No authentication: everybody lives in the namespace `default`, and may say so
/// (spec amalgam8 section 6).
#[derive(Debug, Default)]
pub struct Open {
    everybody: Namespace,
}

/// The token is the namespace. Protects nothing: who knows a name is let in.
#[derive(Debug)]
pub struct Trusted;

/// Several authenticators, asked in order until one recognises the token.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Arc<dyn Authenticator>>,
}

/// What the APIs ask: the configured modes in order, with counters.
#[derive(Debug)]
pub struct Authentication {
    chain: Chain,
    metrics: Arc<AuthMetrics>,
}

// === impl Open ===

impl Authenticator for Open {
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        match token {
            None => Ok(self.everybody.clone()),
            Some(token) if token == self.everybody.as_str() => Ok(self.everybody.clone()),
            Some(_) => Err(Refusal::NotDefault.into()),
        }
    }
}

// === impl Trusted ===

impl Authenticator for Trusted {
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        match token {
            None | Some("") => Err(AuthError::MissingCredentials),
            Some(token) => token.parse().map_err(|_| Refusal::TrustedTooLong.into()),
        }
    }
}

// === impl Chain ===

impl Chain {
    /// A chain in the order of asking. An empty one recognises nothing.
    #[must_use]
    pub fn new(links: Vec<Arc<dyn Authenticator>>) -> Self {
        Self { links }
    }
}

impl Authenticator for Chain {
    /// Without a token the first decides; with one, the first that recognises it.
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        for link in &self.links {
            match link.authenticate(token) {
                Err(AuthError::Unrecognized) if token.is_some() => {}
                decided => return decided,
            }
        }
        Err(AuthError::Unrecognized)
    }
}

// === impl Authentication ===

impl Authentication {
    /// Reads the keys and puts the modes together. No mode at all is [`Open`].
    /// Key files, when there are any, come with a loop that has to be run for changes to be seen.
    /// The time of day that tokens are judged by is the clock's.
    ///
    /// # Errors
    /// When the configuration contradicts itself or a key cannot be used; names flag and file.
    pub fn new(
        config: AuthConfig,
        clock: Arc<Clock>,
    ) -> Result<(Arc<Self>, Option<KeyReload>), AuthConfigError> {
        let AuthConfig { modes, jwt } = config;
        let metrics = Arc::new(AuthMetrics::default());
        let mut reload = None;
        let mut links: Vec<Arc<dyn Authenticator>> = Vec::with_capacity(modes.len().max(1));
        let signed = match jwt {
            Some(jwt) if modes.contains(&Mode::Jwt) => {
                let (jwt, files) = JwtAuthenticator::new(jwt, clock, metrics.clone())?;
                reload = KeyReload::new(jwt.clone(), files);
                Some(jwt)
            }
            Some(_) | None => None,
        };
        for mode in modes {
            links.push(match mode {
                Mode::Trusted => Arc::new(Trusted),
                Mode::Jwt => signed.clone().ok_or(AuthConfigError::NoKey)?,
            });
        }
        if links.is_empty() {
            links.push(Arc::new(Open::default()));
        }
        Ok((Arc::new(Self { chain: Chain::new(links), metrics }), reload))
    }

    /// Counters of what was accepted, refused and reloaded.
    #[must_use]
    pub fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }
}

impl Authenticator for Authentication {
    /// An empty token is no token: an Eureka path can hold one.
    fn authenticate(&self, token: Option<&str>) -> Result<Namespace, AuthError> {
        let decided = self.chain.authenticate(token.filter(|token| !token.is_empty()));
        if let Err(error) = &decided {
            self.metrics.refused(error);
        }
        decided
    }
}

#[cfg(test)]
mod tests;

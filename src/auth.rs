//! From a token to the namespace that it stands for.
//!
//! Never: knows a path or a body, or what the namespace is wanted for.

mod bearer;

use std::fmt;

use crate::model::Namespace;

pub use bearer::{Malformed, bearer_token};

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

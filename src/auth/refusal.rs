//! Every reason for which a token is refused, in words for its owner and in a class for counting.
//!
//! Never: holds any part of a token.

use super::AuthError;

/// What was wrong or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotDefault,
    TrustedTooLong,
    TooLong,
    HeaderUnreadable,
    AlgMissing,
    Critical,
    KidUnknown,
    AlgOther,
    SignatureUnreadable,
    SignatureOther,
    ClaimsUnreadable,
    ClaimTwice,
    ExpUnreadable,
    NbfUnreadable,
    Expired,
    NotYetValid,
    IssuerMissing,
    IssuerOther,
    AudienceMissing,
    AudienceOther,
    NamespaceMissing,
    NamespaceNotText,
    NamespaceEmpty,
    NamespaceTooLong,
}

// === impl Refusal ===

impl Refusal {
    const ALL: [Self; 24] = [
        Self::NotDefault,
        Self::TrustedTooLong,
        Self::TooLong,
        Self::HeaderUnreadable,
        Self::AlgMissing,
        Self::Critical,
        Self::KidUnknown,
        Self::AlgOther,
        Self::SignatureUnreadable,
        Self::SignatureOther,
        Self::ClaimsUnreadable,
        Self::ClaimTwice,
        Self::ExpUnreadable,
        Self::NbfUnreadable,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuerMissing,
        Self::IssuerOther,
        Self::AudienceMissing,
        Self::AudienceOther,
        Self::NamespaceMissing,
        Self::NamespaceNotText,
        Self::NamespaceEmpty,
        Self::NamespaceTooLong,
    ];

    /// What to tell the owner of the token.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::NotDefault => "no auth mode is set here, so the only token is `default`",
            Self::TrustedTooLong => "the token is longer than the 256 bytes that a namespace may have",
            Self::TooLong => "the token is longer than 8192 bytes",
            Self::HeaderUnreadable => {
                "the token's header is not a JSON object with alg and kid as text, each given once"
            }
            Self::AlgMissing => "the token's header has no alg",
            Self::Critical => "the token's header has crit, and no extension is known here",
            Self::KidUnknown => "no key here has the token's kid",
            Self::AlgOther => "the token's alg is not that of its key",
            Self::SignatureUnreadable => "the token's signature is missing or not base64url",
            Self::SignatureOther => "the token's signature does not fit",
            Self::ClaimsUnreadable => "the token's claims are not a JSON object that can be read",
            Self::ClaimTwice => "the token has a claim twice",
            Self::ExpUnreadable => "the claim exp is not a number",
            Self::NbfUnreadable => "the claim nbf is not a number",
            Self::Expired => "the token expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::IssuerMissing => "the claim iss is missing",
            Self::IssuerOther => "the claim iss is not the issuer that is wanted here",
            Self::AudienceMissing => "the claim aud is missing",
            Self::AudienceOther => "the claim aud does not hold the audience that is wanted here",
            Self::NamespaceMissing => "the claim that names the namespace is missing",
            Self::NamespaceNotText => "the claim that names the namespace is not text",
            Self::NamespaceEmpty => "the claim that names the namespace is empty",
            Self::NamespaceTooLong => "the claim that names the namespace has more than 256 bytes",
        }
    }

    /// The label under which it is counted.
    fn class(self) -> &'static str {
        match self {
            Self::NotDefault | Self::TrustedTooLong => "namespace",
            Self::TooLong | Self::HeaderUnreadable | Self::AlgMissing | Self::Critical => "header",
            Self::KidUnknown | Self::AlgOther => "key",
            Self::SignatureUnreadable | Self::SignatureOther => "signature",
            Self::Expired | Self::NotYetValid => "time",
            Self::ClaimsUnreadable
            | Self::ClaimTwice
            | Self::ExpUnreadable
            | Self::NbfUnreadable
            | Self::IssuerMissing
            | Self::IssuerOther
            | Self::AudienceMissing
            | Self::AudienceOther
            | Self::NamespaceMissing
            | Self::NamespaceNotText
            | Self::NamespaceEmpty
            | Self::NamespaceTooLong => "claims",
        }
    }

    /// The label under which an error is counted. An authenticator from elsewhere may give
    /// reasons of its own; those are `other`.
    pub(super) fn class_of(error: &AuthError) -> &'static str {
        match error {
            AuthError::MissingCredentials => "missing",
            AuthError::Unrecognized => "unrecognized",
            AuthError::Refused { why } => {
                Self::ALL.into_iter().find(|known| known.why() == *why).map_or("other", Self::class)
            }
        }
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { why: refusal.why() }
    }
}

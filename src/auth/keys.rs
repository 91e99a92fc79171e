//! Keys that signatures are verified with. Each has one algorithm for good, found when it was loaded.
//!
//! A token never chooses how it is verified: an algorithm comes with a key, so a public key cannot
//! be used as a secret, nor a signature be left out.
//! Never: reads a file, or shows more of a key than its algorithm and `kid`.

use std::fmt;
use std::io;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

/// One key; `Debug` hides what it is made of.
pub(super) struct Key {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    material: DecodingKey,
}

/// Why the keys of a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The file is not there or not to be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// A directory, a pipe or a device; none of them can be looked at again and again.
    #[error("it is not a regular file")]
    NotAFile,
    /// A bound on what a file can make us keep.
    #[error("it has more than {max} bytes")]
    TooLong {
        /// Bytes that are allowed.
        max: usize,
    },
    /// There is nothing in it that begins and ends as a PEM block does.
    #[error("it holds no complete PEM block; wanted -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// Not the JSON of a key set. Says where, not what is there.
    #[error("it is not a JWK set ({{\"keys\": [...]}}); line {line}, column {column}")]
    NotJwks {
        /// Line of the first fault, from 1.
        line: usize,
        /// Column of the first fault.
        column: usize,
    },
    /// Too many keys would make a bad token expensive: each may be tried.
    #[error("it holds {got} keys, at most {max} are allowed")]
    TooManyKeys {
        /// Keys in the file.
        got: usize,
        /// Keys that are allowed.
        max: usize,
    },
    /// Nothing in it is a key that tokens are verified with here.
    #[error("it holds no key for RS256, ES256 or EdDSA")]
    NoKey,
    /// One of its keys must not be used, so none is.
    #[error("key {position}: {why}")]
    Key {
        /// Which of its keys, from 1.
        position: usize,
        /// What is wrong with it.
        why: KeyError,
    },
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A file of public keys is readable for many; a private key in it is a leak.
    #[error("it is a private key; only the public key belongs here")]
    Private,
    /// A secret is configured as such, never by a file that is meant for public keys.
    #[error("it is a symmetric key (kty oct); a shared secret belongs in jwt_secret")]
    Symmetric,
    /// A certificate or another thing that PEM can hold.
    #[error("it is not a public key; wanted PUBLIC KEY or RSA PUBLIC KEY")]
    OtherPem,
    /// The bytes are no key of a kind that is known here.
    #[error("it is not a readable RSA, P-256 or Ed25519 public key")]
    Unreadable,
    /// RSA keys have at least 2048 bits.
    #[error("it is an RSA key of {bits} bits; wanted 2048 to 8192")]
    RsaSize {
        /// Length of the modulus.
        bits: usize,
    },
    /// The exponent or the modulus is of no use.
    #[error("it is not a sound RSA key")]
    RsaUnsound,
    /// ES256 is P-256 and nothing else.
    #[error("it is not a point on the curve P-256")]
    NotP256,
    /// EdDSA is Ed25519 here.
    #[error("it is not an Ed25519 public key")]
    NotEd25519,
}

// === impl Algorithm ===

impl Algorithm {
    /// The `alg` of a token that it signs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

// === impl Key ===

impl Key {
    /// A shared secret, as it was configured.
    pub(super) fn from_secret(secret: &str) -> Self {
        let material = DecodingKey::from_secret(secret.as_bytes());
        Self { algorithm: Algorithm::Hs256, kid: None, material }
    }

    /// An RSA key by its modulus and exponent, big-endian.
    pub(super) fn from_rsa(kid: Option<Box<str>>, n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.first().map_or(0, |top| n.len() * 8 - usize::try_from(top.leading_zeros()).unwrap_or(0));
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        // An exponent of 1 would make every signature its own message.
        let odd = |number: &[u8]| number.last().is_some_and(|low| low % 2 == 1);
        if !odd(n) || !odd(e) || 4 < e.len() || e == [1] {
            return Err(KeyError::RsaUnsound);
        }
        let material = DecodingKey::from_rsa_raw_components(n, e);
        Ok(Self { algorithm: Algorithm::Rs256, kid, material })
    }

    /// A P-256 key by its uncompressed point.
    pub(super) fn from_p256(kid: Option<Box<str>>, point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 65 || !is_sound(&ECDSA_P256_SHA256_FIXED, point) {
            return Err(KeyError::NotP256);
        }
        Ok(Self { algorithm: Algorithm::Es256, kid, material: DecodingKey::from_ec_der(point) })
    }

    /// An Ed25519 key by its 32 bytes.
    pub(super) fn from_ed25519(kid: Option<Box<str>>, point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 32 || !is_sound(&ED25519, point) {
            return Err(KeyError::NotEd25519);
        }
        Ok(Self { algorithm: Algorithm::EdDsa, kid, material: DecodingKey::from_ed_der(point) })
    }

    /// The one algorithm of this key.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What tokens call this key; only keys of a key set have such a name.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this key signed the text.
    pub(super) fn signed(&self, text: &str, signature: &Vec<u8>) -> bool {
        // The provider is named here rather than taken from the process, where two would panic.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.of_library(), &self.material)
            .is_ok_and(|verifier| verifier.verify(text.as_bytes(), signature).is_ok())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, kid, material: _ } = self;
        f.debug_struct("Key").field("algorithm", algorithm).field("kid", kid).finish_non_exhaustive()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn is_sound(algorithm: &'static dyn VerificationAlgorithm, point: &[u8]) -> bool {
    ParsedPublicKey::new(algorithm, point).is_ok()
}

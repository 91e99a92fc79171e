//! Certificates and private keys in files of PEM (RFC 7468), as operators hand them to us.
//!
//! Never: reads more than a file of certificates can have, or quotes in an error what a file holds.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a file of PEM cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is not what it is said to be.
    #[error("is larger than {LENGTH_MAX} bytes")]
    TooLong,
    /// Sections do not end, or are not Base64.
    #[error("is not valid PEM")]
    Invalid,
    /// There is no certificate in it.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// There is no key in it, or one that needs a password.
    #[error("holds no private key in PEM that is not encrypted")]
    NoKey,
}

/// Longest file, in bytes.
const LENGTH_MAX: u64 = 1024 * 1024;

/// What stands in a file.
///
/// # Errors
/// When it cannot be read, or is longer than a mebibyte.
pub fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LENGTH_MAX + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LENGTH_MAX => Ok(bytes),
        Ok(_) | Err(_) => Err(PemError::TooLong),
    }
}

/// All certificates in the text of a file, at least one.
///
/// # Errors
/// When there is none, or what is there is not PEM.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(PemError::NoCertificate),
        Ok(found) => Ok(found),
        Err(_) => Err(PemError::Invalid),
    }
}

/// The first private key in the text of a file: PKCS #8, PKCS #1 or SEC 1, not encrypted.
///
/// # Errors
/// When there is none, or what is there is not PEM.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        Error::NoItemsFound => PemError::NoKey,
        // The library's text quotes lines of the file.
        _ => PemError::Invalid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_what_it_holds() {
        let certificate = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
        let two = certificates([certificate, certificate].concat().as_bytes()).expect("certificates");
        assert_eq!(two.len(), 2);
        for (text, wanted) in [
            ("", "holds no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n", "is not valid PEM"),
            ("-----BEGIN CERTIFICATE-----\n!c2VjcmV0\n-----END CERTIFICATE-----\n", "is not valid PEM"),
        ] {
            assert_eq!(certificates(text.as_bytes()).expect_err(text).to_string(), wanted);
        }
        let encrypted = certificate.replace("CERTIFICATE", "ENCRYPTED PRIVATE KEY");
        for text in ["", certificate, &encrypted] {
            let error = private_key(text.as_bytes()).expect_err(text).to_string();
            assert_eq!(error, "holds no private key in PEM that is not encrypted");
        }
    }

    #[test]
    fn no_more_is_read_than_certificates_can_have() {
        assert!(matches!(read(Path::new("/dev/zero")), Err(PemError::TooLong)));
        assert!(matches!(read(Path::new("/dev/null")), Ok(empty) if empty.is_empty()));
        assert!(matches!(read(Path::new("/")), Err(PemError::Unreadable(_))));
    }
}

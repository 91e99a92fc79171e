//! Public keys from PEM text: one block for each key, several for several keys.
//!
//! Never: takes a private key or a certificate for a public key.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use super::keys::{Key, KeyError, KeyFileError};

/// An RSA key of 8192 bits has some 1500 bytes of PEM; more only costs time to parse.
const BLOCK_MAX: usize = 4096;

/// The keys of all blocks. Text between blocks is a comment.
pub(super) fn keys_of(bytes: &[u8]) -> Result<Vec<Key>, KeyFileError> {
    let mut rest = std::str::from_utf8(bytes).map_err(|_| KeyFileError::NotPem)?;
    let mut keys = Vec::new();
    while let Some((label, block, after)) = next_block(rest)? {
        let position = keys.len() + 1;
        keys.push(key_of(label, block).map_err(|why| KeyFileError::Key { position, why })?);
        rest = after;
    }
    if keys.is_empty() { Err(KeyFileError::NotPem) } else { Ok(keys) }
}

/// Label, whole block and what follows it.
fn next_block(text: &str) -> Result<Option<(&str, &str, &str)>, KeyFileError> {
    const BEGIN: &str = "-----BEGIN ";
    let Some(start) = text.find(BEGIN) else { return Ok(None) };
    let text = &text[start..];
    let (label, _) = text[BEGIN.len()..].split_once("-----").ok_or(KeyFileError::NotPem)?;
    let end = format!("-----END {label}-----");
    let stop = text.find(&end).ok_or(KeyFileError::NotPem)? + end.len();
    let (block, after) = text.split_at(stop);
    Ok(Some((label, block, after)))
}

fn key_of(label: &str, block: &str) -> Result<Key, KeyError> {
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        _ => return Err(KeyError::OtherPem),
    }
    if BLOCK_MAX < block.len() {
        return Err(KeyError::Unreadable);
    }
    let bytes = block.as_bytes();
    let content = |key: DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).ok();
    if let Some(rsa) = DecodingKey::from_rsa_pem(bytes).ok().and_then(content) {
        let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&rsa)
            .map_err(|_| KeyError::Unreadable)?;
        return Key::from_rsa(None, &n, &e);
    }
    if let Some(point) = DecodingKey::from_ec_pem(bytes).ok().and_then(content) {
        return Key::from_p256(None, &point);
    }
    if let Some(point) = DecodingKey::from_ed_pem(bytes).ok().and_then(content) {
        return Key::from_ed25519(None, &point);
    }
    Err(KeyError::Unreadable)
}

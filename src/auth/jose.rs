//! The two encodings of signed tokens and key sets: base64url, and JSON objects.
//!
//! Never: knows what a header or a claim means.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// With or without padding: issuers write both (spec amalgam8 section 6).
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes behind base64url text.
pub(super) fn base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// Whether this is one JSON text of any type.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The members of a JSON object in their order, doubled ones too: parsers differ in which of two they
/// take, and what one program checked another must not read differently.
pub(super) struct Members(Vec<(String, Value)>);

/// A member stands in its object twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice;

// === impl Members ===

impl Members {
    /// Reads an object; none when this is something else or a part of it cannot be held.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The member of that name.
    pub(super) fn get(&self, name: &str) -> Result<Option<&Value>, Twice> {
        let mut named = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (named.next(), named.next()) {
            (_, Some(_)) => Err(Twice),
            (first, None) => Ok(first),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_comes_with_or_without_padding() {
        for (text, want) in [
            ("", Some(&b""[..])),
            ("YQ", Some(b"a")),
            ("YQ==", Some(b"a")),
            ("-_8", Some(b"\xfb\xff")),
            ("-_8=", Some(b"\xfb\xff")),
            ("+/8", None),
            ("YQ===", None),
            ("YR", None),
            ("Y", None),
            ("YQ YQ", None),
            ("YQ\n", None),
        ] {
            assert_eq!(base64url(text).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_not_chosen_from() {
        let members = Members::parse(br#"{"a":1,"b":2,"a":1}"#).expect("is an object");
        assert_eq!(members.get("a"), Err(Twice));
        assert_eq!(members.get("b"), Ok(Some(&Value::from(2))));
        assert_eq!(members.get("c"), Ok(None));
        assert!(Members::parse(b"[]").is_none());
        assert!(Members::parse(b"{").is_none());
        assert!(is_json(b"[]") && !is_json(b"{") && !is_json(b"{} {}"));
    }
}

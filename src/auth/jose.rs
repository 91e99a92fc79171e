//! The two encodings of signed tokens and key sets: base64url, and JSON objects.
//!
//! Never: knows what a header or a claim means.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

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
pub(super) struct Members(Vec<(String, Json)>);

/// A value as far as tokens are concerned. Not the one of the JSON library: that one takes objects with a
/// certain key for something of its own, and anybody can send a token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Text(String),
    Number(Number),
    /// Of a list, those elements that are texts.
    Texts(Vec<String>),
    /// Nothing that means anything in a token.
    Other,
}

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
    pub(super) fn get(&self, name: &str) -> Result<Option<&Json>, Twice> {
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

// === impl Json ===

impl Json {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Texts(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Number(number.into()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(Json::Number(number.into()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
                Ok(Number::from_f64(number).map_or(Json::Other, Json::Number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut texts = Vec::new();
                while let Some(element) = list.next_element()? {
                    if let Json::Text(text) = element {
                        texts.push(text);
                    }
                }
                Ok(Json::Texts(texts))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Json::Other)
            }
        }
        deserializer.deserialize_any(Any)
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
        assert_eq!(members.get("b"), Ok(Some(&Json::Number(2.into()))));
        assert_eq!(members.get("c"), Ok(None));
        assert!(Members::parse(b"[]").is_none());
        assert!(Members::parse(b"{").is_none());
        assert!(is_json(b"[]") && !is_json(b"{") && !is_json(b"{} {}"));
    }
    #[test]
    fn values_are_what_they_look_like() {
        let texts = |texts: &[&str]| Json::Texts(texts.iter().map(ToString::to_string).collect());
        for (json, want) in [
            (r#""a\u00e9""#, Json::Text("aé".to_owned())),
            ("18446744073709551615", Json::Number(u64::MAX.into())),
            ("-1", Json::Number((-1).into())),
            ("[]", texts(&[])),
            (r#"["a",1,["b"],{"c":"d"},null,"e"]"#, texts(&["a", "e"])),
            ("true", Json::Other),
            ("null", Json::Other),
            (r#"{"a":"b"}"#, Json::Other),
            (r#"{"$serde_json::private::RawValue":"\"HS256\""}"#, Json::Other),
            (r#"{"$serde_json::private::Number":"1"}"#, Json::Other),
        ] {
            assert_eq!(serde_json::from_str::<Json>(json).ok(), Some(want), "{json}");
        }
        let deep = |open: &str, close: &str| format!("{}{}", open.repeat(3000), close.repeat(3000));
        assert!(serde_json::from_str::<Json>(&deep("[", "]")).is_err());
        assert!(serde_json::from_str::<Json>("1e999").is_err());
    }
}

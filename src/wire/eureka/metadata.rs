//! Metadata as Eureka's readers know it: texts by name (spec eureka section 2.8).
//!
//! Never: changes what is kept; only how it is shown.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::Instance;

/// The name that only says of which class a map is; never a name of its own.
pub(super) const CLASS: &str = "@class";

/// The class of a map without entries.
pub(super) const EMPTY_MAP: &str = "java.util.Collections$EmptyMap";

/// The name under which an instance that came by the Amalgam8 API has its tags.
pub(super) const TAGS: &str = "amalgam8.tags";

/// The name of a value that has none because it is no object.
const VALUE: &str = "value";

/// Names and values in their order.
pub(super) type Entries<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What an instance shows as its metadata.
#[derive(Debug)]
pub(super) enum Shown<'a> {
    /// No entry.
    Nothing {
        /// The object that it was given as, when that only names a class.
        given: Option<&'a str>,
    },
    /// A JSON object that holds texts only, at least one.
    Flat(&'a str),
    /// Anything else, brought into the form of texts by name; at least one.
    Entries(Entries<'a>),
}

struct Object<'a>(Entries<'a>);

/// The metadata of an instance, and its tags where they are kept apart from it.
pub(super) fn shown(instance: &Instance) -> Shown<'_> {
    let json = instance.metadata.as_ref().map_or("null", |metadata| metadata.as_json());
    let adds_tags = instance.document.is_none() && !instance.tags.is_empty();
    if !adds_tags {
        match json {
            "null" | "{}" => return Shown::Nothing { given: None },
            json if is_flat(json) => return Shown::Flat(json),
            _ => {}
        }
    }
    let mut entries = entries(json);
    if adds_tags && !entries.iter().any(|(name, _)| name == TAGS) {
        entries.push((TAGS.into(), instance.tags.join(",").into()));
    }
    match entries.is_empty() {
        // What came by the Eureka API is an object of texts.
        true => Shown::Nothing { given: instance.document.is_some().then_some(json) },
        false => Shown::Entries(entries),
    }
}

/// The entries of metadata that is any JSON: nested values are their text, `null` is none.
pub(super) fn entries(json: &str) -> Entries<'_> {
    match json.as_bytes().first() {
        Some(b'{') => {
            let mut entries = members(json).unwrap_or_default();
            entries.retain(|(name, _)| name != CLASS);
            entries
        }
        Some(_) => match text_of(json) {
            Ok(Some(text)) => vec![(VALUE.into(), text)],
            Ok(None) | Err(_) => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// The members of a JSON object that are not `null`, also the one that names a class.
///
/// # Errors
/// When it is no object, or a text in it holds half of a surrogate pair.
pub(super) fn members(json: &str) -> Result<Entries<'_>, serde_json::Error> {
    serde_json::from_str::<Object<'_>>(json).map(|object| object.0)
}

/// The text of a JSON value: that of a text, the notation of anything else; none of `null`.
fn text_of(json: &str) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'"') => match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !plain.contains('\\') => Ok(Some(plain.into())),
            Some(_) | None => serde_json::from_str::<String>(json).map(|text| Some(text.into())),
        },
        Some(b'n') | None => Ok(None),
        Some(_) => Ok(Some(json.into())),
    }
}

/// Whether valid JSON without blanks is an object of texts, none of them named [`CLASS`] or by escapes.
fn is_flat(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut rest = match bytes.strip_prefix(b"{") {
        Some(rest) => rest,
        None => return false,
    };
    loop {
        let Some((name, after)) = string(rest) else { return false };
        if name == CLASS.as_bytes() || memchr::memchr(b'\\', name).is_some() {
            return false;
        }
        let Some(after) = after.strip_prefix(b":").and_then(string).map(|(_, after)| after) else {
            return false;
        };
        match after {
            [b',', after @ ..] => rest = after,
            _ => return after == b"}",
        }
    }
}

/// The inside of the JSON string at the beginning, and what comes after it.
fn string(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let json = json.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json.get(at) == Some(&b'"') {
            return Some((json.get(..at)?, json.get(at + 1..)?));
        }
        at += 2;
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut entries = Entries::new();
                while let Some((name, value)) = object.next_entry::<String, &RawValue>()? {
                    let text = text_of(value.get()).map_err(serde::de::Error::custom)?;
                    if let Some(text) = text {
                        entries.push((name.into(), text));
                    }
                }
                Ok(Object(entries))
            }
        }
        from.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_becomes_texts_by_name() {
        for (json, want) in [
            ("null", &[][..]),
            ("{}", &[]),
            ("5", &[("value", "5")]),
            (r#""x\n""#, &[("value", "x\n")]),
            ("[1,2]", &[("value", "[1,2]")]),
            (r#"{"a":"x","b":1.50,"c":true,"d":null}"#, &[("a", "x"), ("b", "1.50"), ("c", "true")]),
            (r#"{"a":{"b":[null]},"\u0062":"\u00e9"}"#, &[("a", r#"{"b":[null]}"#), ("b", "é")]),
            (r#"{"@class":"java.util.Collections$EmptyMap"}"#, &[]),
            (r#"{"\u0040class":"x","a":"1"}"#, &[("a", "1")]),
        ] {
            let want: Entries<'_> = want.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            assert_eq!(entries(json), want, "{json}");
        }
    }

    #[test]
    fn only_flat_objects_of_texts_are_shown_as_they_are() {
        for (json, want) in [
            (r#"{"a":"1"}"#, true),
            (r#"{"a":"\"}","b":""}"#, true),
            (r#"{"a":"\\"}"#, true),
            (r#"{"a":1}"#, false),
            (r#"{"a":"1","b":null}"#, false),
            (r#"{"a":{"b":"c"}}"#, false),
            (r#"{"@class":"x"}"#, false),
            (r#"{"\u0040class":"x"}"#, false),
            (r#"["a"]"#, false),
            (r#""a""#, false),
            ("{}", false),
        ] {
            assert_eq!(is_flat(json), want, "{json}");
        }
    }
}

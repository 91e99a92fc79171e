//! Query strings, and the selection that one of them asks for (spec amalgam8 section 4, "List instances").
//!
//! Read as Go reads them: `+` and `%20` are blanks, a parameter with a bad escape or a `;` is dropped,
//! and of a parameter given twice the first counts.
//! Never: looks at an instance.

use std::borrow::Cow;

use crate::directory::{Fields, Selector, Shown};
use crate::model::Status;
use crate::wire::encoded::Member;
use crate::wire::lenient::excerpt;

/// A list was asked for that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSelection {
    /// `fields` names something that no instance has.
    UnknownField {
        /// The name, shortened.
        got: Box<str>,
    },
    /// Instances cannot be selected by this.
    UnknownParameter {
        /// The name, shortened.
        got: Box<str>,
    },
}

/// The value of a parameter; bytes that are no text equal nothing that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value<'a> {
    Text(Cow<'a, str>),
    NoText,
}

/// What a query says, each parameter once.
#[derive(Debug, Default)]
struct Criteria<'a> {
    fields: Option<Value<'a>>,
    id: Option<Value<'a>>,
    service: Option<Value<'a>>,
    status: Option<Value<'a>>,
    tags: Option<Value<'a>>,
    unknown: Option<Box<str>>,
}

/// The selection that a query asks for.
///
/// # Errors
/// When `fields` holds an unknown name, or else when there is an unknown parameter.
pub fn selector(query: Option<&str>) -> Result<Selector, BadSelection> {
    let Criteria { fields, id, service, status, tags, unknown } = Criteria::of(query.unwrap_or_default());
    let fields = fields.map(|names| members(names.text().unwrap_or("\u{fffd}"))).transpose()?;
    if let Some(got) = unknown {
        return Err(BadSelection::UnknownParameter { got });
    }
    let has_key = id.is_some() || service.is_some() || tags.is_some();
    let no_text = [&id, &service, &tags].into_iter().any(|value| *value == Some(Value::NoText));
    let shown = match &status {
        _ if no_text => Shown::Nothing,
        None if has_key => Shown::All,
        None => Shown::Listed,
        Some(status) => status.text().map_or(Shown::Nothing, shown_by),
    };
    let text = |value: &Option<Value<'_>>| value.as_ref().and_then(Value::text).map(Into::into);
    let tags = tags.as_ref().and_then(Value::text).map(|tags| tags.split(',').map(Into::into).collect());
    Ok(Selector { id: text(&id), service: text(&service), tags: tags.unwrap_or_default(), shown, fields })
}

/// The first value of a parameter that is text.
#[must_use]
pub fn first<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = pairs(query.unwrap_or_default()).find(|(n, _)| **n == *name.as_bytes())?;
    match Value::of(value) {
        Value::Text(text) => Some(text),
        Value::NoText => None,
    }
}

/// All names and values that are text, in their order.
pub fn texts(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query.unwrap_or_default()).filter_map(|(name, value)| match (Value::of(name), Value::of(value)) {
        (Value::Text(name), Value::Text(value)) => Some((name, value)),
        (Value::Text(_) | Value::NoText, Value::Text(_) | Value::NoText) => None,
    })
}

/// The words of the API in any letter case; Eureka's words as they are kept; nothing has another status.
fn shown_by(word: &str) -> Shown {
    let own = [Status::Up, Status::Starting, Status::OutOfService];
    let eurekas = [Status::Down, Status::Unknown];
    if word.eq_ignore_ascii_case("ALL") {
        return Shown::All;
    }
    let own = own.into_iter().find(|status| word.eq_ignore_ascii_case(status.as_str()));
    let status = own.or_else(|| eurekas.into_iter().find(|status| word == status.as_str()));
    status.map_or(Shown::Nothing, Shown::Only)
}

/// No name at all is the least; an empty name among others is none.
fn members(names: &str) -> Result<Fields, BadSelection> {
    if names.is_empty() {
        return Ok(Fields::least());
    }
    names.split(',').try_fold(Fields::least(), |fields, name| match name {
        "id" => Ok(fields.with(Member::Id)),
        "service_name" => Ok(fields.with(Member::ServiceName)),
        "endpoint" => Ok(fields.with(Member::Endpoint)),
        "ttl" => Ok(fields.with(Member::Ttl)),
        "status" => Ok(fields.with(Member::Status)),
        "metadata" => Ok(fields.with(Member::Metadata)),
        "last_heartbeat" => Ok(fields.with(Member::LastHeartbeat)),
        "tags" => Ok(fields.with(Member::Tags)),
        // Known, and part of no list.
        "links" => Ok(fields),
        other => Err(BadSelection::UnknownField { got: excerpt(other).into() }),
    })
}

/// Names and values that can be decoded, in their order.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    })
}

/// None when an escape is bad.
fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Some(Cow::Borrowed(bytes));
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        decoded.push(match first {
            b'+' => b' ',
            b'%' => {
                let ([high, low], after) = after.split_first_chunk::<2>().map(|(h, a)| (*h, a))?;
                rest = after;
                hex(high)? << 4 | hex(low)?
            }
            byte => *byte,
        });
    }
    Some(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

// === impl BadSelection ===

impl BadSelection {
    /// What `fields` may hold.
    pub const FIELDS: &'static str = "names out of id, service_name, endpoint, ttl, status, metadata, \
                                      last_heartbeat, links, tags, with commas between them";
    /// What a query may hold.
    pub const PARAMETERS: &'static str = "one of fields, id, service_name, status, tags";
}

// === impl Value ===

impl<'a> Value<'a> {
    fn of(bytes: Cow<'a, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        }
        .map_or(Self::NoText, Self::Text)
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::NoText => None,
        }
    }
}

// === impl Criteria ===

impl<'a> Criteria<'a> {
    fn of(query: &'a str) -> Self {
        let mut criteria = Self::default();
        for (name, value) in pairs(query) {
            let place = match &*name {
                b"fields" => &mut criteria.fields,
                b"id" => &mut criteria.id,
                b"service_name" => &mut criteria.service,
                b"status" => &mut criteria.status,
                b"tags" => &mut criteria.tags,
                other => {
                    let name = String::from_utf8_lossy(other);
                    criteria.unknown.get_or_insert_with(|| excerpt(&name).into());
                    continue;
                }
            };
            place.get_or_insert_with(|| Value::of(value));
        }
        criteria
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, want: &Selector) {
        let got = selector(Some(query));
        assert_eq!(format!("{got:?}"), format!("{:?}", Ok::<_, BadSelection>(want)), "{query}");
    }

    fn check_fields(query: &str, members: &[Member]) {
        let fields = members.iter().fold(Fields::least(), |fields, member| fields.with(*member));
        check(query, &Selector { fields: Some(fields), ..Selector::default() });
    }

    fn check_refused(query: &str, want: &BadSelection) {
        assert_eq!(selector(Some(query)).unwrap_err(), *want, "{query}");
    }

    fn texts(texts: &[&str]) -> Vec<Box<str>> {
        texts.iter().map(|text| (*text).into()).collect()
    }

    #[test]
    fn without_a_key_hidden_states_stay_hidden() {
        let all = Selector { shown: Shown::All, ..Selector::default() };
        for query in ["", "&&", "status=%zz", "%zz", "service_name=q;status=ALL", "x;y", "a%2"] {
            check(query, &Selector::default());
        }
        check("id=a", &Selector { id: Some("a".into()), ..all.clone() });
        check("service_name=a", &Selector { service: Some("a".into()), ..all.clone() });
        check("tags", &Selector { tags: texts(&[""]), ..all });
    }

    #[test]
    fn statuses() {
        for (query, shown) in [
            ("status=UP", Shown::Only(Status::Up)),
            ("status=sTarting", Shown::Only(Status::Starting)),
            ("status=out_of_service", Shown::Only(Status::OutOfService)),
            ("status=all", Shown::All),
            ("status=DOWN", Shown::Only(Status::Down)),
            ("status=down", Shown::Nothing),
            ("status=UNKNOWN", Shown::Only(Status::Unknown)),
            ("status=NOSUCH", Shown::Nothing),
            ("status=UP,STARTING", Shown::Nothing),
            ("status=", Shown::Nothing),
            ("status=UP+", Shown::Nothing),
            ("status=%FF", Shown::Nothing),
            ("status=UP&status=ALL", Shown::Only(Status::Up)),
        ] {
            check(query, &Selector { shown, ..Selector::default() });
        }
    }

    #[test]
    fn values_are_decoded() {
        let with = |service: &str, tags: &[&str]| Selector {
            service: Some(service.into()),
            tags: texts(tags),
            shown: Shown::All,
            ..Selector::default()
        };
        check("service_name=my%20svc&tags=a=b,c+d,", &with("my svc", &["a=b", "c d", ""]));
        check("service%5Fname=plus%2bone&tags=%C3%BC%2Cx", &with("plus+one", &["ü", "x"]));
        check("service_name=&service_name=b&tags=v1&tags=v2", &with("", &["v1"]));
        let nothing = Selector { shown: Shown::Nothing, ..Selector::default() };
        check("service_name=%FF", &nothing);
        check("id=a&tags=%FF", &Selector { id: Some("a".into()), ..nothing });
    }

    #[test]
    fn fields_are_names() {
        check_fields("fields", &[]);
        check_fields("fields=", &[]);
        check_fields("fields=links,id&", &[]);
        check_fields("fields=tags&fields=bogus", &[Member::Tags]);
        check_fields("fields=status,ttl,status", &[Member::Ttl, Member::Status]);
    }

    #[test]
    fn what_cannot_be_meant() {
        let field = |got: &str| BadSelection::UnknownField { got: got.into() };
        check_refused("fields=bogus&nosuch=1", &field("bogus"));
        check_refused("nosuch=1&fields=ttl,", &field(""));
        check_refused("fields=ttl,%20tags", &field(" tags"));
        check_refused("fields=TTL", &field("TTL"));
        check_refused("fields=%FF", &field("\u{fffd}"));
        let parameter = |got: &str| BadSelection::UnknownParameter { got: got.into() };
        check_refused("nosuch=1&fields=id", &parameter("nosuch"));
        check_refused("Tags=v1", &parameter("Tags"));
        check_refused("=", &parameter(""));
        check_refused("service_name=q&x", &parameter("x"));
        check_refused("%FF=1", &parameter("\u{fffd}"));
        for name in ["endpoint", "ttl", "metadata", "last_heartbeat", "links"] {
            check_refused(&format!("{name}="), &parameter(name));
        }
        check_refused(&"x".repeat(9999), &parameter(&format!("{}...", "x".repeat(40))));
    }

    #[test]
    fn the_first_value_counts() {
        assert_eq!(first(Some("a=1&value=%zz&value=U+P&value=x"), "value").as_deref(), Some("U P"));
        assert_eq!(first(Some("value"), "value").as_deref(), Some(""));
        assert_eq!(first(None, "value"), None);
    }
}

//! What Consul's HTTP API tells of services: the answers of `/v1/catalog/services` and `/v1/health/service/NAME`.
//!
//! Never: keeps an instance, or says what becomes of it.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient::{self, Gap, Unreadable};

/// An instance of a service with its checks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry<'a> {
    /// Where it runs.
    #[serde(borrow)]
    pub node: Node<'a>,
    /// What it is.
    #[serde(borrow)]
    pub service: Service<'a>,
    /// The checks of the node and of the service there.
    #[serde(default, borrow)]
    pub checks: Option<Vec<Check<'a>>>,
}

/// Where an instance runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node<'a> {
    /// Its name, unique in the datacenter.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
    /// Its address.
    #[serde(borrow)]
    pub address: Cow<'a, str>,
}

/// What an instance is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service<'a> {
    /// Unique on its node.
    #[serde(rename = "ID", borrow)]
    pub id: Cow<'a, str>,
    /// The name of the service.
    #[serde(borrow)]
    pub service: Cow<'a, str>,
    /// Free texts.
    #[serde(default, borrow)]
    pub tags: Option<Vec<Cow<'a, str>>>,
    /// Its own address; empty: that of its node.
    #[serde(default, borrow)]
    pub address: Cow<'a, str>,
    /// Its port; 0: none.
    #[serde(default)]
    pub port: i64,
    /// Texts by name, as JSON.
    #[serde(default, borrow)]
    pub meta: Option<&'a RawValue>,
    /// Empty for a service as such; else a proxy or a gateway of Consul's own mesh.
    #[serde(default, borrow)]
    pub kind: Cow<'a, str>,
}

/// What a check found.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check<'a> {
    /// Its name; those of maintenance are reserved.
    #[serde(rename = "CheckID", borrow)]
    pub id: Cow<'a, str>,
    /// `passing`, `warning` or `critical`
    #[serde(borrow)]
    pub status: Cow<'a, str>,
}

/// Hands over the names of all services.
///
/// # Errors
/// When it is no object of services, has more than a mebibyte without one, or cannot be read to its end; some may have been
/// handed over by then.
pub fn read_names(body: impl Read, mut take: impl FnMut(&str)) -> Result<(), Unreadable> {
    let gap = Gap::default();
    let take = |name: &str| {
        gap.close();
        take(name);
    };
    lenient::read_elements(body, &gap, Names(take))
}

/// Hands over all instances of a service; one that cannot be read does not take the others with it.
///
/// # Errors
/// When it is no list, has more than a mebibyte without an instance, cannot be read to its end, or the taker breaks off;
/// some may have been handed over by then.
pub fn read_entries(
    body: impl Read,
    mut take: impl FnMut(Result<Entry<'_>, Unreadable>) -> ControlFlow<()>,
) -> Result<(), Unreadable> {
    let gap = Gap::default();
    let take = |entry: Result<Entry<'_>, Unreadable>| {
        gap.close();
        take(entry)
    };
    lenient::read_elements(body, &gap, Entries(take))
}

struct Names<F>(F);

struct Entries<F>(F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Names<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Names<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of services")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some((name, IgnoredAny)) = object.next_entry::<Cow<'de, str>, _>()? {
            (self.0)(&name);
        }
        Ok(())
    }
}

impl<'de, F: FnMut(Result<Entry<'_>, Unreadable>) -> ControlFlow<()>> DeserializeSeed<'de> for Entries<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Result<Entry<'_>, Unreadable>) -> ControlFlow<()>> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<Box<RawValue>>()? {
            let read = serde_json::from_str(entry.get()).map_err(|error| lenient::not_json(&error));
            if (self.0)(read).is_break() {
                return Err(A::Error::custom("its instances were enough"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_keys_of_an_object() {
        let mut names = Vec::new();
        let recorded = include_str!("../../tests/fixtures/catalogs/consul-services.json");
        read_names(recorded.as_bytes(), |name| names.push(name.to_owned())).expect("names");
        assert_eq!(names, ["consul", "web", "web-sidecar-proxy"]);
        let mut names = Vec::new();
        let body = r#"{"consul": [], "web": ["v1", "http"], "w\u0065b2": null}"#;
        read_names(body.as_bytes(), |name| names.push(name.to_owned())).expect("names");
        assert_eq!(names, ["consul", "web", "web2"]);
        for bad in ["", "[]", "null", "{\"a\":[]", "<html>"] {
            assert!(read_names(bad.as_bytes(), |_| ()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_alone_in_that() {
        let body = r#"[{"Node":{"Node":"n","Address":"a"},"Service":{"ID":"i","Service":"s","Tags":null,"Port":80}},
            5, {"Node":{}}, {"Node":{"Node":"n","Address":"a"},"Service":{"ID":"j","Service":"s","Port":"x"}}]"#;
        let mut read = Vec::new();
        read_entries(body.as_bytes(), |entry| {
            read.push(entry.map(|it| it.service.id.into_owned()).ok());
            ControlFlow::Continue(())
        })
        .expect("a list");
        assert_eq!(read, [Some("i".to_owned()), None, None, None]);
        let deep = "[".repeat(100_000);
        for bad in ["", "{}", "null", "[{}", &deep] {
            assert!(read_entries(bad.as_bytes(), |_| ControlFlow::Continue(())).is_err(), "{bad:.20}");
        }
    }

    #[test]
    fn a_body_that_goes_on_without_anything_to_read_is_given_up() {
        for filler in [b' ', b'"', b'['] {
            let names = (&b"{\"web\":[],"[..]).chain(std::io::repeat(filler));
            assert!(read_names(names, |_| ()).is_err());
            let entries = (&b"[{},"[..]).chain(std::io::repeat(filler));
            assert!(read_entries(entries, |_| ControlFlow::Continue(())).is_err());
        }
    }
}

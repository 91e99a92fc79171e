//! What stands in a file: instances, and entries that are none, each with its place.
//!
//! An entry is the body of a registration, read by the reader that reads registrations, so limits and words are the same.
//! Never: takes anything from a file that is no JSON, or makes more instances than it is told to.

use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use crate::model::{CatalogName, Foreign, Instance, Registration, Timestamp};
use crate::wire::amalgam8::RegistrationBody;
use crate::wire::lenient::{As, Given, Key, Members, Object, Shape, Unreadable};

/// A file that can be used.
#[derive(Debug)]
pub(super) struct Content {
    /// Its instances in their order; of doubled ones all.
    pub(super) instances: Vec<Instance>,
    /// Why entries are left out: the first of them.
    pub(super) faults: Vec<Fault>,
    /// Entries that are left out because they are wrong.
    pub(super) wrong: usize,
    /// Entries that are left out because there are too many.
    pub(super) beyond: usize,
}

/// What is wrong in a file, and where. Lines and columns begin at 1; columns count bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    line: usize,
    column: usize,
    why: String,
}

#[derive(Default)]
struct FileMembers<'a> {
    instances: Entries<'a>,
}

/// A list of entries as they stand there, or what came instead.
struct Entries<'a>(Result<Listed<'a>, Given<'a>>);

#[derive(Default)]
struct Listed<'a> {
    entries: Vec<&'a RawValue>,
    beyond: usize,
}

/// Faults that are kept of a file.
const FAULTS_MAX: usize = 10;
/// Entries that are looked at: what is beyond is only counted, so that a file of empty entries costs no more memory than
/// one of real ones.
const ENTRIES_MAX: usize = 1_000_000;

/// Reads a file, of whose instances at most `max` are taken.
///
/// # Errors
/// When it is not JSON, or not an object with a list `instances`.
pub(super) fn read(file: &[u8], max: usize, found_at: Timestamp) -> Result<Content, Fault> {
    let text = std::str::from_utf8(file)
        .map_err(|error| Fault::at(file, error.valid_up_to(), "is not UTF-8".to_owned()))?;
    let listed = listed(text)?;
    let mut content = Content { instances: Vec::new(), faults: Vec::new(), wrong: 0, beyond: listed.beyond };
    for entry in listed.entries {
        if max <= content.instances.len() {
            content.beyond += 1;
            continue;
        }
        match instance(entry.get(), found_at) {
            Ok(instance) => content.instances.push(instance),
            Err(why) => {
                content.wrong += 1;
                if content.faults.len() < FAULTS_MAX {
                    // An entry is borrowed from the text, so it has a place in it.
                    let offset = entry.get().as_ptr().addr() - text.as_ptr().addr();
                    content.faults.push(Fault::at(file, offset, why));
                }
            }
        }
    }
    Ok(content)
}

fn listed(text: &str) -> Result<Listed<'_>, Fault> {
    let start = text.len() - text.trim_start().len();
    let wrong = |why: &Unreadable| Fault::at(text.as_bytes(), start, why.to_string());
    let mut json = serde_json::Deserializer::from_str(text);
    let As(file) =
        As::<Object<'_, FileMembers<'_>>>::deserialize(&mut json).map_err(|e| Fault::of_json(&e))?;
    json.end().map_err(|e| Fault::of_json(&e))?;
    let FileMembers { instances } = file
        .into_members()
        .map_err(|given| wrong(&given.wrong("the file", "an object with a list instances")))?;
    match instances.0 {
        Ok(listed) => Ok(listed),
        Err(Given::Null) => Ok(Listed::default()),
        Err(given) => Err(wrong(&given.wrong("instances", "a list of registrations"))),
    }
}

fn instance(entry: &str, found_at: Timestamp) -> Result<Instance, String> {
    let body = RegistrationBody::from_json(entry.as_bytes()).map_err(|error| match error {
        Unreadable::WrongType { field: "body", got, wanted } => {
            format!("the entry is {got}, wanted {wanted}")
        }
        Unreadable::WrongType { .. }
        | Unreadable::NotUtf8 { .. }
        | Unreadable::NotJson { .. }
        | Unreadable::NotXml { .. } => error.to_string(),
    })?;
    let registration = Registration::try_from(body).map_err(|invalid| invalid.to_string())?;
    let tag: Box<str> = CatalogName::Filesystem.as_str().into();
    let tags = registration.tags.into_iter().chain([tag]).collect();
    let registration = Registration { tags, ttl: None, ..registration };
    Ok(registration.found(None, Foreign { catalog: CatalogName::Filesystem, renewed: None }, found_at))
}

// === impl Fault ===

impl Fault {
    fn at(file: &[u8], offset: usize, why: String) -> Self {
        let before = &file[..offset];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        Self { line: memchr::memchr_iter(b'\n', before).count() + 1, column: offset - line_start + 1, why }
    }

    fn of_json(error: &serde_json::Error) -> Self {
        let (line, column, text) = (error.line(), error.column(), error.to_string());
        let place = format!(" at line {line} column {column}");
        let why = text.strip_suffix(&place).unwrap_or(&text);
        Self { line, column: column.max(1), why: format!("is not JSON: {why}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, why } = self;
        write!(f, "line {line}, column {column}: {why}")
    }
}

// === impl FileMembers ===

impl<'a> Members<'a> for FileMembers<'a> {
    fn member<A: MapAccess<'a>>(&mut self, key: &Key<'_>, object: &mut A) -> Result<(), A::Error> {
        if key.is("instances") {
            self.instances = object.next_value::<As<_>>()?.0;
        } else {
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

// === impl Entries ===

impl Default for Entries<'_> {
    fn default() -> Self {
        Self(Err(Given::Nothing))
    }
}

impl<'a> Shape<'a> for Entries<'a> {
    fn given(given: Given<'a>) -> Self {
        Self(Err(given))
    }

    fn list<A: SeqAccess<'a>>(mut list: A) -> Result<Self, A::Error> {
        let mut listed = Listed::default();
        while listed.entries.len() < ENTRIES_MAX {
            match list.next_element()? {
                Some(entry) => listed.entries.push(entry),
                None => return Ok(Self(Ok(listed))),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            listed.beyond += 1;
        }
        Ok(Self(Ok(listed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, values: &[&str], faults: &[&str]) {
        let content = read(file.as_bytes(), 100, Timestamp::default()).expect("it can be used");
        let got: Vec<_> = content.instances.iter().map(|instance| instance.endpoint.value()).collect();
        assert_eq!(got, values, "{file}");
        let got: Vec<_> = content.faults.iter().map(ToString::to_string).collect();
        assert_eq!(got, faults, "{file}");
        assert_eq!(content.wrong, faults.len(), "{file}");
    }

    fn check_broken(file: impl AsRef<[u8]>, why: &str) {
        let fault = read(file.as_ref(), 100, Timestamp::default()).expect_err("it cannot be used");
        assert_eq!(fault.to_string(), why, "{}", String::from_utf8_lossy(file.as_ref()));
    }

    const GOOD: &str = r#"{"service_name":"a","endpoint":{"type":"tcp","value":"a:1"}}"#;

    #[test]
    fn entries_are_registrations() {
        check(&format!(r#"{{"instances":[{GOOD}]}}"#), &["a:1"], &[]);
        check(r#" {"instances":[]} "#, &[], &[]);
        check(r#"{"instances":null,"more":[{}]}"#, &[], &[]);
        let file = r#"{"instances":[{"service_name":"a","endpoint":{"type":"http","value":"x"},"ttl":5,
            "status":"starting","tags":["t"],"metadata":{ "k": 1 },"id":"no","last_heartbeat":7}]}"#;
        let content = read(file.as_bytes(), 1, Timestamp::default()).expect("it can be used");
        let [instance] = &content.instances[..] else { panic!("{content:?}") };
        assert_eq!(instance.id.as_str().len(), 16);
        assert_eq!(instance.status.as_str(), "STARTING");
        assert_eq!(instance.tags, ["t".into(), "filesystem".into()].into());
        assert_eq!(instance.metadata.as_ref().map(|it| it.as_json()), Some(r#"{"k":1}"#));
        assert!(instance.ttl.is_zero());
        let foreign = Foreign { catalog: CatalogName::Filesystem, renewed: None };
        assert_eq!(instance.foreign, Some(foreign));
    }

    #[test]
    fn wrong_entries_are_named_by_their_place() {
        check(
            &format!(
                "{{\n  \"instances\": [\n    {GOOD},\n    {{\"service_name\": \"b\"}}, 7,\n\tnull,\n{GOOD}]}}"
            ),
            &["a:1", "a:1"],
            &[
                "line 4, column 5: endpoint is missing",
                "line 4, column 28: the entry is the number 7, wanted an object",
                "line 5, column 2: service_name is missing or empty",
            ],
        );
        check(
            r#"{"instances":[{"service_name":"é","endpoint":{"type":"ftp","value":"x"}},{"service_name":1}]}"#,
            &[],
            &[
                "line 1, column 15: endpoint.type is \"ftp\", wanted one of http, https, tcp, udp, user",
                "line 1, column 75: service_name is the number 1, wanted a text",
            ],
        );
    }

    #[test]
    fn a_file_that_is_not_such_json_is_broken() {
        check_broken("", "line 1, column 1: is not JSON: EOF while parsing a value");
        check_broken("{\"instances\": [\n", "line 2, column 1: is not JSON: EOF while parsing a list");
        check_broken(
            format!("{{\"instances\":[{GOOD}]}}\n}}"),
            "line 2, column 1: is not JSON: trailing characters",
        );
        check_broken("\n []", "line 2, column 2: the file is a list, wanted an object with a list instances");
        check_broken("{}", "line 1, column 1: instances is nothing, wanted a list of registrations");
        check_broken(
            r#"{"instances":{"a":1}}"#,
            "line 1, column 1: instances is an object, wanted a list of registrations",
        );
        check_broken(b"{\n\"a\xff\":1}", "line 2, column 3: is not UTF-8");
    }

    #[test]
    fn no_more_are_taken_than_may_be() {
        let file = format!(r#"{{"instances":[{GOOD},{{}},{GOOD},{GOOD}]}}"#);
        let content = read(file.as_bytes(), 2, Timestamp::default()).expect("it can be used");
        assert_eq!((content.instances.len(), content.wrong, content.beyond), (2, 1, 1));
        let file = format!(r#"{{"instances":[{}0]}}"#, "0,".repeat(ENTRIES_MAX + 4));
        let content = read(file.as_bytes(), 2, Timestamp::default()).expect("it can be used");
        assert_eq!((content.wrong, content.beyond, content.faults.len()), (ENTRIES_MAX, 5, FAULTS_MAX));
    }
}

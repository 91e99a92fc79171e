//! Query strings of `GET /api/v1/instances`, through the selection into a list of a fixed directory.
//!
//! An input is one query string. What is listed is byte for byte what a naive filter leaves of the whole
//! list, in plain and in compressed form; a query is refused when a naive reading of it says so.
//! Never: changes the directory.

#![no_main]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use a8registry::api::query::{self, BadSelection};
use a8registry::directory::{Directory, Encoding, LeaseRules, LogLimits, Selector, Shown};
use a8registry::model::{
    Clock, Endpoint, EndpointType, Metadata, Origin, Registration, ServiceName, Status, Timestamp,
};
use flate2::read::GzDecoder;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

/// Some 60 kB, so that a whole list is many chunks and many frames.
const INSTANCES: usize = 220;
const SERVICES: [&str; 9] =
    ["web", "Web", "WEB", "billing", "my svc", "plus+one", "ü \"q\\", "a&b=c;d", "%41"];
const TAGS: [&str; 12] = ["", "v1", "v2", "a=b", "c d", "ü", "\"", "\\", "\u{1}x", "with,comma", "V1", "%2C"];
const STATUSES: [Status; 5] = [Status::Up, Status::Up, Status::Starting, Status::OutOfService, Status::Down];
const METADATA: [Option<&str>; 4] =
    [None, Some("null"), Some(r#"{"id":"a","tags":["v1"],"ü":"\u00e9\n"}"#), Some("\"],}\"")];
/// Characters of a query that an error shows.
const SHOWN_MAX: usize = 43;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    directory: Directory,
    rows: Vec<Row>,
}

/// One instance of the whole list.
struct Row {
    text: String,
    /// Names and texts of the members that are there, in their order.
    members: Vec<(&'static str, String)>,
    id: String,
    service: String,
    status: String,
    tags: BTreeSet<String>,
}

/// The members in their order, as they stand in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    service_name: &'a RawValue,
    endpoint: &'a RawValue,
    #[serde(default, deserialize_with = "also_null")]
    ttl: Option<&'a RawValue>,
    status: &'a RawValue,
    last_heartbeat: &'a RawValue,
    #[serde(default, deserialize_with = "also_null")]
    metadata: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "also_null")]
    tags: Option<&'a RawValue>,
}

/// What a query asks for, as spec amalgam8 section 4 says it; a value that is no text is none.
#[derive(Default)]
struct Asked {
    id: Option<Option<String>>,
    service: Option<Option<String>>,
    status: Option<Option<String>>,
    tags: Option<Option<String>>,
    fields: Option<Option<String>>,
    is_unknown: bool,
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let world = &*WORLD;
    let asked = Asked::of(text);
    match query::selector(Some(text)) {
        Ok(selector) => {
            assert!(!asked.is_refused());
            world.check(&selector, &asked.answer(&world.rows));
        }
        Err(why) => {
            assert!(asked.is_refused(), "{why:?}");
            let (BadSelection::UnknownField { got } | BadSelection::UnknownParameter { got }) = why;
            assert!(got.chars().count() <= SHOWN_MAX, "{got}");
        }
    }
    let id = query::first(Some(text), "id").map(|id| id.into_owned());
    assert_eq!(id, asked.id.flatten());
});

// === impl World ===

impl World {
    fn new() -> Self {
        let clock = Arc::new(Clock::default());
        let directory = Directory::new(1, Arc::default(), clock, LogLimits::default(), LeaseRules::default());
        for nth in 0..INSTANCES {
            let instance =
                registration(nth).grant(Duration::from_secs(60 * (nth as u64 % 7)), Timestamp::default());
            directory.place(&instance, None, Origin::Client).expect("there is room");
        }
        let all = Selector { shown: Shown::All, ..Selector::default() };
        let frames = directory.select(&all).render("[".into(), "]".into(), Encoding::Identity);
        let text: Vec<u8> = frames.flatten().collect();
        let list: Vec<&RawValue> = serde_json::from_slice(&text).expect("the whole list is JSON");
        let rows: Vec<_> = list.into_iter().map(Row::of).collect();
        assert_eq!(rows.len(), directory.len());
        Self { directory, rows }
    }

    fn check(&self, selector: &Selector, wanted: &[String]) {
        let listing = self.directory.select(selector);
        assert_eq!((listing.len(), listing.is_empty()), (wanted.len(), wanted.is_empty()));
        let wanted = format!("[{}]", wanted.join(","));
        let frames = listing.render("[".into(), "]".into(), Encoding::Identity);
        let announced = frames.remaining();
        let plain: Vec<u8> = frames.flatten().collect();
        assert_eq!(std::str::from_utf8(&plain), Ok(&*wanted));
        assert_eq!(announced, Some(plain.len() as u64));

        let listing = self.directory.select(selector);
        let frames = listing.render("[".into(), "]".into(), Encoding::Gzip);
        let announced = frames.remaining();
        let coded: Vec<u8> = frames.flatten().collect();
        assert!(announced.is_none_or(|bytes| bytes == coded.len() as u64));
        let (mut decoder, mut text) = (GzDecoder::new(&*coded), String::new());
        decoder.read_to_string(&mut text).expect("is gzip");
        assert_eq!(text, wanted);
        assert!(decoder.into_inner().is_empty(), "one member, and nothing behind it");
    }
}

fn registration(nth: usize) -> Registration {
    let tags = TAGS.iter().enumerate().filter(|(bit, _)| (nth * 37) >> bit & 1 == 1 && nth % 3 != 0);
    let tags = tags.map(|(_, tag)| (*tag).into());
    // One instance has more tags than a word has bits.
    let many = (0..if nth == 9 { 300 } else { 0 }).map(|n| format!("t{n}").into());
    Registration {
        service: SERVICES[nth % SERVICES.len()].parse::<ServiceName>().expect("is a name"),
        endpoint: Endpoint::new(EndpointType::Http, &format!("10.0.{}.1:{nth}", nth % 5)).expect("is one"),
        status: STATUSES[nth % STATUSES.len()],
        tags: tags.chain(many).collect(),
        metadata: METADATA[nth % METADATA.len()]
            .map(|json| Metadata::from_json(json, Metadata::AMALGAM8_MAX).expect("is metadata")),
        ttl: None,
        eureka: None,
    }
}

/// A member that is `null` is there all the same.
fn also_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

// === impl Row ===

impl Row {
    fn of(object: &RawValue) -> Self {
        let Listed { id, service_name, endpoint, ttl, status, last_heartbeat, metadata, tags } =
            serde_json::from_str(object.get()).expect("an instance has its shape");
        let text = |json: &RawValue| serde_json::from_str::<String>(json.get()).expect("is a text");
        let members = [
            ("id", Some(id)),
            ("service_name", Some(service_name)),
            ("endpoint", Some(endpoint)),
            ("ttl", ttl),
            ("status", Some(status)),
            ("last_heartbeat", Some(last_heartbeat)),
            ("metadata", metadata),
            ("tags", tags),
        ];
        Self {
            text: object.get().to_owned(),
            members: members
                .into_iter()
                .filter_map(|(name, json)| Some((name, json?.get().to_owned())))
                .collect(),
            id: text(id),
            service: text(service_name),
            status: text(status),
            tags: tags.map(|tags| serde_json::from_str(tags.get()).expect("are texts")).unwrap_or_default(),
        }
    }

    /// The object with just these members.
    fn with(&self, fields: &[&str]) -> String {
        let shown = self.members.iter().filter(|(name, _)| fields.contains(name));
        let shown: Vec<_> = shown.map(|(name, json)| format!("\"{name}\":{json}")).collect();
        format!("{{{}}}", shown.join(","))
    }
}

// === impl Asked ===

impl Asked {
    fn of(query: &str) -> Self {
        let mut asked = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else { continue };
            let value = String::from_utf8(value).ok();
            match &*name {
                b"id" => asked.id.get_or_insert(value),
                b"service_name" => asked.service.get_or_insert(value),
                b"status" => asked.status.get_or_insert(value),
                b"tags" => asked.tags.get_or_insert(value),
                b"fields" => asked.fields.get_or_insert(value),
                _ => {
                    asked.is_unknown = true;
                    continue;
                }
            };
        }
        asked
    }

    fn is_refused(&self) -> bool {
        const FIELDS: [&str; 9] = [
            "id",
            "service_name",
            "endpoint",
            "ttl",
            "status",
            "metadata",
            "last_heartbeat",
            "links",
            "tags",
        ];
        let is_known = |names: &str| names.is_empty() || names.split(',').all(|name| FIELDS.contains(&name));
        let fields = self.fields.as_ref();
        self.is_unknown || fields.is_some_and(|names| !names.as_deref().is_some_and(is_known))
    }

    fn answer(&self, rows: &[Row]) -> Vec<String> {
        let fields = self.fields.iter().flatten().next();
        let fields =
            fields.map(|names| ["id", "endpoint"].into_iter().chain(names.split(',')).collect::<Vec<_>>());
        let shown = rows.iter().filter(|row| self.fits(row));
        shown.map(|row| fields.as_ref().map_or_else(|| row.text.clone(), |names| row.with(names))).collect()
    }

    fn fits(&self, row: &Row) -> bool {
        let equals = |wanted: &Option<Option<String>>, is: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_deref() == Some(is))
        };
        let has_tags = self.tags.as_ref().is_none_or(|tags| {
            tags.as_ref().is_some_and(|tags| tags.split(',').all(|tag| row.tags.contains(tag)))
        });
        let is_shown = match &self.status {
            None => row.status == "UP" || self.id.is_some() || self.service.is_some() || self.tags.is_some(),
            Some(None) => false,
            Some(Some(word)) => match &*word.to_ascii_uppercase() {
                "ALL" => true,
                known @ ("UP" | "STARTING" | "OUT_OF_SERVICE") => row.status == known,
                _ => row.status == *word,
            },
        };
        equals(&self.id, &row.id) && equals(&self.service, &row.service) && has_tags && is_shown
    }
}

/// None when an escape is bad.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.starts_with('+'))?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

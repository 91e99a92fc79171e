//! Bodies of `POST /api/v1/instances`, through wire, model and store into a list.
//!
//! An input is one body, or several with zero bytes between them, which JSON cannot hold. What is taken is
//! what a plain JSON reader reads in the body; the list is JSON that says the same, and registering what the
//! list says changes nothing. What is refused changes nothing and is not repeated in the error.
//! Never: keeps anything from one input to the next.

#![no_main]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use a8registry::directory::{Encoding, LeaseRules, LogLimits, Selector, Shown, Tag};
use a8registry::model::{Clock, Metadata, Namespace, Origin, Registration, Status, TtlLimits};
use a8registry::registry::{Granted, Registry};
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{StoreError, StoreMetrics};
use a8registry::wire::amalgam8::RegistrationBody;
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Bodies of one input that count.
const BODIES_MAX: usize = 8;
/// Instances that the namespace may hold; less than the bodies, so that one can be too many.
const CAPACITY: usize = 4;
/// Longer than any error has to be.
const ERROR_MAX: usize = 600;

const TTL: TtlLimits = TtlLimits {
    default: Duration::from_secs(30),
    min: Duration::from_secs(10),
    max: Duration::from_secs(600),
};

/// A registry, and what should be in it by id.
struct World {
    registry: Registry,
    namespace: Namespace,
    held: BTreeMap<String, Registration>,
}

/// A list as any client reads it.
#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    instances: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<'a> {
    id: String,
    service_name: String,
    endpoint: ListedEndpoint,
    ttl: u64,
    status: String,
    last_heartbeat: String,
    #[serde(borrow, default, deserialize_with = "also_null")]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedEndpoint {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

/// The members of a body in their order, by a reader that knows nothing of registrations.
struct Members(Vec<(String, Value)>);

/// What a body asks for, its metadata aside.
#[derive(Debug, PartialEq)]
struct Asked {
    service: String,
    endpoint: (String, String),
    ttl: Option<u64>,
    status: Status,
    tags: Vec<String>,
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    for body in input.split(|byte| *byte == 0).take(BODIES_MAX) {
        world.post(body);
    }
});

// === impl World ===

impl World {
    fn new() -> Self {
        let clock = Arc::new(Clock::default());
        let config = MemoryConfig {
            namespace_capacity: Some(CAPACITY),
            max_namespaces: 1,
            change_log: LogLimits::default(),
            leases: LeaseRules::default(),
        };
        let store = Arc::new(MemoryStore::new(config, clock.clone(), StoreMetrics::default()));
        let registry = Registry::new(store, clock, TTL);
        Self { registry, namespace: Namespace::default(), held: BTreeMap::new() }
    }

    fn post(&mut self, body: &[u8]) {
        let before = self.tag();
        match read(body) {
            Ok(asked) => self.register(asked),
            Err(error) => assert!(error.len() <= ERROR_MAX, "{} bytes: {error}", error.len()),
        }
        if self.tag() != before {
            self.check_list();
        }
    }

    fn register(&mut self, asked: Registration) {
        let before = self.tag();
        match self.grant(asked.clone()) {
            Ok(Granted { id, ttl, changed }) => {
                assert_eq!(ttl, TTL.grant(asked.ttl));
                let asked = Registration { ttl: Some(ttl), ..asked };
                let same = self.held.insert(id.as_str().to_owned(), asked.clone()) == Some(asked.clone());
                assert_eq!((changed, self.tag() != before), (!same, !same));
            }
            Err(error) => {
                assert_eq!(error, StoreError::NamespaceFull { capacity: CAPACITY });
                assert_eq!((self.held.len(), self.tag()), (CAPACITY, before));
            }
        }
    }

    fn grant(&self, asked: Registration) -> Result<Granted, StoreError> {
        self.registry.register(&self.namespace, asked, Origin::Client).now_or_never().expect("memory answers at once")
    }

    fn tag(&self) -> Tag {
        self.registry.directory(&self.namespace).tag()
    }

    /// The list says what was registered, to a stranger and to ourselves.
    fn check_list(&self) {
        let directory = self.registry.directory(&self.namespace);
        let all = Selector { shown: Shown::All, ..Selector::default() };
        let frames =
            directory.select(&all).render(r#"{"instances":["#.into(), "]}".into(), Encoding::Identity);
        let text: Vec<u8> = frames.flatten().collect();
        let list: List<'_> = serde_json::from_slice(&text).expect("a list is JSON");
        let mut left = self.held.clone();
        for object in list.instances {
            let listed: Listed<'_> = serde_json::from_str(object.get()).expect("an instance has its shape");
            assert_eq!(directory.get_json(&listed.id).as_deref(), Some(object.get().as_bytes()));
            let held = left.remove(&listed.id).expect("only what was registered is listed, and once");
            listed.check(&held);
            let again = read(object.get().as_bytes()).expect("what is listed can be registered");
            assert_eq!(again, held);
            assert_eq!(self.grant(again).map(|granted| granted.changed), Ok(false));
        }
        assert!(left.is_empty(), "not listed: {left:?}");
    }
}

/// As the API reads a body; compared with a plain reading of it.
fn read(body: &[u8]) -> Result<Registration, String> {
    let read = RegistrationBody::from_json(body)
        .map_err(|error| error.to_string())
        .and_then(|body| Registration::try_from(body).map_err(|error| error.to_string()));
    if let Some(members) = Members::of(body) {
        let plain = members.asked();
        match &read {
            Ok(read) => assert_eq!(plain, Some(Asked::of(read))),
            Err(why) => assert!(plain.is_none() || members.get("metadata").is_some(), "refused: {why}"),
        }
    }
    read
}

/// A member that is `null` is there all the same.
fn also_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

// === impl Listed ===

impl Listed<'_> {
    fn check(&self, held: &Registration) {
        let Self { id: _, service_name, endpoint, ttl, status, last_heartbeat, metadata, tags } = self;
        assert_eq!(service_name, held.service.as_str());
        assert_eq!(
            (&*endpoint.kind, &*endpoint.value),
            (held.endpoint.kind().as_str(), held.endpoint.value())
        );
        assert_eq!((Some(Duration::from_secs(*ttl)), &**status), (held.ttl, held.status.as_str()));
        assert_eq!(last_heartbeat.len(), 24);
        assert!(tags.iter().map(String::as_str).eq(held.tags.iter().map(|tag| &**tag)));
        assert_eq!(metadata.map(RawValue::get), held.metadata.as_ref().map(Metadata::as_json));
        let is_for_all = |json: &RawValue| serde_json::from_str::<Value>(json.get()).is_ok();
        assert!(metadata.is_none_or(|json| is_for_all(json) || is_special(json.get().as_bytes())));
    }
}

// === impl Members ===

/// The plain reader takes objects with these keys for something of its own.
fn is_special(json: &[u8]) -> bool {
    json.windows(21).any(|window| window == b"$serde_json::private:")
}

impl Members {
    /// None when the plain reader cannot read the body, or two readings are possible.
    fn of(body: &[u8]) -> Option<Self> {
        let members: Self = serde_json::from_slice(body).ok().filter(|_| !is_special(body))?;
        let keys = members.get("endpoint").and_then(Value::as_object).into_iter().flat_map(|e| e.keys());
        let mut keys: Vec<_> = keys.map(|key| key.to_ascii_lowercase()).collect();
        keys.sort_unstable();
        keys.is_sorted_by(|a, b| a < b).then_some(members)
    }

    /// The last member of that name, in any letter case; `null` is none but for metadata.
    fn get(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value).filter(|value| !value.is_null() || name == "metadata")
    }

    fn asked(&self) -> Option<Asked> {
        let service = self.get("service_name")?.as_str()?.to_owned();
        let endpoint = self.get("endpoint")?.as_object()?;
        let part = |name: &str| {
            let (_, value) = endpoint.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            value.as_str().map(str::to_owned)
        };
        let endpoint = (part("type")?, part("value")?);
        let ttl = match self.get("ttl") {
            None => None,
            Some(ttl) => Some(ttl.as_u64().filter(|seconds| *seconds <= u64::from(u32::MAX))?),
        };
        let status = match self.get("status") {
            None => "",
            Some(status) => status.as_str()?,
        };
        let status = match &*status.to_ascii_uppercase() {
            "" | "UP" => Status::Up,
            "STARTING" => Status::Starting,
            "OUT_OF_SERVICE" => Status::OutOfService,
            _ => return None,
        };
        let tags = match self.get("tags") {
            None => Vec::new(),
            Some(tags) => tags.as_array()?.iter().map(text_or_null).collect::<Option<_>>()?,
        };
        let is_known = ["http", "https", "tcp", "udp", "user"].contains(&&*endpoint.0);
        let is_bounded = (1..=64).contains(&service.len()) && (1..=128).contains(&endpoint.1.len());
        (is_known && is_bounded).then_some(Asked { service, endpoint, ttl, status, tags })
    }
}

/// A `null` among texts is an empty one.
fn text_or_null(value: &Value) -> Option<String> {
    if value.is_null() { Some(String::new()) } else { value.as_str().map(str::to_owned) }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
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
        from.deserialize_map(Object)
    }
}

// === impl Asked ===

impl Asked {
    fn of(read: &Registration) -> Self {
        let Registration { service, endpoint, status, tags, metadata: _, ttl, eureka: _ } = read;
        Self {
            service: service.as_str().to_owned(),
            endpoint: (endpoint.kind().as_str().to_owned(), endpoint.value().to_owned()),
            ttl: ttl.map(|ttl| ttl.as_secs()),
            status: *status,
            tags: tags.iter().map(ToString::to_string).collect(),
        }
    }
}

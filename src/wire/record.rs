//! The form of an instance that is kept in a store outside the process and sent between members.
//!
//! Its names and meanings never change within one version. Members that a newer build of the same
//! version has added are kept and written back, so that an older build in between loses nothing; a
//! newer version is refused. Times and lengths are in milliseconds.
//! Never: the times of a lease; those are not part of what is registered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::{
    Action, DataCenter, Document, Endpoint, Instance, InstanceId, Invalid, Metadata, Port, Status, Timestamp,
};

/// The version that this build writes, and the highest that it reads.
pub const VERSION: u32 = 1;

/// Most metadata that a record may hold, in bytes; more than any API takes.
const METADATA_MAX: usize = 1024 * 1024;

/// The word for [`Action::Modified`].
const MODIFIED: &str = "MODIFIED";

/// An instance, and what a newer build said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The instance.
    pub instance: Instance,
    /// Members that this build does not know.
    unknown: BTreeMap<String, Value>,
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, a member missing, or a member of another type.
    #[error("not a record of an instance: {why}")]
    NotARecord {
        /// What was wrong, with line and column.
        why: Box<str>,
    },
    /// Written by a build that this one cannot follow.
    #[error("the record has version {got}, this build reads up to version {VERSION}")]
    Newer {
        /// The version of the record.
        got: u32,
    },
    /// An instance has an id.
    #[error("the record has an empty id")]
    IdMissing,
    /// A member breaks a rule of the model.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Version 1. `md` is absent without metadata and `null` when the metadata is `null`. Absent stamps `dirty` and
/// `upd` are the time of registration, an absent `act` is the first registration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1<'a> {
    v: u32,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    svc: Cow<'a, str>,
    #[serde(borrow)]
    ep: (Cow<'a, str>, Cow<'a, str>),
    #[serde(borrow)]
    st: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "<[_]>::is_empty")]
    tags: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    md: Option<Cow<'a, RawValue>>,
    ttl: u64,
    reg: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ov: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dirty: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upd: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    up: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    act: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    eureka: Option<Document1<'a>>,
}

/// The members of [`Version1`].
const KNOWN: [&str; 15] =
    ["v", "id", "svc", "ep", "st", "tags", "md", "ttl", "reg", "ov", "dirty", "upd", "up", "act", "eureka"];

/// A record with members that this build does not know.
#[derive(Serialize)]
struct Extended<'a> {
    #[serde(flatten)]
    known: &'a Version1<'a>,
    #[serde(flatten)]
    unknown: &'a BTreeMap<String, Value>,
}

/// What came by the Eureka API, in version 1. A port is its number and whether it serves.
#[derive(Serialize, Deserialize)]
struct Document1<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    ip: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    grp: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sid: Option<Cow<'a, str>>,
    port: (u16, bool),
    sport: (u16, bool),
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    home: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    page: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    health: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    shealth: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    vip: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    svip: Option<Cow<'a, str>>,
    country: i32,
    #[serde(borrow)]
    dc: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "<[_]>::is_empty")]
    cloud: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    every: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    asg: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    word: Option<Cow<'a, str>>,
}

/// All that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
}

// === impl Record ===

impl Record {
    /// The record of an instance that nobody has recorded before.
    #[must_use]
    pub fn of(instance: Instance) -> Self {
        Self { instance, unknown: BTreeMap::new() }
    }

    /// The same record about the instance as it is now.
    #[must_use]
    pub fn with(self, instance: Instance) -> Self {
        Self { instance, ..self }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is no record, of a newer version, or not a valid instance.
    pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
        match serde_json::from_slice::<Version1<'_>>(json) {
            Ok(record) => Ok(Self::of(record.instance()?)),
            // Few records have more members than are known, and to put those aside costs all the others as much as reading.
            Err(_) => Self::from_extended(json),
        }
    }

    /// Reads a record that may have members which this build does not know.
    fn from_extended(json: &[u8]) -> Result<Self, RecordError> {
        let read = || -> serde_json::Result<_> {
            let members = serde_json::from_slice::<BTreeMap<String, &RawValue>>(json)?;
            let (known, unknown): (BTreeMap<_, _>, BTreeMap<_, _>) =
                members.into_iter().partition(|(name, _)| KNOWN.contains(&name.as_str()));
            let known = serde_json::to_vec(&known)?;
            let unknown = unknown.into_iter().map(|(name, it)| Ok((name, serde_json::from_str(it.get())?)));
            Ok((known, unknown.collect::<serde_json::Result<_>>()?))
        };
        let read = read().and_then(|(known, unknown)| {
            let record = serde_json::from_slice::<Version1<'_>>(&known)?;
            Ok(record.instance().map(|instance| Self { instance, unknown }))
        });
        read.unwrap_or_else(|error| {
            // A newer version may lack what version 1 needs, so the version decides which error it is.
            Err(match serde_json::from_slice::<AnyVersion>(json) {
                Ok(AnyVersion { v }) if VERSION < v => RecordError::Newer { got: v },
                Ok(_) | Err(_) => RecordError::NotARecord { why: error.to_string().into() },
            })
        })
    }

    /// Whether a newer build has said more about the instance than this one understands.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Writes the record.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        Self::json_of(&self.instance, &self.unknown)
    }

    /// Writes the record of an instance that nobody has recorded before.
    #[must_use]
    pub fn json_of_new(instance: &Instance) -> Vec<u8> {
        Self::json_of(instance, &BTreeMap::new())
    }

    fn json_of(instance: &Instance, unknown: &BTreeMap<String, Value>) -> Vec<u8> {
        let Instance {
            id,
            service,
            endpoint,
            status,
            tags,
            metadata,
            ttl,
            registered_at,
            overridden,
            dirty_at,
            updated_at,
            up_since,
            action,
            document,
            // What a catalog has is never kept.
            foreign: _,
        } = instance;
        let other_than_registered = |time: &Timestamp| (time != registered_at).then(|| time.as_millis());
        let record = Version1 {
            v: VERSION,
            id: id.as_str().into(),
            svc: service.as_str().into(),
            ep: (endpoint.kind().as_str().into(), endpoint.value().into()),
            st: status.as_str().into(),
            tags: tags.iter().map(|tag| Cow::Borrowed(&**tag)).collect(),
            md: metadata.as_ref().map(raw),
            ttl: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            reg: registered_at.as_millis(),
            ov: overridden.map(|status| status.as_str().into()),
            dirty: other_than_registered(dirty_at),
            upd: other_than_registered(updated_at),
            up: up_since.map(Timestamp::as_millis),
            act: match action {
                Action::Added => None,
                Action::Modified => Some(MODIFIED.into()),
            },
            eureka: document.as_deref().map(Document1::from),
        };
        let written = match unknown.is_empty() {
            true => serde_json::to_vec(&record),
            false => serde_json::to_vec(&Extended { known: &record, unknown }),
        };
        written.expect("texts, numbers and JSON are always written")
    }
}

// === impl Version1 ===

impl Version1<'_> {
    fn instance(self) -> Result<Instance, RecordError> {
        let Version1 { v, id, svc, ep: (kind, value), st, tags, md, ttl, reg, .. } = self;
        let Version1 { ov, dirty, upd, up, act, eureka, .. } = self;
        if VERSION < v {
            return Err(RecordError::Newer { got: v });
        }
        if id.is_empty() {
            return Err(RecordError::IdMissing);
        }
        Ok(Instance {
            id: InstanceId::from_text(&id),
            service: svc.parse()?,
            endpoint: Endpoint::new(kind.parse()?, &value)?,
            status: status(&st)?,
            tags: tags.into_iter().map(|tag| tag.into_owned().into()).collect(),
            metadata: md.map(|json| Metadata::from_json(json.get(), METADATA_MAX)).transpose()?,
            ttl: Duration::from_millis(ttl),
            registered_at: Timestamp::from_millis(reg),
            overridden: ov.map(|word| status(&word)).transpose()?,
            dirty_at: Timestamp::from_millis(dirty.unwrap_or(reg)),
            updated_at: Timestamp::from_millis(upd.unwrap_or(reg)),
            up_since: up.map(Timestamp::from_millis),
            // A kind of change that this build does not know is a change.
            action: if act.is_some() { Action::Modified } else { Action::Added },
            document: eureka.map(|document| Arc::new(document.into())),
            foreign: None,
        })
    }
}

impl<'a> From<&'a Document> for Document1<'a> {
    fn from(document: &'a Document) -> Self {
        let Document {
            instance_id,
            host_name,
            ip_addr,
            app_group,
            sid,
            port,
            secure_port,
            home_page_url,
            status_page_url,
            health_check_url,
            secure_health_check_url,
            vip_address,
            secure_vip_address,
            country_id,
            data_center: DataCenter { name, metadata },
            renewal_interval_secs,
            asg_name,
            status_text,
        } = document;
        let text = |text: &'a Option<Box<str>>| text.as_deref().map(Cow::Borrowed);
        Self {
            id: text(instance_id),
            host: (&**host_name).into(),
            ip: (&**ip_addr).into(),
            grp: text(app_group),
            sid: text(sid),
            port: (port.number, port.is_enabled),
            sport: (secure_port.number, secure_port.is_enabled),
            home: text(home_page_url),
            page: text(status_page_url),
            health: text(health_check_url),
            shealth: text(secure_health_check_url),
            vip: text(vip_address),
            svip: text(secure_vip_address),
            country: *country_id,
            dc: (&**name).into(),
            cloud: metadata.iter().map(|(key, value)| ((&**key).into(), (&**value).into())).collect(),
            every: *renewal_interval_secs,
            asg: text(asg_name),
            word: text(status_text),
        }
    }
}

impl From<Document1<'_>> for Document {
    fn from(document: Document1<'_>) -> Self {
        let text = |text: Option<Cow<'_, str>>| text.map(|text| text.into_owned().into());
        let port = |(number, is_enabled)| Port { number, is_enabled };
        let cloud = document.cloud.into_iter();
        Self {
            instance_id: text(document.id),
            host_name: document.host.into(),
            ip_addr: document.ip.into(),
            app_group: text(document.grp),
            sid: text(document.sid),
            port: port(document.port),
            secure_port: port(document.sport),
            home_page_url: text(document.home),
            status_page_url: text(document.page),
            health_check_url: text(document.health),
            secure_health_check_url: text(document.shealth),
            vip_address: text(document.vip),
            secure_vip_address: text(document.svip),
            country_id: document.country,
            data_center: DataCenter {
                name: document.dc.into(),
                metadata: cloud.map(|(key, value)| (key.into(), value.into())).collect(),
            },
            renewal_interval_secs: document.every,
            asg_name: text(document.asg),
            status_text: text(document.word),
        }
    }
}

fn status(word: &str) -> Result<Status, Invalid> {
    match word {
        "DOWN" => Ok(Status::Down),
        "UNKNOWN" => Ok(Status::Unknown),
        other => Status::from_amalgam8(other),
    }
}

fn raw(metadata: &Metadata) -> Cow<'_, RawValue> {
    Cow::Borrowed(serde_json::from_str(metadata.as_json()).expect("metadata is one JSON value"))
}

/// Keeps `null` apart from an absent member.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, RawValue>>, D::Error> {
    <&RawValue>::deserialize(from).map(|json| Some(Cow::Borrowed(json)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EndpointType;

    const FULL: &str = r#"{"v":1,"id":"c98a600570f3c50b","svc":"a","ep":["http","x"],"st":"OUT_OF_SERVICE","tags":["t",""],"md":{"k":[1,null]},"ttl":30000,"reg":1767225600123}"#;

    fn instance() -> Instance {
        Instance {
            id: InstanceId::of_endpoint("a", "http", "x"),
            service: "a".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, "x").unwrap(),
            status: Status::OutOfService,
            tags: ["t".into(), "".into()].into(),
            metadata: Some(Metadata::from_json(r#"{"k":[1,null]}"#, 1024).unwrap()),
            ttl: Duration::from_secs(30),
            registered_at: Timestamp::from_millis(1_767_225_600_123),
            overridden: None,
            dirty_at: Timestamp::from_millis(1_767_225_600_123),
            updated_at: Timestamp::from_millis(1_767_225_600_123),
            up_since: None,
            action: crate::model::Action::Added,
            document: None,
            foreign: None,
        }
    }

    fn text(record: &Record) -> String {
        String::from_utf8(record.to_json()).unwrap()
    }

    #[test]
    fn the_form_of_version_1_stays() {
        assert_eq!(text(&Record::of(instance())), FULL);
        assert_eq!(Record::from_json(FULL.as_bytes()), Ok(Record::of(instance())));
    }

    #[test]
    fn every_instance_comes_back() {
        let odd = |change: fn(&mut Instance)| {
            let mut instance = instance();
            change(&mut instance);
            let record = Record::of(instance);
            assert_eq!(Record::from_json(&record.to_json()), Ok(record));
        };
        odd(|i| i.status = Status::Unknown);
        odd(|i| i.status = Status::Down);
        odd(|i| i.metadata = None);
        odd(|i| i.metadata = Some(Metadata::from_json("null", 4).unwrap()));
        odd(|i| i.metadata = Some(Metadata::from_json(r#"{"a":1,"a":2.50,"é":"\u00e9"}"#, 99).unwrap()));
        odd(|i| i.id = InstanceId::from_text("APP:höst:80 \"\\\n"));
        odd(|i| i.tags = [].into());
        odd(|i| i.ttl = Duration::from_millis(1500));
        odd(|i| i.overridden = Some(Status::OutOfService));
        odd(|i| i.overridden = Some(Status::Down));
        odd(|i| i.dirty_at = Timestamp::from_millis(5));
        odd(|i| i.updated_at = Timestamp::from_millis(1_767_225_600_124));
        odd(|i| i.up_since = Some(Timestamp::from_millis(0)));
        odd(|i| i.action = Action::Modified);
        odd(|i| i.document = Some(Document::of_host("h\n\"", "::1").into()));
        odd(|i| i.document = Some(document().into()));
    }

    /// Nothing in it is as it would be by default.
    fn document() -> Document {
        let text = |text: &str| Some(text.into());
        Document {
            instance_id: text("pay-1"),
            host_name: "h".into(),
            ip_addr: "10.0.0.1".into(),
            app_group: text("SHOP"),
            sid: text("s-1"),
            port: Port { number: 0, is_enabled: false },
            secure_port: Port { number: 65535, is_enabled: true },
            home_page_url: text("http://h/"),
            status_page_url: text("http://h/info"),
            health_check_url: text("http://h/health"),
            secure_health_check_url: text("https://h/health"),
            vip_address: text("a,b"),
            secure_vip_address: text(""),
            country_id: -1,
            data_center: DataCenter {
                name: "Amazon".into(),
                metadata: [("instance-id".into(), "i-1".into()), ("".into(), "\u{0}".into())].into(),
            },
            renewal_interval_secs: u32::MAX,
            asg_name: text("asg"),
            status_text: text("WARMING"),
        }
    }

    #[test]
    fn the_form_of_the_eureka_part_stays() {
        const FORM: &str = r#"{"v":1,"id":"c98a600570f3c50b","svc":"a","ep":["http","x"],"st":"OUT_OF_SERVICE","tags":["t",""],"md":{"k":[1,null]},"ttl":30000,"reg":1767225600123,"ov":"OUT_OF_SERVICE","dirty":1,"upd":2,"up":3,"act":"MODIFIED","eureka":{"id":"pay-1","host":"h","ip":"10.0.0.1","grp":"SHOP","sid":"s-1","port":[0,false],"sport":[65535,true],"home":"http://h/","page":"http://h/info","health":"http://h/health","shealth":"https://h/health","vip":"a,b","svip":"","country":-1,"dc":"Amazon","cloud":[["instance-id","i-1"],["","\u0000"]],"every":4294967295,"asg":"asg","word":"WARMING"}}"#;
        let instance = Instance {
            overridden: Some(Status::OutOfService),
            dirty_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
            up_since: Some(Timestamp::from_millis(3)),
            action: Action::Modified,
            document: Some(document().into()),
            ..instance()
        };
        assert_eq!(text(&Record::of(instance.clone())), FORM);
        assert_eq!(Record::from_json(FORM.as_bytes()), Ok(Record::of(instance)));
    }

    #[test]
    fn members_of_newer_builds_are_kept_and_written_back() {
        let newer = FULL.replace(r#","reg""#, r#","zone":{"a":[1,2.5,null]},"reg""#);
        let record = Record::from_json(newer.as_bytes()).unwrap();
        assert_eq!(record.instance, instance());
        let renewed = record.with(Instance { status: Status::Up, ..instance() });
        assert!(text(&renewed).contains(r#""zone":{"a":[1,2.5,null]}"#), "{}", text(&renewed));
        assert_eq!(Record::from_json(&renewed.to_json()), Ok(renewed));
        let odd = newer.replace(r#"{"k":[1,null]}"#, r#"{"a":1,"a":2.50}"#);
        let metadata = Record::from_json(odd.as_bytes()).unwrap().instance.metadata;
        assert_eq!(
            metadata.as_ref().map(Metadata::as_json),
            Some(r#"{"a":1,"a":2.50}"#),
            "as it was written"
        );
    }

    #[test]
    fn newer_versions_are_refused_whatever_they_hold() {
        for json in [r#"{"v":2}"#, r#"{"v":2,"id":5}"#, &FULL.replace(r#""v":1"#, r#""v":2"#)] {
            let error = Record::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error, RecordError::Newer { got: 2 });
            assert_eq!(error.to_string(), "the record has version 2, this build reads up to version 1");
        }
    }

    #[test]
    fn broken_records_are_refused() {
        let refused = |json: &str, want: &str| {
            let error = Record::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want), "{json}: {error}");
        };
        refused("", "EOF");
        refused("[]", "not a record");
        refused("{}", "missing field");
        refused(&FULL.replace(r#""c98a600570f3c50b""#, r#""""#), "empty id");
        refused(&FULL.replace(r#""a""#, r#""""#), "service_name is missing");
        refused(&FULL.replace("http", "ftp"), "endpoint.type");
        refused(&FULL.replace("OUT_OF_SERVICE", "ASLEEP"), "status");
        refused(&FULL.replace("30000", "-1"), "not a record");
        refused(&FULL.replace("[1,null]", &("[".repeat(40) + &"]".repeat(40))), "nested");
    }
}

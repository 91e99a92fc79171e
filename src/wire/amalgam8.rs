//! Bodies of the Amalgam8 API (spec amalgam8 section 4), those that come and those that go.
//!
//! A body that comes is read in two steps: the types of its values first, for the whole body, then the
//! rules of the model in the order of the original.
//! Never: lists of instances; the directory keeps those encoded.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::{MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::encoded::push_string;
use super::lenient::{self, Given, Object, Shape, Texts, Unreadable, members};
use crate::model::{Endpoint, EndpointType, Invalid, Metadata, Registration, ServiceName, Status};

/// Body of `POST /api/v1/instances`, its types judged.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistrationBody<'a> {
    service_name: Option<Cow<'a, str>>,
    endpoint: Option<EndpointBody<'a>>,
    ttl: Option<u32>,
    status: Option<Cow<'a, str>>,
    tags: Option<Vec<Cow<'a, str>>>,
    metadata: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq)]
struct EndpointBody<'a> {
    kind: Option<Cow<'a, str>>,
    value: Option<Cow<'a, str>>,
}

/// Body of `PUT /api/v1/instances/{id}/status`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusBody<'a> {
    /// The word, not judged yet.
    pub status: Option<Cow<'a, str>>,
}

/// Body of `PUT /api/v1/heartbeats`: a list of ids, bare or as the member `ids`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalsBody {
    /// The ids in their order, doubled ones too.
    pub ids: Vec<Box<str>>,
}

/// Where an instance is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Links {
    /// The instance.
    #[serde(rename = "self")]
    pub this: String,
    /// Where it is renewed.
    pub heartbeat: String,
}

/// Answer to a registration.
#[derive(Debug)]
pub struct RegisteredBody<'a> {
    /// The id that was given.
    pub id: &'a str,
    /// The lease in force, in whole seconds.
    pub ttl: u64,
    /// Where the instance is found.
    pub links: &'a Links,
}

impl RegisteredBody<'_> {
    /// As JSON; written by hand, because clients register often.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Self { id, ttl, links: Links { this, heartbeat } } = self;
        let mut json = Vec::with_capacity(64 + id.len() + this.len() + heartbeat.len());
        json.extend_from_slice(br#"{"id":"#);
        push_string(&mut json, id);
        json.extend_from_slice(br#","ttl":"#);
        json.extend_from_slice(itoa::Buffer::new().format(*ttl).as_bytes());
        json.extend_from_slice(br#","links":{"self":"#);
        push_string(&mut json, this);
        json.extend_from_slice(br#","heartbeat":"#);
        push_string(&mut json, heartbeat);
        json.extend_from_slice(b"}}");
        json
    }
}

/// Answer to a change of status.
#[derive(Debug, Serialize)]
pub struct StatusSetBody<'a> {
    /// The instance.
    pub id: &'a str,
    /// The status that it has now.
    pub status: &'a str,
}

/// Answer to many renewals.
#[derive(Debug, Serialize)]
pub struct RenewalResults<'a> {
    /// One for each id, in order.
    pub results: Vec<RenewalResult<'a>>,
}

/// What became of one renewal.
#[derive(Debug, Serialize)]
pub struct RenewalResult<'a> {
    /// The id that came.
    pub id: &'a str,
    /// The status that a renewal of its own would have had.
    pub status: u16,
    /// Why it failed.
    #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// Every error of this API. `Error` is the original's; the others stand there when they say something.
#[derive(Debug, Default, Serialize)]
pub struct ErrorBody<'a> {
    /// What failed, in the original's words.
    #[serde(rename = "Error")]
    pub error: &'a str,
    /// The parameter, header or member of the body that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// What came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<&'a str>,
    /// What would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<&'a str>,
    /// Why, where no field is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The catalog that has the instance, which therefore cannot be changed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<&'a str>,
}

#[derive(Default)]
struct RegistrationMembers<'a> {
    service_name: Given<'a>,
    endpoint: Object<'a, EndpointMembers<'a>>,
    ttl: Given<'a>,
    status: Given<'a>,
    tags: Texts<'a>,
    metadata: Option<&'a RawValue>,
}

#[derive(Default)]
struct EndpointMembers<'a> {
    kind: Given<'a>,
    value: Given<'a>,
}

#[derive(Default)]
struct StatusMembers<'a> {
    status: Given<'a>,
}

#[derive(Default)]
struct RenewalsMembers<'a> {
    ids: Texts<'a>,
}

enum Renewals<'a> {
    Bare(Texts<'a>),
    Within(Object<'a, RenewalsMembers<'a>>),
}

// === impl RegistrationBody ===

impl<'a> RegistrationBody<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not JSON, or a value has the wrong type.
    pub fn from_json(body: &'a [u8]) -> Result<Self, Unreadable> {
        let members: Object<'a, RegistrationMembers<'a>> = lenient::read(body)?;
        let RegistrationMembers { service_name, endpoint, ttl, status, tags, metadata } =
            members.members("body")?.unwrap_or_default();
        Ok(Self {
            service_name: service_name.text("service_name")?,
            endpoint: endpoint.members("endpoint")?.map(EndpointBody::try_from).transpose()?,
            ttl: ttl.whole32("ttl")?,
            status: status.text("status")?,
            tags: tags.texts("tags")?,
            metadata: metadata.map(RawValue::get),
        })
    }
}

members!(RegistrationMembers {
    "service_name" => service_name,
    "endpoint" => endpoint,
    "ttl" => ttl,
    "status" => status,
    "tags" => tags,
    "metadata" => metadata by Some,
});

members!(EndpointMembers {
    "type" => kind,
    "value" => value,
});

impl<'a> TryFrom<EndpointMembers<'a>> for EndpointBody<'a> {
    type Error = Unreadable;
    fn try_from(members: EndpointMembers<'a>) -> Result<Self, Unreadable> {
        let EndpointMembers { kind, value } = members;
        Ok(Self { kind: kind.text("endpoint.type")?, value: value.text("endpoint.value")? })
    }
}

impl TryFrom<RegistrationBody<'_>> for Registration {
    type Error = Invalid;

    /// The rules, in the order of spec amalgam8 section 4: what is there, which words are known, lengths.
    fn try_from(body: RegistrationBody<'_>) -> Result<Self, Invalid> {
        let RegistrationBody { service_name, endpoint, ttl, status, tags, metadata } = body;
        let service = service_name.filter(|s| !s.is_empty()).ok_or(Invalid::ServiceNameMissing)?;
        let EndpointBody { kind, value } = endpoint.ok_or(Invalid::EndpointMissing)?;
        let kind = kind.filter(|s| !s.is_empty()).ok_or(Invalid::EndpointIncomplete { field: "type" })?;
        let value = value.filter(|s| !s.is_empty()).ok_or(Invalid::EndpointIncomplete { field: "value" })?;
        let kind: EndpointType = kind.parse()?;
        let status = Status::from_amalgam8(status.as_deref().unwrap_or_default())?;
        let service: ServiceName = service.parse()?;
        let endpoint = Endpoint::new(kind, &value)?;
        let metadata = metadata.map(|text| Metadata::from_json(text, Metadata::AMALGAM8_MAX)).transpose()?;
        let tags = tags.unwrap_or_default().into_iter().map(|tag| tag.into_owned().into()).collect();
        let ttl = ttl.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Self { service, endpoint, status, tags, metadata, ttl, eureka: None })
    }
}

// === impl StatusBody ===

impl<'a> StatusBody<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not JSON, or a value has the wrong type.
    pub fn from_json(body: &'a [u8]) -> Result<Self, Unreadable> {
        let members: Object<'a, StatusMembers<'a>> = lenient::read(body)?;
        let StatusMembers { status } = members.members("body")?.unwrap_or_default();
        Ok(Self { status: status.text("status")? })
    }
}

members!(StatusMembers {
    "status" => status,
});

// === impl RenewalsBody ===

impl RenewalsBody {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not JSON, or holds no list of texts.
    pub fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        let ids = match lenient::read(body)? {
            Renewals::Bare(ids) => ids,
            Renewals::Within(object) => object.members("body")?.unwrap_or_default().ids,
        };
        let ids = ids.texts("ids")?.ok_or_else(|| Given::Nothing.wrong("ids", "a list of texts"))?;
        Ok(Self { ids: ids.into_iter().map(|id| id.into_owned().into()).collect() })
    }
}

impl<'a> Shape<'a> for Renewals<'a> {
    fn given(given: Given<'a>) -> Self {
        Self::Within(Object::given(given))
    }

    fn list<A: SeqAccess<'a>>(list: A) -> Result<Self, A::Error> {
        Texts::list(list).map(Self::Bare)
    }

    fn object<A: MapAccess<'a>>(object: A) -> Result<Self, A::Error> {
        Object::object(object).map(Self::Within)
    }
}

members!(RenewalsMembers {
    "ids" => ids,
});

#[cfg(test)]
mod tests;

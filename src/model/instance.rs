//! A registration (what a client asked) and an instance (what was granted).
//!
//! Never: an instance without an id and a lease's length, or one that changes in place; a change
//! makes a new value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::invalid::excerpt;
use super::{Document, Foreign, InstanceId, Invalid, Metadata, ServiceName, Timestamp};

/// What a client asked for; valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service that the instance belongs to.
    pub service: ServiceName,
    /// Where the instance is reached.
    pub endpoint: Endpoint,
    /// What the instance says of itself.
    pub status: Status,
    /// Free texts; order, duplicates and empty texts are kept.
    pub tags: Box<[Box<str>]>,
    /// Free JSON; absent is not the same as `null`.
    pub metadata: Option<Metadata>,
    /// The lease asked for; absent or zero asks for the default.
    pub ttl: Option<Duration>,
    /// What it says besides when it came by the Eureka API.
    pub eureka: Option<EurekaClaim>,
}

/// What a registration by the Eureka API says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EurekaClaim {
    /// The document.
    pub document: Document,
    /// The client's own version of it (spec eureka section 3.7); absent is the time of registration.
    pub dirty_at: Option<Timestamp>,
    /// A status override that it carries over, from another server as a rule.
    pub overridden: Option<Status>,
}

/// One endpoint that serves, as it was granted. Immutable; its lease's times live in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Identity within the namespace; deterministic, so repeats and replicas agree.
    pub id: InstanceId,
    /// The service that the instance belongs to.
    pub service: ServiceName,
    /// Where the instance is reached.
    pub endpoint: Endpoint,
    /// What the instance, or an operator, says of it; an override is in force here already.
    pub status: Status,
    /// Free texts.
    pub tags: Box<[Box<str>]>,
    /// Free JSON; an object of texts when it came by the Eureka API.
    pub metadata: Option<Metadata>,
    /// Length of the lease.
    pub ttl: Duration,
    /// When the content of this registration was first accepted; by the Eureka API, the latest registration.
    pub registered_at: Timestamp,
    /// The status that an operator put over the instance's own, until it is taken away or the lease ends
    /// (spec eureka section 3.6).
    pub overridden: Option<Status>,
    /// The client's version of what it registered (spec eureka section 3.7).
    pub dirty_at: Timestamp,
    /// When anything but the lease last changed.
    pub updated_at: Timestamp,
    /// When it was first UP, over all of its registrations; none when it never was.
    pub up_since: Option<Timestamp>,
    /// Which kind of change was the last.
    pub action: Action,
    /// What was registered by the Eureka API.
    pub document: Option<Arc<Document>>,
    /// Where it was found, when it is not registered here.
    pub foreign: Option<Foreign>,
}

/// The last change of a living instance, in Eureka's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was registered, or registered again.
    Added,
    /// Its status was changed.
    Modified,
}

/// Where an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    kind: EndpointType,
    value: Box<str>,
}

/// How an endpoint is spoken to (spec amalgam8 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointType {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `user`: the value means what its users agree on
    User,
}

/// The states that the two protocols know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Takes traffic.
    Up,
    /// Alive, not yet ready for traffic.
    Starting,
    /// Taken out of traffic on purpose; such an instance does not expire.
    OutOfService,
    /// Says that it is not well (Eureka only).
    Down,
    /// Says nothing that we know (Eureka only).
    Unknown,
}

// === impl Registration ===

impl Registration {
    /// The instance that this registration becomes with a granted lease, were no other with its id there.
    #[must_use]
    pub fn grant(self, ttl: Duration, registered_at: Timestamp) -> Instance {
        let Self { service, endpoint, status, tags, metadata, ttl: _, eureka } = self;
        let id = match &eureka {
            None => InstanceId::of_endpoint(service.as_str(), endpoint.kind.as_str(), &endpoint.value),
            Some(claim) => InstanceId::of_application(service.as_str(), claim.document.effective_id()),
        };
        let (document, dirty_at, overridden) = match eureka {
            None => (None, None, None),
            Some(EurekaClaim { document, dirty_at, overridden }) => {
                (Some(Arc::new(document)), dirty_at, overridden)
            }
        };
        Instance {
            id,
            service,
            endpoint,
            status,
            tags,
            metadata,
            ttl,
            registered_at,
            overridden,
            dirty_at: dirty_at.unwrap_or(registered_at),
            updated_at: registered_at,
            up_since: None,
            action: Action::Added,
            document,
            foreign: None,
        }
    }
}

// === impl Instance ===

impl Instance {
    /// Whether a reader would see no difference between the two but for times.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let Self {
            id,
            service,
            endpoint,
            status,
            tags,
            metadata,
            ttl,
            registered_at: _,
            overridden,
            dirty_at: _,
            updated_at: _,
            up_since: _,
            action: _,
            document,
            foreign,
        } = self;
        *id == other.id
            && *service == other.service
            && *endpoint == other.endpoint
            && *status == other.status
            && *tags == other.tags
            && *metadata == other.metadata
            && *ttl == other.ttl
            && *overridden == other.overridden
            && *document == other.document
            && foreign.map(|it| it.catalog) == other.foreign.map(|it| it.catalog)
    }

    /// The application's name as Eureka's readers see it: in capitals when it came by the Eureka API, as
    /// given otherwise.
    #[must_use]
    pub fn application(&self) -> std::borrow::Cow<'_, str> {
        let name = self.service.as_str();
        match &self.document {
            Some(_) if name.bytes().any(|b| b.is_ascii_lowercase()) => name.to_ascii_uppercase().into(),
            Some(_) | None => name.into(),
        }
    }

    /// Its virtual addresses, those with TLS too; without a document, the service is the only one.
    pub fn vips(&self) -> impl Iterator<Item = &str> {
        let lists = match &self.document {
            Some(document) => [document.vip_address.as_deref(), document.secure_vip_address.as_deref()],
            None => [Some(self.service.as_str()), None],
        };
        lists.into_iter().flatten().flat_map(|list| list.split(','))
    }

    /// The id within its application, as Eureka's readers see it.
    #[must_use]
    pub fn id_in_application(&self) -> &str {
        self.document.as_ref().map_or(self.id.as_str(), |document| document.effective_id())
    }

    /// Whether one of its virtual addresses is this one (spec eureka section 1.13). That of an instance that did
    /// not come by the Eureka API is its service's name (spec amalgam8 section 7).
    #[must_use]
    pub fn has_vip(&self, vip: &str) -> bool {
        match &self.document {
            Some(document) => document.has_vip(vip),
            None => self.service.as_str() == vip,
        }
    }

    /// The same for addresses with TLS; an instance that did not come by the Eureka API has one when its
    /// endpoint is spoken to by `https`.
    #[must_use]
    pub fn has_secure_vip(&self, vip: &str) -> bool {
        match &self.document {
            Some(document) => document.has_secure_vip(vip),
            None => self.endpoint.is_secure() && self.service.as_str() == vip,
        }
    }

    /// The status as the Amalgam8 API shows it: a word of the client's own stays what it was.
    #[must_use]
    pub fn status_shown(&self) -> &str {
        let own = self.document.as_ref().and_then(|document| document.status_text.as_deref());
        own.filter(|_| self.status == Status::Unknown).unwrap_or(self.status.as_str())
    }

    /// Whether a list of the Amalgam8 API without any selection shows it (spec amalgam8 section 14, 43).
    #[must_use]
    pub fn is_listed_by_default(&self) -> bool {
        self.status == Status::Up || self.status_shown() != self.status.as_str()
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Longest value in bytes (spec amalgam8 section 4).
    pub const VALUE_MAX: usize = 128;

    /// An endpoint whose value is 1 to 128 bytes; its form is free.
    ///
    /// # Errors
    /// When the value is empty or too long.
    pub fn new(kind: EndpointType, value: &str) -> Result<Self, Invalid> {
        match value.len() {
            0 => Err(Invalid::EndpointIncomplete { field: "value" }),
            1..=Self::VALUE_MAX => Ok(Self { kind, value: value.into() }),
            got => Err(Invalid::EndpointValueTooLong { got, max: Self::VALUE_MAX }),
        }
    }

    /// How it is spoken to.
    #[must_use]
    pub fn kind(&self) -> EndpointType {
        self.kind
    }

    /// Whether it is spoken to with TLS: its type is `https`, or its value is a URL that says so.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        let scheme = self.value.split_once("://").map(|(scheme, _)| scheme);
        scheme.map_or(self.kind == EndpointType::Https, |scheme| scheme.eq_ignore_ascii_case("https"))
    }

    /// Where it is, in the notation of its type.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

// === impl EndpointType ===

impl EndpointType {
    /// The word in bodies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::User => "user",
        }
    }
}

impl FromStr for EndpointType {
    type Err = Invalid;
    fn from_str(s: &str) -> Result<Self, Invalid> {
        match s {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "user" => Ok(Self::User),
            "" => Err(Invalid::EndpointIncomplete { field: "type" }),
            other => Err(Invalid::EndpointTypeUnknown { got: excerpt(other) }),
        }
    }
}

// === impl Status ===

impl Status {
    /// The word in bodies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Starting => "STARTING",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Down => "DOWN",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// A status that a client of the Amalgam8 API may set, in any letter case; empty means `UP`.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn from_amalgam8(text: &str) -> Result<Self, Invalid> {
        [Self::Up, Self::Starting, Self::OutOfService]
            .into_iter()
            .find(|status| text.eq_ignore_ascii_case(status.as_str()))
            .or(text.is_empty().then_some(Self::Up))
            .ok_or_else(|| Invalid::StatusUnknown { got: excerpt(text) })
    }

    /// All of them, in the order of [`Status::position`].
    pub const ALL: [Self; 5] = [Self::Up, Self::Starting, Self::OutOfService, Self::Down, Self::Unknown];

    /// Its place in [`Status::ALL`].
    #[must_use]
    pub fn position(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Starting => 1,
            Self::OutOfService => 2,
            Self::Down => 3,
            Self::Unknown => 4,
        }
    }

    /// A status by its word in any letter case (spec eureka section 2.4); none for any other word.
    #[must_use]
    pub fn from_eureka(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| text.eq_ignore_ascii_case(status.as_str()))
    }

    /// Whether its lease runs out; OUT_OF_SERVICE is kept until somebody says otherwise.
    #[must_use]
    pub fn expires(self) -> bool {
        self != Self::OutOfService
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

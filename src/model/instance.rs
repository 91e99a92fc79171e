//! A registration (what a client asked) and an instance (what was granted).
//!
//! Never: an instance without an id and a lease's length, or one that changes in place; a change
//! makes a new value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::invalid::excerpt;
use super::{InstanceId, Invalid, Metadata, ServiceName, Timestamp};

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
    /// What the instance, or an operator, says of it.
    pub status: Status,
    /// Free texts.
    pub tags: Box<[Box<str>]>,
    /// Free JSON.
    pub metadata: Option<Metadata>,
    /// Length of the lease.
    pub ttl: Duration,
    /// When the content of this registration was first accepted.
    pub registered_at: Timestamp,
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
    /// The instance that this registration becomes with a granted lease.
    #[must_use]
    pub fn grant(self, ttl: Duration, registered_at: Timestamp) -> Instance {
        let Self { service, endpoint, status, tags, metadata, ttl: _ } = self;
        let id = InstanceId::of_endpoint(service.as_str(), endpoint.kind.as_str(), &endpoint.value);
        Instance { id, service, endpoint, status, tags, metadata, ttl, registered_at }
    }
}

// === impl Instance ===

impl Instance {
    /// The same instance in another status.
    #[must_use]
    pub fn with_status(&self, status: Status) -> Self {
        Self { status, ..self.clone() }
    }

    /// Whether a reader would see no difference between the two but for the times of their leases.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let Self { id, service, endpoint, status, tags, metadata, ttl, registered_at: _ } = self;
        *id == other.id
            && *service == other.service
            && *endpoint == other.endpoint
            && *status == other.status
            && *tags == other.tags
            && *metadata == other.metadata
            && *ttl == other.ttl
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

    /// Whether a list without any selection shows it (spec amalgam8 section 4 and section 14, 43).
    #[must_use]
    pub fn is_listed_by_default(self) -> bool {
        self == Self::Up
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

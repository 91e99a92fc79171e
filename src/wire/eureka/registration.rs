//! An instance as a client of the Eureka API sends it, read in two steps: the types of its values first, then
//! the rules (spec eureka section 1.6, spec amalgam8 section 7).
//!
//! Never: decides what becomes of an instance that is there already.

mod from_json;
mod from_xml;
mod translation;

use std::collections::HashMap;

pub(super) use from_json::{InstanceMembers, scalar_text, time};

use crate::model::{Action, InstanceId, Invalid, Status, Timestamp};
use crate::wire::lenient::Unreadable;

/// Whose rules a body has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Those of Netflix' server.
    Netflix,
    /// Those of the routes below `/api/eureka/`.
    Amalgam8,
}

/// An instance as it came, the types of its values judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrationBody {
    instance_id: Option<Box<str>>,
    host_name: Option<Box<str>>,
    app: Option<Box<str>>,
    app_group: Option<Box<str>>,
    ip_addr: Option<Box<str>>,
    sid: Option<Box<str>>,
    port: Option<PortBody>,
    secure_port: Option<PortBody>,
    home_page_url: Option<Box<str>>,
    status_page_url: Option<Box<str>>,
    health_check_url: Option<Box<str>>,
    secure_health_check_url: Option<Box<str>>,
    vip_address: Option<Box<str>>,
    secure_vip_address: Option<Box<str>>,
    country_id: Option<i64>,
    data_center: Option<DataCenterBody>,
    status: Option<Box<str>>,
    overridden: Option<Box<str>>,
    renewal_interval_secs: Option<i64>,
    duration_secs: Option<i64>,
    metadata: Option<Entries>,
    dirty_at: Option<Timestamp>,
    asg_name: Option<Box<str>>,
    action: Option<Listed>,
    times: Times,
}

/// What another server says of an instance's past; clients have no say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// `leaseInfo.registrationTimestamp`
    pub registered: Option<Timestamp>,
    /// `leaseInfo.lastRenewalTimestamp`
    pub renewed: Option<Timestamp>,
    /// `leaseInfo.serviceUpTimestamp`
    pub up_since: Option<Timestamp>,
    /// `lastUpdatedTimestamp`
    pub updated: Option<Timestamp>,
}

/// Names and values, in the order of their coming, each name once.
type Entries = Vec<(Box<str>, Box<str>)>;

/// A port as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct PortBody {
    number: Number,
    is_enabled: Option<bool>,
}

/// The number of a port as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Number {
    /// None came.
    #[default]
    Absent,
    /// Something came that no port has.
    Impossible,
    /// A port.
    Of(u16),
}

/// A data center as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct DataCenterBody {
    name: Option<Box<str>>,
    metadata: Entries,
}

/// What a list says of an instance in `actionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listed {
    /// `ADDED` or `MODIFIED`: it is there.
    Present(Action),
    /// `DELETED`: it is gone.
    Deleted,
}

/// Why a registration was refused. Shows as the text that the protocol has for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no effective id.
    #[error("Missing instanceId")]
    MissingInstanceId,
    /// There is no name of a host.
    #[error("Missing hostname")]
    MissingHostname,
    /// There is no address.
    #[error("Missing ip address")]
    MissingIpAddress,
    /// There is no application.
    #[error("Missing appName")]
    MissingAppName,
    /// The body names another application than the path; both in capitals.
    #[error("Mismatched appName, expecting {expected} but was {got}")]
    MismatchedAppName {
        /// That of the path.
        expected: Box<str>,
        /// That of the body.
        got: Box<str>,
    },
    /// Nothing says where it runs.
    #[error("Missing dataCenterInfo")]
    MissingDataCenterInfo,
    /// It runs in a data center without a name.
    #[error("Missing dataCenterInfo Name")]
    MissingDataCenterName,
    /// The name of the data center is not one of those that are known. Netflix' server does not even read
    /// such a body.
    #[error("Unknown dataCenterInfo name {got:?}, wanted one of Netflix, Amazon, MyOwn")]
    UnknownDataCenter {
        /// What came, shortened.
        got: Box<str>,
    },
    /// As the routes below `/api/eureka/` say it.
    #[error("Missing required field(s): hostname, application, vipAddress or IPAddress")]
    MissingFields,
    /// As the routes below `/api/eureka/` say it.
    #[error("Application name mismatch")]
    NameMismatch,
    /// A status of one's own has at most 32 bytes.
    #[error("status has {got} bytes, at most {max} are allowed")]
    StatusTooLong {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// A value breaks a rule of the model.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

// === impl RegistrationBody ===

impl RegistrationBody {
    /// Reads `{"instance":{...}}`.
    ///
    /// # Errors
    /// When it is not JSON, or a value has a type that cannot be read.
    pub fn from_json(body: &[u8], dialect: Dialect) -> Result<Self, Unreadable> {
        from_json::read(body, dialect)
    }

    /// Reads `<instance>...</instance>`, always as Netflix' server does.
    ///
    /// # Errors
    /// When it is not XML, declares a document type, is nested too deep, or a value cannot be read.
    pub fn from_xml(body: &[u8]) -> Result<Self, Unreadable> {
        from_xml::read(body)
    }

    /// The application that it names; none when it is empty.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.app.as_deref().filter(|app| !app.is_empty())
    }

    /// The client's version of it (spec eureka section 3.7).
    #[must_use]
    pub fn dirty_at(&self) -> Option<Timestamp> {
        self.dirty_at
    }

    /// What it says of itself in `actionType`.
    #[must_use]
    pub fn action(&self) -> Option<Listed> {
        self.action
    }

    /// What a server says of its past; times that cannot be read are none.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
    }

    /// The id of an instance that breaks a rule, as far as it can be told.
    #[must_use]
    pub fn presumed_id(&self) -> InstanceId {
        let id = [&self.instance_id, &self.host_name].into_iter().flatten().find(|id| !id.is_empty());
        InstanceId::of_application(self.application().unwrap_or_default(), id.map_or("", |id| id))
    }

    /// What a server counts it as in its hash code (spec eureka section 3.8).
    #[must_use]
    pub fn status_counted(&self) -> Status {
        let word = self.status.as_deref().map(str::trim);
        word.map_or(Status::Up, |word| Status::from_eureka(word).unwrap_or(Status::Unknown))
    }

    /// Whether a port that serves has a number that no port has.
    #[must_use]
    pub fn has_impossible_port(&self) -> bool {
        [self.port, self.secure_port]
            .into_iter()
            .flatten()
            .any(|port| port.number == Number::Impossible && port.is_enabled == Some(true))
    }

    /// Names the application, when it names none.
    pub(super) fn default_application(&mut self, name: &str) {
        if self.application().is_none() {
            self.app = Some(name.into());
        }
    }
}

// === impl Listed ===

impl Listed {
    /// By its word; any other word says nothing.
    fn from_eureka(word: &str) -> Option<Self> {
        match word.trim() {
            "ADDED" => Some(Self::Present(Action::Added)),
            "MODIFIED" => Some(Self::Present(Action::Modified)),
            "DELETED" => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// Each name once, with the last of its values.
fn each_once<K: AsRef<str>, V: Into<Box<str>>>(entries: impl IntoIterator<Item = (K, V)>) -> Entries {
    let mut places: HashMap<Box<str>, usize> = HashMap::new();
    let mut kept = Entries::new();
    for (name, value) in entries {
        let place = *places.entry(name.as_ref().into()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((_, last)) => *last = value.into(),
            None => kept.push((name.as_ref().into(), value.into())),
        }
    }
    kept
}

#[cfg(test)]
mod tests;

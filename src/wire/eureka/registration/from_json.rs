//! An instance in JSON, as any client may send it (spec eureka section 2.4, spec amalgam8 section 7).
//!
//! Never: a rule about what has to be there.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use super::{DataCenterBody, Dialect, Entries, Listed, Number, PortBody, RegistrationBody, Times, each_once};
use crate::model::Timestamp;
use crate::wire::eureka::metadata::{self, CLASS};
use crate::wire::lenient::{self, As, Given, Key, Members, Object, Unreadable, members};

#[derive(Default)]
struct Root<'a> {
    instance: Object<'a, InstanceMembers<'a>>,
    has_others: bool,
}

/// The members of an instance, their types not judged yet.
#[derive(Debug, Default, PartialEq)]
pub(in crate::wire::eureka) struct InstanceMembers<'a> {
    instance_id: Given<'a>,
    host_name: Given<'a>,
    app: Given<'a>,
    app_group: Given<'a>,
    ip_addr: Given<'a>,
    sid: Given<'a>,
    port: Object<'a, PortMembers<'a>>,
    secure_port: Object<'a, PortMembers<'a>>,
    home_page_url: Given<'a>,
    status_page_url: Given<'a>,
    health_check_url: Given<'a>,
    secure_health_check_url: Given<'a>,
    vip_address: Given<'a>,
    secure_vip_address: Given<'a>,
    country_id: Given<'a>,
    data_center: Object<'a, DataCenterMembers<'a>>,
    status: Given<'a>,
    overridden: Given<'a>,
    lease: Object<'a, LeaseMembers<'a>>,
    metadata: Raw<'a>,
    dirty_at: Given<'a>,
    updated_at: Given<'a>,
    asg_name: Given<'a>,
    action: Given<'a>,
}

#[derive(Debug, Default, PartialEq)]
struct PortMembers<'a> {
    number: Given<'a>,
    is_enabled: Given<'a>,
}

#[derive(Debug, Default, PartialEq)]
struct DataCenterMembers<'a> {
    name: Given<'a>,
    metadata: Raw<'a>,
}

#[derive(Debug, Default, PartialEq)]
struct LeaseMembers<'a> {
    renewal_interval_secs: Given<'a>,
    duration_secs: Given<'a>,
    registered: Given<'a>,
    renewed: Given<'a>,
    up_since: Given<'a>,
}

/// The text of a value; of nothing and `null` it is empty.
#[derive(Debug, Default, PartialEq)]
struct Raw<'a>(&'a str);

/// Reads a body.
pub(super) fn read(body: &[u8], dialect: Dialect) -> Result<RegistrationBody, Unreadable> {
    let root: Object<'_, Root<'_>> = lenient::read(body)?;
    let instance = match (root.members("body")?, dialect) {
        (Some(Root { instance, .. }), Dialect::Amalgam8) => instance.members("instance")?,
        (None, Dialect::Amalgam8) => None,
        (Some(Root { instance, has_others: false }), Dialect::Netflix) => {
            Some(instance.into_members().map_err(|given| given.wrong("instance", "an object"))?)
        }
        (Some(_), Dialect::Netflix) => {
            let got = "an object with other members".into();
            return Err(Unreadable::WrongType { field: "body", got, wanted: "only the member instance" });
        }
        (None, Dialect::Netflix) => return Err(Given::Null.wrong("body", "an object")),
    };
    instance.unwrap_or_default().judge(dialect)
}

// === impl InstanceMembers ===

impl InstanceMembers<'_> {
    /// Judges the types of all values.
    ///
    /// # Errors
    /// The first value whose type cannot be read.
    pub(in crate::wire::eureka) fn judge(self, dialect: Dialect) -> Result<RegistrationBody, Unreadable> {
        let text = |given, field| scalar_text(given, field, dialect);
        let lease = self.lease.members("leaseInfo")?.unwrap_or_default();
        let whole = |given: &Given<'_>, field| whole(given, field, dialect);
        Ok(RegistrationBody {
            instance_id: text(self.instance_id, "instanceId")?,
            host_name: text(self.host_name, "hostName")?,
            app: text(self.app, "app")?,
            app_group: text(self.app_group, "appGroupName")?,
            ip_addr: text(self.ip_addr, "ipAddr")?,
            sid: text(self.sid, "sid")?,
            port: port(self.port, "port", dialect)?,
            secure_port: port(self.secure_port, "securePort", dialect)?,
            home_page_url: text(self.home_page_url, "homePageUrl")?,
            status_page_url: text(self.status_page_url, "statusPageUrl")?,
            health_check_url: text(self.health_check_url, "healthCheckUrl")?,
            secure_health_check_url: text(self.secure_health_check_url, "secureHealthCheckUrl")?,
            vip_address: text(self.vip_address, "vipAddress")?,
            secure_vip_address: text(self.secure_vip_address, "secureVipAddress")?,
            country_id: whole(&self.country_id, "countryId")?,
            data_center: data_center(self.data_center, dialect)?,
            status: text(self.status, "status")?,
            overridden: text(self.overridden, "overriddenStatus")?,
            renewal_interval_secs: whole(&lease.renewal_interval_secs, "leaseInfo.renewalIntervalInSecs")?,
            duration_secs: whole(&lease.duration_secs, "leaseInfo.durationInSecs")?,
            metadata: entries(&self.metadata, "metadata", dialect)?,
            dirty_at: time(&self.dirty_at, "lastDirtyTimestamp")?,
            asg_name: text(self.asg_name, "asgName")?,
            action: listed(&self.action),
            times: Times {
                registered: past(&lease.registered),
                renewed: past(&lease.renewed),
                up_since: past(&lease.up_since),
                updated: past(&self.updated_at),
            },
        })
    }
}

impl<'a> Members<'a> for Root<'a> {
    fn member<A: MapAccess<'a>>(&mut self, key: &Key<'_>, object: &mut A) -> Result<(), A::Error> {
        if key.is("instance") {
            self.instance = object.next_value::<As<_>>()?.0;
        } else {
            self.has_others = true;
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

members!(InstanceMembers {
    "instanceId" => instance_id,
    "hostName" => host_name,
    "app" => app,
    "appGroupName" => app_group,
    "ipAddr" => ip_addr,
    "sid" => sid,
    "homePageUrl" => home_page_url,
    "statusPageUrl" => status_page_url,
    "healthCheckUrl" => health_check_url,
    "secureHealthCheckUrl" => secure_health_check_url,
    "vipAddress" => vip_address,
    "secureVipAddress" => secure_vip_address,
    "countryId" => country_id,
    "status" => status,
    "overriddenStatus" => overridden,
    "lastDirtyTimestamp" => dirty_at,
    "asgName" => asg_name,
    "actionType" => action,
    "port" => port,
    "securePort" => secure_port,
    "dataCenterInfo" => data_center,
    "leaseInfo" => lease,
    "metadata" => metadata by Raw::of,
    "lastUpdatedTimestamp" => updated_at,
});

members!(PortMembers {
    "$" => number,
    "@enabled" => is_enabled,
});

members!(DataCenterMembers {
    "name" => name,
    "metadata" => metadata by Raw::of,
});

members!(LeaseMembers {
    "renewalIntervalInSecs" => renewal_interval_secs,
    "durationInSecs" => duration_secs,
    "registrationTimestamp" => registered,
    "lastRenewalTimestamp" => renewed,
    "serviceUpTimestamp" => up_since,
});

// === impl Raw ===

impl<'a> Raw<'a> {
    fn of(value: &'a RawValue) -> Self {
        Self(if value.get() == "null" { "" } else { value.get() })
    }
}

/// A text; Netflix' server takes any scalar for one.
pub(in crate::wire::eureka) fn scalar_text(
    given: Given<'_>,
    field: &'static str,
    dialect: Dialect,
) -> Result<Option<Box<str>>, Unreadable> {
    let scalar: Cow<'_, str> = match (given, dialect) {
        (Given::Whole(number), Dialect::Netflix) => number.to_string().into(),
        (Given::Number(number), Dialect::Netflix) => number.to_string().into(),
        (Given::Flag(flag), Dialect::Netflix) => flag.to_string().into(),
        (given, Dialect::Netflix | Dialect::Amalgam8) => {
            return given.text(field).map(|text| text.map(|text| text.into_owned().into()));
        }
    };
    Ok(Some(scalar.into_owned().into()))
}

/// A whole number; Netflix' server takes it as a text, too. What is beyond 64 bits is the nearest within.
fn whole(given: &Given<'_>, field: &'static str, dialect: Dialect) -> Result<Option<i64>, Unreadable> {
    const WANTED: &str = "a whole number";
    let nearest = |is_negative| if is_negative { i64::MIN } else { i64::MAX };
    match given {
        Given::Nothing | Given::Null => Ok(None),
        Given::Whole(number) => Ok(Some(i64::try_from(*number).unwrap_or(i64::MAX))),
        Given::Number(number) if number.fract() == 0.0 => {
            Ok(Some(number.to_string().parse().unwrap_or(nearest(number.is_sign_negative()))))
        }
        Given::Text(text) if dialect == Dialect::Netflix => {
            text.trim().parse().map(Some).map_err(|_| given.wrong(field, WANTED))
        }
        Given::Text(_) | Given::Number(_) | Given::Flag(_) | Given::List | Given::Object => {
            Err(given.wrong(field, WANTED))
        }
    }
}

/// A time in milliseconds, as a number or a text; one before 1970 is 1970.
pub(in crate::wire::eureka) fn time(
    given: &Given<'_>,
    field: &'static str,
) -> Result<Option<Timestamp>, Unreadable> {
    let millis = whole(given, field, Dialect::Netflix)?;
    Ok(millis.map(|millis| Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))))
}

/// A time in a server's list, of no meaning in a client's registration: whatever cannot be one is none.
/// The original wrote some of them in seconds (spec amalgam8 section 7).
fn past(given: &Given<'_>) -> Option<Timestamp> {
    const SECONDS_MAX: u64 = 100_000_000_000;
    match time(given, "").ok().flatten().map(Timestamp::as_millis) {
        None | Some(0) => None,
        Some(seconds @ 1..SECONDS_MAX) => Some(Timestamp::from_millis(seconds * 1000)),
        Some(millis) => Some(Timestamp::from_millis(millis)),
    }
}

fn listed(given: &Given<'_>) -> Option<Listed> {
    match given {
        Given::Text(word) => Listed::from_eureka(word),
        Given::Nothing
        | Given::Null
        | Given::Flag(_)
        | Given::Whole(_)
        | Given::Number(_)
        | Given::List
        | Given::Object => None,
    }
}

fn port(
    port: Object<'_, PortMembers<'_>>,
    field: &'static str,
    dialect: Dialect,
) -> Result<Option<PortBody>, Unreadable> {
    match (port.into_members(), dialect) {
        (Ok(PortMembers { number: given, is_enabled }), _) => {
            let is_enabled = flag(is_enabled, field)?;
            Ok(Some(PortBody { number: number(&given, field, dialect)?, is_enabled }))
        }
        (Err(Given::Nothing | Given::Null), _) => Ok(None),
        (Err(given), Dialect::Netflix) => {
            Ok(Some(PortBody { number: number(&given, field, dialect)?, is_enabled: None }))
        }
        (Err(given), Dialect::Amalgam8) => Err(given.wrong(field, "an object")),
    }
}

fn number(given: &Given<'_>, field: &'static str, dialect: Dialect) -> Result<Number, Unreadable> {
    if matches!(given, Given::Nothing | Given::Null) {
        return Ok(Number::Absent);
    }
    match (whole(given, field, Dialect::Netflix), dialect) {
        (Ok(number), _) => {
            let number = number.and_then(|number| u16::try_from(number).ok());
            Ok(number.map_or(Number::Impossible, Number::Of))
        }
        // The original let any value stand there (spec amalgam8 section 14, 39).
        (Err(_), Dialect::Amalgam8) => Ok(Number::Impossible),
        (Err(wrong), Dialect::Netflix) => Err(wrong),
    }
}

fn flag(given: Given<'_>, field: &'static str) -> Result<Option<bool>, Unreadable> {
    match given {
        Given::Nothing | Given::Null => Ok(None),
        Given::Flag(flag) => Ok(Some(flag)),
        Given::Text(word) => Ok(Some(word.trim().eq_ignore_ascii_case("true"))),
        Given::Whole(_) | Given::Number(_) | Given::List | Given::Object => {
            Err(given.wrong(field, "true or false in @enabled"))
        }
    }
}

fn data_center(
    data_center: Object<'_, DataCenterMembers<'_>>,
    dialect: Dialect,
) -> Result<Option<DataCenterBody>, Unreadable> {
    let Some(DataCenterMembers { name, metadata }) = data_center.members("dataCenterInfo")? else {
        return Ok(None);
    };
    let name = scalar_text(name, "dataCenterInfo.name", dialect)?;
    let metadata = match entries(&metadata, "dataCenterInfo.metadata", Dialect::Netflix) {
        Ok(entries) => entries.unwrap_or_default(),
        // Of no meaning to Netflix' server where it is not Amazon's.
        Err(_) if dialect == Dialect::Netflix && !name.as_deref().is_some_and(is_amazon) => Entries::new(),
        Err(error) => return Err(error),
    };
    Ok(Some(DataCenterBody { name, metadata }))
}

fn is_amazon(name: &str) -> bool {
    name.eq_ignore_ascii_case("Amazon")
}

/// Names and texts. The one that names a class belongs to the notation of Netflix' clients, and is
/// like any other to the routes below `/api/eureka/`.
fn entries(raw: &Raw<'_>, field: &'static str, dialect: Dialect) -> Result<Option<Entries>, Unreadable> {
    if raw.0.is_empty() {
        return Ok(None);
    }
    let wrong = |got: &str| Unreadable::WrongType { field, got: got.into(), wanted: "an object of texts" };
    if !raw.0.starts_with('{') {
        return Err(wrong("another value"));
    }
    let mut entries = metadata::members(raw.0).map_err(|_| wrong("an object with half a character"))?;
    entries.retain(|(name, _)| dialect == Dialect::Amalgam8 || name != CLASS);
    Ok(Some(each_once(entries)))
}

//! What Eureka's readers see of an instance, whichever API it came by; both notations are written from it.
//!
//! Never: writes a notation.

use std::borrow::Cow;

use super::Format;
use super::metadata::{self, Shown as ShownMetadata};
use super::place::{Place, place};
use crate::model::{Action, DataCenter, Document, Instance, Port, Status, Timestamp};

/// The parts of an instance, in words of Eureka.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) instance_id: Option<&'a str>,
    pub(super) host_name: &'a str,
    pub(super) app: Cow<'a, str>,
    pub(super) ip_addr: &'a str,
    pub(super) sid: Option<&'a str>,
    pub(super) status: Status,
    pub(super) overridden: Status,
    pub(super) port: Port,
    pub(super) secure_port: Port,
    pub(super) country_id: i32,
    pub(super) data_center: Option<&'a DataCenter>,
    pub(super) renewal_interval_secs: u64,
    pub(super) duration_secs: u64,
    pub(super) registered_at: u64,
    pub(super) renewed_at: u64,
    pub(super) evicted_at: u64,
    pub(super) up_since: u64,
    pub(super) metadata: ShownMetadata<'a>,
    pub(super) app_group: Option<&'a str>,
    /// Pages: home, status, health, health with TLS.
    pub(super) pages: [Option<&'a str>; 4],
    pub(super) vip_address: Option<&'a str>,
    pub(super) secure_vip_address: Option<&'a str>,
    pub(super) updated_at: u64,
    pub(super) dirty_at: u64,
    pub(super) action: &'static str,
    pub(super) asg_name: Option<&'a str>,
}

/// Names of [`Shown::pages`].
pub(super) const PAGES: [&str; 4] =
    ["homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl"];

/// The class of data centers that are Amazon's.
pub(super) const AMAZON_CLASS: &str = "com.netflix.appinfo.AmazonInfo";

/// The class of all others.
pub(super) const DEFAULT_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";

/// What Amazon says of an instance that compact documents show too (spec eureka section 2.2).
pub(super) const COMPACT_KEYS: [&str; 5] =
    ["instance-id", "public-ipv4", "public-hostname", "local-ipv4", "availability-zone"];

const AMAZON: &str = "Amazon";
const NETFLIX: &str = "Netflix";
const MY_OWN: &str = "MyOwn";
const UNKNOWN: &str = "UNKNOWN";

// === impl Shown ===

impl<'a> Shown<'a> {
    /// An instance whose lease was last renewed at `renewed`; `gone` is when a deleted one went.
    pub(super) fn of(instance: &'a Instance, renewed: Timestamp, gone: Option<Timestamp>) -> Self {
        let shown = match &instance.document {
            Some(document) => Self::of_document(instance, document),
            None => Self::of_endpoint(instance),
        };
        let renewed = match instance.foreign {
            None => renewed,
            Some(foreign) => foreign.renewed.unwrap_or(instance.registered_at),
        };
        let updated_at = gone.unwrap_or(instance.updated_at).as_millis();
        let evicted_at = gone.unwrap_or_default().as_millis();
        let action = gone.map_or(shown.action, |_| "DELETED");
        Self { renewed_at: renewed.as_millis(), evicted_at, updated_at, action, ..shown }
    }

    /// What every instance has in the same way; the rest is as in an empty document.
    fn of_any(instance: &'a Instance, host_name: &'a str, ip_addr: &'a str) -> Self {
        let action = match instance.action {
            Action::Added => "ADDED",
            Action::Modified => "MODIFIED",
        };
        let none = Port { number: 0, is_enabled: false };
        Self {
            instance_id: None,
            host_name,
            app: instance.application(),
            ip_addr,
            sid: None,
            status: instance.status,
            overridden: instance.overridden.unwrap_or(Status::Unknown),
            port: none,
            secure_port: none,
            country_id: 1,
            data_center: None,
            renewal_interval_secs: (instance.ttl.as_secs() / 3).max(1),
            duration_secs: instance.ttl.as_secs().max(1),
            registered_at: instance.registered_at.as_millis(),
            renewed_at: 0,
            evicted_at: 0,
            up_since: instance.up_since.unwrap_or_default().as_millis(),
            metadata: metadata::shown(instance),
            app_group: None,
            pages: [None; 4],
            vip_address: None,
            secure_vip_address: None,
            updated_at: 0,
            dirty_at: instance.dirty_at.as_millis(),
            action,
            asg_name: None,
        }
    }

    fn of_document(instance: &'a Instance, document: &'a Document) -> Self {
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
            data_center,
            renewal_interval_secs,
            asg_name,
            status_text: _,
        } = document;
        Self {
            instance_id: instance_id.as_deref(),
            sid: sid.as_deref().filter(|sid| !matches!(*sid, "na" | "unknown")),
            port: *port,
            secure_port: *secure_port,
            country_id: *country_id,
            data_center: Some(data_center),
            renewal_interval_secs: (*renewal_interval_secs).into(),
            app_group: app_group.as_deref(),
            pages: [home_page_url, status_page_url, health_check_url, secure_health_check_url]
                .map(Option::as_deref),
            vip_address: vip_address.as_deref(),
            secure_vip_address: secure_vip_address.as_deref(),
            asg_name: asg_name.as_deref(),
            ..Self::of_any(instance, host_name, ip_addr)
        }
    }

    /// An instance of the Amalgam8 API (spec amalgam8 section 7).
    fn of_endpoint(instance: &'a Instance) -> Self {
        let Place { host, port, secure_port, url } = place(&instance.endpoint);
        let service = instance.service.as_str();
        Self {
            instance_id: Some(instance.id.as_str()),
            port,
            secure_port,
            app_group: Some(UNKNOWN),
            pages: [url, None, None, None],
            vip_address: Some(service),
            secure_vip_address: secure_port.is_enabled.then_some(service),
            ..Self::of_any(instance, host, host)
        }
    }

    /// The group of applications, in a format that may have to show one.
    pub(super) fn app_group(&self, format: Format) -> Option<&'a str> {
        self.app_group.or((format == Format::JsonAmalgam8).then_some(UNKNOWN))
    }

    /// Class, name and entries of the data center in a format.
    pub(super) fn data_center(&self, format: Format) -> (&'static str, &'a str, DataCenterEntries<'a>) {
        let Some(data_center) = self.data_center else { return (DEFAULT_CLASS, MY_OWN, &[]) };
        let is_amazon = data_center.is_amazon();
        let class = if is_amazon { AMAZON_CLASS } else { DEFAULT_CLASS };
        match (format, &*data_center.name) {
            (Format::JsonAmalgam8, name) => (class, name, &data_center.metadata),
            (_, _) if is_amazon => (class, AMAZON, &data_center.metadata),
            (_, name) if name.eq_ignore_ascii_case(NETFLIX) => (class, NETFLIX, &[]),
            (_, _) => (class, MY_OWN, &[]),
        }
    }
}

/// What a cloud says of an instance.
pub(super) type DataCenterEntries<'a> = &'a [(Box<str>, Box<str>)];

//! Instances and lists in JSON (spec eureka sections 2.2 and 2.4), written by hand: this is done for every
//! instance of every list.
//!
//! Never: a member that strict readers do not know, or a `null` (spec eureka section 2.9).

use super::metadata::{CLASS, EMPTY_MAP, Shown as ShownMetadata};
use super::shown::{COMPACT_KEYS, PAGES, Shown};
use super::{Format, ListHead};
use crate::model::{Instance, Port, Timestamp};
use crate::wire::encoded::push_string;

/// Appends an instance as an object; answers with the place of the digits of `lastRenewalTimestamp`.
pub(super) fn push_instance(
    to: &mut Vec<u8>,
    format: Format,
    instance: &Instance,
    renewed: Timestamp,
    gone: Option<Timestamp>,
) -> Option<usize> {
    let shown = Shown::of(instance, renewed, gone);
    if format == Format::JsonCompact {
        push_compact(to, &shown);
        return None;
    }
    Some(push_full(to, format, &shown))
}

fn push_full(to: &mut Vec<u8>, format: Format, shown: &Shown<'_>) -> usize {
    to.push(b'{');
    if let Some(id) = shown.instance_id {
        to.extend_from_slice(br#""instanceId":"#);
        push_string(to, id);
        to.push(b',');
    }
    to.extend_from_slice(br#""hostName":"#);
    push_string(to, shown.host_name);
    to.extend_from_slice(br#","app":"#);
    push_string(to, &shown.app);
    to.extend_from_slice(br#","ipAddr":"#);
    push_string(to, shown.ip_addr);
    push_optional(to, br#","sid":"#, shown.sid);
    to.extend_from_slice(br#","status":""#);
    to.extend_from_slice(shown.status.as_str().as_bytes());
    to.extend_from_slice(br#"","overriddenStatus":""#);
    to.extend_from_slice(shown.overridden.as_str().as_bytes());
    if format == Format::JsonAmalgam8 {
        to.extend_from_slice(br#"","overriddenstatus":""#);
        to.extend_from_slice(shown.overridden.as_str().as_bytes());
    }
    to.extend_from_slice(br#"","port":"#);
    push_port(to, shown.port);
    to.extend_from_slice(br#","securePort":"#);
    push_port(to, shown.secure_port);
    to.extend_from_slice(br#","countryId":"#);
    to.extend_from_slice(itoa::Buffer::new().format(shown.country_id).as_bytes());
    push_data_center(to, format, shown);
    let renewed_at = push_lease(to, shown);
    push_metadata(to, format, &shown.metadata);
    push_optional(to, br#","appGroupName":"#, shown.app_group(format));
    for (name, page) in PAGES.into_iter().zip(shown.pages) {
        if let Some(page) = page {
            to.extend_from_slice(b",\"");
            to.extend_from_slice(name.as_bytes());
            to.extend_from_slice(b"\":");
            push_string(to, page);
        }
    }
    push_optional(to, br#","vipAddress":"#, shown.vip_address);
    push_optional(to, br#","secureVipAddress":"#, shown.secure_vip_address);
    push_number(
        to,
        br#","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":""#,
        shown.updated_at,
    );
    push_number(to, br#"","lastDirtyTimestamp":""#, shown.dirty_at);
    to.extend_from_slice(br#"","actionType":""#);
    to.extend_from_slice(shown.action.as_bytes());
    to.push(b'"');
    push_optional(to, br#","asgName":"#, shown.asg_name);
    to.push(b'}');
    renewed_at
}

fn push_compact(to: &mut Vec<u8>, shown: &Shown<'_>) {
    to.push(b'{');
    if let Some(id) = shown.instance_id {
        to.extend_from_slice(br#""instanceId":"#);
        push_string(to, id);
        to.push(b',');
    }
    to.extend_from_slice(br#""app":"#);
    push_string(to, &shown.app);
    to.extend_from_slice(br#","ipAddr":"#);
    push_string(to, shown.ip_addr);
    push_optional(to, br#","vipAddress":"#, shown.vip_address);
    push_optional(to, br#","secureVipAddress":"#, shown.secure_vip_address);
    push_data_center(to, Format::JsonCompact, shown);
    to.extend_from_slice(br#","hostName":"#);
    push_string(to, shown.host_name);
    to.extend_from_slice(br#","status":""#);
    to.extend_from_slice(shown.status.as_str().as_bytes());
    push_number(to, br#"","lastUpdatedTimestamp":"#, shown.updated_at);
    to.extend_from_slice(br#","actionType":""#);
    to.extend_from_slice(shown.action.as_bytes());
    to.push(b'"');
    push_optional(to, br#","asgName":"#, shown.asg_name);
    to.extend_from_slice(br#","port":"#);
    push_port(to, shown.port);
    to.extend_from_slice(br#","securePort":"#);
    push_port(to, shown.secure_port);
    to.push(b'}');
}

fn push_port(to: &mut Vec<u8>, port: Port) {
    push_number(to, br#"{"$":"#, port.number.into());
    let enabled: &[u8] = if port.is_enabled { br#","@enabled":"true"}"# } else { br#","@enabled":"false"}"# };
    to.extend_from_slice(enabled);
}

/// Class, name, metadata in this order, without which old clients fail (spec eureka section 2.4).
fn push_data_center(to: &mut Vec<u8>, format: Format, shown: &Shown<'_>) {
    let (class, name, entries) = shown.data_center(format);
    to.extend_from_slice(br#","dataCenterInfo":{"@class":""#);
    to.extend_from_slice(class.as_bytes());
    to.extend_from_slice(br#"","name":"#);
    push_string(to, name);
    let is_shown = |key: &str| format != Format::JsonCompact || COMPACT_KEYS.contains(&key);
    let mut separator: &[u8] = br#","metadata":{"#;
    for (key, value) in entries.iter().filter(|(key, _)| is_shown(key)) {
        to.extend_from_slice(separator);
        push_string(to, key);
        to.push(b':');
        push_string(to, value);
        separator = b",";
    }
    to.extend_from_slice(if separator == b"," { b"}}" } else { b"}" });
}

fn push_lease(to: &mut Vec<u8>, shown: &Shown<'_>) -> usize {
    push_number(to, br#","leaseInfo":{"renewalIntervalInSecs":"#, shown.renewal_interval_secs);
    push_number(to, br#","durationInSecs":"#, shown.duration_secs);
    push_number(to, br#","registrationTimestamp":"#, shown.registered_at);
    to.extend_from_slice(br#","lastRenewalTimestamp":"#);
    let renewed_at = to.len();
    push_number(to, b"", shown.renewed_at);
    push_number(to, br#","evictionTimestamp":"#, shown.evicted_at);
    push_number(to, br#","serviceUpTimestamp":"#, shown.up_since);
    to.push(b'}');
    renewed_at
}

fn push_metadata(to: &mut Vec<u8>, format: Format, metadata: &ShownMetadata<'_>) {
    to.extend_from_slice(br#","metadata":"#);
    match metadata {
        // As given (spec amalgam8 section 7).
        ShownMetadata::Nothing { given: Some(json) } if format == Format::JsonAmalgam8 => {
            to.extend_from_slice(json.as_bytes());
        }
        ShownMetadata::Nothing { given: _ } => {
            to.extend_from_slice(b"{\"");
            to.extend_from_slice(CLASS.as_bytes());
            to.extend_from_slice(b"\":\"");
            to.extend_from_slice(EMPTY_MAP.as_bytes());
            to.extend_from_slice(b"\"}");
        }
        ShownMetadata::Flat(json) => to.extend_from_slice(json.as_bytes()),
        ShownMetadata::Entries(entries) => {
            let mut separator = b'{';
            for (key, value) in entries {
                to.push(separator);
                push_string(to, key);
                to.push(b':');
                push_string(to, value);
                separator = b',';
            }
            to.push(b'}');
        }
    }
}

fn push_optional(to: &mut Vec<u8>, head: &[u8], text: Option<&str>) {
    if let Some(text) = text {
        to.extend_from_slice(head);
        push_string(to, text);
    }
}

fn push_number(to: &mut Vec<u8>, head: &[u8], number: u64) {
    to.extend_from_slice(head);
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends what comes before the first instance of an application.
pub(super) fn open_application(to: &mut Vec<u8>, name: &str) {
    to.extend_from_slice(br#"{"name":"#);
    push_string(to, name);
    to.extend_from_slice(br#","instance":["#);
}

/// What comes before the first application of a list.
pub(super) fn open_list(format: Format, head: &ListHead) -> Vec<u8> {
    let mut to = br#"{"applications":{"#.to_vec();
    if format != Format::JsonCompact {
        push_head(&mut to, head);
        to.push(b',');
    }
    to.extend_from_slice(br#""application":["#);
    to
}

/// What comes after its last application.
pub(super) fn close_list(format: Format, head: &ListHead) -> Vec<u8> {
    let mut to = b"]".to_vec();
    if format == Format::JsonCompact {
        to.extend_from_slice(br#","registeredApplicationsEmpty":"#);
        to.extend_from_slice(if head.is_empty { b"true," } else { b"false," });
        push_head(&mut to, head);
    }
    to.extend_from_slice(b"}}");
    to
}

fn push_head(to: &mut Vec<u8>, head: &ListHead) {
    to.extend_from_slice(br#""versions__delta":""#);
    to.extend_from_slice(itoa::Buffer::new().format(head.version).as_bytes());
    to.extend_from_slice(br#"","apps__hashcode":"#);
    push_string(to, &head.hash);
}

//! Instances and lists in XML (spec eureka sections 2.2 and 2.5), written by hand.
//!
//! Never: a document that is not well-formed, whatever texts it holds.

use std::borrow::Cow;

use super::metadata::{EMPTY_MAP, Shown as ShownMetadata, entries};
use super::names::push_name;
use super::shown::{COMPACT_KEYS, PAGES, Shown};
use super::{Format, ListHead};
use crate::model::{Instance, Port, Status, Timestamp};

/// Elements, one on a line by itself, or all on one line.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    to: &'a mut Vec<u8>,
    /// Levels that the outermost element is indented by; none for all on one line.
    level: Option<usize>,
}

/// Appends an instance as an element, indented by so many levels; answers with the place of the digits of
/// `lastRenewalTimestamp`.
pub(super) fn push_instance(
    to: &mut Vec<u8>,
    format: Format,
    instance: &Instance,
    renewed: Timestamp,
    gone: Option<Timestamp>,
    level: usize,
) -> Option<usize> {
    let shown = Shown::of(instance, renewed, gone);
    if format == Format::XmlCompact {
        let mut writer = Writer { to, level: None };
        writer.open("instance");
        push_compact(&mut writer, &shown);
        writer.close("instance");
        return None;
    }
    let mut writer = Writer { to, level: Some(level) };
    writer.open("instance");
    let renewed_at = push_full(&mut writer, format, &shown);
    writer.close("instance");
    Some(renewed_at)
}

/// Appends the elements inside of an instance, in full.
pub(super) fn push_full(writer: &mut Writer<'_>, format: Format, shown: &Shown<'_>) -> usize {
    writer.optional("instanceId", shown.instance_id);
    writer.element("hostName", shown.host_name);
    writer.element("app", &shown.app);
    writer.element("ipAddr", shown.ip_addr);
    writer.optional("sid", shown.sid);
    writer.element("status", status(format, shown.status).as_str());
    writer.element("overriddenstatus", shown.overridden.as_str());
    writer.port("port", shown.port);
    writer.port("securePort", shown.secure_port);
    writer.element("countryId", itoa::Buffer::new().format(shown.country_id));
    push_data_center(writer, format, shown);
    let renewed_at = push_lease(writer, shown);
    push_metadata(writer, &shown.metadata);
    writer.optional("appGroupName", shown.app_group(format));
    for (name, page) in PAGES.into_iter().zip(shown.pages) {
        writer.optional(name, page);
    }
    writer.optional("vipAddress", shown.vip_address);
    writer.optional("secureVipAddress", shown.secure_vip_address);
    writer.element("isCoordinatingDiscoveryServer", "false");
    writer.number("lastUpdatedTimestamp", shown.updated_at);
    writer.number("lastDirtyTimestamp", shown.dirty_at);
    writer.element("actionType", shown.action);
    writer.optional("asgName", shown.asg_name);
    renewed_at
}

fn push_compact(writer: &mut Writer<'_>, shown: &Shown<'_>) {
    writer.optional("instanceId", shown.instance_id);
    writer.element("app", &shown.app);
    writer.element("ipAddr", shown.ip_addr);
    writer.optional("vipAddress", shown.vip_address);
    writer.optional("secureVipAddress", shown.secure_vip_address);
    push_data_center(writer, Format::XmlCompact, shown);
    writer.element("hostName", shown.host_name);
    writer.element("status", shown.status.as_str());
    writer.number("lastUpdatedTimestamp", shown.updated_at);
    writer.element("actionType", shown.action);
    writer.optional("asgName", shown.asg_name);
    writer.port("port", shown.port);
    writer.port("securePort", shown.secure_port);
}

/// Version 1 knows three words (spec eureka section 1.1).
fn status(format: Format, status: Status) -> Status {
    match (format, status) {
        (Format::XmlVersion1, Status::OutOfService | Status::Unknown) => Status::Down,
        (_, status) => status,
    }
}

fn push_data_center(writer: &mut Writer<'_>, format: Format, shown: &Shown<'_>) {
    let (class, name, entries) = shown.data_center(format);
    writer.open_of_class("dataCenterInfo", class);
    writer.element("name", name);
    let is_shown =
        |key: &str| !key.is_empty() && (format != Format::XmlCompact || COMPACT_KEYS.contains(&key));
    let mut entries = entries.iter().filter(|(key, _)| is_shown(key)).peekable();
    if entries.peek().is_some() {
        writer.open("metadata");
        for (key, value) in entries {
            writer.entry(key, value);
        }
        writer.close("metadata");
    }
    writer.close("dataCenterInfo");
}

fn push_lease(writer: &mut Writer<'_>, shown: &Shown<'_>) -> usize {
    writer.open("leaseInfo");
    writer.number("renewalIntervalInSecs", shown.renewal_interval_secs);
    writer.number("durationInSecs", shown.duration_secs);
    writer.number("registrationTimestamp", shown.registered_at);
    let renewed_at = writer.number("lastRenewalTimestamp", shown.renewed_at);
    writer.number("evictionTimestamp", shown.evicted_at);
    writer.number("serviceUpTimestamp", shown.up_since);
    writer.close("leaseInfo");
    renewed_at
}

fn push_metadata(writer: &mut Writer<'_>, metadata: &ShownMetadata<'_>) {
    let from_json;
    let entries: &[(Cow<'_, str>, Cow<'_, str>)] = match metadata {
        ShownMetadata::Nothing { given: _ } => &[],
        ShownMetadata::Flat(json) => {
            from_json = entries(json);
            &from_json
        }
        ShownMetadata::Entries(entries) => entries,
    };
    let mut entries = entries.iter().filter(|(key, _)| !key.is_empty()).peekable();
    if entries.peek().is_none() {
        writer.begin();
        for part in ["<metadata class=\"", EMPTY_MAP, "\"/>"] {
            writer.to.extend_from_slice(part.as_bytes());
        }
        writer.end();
        return;
    }
    writer.open("metadata");
    for (key, value) in entries {
        writer.entry(key, value);
    }
    writer.close("metadata");
}

/// Appends what comes before the first instance of an application in a list.
pub(super) fn open_application(to: &mut Vec<u8>, format: Format, name: &str, level: usize) {
    let mut writer = Writer { to, level: (format != Format::XmlCompact).then_some(level) };
    writer.open("application");
    writer.element("name", name);
}

/// What comes before the first application of a list.
pub(super) fn open_list(format: Format, head: &ListHead) -> Vec<u8> {
    let mut to = Vec::new();
    if format == Format::XmlCompact {
        to.extend_from_slice(b"<applications>");
        return to;
    }
    let mut writer = Writer { to: &mut to, level: Some(0) };
    writer.open("applications");
    writer.head(head);
    to
}

/// What comes after its last application.
pub(super) fn close_list(format: Format, head: &ListHead) -> Vec<u8> {
    let mut to = Vec::new();
    if format == Format::XmlCompact {
        let mut writer = Writer { to: &mut to, level: None };
        writer.element("registeredApplicationsEmpty", if head.is_empty { "true" } else { "false" });
        writer.head(head);
    }
    to.extend_from_slice(b"</applications>");
    to
}

/// Appends a text so that a reader gets it back, but for characters that XML cannot hold.
fn push_text(to: &mut Vec<u8>, text: &str) {
    // Without a way out in the middle, this is done many bytes at a time. Characters that XML 1.0 cannot
    // hold begin with 0xEF when they are not controls.
    let is_odd = |any, byte| {
        any | (byte < b' ')
            | (byte == b'&')
            | (byte == b'<')
            | (byte == b'>')
            | (byte == b'"')
            | (byte == b'\'')
            | (byte == 0xef)
    };
    if !text.bytes().fold(false, is_odd) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        let escaped = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            // Readers turn a bare one into a line feed.
            '\r' => "&#xd;",
            '\t' | '\n' => {
                to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}",
            c => {
                to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        to.extend_from_slice(escaped.as_bytes());
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Elements that begin so many levels deep.
    pub(super) fn new(to: &'a mut Vec<u8>, level: usize) -> Self {
        Self { to, level: Some(level) }
    }

    /// An element with elements inside.
    pub(super) fn open(&mut self, name: &str) {
        self.begin();
        self.to.push(b'<');
        self.to.extend_from_slice(name.as_bytes());
        self.to.push(b'>');
        self.end();
        self.level = self.level.map(|level| level + 1);
    }

    fn open_of_class(&mut self, name: &str, class: &str) {
        self.begin();
        for part in ["<", name, " class=\"", class, "\">"] {
            self.to.extend_from_slice(part.as_bytes());
        }
        self.end();
        self.level = self.level.map(|level| level + 1);
    }

    /// The end of an element with elements inside.
    pub(super) fn close(&mut self, name: &str) {
        self.level = self.level.map(|level| level.saturating_sub(1));
        self.begin();
        self.to.extend_from_slice(b"</");
        self.to.extend_from_slice(name.as_bytes());
        self.to.push(b'>');
        self.end();
    }

    /// An element with a text.
    pub(super) fn element(&mut self, name: &str, text: &str) {
        self.begin();
        self.to.push(b'<');
        self.to.extend_from_slice(name.as_bytes());
        self.to.push(b'>');
        push_text(self.to, text);
        self.to.extend_from_slice(b"</");
        self.to.extend_from_slice(name.as_bytes());
        self.to.push(b'>');
        self.end();
    }

    /// An element with a text, when there is one.
    pub(super) fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.element(name, text);
        }
    }

    /// An element with a number; answers with the place of its digits.
    pub(super) fn number(&mut self, name: &str, number: u64) -> usize {
        let before = self.to.len();
        self.element(name, itoa::Buffer::new().format(number));
        before + self.blanks() + name.len() + 2
    }

    fn port(&mut self, name: &str, port: Port) {
        self.begin();
        let enabled = if port.is_enabled { " enabled=\"true\">" } else { " enabled=\"false\">" };
        let mut digits = itoa::Buffer::new();
        for part in ["<", name, enabled, digits.format(port.number), "</", name, ">"] {
            self.to.extend_from_slice(part.as_bytes());
        }
        self.end();
    }

    /// An element whose name may be any text.
    fn entry(&mut self, name: &str, text: &str) {
        self.begin();
        self.to.push(b'<');
        let name_at = self.to.len();
        push_name(self.to, name);
        let name = name_at..self.to.len();
        self.to.push(b'>');
        push_text(self.to, text);
        self.to.extend_from_slice(b"</");
        self.to.extend_from_within(name);
        self.to.push(b'>');
        self.end();
    }

    fn head(&mut self, head: &ListHead) {
        self.element("versions__delta", itoa::Buffer::new().format(head.version));
        self.element("apps__hashcode", &head.hash);
    }

    fn begin(&mut self) {
        const BLANKS: &[u8; 16] = &[b' '; 16];
        let blanks = self.blanks();
        self.to.extend_from_slice(BLANKS.get(..blanks).unwrap_or(BLANKS));
    }

    fn end(&mut self) {
        if self.level.is_some() {
            self.to.push(b'\n');
        }
    }

    /// No document is nested as deep as 8 levels.
    fn blanks(&self) -> usize {
        (2 * self.level.unwrap_or(0)).min(16)
    }
}

//! An instance in XML (spec eureka section 2.5).
//!
//! Elements are read one after the other and nothing is kept but what has a meaning, so that the length of
//! the body bounds the work and the memory.
//! Never: entities but the predefined ones, a document type, or recursion.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{DataCenterBody, Entries, Listed, Number, PortBody, RegistrationBody, each_once};
use crate::model::Timestamp;
use crate::wire::eureka::metadata::CLASS;
use crate::wire::eureka::names;
use crate::wire::lenient::{Unreadable, excerpt};

/// Deepest nesting of elements; an instance needs four levels.
const DEPTH_MAX: usize = 16;

/// Where the reading stands.
#[derive(Default)]
struct Reading {
    body: RegistrationBody,
    metadata: Entries,
    cloud: Entries,
    /// The names of the elements around, the outermost first.
    path: Vec<String>,
    /// The text of the innermost element, as far as it was read.
    text: String,
    /// The attribute `enabled` of the innermost element.
    enabled: Option<bool>,
    is_over: bool,
}

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<RegistrationBody, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|e| Unreadable::NotUtf8 { valid: e.valid_up_to() })?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut reading = Reading::default();
    loop {
        match reader.read_event().map_err(|error| not_xml(&error.to_string()))? {
            Event::Start(element) => reading.open(&element)?,
            Event::Empty(element) => {
                reading.open(&element)?;
                reading.close()?;
            }
            Event::End(_) => reading.close()?,
            Event::Text(text) => reading.text(&text.xml10_content())?,
            Event::CData(text) => reading.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let c = character(&name)?;
                reading.text(c.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(not_xml("it declares a document type")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return reading.end(),
        }
    }
}

fn not_xml(why: &str) -> Unreadable {
    Unreadable::NotXml { why: excerpt_of_message(why).into() }
}

/// Messages of the parser may hold a name out of the body, which may be long.
fn excerpt_of_message(message: &str) -> &str {
    message.char_indices().nth(120).map_or(message, |(at, _)| message.split_at(at).0)
}

fn character(name: &BytesRef<'_>) -> Result<char, Unreadable> {
    match &**name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => match name.resolve_char_ref() {
            Ok(Some(c)) => Ok(c),
            Ok(None) | Err(_) => Err(not_xml("it has an unknown entity")),
        },
    }
}

fn wrong(field: &'static str, got: &str, wanted: &'static str) -> Unreadable {
    Unreadable::WrongType { field, got: format!("the text {:?}", excerpt(got)).into(), wanted }
}

// === impl Reading ===

impl Reading {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), Unreadable> {
        let name = element.name().into_inner();
        match self.path.len() {
            0 if self.is_over => return Err(not_xml("it has two root elements")),
            0 if name != "instance" => return Err(not_xml("its root element is not instance")),
            DEPTH_MAX.. => return Err(not_xml("its elements are nested too deep")),
            _ => {}
        }
        self.text.clear();
        self.enabled = None;
        if self.path.len() == 1 && matches!(name, "port" | "securePort") {
            self.enabled = enabled(element)?;
        }
        match (name, &*self.path) {
            ("dataCenterInfo", [_]) => {
                self.body.data_center.get_or_insert_default();
            }
            ("metadata", [_]) => {
                self.body.metadata.get_or_insert_default();
            }
            _ => {}
        }
        self.path.push(name.into());
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Unreadable> {
        if self.path.is_empty() {
            let is_blank = text.trim_ascii().is_empty();
            return if is_blank { Ok(()) } else { Err(not_xml("it has text outside of its element")) };
        }
        self.text.push_str(text);
        Ok(())
    }

    /// The text of an element counts when it ends, unless other elements stood in it.
    fn close(&mut self) -> Result<(), Unreadable> {
        let text = std::mem::take(&mut self.text);
        let Some(name) = self.path.pop() else {
            return Err(not_xml("it closes an element that is not open"));
        };
        let [outer, inner] = [1, 2].map(|level| self.path.get(level).map_or("", String::as_str));
        match (self.path.len(), outer, inner, &*name) {
            (0, ..) => self.is_over = true,
            (1, ..) => self.field(&name, text)?,
            (2, "metadata", _, name) => self.metadata.push((names::text_of(name).into(), text.into())),
            (2, "dataCenterInfo", _, "name") => {
                self.body.data_center.get_or_insert_default().name = Some(text.trim().into());
            }
            (3, "dataCenterInfo", "metadata", name) => {
                self.cloud.push((names::text_of(name).into(), text.into()));
            }
            (2, "leaseInfo", _, "renewalIntervalInSecs") => {
                self.body.renewal_interval_secs = whole(&text, "leaseInfo.renewalIntervalInSecs")?;
            }
            (2, "leaseInfo", _, "durationInSecs") => {
                self.body.duration_secs = whole(&text, "leaseInfo.durationInSecs")?;
            }
            (_, _, _, _) => {}
        }
        Ok(())
    }

    fn field(&mut self, name: &str, text: String) -> Result<(), Unreadable> {
        let body = &mut self.body;
        match name {
            "port" => body.port = Some(port(&text, self.enabled, "port")?),
            "securePort" => body.secure_port = Some(port(&text, self.enabled, "securePort")?),
            "countryId" => body.country_id = whole(&text, "countryId")?,
            "lastDirtyTimestamp" => {
                let millis = whole(&text, "lastDirtyTimestamp")?;
                let millis = millis.map(|millis| u64::try_from(millis).unwrap_or(0));
                body.dirty_at = millis.map(Timestamp::from_millis);
            }
            "actionType" => body.action = Listed::from_eureka(&text),
            _ => {
                let name = if name == "overriddenstatus" { "overriddenStatus" } else { name };
                let texts = [
                    ("instanceId", &mut body.instance_id),
                    ("hostName", &mut body.host_name),
                    ("app", &mut body.app),
                    ("appGroupName", &mut body.app_group),
                    ("ipAddr", &mut body.ip_addr),
                    ("sid", &mut body.sid),
                    ("homePageUrl", &mut body.home_page_url),
                    ("statusPageUrl", &mut body.status_page_url),
                    ("healthCheckUrl", &mut body.health_check_url),
                    ("secureHealthCheckUrl", &mut body.secure_health_check_url),
                    ("vipAddress", &mut body.vip_address),
                    ("secureVipAddress", &mut body.secure_vip_address),
                    ("status", &mut body.status),
                    ("overriddenStatus", &mut body.overridden),
                    ("asgName", &mut body.asg_name),
                ];
                if let Some((_, field)) = texts.into_iter().find(|(own, _)| *own == name) {
                    *field = Some(text.into());
                }
            }
        }
        Ok(())
    }

    fn end(self) -> Result<RegistrationBody, Unreadable> {
        let Self { mut body, metadata, cloud, is_over, .. } = self;
        if !is_over {
            return Err(not_xml("it ends before its element does"));
        }
        let named = |entries: Entries| {
            each_once(entries.into_iter().filter(|(name, _)| !name.is_empty() && **name != *CLASS))
        };
        if let Some(kept) = &mut body.metadata {
            *kept = named(metadata);
        }
        if let Some(DataCenterBody { metadata, .. }) = &mut body.data_center {
            *metadata = named(cloud);
        }
        Ok(body)
    }
}

fn enabled(element: &BytesStart<'_>) -> Result<Option<bool>, Unreadable> {
    // Looking for doubled ones takes the square of their number.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| not_xml(&error.to_string()))?;
        if attribute.key.into_inner() == "enabled" {
            return Ok(Some(attribute.value.trim().eq_ignore_ascii_case("true")));
        }
    }
    Ok(None)
}

fn port(text: &str, is_enabled: Option<bool>, field: &'static str) -> Result<PortBody, Unreadable> {
    let number = match whole(text, field)? {
        Some(number) => u16::try_from(number).map_or(Number::Impossible, Number::Of),
        None => Number::Absent,
    };
    Ok(PortBody { number, is_enabled })
}

/// A whole number of any length; an empty text is none.
fn whole(text: &str, field: &'static str) -> Result<Option<i64>, Unreadable> {
    match text.trim() {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| wrong(field, digits, "a whole number")),
    }
}

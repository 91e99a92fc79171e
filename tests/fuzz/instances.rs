//! Checks of what is written for Eureka's readers, for every target that has an instance.
//!
//! Never: an expectation that is computed by the code under test, but for reading back what it wrote.

use std::time::Duration;

use a8registry::model::{Document, Instance, Registration, Timestamp};
use a8registry::wire::eureka::Format;
use a8registry::wire::eureka::registration::{Dialect, RegistrationBody};
use quick_xml::Reader;
use quick_xml::events::Event;

/// Longer than any error has to be.
pub const ERROR_MAX: usize = 600;

/// More than any input holds, written.
const METADATA_MAX: usize = 1 << 20;

const NOW: u64 = 1_750_000_000_100;
const RENEWED: u64 = 1_750_000_120_100;

const FORMATS: [Format; Format::COUNT] = [
    Format::Json,
    Format::JsonAmalgam8,
    Format::JsonCompact,
    Format::Xml,
    Format::XmlVersion1,
    Format::XmlCompact,
];

/// As the API does with a body that was read.
pub fn registration(body: RegistrationBody, dialect: Dialect) -> Option<Registration> {
    let application = body.application().unwrap_or("A").to_owned();
    match body.into_registration(&application, dialect, METADATA_MAX) {
        Ok(registration) => Some(registration),
        Err(refused) => {
            let text = refused.to_string();
            // One text repeats the names of both applications.
            assert!(text.len() <= ERROR_MAX + 3 * application.len(), "{} bytes: {text}", text.len());
            None
        }
    }
}

/// Writes an instance in every format; what came by the Eureka API is read back.
pub fn check(registration: Registration, dialect: Dialect) {
    let ttl = registration.ttl.unwrap_or(Duration::from_secs(30));
    let instance = registration.grant(ttl, Timestamp::from_millis(NOW));
    let renewed = Timestamp::from_millis(RENEWED);
    for format in FORMATS {
        let document = format.instance_document(&instance, renewed);
        let mut element = b"x".to_vec();
        let gone = Some(Timestamp::from_millis(RENEWED + 1));
        for gone in [None, gone] {
            element.truncate(1);
            let place = format.push_instance(&mut element, &instance, renewed, gone);
            assert_eq!(place.is_some(), format.shows_renewal());
            let digits = place.and_then(|place| element.get(place..place + 13));
            assert!(digits.is_none_or(|digits| digits == RENEWED.to_string().as_bytes()));
        }
        match format {
            Format::Json | Format::JsonAmalgam8 | Format::JsonCompact => {
                check_json(&document);
                check_json(&element[1..]);
            }
            Format::Xml | Format::XmlVersion1 | Format::XmlCompact => {
                check_xml(&document);
                check_xml(&element[1..]);
            }
        }
        if let Some(claimed) = instance.document.as_deref() {
            read_back(format, &instance, claimed, dialect, &document);
        }
    }
}

fn check_json(text: &[u8]) {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("is JSON");
    // The plain reader takes objects with such keys for something of its own.
    let is_special = text.windows(21).any(|window| window == b"$serde_json::private:");
    assert!(is_special || serde_json::from_slice::<serde_json::Value>(text).is_ok());
}

/// Every element is closed, every name and every character is one of XML 1.0.
fn check_xml(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("is text");
    let is_legal = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
    assert!(text.chars().all(is_legal), "{text}");
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    loop {
        match reader.read_event().expect("is XML") {
            Event::Start(element) => {
                check_name(element.name().into_inner());
                depth += 1;
            }
            Event::Empty(element) => check_name(element.name().into_inner()),
            Event::End(_) => depth -= 1,
            Event::Text(_) => {}
            Event::GeneralRef(name) => {
                assert!(["amp", "lt", "gt", "quot", "apos", "#xd"].contains(&&*name), "{}", &*name);
            }
            Event::Eof => break,
            other => panic!("holds {other:?}"),
        }
    }
    assert_eq!(depth, 0);
}

fn check_name(name: &str) {
    let is_first = |c: char| c.is_ascii_alphabetic() || matches!(c, ':' | '_' | '\u{c0}'..);
    let is_other = |c: char| is_first(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | '\u{b7}');
    assert!(name.starts_with(is_first) && name.chars().all(is_other), "{name:?}");
}

/// Full documents say what was registered, but for words that Eureka does not know.
fn read_back(format: Format, instance: &Instance, claimed: &Document, dialect: Dialect, text: &[u8]) {
    let (body, dialect_of_format) = match format {
        Format::Json | Format::JsonCompact => {
            (RegistrationBody::from_json(text, Dialect::Netflix), Dialect::Netflix)
        }
        Format::JsonAmalgam8 => (RegistrationBody::from_json(text, Dialect::Amalgam8), Dialect::Amalgam8),
        Format::Xml | Format::XmlVersion1 | Format::XmlCompact => {
            (RegistrationBody::from_xml(text), Dialect::Netflix)
        }
    };
    let body = body.expect("what is written can be read");
    let holds_odd = text.windows(3).any(|window| window == "\u{fffd}".as_bytes());
    let is_compared = dialect == Dialect::Netflix
        && matches!(format, Format::Json | Format::Xml)
        && !(format == Format::Xml && (holds_odd || has_nameless(instance, claimed)));
    if !is_compared {
        return;
    }
    let back = body.into_registration(&instance.application(), dialect_of_format, METADATA_MAX);
    let back = back.expect("what is written can be registered");
    let eureka = back.eureka.expect("it came by the Eureka API");
    let want = Document {
        sid: claimed.sid.clone().filter(|sid| !matches!(&**sid, "na" | "unknown")),
        status_text: None,
        ..claimed.clone()
    };
    assert_eq!(eureka.document, want);
    assert_eq!((back.status, eureka.overridden), (instance.status, instance.overridden));
    assert_eq!((back.endpoint, back.tags, back.metadata), (
        instance.endpoint.clone(),
        instance.tags.clone(),
        instance.metadata.clone(),
    ));
    assert_eq!(eureka.dirty_at, Some(instance.dirty_at));
}

/// Entries without a name, which XML cannot hold.
fn has_nameless(instance: &Instance, claimed: &Document) -> bool {
    let metadata = instance.metadata.as_ref().map_or("", |metadata| metadata.as_json());
    metadata.contains(r#""":"#) || claimed.data_center.get("").is_some()
}

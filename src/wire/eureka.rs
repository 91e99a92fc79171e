//! The shapes of the Eureka API, JSON and XML (spec eureka section 2): what comes and what goes.
//!
//! An instance is encoded by itself, so that lists are put together from encoded instances.
//! Never: decides who wins, or what a list holds.

pub mod applications;
mod json;
pub mod listed;
mod lists;
mod metadata;
mod names;
mod place;
pub mod registration;
pub mod replication;
mod shown;
pub mod status;
mod xml;

use crate::model::{Instance, Status, Timestamp};

/// How an instance, or a list of them, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Full JSON (spec eureka section 2.4).
    Json,
    /// Full JSON as below `/api/eureka/`: also with `overriddenstatus`, and with defaults that the original wrote
    /// (spec amalgam8 section 7).
    JsonAmalgam8,
    /// Compact JSON (spec eureka section 2.2).
    JsonCompact,
    /// Full XML (spec eureka section 2.5).
    Xml,
    /// Full XML of version 1, which knows three statuses (spec eureka section 1.1).
    XmlVersion1,
    /// Compact XML.
    XmlCompact,
}

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListHead {
    /// `versions__delta`
    pub version: i64,
    /// `apps__hashcode`
    pub hash: String,
    /// Whether no application follows.
    pub is_empty: bool,
}

/// Levels that an application of a list is indented by in XML.
const IN_LIST: usize = 1;

/// Levels that an instance of a list is indented by in XML, also where the application is the whole document.
const IN_APPLICATION: usize = 2;

/// Times whose milliseconds have 13 digits.
const THIRTEEN_DIGITS: std::ops::Range<u64> = 1_000_000_000_000..10_000_000_000_000;

// === impl Format ===

impl Format {
    /// Number of formats.
    pub const COUNT: usize = 6;

    /// Its place among all, from 0.
    #[must_use]
    pub fn position(self) -> usize {
        match self {
            Self::Json => 0,
            Self::JsonAmalgam8 => 1,
            Self::JsonCompact => 2,
            Self::Xml => 3,
            Self::XmlVersion1 => 4,
            Self::XmlCompact => 5,
        }
    }

    /// Whether instances show when their lease was last renewed.
    #[must_use]
    pub fn shows_renewal(self) -> bool {
        match self {
            Self::Json | Self::JsonAmalgam8 | Self::Xml | Self::XmlVersion1 => true,
            Self::JsonCompact | Self::XmlCompact => false,
        }
    }

    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::JsonAmalgam8 | Self::JsonCompact => "application/json",
            Self::Xml | Self::XmlVersion1 | Self::XmlCompact => "application/xml",
        }
    }

    /// Whether it is JSON.
    fn is_json(self) -> bool {
        match self {
            Self::Json | Self::JsonAmalgam8 | Self::JsonCompact => true,
            Self::Xml | Self::XmlVersion1 | Self::XmlCompact => false,
        }
    }

    /// Appends one instance of a list, its lease last renewed at `renewed`; `gone` is when a deleted one went.
    /// Answers with the place of the 13 digits of `lastRenewalTimestamp`, in a format that shows them; times
    /// before 2001 and after 2286 have another number of digits, and no place.
    pub fn push_instance(
        self,
        to: &mut Vec<u8>,
        instance: &Instance,
        renewed: Timestamp,
        gone: Option<Timestamp>,
    ) -> Option<usize> {
        let place = match self.is_json() {
            true => json::push_instance(to, self, instance, renewed, gone),
            false => xml::push_instance(to, self, instance, renewed, gone, IN_APPLICATION),
        };
        place.filter(|_| THIRTEEN_DIGITS.contains(&renewed.as_millis()))
    }

    /// What stands between two instances of one application.
    #[must_use]
    pub fn between_instances(self) -> &'static str {
        if self.is_json() { "," } else { "" }
    }

    /// What stands between two applications.
    #[must_use]
    pub fn between_applications(self) -> &'static str {
        self.between_instances()
    }

    /// Appends what comes before the first instance of an application in a list.
    pub fn open_application(self, to: &mut Vec<u8>, name: &str) {
        match self.is_json() {
            true => json::open_application(to, name),
            false => xml::open_application(to, self, name, IN_LIST),
        }
    }

    /// What comes after its last instance.
    #[must_use]
    pub fn close_application(self) -> &'static str {
        match self {
            Self::Json | Self::JsonAmalgam8 | Self::JsonCompact => "]}",
            Self::Xml | Self::XmlVersion1 => "  </application>\n",
            Self::XmlCompact => "</application>",
        }
    }

    /// What comes before the first application of a list.
    #[must_use]
    pub fn open_list(self, head: &ListHead) -> Vec<u8> {
        if self.is_json() { json::open_list(self, head) } else { xml::open_list(self, head) }
    }

    /// What comes after its last application.
    #[must_use]
    pub fn close_list(self, head: &ListHead) -> Vec<u8> {
        if self.is_json() { json::close_list(self, head) } else { xml::close_list(self, head) }
    }

    /// What comes before the first instance of an application that is a document by itself.
    #[must_use]
    pub fn open_application_document(self, name: &str) -> Vec<u8> {
        let mut to = Vec::new();
        match self.is_json() {
            true => {
                to.extend_from_slice(br#"{"application":"#);
                json::open_application(&mut to, name);
            }
            false => xml::open_application(&mut to, self, name, 0),
        }
        to
    }

    /// What comes after its last instance.
    #[must_use]
    pub fn close_application_document(self) -> &'static str {
        if self.is_json() { "]}}" } else { "</application>" }
    }

    /// One instance as a document by itself, always in full (spec eureka section 1.7).
    #[must_use]
    pub fn instance_document(self, instance: &Instance, renewed: Timestamp) -> Vec<u8> {
        let full = match self {
            Self::JsonCompact => Self::Json,
            Self::XmlCompact => Self::Xml,
            Self::Json | Self::JsonAmalgam8 | Self::Xml | Self::XmlVersion1 => self,
        };
        let mut to = Vec::with_capacity(2048);
        if full.is_json() {
            to.extend_from_slice(br#"{"instance":"#);
            let _ = json::push_instance(&mut to, full, instance, renewed, None);
            to.push(b'}');
        } else {
            let _ = xml::push_instance(&mut to, full, instance, renewed, None, 0);
            to.truncate(to.trim_ascii_end().len());
        }
        to
    }
}

/// `apps__hashcode` of so many instances in each status, in the order of [`Status::ALL`]
/// (spec eureka section 3.8).
#[must_use]
pub fn hash_code(counts: &[usize; 5]) -> String {
    let mut by_name: Vec<_> = Status::ALL.into_iter().zip(counts).filter(|(_, count)| **count != 0).collect();
    by_name.sort_unstable_by_key(|(status, _)| status.as_str());
    by_name.into_iter().map(|(status, count)| format!("{status}_{count}_")).collect()
}

#[cfg(test)]
mod tests;

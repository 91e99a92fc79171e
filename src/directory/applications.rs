//! Instances as Eureka's readers see them: applications, put together from encoded chunks.
//!
//! Never: encodes an instance that is encoded already, or holds a lock while sending.

use bytes::Bytes;

use std::sync::Arc;

use super::{Directory, Encoding, Held, History, Preservation};
use crate::model::{Instance, InstanceId, Status, Timestamp};
use crate::wire::eureka::Format;

/// Which instances a Eureka reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// All of them, as a list whose `versions__delta` is 1.
    All,
    /// What changed lately, as a list whose hash is that of all (spec eureka section 1.4).
    Changes,
    /// Those of one application, its name in any letter case, as an application.
    Application(&'a str),
    /// Those with this virtual address, as a list.
    Vip(&'a str),
    /// Those with this virtual address with TLS, as a list.
    SecureVip(&'a str),
}

/// A document for Eureka's readers, not yet sent.
#[derive(Debug)]
pub struct Applications {}

/// The document in frames, each made when it is asked for.
#[derive(Debug)]
pub struct Pages {}

// === impl Applications ===

impl Applications {
    /// Number of instances.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is no instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Length of the document, uncompressed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// The document, coded.
    #[must_use]
    pub fn render(self, encoding: Encoding) -> Pages {
        let _ = encoding;
        todo!()
    }
}

// === impl Pages ===

impl Pages {
    /// Bytes still to come; unknown for a body that is compressed while it is sent.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        todo!()
    }
}

impl Iterator for Pages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        todo!()
    }
}

impl Directory {
    /// The id of the living instance that Eureka's readers know as `id` in this application, its name in any letter case.
    #[must_use]
    pub fn resolve(&self, application: &str, id: &str) -> Option<InstanceId> {
        let _ = (application, id);
        todo!()
    }

    /// The living instance that Eureka's readers know as `id` in whichever application, and when its
    /// lease was last renewed.
    #[must_use]
    pub fn find_anywhere(&self, id: &str) -> Option<Held> {
        let _ = id;
        todo!()
    }

    /// The living instance that Eureka's readers know as `id` in this application, its name in any
    /// letter case, and when its lease was last renewed.
    #[must_use]
    pub fn find(&self, application: &str, id: &str) -> Option<Held> {
        let _ = (application, id);
        todo!()
    }

    /// A document for Eureka's readers; all of it belongs to one revision.
    #[must_use]
    pub fn applications(&self, wanted: Wanted<'_>, format: Format) -> Applications {
        let _ = (wanted, format);
        todo!()
    }

    /// All instances at one revision, in order of service and id, with the time of their last renewal.
    /// For pages that people look at: costs a look at each.
    pub fn for_each(&self, visit: &mut dyn FnMut(&Arc<Instance>, Timestamp)) {
        let _ = visit;
        todo!()
    }

    /// Number of instances in each status, in the order of [`Status::ALL`].
    #[must_use]
    pub fn counts(&self) -> [usize; Status::ALL.len()] {
        todo!()
    }

    /// The newest registrations and the newest ends of leases, newest first.
    #[must_use]
    pub fn history(&self) -> History {
        todo!()
    }

    /// How expiry stands in this namespace.
    #[must_use]
    pub fn preservation(&self) -> Preservation {
        todo!()
    }
}

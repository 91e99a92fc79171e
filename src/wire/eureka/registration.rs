//! An instance as a client of the Eureka API sends it, read in two steps: the types of its values first, then
//! the rules (spec eureka section 1.6, spec amalgam8 section 7).
//!
//! Never: decides what becomes of an instance that is there already.

use crate::model::{Action, Invalid, Registration};
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
    pub(super) instance_id: Option<Box<str>>,
    pub(super) app: Option<Box<str>>,
    pub(super) action: Option<Listed>,
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
    /// The name of the data center is not one of those that are known.
    #[error("Unknown dataCenterInfo name {got}, wanted Netflix, Amazon or MyOwn")]
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
        let _ = (body, dialect);
        todo!()
    }

    /// Reads `<instance>...</instance>`.
    ///
    /// # Errors
    /// When it is not XML, declares a document type, is nested too deep, or a value cannot be read.
    pub fn from_xml(body: &[u8]) -> Result<Self, Unreadable> {
        let _ = body;
        todo!()
    }

    /// The application that it names; none when it is empty.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.app.as_deref().filter(|app| !app.is_empty())
    }

    /// The registration, when it follows the rules. `application` is the one in the path, `metadata_max` the
    /// most bytes that its metadata may have as JSON.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn into_registration(
        self,
        application: &str,
        dialect: Dialect,
        metadata_max: usize,
    ) -> Result<Registration, Refused> {
        let _ = (application, dialect, metadata_max);
        todo!()
    }
}

//! A list of applications as another server sends it (spec eureka sections 2.4 and 2.9).
//!
//! Never: merges a list with what is known already.

use super::registration::{Listed, RegistrationBody};
use crate::wire::lenient::Unreadable;

/// All instances of another server, or what changed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationsBody {
    /// `versions__delta`
    pub version: Option<String>,
    /// `apps__hashcode`; empty when it is missing.
    pub hash: String,
    /// In the order of the document.
    pub instances: Vec<ListedInstance>,
}

/// One instance of a list. Its application is [`RegistrationBody::application`]; when it names none, it has
/// that of the application that it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInstance {
    /// The instance.
    pub body: RegistrationBody,
    /// `actionType`
    pub action: Option<Listed>,
}

// === impl ApplicationsBody ===

impl ApplicationsBody {
    /// Reads `{"applications":{...}}`; lists of one element may be the element itself.
    ///
    /// # Errors
    /// When it is not JSON, or a value has a type that cannot be read.
    pub fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        let _ = body;
        todo!()
    }
}

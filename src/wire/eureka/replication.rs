//! What Eureka servers tell each other: batches of writes, and the answers (spec eureka sections 4.2 and 4.3).
//!
//! Never: does what an item says, or decides what is sent.

use std::sync::Arc;

use super::Format;
use super::lists::OneOrMany;
use super::registration::{Dialect, InstanceMembers, RegistrationBody, scalar_text, time};
use crate::model::{Instance, Status, Timestamp};
use crate::wire::encoded::push_string;
use crate::wire::lenient::{self, Given, Object, Unreadable, members};

/// A batch that another server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchBody {
    /// In their order.
    pub items: Vec<BatchItem>,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// `appName`
    pub application: String,
    /// `id`
    pub id: String,
    /// `lastDirtyTimestamp`
    pub dirty_at: Option<Timestamp>,
    /// `status`; none when the word is none of the five.
    pub status: Option<Status>,
    /// `overriddenStatus`, likewise.
    pub overridden: Option<Status>,
    /// `instanceInfo`
    pub instance: Option<RegistrationBody>,
    /// `action`
    pub action: BatchAction,
}

/// What an item of a batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchAction {
    /// `Register`
    Register,
    /// `Heartbeat`
    Heartbeat,
    /// `Cancel`
    Cancel,
    /// `StatusUpdate`
    StatusUpdate,
    /// `DeleteStatusOverride`
    DeleteStatusOverride,
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// It is no batch.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It has no `replicationList`.
    #[error("replicationList is missing")]
    NoList,
}

/// One write of ours, to be sent. Members that are none are left out.
#[derive(Debug, Clone, Copy)]
pub struct ItemToSend<'a> {
    /// `appName`
    pub application: &'a str,
    /// `id`, within the application
    pub id: &'a str,
    /// `lastDirtyTimestamp`
    pub dirty_at: Option<Timestamp>,
    /// `status`
    pub status: Option<Status>,
    /// `overriddenStatus`
    pub overridden: Option<Status>,
    /// `instanceInfo`, and when its lease was last renewed
    pub instance: Option<(&'a Instance, Timestamp)>,
    /// `action`
    pub action: BatchAction,
}

/// Answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer {
    /// One for each item, in order.
    pub items: Vec<BatchItemAnswer>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItemAnswer {
    /// The status that a request of its own would have had.
    pub status: u16,
    /// The newer instance that the answerer has.
    pub entity: Option<Entity>,
}

/// An instance in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entity {
    /// One of ours, to be sent.
    Ours {
        /// The instance.
        instance: Arc<Instance>,
        /// When its lease was last renewed.
        renewed: Timestamp,
    },
    /// One of another server, as it came.
    Theirs(Box<RegistrationBody>),
}

/// Appends one item; between two of them stands a comma.
pub fn push_item(to: &mut Vec<u8>, item: &ItemToSend<'_>) {
    let ItemToSend { application, id, dirty_at, status, overridden, instance, action } = item;
    to.extend_from_slice(br#"{"appName":"#);
    push_string(to, application);
    to.extend_from_slice(br#","id":"#);
    push_string(to, id);
    if let Some(dirty_at) = dirty_at {
        to.extend_from_slice(br#","lastDirtyTimestamp":"#);
        to.extend_from_slice(itoa::Buffer::new().format(dirty_at.as_millis()).as_bytes());
    }
    if let Some(overridden) = overridden {
        to.extend_from_slice(br#","overriddenStatus":""#);
        to.extend_from_slice(overridden.as_str().as_bytes());
        to.push(b'"');
    }
    if let Some(status) = status {
        to.extend_from_slice(br#","status":""#);
        to.extend_from_slice(status.as_str().as_bytes());
        to.push(b'"');
    }
    if let Some((instance, renewed)) = instance {
        to.extend_from_slice(br#","instanceInfo":"#);
        let _ = Format::Json.push_instance(to, instance, *renewed, None);
    }
    to.extend_from_slice(br#","action":""#);
    to.extend_from_slice(action.as_str().as_bytes());
    to.extend_from_slice(b"\"}");
}

/// The body of a request with these items, each as [`push_item`] wrote it.
#[must_use]
pub fn batch_of<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut to = br#"{"replicationList":["#.to_vec();
    for (nth, item) in items.into_iter().enumerate() {
        if nth != 0 {
            to.push(b',');
        }
        to.extend_from_slice(item);
    }
    to.extend_from_slice(b"]}");
    to
}

#[derive(Default)]
struct BatchMembers<'a> {
    items: OneOrMany<'a, ItemMembers<'a>>,
}

#[derive(Default)]
struct ItemMembers<'a> {
    application: Given<'a>,
    id: Given<'a>,
    dirty_at: Given<'a>,
    status: Given<'a>,
    overridden: Given<'a>,
    instance: Object<'a, InstanceMembers<'a>>,
    action: Given<'a>,
}

#[derive(Default)]
struct AnswerMembers<'a> {
    items: OneOrMany<'a, ItemAnswerMembers<'a>>,
}

#[derive(Default)]
struct ItemAnswerMembers<'a> {
    status: Given<'a>,
    entity: Object<'a, InstanceMembers<'a>>,
}

// === impl BatchAction ===

impl BatchAction {
    /// All of them.
    const ALL: [Self; 5] =
        [Self::Register, Self::Heartbeat, Self::Cancel, Self::StatusUpdate, Self::DeleteStatusOverride];

    /// The word in bodies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "Register",
            Self::Heartbeat => "Heartbeat",
            Self::Cancel => "Cancel",
            Self::StatusUpdate => "StatusUpdate",
            Self::DeleteStatusOverride => "DeleteStatusOverride",
        }
    }
}

// === impl BatchBody ===

impl BatchBody {
    /// Reads a batch.
    ///
    /// # Errors
    /// When it is not JSON, has no list, or an item names no known action.
    pub fn from_json(body: &[u8]) -> Result<Self, BadBatch> {
        let batch: Object<'_, BatchMembers<'_>> = lenient::read(body)?;
        let batch = batch.members("body")?.unwrap_or_default();
        let items = batch.items.judge("replicationList")?.ok_or(BadBatch::NoList)?;
        let items = items.into_iter().map(BatchItem::try_from).collect::<Result<_, _>>()?;
        Ok(Self { items })
    }
}

impl TryFrom<ItemMembers<'_>> for BatchItem {
    type Error = Unreadable;
    fn try_from(members: ItemMembers<'_>) -> Result<Self, Unreadable> {
        let ItemMembers { application, id, dirty_at, status, overridden, instance, action } = members;
        let text = |given, field| scalar_text(given, field, Dialect::Netflix);
        let named = |given, field| Ok(text(given, field)?.map(String::from).unwrap_or_default());
        let status_of = |given, field| -> Result<_, Unreadable> {
            let word = text(given, field)?;
            Ok(word.and_then(|word| Status::from_eureka(word.trim())))
        };
        let unknown = action.wrong("action", "one of the five actions");
        let action = match &action {
            Given::Text(word) => BatchAction::ALL.into_iter().find(|action| action.as_str() == word),
            Given::Nothing
            | Given::Null
            | Given::Flag(_)
            | Given::Whole(_)
            | Given::Number(_)
            | Given::List
            | Given::Object => None,
        };
        let instance = instance.members("instanceInfo")?;
        Ok(Self {
            application: named(application, "appName")?,
            id: named(id, "id")?,
            dirty_at: time(&dirty_at, "lastDirtyTimestamp")?,
            status: status_of(status, "status")?,
            overridden: status_of(overridden, "overriddenStatus")?,
            instance: instance.map(|members| members.judge(Dialect::Netflix)).transpose()?,
            action: action.ok_or(unknown)?,
        })
    }
}

members!(BatchMembers {
    "replicationList" => items,
});

members!(ItemMembers {
    "appName" => application,
    "id" => id,
    "lastDirtyTimestamp" => dirty_at,
    "status" => status,
    "overriddenStatus" => overridden,
    "instanceInfo" => instance,
    "action" => action,
});

// === impl BatchAnswer ===

impl BatchAnswer {
    /// As JSON. An entity of another server is left out; nobody passes one on.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(32 + 20 * self.items.len());
        to.extend_from_slice(br#"{"responseList":["#);
        for (nth, BatchItemAnswer { status, entity }) in self.items.iter().enumerate() {
            if nth != 0 {
                to.push(b',');
            }
            to.extend_from_slice(br#"{"statusCode":"#);
            to.extend_from_slice(itoa::Buffer::new().format(*status).as_bytes());
            match entity {
                Some(Entity::Ours { instance, renewed }) => {
                    to.extend_from_slice(br#","responseEntity":"#);
                    let _ = Format::Json.push_instance(&mut to, instance, *renewed, None);
                }
                Some(Entity::Theirs(_)) | None => {}
            }
            to.push(b'}');
        }
        to.extend_from_slice(b"]}");
        to
    }

    /// Reads the answer of another server.
    ///
    /// # Errors
    /// When it is not JSON, or has no list.
    pub fn from_json(body: &[u8]) -> Result<Self, BadBatch> {
        let answer: Object<'_, AnswerMembers<'_>> = lenient::read(body)?;
        let answer = answer.members("body")?.unwrap_or_default();
        let items = answer.items.judge("responseList")?.ok_or(BadBatch::NoList)?;
        let items = items.into_iter().map(BatchItemAnswer::try_from).collect::<Result<_, _>>()?;
        Ok(Self { items })
    }
}

impl TryFrom<ItemAnswerMembers<'_>> for BatchItemAnswer {
    type Error = Unreadable;
    fn try_from(members: ItemAnswerMembers<'_>) -> Result<Self, Unreadable> {
        const WANTED: &str = "a status code";
        let ItemAnswerMembers { status, entity } = members;
        let status = match &status {
            Given::Whole(code) => u16::try_from(*code).map_err(|_| status.wrong("statusCode", WANTED))?,
            Given::Text(_)
            | Given::Nothing
            | Given::Null
            | Given::Flag(_)
            | Given::Number(_)
            | Given::List
            | Given::Object => return Err(status.wrong("statusCode", WANTED)),
        };
        // Only an instance is of use here.
        let entity = entity.into_members().ok().map(|members| members.judge(Dialect::Netflix)).transpose()?;
        Ok(Self { status, entity: entity.map(|body| Entity::Theirs(body.into())) })
    }
}

members!(AnswerMembers {
    "responseList" => items,
});

members!(ItemAnswerMembers {
    "statusCode" => status,
    "responseEntity" => entity,
});

#[cfg(test)]
mod tests;

//! What Eureka servers tell each other: batches of writes, and the answers (spec eureka sections 4.2 and 4.3).
//!
//! Never: does what an item says, or decides what is sent.

use std::sync::Arc;

use super::registration::RegistrationBody;
use crate::model::{Instance, Status, Timestamp};
use crate::wire::lenient::Unreadable;

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
    /// `status`; a word that is none of the five is [`Status::Unknown`].
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
    let _ = (to, item);
    todo!()
}

/// The body of a request with these items, each as [`push_item`] wrote it.
#[must_use]
pub fn batch_of<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let _ = items.into_iter();
    todo!()
}

// === impl BatchBody ===

impl BatchBody {
    /// Reads a batch.
    ///
    /// # Errors
    /// When it is not JSON, has no list, or an item names no known action.
    pub fn from_json(body: &[u8]) -> Result<Self, BadBatch> {
        let _ = body;
        todo!()
    }
}

// === impl BatchAnswer ===

impl BatchAnswer {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads the answer of another server.
    ///
    /// # Errors
    /// When it is not JSON, or has no list.
    pub fn from_json(body: &[u8]) -> Result<Self, BadBatch> {
        let _ = body;
        todo!()
    }
}

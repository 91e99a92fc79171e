//! Clients: each has one instance and does one thing after the other, so that what should be is always known.

use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::message::Key;
use a8registry::model::{
    Action, Document, Endpoint, EndpointType, Instance, InstanceId, Namespace, Status, Timestamp,
};

/// Who owns an instance.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) key: Key,
    pub(super) state: State,
    /// The member that it tells.
    pub(super) home: usize,
    pub(super) home_since: u64,
    /// When it renews next.
    pub(super) next: u64,
    /// When a renewal was last answered with yes, a write done.
    pub(super) last: u64,
    pub(super) written: u64,
    /// Which of its writes it was; the content says so.
    pub(super) version: u64,
    pub(super) status: Status,
    /// Whether it was ever registered without an end of its lease.
    pub(super) was_out: bool,
    /// Whether it was ever deregistered.
    pub(super) was_gone: bool,
    /// Does nothing but renew.
    pub(super) is_steady: bool,
}

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet.
    Idle,
    /// It renews.
    Alive,
    /// It has stopped renewing.
    Crashed,
    /// It has deregistered, at a member.
    Gone(usize),
    /// It has deregistered, at a member that may have told nobody.
    Forgotten,
}

/// How often clients renew.
pub(super) const RENEWS: u64 = 10_000;

impl Client {
    pub(super) fn new(nth: usize, is_steady: bool) -> Self {
        // Two namespaces have the same ids.
        let namespace: Namespace = if nth.is_multiple_of(2) { "red" } else { "blue" }.parse().unwrap();
        Self {
            key: Key { namespace, id: InstanceId::from_text(&format!("i{}", nth / 2)) },
            state: State::Idle,
            home: 0,
            home_since: 0,
            next: 0,
            last: 0,
            written: 0,
            version: 0,
            status: Status::Up,
            was_out: false,
            was_gone: false,
            is_steady,
        }
    }

    /// The instance as the client registers it.
    pub(super) fn instance(&self, ttl: u64) -> Arc<Instance> {
        let id = self.key.id.clone();
        Arc::new(Instance {
            service: "web".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, id.as_str()).unwrap(),
            id,
            status: self.status,
            tags: [self.key.namespace.as_str().into()].into(),
            metadata: None,
            ttl: Duration::from_millis(ttl),
            registered_at: Timestamp::from_millis(1),
            overridden: self.version.is_multiple_of(5).then_some(self.status),
            dirty_at: Timestamp::from_millis(self.version),
            updated_at: Timestamp::from_millis(1),
            up_since: None,
            action: Action::Added,
            document: self.version.is_multiple_of(3).then(|| Arc::new(Document::of_host("host", "10.0.0.1"))),
            foreign: None,
        })
    }
}

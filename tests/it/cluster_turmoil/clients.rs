//! Clients: each has one instance and does one thing after the other, so that what should be is always known.
//!
//! Never: looks at more than one member at a time.

use std::time::Duration;

use a8registry::model::{
    Action, Endpoint, EndpointType, Instance, InstanceId, Namespace, Origin, Status, Timestamp, Update,
};
use a8registry::store::{Store, StoreError};
use futures_util::FutureExt;

use super::member::{Life, TTL};

/// Who owns an instance.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) id: InstanceId,
    pub(super) state: State,
    /// The member that it tells.
    pub(super) home: usize,
    /// When it does something next.
    pub(super) next: u64,
    /// When, and in which run of which member, the last call was answered with yes.
    pub(super) last: u64,
    pub(super) vouched: Run,
    /// The last write that was answered with yes, and where.
    pub(super) version: u64,
    pub(super) status: Status,
    pub(super) written: Run,
}

/// A member, and which of its starts.
pub(super) type Run = (usize, u32);

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet, or it is to register anew.
    Idle,
    /// It renews.
    Alive,
    /// It has stopped renewing.
    Silent,
    /// It has deregistered.
    Gone(Run),
}

/// What a client asks of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Register { version: u64, status: Status },
    Renew,
    SetStatus(Status),
    Deregister,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A change of the status changes the version that the member has, which may be an older one; none when nothing
    /// changed there.
    Done { version: Option<u64> },
    /// The member knows no such instance.
    Unknown,
    /// The member has not heard of all yet.
    Unready,
}

/// How often clients renew.
pub(super) const RENEWS: u64 = 2_000;

impl Client {
    pub(super) fn new(nth: u64) -> Self {
        Self {
            id: InstanceId::from_text(&format!("i{nth}")),
            state: State::Idle,
            home: 0,
            next: 1_000 + 100 * nth,
            last: 0,
            vouched: (0, 0),
            version: 0,
            status: Status::Up,
            written: (0, 0),
        }
    }

    fn instance(&self, version: u64, status: Status) -> Instance {
        Instance {
            service: "web".parse().expect("a name"),
            endpoint: Endpoint::new(EndpointType::Http, self.id.as_str()).expect("an endpoint"),
            id: self.id.clone(),
            status,
            tags: [version.to_string().into()].into(),
            metadata: None,
            ttl: TTL,
            registered_at: Timestamp::from_millis(1),
            overridden: None,
            dirty_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
            up_since: None,
            action: Action::Added,
            document: None,
            foreign: None,
        }
    }

    /// Makes a call where the member is.
    pub(super) fn call(&self, call: Call, life: &Life) -> Outcome {
        let (namespace, id) = (Namespace::default(), self.id.as_str());
        let store = &life.store;
        let answer: Result<Option<u64>, StoreError> = match call {
            Call::Register { version, status } => {
                let instance = self.instance(version, status);
                given(store.register(&namespace, instance, Origin::Client)).map(|_| Some(version))
            }
            Call::Renew => given(store.renew(&namespace, id)).map(|()| None),
            Call::SetStatus(status) => {
                let before = store.directory(&namespace).and_then(|directory| directory.get(id));
                let is_so = before.is_some_and(|instance| instance.status == status);
                let update = Update::Status(status);
                let updated = given(store.update(&namespace, id, update, Origin::Client));
                updated.map(|instance| (!is_so).then(|| version_of(&instance)))
            }
            Call::Deregister => given(store.deregister(&namespace, id, Origin::Client)).map(|_| None),
        };
        match answer {
            Ok(version) => Outcome::Done { version },
            Err(StoreError::NoSuchInstance) => Outcome::Unknown,
            Err(StoreError::Unavailable) => Outcome::Unready,
            Err(error) => panic!("{id}: {call:?}: {error}"),
        }
    }

    /// Whether this run of a member must know the instance: it said so, and not longer ago than a lease.
    pub(super) fn must_be_known(&self, run: Run, now: u64) -> bool {
        let lease = u64::try_from(TTL.as_millis()).expect("short");
        self.state == State::Alive && self.vouched == run && now < self.last + lease
    }

    /// Takes note of an answer that was yes.
    pub(super) fn done(&mut self, call: Call, version: Option<u64>, run: Run, now: u64) {
        (self.last, self.vouched) = (now, run);
        self.version = version.unwrap_or(self.version);
        match call {
            Call::Register { version: _, status } => {
                (self.status, self.written, self.state) = (status, run, State::Alive);
            }
            Call::SetStatus(status) if version.is_some() => (self.status, self.written) = (status, run),
            // What is so already is not written.
            Call::SetStatus(_) | Call::Renew => {}
            Call::Deregister => self.state = State::Gone(run),
        }
    }
}

/// Which write it comes from.
pub(super) fn version_of(instance: &Instance) -> u64 {
    instance.tags.first().and_then(|tag| tag.parse().ok()).expect("every instance here has one")
}

/// The store of a member answers at once.
fn given<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("it answers at once")
}

/// How long until nothing can be left of an instance that nobody renews.
pub(super) fn lifetime() -> Duration {
    TTL + super::member::HOLD + Duration::from_secs(2)
}

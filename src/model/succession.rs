//! What becomes of an instance when something new is said about it: registrations, renewals that name a
//! version, status overrides, metadata (spec eureka sections 1.8 to 1.12, 3.3 and 3.6).
//!
//! Pure functions of what was and what is said; every store applies them to what it holds.
//! Never: reads a clock, or decides what is alive.

use std::collections::BTreeMap;

use super::{Action, Instance, Invalid, Metadata, Status, Timestamp};

/// Who a write comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client or an operator.
    Client,
    /// Another server, which had it from its client; never forwarded, and never second-guessed.
    Peer,
}

/// One change of a living instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The status that a client or an operator of the Amalgam8 API sets; an override gives way.
    Status(Status),
    /// A status put over the instance's own (spec eureka section 1.10).
    Override {
        /// The status in force from now on.
        status: Status,
        /// The client's version, when the change names one.
        dirty_at: Option<Timestamp>,
    },
    /// The end of an override (spec eureka section 1.11).
    ClearOverride {
        /// The status until the instance says its own again.
        fallback: Status,
        /// The client's version, when the change names one.
        dirty_at: Option<Timestamp>,
    },
    /// Entries of the metadata, new or replaced (spec eureka section 1.12).
    Metadata {
        /// Keys and values; of equal keys the first counts.
        entries: Vec<(Box<str>, Box<str>)>,
        /// Most bytes that all of the metadata may have as JSON.
        max: usize,
    },
}

/// What a renewal by the Eureka API comes to (spec eureka section 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The lease goes on.
    Renewed,
    /// The caller knows something newer, or the instance has no status: it has to register again.
    MustRegister,
    /// A peer's copy is older than ours; it gets ours.
    PeerIsBehind,
}

// === impl Instance ===

impl Instance {
    /// What takes the place of `before` when this instance is registered; none when `before` is newer and
    /// only its lease begins anew. `now` is the time of the registration.
    #[must_use]
    pub fn succeeding(mut self, before: Option<&Self>, origin: Origin, now: Timestamp) -> Option<Self> {
        let is_eureka = self.document.is_some();
        if let Some(before) = before {
            if is_eureka && before.document.is_some() && self.dirty_at < before.dirty_at {
                return None;
            }
            self.overridden = before.overridden.or(self.overridden);
            self.up_since = before.up_since;
        }
        let takes_traffic = |status| matches!(status, Status::Up | Status::OutOfService);
        let kept = match (before, origin) {
            (Some(before), Origin::Client) if is_eureka && takes_traffic(before.status) => {
                Some(before.status)
            }
            (Some(_), Origin::Client) | (_, Origin::Peer) | (None, Origin::Client) => None,
        };
        if takes_traffic(self.status) {
            self.status = self.overridden.or(kept).unwrap_or(self.status);
        }
        self.was_up(now);
        Some(self)
    }

    /// What a renewal comes to that names a version of the document.
    #[must_use]
    pub fn hear(&self, dirty_at: Option<Timestamp>, origin: Origin) -> Heard {
        match (dirty_at, origin) {
            (_, _) if self.status == Status::Unknown => Heard::MustRegister,
            (Some(theirs), _) if self.dirty_at < theirs => Heard::MustRegister,
            (Some(theirs), Origin::Peer) if theirs < self.dirty_at => Heard::PeerIsBehind,
            (Some(_) | None, Origin::Client | Origin::Peer) => Heard::Renewed,
        }
    }

    /// The override that is not in force although it should be; a renewal puts that right.
    #[must_use]
    pub fn pending_override(&self) -> Option<Status> {
        let differs = matches!(self.status, Status::Up | Status::OutOfService);
        self.overridden.filter(|status| differs && *status != self.status)
    }

    fn was_up(&mut self, now: Timestamp) {
        if self.status == Status::Up && self.up_since.is_none() {
            self.up_since = Some(now);
        }
    }
}

// === impl Update ===

impl Update {
    /// The instance after the change. One that is the same but for times only begins its lease anew.
    ///
    /// # Errors
    /// When the metadata would be too long, or is no object to begin with.
    pub fn applied_to(&self, before: &Instance, now: Timestamp) -> Result<Instance, Invalid> {
        let mut after = Instance { updated_at: now, action: Action::Modified, ..before.clone() };
        match self {
            Self::Status(status) => {
                after.status = *status;
                after.overridden = None;
            }
            Self::Override { status, .. } if *status == before.status => {}
            Self::Override { status, dirty_at } => {
                after.status = *status;
                after.overridden = Some(*status);
                after.dirty_at = before.dirty_at.max(dirty_at.unwrap_or_default());
            }
            Self::ClearOverride { .. } if before.overridden.is_none() => {}
            Self::ClearOverride { fallback, dirty_at } => {
                after.status = *fallback;
                after.overridden = None;
                after.dirty_at = before.dirty_at.max(dirty_at.unwrap_or_default());
            }
            Self::Metadata { entries, max } => {
                after.metadata = Some(merged(before.metadata.as_ref(), entries, *max)?);
                after.action = Action::Added;
                after.registered_at = now;
            }
        }
        after.was_up(now);
        Ok(after)
    }
}

/// An object with these entries over those that are there.
fn merged(
    before: Option<&Metadata>,
    entries: &[(Box<str>, Box<str>)],
    max: usize,
) -> Result<Metadata, Invalid> {
    let before = before.map_or("{}", Metadata::as_json);
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(if before == "null" { "{}" } else { before })
            .map_err(|_| Invalid::MetadataUnreadable { why: "is no object, so no entry can be added" })?;
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in entries {
        first.entry(key).or_insert(value);
    }
    for (key, value) in first {
        object.insert(key.into(), value.into());
    }
    let json = serde_json::Value::Object(object).to_string();
    Metadata::from_json(&json, max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Document, Endpoint, EndpointType, EurekaClaim, Registration};

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn registered(status: Status, dirty_at: u64, is_eureka: bool) -> Instance {
        let document = Document::of_host("h", "1.2.3.4");
        let claim = EurekaClaim { document, dirty_at: Some(time(dirty_at)), overridden: None };
        let asked = Registration {
            service: "T".parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Tcp, "h").unwrap(),
            status,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: is_eureka.then_some(claim),
        };
        asked.grant(Duration::from_secs(90), time(5))
    }

    fn eureka(status: Status) -> Instance {
        registered(status, 1000, true)
    }

    #[test]
    fn the_rule_chain_decides_the_status() {
        use Status::{Down, OutOfService as Oos, Starting, Unknown, Up};
        for (before, overridden, said, by_client, by_peer) in [
            (None, None, Oos, Oos, Oos),
            (None, None, Unknown, Unknown, Unknown),
            (Some(Up), None, Oos, Up, Oos),
            (Some(Up), None, Down, Down, Down),
            (Some(Down), None, Up, Up, Up),
            (Some(Starting), None, Oos, Oos, Oos),
            (Some(Oos), None, Up, Oos, Up),
            (Some(Oos), Some(Oos), Up, Oos, Oos),
            (Some(Oos), Some(Oos), Down, Down, Down),
            (Some(Down), Some(Oos), Up, Oos, Oos),
            (Some(Up), Some(Up), Oos, Up, Up),
        ] {
            let before = before.map(|status| Instance { overridden, ..eureka(status) });
            for (origin, want) in [(Origin::Client, by_client), (Origin::Peer, by_peer)] {
                let after = eureka(said).succeeding(before.as_ref(), origin, time(9)).expect("is not older");
                assert_eq!(after.status, want, "{before:?} {said} {origin:?}");
                assert_eq!(after.overridden, overridden);
            }
        }
    }

    #[test]
    fn an_older_document_only_renews() {
        let newer = eureka(Status::Up);
        assert_eq!(
            registered(Status::Down, 900, true).succeeding(Some(&newer), Origin::Client, time(9)),
            None
        );
        let same = registered(Status::Down, 1000, true).succeeding(Some(&newer), Origin::Client, time(9));
        assert_eq!(same.map(|after| after.status), Some(Status::Down));
    }

    #[test]
    fn amalgam8_registrations_say_their_own_status_under_an_override() {
        let plain = |status| registered(status, 0, false);
        let out = plain(Status::OutOfService);
        let up = plain(Status::Up).succeeding(Some(&out), Origin::Client, time(9)).expect("replaces");
        assert_eq!((up.status, up.up_since), (Status::Up, Some(time(9))));
        let update = Update::Override { status: Status::OutOfService, dirty_at: None };
        let out = update.applied_to(&up, time(10)).expect("can be applied");
        let again = plain(Status::Up).succeeding(Some(&out), Origin::Client, time(11)).expect("replaces");
        assert_eq!((again.status, again.up_since), (Status::OutOfService, Some(time(9))));
        assert!(again.same_content(&out));
    }

    #[test]
    fn renewals_are_judged_by_version() {
        let instance = eureka(Status::Up);
        for (theirs, by_client, by_peer) in [
            (None, Heard::Renewed, Heard::Renewed),
            (Some(1000), Heard::Renewed, Heard::Renewed),
            (Some(1001), Heard::MustRegister, Heard::MustRegister),
            (Some(999), Heard::Renewed, Heard::PeerIsBehind),
        ] {
            let theirs = theirs.map(time);
            assert_eq!(instance.hear(theirs, Origin::Client), by_client, "{theirs:?}");
            assert_eq!(instance.hear(theirs, Origin::Peer), by_peer, "{theirs:?}");
        }
        assert_eq!(eureka(Status::Unknown).hear(None, Origin::Client), Heard::MustRegister);
    }

    #[test]
    fn overrides_come_and_go() {
        let up = eureka(Status::Up);
        let applied = |update: Update, before: &Instance| update.applied_to(before, time(20)).unwrap();
        let same = applied(Update::Override { status: Status::Up, dirty_at: Some(time(5000)) }, &up);
        assert!(same.same_content(&up) && same.overridden.is_none() && same.dirty_at == time(1000));
        let dirty_at = Some(time(5000));
        let out = applied(Update::Override { status: Status::OutOfService, dirty_at }, &up);
        assert_eq!(
            (out.status, out.overridden, out.dirty_at, out.updated_at, out.action),
            (Status::OutOfService, Some(Status::OutOfService), time(5000), time(20), Action::Modified)
        );
        let clear = Update::ClearOverride { fallback: Status::Unknown, dirty_at: None };
        let cleared = applied(clear.clone(), &out);
        assert_eq!((cleared.status, cleared.overridden), (Status::Unknown, None));
        assert!(applied(clear, &up).same_content(&up));
        let native = applied(Update::Status(Status::Up), &out);
        assert_eq!((native.status, native.overridden), (Status::Up, None));
    }

    #[test]
    fn metadata_is_merged_within_its_bound() {
        let metadata = Some(Metadata::from_json(r#"{"a":"1","b":"2"}"#, 99).unwrap());
        let before = Instance { metadata, ..eureka(Status::Up) };
        let entries = [("b", "3"), ("c", ""), ("b", "4")].map(|(k, v)| (k.into(), v.into())).to_vec();
        let after =
            Update::Metadata { entries: entries.clone(), max: 99 }.applied_to(&before, time(20)).unwrap();
        assert_eq!(after.metadata.unwrap().as_json(), r#"{"a":"1","b":"3","c":""}"#);
        assert_eq!(
            (after.action, after.registered_at, after.dirty_at),
            (Action::Added, time(20), time(1000))
        );
        let refused = Update::Metadata { entries, max: 20 }.applied_to(&before, time(20));
        assert_eq!(refused, Err(Invalid::MetadataTooLong { got: 24, max: 20 }));
    }
}

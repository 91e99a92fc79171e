//! Instances that a peer told of, other than by a batch of its own: its whole list, and its newer copies.
//!
//! Never: forwards one, or takes one that is ours.

use super::metrics::Intaken;
use crate::model::{Namespace, Origin, Status, Update};
use crate::registry::Registry;
use crate::wire::eureka::registration::{Dialect, RegistrationBody};

/// Registers what peers told of.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub(super) registry: Registry,
    pub(super) namespace: Namespace,
    pub(super) metadata_max: usize,
    /// The application and the id under which this server itself is registered at peers.
    pub(super) own: (Box<str>, Box<str>),
}

// === impl Intake ===

impl Intake {
    /// Registers an instance as the peer has it, its override included (spec eureka sections 4.4 and 4.5).
    pub(super) async fn take(&self, body: RegistrationBody) -> Intaken {
        let Some(application) = body.application().map(str::to_owned) else { return Intaken::Invalid };
        let registration = match body.into_registration(&application, Dialect::Netflix, self.metadata_max) {
            Ok(registration) => registration,
            Err(why) => {
                tracing::debug!(%why, "an instance of a peer is left out: {why}");
                return Intaken::Invalid;
            }
        };
        let claim = registration.eureka.as_ref();
        let id = claim.map(|claim| claim.document.effective_id()).unwrap_or_default();
        let is_self = application.eq_ignore_ascii_case(&self.own.0) && *id == *self.own.1;
        if is_self || self.registry.has_told_of(&self.namespace, &application, id) {
            return Intaken::Ours;
        }
        let overridden = claim.and_then(|claim| claim.overridden).filter(|status| *status != Status::Unknown);
        let granted = match self.registry.register(&self.namespace, registration, Origin::Peer).await {
            Ok(granted) => granted,
            Err(why) => {
                tracing::debug!(%why, "an instance of a peer is left out: {why}");
                return Intaken::Invalid;
            }
        };
        if let Some(status) = overridden {
            self.override_with(granted.id.as_str(), status).await;
        }
        Intaken::Registered
    }

    /// The peer's override wins over one of ours.
    async fn override_with(&self, id: &str, status: Status) {
        let ours = self.registry.directory(&self.namespace).get(id);
        if ours.is_some_and(|ours| ours.overridden != Some(status)) {
            let update = Update::Override { status, dirty_at: None };
            if let Err(why) = self.registry.update(&self.namespace, id, update, Origin::Peer).await {
                tracing::debug!(%why, "the override of a peer is left out: {why}");
            }
        }
    }
}

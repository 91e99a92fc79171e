//! Instances that a peer told of, other than by a batch of its own: its whole list, and its newer copies.
//!
//! Never: forwards one, or takes one that is ours.

use super::metrics::Intaken;
use crate::model::{Namespace, Status};
use crate::registry::{Known, Registry, Since, TakenOver};
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
    /// Registers an instance as the peer has it, its override included (spec eureka sections 4.4 and 4.5);
    /// what was written here since the peer was asked is newer.
    pub(super) async fn take(&self, body: RegistrationBody, since: Since) -> Intaken {
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
        if application.eq_ignore_ascii_case(&self.own.0) && *id == *self.own.1 {
            return Intaken::Ours;
        }
        let id = id.to_owned();
        let overridden = claim.and_then(|claim| claim.overridden).filter(|status| *status != Status::Unknown);
        let known = Known { application: &application, id: &id, registration, overridden, since };
        match self.registry.take_over(&self.namespace, known).await {
            Ok(TakenOver::Registered) => Intaken::Registered,
            Ok(TakenOver::Ours) => Intaken::Ours,
            Ok(TakenOver::Outdated) => Intaken::Outdated,
            Err(why) => {
                tracing::debug!(%why, "an instance of a peer is left out: {why}");
                Intaken::Invalid
            }
        }
    }
}

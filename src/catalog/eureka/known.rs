//! What the followed server has, as far as it takes to follow its changes.
//!
//! The server's hash code counts all of its instances, also those that cannot be shown here, so their statuses
//! are known too.
//! Never: publishes changes that do not lead to what the server says it has.

use std::collections::HashMap;
use std::io::Read;
use std::ops::ControlFlow;

use super::translation::translated;
use crate::catalog::Sink;
use crate::model::{Instance, InstanceId, Namespace, Status, Timestamp};
use crate::wire::eureka::applications::ListedInstance;
use crate::wire::eureka::hash_code;
use crate::wire::eureka::listed::{ListClaims, read_list};
use crate::wire::eureka::registration::Listed;
use crate::wire::lenient::Unreadable;

/// The statuses of all instances of a server.
#[derive(Debug, Default)]
pub(super) struct Known {
    statuses: HashMap<InstanceId, Status>,
    /// What the last changes claimed; those of a whole list are numbered otherwise.
    last: Option<ListClaims>,
}

/// What became of a server's changes.
#[derive(Debug)]
pub(super) enum Outcome {
    /// They are shown.
    Current(Known),
    /// They do not lead to what the server has: everything is to be read anew.
    Astray,
}

/// One instance of a list.
#[derive(Debug)]
enum Found {
    Shown(Box<Instance>),
    /// It is there, and cannot be shown.
    Hidden(InstanceId, Status),
    Gone(InstanceId),
    /// Nobody knows what it is.
    Unread,
}

/// Instances beyond those that may be shown that are counted at least.
const BEYOND: usize = 64;
/// So many instances that cannot be shown are read; a list with more is none.
const UNREAD_MAX: usize = 100_000;
/// The version of servers that do not tell changes.
const NO_CHANGES: &str = "-1";

/// Shows a whole list. Answers with what is known by it, if that is enough to follow changes.
///
/// # Errors
/// When it is no list; nothing is shown then.
pub(super) fn take_over(
    body: impl Read,
    namespace: &Namespace,
    sink: &Sink,
) -> Result<Option<Known>, Unreadable> {
    let now = Timestamp::of_system();
    let max = sink.max_instances();
    // Some more than may be shown, so that it is seen how many are left out, or that they are very many.
    let most = max.saturating_add(max / 8).saturating_add(BEYOND);
    let (mut instances, mut statuses, mut unread) = (Vec::new(), HashMap::new(), 0_usize);
    let mut is_all_known = true;
    let claims = read_list(body, |listed| {
        let known = match found(listed, now, sink) {
            Found::Shown(instance) => {
                let known = (instance.id.clone(), instance.status);
                if instances.len() < most {
                    instances.push(*instance);
                }
                Some(known)
            }
            Found::Hidden(id, status) => {
                unread += 1;
                Some((id, status))
            }
            Found::Gone(_) => return ControlFlow::Continue(()),
            Found::Unread => {
                unread += 1;
                None
            }
        };
        is_all_known &= known.is_some() && statuses.len() < max;
        if is_all_known {
            statuses.extend(known);
        }
        if unread < UNREAD_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    sink.replace(namespace, instances);
    let tells_changes = claims.version.is_some_and(|version| version != NO_CHANGES);
    Ok((is_all_known && tells_changes).then_some(Known { statuses, last: None }))
}

fn found(listed: Result<ListedInstance, Unreadable>, now: Timestamp, sink: &Sink) -> Found {
    let ListedInstance { body, action } = match listed {
        Ok(listed) => listed,
        Err(why) => {
            sink.skipped(format_args!("an instance, because {why}"));
            return Found::Unread;
        }
    };
    let (presumed_id, status) = (body.presumed_id(), body.status_counted());
    let is_gone = action == Some(Listed::Deleted);
    match translated(body, now) {
        Ok(instance) if is_gone => Found::Gone(instance.id),
        Ok(instance) => Found::Shown(Box::new(instance)),
        Err(_) if is_gone => Found::Gone(presumed_id),
        Err(why) => {
            sink.skipped(format_args!("instance {presumed_id}, because {why}"));
            Found::Hidden(presumed_id, status)
        }
    }
}

// === impl Known ===

impl Known {
    /// Shows what changed.
    pub(super) fn apply(mut self, body: impl Read, namespace: &Namespace, sink: &Sink) -> Outcome {
        let now = Timestamp::of_system();
        let most = sink.max_instances();
        // The last word about an instance counts.
        let mut changes: HashMap<InstanceId, Option<Box<Instance>>> = HashMap::new();
        let claims = read_list(body, |listed| {
            match found(listed, now, sink) {
                Found::Shown(instance) => {
                    self.statuses.insert(instance.id.clone(), instance.status);
                    changes.insert(instance.id.clone(), Some(instance));
                }
                Found::Hidden(id, status) => {
                    self.statuses.insert(id.clone(), status);
                    changes.insert(id, None);
                }
                Found::Gone(id) => {
                    self.statuses.remove(&id);
                    changes.insert(id, None);
                }
                Found::Unread => return ControlFlow::Break(()),
            }
            match changes.len() <= most && self.statuses.len() <= most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let Ok(claims) = claims else { return Outcome::Astray };
        if claims.hash.as_deref() != Some(&*self.hash()) {
            return Outcome::Astray;
        }
        let claims = Some(claims);
        if self.last == claims {
            sink.current();
            return Outcome::Current(self);
        }
        let (mut puts, mut gone) = (Vec::new(), Vec::new());
        for (id, change) in changes {
            match change {
                Some(instance) => puts.push(*instance),
                None => gone.push(id),
            }
        }
        sink.change(namespace, puts, &gone);
        Outcome::Current(Self { last: claims, ..self })
    }

    /// The hash code of what is known.
    fn hash(&self) -> String {
        let mut counts = [0; Status::ALL.len()];
        for status in self.statuses.values() {
            counts[status.position()] += 1;
        }
        hash_code(&counts)
    }
}

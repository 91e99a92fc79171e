//! How the cluster stands, for operators: health in the original's manner (spec amalgam8 section 11), `/cluster`, and
//! the lines of a change.
//!
//! Never: waits, or holds the name of a namespace or an instance.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::handshake::VERSIONS;
use super::metrics::Counts;
use super::replication::Replication;
use super::replicator::Report;
use super::roster::{Dialler, Roster, Shown};
use crate::model::Timestamp;
use crate::telemetry::{BUILD, Component, Health, Panel};

/// What there is to see of a member and its cluster.
#[derive(Debug)]
pub struct View {
    pub(super) roster: Mutex<Roster>,
    pub(super) replication: Arc<Replication>,
    pub(super) counts: Arc<Counts>,
    /// What is wrong with the place where members find each other.
    pub(super) trouble: Mutex<Option<String>>,
    pub(super) about: About,
    health: Arc<Health>,
    shown: Mutex<Size>,
}

/// What does not change.
#[derive(Debug)]
pub(super) struct About {
    pub(super) me: Box<str>,
    pub(super) incarnation: u64,
    /// Members below which the cluster is too small.
    pub(super) threshold: usize,
    pub(super) source: &'static str,
    pub(super) is_tls: bool,
}

/// The size as the log and health know it.
#[derive(Debug)]
struct Size {
    members: usize,
    /// Since when they are too few.
    small_since: Option<Instant>,
    /// When the log was told of that.
    told: Option<Instant>,
}

/// How long the cluster may be too small, and a member out of reach, before that is an error.
const PATIENCE: Duration = Duration::from_secs(600);

// === impl View ===

impl View {
    /// What readiness waits for.
    const PART: &str = "cluster";

    pub(super) fn new(
        roster: Roster,
        replication: Arc<Replication>,
        health: Arc<Health>,
        about: About,
    ) -> Self {
        let members = roster.size();
        health.awaits(Self::PART);
        Self {
            roster: Mutex::new(roster),
            replication,
            counts: Arc::default(),
            trouble: Mutex::default(),
            about,
            health,
            shown: Mutex::new(Size { members, small_since: None, told: None }),
        }
    }

    /// Members came or went: says so in the words that scripts look for (spec amalgam8 section 12).
    pub(super) fn resized(&self) {
        let now = self.roster.lock().size();
        let before = std::mem::replace(&mut self.shown.lock().members, now);
        if before != now {
            tracing::info!(
                "Number of members in the cluster has been changed. prevSize: {before}, currSize: {now}"
            );
        }
        self.report();
    }

    /// Tells the health board that this member has what the others have, or has waited for that long enough.
    pub(super) fn ready(&self) {
        self.health.is_complete(Self::PART);
    }

    /// Tells the health board how it stands.
    pub(super) fn report(&self) {
        let now = Instant::now();
        let (size, members) = {
            let roster = self.roster.lock();
            (roster.size(), roster.shown())
        };
        let trouble = self.trouble.lock().clone();
        let mut shown = self.shown.lock();
        let (cluster, is_error) = shown.component(size, self.about.threshold, trouble, now);
        drop(shown);
        if let Some(Value::String(message)) = cluster.properties.get("message").filter(|_| is_error) {
            tracing::error!(size, threshold = self.about.threshold, "{message}");
        }
        self.health.report("CLUSTER", cluster);
        self.health.report("REPLICATION", replication(&members, now));
    }
}

impl Panel for View {
    fn shown(&self) -> Value {
        let now = Instant::now();
        let (size, members) = {
            let roster = self.roster.lock();
            (roster.size(), roster.shown())
        };
        let report = self.replication.report();
        let About { me, incarnation, threshold, source, is_tls } = &self.about;
        let members: Vec<_> = members.iter().map(|it| member(it, &report, now)).collect();
        json!({
            "member": me,
            "incarnation": incarnation,
            "version": BUILD.version,
            "protocol": { "min": VERSIONS.min, "max": VERSIONS.max },
            "tls": is_tls,
            "ready": self.replication.is_open(),
            "size": size,
            "threshold": threshold,
            "source": { "kind": source, "trouble": *self.trouble.lock() },
            "instances": report.alive,
            "tombstones": report.dead,
            "held": self.replication.held(),
            "digest": format!("{:016x}", report.digest),
            "repairs": report.repairs,
            "stamps_ahead": report.stamps_ahead,
            "unreadable_records": report.unreadable,
            "untold_instances": report.too_large,
            "has_twin": report.has_twin,
            "members": members,
        })
    }
}

fn member(shown: &Shown, report: &Report, now: Instant) -> Value {
    let Shown { id, places, linked, changed, trouble } = shown;
    let millis = u64::try_from(now.saturating_duration_since(*changed).as_millis()).unwrap_or(u64::MAX);
    let since = Timestamp::from_millis(Timestamp::of_system().as_millis().saturating_sub(millis));
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("member", json!(id.as_ref().map(|id| &*id.0)));
    put("addresses", json!(places.iter().map(ToString::to_string).collect::<Vec<_>>()));
    put("since", String::from_utf8_lossy(&since.rfc3339()).into());
    let Some(linked) = linked else {
        put("state", "unreachable".into());
        put("trouble", json!(trouble));
        return body.into();
    };
    put("incarnation", linked.incarnation.into());
    put("protocol", linked.version.into());
    put("dialled_by", if linked.dialler == Dialler::This { "this" } else { "other" }.into());
    let link = report.links.iter().find(|link| link.link == linked.link);
    let is_draining = link.is_some_and(|link| link.is_draining);
    put("state", if is_draining { "draining" } else { "connected" }.into());
    if let Some(link) = link {
        put("behind", link.behind.into());
        put("agrees", json!(link.agrees));
        put("round_trip_ms", json!(link.round_trip));
    }
    body.into()
}

// === impl Size ===

impl Size {
    /// What health says of the size, and whether that is an error for the log now.
    fn component(
        &mut self,
        size: usize,
        threshold: usize,
        trouble: Option<String>,
        now: Instant,
    ) -> (Component, bool) {
        self.small_since = if size < threshold { Some(self.small_since.unwrap_or(now)) } else { None };
        let is_due = |since: Instant| PATIENCE < now.saturating_duration_since(since);
        let is_small = self.small_since.is_some_and(is_due);
        let is_error = is_small && self.told.is_none_or(is_due);
        self.told = if is_error { Some(now) } else { self.told.filter(|_| is_small) };
        let mut properties = Map::new();
        properties.insert("size".to_owned(), size.into());
        properties.insert("threshold".to_owned(), threshold.into());
        if is_small {
            let message = format!(
                "the cluster has {size} members for more than {} minutes, which is less than {threshold}",
                PATIENCE.as_secs() / 60
            );
            properties.insert("message".to_owned(), message.into());
        }
        if let Some(trouble) = trouble {
            properties.insert("trouble".to_owned(), trouble.into());
        }
        // Too small is still serving (spec amalgam8 section 11).
        (Component { healthy: true, properties }, is_error)
    }
}

/// Unhealthy when somebody has been out of reach for too long.
fn replication(members: &[Shown], now: Instant) -> Component {
    let is_lost = |it: &&Shown| it.linked.is_none() && PATIENCE < now.saturating_duration_since(it.changed);
    let lost: Vec<String> = members
        .iter()
        .filter(is_lost)
        .filter_map(|it| match &it.id {
            Some(id) => Some(id.0.to_string()),
            None => it.places.first().map(ToString::to_string),
        })
        .collect();
    let mut properties = Map::new();
    if !lost.is_empty() {
        let message =
            format!("out of reach for more than {} minutes: {}", PATIENCE.as_secs() / 60, lost.join(", "));
        properties.insert("message".to_owned(), message.into());
    }
    Component { healthy: lost.is_empty(), properties }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::message::MemberId;

    fn later(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn a_cluster_that_is_too_small_says_so_after_ten_minutes() {
        let begun = Instant::now();
        let mut size = Size { members: 1, small_since: None, told: None };
        let mut at = |members, seconds| {
            let (component, is_error) = size.component(members, 2, None, later(begun, seconds));
            assert!(component.healthy);
            (component.properties.contains_key("message"), is_error)
        };
        assert_eq!(at(1, 0), (false, false));
        assert_eq!(at(1, 600), (false, false));
        assert_eq!(at(1, 601), (true, true));
        assert_eq!(at(1, 900), (true, false), "the log knows");
        assert_eq!(at(1, 1202), (true, true), "and is told again");
        assert_eq!(at(2, 1203), (false, false));
        assert_eq!(at(1, 1204), (false, false), "it counts from anew");
    }

    #[test]
    fn somebody_out_of_reach_for_ten_minutes_is_unhealthy() {
        let begun = Instant::now();
        let lost = Shown {
            id: Some(MemberId("b:1".into())),
            places: vec![],
            linked: None,
            changed: begun,
            trouble: None,
        };
        assert!(replication(std::slice::from_ref(&lost), later(begun, 600)).healthy);
        let sick = replication(&[lost], later(begun, 601));
        assert!(!sick.healthy && sick.properties["message"].as_str().is_some_and(|it| it.contains("b:1")));
        assert!(replication(&[], begun).healthy);
    }

    #[test]
    fn trouble_with_the_source_is_shown() {
        let mut size = Size { members: 1, small_since: None, told: None };
        let (component, _) = size.component(1, 1, Some("gone".to_owned()), Instant::now());
        assert_eq!(component.properties["trouble"], "gone");
        assert!(component.healthy);
    }
}

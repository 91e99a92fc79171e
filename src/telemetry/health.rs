//! How the process is: the phase of its life and what its components say of themselves.
//!
//! Never: asks a component (they report), makes an HTTP answer, or holds the name of a namespace or a service:
//! anybody may read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::go_duration::GoDuration;
use super::process::BUILD;

/// The board that components report to and that health routes show. One for each daemon.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    phase: AtomicU8,
    /// What is not complete yet.
    awaited: Mutex<BTreeSet<&'static str>>,
    components: Mutex<BTreeMap<&'static str, Component>>,
}

/// Where the process is in its life; it only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the first complete state: reads would be incomplete.
    Starting,
    /// Serving.
    Ready,
    /// Told to stop: finishes what it has.
    Draining,
}

/// What one component says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Whether it does its work.
    pub healthy: bool,
    /// Details for operators; no names of namespaces or services, no credentials.
    pub properties: Map<String, Value>,
}

/// One answer about health.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the answer is yes: 200, else 503.
    pub passed: bool,
    /// The body.
    pub body: Value,
}

// === impl Health ===

impl Default for Health {
    /// A process that starts now.
    fn default() -> Self {
        Self {
            started: Instant::now(),
            phase: AtomicU8::new(Phase::Starting.number()),
            awaited: Mutex::default(),
            components: Mutex::default(),
        }
    }
}

impl Health {
    /// Moves on to `phase`; an earlier one than the present is ignored.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase.number(), Ordering::Relaxed);
    }

    /// The process is not ready before this part of it is complete.
    pub fn awaits(&self, part: &'static str) {
        self.awaited.lock().insert(part);
    }

    /// This part of the process is complete; with the last of those that are awaited the process is ready.
    pub fn is_complete(&self, part: &'static str) {
        let mut awaited = self.awaited.lock();
        awaited.remove(part);
        if awaited.is_empty() {
            self.enter(Phase::Ready);
        }
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Takes over what a component says of itself; `name` is in capitals, as in the original.
    pub fn report(&self, name: &'static str, component: Component) {
        self.components.lock().insert(name, component);
    }

    /// `/health/live`: yes as long as the process can answer.
    #[must_use]
    pub fn live(&self) -> Verdict {
        Verdict { passed: true, body: json!({ "status": "alive" }) }
    }

    /// `/health/ready`: whether requests should be sent here. An unhealthy component is only shown,
    /// so that a fault that all nodes share does not take them all out of a balancer.
    #[must_use]
    pub fn ready(&self) -> Verdict {
        let phase = self.phase();
        let components: Map<_, _> =
            self.components.lock().iter().map(|(name, c)| ((*name).to_owned(), c.as_json())).collect();
        Verdict {
            passed: phase == Phase::Ready,
            body: json!({ "status": phase.name(), "components": components }),
        }
    }

    /// `/uptime`, in the shape of spec amalgam8 section 11; no when a component is unhealthy.
    #[must_use]
    pub fn uptime(&self) -> Verdict {
        let components = self.components.lock();
        let passed = components.values().all(|component| component.healthy);
        let mut body: Map<_, _> =
            components.iter().map(|(name, c)| ((*name).to_owned(), c.as_json())).collect();
        drop(components);
        let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        body.insert("UPTIME".to_owned(), own_component(self.started.elapsed(), &loads).as_json());
        Verdict { passed, body: Value::Object(body) }
    }
}

// === impl Phase ===

impl Phase {
    /// The word for people and probes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Ready => 1,
            Self::Draining => 2,
        }
    }
}

// === impl Component ===

impl Component {
    fn as_json(&self) -> Value {
        let Self { healthy, properties } = self;
        if properties.is_empty() {
            return json!({ "healthy": healthy });
        }
        json!({ "healthy": healthy, "properties": properties })
    }
}

/// What the process says of itself; `loads` is the text of `/proc/loadavg`.
fn own_component(age: Duration, loads: &str) -> Component {
    let whole_millis = Duration::new(age.as_secs(), age.subsec_millis() * 1_000_000);
    let mut properties = Map::new();
    properties.insert("uptime".to_owned(), GoDuration(whole_millis).to_string().into());
    for (name, load) in ["load_1m", "load_5m", "load_15m"].into_iter().zip(loads.split(' ')) {
        if let Ok(load) = load.parse::<f64>() {
            properties.insert(name.to_owned(), load.into());
        }
    }
    for (name, value) in
        [("build_version", BUILD.version), ("build_revision", BUILD.revision), ("build_date", BUILD.date)]
    {
        properties.insert(name.to_owned(), value.into());
    }
    Component { healthy: true, properties }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(healthy: bool, properties: Value) -> Component {
        let Value::Object(properties) = properties else { panic!("an object") };
        Component { healthy, properties }
    }

    #[test]
    fn what_is_awaited_has_to_be_complete() {
        let health = Health::default();
        health.awaits("a");
        health.awaits("b");
        for (part, now) in [("a", Phase::Starting), ("a", Phase::Starting), ("b", Phase::Ready)] {
            health.is_complete(part);
            assert_eq!(health.phase(), now);
        }
    }

    #[test]
    fn phases_only_go_forward() {
        let health = Health::default();
        for (enter, now) in [
            (Phase::Starting, Phase::Starting),
            (Phase::Ready, Phase::Ready),
            (Phase::Starting, Phase::Ready),
            (Phase::Draining, Phase::Draining),
            (Phase::Ready, Phase::Draining),
        ] {
            health.enter(enter);
            assert_eq!(health.phase(), now);
            assert_eq!(health.ready().passed, now == Phase::Ready);
            assert!(health.live().passed);
        }
    }

    #[test]
    fn a_sick_component_shows_but_the_node_stays_ready() {
        let health = Health::default();
        health.enter(Phase::Ready);
        health.report("CLUSTER", component(true, json!({ "size": 2 })));
        health.report("REDIS", component(false, json!({})));
        assert_eq!(
            health.ready(),
            Verdict {
                passed: true,
                body: json!({ "status": "ready", "components": {
                    "CLUSTER": { "healthy": true, "properties": { "size": 2 } },
                    "REDIS": { "healthy": false },
                } }),
            }
        );
        assert!(!health.uptime().passed);
        health.report("REDIS", component(true, json!({})));
        assert!(health.uptime().passed);
    }

    #[test]
    fn uptime_has_the_shape_of_the_original() {
        let body = own_component(Duration::from_micros(62_300_999), "0.25 1.5 10.00 1/200 7\n").as_json();
        assert_eq!(
            body,
            json!({ "healthy": true, "properties": {
                "uptime": "1m2.3s", "load_1m": 0.25, "load_5m": 1.5, "load_15m": 10.0,
                "build_version": BUILD.version, "build_revision": BUILD.revision, "build_date": BUILD.date,
            } })
        );
        assert!(Health::default().uptime().body["UPTIME"]["properties"]["uptime"].is_string());
        assert_eq!(own_component(Duration::ZERO, "").properties.get("load_1m"), None);
    }
}

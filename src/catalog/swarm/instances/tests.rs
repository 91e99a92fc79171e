//! What a real engine (20.10) said of a swarm of one node, and variations of it.

use serde_json::{Value, json};

use super::*;
use crate::catalog::swarm::lists::read_many;

/// Lists as the engine wrote them.
struct Recorded {
    services: Value,
    nodes: Value,
    tasks: Value,
}

impl Recorded {
    fn new() -> Self {
        let read = |text: &str| serde_json::from_str(text).expect("JSON");
        Self {
            services: read(include_str!("../../../../tests/fixtures/swarm/services.json")),
            nodes: read(include_str!("../../../../tests/fixtures/swarm/nodes.json")),
            tasks: read(include_str!("../../../../tests/fixtures/swarm/tasks.json")),
        }
    }

    /// Changes each task of a service.
    fn tasks_of(mut self, service: &str, change: impl Fn(&mut Value)) -> Self {
        let id = self.service(service)["ID"].clone();
        let tasks = self.tasks.as_array_mut().expect("a list");
        tasks.iter_mut().filter(|task| task["ServiceID"] == id).for_each(change);
        self
    }

    fn service(&mut self, name: &str) -> &mut Value {
        let services = self.services.as_array_mut().expect("a list");
        services.iter_mut().find(|service| service["Spec"]["Name"] == name).expect("a service")
    }

    fn labels(mut self, service: &str, labels: Value) -> Self {
        self.service(service)["Spec"]["Labels"] = labels;
        self
    }

    fn shown(&self, network: Option<&str>, max: usize) -> Shown {
        let Self { services, nodes, tasks } = self;
        let lists = Lists {
            services: read_many(services.to_string().as_bytes()).expect("services"),
            nodes: read_many(nodes.to_string().as_bytes()).expect("nodes"),
            tasks: read_many(tasks.to_string().as_bytes()).expect("tasks"),
        };
        Shown::of(&lists, network, max, Timestamp::default())
    }

    #[track_caller]
    fn check(&self, network: Option<&str>, want: &[&str], faults: &[&str]) {
        let shown = self.shown(network, 100);
        let line = |instance: &Instance| {
            let Instance { service, endpoint, status, .. } = instance;
            format!("{service} {} {} {status}", endpoint.kind().as_str(), endpoint.value())
        };
        let mut got: Vec<_> = shown.instances.iter().map(line).collect();
        got.sort_unstable();
        assert_eq!(got, want);
        assert_eq!(shown.faults.iter().map(|fault| &**fault).collect::<Vec<_>>(), faults);
    }
}

const MESH: &str = "mesh tcp 127.0.0.1:18081 UP";
const PUBLISHED: &str = "pub tcp 127.0.0.1:18080 UP";

#[test]
fn without_a_network_published_ports_are_shown() {
    Recorded::new().check(None, &[MESH, PUBLISHED], &[]);
}

#[test]
fn tasks_on_the_network_are_shown_by_their_address_there() {
    let want = [MESH, PUBLISHED, "web http 10.0.1.2 UP", "web http 10.0.1.3 UP"];
    Recorded::new().check(Some("app"), &want, &[]);
    Recorded::new().check(Some("k6lmwu0wjjhx7h2i479kmbo1i"), &want, &[]);
    Recorded::new().check(Some("other"), &[MESH, PUBLISHED], &[]);
}

#[test]
fn labels_say_ports_and_types() {
    let labelled = |labels| Recorded::new().labels("web", labels);
    labelled(json!({"a8.endpoint.port": "8443, 53/udp,80", "a8.endpoint.type": "http", "a8.endpoint.type.8443": "https"}))
        .check(
            Some("app"),
            &[
                MESH,
                PUBLISHED,
                "web http 10.0.1.2:80 UP",
                "web http 10.0.1.3:80 UP",
                "web https 10.0.1.2:8443 UP",
                "web https 10.0.1.3:8443 UP",
                "web udp 10.0.1.2:53 UP",
                "web udp 10.0.1.3:53 UP",
            ],
            &[],
        );
    labelled(json!({"a8.endpoint.port": "http", "a8.endpoint.type": "ftp", "a8.endpoint.x": "y"})).check(
        Some("app"),
        &[MESH, PUBLISHED, "web tcp 10.0.1.2 UP", "web tcp 10.0.1.3 UP"],
        &[
            "service web: label a8.endpoint.port: holds \"http\", wanted ports such as 8080 or 53/udp",
            "service web: label a8.endpoint.type: endpoint.type is \"ftp\", wanted one of http, https, tcp, udp, user",
            "service web: label a8.endpoint.x: is not known, wanted a8.endpoint.type, a8.endpoint.type.PORT or \
             a8.endpoint.port",
        ],
    );
    // Of published ports only those that are wanted.
    let other = Recorded::new().labels("pub", json!({"a8.endpoint.port": "9"}));
    other.check(None, &[MESH], &[]);
    let same =
        Recorded::new().labels("pub", json!({"a8.endpoint.port": "8080", "a8.endpoint.type.8080": "http"}));
    same.check(None, &[MESH, "pub http 127.0.0.1:18080 UP"], &[]);
}

#[test]
fn labels_become_tags_and_metadata() {
    let mut recorded =
        Recorded::new().labels("web", json!({"b": "2", "a": "x\"y", "a8.endpoint.type": "http"}));
    let shown = recorded.shown(Some("app"), 100);
    let web = shown.instances.iter().find(|it| it.endpoint.value() == "10.0.1.2").expect("it is shown");
    assert_eq!(web.tags, ["a=x\"y".into(), "b=2".into()].into());
    let metadata: Value = serde_json::from_str(web.metadata.as_ref().expect("some").as_json()).expect("JSON");
    let task = "web.1.groxpb6ijn7y4dznh1li8il44";
    assert_eq!(metadata, json!({"a": "x\"y", "b": "2", "swarm.task": task, "swarm.node": "vm"}));
    assert_eq!(web.foreign, Some(Foreign { catalog: CatalogName::Swarm, renewed: None }));
    assert_eq!(web.id, crate::model::InstanceId::of_endpoint("web", "http", "10.0.1.2"));

    recorded = recorded.labels("web", json!({"a": "x".repeat(9000)}));
    let shown = recorded.shown(Some("app"), 100);
    let web = shown.instances.iter().find(|it| it.endpoint.value() == "10.0.1.2").expect("it is shown");
    assert!(web.tags.is_empty());
    assert!(web.metadata.as_ref().expect("some").as_json().contains(task));
    assert!(shown.faults.iter().any(|fault| fault.contains("9001 bytes")), "{:?}", shown.faults);
}

#[test]
fn only_tasks_that_run_or_are_about_to_are_shown() {
    let with = |key: &str, state: &str| {
        let is_status = key == "State";
        Recorded::new().tasks_of("mesh", |task| {
            let place = if is_status { &mut task["Status"] } else { task };
            place[key] = state.into();
        })
    };
    with("DesiredState", "shutdown").check(None, &[PUBLISHED], &[]);
    with("State", "starting").check(None, &["mesh tcp 127.0.0.1:18081 STARTING", PUBLISHED], &[]);
    for state in
        ["new", "pending", "assigned", "accepted", "preparing", "ready", "failed", "complete", "what"]
    {
        let recorded = with("State", state);
        recorded.check(None, &[PUBLISHED], &[]);
        assert!(recorded.shown(None, 100).is_settling, "{state}");
    }
    assert!(!Recorded::new().shown(None, 100).is_settling);
}

#[test]
fn of_tasks_at_one_place_one_that_runs_is_shown() {
    let mut recorded = Recorded::new();
    let id = recorded.service("mesh")["ID"].clone();
    let tasks = recorded.tasks.as_array_mut().expect("a list");
    let first = tasks.iter_mut().find(|task| task["ServiceID"] == id).expect("a task");
    first["Status"]["State"] = "starting".into();
    recorded.check(None, &[MESH, PUBLISHED], &[]);
}

#[test]
fn odd_nodes_and_ports_are_said() {
    let mut recorded = Recorded::new();
    recorded.nodes[0]["Status"]["Addr"] = "0.0.0.0".into();
    recorded.check(None, &[MESH, PUBLISHED], &[]);
    recorded.nodes[0]["Status"]["Addr"] = "fd00::1".into();
    recorded.check(None, &["mesh tcp [fd00::1]:18081 UP", "pub tcp [fd00::1]:18080 UP"], &[]);
    recorded.nodes = json!([]);
    recorded.check(
        None,
        &[],
        &[
            "service mesh: the node of a task has no address",
            "service pub: the node of a task has no address",
        ],
    );
    let mut recorded = Recorded::new();
    recorded.service("mesh")["Endpoint"]["Ports"][0]["Protocol"] = "sctp".into();
    recorded.check(None, &[PUBLISHED], &["service mesh: port 18081 speaks \"sctp\", wanted tcp or udp"]);
    let mut recorded = Recorded::new();
    recorded.service("mesh")["Endpoint"]["Ports"][0]["Name"] = "http".into();
    recorded.check(None, &["mesh http 127.0.0.1:18081 UP", PUBLISHED], &[]);
}

#[test]
fn what_cannot_be_read_is_left_out_alone() {
    let mut recorded = Recorded::new();
    recorded.service("mesh")["Spec"]["Name"] = "x".repeat(65).into();
    let fault = "a service: service_name has 65 bytes, at most 64 are allowed";
    recorded.check(None, &[PUBLISHED], &[fault]);
    let mut recorded = Recorded::new();
    let tasks = recorded.tasks.as_array_mut().expect("a list");
    tasks.push(json!({"ID": 7}));
    tasks.push(json!("text"));
    tasks.push(json!({}));
    tasks.push(
        json!({"ID": "x", "ServiceID": "unknown", "DesiredState": "running", "Status": {"State": "running"}}),
    );
    recorded.check(None, &[MESH, PUBLISHED], &["2 tasks cannot be read"]);
    recorded.tasks = Value::Null;
    recorded.check(None, &[], &[]);
}

#[test]
fn no_more_are_shown_than_may_be() {
    let shown = Recorded::new().shown(Some("app"), 2);
    assert_eq!(shown.instances.len(), 2);
    let faults: Vec<_> = shown.faults.into_iter().collect();
    assert_eq!(faults, ["3 instances after 2 are left out; see --catalog_max_instances"]);
}

//! The catalog of Kubernetes: what of a cluster is shown, and that nothing but what somebody uses is asked for.
//!
//! Never: repeats what every catalog keeps to; it plays that as a whole.

mod real;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use crate::catalogs::{Behind, Length, System, health, keep_the_contract, survive_all_faults, until_shown};
use crate::support::kubernetes::Cluster;
use crate::support::{Client, Daemon, Far, Fault, FaultProxy, Setup, eventually};

const SLICES: &str = "default/endpointslices";
const ENDPOINTS: &str = "default/endpoints";
const PODS: &str = "default/pods";

/// The cluster as the contract needs it: a slice for each service.
#[derive(Debug)]
struct Kubernetes(Cluster);

impl System for Kubernetes {
    fn catalog(&self) -> &'static str {
        "kubernetes"
    }

    fn flags(&self, at: SocketAddr) -> Vec<String> {
        vec![format!("--k8s_url=http://{at}")]
    }

    fn far(&self) -> Far {
        far(&self.0)
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let services: std::collections::BTreeSet<_> = instances.iter().map(|(service, _)| *service).collect();
        for name in self.0.names(SLICES) {
            if !services.contains(name.as_str()) {
                self.0.delete(SLICES, &name);
            }
        }
        for service in services {
            let of_it = instances.iter().filter(|(of, _)| *of == service);
            let addresses: Vec<_> = of_it.filter_map(|(_, value)| value.strip_suffix(":80")).collect();
            self.0.put(SLICES, slice(service, service, &addresses));
        }
    }
}

/// A registry that follows the cluster's `default`.
#[track_caller]
fn follow(cluster: &Cluster, flags: &str) -> (Daemon, Client) {
    let registry = Setup::new(flags).arg(cluster.flag()).start();
    let client = registry.client();
    client.get("/api/v1/instances").ok();
    (registry, client)
}

/// A slice with port 80 and these addresses, which serve.
fn slice(name: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<_> = addresses.iter().map(|it| json!({"addresses": [it]})).collect();
    slice_of(name, service, &json!(endpoints), &json!([{"name": "", "port": 80, "protocol": "TCP"}]))
}

fn slice_of(name: &str, service: &str, endpoints: &Value, ports: &Value) -> Value {
    let labels = json!({"kubernetes.io/service-name": service});
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports
    })
}

fn pod(name: &str, uid: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": uid, "labels": labels}})
}

/// An endpoint that a pod serves.
fn of_pod(address: &str, pod: &str, uid: &str) -> Value {
    let target = json!({"kind": "Pod", "namespace": "default", "name": pod, "uid": uid});
    json!({"addresses": [address], "conditions": {"ready": true}, "targetRef": target})
}

fn instances(client: &Client) -> Vec<Value> {
    let list = client.get("/api/v1/instances?status=ALL").ok().json();
    let mut all = list["instances"].as_array().expect("a list").clone();
    all.sort_by_key(|it| it["id"].as_str().expect("an id").to_owned());
    all
}

/// Waits until these ids are shown, and no others.
#[track_caller]
fn until_ids(client: &Client, ids: &[&str]) {
    let mut last = Vec::new();
    eventually(&format!("{ids:?}"), || {
        last = instances(client);
        let shown: Vec<_> = last.iter().filter_map(|it| it["id"].as_str()).collect();
        (shown == ids).then_some(())
    });
}

fn last_error(client: &Client) -> String {
    health(client, "kubernetes")["last_error"].as_str().unwrap_or_default().to_owned()
}

fn far(cluster: &Cluster) -> Far {
    Far::Tcp(([127, 0, 0, 1], cluster.port()).into())
}

/// One of what health says of each fault.
fn said_of(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Cut => &["cannot be reached"],
        Fault::Delayed => &[],
        Fault::Refusing => &["answers 500 Internal Server Error to a list of"],
        Fault::Half => &["broke off"],
        Fault::Garbage => &["cannot be read"],
        Fault::Endless => &["the API server answers with more than"],
        Fault::Silent => &["the API server is silent"],
    }
}

#[test]
fn it_keeps_to_what_every_catalog_does() {
    keep_the_contract(&mut Behind::proxy(Kubernetes(Cluster::start(&["default"]))));
}

#[test]
fn it_survives_all_faults() {
    survive_all_faults(&mut Kubernetes(Cluster::start(&["default"])), said_of, Length::Short);
}

#[test]
fn an_instance_is_a_port_of_an_address_with_what_its_pod_says() {
    let cluster = Cluster::start(&["default"]);
    cluster.put(
        PODS,
        json!({"metadata": {
            "name": "web-1", "uid": "uid-1", "labels": {"version": "v1", "app": "web"},
            "annotations": {"note": "says \"hi\"", "long": "x".repeat(2000)}
        }}),
    );
    let ports = json!([
        {"name": "HTTP", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9000},
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "s", "port": 7, "protocol": "SCTP"},
        {"name": "any", "port": null}
    ]);
    let endpoints = json!([
        of_pod("10.4.0.1", "web-1", "uid-1"),
        {"addresses": ["2001:db8::5"], "conditions": {"ready": null}},
        {"addresses": ["10.4.0.3"], "conditions": {"ready": false}},
        {"addresses": ["10.4.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.4.0.5"], "conditions": {"ready": false, "serving": false, "terminating": true}}
    ]);
    cluster.put(SLICES, slice_of("web-abc", "web", &endpoints, &ports));
    let mut lonely = slice("lonely", "", &["10.4.0.9"]);
    lonely["metadata"]["labels"] = json!({});
    cluster.put(SLICES, lonely);
    let (registry, client) = follow(&cluster, "");
    let ids = [
        "10.4.0.4-53",
        "10.4.0.4-8080",
        "10.4.0.4-9000",
        "2001:db8::5-53",
        "2001:db8::5-8080",
        "2001:db8::5-9000",
        "uid-1-53",
        "uid-1-8080",
        "uid-1-9000",
    ];
    until_ids(&client, &ids);
    let shown = instances(&client);
    let by_id = |id: &str| shown.iter().find(|it| it["id"] == id).cloned().expect(id);
    assert_eq!(
        by_id("uid-1-8080"),
        json!({
            "id": "uid-1-8080", "service_name": "web", "status": "UP",
            "endpoint": {"type": "http", "value": "10.4.0.1:8080"},
            "tags": ["app=web", "version=v1"], "metadata": {"note": "says \"hi\""},
            "last_heartbeat": "0001-01-01T00:00:00Z"
        })
    );
    assert_eq!(by_id("uid-1-9000")["endpoint"]["type"], "tcp");
    assert_eq!(by_id("uid-1-53")["endpoint"]["type"], "udp");
    let without_pod = by_id("2001:db8::5-8080");
    assert_eq!(without_pod["endpoint"]["value"], "[2001:db8::5]:8080");
    assert_eq!(without_pod["status"], "UP");
    assert!(without_pod.get("tags").is_none() && without_pod.get("metadata").is_none(), "{without_pod}");
    assert_eq!(by_id("10.4.0.4-53")["status"], "OUT_OF_SERVICE");
    registry.logged("1 of its 2 annotations");
    cluster.put(SLICES, slice_of("web-abc", "web", &json!([of_pod("10.4.0.1", "web-1", "uid-1")]), &ports));
    until_ids(&client, &["uid-1-53", "uid-1-8080", "uid-1-9000"]);
}

#[test]
fn what_becomes_known_of_a_pod_later_shows_and_stays_until_its_address_is_gone() {
    let cluster = Cluster::start(&["default"]);
    let ports = json!([{"port": 80}]);
    cluster.put(SLICES, slice_of("s", "web", &json!([of_pod("10.4.0.1", "web-0", "uid-1")]), &ports));
    let (_registry, client) = follow(&cluster, "");
    until_ids(&client, &["10.4.0.1-80"]);
    cluster.put(PODS, pod("web-0", "uid-1", &json!({"tier": "new"})));
    until_ids(&client, &["uid-1-80"]);
    let relabelled = pod("web-0", "uid-1", &json!({"tier": "newer", "a": "b"}));
    cluster.put(PODS, relabelled.clone());
    let tags = |wanted: Value| {
        eventually("its labels are shown", || (instances(&client)[0]["tags"] == wanted).then_some(()));
    };
    tags(json!(["a=b", "tier=newer"]));
    let mut annotated = relabelled;
    annotated["metadata"]["annotations"] = json!({"owner": "me"});
    cluster.put(PODS, annotated);
    eventually("its annotations are shown", || {
        (instances(&client)[0]["metadata"] == json!({"owner": "me"})).then_some(())
    });
    // Gone, but its address still serves; another pod of the same name is not it.
    cluster.delete(PODS, "web-0");
    cluster.put(PODS, pod("web-0", "uid-2", &json!({"tier": "other"})));
    cluster.put(SLICES, slice("marker", "marker", &["10.4.0.7"]));
    until_ids(&client, &["10.4.0.7-80", "uid-1-80"]);
    tags(Value::Null);
    cluster.put(SLICES, slice_of("s", "web", &json!([of_pod("10.4.0.1", "web-0", "uid-2")]), &ports));
    until_ids(&client, &["10.4.0.7-80", "uid-2-80"]);
}

#[test]
fn slices_that_split_move_and_overlap_neither_flicker_nor_double() {
    let cluster = Cluster::start(&["default"]);
    let (all, half, rest) = (["10.4.0.1", "10.4.0.2", "10.4.0.3"], ["10.4.0.1"], ["10.4.0.2", "10.4.0.3"]);
    cluster.put(SLICES, slice("a", "web", &all));
    let (registry, client) = follow(&cluster, "");
    let want = ["10.4.0.1:80", "10.4.0.2:80", "10.4.0.3:80"];
    until_shown(&client, &want);
    let revision = client.get("/api/v1/instances").ok().header("etag").to_owned();
    for _ in 0..10 {
        // Moved at once, then with an overlap; each as two events.
        cluster.put(SLICES, slice("a", "web", &half));
        cluster.put(SLICES, slice("b", "web", &rest));
        cluster.put(SLICES, slice("a", "web", &all));
        cluster.delete(SLICES, "b");
    }
    cluster.put(SLICES, slice("c", "marker", &["10.4.0.9"]));
    let mut looks = 0;
    eventually("the marker is shown", || {
        let answer = client.get("/api/v1/services/web").ok().json();
        let mut shown: Vec<_> = answer["instances"].as_array()?.iter().collect();
        shown.sort_by_key(|it| it["id"].to_string());
        let shown: Vec<_> = shown.iter().map(|it| it["endpoint"]["value"].clone()).collect();
        assert_eq!(shown, want, "after {looks} looks");
        looks += 1;
        (client.get("/api/v1/services/marker").status == 200).then_some(())
    });
    assert_ne!(client.get("/api/v1/instances").ok().header("etag"), revision);
    registry.until_metric("a8_catalog_instances{catalog=\"kubernetes\"}", 4.0);
}

#[test]
fn services_over_the_same_pods_have_instances_of_their_own() {
    let cluster = Cluster::start(&["default"]);
    cluster.put(PODS, pod("web-0", "uid-1", &json!({})));
    let endpoints = json!([of_pod("10.4.0.1", "web-0", "uid-1")]);
    let dns = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]);
    cluster.put(SLICES, slice_of("b", "web", &endpoints, &dns));
    let (_registry, client) = follow(&cluster, "");
    until_ids(&client, &["uid-1-53", "uid-1-53.udp"]);
    cluster.put(SLICES, slice_of("a", "web-headless", &endpoints, &dns));
    let six = json!([of_pod("2001:db8::1", "web-0", "uid-1")]);
    cluster.put(SLICES, slice_of("six", "web", &six, &json!([{"port": 53}])));
    let both = [
        "uid-1-53",
        "uid-1-53-2001:db8::1",
        "uid-1-53-web-headless",
        "uid-1-53-web-headless.udp",
        "uid-1-53.udp",
    ];
    until_ids(&client, &both);
    assert_eq!(client.get("/api/v1/services/web-headless").ok().ids().len(), 2);
    cluster.delete(SLICES, "b");
    cluster.delete(SLICES, "six");
    until_ids(&client, &["uid-1-53", "uid-1-53.udp"]);
    assert_eq!(client.get("/api/v1/services").ok().json(), json!({"services": ["web-headless"]}));
}

#[test]
fn endpoints_stand_in_for_slices_that_are_not_there_or_not_allowed() {
    for status in [404, 403] {
        let cluster = Cluster::start(&["default"]);
        cluster.refuse("endpointslices", Some(status));
        cluster.put(SLICES, slice("s", "sliced", &["10.4.0.2"]));
        cluster.put(
            ENDPOINTS,
            json!({"metadata": {"name": "web"}, "subsets": [
                {"addresses": [{"ip": "10.4.0.1"}], "notReadyAddresses": [{"ip": "10.4.0.3"}], "ports": [{"port": 80}]},
                {"addresses": [{"ip": "10.4.0.1"}], "ports": [{"port": 81, "name": "https"}]}
            ]}),
        );
        cluster.put(ENDPOINTS, json!({"metadata": {"name": "empty"}}));
        let (_registry, client) = follow(&cluster, "");
        until_shown(&client, &["10.4.0.1:80", "10.4.0.1:81"]);
        // Decided anew when everything is listed anew.
        cluster.refuse("endpointslices", None);
        cluster.forget_history();
        until_shown(&client, &["10.4.0.2:80"]);
    }
}

/// As by an API server that starts and does not know yet who may read what.
#[test]
fn slices_that_are_refused_for_a_moment_stay() {
    let cluster = Cluster::start(&["default"]);
    cluster.put(SLICES, slice("s", "sliced", &["10.4.0.2"]));
    let (_registry, client) = follow(&cluster, "");
    until_shown(&client, &["10.4.0.2:80"]);
    cluster.refuse("endpointslices", Some(403));
    cluster.forget_history();
    eventually("it is told", || last_error(&client).contains("403").then_some(()));
    until_shown(&client, &["10.4.0.2:80"]);
    cluster.refuse("endpointslices", None);
    eventually("it is current", || last_error(&client).is_empty().then_some(()));
    until_shown(&client, &["10.4.0.2:80"]);
}

#[test]
fn what_happened_while_nobody_could_watch_is_found_by_a_list() {
    let cluster = Cluster::start(&["default"]);
    for (name, address) in [("a", "10.4.0.1"), ("b", "10.4.0.2"), ("c", "10.4.0.3")] {
        cluster.put(SLICES, slice(name, name, &[address]));
    }
    let proxy = FaultProxy::to(far(&cluster));
    let registry = Setup::new(&format!("--k8s_url http://{}", proxy.address())).start();
    let client = registry.client();
    until_shown(&client, &["10.4.0.1:80", "10.4.0.2:80", "10.4.0.3:80"]);
    proxy.set(Some(Fault::Cut));
    cluster.delete(SLICES, "a");
    cluster.put(SLICES, slice("b", "b", &["10.4.0.20"]));
    eventually("it is seen that the API server is gone", || {
        last_error(&client).contains("cannot be reached").then_some(())
    });
    until_shown(&client, &["10.4.0.1:80", "10.4.0.2:80", "10.4.0.3:80"]);
    cluster.forget_history();
    proxy.set(None);
    until_shown(&client, &["10.4.0.20:80", "10.4.0.3:80"]);
    eventually("it is current", || last_error(&client).is_empty().then_some(()));
    // After a mere break it goes on where it was, without a list.
    cluster.bookmark(SLICES);
    let lists =
        || cluster.asked().iter().filter(|it| it.contains("slices?") && !it.contains("watch=true")).count();
    let before = lists();
    cluster.cut();
    cluster.delete(SLICES, "c");
    until_shown(&client, &["10.4.0.20:80"]);
    assert_eq!(lists(), before);
}

#[test]
fn what_cannot_be_shown_is_left_out_and_the_rest_is() {
    let cluster = Cluster::start(&["default"]);
    let mut wrong = slice("wrong", "wrong", &[]);
    wrong["endpoints"] = json!("many");
    cluster.put(SLICES, wrong);
    cluster.put(SLICES, slice("long", &"x".repeat(65), &["10.4.0.8"]));
    cluster.put(PODS, json!({"metadata": {"name": "no-uid"}}));
    cluster.put(SLICES, slice("s", "web", &["10.4.0.1", &"9".repeat(129)]));
    let (registry, client) = follow(&cluster, "");
    until_shown(&client, &["10.4.0.1:80"]);
    eventually("all four are counted", || (health(&client, "kubernetes")["skipped"] == 4).then_some(()));
    registry.logged("catalog kubernetes: left out: namespace default: ");
}

#[test]
fn only_namespaces_in_use_that_can_be_there_are_asked_for() {
    let cluster = Cluster::start(&["team-a", "team-b", "kube-system", "unused"]);
    cluster.put("team-a/endpointslices", slice("s", "web", &["10.4.0.1"]));
    cluster.put("team-b/endpointslices", slice("s", "web", &["10.4.0.2"]));
    cluster.put("kube-system/endpointslices", slice("s", "web", &["10.4.0.3"]));
    let registry = Setup::new("--auth_mode trusted --catalog_max_namespaces 8").arg(cluster.flag()).start();
    let client = |name: &str| registry.client().bearer(name);
    for name in ["kube-system", "No_Label", "-a", "a.b", "ghost"] {
        client(name).get("/api/v1/instances").ok();
    }
    until_shown(&client("team-a"), &["10.4.0.1:80"]);
    until_shown(&client("team-b"), &["10.4.0.2:80"]);
    for _ in 0..20 {
        until_shown(&client("ghost"), &[]);
    }
    until_shown(&client("kube-system"), &[]);
    let asked = cluster.asked();
    let of = |name: &str| asked.iter().filter(|path| path.contains(name)).count();
    assert_eq!(of("/namespaces/ghost"), 1, "{asked:?}");
    for name in ["kube-system", "No_Label", "namespaces/-a", "a.b", "unused"] {
        assert_eq!(of(name), 0, "{name}: {asked:?}");
    }
    let pods = asked.iter().find(|path| path.contains("/team-a/pods?")).expect("its pods were listed");
    assert!(pods.contains("fieldSelector=status.phase%21%3DSucceeded"), "{pods}");
}

#[test]
fn the_operator_says_which_namespaces_and_how_many() {
    let cluster = Cluster::start(&["team-a", "team-b", "team-c", "kube-system"]);
    for (nth, name) in ["team-a", "team-b", "team-c", "kube-system"].iter().enumerate() {
        cluster.put(&format!("{name}/endpointslices"), slice("s", "web", &[&format!("10.4.0.{nth}")]));
    }
    let flags = "--auth_mode trusted --k8s_namespaces team-*,kube-system,!*-c --catalog_max_namespaces 2";
    let registry = Setup::new(flags).arg(cluster.flag()).start();
    let client = |name: &str| registry.client().bearer(name);
    until_shown(&client("team-a"), &["10.4.0.0:80"]);
    until_shown(&client("kube-system"), &["10.4.0.3:80"]);
    // No place is free, and those that have one have not had it for long.
    until_shown(&client("team-b"), &[]);
    until_shown(&client("team-c"), &[]);
    eventually("it was looked up", || {
        cluster.asked().contains(&"/api/v1/namespaces/team-b".into()).then_some(())
    });
    assert!(!cluster.asked().iter().any(|path| path.contains("team-c")), "{:?}", cluster.asked());
    until_shown(&client("team-a"), &["10.4.0.0:80"]);
    until_shown(&client("team-b"), &[]);
}

#[test]
fn a_token_file_is_read_again_and_never_shown() {
    let cluster = Cluster::start(&["default"]);
    cluster.wants("first-secret");
    cluster.put(SLICES, slice("s", "web", &["10.4.0.1"]));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first-secret\n").expect("a file");
    let (registry, client) =
        follow(&cluster, &format!("--log_level debug --k8s_token_file {}", file.display()));
    until_shown(&client, &["10.4.0.1:80"]);
    cluster.wants("second-secret");
    eventually("the old token is refused", || last_error(&client).contains("(401)").then_some(()));
    until_shown(&client, &["10.4.0.1:80"]);
    let new = folder.path().join("new");
    std::fs::write(&new, "second-secret").expect("a file");
    std::fs::rename(&new, &file).expect("it replaces the old one");
    cluster.put(SLICES, slice("s", "web", &["10.4.0.2"]));
    until_shown(&client, &["10.4.0.2:80"]);
    // A file that went missing leaves the last token in force.
    std::fs::remove_file(&file).expect("it is there");
    cluster.cut();
    cluster.put(SLICES, slice("s", "web", &["10.4.0.3"]));
    until_shown(&client, &["10.4.0.3:80"]);
    let log = registry.log();
    assert!(!log.contains("-secret"), "{log}");
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    for (flags, says) in [
        (
            "--k8s_url http://127.0.0.1:1 --k8s_token_file /nowhere/token",
            "--k8s_token_file is /nowhere/token",
        ),
        ("--k8s_url http://127.0.0.1:1 --k8s_token_file /", "it is not a file"),
        ("--k8s_url https://127.0.0.1:1 --k8s_ca_file /nowhere/ca", "--k8s_ca_file is /nowhere/ca"),
        ("--k8s_url in-cluster", "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"),
    ] {
        let ended = Setup::new(flags).args("--api_address 127.0.0.1 --api_port 0").run();
        assert_ne!(ended.status, Some(0), "{flags}");
        assert!(ended.stderr.contains(says), "{flags}: {}", ended.stderr);
    }
}

#[test]
fn a_place_that_nobody_answers_is_told_before_anybody_needs_it() {
    let begun = Instant::now();
    let registry = Daemon::start("--k8s_url http://127.0.0.1:1");
    let client = registry.client();
    eventually("it is seen", || last_error(&client).contains("cannot be reached").then_some(()));
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
    client.get("/api/v1/instances").ok();
}

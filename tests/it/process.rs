//! The program as a process: how it is set up, what it writes, how it ends.
//!
//! Never: repeats how values are spelled; that is tested beside the code.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::instance;
use crate::support::tls::Pki;
use crate::support::token::hs256;
use crate::support::{Connection, Daemon, PATIENCE, Setup, eventually};

const SECRET: &str = "correct-horse-battery-staple-correct";

/// A registry with a registration under way, and the end of its body, which is held back.
fn daemon_with_a_request_under_way(flags: &str) -> (Daemon, Connection, String) {
    let daemon = Daemon::start(&format!("{flags} --ops_address 127.0.0.1:0"));
    let client = daemon.client().with("Expect: 100-continue");
    let request = client.request("POST /api/v1/instances", &instance("web", "x").to_string());
    let (begin, end) = request.split_at(request.len() - 5);
    let mut connection = client.connect();
    connection.write(begin);
    // Said when the handler asks for the body, so from here on it is under way.
    assert_eq!(connection.answer().status, 100);
    (daemon, connection, end.to_owned())
}

#[track_caller]
fn check_refused(setup: &Setup, status: i32, says: &[&str]) {
    let ended = setup.run();
    assert_eq!(ended.status, Some(status), "{setup:?}: {}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("a8registry: ")).collect();
    assert_eq!(lines.len(), 1, "{setup:?}: {}", ended.stderr);
    for word in says {
        assert!(lines[0].contains(word), "{setup:?}: {word} is not in {}", lines[0]);
    }
    assert!(status != 2 || ended.stderr.lines().count() == 1, "{setup:?}: {}", ended.stderr);
    assert!(ended.stdout.is_empty());
}

#[test]
fn wrong_settings_end_with_2_and_one_clear_sentence() {
    for (flags, says) in [
        ("--api_port 65536", &["--api_port", "65536", "from 0 to 65535"][..]),
        ("--api_port -1", &["--api_port", "-1"]),
        ("--api_port http", &["--api_port", "\"http\""]),
        ("--api_address localhost", &["--api_address", "an IP address"]),
        ("--default_ttl 30", &["--default_ttl", "\"30\"", "30s"]),
        ("--default_ttl -5s", &["--default_ttl", "\"-5s\"", "0 or more"]),
        ("--min_ttl 2h --max_ttl 1h", &["--min_ttl", "--max_ttl", "above"]),
        ("--namespace_capacity many", &["--namespace_capacity", "a whole number"]),
        ("--max_header_bytes 1", &["--max_header_bytes", "from 8192"]),
        ("--log_level loud", &["--log_level", "\"loud\"", "debug"]),
        ("--log_format xml", &["--log_format", "json"]),
        ("--auth_mode basic", &["--auth_mode", "\"basic\"", "trusted, jwt"]),
        ("--auth_mode jwt", &["--auth_mode", "no key", "--jwt_secret"]),
        ("--store mysql", &["--store", "inmem, redis"]),
        ("--store redis", &["--store", "no --store_address"]),
        ("--store redis --store_address hush:x", &["--store_address is ***", "host:port"]),
        ("--store redis --store_address a:1 --store_cert b", &["--store_cert", "without --store_key"]),
        ("--require_https=maybe", &["--require_https", "true or false"]),
        ("--trusted_proxy 10.0.0.0/33", &["--trusted_proxy", "10.0.0.0/33"]),
        ("--tls_cert a.pem", &["--tls_cert", "without --tls_key"]),
        ("--tls_client_ca ca.pem", &["--tls_client_ca", "--tls_cert"]),
        ("--api_port 9 --ops_address 9", &["--ops_address", "another one"]),
        ("--max_connections 0", &["--max_connections", "from 1"]),
        ("--idle_timeout 0s", &["--idle_timeout", "above 0"]),
        ("--replicating", &["unknown flag", "--replicating"]),
        ("--replication", &["--replication", "--cluster_dir, --cluster_dns or --cluster_peers"]),
        ("--api_prot 1", &["--api_prot", "did you mean --api_port"]),
        ("--api_port", &["--api_port", "lacks its value"]),
        ("serve", &["\"serve\"", "healthcheck"]),
        ("--require_https false", &["\"false\"", "--flag=false"]),
        ("--jwt_secret=", &["--jwt_secret", "***"]),
        ("healthcheck --api_port 0", &["the port is 0"]),
        ("healthcheck --api_port x", &["--api_port"]),
    ] {
        check_refused(&Setup::new(flags), 2, says);
    }
    for (name, value, says) in [
        ("A8_API_PORT", "70000", &["--api_port", "A8_API_PORT", "\"70000\""][..]),
        ("A8_AUTH_MODE", "trusted,open", &["A8_AUTH_MODE", "\"open\""]),
        ("A8_MIN_TTL", "20m", &["A8_MIN_TTL", "--max_ttl"]),
        ("A8_REQUIRE_HTTPS", "yes", &["A8_REQUIRE_HTTPS", "true or false"]),
    ] {
        check_refused(&Setup::new("").env(name, value), 2, says);
    }
}

#[test]
fn what_cannot_be_used_ends_with_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let loopback = "--api_address 127.0.0.1 --log_level error";
    let setup =
        |flags: String| Setup::new(loopback).arg("--api_port=0").env("A8_JWT_SECRET", SECRET).args(&flags);
    let address = format!("127.0.0.1:{port}");
    check_refused(&setup(format!("--api_port {port}")), 1, &[&address, "in use"]);
    check_refused(&setup(format!("--ops_address {port}")), 1, &[&address, "in use"]);

    let directory = TempDir::new().expect("a directory");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let missing = directory.path().join("missing").display().to_string();
    let broken = file("broken", "-----BEGIN PUBLIC KEY-----\nhush hush\n-----END PUBLIC KEY-----\n");
    for (flag, path) in [
        ("jwt_public_key", &missing),
        ("jwt_public_key", &broken),
        ("jwt_jwks_file", &missing),
        ("jwt_jwks_file", &file("jwks", "{\"keys\": 1}")),
    ] {
        check_refused(&setup(format!("--auth_mode jwt --{flag} {path}")), 1, &[flag, path]);
    }
    let pki = Pki::new();
    let (cert, key) = (pki.path("cert.pem").display().to_string(), pki.path("key.pem").display().to_string());
    pki.replace("other.pem", &pki.issue().key);
    let other = pki.path("other.pem").display().to_string();
    for (tls, names) in [
        (format!("--tls_cert {missing} --tls_key {key}"), &missing),
        (format!("--tls_cert {cert} --tls_key {broken}"), &broken),
        (format!("--tls_cert {cert} --tls_key {other}"), &other),
        (format!("--tls_cert {cert} --tls_key {key} --tls_client_ca {key}"), &key),
    ] {
        check_refused(&setup(tls), 1, &[names]);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for flags in ["--help", "-h", "help", "-help", "--log_level loud --help"] {
        let ended = Setup::new(flags).run();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{flags}");
        assert!(ended.stdout.contains("--api_port") && ended.stdout.contains("healthcheck"), "{flags}");
        assert!(ended.stdout.lines().all(|line| line.len() <= 100));
    }
    for flags in ["--version", "-v", "-version"] {
        let ended = Setup::new(flags).run();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{flags}");
        let name = concat!("a8registry ", env!("CARGO_PKG_VERSION"), " (");
        assert!(ended.stdout.starts_with(name), "{}", ended.stdout);
        assert_eq!(ended.stdout.lines().count(), 1);
    }
    let secret = Setup::new("--help").env("A8_JWT_SECRET", SECRET).env("A8_OPS_TOKEN", SECRET).run();
    assert!(!secret.stdout.contains(SECRET));
}

#[test]
fn flags_win_over_variables_and_empty_variables_are_none() {
    let daemon = Setup::new("-default-ttl=40s")
        .env("A8_DEFAULT_TTL", "50s")
        .env("A8_MAX_TTL", "2m")
        .env("A8_MIN_TTL", "")
        .env("A8_NAMESPACE_CAPACITY", "1")
        .env("A8_CLUSTER_COLOR", "blue")
        .start();
    daemon.logged("A8_CLUSTER_COLOR");
    let client = daemon.client();
    let ttl = |asked: Option<u32>| {
        let mut registration = instance("web", "x");
        registration["ttl"] = json!(asked);
        client.post(&registration).json()["ttl"].clone()
    };
    assert_eq!([ttl(None), ttl(Some(1)), ttl(Some(9999))], [json!(40), json!(10), json!(120)]);
    client.post(&instance("web", "y")).refused(403);
}

#[test]
fn a_signal_lets_requests_finish_and_ends_with_0() {
    for signal in ["TERM", "INT"] {
        let (daemon, mut under_way, end) = daemon_with_a_request_under_way("");
        let operators = daemon.ops_client();
        let mut idle = daemon.client().connect();
        idle.ask(&daemon.client(), "GET /", "").ok();
        daemon.signal(signal);
        let draining = eventually("it is not ready any more", || {
            let ready = operators.get("/health/ready");
            (ready.status == 503).then_some(ready)
        });
        assert_eq!(draining.json()["status"], "draining");
        operators.get("/health/live").ok();
        assert_eq!(idle.until_closed(), "");
        eventually("the port is closed", || daemon.client().try_connect().is_err().then_some(()));
        under_way.write(&end);
        assert_eq!(under_way.answer().status, 201);
        let ended = daemon.wait();
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("stopping")
                && ended.stderr.trim_end().ends_with("msg=\"stopped\" module=DAEMON")
        );
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (daemon, mut under_way, _) =
        daemon_with_a_request_under_way("--drain_timeout 10m --body_timeout 10m");
    daemon.signal("TERM");
    daemon.logged("stopping");
    daemon.signal("INT");
    let ended = daemon.wait();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("aborted"), "{}", ended.stderr);
    assert_eq!(under_way.until_closed(), "");
}

#[test]
fn what_does_not_finish_is_cut_at_the_drain_deadline() {
    let (daemon, mut under_way, _) = daemon_with_a_request_under_way("--drain_timeout 300ms");
    let begun = Instant::now();
    let ended = daemon.stop();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(300 <= begun.elapsed().as_millis() && begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert!(ended.stderr.contains("1 connections were cut"), "{}", ended.stderr);
    assert_eq!(under_way.until_closed(), "");
}

#[test]
fn healthcheck_tells_whether_the_registry_is_ready() {
    let check = |flags: String, port: u16| {
        let setup =
            Setup::new(&format!("healthcheck --api_port {port} {flags}")).env("A8_API_ADDRESS", "127.0.0.1");
        let ended = setup.run();
        assert!(ended.stdout.is_empty());
        (ended.status, ended.stderr)
    };
    let well = (Some(0), String::new());
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let (status, why) = check(String::new(), free);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains(&format!("127.0.0.1:{free}")) && why.lines().count() == 1, "{why}");

    let daemon = Daemon::start("--require_https --auth_mode trusted");
    assert_eq!(check(String::new(), daemon.address().port()), well);

    let pki = Pki::new();
    let tls = Daemon::start(&pki.flags());
    assert_eq!(check(pki.flags(), tls.address().port()), well);
    let (status, why) = check(String::new(), tls.address().port());
    assert_eq!(status, Some(1), "{why}");
    let mutual = format!("{} --tls_client_ca {}", pki.flags(), pki.path("ca.pem").display());
    let mutual_tls = Daemon::start(&mutual);
    assert_eq!(check(mutual, mutual_tls.address().port()), well);

    let (draining, mut under_way, end) = daemon_with_a_request_under_way("");
    let operators = draining.logged("operators are served on");
    let operators = operators.split("operators are served on ").nth(1).expect("an address");
    let operators = format!("--ops_address {}", operators.split('"').next().expect("its end"));
    assert_eq!(check(operators.clone(), draining.address().port()), well);
    draining.signal("TERM");
    draining.logged("stopping");
    let (status, why) = check(operators, draining.address().port());
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("503"), "{why}");
    under_way.write(end);
    under_way.answer();
}

#[test]
fn lines_have_the_form_that_is_configured() {
    for (format, time, message) in [("json", "time", "msg"), ("logstash", "@timestamp", "message")] {
        let daemon = Daemon::start(&format!("--log_format {format} --log_level debug"));
        let client = daemon.client();
        let answer = client.post(&instance("we\"b\n", "x\u{1b}[31m"));
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        client.delete(&format!("/api/v1/instances/{id}?token=hush")).ok();
        let lines: Vec<Value> = daemon
            .stop()
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        for line in &lines {
            for name in [time, message, "level", "module"] {
                assert!(line[name].is_string(), "{name} in {line}");
            }
            assert!(!line.to_string().contains("hush"), "{line}");
        }
        let of = |module: &str| lines.iter().filter(|line| line["module"] == module).collect::<Vec<_>>();
        let [registered, deregistered] = of("REGISTRY")[..] else { panic!("two lines: {lines:?}") };
        assert_eq!((&registered["instance"], &registered["service"]), (&json!(id), &json!("we\"b\n")));
        assert!(deregistered[message].as_str().is_some_and(|text| text.ends_with("deregistered")));
        let access = of("ACCESS");
        let [post, delete] = access[..] else { panic!("two lines: {access:?}") };
        assert_eq!((&post["method"], &post["status"]), (&json!("POST"), &json!(201)));
        assert_eq!(post["byteswritten"], answer.body.len());
        assert_eq!(post["request_id"], answer.header("request_id"));
        assert_eq!((&post["namespace"], &post["client"]), (&json!("default"), &json!("127.0.0.1")));
        assert_eq!((&delete["route"], &delete["level"]), (&json!("/api/v1/instances/{id}"), &json!("debug")));
        assert!(post["elapsedtime"].as_u64().is_some_and(|nanos| 0 < nanos));
        assert!(lines.last().is_some_and(|line| line[message] == "stopped"));
    }
}

#[test]
fn requests_have_lines_at_debug_and_only_audited_ones_at_info() {
    let run = |level: &str| {
        let daemon = Daemon::start(&format!("--log_level {level} --min_ttl 1s"));
        let client = daemon.client();
        let id = client.register(&instance("web", "x"));
        client.renew(&id).ok();
        client.put(&format!("/api/v1/instances/{id}/status"), r#"{"status": "STARTING"}"#).ok();
        client.get("/api/v1/instances").ok();
        client.get("/nowhere").refused(404);
        client.delete(&format!("/api/v1/instances/{id}")).ok();
        daemon.stop().stderr
    };
    let [debug, info] = ["debug", "info"].map(run);
    assert_eq!(debug.lines().filter(|line| line.contains("module=ACCESS")).count(), 6, "{debug}");
    let heartbeat = "msg=\"127.0.0.1 PUT /api/v1/instances/{id}/heartbeat\"";
    assert!(debug.contains(heartbeat) && debug.contains("127.0.0.1 GET (none)"), "{debug}");
    assert!(!info.contains("ACCESS") && !info.contains("level=debug"), "{info}");
    for log in [&debug, &info] {
        for audited in ["registered", "is now STARTING", "deregistered"] {
            assert_eq!(
                log.lines().filter(|line| line.contains(&format!(" {audited}\""))).count(),
                1,
                "{audited}: {log}"
            );
        }
        assert!(log.lines().all(|line| line.starts_with("time=\"") && line.ends_with(' ')), "{log}");
    }
}

#[test]
fn an_access_line_tells_the_route_and_the_answer_and_never_the_path() {
    let daemon = Daemon::start("--log_level debug");
    let client = daemon.client();
    let asked = [
        (
            client.bearer("default").put("/api/v1/instances/some-id/heartbeat?x=hidden", ""),
            &["route=\"/api/v1/instances/{id}/heartbeat\" status=410", "namespace=default ", "method=PUT "][..],
        ),
        (
            client.bearer("hidden").get("/api/v1/services/some-id"),
            &["route=\"/api/v1/services/{name}\" status=401", "namespace= ", "method=GET "],
        ),
        (client.get("/some-id/hidden"), &["route=\"(none)\" status=404", "namespace= "]),
    ];
    let log = daemon.stop().stderr;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("module=ACCESS")).collect();
    assert_eq!(lines.len(), asked.len(), "{log}");
    for ((answer, wanted), line) in asked.iter().zip(lines) {
        let bytes = format!("byteswritten={} ", answer.body.len());
        for wanted in
            wanted.iter().chain(&[answer.header("request_id"), &bytes, "client=127.0.0.1 ", "elapsedtime="])
        {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
        assert!(!line.contains("hidden") && !line.contains("some-id"), "{line}");
    }
}

#[test]
fn no_secret_is_written_anywhere() {
    const KEY: &str = "sEcReT-of-thirty-two-bytes-or-more";
    let flags = "--auth_mode jwt --log_level debug --ops_token sEcReT-operators --jwt_audience=";
    check_refused(&Setup::new(flags).env("A8_JWT_SECRET", KEY), 2, &["--jwt_audience"]);
    let daemon = Setup::new("--auth_mode jwt --log_level debug --ops_token sEcReT-operators")
        .env("A8_JWT_SECRET", KEY)
        .start();
    let client = daemon.client();
    let token = hs256(KEY, &json!({"namespace": "acme"}));
    let mut registration = instance("web", "x");
    registration["metadata"] = json!({"password": "sEcReT-metadata"});
    client.bearer(&token).register(&registration);
    client.bearer("sEcReT-token").get("/api/v1/services").refused(401);
    client.bearer("sEcReT.token.three").get("/api/v1/services/sEcReT-path?sEcReT=query").refused(401);
    client.with("Authorization: Basic c0VjUmVU").get("/sEcReT-nowhere").refused(404);
    client.with("Authorization: Basic c0VjUmVU").get("/api/v1/services").refused(401);
    client.with("Authorization: sEcReT").get("/api/v1/services").refused(401);
    client.bearer("sEcReT-operators").get("/metrics").ok();
    let shown = ["/uptime", "/metrics", "/health/ready"].map(|path| client.get(path).text()).concat();
    assert!(!shown.contains("sEcReT"), "{shown}");
    let log = daemon.stop().stderr;
    assert_eq!(log.matches("module=ACCESS").count(), 10, "{log}");
    for secret in ["sEcReT", "c0VjUmVU"].into_iter().chain(token.split('.')) {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

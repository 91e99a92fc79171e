//! What clients should not send: each such request is refused with a reason, and nothing else happens.
//!
//! Never: a request that could be meant well; those are in the other chapters.

use std::io;

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::token::{base64url, hs256, hs256_with, seconds_from_now};
use crate::support::{Answer, Client, Connection, Daemon, Setup};

const SECRET: &str = "correct-horse-battery-staple-correct";

const INSTANCES: &str = "/api/v1/instances";

/// One request and what it has to be answered.
struct Hostile {
    request: Vec<u8>,
    status: u16,
    /// Words of the answer, in its body, or behind its status when HTTP itself is broken.
    says: &'static [&'static str],
}

/// With a good token and a body that says it is JSON.
fn refused(line: &str, body: impl AsRef<[u8]>, status: u16, says: &'static [&'static str]) -> Hostile {
    let body = body.as_ref();
    let mut head = format!("{line} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer acme\r\n");
    if !body.is_empty() {
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    Hostile { request: [head.as_bytes(), b"\r\n", body].concat(), status, says }
}

/// A registration with this body.
fn body(body: impl AsRef<[u8]>, says: &'static [&'static str]) -> Hostile {
    refused("POST /api/v1/instances", body, 400, says)
}

/// A registration that would be fine but for these members.
fn member(members: &str, says: &'static [&'static str]) -> Hostile {
    let good = r#""service_name": "s", "endpoint": {"type": "http", "value": "v"}"#;
    body(format!("{{{good}, {members}}}"), says)
}

/// A registration whose head has these lines, and the bytes after it.
fn framed(headers: &str, rest: impl AsRef<[u8]>, status: u16, says: &'static [&'static str]) -> Hostile {
    let head = format!(
        "POST {INSTANCES} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer acme\r\n\
         Content-Type: application/json\r\n{headers}\r\n\r\n"
    );
    Hostile { request: [head.as_bytes(), rest.as_ref()].concat(), status, says }
}

/// A list that would be fine but for these lines of its head.
fn head(headers: impl AsRef<[u8]>, status: u16, says: &'static [&'static str]) -> Hostile {
    let begin = format!("GET {INSTANCES} HTTP/1.1\r\n");
    let request = [begin.as_bytes(), headers.as_ref(), b"\r\n\r\n"].concat();
    Hostile { request, status, says }
}

/// A list with these credentials.
fn token(authorization: impl AsRef<[u8]>, says: &'static [&'static str]) -> Hostile {
    head([b"Host: h\r\nAuthorization: ", authorization.as_ref()].concat(), 401, says)
}

fn bytes(request: impl AsRef<[u8]>, status: u16, says: &'static [&'static str]) -> Hostile {
    Hostile { request: request.as_ref().into(), status, says }
}

fn bodies() -> Vec<Hostile> {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let mut not_utf8 = br#"{"service_name": "s"#.to_vec();
    not_utf8.extend_from_slice(b"\xff\xfe\"}");
    let utf16: Vec<u8> = r#"{"service_name": "s"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        refused("POST /api/v1/instances", "", 400, &["body", "EOF"]),
        body(" \n ", &["body", "EOF"]),
        body("{", &["one JSON document", "EOF"]),
        body(r#"{"service_name": "s",}"#, &["one JSON document", "trailing comma"]),
        body("{'service_name': 's'}", &["one JSON document", "key must be a string"]),
        body(r#"{"service_name": "s"} {"more": 1}"#, &["one JSON document", "trailing characters"]),
        body(r#"{"service_name": NaN}"#, &["one JSON document"]),
        body("\u{feff}{}", &["one JSON document"]),
        body(utf16, &["one JSON document"]),
        body(not_utf8, &["UTF-8", "after byte 19"]),
        body(&b"{\"service_name\": \"a\0b\"}"[..], &["one JSON document", "control character"]),
        body("{\"service_name\": \"a\nb\"}", &["one JSON document", "control character"]),
        body("[]", &["\"body\"", "a list", "an object"]),
        body("\"register me\"", &["\"body\"", "register me", "an object"]),
        body("42", &["\"body\"", "the number 42"]),
        body("null", &["Service name is required"]),
        body(r#"{"service_name": "", "endpoint": {}}"#, &["Service name is required", "1 to 64 bytes"]),
        body(r#"{"service_name": 7}"#, &["\"service_name\"", "the number 7", "a text"]),
        body(r#"{"service_name": ["s"]}"#, &["\"service_name\"", "a list"]),
        body(r#"{"service_name": "s"}"#, &["Instance endpoint is required"]),
        body(r#"{"service_name": "s", "endpoint": "v"}"#, &["\"endpoint\"", "an object"]),
        body(r#"{"service_name": "s", "endpoint": {"value": "v"}}"#, &["endpoint.type", "http, https"]),
        body(r#"{"service_name": "s", "endpoint": {"type": "tcp"}}"#, &["endpoint.value"]),
        body(
            r#"{"service_name": "s", "endpoint": {"type": "ftp", "value": "v"}}"#,
            &["endpoint.type", "ftp"],
        ),
        body(
            r#"{"service_name": "s", "endpoint": {"type": "tcp", "value": 1}}"#,
            &["endpoint.value", "a text"],
        ),
        body(
            json!({"service_name": "n".repeat(65), "endpoint": {"type": "tcp", "value": "v"}}).to_string(),
            &["service_name", "65 bytes", "64 bytes"],
        ),
        body(
            json!({"service_name": "s", "endpoint": {"type": "tcp", "value": "v".repeat(129)}}).to_string(),
            &["endpoint.value", "129 bytes", "128 bytes"],
        ),
        // The last of doubled keys counts.
        member(r#""service_name": 5"#, &["\"service_name\"", "the number 5"]),
        member(r#""SERVICE_NAME": """#, &["Service name is required"]),
        member(r#""ttl": "30""#, &["\"ttl\"", "the text", "0 to 4294967295"]),
        member(r#""ttl": -1"#, &["\"ttl\"", "-1"]),
        member(r#""ttl": 1.5"#, &["\"ttl\"", "1.5"]),
        member(r#""ttl": 3e1"#, &["\"ttl\"", "30"]),
        member(r#""ttl": 4294967296"#, &["\"ttl\"", "4294967296"]),
        member(r#""ttl": 99999999999999999999999"#, &["\"ttl\"", "1e23"]),
        member(&format!("\"ttl\": 1{}", "0".repeat(400)), &["body", "number out of range"]),
        member(r#""ttl": true"#, &["\"ttl\"", "true"]),
        member(r#""status": "DOWN""#, &["Valid statuses are", "DOWN"]),
        member(r#""status": 1"#, &["\"status\"", "a text"]),
        member(r#""tags": "v1""#, &["\"tags\"", "a list of texts"]),
        member(r#""tags": ["v1", 2]"#, &["\"tags\"", "the number 2"]),
        member(r#""tags": [["v1"]]"#, &["\"tags\"", "holds a list"]),
        member(&format!("\"metadata\": \"{}\"", "m".repeat(1023)), &["metadata", "1025 bytes", "1024 bytes"]),
        member(&format!("\"metadata\": {}", deep(33)), &["metadata", "32 levels"]),
        member(&format!("\"metadata\": {}", deep(500)), &["metadata", "32 levels"]),
        member(&format!("\"metadata\": {}", deep(10_000)), &["metadata", "20000 bytes", "1024 bytes"]),
        member(&format!("\"unknown\": {}", "[{\"a\":".repeat(5_000)), &["body", "expected value"]),
        member(&format!("\"ttl\": {}", deep(10_000)), &["\"ttl\"", "a list"]),
        member(r#""metadata": "\ud800""#, &["metadata", "surrogate"]),
        member(r#""metadata": 1e999"#, &["metadata", "a double"]),
        member(r#""metadata": 01"#, &["body", "invalid number"]),
        refused("PUT /api/v1/heartbeats", "{}", 400, &["\"ids\"", "nothing", "a list of texts"]),
        refused("PUT /api/v1/heartbeats", r#"{"ids": "all"}"#, 400, &["\"ids\"", "all"]),
        refused("PUT /api/v1/heartbeats", r#"{"ids": [1]}"#, 400, &["\"ids\"", "the number 1"]),
        refused("PUT /api/v1/heartbeats", "[\"a\",", 400, &["body", "EOF"]),
        refused(
            "PUT /api/v1/heartbeats",
            json!(vec!["0123456789abcdef"; 10_001]).to_string(),
            413,
            &["10001 ids", "at most 10000 ids"],
        ),
        refused(
            "PUT /api/v1/instances/a/status",
            r#"{"status": "DOWN"}"#,
            400,
            &["Valid statuses are", "DOWN"],
        ),
        refused("PUT /api/v1/instances/a/status", r#"{"status": {}}"#, 400, &["\"status\"", "an object"]),
        refused("PUT /api/v1/instances/a/status", "", 400, &["No status value set"]),
        refused("PUT /api/v1/instances/a/status?value=", "", 400, &["No status value set"]),
    ]
}

fn frames() -> Vec<Hostile> {
    let chunk = |size: usize| format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    vec![
        framed("Content-Length: 65537", "", 413, &["body", "at most 65536 bytes"]),
        framed("Content-Length: 1099511627776", "", 413, &["body", "at most 65536 bytes"]),
        framed("Content-Length: 18446744073709551615", "", 431, &["Too Large"]),
        framed("Content-Length: 99999999999999999999", "", 400, &["Bad Request"]),
        framed("Content-Length: -1", "", 400, &["Bad Request"]),
        framed("Content-Length: +2", "{}", 400, &["Bad Request"]),
        framed("Content-Length: 0x2", "{}", 400, &["Bad Request"]),
        framed("Content-Length: 2, 3", "{} ", 400, &["Bad Request"]),
        framed("Content-Length: 2\r\nContent-Length: 3", "{} ", 400, &["Bad Request"]),
        framed("Transfer-Encoding: chunked", chunk(65_537), 413, &["body", "at most 65536 bytes"]),
        framed("Transfer-Encoding: chunked", "zz\r\n", 400, &["body", "could not be read"]),
        framed("Transfer-Encoding: chunked", "fffffffffffffffff\r\n", 400, &["body", "could not be read"]),
        framed("Transfer-Encoding: chunked", "-2\r\n{}\r\n", 400, &["body", "could not be read"]),
        framed("Transfer-Encoding: chunked", "2\r\n{}XX0\r\n\r\n", 400, &["body", "could not be read"]),
        framed("Transfer-Encoding: gzip", "{}", 400, &["Bad Request"]),
        framed("Transfer-Encoding: chunked, gzip", "2\r\n{}\r\n0\r\n\r\n", 400, &["Bad Request"]),
        framed("Transfer-Encoding: chunked\r\nContent-Encoding: gzip", "2\r\n{}\r\n0\r\n\r\n", 400, &["Service name"]),
        bytes(
            "PUT /api/v1/heartbeats HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer acme\r\n\
             Content-Type: application/json\r\nContent-Length: 262145\r\n\r\n",
            413,
            &["body", "at most 262144 bytes"],
        ),
        bytes(
            "POST /api/v1/instances HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\
             Authorization: Bearer acme\r\nContent-Type: text/plain\r\n\r\n{}",
            415,
            &["Content-Type", "text/plain", "application/json"],
        ),
        bytes(
            "POST /api/v1/instances HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nAuthorization: Bearer acme\r\n\r\n{}",
            415,
            &["Content-Type", "nothing"],
        ),
        bytes(
            "POST /api/v1/instances HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nAuthorization: Bearer acme\r\n\
             Content-Type: application/json; charset=utf-16\r\n\r\n{}",
            415,
            &["Content-Type", "utf-16"],
        ),
        bytes(
            &b"POST /api/v1/instances HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nAuthorization: Bearer acme\r\n\
             Content-Type: \xff\r\n\r\n{}"[..],
            415,
            &["Content-Type", "ASCII"],
        ),
    ]
}

fn paths() -> Vec<Hostile> {
    let lists = |query: &str, says| refused(&format!("GET {INSTANCES}?{query}"), "", 400, says);
    vec![
        refused("GET /api/v1/instances/../../../etc/passwd", "", 404, &["Resource not found"]),
        refused("GET /api/v1/../v1/instances", "", 404, &["Resource not found"]),
        refused("GET /api/v1/./instances", "", 404, &["Resource not found"]),
        refused("GET //api/v1/instances", "", 404, &["Resource not found"]),
        refused("GET /api/v1/instances/", "", 404, &["Resource not found"]),
        refused("GET /API/V1/INSTANCES", "", 404, &["Resource not found"]),
        refused("GET /api/v1/instances%2f..%2fservices", "", 404, &["Resource not found"]),
        refused("GET /%2e%2e/%2e%2e/etc/passwd", "", 404, &["Resource not found"]),
        refused("GET /api/v1/instances/..%2f..%2fetc%2fpasswd", "", 404, &["Instance not found"]),
        refused("GET /api/v1/instances/%252e%252e%252f%252e%252e", "", 404, &["Instance not found"]),
        refused("GET /api/v1/services/..%2f..%2f", "", 404, &["Service name not found"]),
        refused("GET /api/v1/services/%00", "", 404, &["Service name not found"]),
        refused("DELETE /api/v1/instances/%0d%0aX-Injected:%20yes", "", 410, &["no such instance"]),
        refused("PUT /api/v1/instances/%0d%0aX-Injected:%20yes/heartbeat", "", 410, &["no such instance"]),
        refused("DELETE /api/v1/instances/%zz", "", 400, &["Malformed path", "%zz", "two hex digits"]),
        refused("PUT /api/v1/instances/a%2/heartbeat", "", 400, &["Malformed path", "two hex digits"]),
        refused("GET /api/v1/services/%c3%28", "", 400, &["Malformed path", "\"name\"", "UTF-8"]),
        refused("PUT /api/v1/instances//heartbeat", "", 400, &["Missing instance identifier"]),
        refused("PUT /api/v1/instances//status", "{}", 400, &["Missing instance identifier"]),
        refused("DELETE /api/v1/instances", "", 405, &["Method not allowed", "GET, HEAD, OPTIONS, POST"]),
        refused("POST /api/v1/heartbeats", "[]", 405, &["Method not allowed", "OPTIONS, PUT"]),
        refused("PATCH /api/v1/instances/a", "{}", 405, &["Method not allowed", "DELETE"]),
        refused("TRACE /api/v1/services", "", 405, &["Method not allowed", "GET"]),
        refused("BREW /api/v1/services", "", 405, &["Method not allowed", "GET"]),
        lists("colour=red", &["selection criteria", "\"colour\"", "service_name"]),
        lists("metadata=", &["selection criteria", "\"metadata\""]),
        lists("fields=id,,ttl", &["fields", "last_heartbeat"]),
        lists("fields=password", &["\"fields\"", "password"]),
        lists("fields=%ff", &["\"fields\""]),
        lists(&format!("{}=1", "k".repeat(8_000)), &["selection criteria", "kkk..."]),
        lists(&"a=1&".repeat(2_000), &["selection criteria", "\"a\""]),
    ]
}

fn heads() -> Vec<Hostile> {
    let long =
        |bytes: usize| format!("Host: h\r\nAuthorization: Bearer acme\r\nX-Long: {}", "x".repeat(bytes));
    vec![
        head("Authorization: Bearer acme", 400, &["Missing Host header"]),
        head("Host: a\r\nHost: b\r\nAuthorization: Bearer acme", 400, &["Host", "several"]),
        head(long(16 * 1024), 431, &["Request Header Fields Too Large"]),
        head(long(1024 * 1024), 431, &["Request Header Fields Too Large"]),
        head(
            "Host: h\r\nX: y".to_owned() + &"\r\nX: y".repeat(100),
            431,
            &["Request Header Fields Too Large"],
        ),
        head("Host: h\r\nX-Nul: a\0b", 400, &["Bad Request"]),
        head("Host: h\r\nX-Bare: a\rb", 400, &["Bad Request"]),
        head("Host: h\r\nName : value", 400, &["Bad Request"]),
        head("Host: h\r\nNa me: value", 400, &["Bad Request"]),
        head("Host: h\r\nno colon at all", 400, &["Bad Request"]),
        head("Host: h\r\n: nameless", 400, &["Bad Request"]),
        head("Host: h\r\nX-Folded: a\r\n b", 400, &["Bad Request"]),
        bytes(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "p".repeat(20_000)), 431, &["Too Large"]),
        bytes("GET /api/v1/instances HTTP/9.9\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("GET /api/v1/instances HTTP/1.12345\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("GET /api/v1/instances HTCPCP/1.0\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("GET /api/v1/instances\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("GET /api/v1/inst\0ances HTTP/1.1\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("GET /api/v1/services/a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes(&b"GET /api/v1/services/\xff HTTP/1.1\r\nHost: h\r\n\r\n"[..], 400, &["Bad Request"]),
        bytes("G\x01T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, &["Bad Request"]),
        bytes("SSH-2.0-OpenSSH_9.6\r\n", 400, &["Bad Request"]),
        bytes(
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting of TLS \r\n\r\n"[..],
            400,
            &["Bad Request"],
        ),
    ]
}

fn tokens() -> Vec<Hostile> {
    let claims = json!({"namespace": "acme"});
    let signed = |claims: Value| format!("Bearer {}", hs256(SECRET, &claims));
    let unsigned = format!("Bearer {}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims.to_string()));
    let other = |header: Value| format!("Bearer {}", hs256_with(SECRET, &header, &claims));
    let good = hs256(SECRET, &claims);
    vec![
        head("Host: h", 401, &["Missing request Authorization header"]),
        head("Host: h\r\nA8-Namespace: acme", 401, &["Missing request Authorization header"]),
        token("Bearer", &["expecting Bearer Token", "single word"]),
        token("Bearer\tacme", &["expecting Bearer Token", "single word"]),
        token("Basic YWNtZTpodW50ZXIy", &["expecting Bearer Token", "Basic"]),
        token("BEARER acme", &["expecting Bearer Token"]),
        token(&b"Bearer \xff\xfe"[..], &["expecting Bearer Token", "UTF-8"]),
        token("Bearer acme\r\nAuthorization: Bearer acme", &["several"]),
        token(format!("Bearer {}", "n".repeat(257)), &["invalid token", "256 bytes"]),
        token(format!("Bearer {}", "t".repeat(9_000)), &["invalid token", "8192 bytes"]),
        token(
            signed(json!({"namespace": "acme", "exp": seconds_from_now(-60)})),
            &["invalid token", "expired"],
        ),
        token(signed(json!({"namespace": "acme", "nbf": seconds_from_now(60)})), &["not valid yet"]),
        token(signed(json!({"namespace": "acme", "exp": "never"})), &["exp is not a number"]),
        token(signed(json!({"namespace": ["acme"]})), &["not text"]),
        token(signed(json!({"namespace": ""})), &["empty"]),
        token(signed(json!({"admin": true})), &["missing"]),
        token(signed(json!([])), &["claims"]),
        token(format!("Bearer {}", hs256("another secret", &claims)), &["signature does not fit"]),
        token(
            format!("Bearer {}", good.rsplit_once('.').expect("three parts").0.to_owned() + "."),
            &["signature"],
        ),
        token(other(json!({"alg": "HS384"})), &["alg is not that of its key"]),
        token(other(json!({"alg": "RS256"})), &["alg is not that of its key"]),
        token(other(json!({"typ": "JWT"})), &["no alg"]),
        token(other(json!({"alg": "HS256", "crit": ["x"]})), &["crit"]),
        token(other(json!({"alg": 256})), &["header"]),
        token(unsigned, &["alg is not that of its key"]),
    ]
}

/// The answer, and what follows it until the connection ends or is left.
fn ask(client: &Client, request: &[u8]) -> io::Result<Option<Answer>> {
    let mut connection = client.try_connect()?;
    // Who refuses early may close before everything is sent; the answer is there all the same.
    let sent = connection.try_write(request);
    let answer = connection.try_answer(false);
    match (sent, answer) {
        (Err(error), Ok(None)) => Err(error),
        (_, answer) => answer,
    }
}

/// What is wrong with the answer, if anything.
fn judged(client: &Client, Hostile { request, status, says }: &Hostile) -> Result<(), String> {
    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]);
    let answer = match ask(client, request) {
        Ok(Some(answer)) => answer,
        other => return Err(format!("{shown}\n=> {other:?}")),
    };
    // Where HTTP itself is broken there is no body, only what stands behind the status.
    let text = if answer.body.is_empty() { answer.reason.clone() } else { answer.text() };
    let is_json = answer.body.is_empty() || answer.json()["Error"].is_string();
    let is_right = answer.status == *status && says.iter().all(|words| text.contains(words));
    if is_right && is_json && text.len() < 1024 && answer.header("x-injected").is_empty() {
        return Ok(());
    }
    Err(format!("{shown}\n=> {} {text}\nwanted {status} with {says:?}", answer.status))
}

/// Sends all of them, each on a connection of its own.
#[track_caller]
fn check(client: &Client, all: &[Hostile]) {
    let wrong: Vec<_> = all.iter().filter_map(|hostile| judged(client, hostile).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n\n"));
}

#[test]
fn whatever_is_sent_is_refused_with_a_reason_and_changes_nothing() {
    const ROUNDS: usize = 20;
    const GROWTH: u64 = 4 * 1024 * 1024;
    let setup = Setup::new("--auth_mode jwt,trusted --ops_token operators").env("A8_JWT_SECRET", SECRET);
    let daemon: Daemon = setup.start();
    let client = daemon.client();
    let acme = client.bearer("acme");
    let mut known = instance("s", "known");
    known["metadata"] = json!({"a": [1, 2.50, null]});
    acme.register(&known);
    let before = acme.get("/api/v1/instances?status=ALL");

    let all: Vec<_> = [bodies(), frames(), paths(), heads(), tokens()].into_iter().flatten().collect();
    assert!(60 <= all.len(), "{}", all.len());
    // What a process allocates once, such as for each of its threads, is no growth.
    (0..3).for_each(|_| check(&client, &all));
    let resident = daemon.resident();
    (0..ROUNDS).for_each(|_| check(&client, &all));
    let grown = daemon.resident().saturating_sub(resident);
    assert!(grown <= GROWTH, "{grown} bytes more after {} requests", ROUNDS * all.len());

    let after =
        acme.with(&format!("If-None-Match: {}", before.header("etag"))).get("/api/v1/instances?status=ALL");
    assert_eq!(after.status, 304, "the revision is what it was");
    assert_eq!(acme.get("/api/v1/instances?status=ALL").body, before.body);
    assert_eq!(acme.get("/api/v1/services").json(), json!({"services": ["s"]}));
    let operator = client.bearer("operators");
    assert_eq!(operator.metric("a8_namespaces"), Some(1.0));
    assert_eq!(operator.metric("a8_registrations_total"), Some(1.0));
    assert_eq!(operator.metric(r#"a8_connections_closed_total{reason="panic"}"#), Some(0.0));
    daemon.until_metric("a8_connections_open", 1.0);
}

/// A broken HTTP/2 greeting, or one that never goes on, gets no answer at all.
#[test]
fn what_is_no_http_2_ends_its_connection_only() {
    let daemon = Daemon::start("--header_timeout 300ms");
    let client = daemon.client();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |length: u32, kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let attacks = [
        preface.into(),
        format!("{preface}GET / HTTP/1.1\r\n\r\n").into_bytes(),
        [preface.as_bytes(), &frame(0xff_ffff, 0, 0, 1, b"much too long")].concat(),
        [preface.as_bytes(), &frame(0, 4, 0, 0, b""), &frame(5, 1, 4, 0, b"\x82\x84\x86\x41\x01")].concat(),
        [preface.as_bytes(), &frame(0, 4, 0, 0, b""), &frame(4, 1, 4, 1, b"\xff\xff\xff\xff")].concat(),
    ];
    for attack in attacks {
        let mut connection: Connection = client.connect();
        connection.write(&attack);
        connection.until_closed();
    }
    client.get("/health/live").ok();
    daemon.until_metric("a8_connections_open", 1.0);
}

//! What every answer has, and what is refused before a handler looks at it.

use http::Version;

use super::*;

/// A request for each route and method that is served.
const SERVED: [&str; 15] = [
    "GET /api/v1/instances",
    "POST /api/v1/instances",
    "GET /api/v1/instances/x",
    "DELETE /api/v1/instances/x",
    "PUT /api/v1/instances/x/heartbeat",
    "PUT /api/v1/instances/x/status",
    "PUT /api/v1/heartbeats",
    "GET /api/v1/services",
    "GET /api/v1/services/x",
    "GET /",
    "GET /uptime",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /swagger",
];

#[tokio::test]
async fn every_answer_has_an_id_and_a_type() {
    let server = Server::new();
    let mut names = Vec::new();
    for line in SERVED.iter().chain(&["GET /nothing", "PATCH /uptime", "OPTIONS /api/v1/instances"]) {
        let answer = server.send(line, &[("request_id", "mine"), ("accept", "text/*")], "").await;
        // Browsers are answered with a page at the root.
        let vary = if *line == "GET /" { "Accept, Accept-Encoding" } else { "Accept-Encoding" };
        assert_eq!(answer.header("vary"), vary, "{line}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{line}");
        let wanted = if line.ends_with("/metrics") {
            "text/plain; version=0.0.4; charset=utf-8"
        } else {
            "application/json; charset=utf-8"
        };
        assert_eq!(answer.header("content-type"), wanted, "{line}");
        let id: Vec<_> = answer.header("request_id").split('_').collect();
        let [name, nanos, count] = id[..] else { panic!("{id:?}") };
        assert!(name.len() == 10 && name.bytes().all(|b| b.is_ascii_alphabetic()), "{name}");
        assert!(1_700_000_000_000_000_000 < nanos.parse::<u64>().unwrap(), "{nanos}");
        names.push((name.to_owned(), count.parse::<usize>().unwrap()));
    }
    assert_eq!(names.iter().map(|(_, count)| *count).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
    assert!(names.iter().all(|(name, _)| *name == names[0].0));
}

#[tokio::test]
async fn paths_are_exact() {
    let server = Server::new();
    for path in [
        "/nothing",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/instances/",
        "/api/v1/services/",
        "/api/v1/services/a/",
        "/api/v1/services/a/b",
        "/api/v1/instances/a/heartbeat/",
        "/api/v1/instances/a/other",
        "/API/v1/services",
        "//api/v1/services",
        "/api//v1/services",
        "/api/v1/./services",
        "/api/v1/../v1/services",
        "/api/v1%2Fservices",
        "/uptime/",
        "/health",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.refused(404), "Resource not found", "{path}");
    }
    let answer = server.send("OPTIONS *", &[], "").await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn methods_are_those_of_the_table() {
    let server = Server::new();
    for route in Route::ALL.into_iter().filter(|route| *route != Route::Nowhere) {
        let path = route.pattern().replace("{id}", "x").replace("{name}", "x");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "BREW"] {
            let answer = server.send(&format!("{method} {path}"), &[], "").await;
            let allowed = route.allow().split(", ").any(|allowed| allowed == method);
            assert_eq!(answer.status != 405, allowed, "{method} {path}");
            if !allowed {
                assert_eq!(answer.header("allow"), route.allow());
                // Where a Eureka client listens, a status says it all.
                let is_told = !path.starts_with("/eureka") && method != "HEAD";
                assert!(!is_told || answer.refused(405) == "Method not allowed");
            }
        }
        let answer = server.send(&format!("OPTIONS {path}"), &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, route.allow()));
        assert!(answer.body.is_empty() && !answer.headers.contains_key("content-length"));
    }
    for line in SERVED {
        let (method, path) = line.split_once(' ').unwrap();
        let patterns = Route::ALL.iter().filter(|r| r.allow().split(", ").any(|allowed| allowed == method));
        assert!(
            patterns.clone().any(|r| r.pattern().replace("{id}", "x").replace("{name}", "x") == path),
            "{line} is in no row of the table"
        );
    }
}

#[tokio::test]
async fn a_head_is_the_answer_without_its_body() {
    let server = Server::new();
    server.register("x", "1:1", "").await;
    let id = server.register("x", "2:1", r#","tags":["a"]"#).await;
    let instance = format!("/api/v1/instances/{id}");
    for path in [
        "/api/v1/instances",
        "/api/v1/services",
        "/api/v1/services/x",
        &instance,
        "/",
        "/swagger",
        "/nothing",
        "/api/v1/services/none",
    ] {
        let get = server.get(path).await;
        let head = server.send(&format!("HEAD {path}"), &[], "").await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["content-length", "content-type", "etag", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn bodies_are_json_wherever_they_are_sent() {
    let server = Server::new();
    for line in &SERVED[..9] {
        for content_type in
            ["text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded"]
        {
            let answer = server.send(line, &[("content-type", content_type)], "x").await;
            assert_eq!(
                answer.refused(415),
                "Bad Content-Type or charset, expected 'application/json'",
                "{line}"
            );
            assert_eq!(answer.json()["got"], content_type);
        }
        assert_eq!(server.send(line, &[], "x").await.json()["got"], "nothing");
        assert_ne!(
            server.send(line, &[("content-type", "application/json")], "{}").await.status,
            415,
            "{line}"
        );
        assert_ne!(server.send(line, &[("content-type", "text/plain")], "").await.status, 415, "{line}");
        let zero = [("content-type", "text/plain"), ("content-length", "00")];
        assert_ne!(server.send(line, &zero, "").await.status, 415, "{line}");
    }
}

#[tokio::test]
async fn ids_in_paths_are_decoded_or_refused() {
    let server = Server::new();
    let id = server.register("x", "1:1", "").await;
    let encoded: String = id.bytes().map(|b| format!("%{b:02X}")).collect();
    server.send(&format!("PUT /api/v1/instances/{encoded}/heartbeat"), &[], "").await.ok();
    server.register("my svc", "1:1", "").await;
    assert_eq!(server.get("/api/v1/services/my%20svc").await.ok().json()["service_name"], "my svc");
    server.register("plus+one/x", "1:1", "").await;
    server.get("/api/v1/services/plus+one%2Fx").await.ok();
    for line in [
        "PUT /api/v1/instances/%zz/heartbeat",
        "PUT /api/v1/instances/%ff/status",
        "DELETE /api/v1/instances/a%2",
        "GET /api/v1/instances/%C3%28",
    ] {
        let answer = server.send(line, &[], "").await;
        assert_eq!(answer.refused(400), "Malformed path");
        assert_eq!(answer.json()["field"], "id", "{line}");
    }
    let answer = server.get("/api/v1/services/%80").await;
    assert_eq!((answer.status.as_u16(), answer.json()["field"].as_str()), (400, Some("name")));
    for line in ["PUT /api/v1/instances//heartbeat", "PUT /api/v1/instances//status"] {
        assert_eq!(server.send(line, &[], "").await.refused(400), "Missing instance identifier");
    }
}

#[tokio::test]
async fn operators_routes() {
    let server = Server::new();
    let root = server.send("GET /?x=1", &[("authorization", "Basic x")], "").await;
    assert_eq!((root.status, root.body.len(), root.header("content-length")), (StatusCode::OK, 0, "0"));
    assert_eq!(server.get("/uptime").await.ok().json()["UPTIME"]["healthy"], true);
    assert_eq!(server.get("/health/live").await.ok().json()["status"], "alive");
    assert_eq!(server.get("/health/ready").await.ok().json()["status"], "ready");
    assert!(server.get("/swagger").await.ok().json()["openapi"].is_string());
}

#[tokio::test]
async fn requests_are_counted_by_route_and_class() {
    let server = Server::new();
    for line in
        ["GET /api/v1/services", "GET /api/v1/services/none", "GET /api/v1/services/other", "PUT /secret"]
    {
        server.send(line, &[], "").await;
    }
    let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
    let answer = server.send("GET /metrics", &accept, "").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"a8_http_requests_total{route="/api/v1/services",code="2xx"} 1"#,
        r#"a8_http_requests_total{route="/api/v1/services/{name}",code="4xx"} 2"#,
        r#"a8_http_requests_total{route="(none)",code="4xx"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(!text.contains("secret"));
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn numbers_of_one_namespace_are_for_operators() {
    const NAME: &str = "a8_of_one_namespace";
    let shown = async |server: &Server, headers: &[(&str, &str)]| {
        let answer = server.send("GET /metrics", headers, "").await;
        String::from_utf8(answer.ok().body.to_vec()).unwrap().contains(NAME)
    };
    assert!(shown(&Server::new(), &[]).await);
    assert!(!shown(&Choices { detail: Detail::Nobody, ..Choices::default() }.server(), &[]).await);
    let guarded = Choices { detail: Detail::for_token("t0p"), ..Choices::default() }.server();
    assert!(shown(&guarded, &[("authorization", "Bearer t0p")]).await);
    for wrong in ["Bearer t0", "Bearer t0pp", "Basic t0p", "t0p", "Bearer "] {
        assert!(!shown(&guarded, &[("authorization", wrong)]).await, "{wrong}");
    }
    let empty = Choices { detail: Detail::for_token(""), ..Choices::default() }.server();
    assert!(!shown(&empty, &[("authorization", "Bearer ")]).await);
    assert!(!format!("{:?}", Detail::for_token("t0p")).contains("t0p"));
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::new();
    let send = async |uri: &str, hosts: &[&str], version| {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        server.answer(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    for (uri, hosts, version, status) in [
        ("/api/v1/services", &["h"][..], Version::HTTP_11, 200),
        ("/api/v1/services", &[""], Version::HTTP_11, 200),
        ("http://h/api/v1/services", &[], Version::HTTP_11, 200),
        ("/api/v1/services", &[], Version::HTTP_10, 200),
        ("http://h/api/v1/services", &[], Version::HTTP_2, 200),
        ("/api/v1/services", &[], Version::HTTP_11, 400),
        ("/api/v1/services", &["h", "h"], Version::HTTP_11, 400),
    ] {
        assert_eq!(send(uri, hosts, version).await, status, "{uri} {hosts:?} {version:?}");
    }
}

//! Who is let in, by which scheme, and as whom.

use super::*;

#[tokio::test]
async fn a_refused_token_is_explained() {
    let server = Choices::trusted().server();
    let missing = "Missing request Authorization header";
    let malformed = "Malformed request Authorization header, expecting Bearer Token";
    let invalid = "Authorization failure, invalid token";
    let long = format!("Bearer {}", "n".repeat(257));
    for (headers, want) in [
        (&[][..], missing),
        (&[("authorization", "")], missing),
        (&[("authorization", "Bearer ")], malformed),
        (&[("authorization", "Token acme")], malformed),
        (&[("authorization", "acme")], malformed),
        (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], malformed),
        (&[("authorization", &long)], invalid),
    ] {
        for line in ["GET /api/v1/services", "POST /api/v1/instances", "PUT /api/v1/instances/%zz/heartbeat"]
        {
            let answer = server.send(line, headers, "").await;
            assert_eq!(answer.refused(401), want, "{headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(!answer.json()["reason"].as_str().unwrap().is_empty());
            assert!(!String::from_utf8_lossy(&answer.body).contains("acme"));
        }
    }
    for token in ["Bearer acme", "bearer acme", "Bearer  acme", "Bearer acme 2"] {
        server.send("GET /api/v1/services", &[("authorization", token)], "").await.ok();
    }
}

#[tokio::test]
async fn tokens_are_judged_before_bodies_and_not_elsewhere() {
    let server = Choices::trusted().server();
    let answer = server.send("POST /api/v1/instances", &[("content-type", "application/json")], "{").await;
    assert_eq!(answer.status, 401);
    // A body that would never come is not waited for.
    let endless = Body::new(http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::convert::Infallible>,
    >()));
    assert_eq!(server.send("POST /api/v1/instances", &[], endless).await.status, 401);
    assert_eq!(server.get("/nothing").await.status, 404);
    assert_eq!(server.send("PUT /api/v1/instances", &[], "").await.status, 405);
    assert_eq!(server.send("OPTIONS /api/v1/instances", &[], "").await.status, 204);
    server.get("/").await.ok();
    server.get("/uptime").await.ok();
}

#[tokio::test]
async fn a_namespace_sees_only_itself() {
    let server = Choices::trusted().server();
    let json = ("content-type", "application/json");
    let body = r#"{"service_name":"s","endpoint":{"type":"http","value":"h:1"}}"#;
    let of = |name: &'static str| [("authorization", name), json];
    let id = server.send("POST /api/v1/instances", &of("Bearer a"), body).await.json()["id"].to_string();
    let id = id.trim_matches('"').to_owned();
    assert_eq!(server.send("GET /api/v1/instances", &of("Bearer a"), "").await.ids().len(), 1);
    assert_eq!(server.send("GET /api/v1/instances", &of("Bearer b"), "").await.ids().len(), 0);
    assert_eq!(server.send("GET /api/v1/services/s", &of("Bearer b"), "").await.status, 404);
    assert_eq!(server.send(&format!("GET /api/v1/instances/{id}"), &of("Bearer b"), "").await.status, 404);
    for line in [format!("PUT /api/v1/instances/{id}/heartbeat"), format!("DELETE /api/v1/instances/{id}")] {
        assert_eq!(server.send(&line, &of("Bearer b"), "").await.status, 410);
    }
    server.send("POST /api/v1/instances", &of("Bearer b"), body).await;
    server.send(&format!("DELETE /api/v1/instances/{id}"), &of("Bearer a"), "").await.ok();
    server.send(&format!("PUT /api/v1/instances/{id}/heartbeat"), &of("Bearer b"), "").await.ok();
    // An entity tag of one namespace says nothing in another, not even that nothing is there.
    let tag = server.send("GET /api/v1/services", &of("Bearer c"), "").await.header("etag").to_owned();
    let again = [("authorization", "Bearer b"), ("if-none-match", &tag)];
    server.send("GET /api/v1/services", &again, "").await.ok();
}

#[tokio::test]
async fn namespaces_are_bounded() {
    let server = Choices::trusted().server();
    let body = r#"{"service_name":"s","endpoint":{"type":"http","value":"h:1"}}"#;
    for (namespace, status) in [("a", 201), ("b", 201), ("c", 201), ("d", 403), ("a", 201)] {
        let token = format!("Bearer {namespace}");
        let headers = [("authorization", &*token), ("content-type", "application/json")];
        let answer = server.send("POST /api/v1/instances", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{namespace}");
        if status == 403 {
            assert_eq!(answer.refused(403), "Failed to register instance");
            assert_eq!(answer.json()["reason"], "there are 3 namespaces, which is the most that are allowed");
        }
    }
}

fn strict(proxies: Proxies) -> Server {
    Choices { require_https: true, proxies, ..Choices::trusted() }.server()
}

#[tokio::test]
async fn plain_requests_are_sent_to_https() {
    let server = strict(Proxies::Everybody);
    for (line, status, location) in [
        (
            "GET /api/v1/services?x=1&y=a%20b",
            301,
            "https://registry.example:8080/api/v1/services?x=1&y=a%20b",
        ),
        ("HEAD /api/v1/services/a%2Fb", 301, "https://registry.example:8080/api/v1/services/a%2Fb"),
        ("POST /api/v1/instances", 308, "https://registry.example:8080/api/v1/instances"),
        (
            "PUT /api/v1/instances/a/heartbeat",
            308,
            "https://registry.example:8080/api/v1/instances/a/heartbeat",
        ),
        ("GET http://u:p@other.example/api/v1/services", 301, "https://other.example/api/v1/services"),
    ] {
        let answer = server.send(line, &[("authorization", "Basic x")], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, location), "{line}");
        assert!(answer.body.is_empty());
    }
    let answer = server.send("GET /api/v1/services", &[("host", "")], "").await;
    assert_eq!(answer.refused(400), "Missing Host header");
    for (path, status) in [("/", 200), ("/uptime", 200), ("/nothing", 404)] {
        assert_eq!(server.get(path).await.status.as_u16(), status);
    }
    assert_eq!(server.send("PUT /api/v1/instances", &[], "").await.status, 405);
}

#[tokio::test]
async fn proxies_and_tls_make_a_request_secure() {
    let token = ("authorization", "Bearer a");
    let remote: SocketAddr = "10.1.2.3:99".parse().unwrap();
    let everybody = strict(Proxies::Everybody);
    let ours = strict(Proxies::These(vec!["10.0.0.0/8".parse().unwrap()]));
    let others = strict(Proxies::These(vec!["192.168.0.0/16".parse().unwrap()]));
    for (headers, by_proxy) in [
        (&[token, ("x-forwarded-proto", "https")][..], true),
        (&[token, ("$wssc", "https")], true),
        (&[token, ("x-forwarded-proto", "https"), ("$wssc", "http")], true),
        (&[token, ("x-forwarded-proto", "http")], false),
        (&[token, ("x-forwarded-proto", "HTTPS")], false),
        (&[token, ("x-forwarded-proto", "https, http")], false),
        (&[token, ("forwarded", "proto=https")], false),
        (&[token], false),
    ] {
        for (server, trusted) in [(&everybody, true), (&ours, true), (&others, false)] {
            let answer = server.send_from("GET /api/v1/services", headers, remote, false).await;
            assert_eq!(answer.status == 200, by_proxy && trusted, "{headers:?}");
            server.send_from("GET /api/v1/services", headers, remote, true).await.ok();
        }
        let answer = ours.send("GET /api/v1/services", headers, "").await;
        assert_ne!(answer.status, 200, "without a peer nobody is trusted");
    }
    others.send("GET https://h/api/v1/services", &[token], "").await.ok();
}

//! Registering, renewing, changing and ending.

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_registration_is_answered_with_its_links() {
    let server = Server::new();
    let body = r#"{"service_name":"billing","endpoint":{"type":"http","value":"10.0.0.1:8080"}}"#;
    for (headers, base) in [
        (&[JSON][..], "http://registry.example:8080"),
        (&[JSON, ("host", "[::1]:9000")], "http://[::1]:9000"),
        (&[JSON, ("host", "REGISTRY.Example")], "http://REGISTRY.Example"),
        (&[JSON, ("x-forwarded-proto", "https"), ("$wssc", "http")], "https://registry.example:8080"),
        (&[JSON, ("x-forwarded-host", "o"), ("x-forwarded-port", "1")], "http://registry.example:8080"),
        (&[JSON, ("host", "")], ""),
        (&[JSON, ("host", "\u{e9}")], ""),
    ] {
        let answer = server.send("POST /api/v1/instances", headers, body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let this = format!("{base}/api/v1/instances/20a12a48f6ae0566");
        assert_eq!(answer.header("location"), this);
        let want = serde_json::json!({ "id": "20a12a48f6ae0566", "ttl": 30, "links":
            { "self": this, "heartbeat": format!("{this}/heartbeat") } });
        assert_eq!(answer.json(), want);
    }
    let answer = server.send("POST https://abs.example/api/v1/instances", &[JSON], body).await;
    assert_eq!(answer.header("location"), "https://abs.example/api/v1/instances/20a12a48f6ae0566");
}

async fn check_refused(server: &Server, body: &str, text: &str, field: &str, got: &str) {
    let answer = server.post(body).await;
    assert_eq!(answer.refused(400), text, "{body}");
    let json = answer.json();
    assert_eq!((json["field"].as_str(), json["got"].as_str()), (Some(field), Some(got)), "{body}: {json}");
    assert!(json["wanted"].is_string(), "{body}: {json}");
}

#[tokio::test]
async fn a_refused_registration_names_field_got_and_wanted() {
    let server = Server::new();
    let failed = "Failed to register instance";
    let name = "s".repeat(65);
    let with = |members: &str| {
        format!(r#"{{"service_name":"s","endpoint":{{"type":"http","value":"h"}},{members}}}"#)
    };
    for (body, text, field, got) in [
        (String::new(), failed, "body", "EOF while parsing a value at line 1 column 0"),
        ("{} {}".into(), failed, "body", "trailing characters at line 1 column 4"),
        ("[]".into(), failed, "body", "a list"),
        (with(r#""ttl":"30""#), failed, "ttl", "the text \"30\""),
        (with(r#""ttl":4294967296"#), failed, "ttl", "the number 4294967296"),
        (with(r#""tags":[1]"#), failed, "tags", "a list that holds the number 1"),
        ("null".into(), "Service name is required", "service_name", "nothing"),
        (r#"{"service_name":"s"}"#.into(), "Instance endpoint is required", "endpoint", "nothing"),
        (
            r#"{"service_name":"s","endpoint":{"type":"http"}}"#.into(),
            "Endpoint type or value are missing",
            "endpoint.value",
            "nothing",
        ),
        (
            r#"{"service_name":"s","endpoint":{"type":"HTTP","value":"h"}}"#.into(),
            "Endpoint type is invalid",
            "endpoint.type",
            "HTTP",
        ),
        (with(r#""status":"DOWN""#), "Valid statuses are: UP, STARTING, OUT_OF_SERVICE", "status", "DOWN"),
        (
            format!(r#"{{"service_name":"{name}","endpoint":{{"type":"http","value":"h"}}}}"#),
            "Failed to register the instance because service name value exceeded 64 bytes",
            "service_name",
            "65 bytes",
        ),
        (
            format!(r#"{{"service_name":"s","endpoint":{{"type":"http","value":"{name}{name}"}}}}"#),
            "Failed to register the instance because endpoint value exceeded 128 bytes",
            "endpoint.value",
            "130 bytes",
        ),
        (
            with(&format!(r#""metadata":"{}""#, "m".repeat(1023))),
            "Failed to register the instance because metadata value exceeded 1024 bytes",
            "metadata",
            "1025 bytes",
        ),
        (
            with(&format!(r#""metadata":{}{}"#, "[".repeat(40), "]".repeat(40))),
            "Instance metadata is not valid JSON",
            "metadata",
            "is nested more than 32 levels deep",
        ),
    ] {
        check_refused(&server, &body, text, field, got).await;
    }
    assert!(server.get("/api/v1/instances").await.ids().is_empty());
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::new();
    let to_length = |text: &str, len| text.to_owned() + &" ".repeat(len - text.len());
    let padded = |len| to_length(r#"{"service_name":"s","endpoint":{"type":"tcp","value":"x"}}"#, len);
    assert_eq!(server.post(&padded(65536)).await.status, StatusCode::CREATED);
    let answer = server.post(&padded(65537)).await;
    assert_eq!(answer.refused(413), "Request body is too large");
    assert_eq!(answer.json()["wanted"], "at most 65536 bytes");
    let batch = |len| to_length("[]", len);
    server.send("PUT /api/v1/heartbeats", &[JSON], batch(262_144)).await.ok();
    assert_eq!(server.send("PUT /api/v1/heartbeats", &[JSON], batch(262_145)).await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let server = Server::new();
    let stuck = Body::new(http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::convert::Infallible>,
    >()));
    let answer = server.send("POST /api/v1/instances", &[], stuck).await;
    assert_eq!(answer.refused(408), "Request body did not come in time");
    assert_eq!(answer.json()["wanted"], "all of it within 30 seconds");
}

#[tokio::test]
async fn a_namespace_has_room_for_its_capacity() {
    let server = Choices { capacity: Some(1), ..Choices::default() }.server();
    let id = server.register("s", "1:1", "").await;
    let answer = server.post(r#"{"service_name":"s","endpoint":{"type":"http","value":"2:1"}}"#).await;
    assert_eq!(answer.refused(403), "Failed to register instance");
    assert_eq!(answer.json()["reason"], "the namespace holds 1 instances, which is its capacity");
    server.register("s", "1:1", r#","ttl":60"#).await;
    server.send(&format!("DELETE /api/v1/instances/{id}"), &[], "").await.ok();
    server.register("s", "2:1", "").await;
}

#[tokio::test]
async fn a_renewal_is_an_empty_200_or_a_410() {
    let server = Server::new();
    let id = server.register("s", "1:1", "").await;
    let line = format!("PUT /api/v1/instances/{id}/heartbeat?x=1");
    for body in ["", r#"{"ignored":true}"#, "not json"] {
        let answer = server.send(&line, &[JSON], body).await;
        assert_eq!((answer.ok().body.len(), answer.header("content-length")), (0, "0"));
    }
    let gone = server.send("PUT /api/v1/instances/0123456789abcdef/heartbeat", &[], "").await;
    assert_eq!(gone.refused(410), "Failed to renew instance registration");
    let line = format!("DELETE /api/v1/instances/{id}?x=1");
    assert!(server.send(&line, &[], "").await.ok().body.is_empty());
    assert_eq!(server.send(&line, &[], "").await.refused(410), "Failed to deregister instance");
}

#[tokio::test]
async fn a_batch_answers_each_id_for_itself() {
    let server = Server::new();
    let (a, b) = (server.register("s", "1:1", "").await, server.register("s", "2:1", "").await);
    let failed = "Failed to renew instance registration";
    let body = format!(r#"{{"IDs":["{a}","no\"ne","{b}","{a}"]}}"#);
    let answer = server.send("PUT /api/v1/heartbeats", &[JSON], body).await;
    let want = serde_json::json!({ "results": [
        { "id": a, "status": 200 },
        { "id": "no\"ne", "status": 410, "Error": failed },
        { "id": b, "status": 200 },
        { "id": a, "status": 200 },
    ] });
    assert_eq!(answer.ok().json(), want);
    let bare = server.send("PUT /api/v1/heartbeats", &[JSON], format!(r#"["{b}"]"#)).await;
    assert_eq!(bare.ok().json()["results"][0]["status"], 200);

    let many = |n| format!("[{}]", vec![r#""x""#; n].join(","));
    let answer = server.send("PUT /api/v1/heartbeats", &[JSON], many(10_000)).await;
    assert_eq!(answer.ok().json()["results"].as_array().unwrap().len(), 10_000);
    let answer = server.send("PUT /api/v1/heartbeats", &[JSON], many(10_001)).await;
    assert_eq!(answer.refused(413), "Too many instances in one request");
    for body in ["", "{}", "null", "[1]", r#"{"ids":{}}"#] {
        assert_eq!(server.send("PUT /api/v1/heartbeats", &[JSON], body).await.refused(400), failed, "{body}");
    }
}

#[tokio::test]
async fn a_status_is_set_by_body_or_parameter() {
    let server = Server::new();
    let id = server.register("s", "1:1", "").await;
    let line = format!("PUT /api/v1/instances/{id}/status");
    for (query, body, want) in [
        ("", r#"{"status":"starting"}"#, "STARTING"),
        ("?value=OUT_OF_SERVICE", "", "OUT_OF_SERVICE"),
        ("?value=OUT_OF_SERVICE", r#"{"Status":"UP"}"#, "UP"),
    ] {
        let answer = server.send(&format!("{line}{query}"), &[JSON], body).await;
        assert_eq!(answer.ok().json(), serde_json::json!({ "id": id, "status": want }));
        let instance = server.get(&format!("/api/v1/instances/{id}")).await.ok().json();
        assert_eq!(instance["status"], want);
    }
    let valid = "Valid statuses are: UP, STARTING, OUT_OF_SERVICE";
    for (query, body, want) in [
        ("", "", "No status value set"),
        ("?value=", "", "No status value set"),
        ("?value=UP", "{}", "No status value set"),
        ("?value=DOWN", "", valid),
        ("", r#"{"status":"ALL"}"#, valid),
        ("", r#"{"status":1}"#, "Failed to set instance status"),
        ("", "{", "Failed to set instance status"),
    ] {
        let answer = server.send(&format!("{line}{query}"), &[JSON], body).await;
        assert_eq!(answer.refused(400), want, "{query} {body}");
    }
    let gone = server.send("PUT /api/v1/instances/none/status?value=UP", &[], "").await;
    assert_eq!(gone.refused(410), "Failed to set instance status");
}

//! Lists, single reads, and readers that have the answer already.

use std::io::Read;

use flate2::read::GzDecoder;

use super::*;

fn unzipped(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn an_empty_namespace_has_empty_lists() {
    let server = Server::new();
    assert_eq!(&server.get("/api/v1/instances").await.ok().body[..], br#"{"instances":[]}"#);
    assert_eq!(&server.get("/api/v1/services?nosuch=1").await.ok().body[..], br#"{"services":[]}"#);
    assert_eq!(server.get("/api/v1/services/none").await.refused(404), "Service name not found");
    assert_eq!(server.get("/api/v1/instances/none").await.refused(404), "Instance not found");
}

#[tokio::test]
async fn lists_show_what_is_selected() {
    let server = Server::new();
    let up = server.register("a", "up:1", r#","tags":["x","y"],"metadata":{"k":1},"ttl":60"#).await;
    let starting = server.register("a", "st:1", r#","status":"STARTING","tags":["x"]"#).await;
    let other = server.register("b \\\"q\\\"", "b:1", "").await;
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<_> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    for (query, want) in [
        ("", sorted(&[&up, &other])),
        ("?status=all", sorted(&[&up, &starting, &other])),
        ("?status=NOSUCH", vec![]),
        ("?service_name=a", sorted(&[&up, &starting])),
        ("?tags=x", sorted(&[&up, &starting])),
        ("?tags=x,y&status=UP", sorted(&[&up])),
        ("?fields=&tags=x,y", sorted(&[&up])),
        ("?service_name=%FF", vec![]),
    ] {
        assert_eq!(server.get(&format!("/api/v1/instances{query}")).await.ids(), want, "{query}");
    }
    let answer = server.get("/api/v1/instances?fields=tags,ttl&service_name=a&status=UP").await;
    let endpoint = serde_json::json!({ "type": "http", "value": "up:1" });
    let want = serde_json::json!({ "instances":
        [{ "id": up, "endpoint": endpoint, "ttl": 60, "tags": ["x", "y"] }] });
    assert_eq!(answer.ok().json(), want);
    let service = server.get("/api/v1/services/b%20%22q%22?status=STARTING").await;
    assert_eq!(service.ok().json()["service_name"], "b \"q\"");
    assert_eq!(service.ids(), [other]);
    assert_eq!(server.get("/api/v1/services/a").await.ids(), sorted(&[&up, &starting]));
    assert_eq!(
        server.get("/api/v1/services").await.json(),
        serde_json::json!({ "services": ["a", "b \"q\""] })
    );
}

#[tokio::test]
async fn what_cannot_be_selected_is_named() {
    let server = Server::new();
    let answer = server.get("/api/v1/instances?fields=ttl,bogus&nosuch=1").await;
    assert_eq!(answer.refused(400), "Undefined or malformed instance fields in filter");
    assert_eq!((&answer.json()["field"], &answer.json()["got"]), (&"fields".into(), &"bogus".into()));
    let answer = server.get("/api/v1/instances?nosuch=1").await;
    assert_eq!(answer.refused(400), "Malformed or invalid instance selection criteria");
    assert_eq!(answer.json()["field"], "nosuch");
}

#[tokio::test]
async fn one_instance_is_read_with_its_links() {
    let server = Server::new();
    let id = server.register("a", "1:1", r#","metadata":null"#).await;
    let answer = server.get(&format!("/api/v1/instances/{id}")).await;
    let mut instance = answer.ok().json();
    let links = instance.as_object_mut().unwrap().remove("links").unwrap();
    let this = format!("http://registry.example:8080/api/v1/instances/{id}");
    assert_eq!(links, serde_json::json!({ "self": this, "heartbeat": format!("{this}/heartbeat") }));
    assert_eq!(server.get("/api/v1/services/a").await.json()["instances"][0], instance);
    assert_eq!(instance["metadata"], Value::Null);
}

#[tokio::test]
async fn a_reader_that_has_the_answer_gets_304() {
    let server = Server::new();
    let id = server.register("a", "1:1", "").await;
    let instance = format!("/api/v1/instances/{id}");
    for path in ["/api/v1/instances", "/api/v1/services", "/api/v1/services/a", &instance] {
        let first = server.get(path).await;
        let tag = first.ok().header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        assert_eq!(first.header("cache-control"), "no-cache");
        for known in [&tag, "*", &format!("\"x\", {tag}"), tag.strip_prefix("W/").unwrap()] {
            let again = server.send(&format!("GET {path}"), &[("if-none-match", known)], "").await;
            assert_eq!((again.status.as_u16(), again.header("etag")), (304, &*tag), "{path} {known}");
            assert!(again.body.is_empty() && !again.headers.contains_key("content-length"), "{path}");
        }
        server.send(&format!("PUT {instance}/heartbeat"), &[], "").await.ok();
        let renewed = server.send(&format!("GET {path}"), &[("if-none-match", &tag)], "").await;
        assert_eq!(renewed.status, 304, "a renewal changes no answer");
        server.register("other", path, "").await;
        let changed = server.send(&format!("GET {path}"), &[("if-none-match", &tag)], "").await;
        assert_ne!(changed.ok().header("etag"), tag);
    }
    for path in ["/api/v1/services/none", "/api/v1/instances/none"] {
        assert_eq!(server.send(&format!("GET {path}"), &[("if-none-match", "*")], "").await.status, 404);
    }
    let bad = server.send("GET /api/v1/instances?nosuch=1", &[("if-none-match", "*")], "").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it() {
    let server = Server::new();
    for n in 0..50 {
        server
            .register(&format!("service-number-{n}"), &format!("10.0.0.{n}:8080"), r#","tags":["one"]"#)
            .await;
    }
    for path in [
        "/api/v1/instances",
        "/api/v1/instances?fields=tags",
        "/api/v1/services",
        "/api/v1/services/service-number-7",
    ] {
        let plain = server.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        let coded =
            server.send(&format!("GET {path}"), &[("accept-encoding", "deflate, gzip;q=0.9")], "").await;
        assert_eq!(coded.header("vary"), "Accept-Encoding");
        assert_eq!(unzipped(&coded), plain.json(), "{path}");
        let refused = server.send(&format!("GET {path}"), &[("accept-encoding", "gzip;q=0")], "").await;
        assert_eq!(refused.json(), plain.json());
    }
    for line in
        ["GET /nothing", "GET /", "GET /api/v1/instances?service_name=none", "DELETE /api/v1/instances/x"]
    {
        let answer = server.send(line, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(answer.header("content-encoding"), "", "{line} is too short to be compressed");
    }
}

#[tokio::test]
async fn long_lists_are_bounded_until_they_are_sent() {
    let limits = Limits { full_lists: 1, ..Limits::default() };
    let server = Choices { limits, ..Choices::default() }.server();
    let metadata = format!(r#","metadata":"{}""#, "m".repeat(1000));
    for n in 0..100 {
        server.register("a", &format!("{n}:1"), &metadata).await;
    }
    let request =
        || Request::builder().uri("/api/v1/instances").header("host", "h").body(Body::empty()).unwrap();
    let held = server.router.clone().oneshot(request()).await.unwrap();
    assert_eq!(held.status(), StatusCode::OK);
    let turned_away = server.get("/api/v1/services/a").await;
    assert_eq!(turned_away.refused(503), "Too many lists are being sent");
    assert_eq!(turned_away.header("retry-after"), "1");
    server.get("/api/v1/services").await.ok();
    let length: usize = held.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(held.into_body().collect().await.unwrap().to_bytes().len(), length);
    server.get("/api/v1/instances").await.ok();
    let request = Request::builder().uri("/api/v1/instances?service_name=none").header("host", "h");
    let short = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    server.get("/api/v1/instances").await.ok();
    drop(short);
}

#[tokio::test]
async fn long_lists_of_names_count_among_the_long_lists() {
    let limits = Limits { full_lists: 1, ..Limits::default() };
    let server = Choices { limits, ..Choices::default() }.server();
    for n in 0..1200 {
        server.register(&format!("{n:060}"), "h:1", "").await;
    }
    let names = server.get("/api/v1/services").await;
    assert_eq!(names.ok().json()["services"].as_array().map(Vec::len), Some(1200));
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(unzipped(&server.send("GET /api/v1/services", &gzip, "").await), names.json());
    let request =
        || Request::builder().uri("/api/v1/services").header("host", "h").body(Body::empty()).unwrap();
    let held = server.router.clone().oneshot(request()).await.unwrap();
    assert_eq!(held.headers()["content-length"], *names.body.len().to_string());
    for list in ["/api/v1/services", "/api/v1/instances"] {
        assert_eq!(server.get(list).await.refused(503), "Too many lists are being sent", "{list}");
    }
    assert_eq!(held.into_body().collect().await.unwrap().to_bytes(), names.body);
    server.get("/api/v1/services").await.ok();
}

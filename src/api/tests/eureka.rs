//! The Eureka API through the entrance: roots, tokens, languages, and who is told what of an error.

use std::io::Write;

use super::*;

/// Every root, and whether it is one below `/api/`.
const ROOTS: [(&str, bool); 6] = [
    ("/api/eureka/default/v2", true),
    ("/api/eureka//v2", true),
    ("/eureka/v2", false),
    ("/eureka", false),
    ("/v2", false),
    ("//eureka//v2", false),
];

const JSON: (&str, &str) = ("content-type", "application/json");
const XML: (&str, &str) = ("content-type", "application/xml");
const READS_JSON: (&str, &str) = ("accept", "application/json");
const READS_XML: (&str, &str) = ("accept", "application/xml");
const FROM_PEER: (&str, &str) = ("x-netflix-discovery-replication", "true");

const PAY: &str = r#"{"instance":{"instanceId":"pay-1","hostName":"h","app":"PAY","ipAddr":"10.1.0.1","vipAddress":"v1,v2","status":"UP","port":{"$":8080,"@enabled":"true"},"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"lastDirtyTimestamp":"1500000000001","metadata":{"k":"v"}}}"#;

impl Server {
    /// Registers `PAY`'s `pay-1` at version 1500000000001.
    async fn register_pay(&self, root: &str) {
        let answer = self.send(&format!("POST {root}/apps/PAY"), &[JSON], PAY).await;
        answer.empty(204);
    }
}

impl Answer {
    #[track_caller]
    fn empty(&self, status: u16) -> &Self {
        assert_eq!((self.status.as_u16(), &self.body[..]), (status, &b""[..]));
        self
    }
}

#[tokio::test]
async fn every_root_serves_the_same() {
    let server = Server::new();
    for (root, below_api) in ROOTS {
        for path in ["apps", "apps/", "apps;x=1", "apps?regions=eu"] {
            let answer = server.send(&format!("GET {root}/{path}"), &[READS_JSON], "").await;
            assert_eq!(answer.header("content-type"), "application/json", "{root}/{path}");
            assert_eq!(answer.header("vary"), "Accept, Accept-Encoding, X-Eureka-Accept");
            let want = r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#;
            assert_eq!(answer.ok().body, want, "{root}/{path}");
        }
        for path in ["apps", "apps/delta", "vips/none", "svips/none"] {
            let answer = server.send(&format!("GET {root}/{path}"), &[READS_XML], "").await;
            assert_eq!(answer.ok().header("content-type"), "application/xml", "{root}/{path}");
            let answer = server.get(&format!("{root}/{path}")).await;
            assert_eq!(answer.ok().header("content-type"), "application/xml", "{root}/{path} without Accept");
            let answer = server.send(&format!("GET {root}/{path}"), &[("accept", "*/*")], "").await;
            let want = if below_api { "application/json" } else { "application/xml" };
            assert_eq!(answer.ok().header("content-type"), want, "{root}/{path}");
            let answer = server.send(&format!("GET {root}/{path}"), &[("accept", "text/plain")], "").await;
            answer.empty(406);
        }
    }
}

#[tokio::test]
async fn instances_of_the_other_api_are_applications() {
    let server = Server::new();
    let id = server.register("shop", "10.2.0.1:8080", "").await;
    for (root, _) in ROOTS {
        for path in [
            format!("{root}/apps/SHOP/{id}"),
            format!("{root}/apps/shop/{id};v=1/"),
            format!("{root}/instances/{id}"),
        ] {
            let answer = server.send(&format!("GET {path}"), &[READS_JSON], "").await;
            assert_eq!(answer.ok().json()["instance"]["hostName"], "10.2.0.1", "{path}");
            let answer = server.send(&format!("GET {path}"), &[READS_XML], "").await;
            assert!(answer.ok().body.starts_with(b"<instance>"), "{path}");
        }
        let answer = server.send(&format!("GET {root}/apps/Shop"), &[READS_JSON], "").await;
        assert_eq!(answer.ok().json()["application"]["instance"].as_array().map(Vec::len), Some(1));
        let answer = server.send(&format!("GET {root}/vips/shop"), &[READS_JSON], "").await;
        assert_eq!(answer.ok().json()["applications"]["apps__hashcode"], "UP_1_");
        server.send(&format!("PUT {root}/apps/SHOP/{id}"), &[], "").await.empty(200);
        let answer = server.send(&format!("HEAD {root}/apps/shop"), &[READS_JSON], "").await;
        answer.empty(200);
        assert_ne!(answer.header("content-length"), "");
    }
}

#[tokio::test]
async fn a_heartbeat_is_answered_by_a_status_alone() {
    let server = Server::new();
    for (root, _) in ROOTS {
        for headers in [&[][..], &[READS_JSON], &[READS_XML], &[("accept", "text/plain")], &[JSON]] {
            let beat = server.send(&format!("PUT {root}/apps/PAY/none?status=UP"), headers, "").await;
            assert_eq!(beat.empty(404).headers.get("content-encoding"), None);
        }
        for line in [
            "DELETE {}/apps/PAY/none",
            "PUT {}/apps/PAY/none/status?value=UP",
            "DELETE {}/apps/PAY/none/status",
            "PUT {}/apps/PAY/none/metadata?k=v",
        ] {
            server.send(&line.replace("{}", root), &[READS_JSON], "").await.empty(404);
        }
        for line in [
            "PUT {}/apps/PAY/none?lastDirtyTimestamp=soon",
            "PUT {}/apps/PAY/%zz",
            "DELETE {}/apps/PAY/%ff",
            "PUT {}/apps/PAY/none/status",
            "PUT {}/apps/PAY/none/status?value=",
            "PUT {}/apps/PAY/none/status?value=GONE",
            "DELETE {}/apps/PAY/none/status?value=GONE",
            "PUT {}/apps/PAY/none/status?value=UP&lastDirtyTimestamp=x",
            "PUT {}/asg/x/status?value=ENABLED",
        ] {
            server.send(&line.replace("{}", root), &[READS_JSON], "").await.empty(400);
        }
    }
}

#[tokio::test]
async fn errors_of_reads_have_the_shape_of_their_root() {
    let server = Server::new();
    for (root, below_api) in ROOTS {
        for (line, status, text) in [
            ("GET {}/apps/NONE", 404, "Failed to look-up application"),
            ("GET {}/apps/NONE/x", 404, "Instance not found"),
            ("GET {}/instances/x", 404, "Instance not found"),
            ("GET {}/apps/%zz", 400, "Malformed path"),
            ("GET {}/v2/nothing", 404, "Resource not found"),
            ("GET {}/vips", 404, "Resource not found"),
            ("GET {}/apps/A/b/c/d", 404, "Resource not found"),
            ("POST {}/apps", 405, "Method not allowed"),
            ("GET {}/apps/A/b/status", 405, "Method not allowed"),
            ("DELETE {}/apps/A", 405, "Method not allowed"),
            ("GET {}/peerreplication/batch/", 405, "Method not allowed"),
        ] {
            let answer = server.send(&line.replace("{}", root), &[READS_JSON], "").await;
            match below_api {
                true => assert_eq!(answer.refused(status), text, "{line}"),
                false => assert_eq!(answer.empty(status).header("www-authenticate"), ""),
            }
            assert_eq!(answer.header("allow").is_empty(), status != 405, "{line}");
        }
        let options = server.send(&format!("OPTIONS {root}/apps/A/b"), &[], "").await;
        assert_eq!(options.empty(204).header("allow"), "DELETE, GET, HEAD, OPTIONS, PUT");
    }
    assert_eq!(
        server.get("/api/eureka/default/v2/apps//x").await.refused(400),
        "Missing application identifier"
    );
    for path in ["/api/eureka", "/api/eureka/", "/api/eureka/t", "/api/eureka/t/v2"] {
        assert_eq!(server.get(path).await.refused(404), "Resource not found", "{path}");
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again_in_the_same_form() {
    let server = Server::new();
    server.register("shop", "10.2.0.1:8080", "").await;
    for path in ["apps", "apps/delta", "apps/shop", "vips/shop"] {
        let line = format!("GET /eureka/v2/{path}");
        let first = server.send(&line, &[READS_JSON], "").await;
        let tag = ("if-none-match", first.ok().header("etag"));
        assert!(tag.1.starts_with("W/\""), "{path}");
        let again = server.send(&line, &[READS_JSON, tag], "").await;
        assert_eq!(again.empty(304).header("vary"), "Accept, Accept-Encoding, X-Eureka-Accept");
        server.send(&line, &[READS_XML, tag], "").await.ok();
        server.send(&line, &[READS_JSON, ("x-eureka-accept", "compact"), tag], "").await.ok();
        server.register("shop", "10.2.0.2:8080", &format!(r#","tags":["{path}"]"#)).await;
        server.send(&line, &[READS_JSON, tag], "").await.ok();
    }
}

#[tokio::test]
async fn tokens_are_where_each_root_has_them() {
    // acme's password, and no password
    let (basic, no_password) = ("Basic dXNlcjphY21l", "Basic dXNlcjo=");
    let server = Choices::trusted().server();
    let body = r#"{"service_name":"s","endpoint":{"type":"tcp","value":"s:1"}}"#;
    let acme = ("authorization", "Bearer acme");
    let posted = server.send("POST /api/v1/instances", &[JSON, acme], body).await;
    assert_eq!(posted.status, 201);
    for (path, authorization, sees) in [
        ("/api/eureka/acme/v2/apps/s", None, Some(true)),
        ("/api/eureka/ac%6de/v2/apps/s", None, Some(false)),
        ("/api/eureka/ACME/v2/apps/s", None, Some(false)),
        ("/api/eureka/other/v2/apps/s", Some("Bearer acme"), Some(true)),
        ("/api/eureka/acme/v2/apps/s", Some("Bearer other"), Some(false)),
        ("/api/eureka/acme/v2/apps/s", Some(""), Some(true)),
        ("/api/eureka/acme/v2/apps/s", Some(basic), None),
        ("/api/eureka//v2/apps/s", None, None),
        ("/eureka/v2/apps/s", Some("Bearer acme"), Some(true)),
        ("/eureka/apps/s", Some(basic), Some(true)),
        ("/v2/apps/s", Some("Bearer other"), Some(false)),
        ("/eureka/apps/s", None, None),
        ("/eureka/apps/s", Some(no_password), None),
        ("/eureka/apps/s", Some("Digest x"), None),
        ("/eureka", None, None),
        ("/eureka/serverinfo/statusoverrides", None, None),
    ] {
        let mut headers = vec![READS_JSON];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let answer = server.send(&format!("GET {path}"), &headers, "").await;
        match sees {
            Some(sees) => assert_eq!(answer.status.as_u16(), if sees { 200 } else { 404 }, "{path}"),
            None if path.starts_with("/api/") => {
                answer.refused(401);
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
            None => {
                let challenge = answer.empty(401).header("www-authenticate");
                assert_eq!(challenge, "Basic realm=\"a8registry\"", "{path}");
            }
        }
    }
    let beat = "PUT /eureka/apps/s/none";
    server.send(beat, &[], "").await.empty(401);
    server.send(beat, &[("authorization", basic)], "").await.empty(404);
    assert_eq!(server.send("PUT /api/eureka//v2/apps/s/none", &[], "").await.refused(401).len(), 36);
}

#[tokio::test]
async fn who_needs_no_token_may_send_any_on_the_netflix_roots() {
    let server = Server::new();
    for authorization in ["Bearer other", "Basic dXNlcjpwdw==", "nonsense"] {
        let header = ("authorization", authorization);
        server.send("GET /eureka/apps", &[header], "").await.ok();
        server.send("PUT /v2/apps/A/b", &[header], "").await.empty(404);
        server.send("GET /api/eureka/default/v2/apps", &[header], "").await.refused(401);
    }
    server.get("/api/eureka/other/v2/apps").await.refused(401);
}

#[tokio::test]
async fn plain_requests_are_sent_to_https() {
    let server = Choices { require_https: true, ..Choices::default() }.server();
    for (root, _) in ROOTS.into_iter().filter(|(root, _)| !root.starts_with("//")) {
        let answer = server.get(&format!("{root}/apps/")).await;
        let want = format!("https://registry.example:8080{root}/apps/");
        assert_eq!(answer.empty(301).header("location"), want);
        server.send(&format!("PUT {root}/apps/A/b"), &[], "").await.empty(308);
    }
}

#[tokio::test]
async fn registrations_are_read_in_both_languages() {
    let server = Server::new();
    let xml = "<instance><instanceId>x</instanceId><hostName>h</hostName><app>PAY</app>\
               <ipAddr>10.1.0.1</ipAddr><vipAddress>v</vipAddress>\
               <dataCenterInfo><name>MyOwn</name></dataCenterInfo></instance>";
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coder.write_all(PAY.as_bytes()).unwrap();
    let coded = coder.finish().unwrap();
    for (root, _) in ROOTS {
        let line = format!("POST {root}/apps/PAY");
        server.send(&line, &[JSON], PAY).await.empty(204);
        server.send(&line, &[("content-type", "application/json;charset=ISO-8859-1")], PAY).await.empty(204);
        server.send(&line, &[XML, READS_XML], xml).await.empty(204);
        server.send(&line, &[JSON, ("content-encoding", "gzip")], coded.clone()).await.empty(204);
        server.send(&format!("PUT {root}/apps/pay/pay-1"), &[JSON], "{}").await.empty(200);
        server.send(&format!("PUT {root}/apps/PAY/x"), &[], "").await.empty(200);
    }
}

#[tokio::test]
async fn refused_registrations_have_the_texts_of_their_root() {
    let server = Server::new();
    let no_host = PAY.replace(r#""hostName":"h","#, "");
    let other = PAY.replace(r#""app":"PAY""#, r#""app":"Other""#);
    let long = PAY.replace(r#""k":"v""#, &format!(r#""k":"{}""#, "x".repeat(17 * 1024)));
    for (headers, body, netflix, label, below_api) in [
        (
            &[JSON][..],
            "{",
            r#"{"error": "cannot parse request body"}"#,
            "application/json",
            "Failed to register instance",
        ),
        (
            &[XML, READS_JSON],
            "<instance>",
            "<error><message>cannot parse request body</message></error>",
            "application/xml",
            "Failed to register instance",
        ),
        (
            &[JSON],
            &no_host,
            "Missing hostname",
            "application/xml",
            "Missing required field(s): hostname, application, vipAddress or IPAddress",
        ),
        (
            &[JSON, READS_JSON],
            &other,
            "Mismatched appName, expecting PAY but was OTHER",
            "application/json",
            "Application name mismatch",
        ),
        (
            &[JSON, READS_JSON],
            &long,
            "",
            "application/json",
            "Failed to register the instance because metadata value exceeded 16384 bytes",
        ),
    ] {
        let answer = server.send("POST /eureka/apps/PAY", headers, body.to_owned()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.header("content-type"), label, "{body}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text == netflix || netflix.is_empty() && text.contains("metadata"), "{text}");
        let answer = server.send("POST /api/eureka/default/v2/apps/PAY", headers, body.to_owned()).await;
        assert_eq!(answer.refused(400), below_api);
    }
    for value in ["text/plain", "application/json;charset=utf-16"] {
        let header = ("content-type", value);
        server.send("POST /eureka/apps/PAY", &[header], PAY).await.empty(415);
        let answer = server.send("POST /api/eureka/default/v2/apps/PAY", &[header], PAY).await;
        assert_eq!(answer.refused(415), "Bad Content-Type or charset, expected 'application/json'");
    }
    server.send("POST /eureka/apps/PAY", &[], PAY).await.empty(415);
    server.send("POST /eureka/apps/PAY", &[JSON, ("content-encoding", "br")], PAY).await.empty(415);
    server.send("POST /eureka/apps/PAY", &[JSON, ("accept", "text/plain")], PAY).await.empty(406);
    assert_eq!(server.post("").await.refused(400), "Failed to register instance");
    let answer = server.send("POST /api/eureka/default/v2/apps/PAY", &[], "").await;
    assert_eq!(answer.refused(400), "Failed to register instance");
    server.get("/eureka/apps/PAY").await.empty(404);
}

#[tokio::test]
async fn a_full_namespace_is_forbidden() {
    let server = Choices { capacity: Some(0), ..Choices::default() }.server();
    server.send("POST /eureka/apps/PAY", &[JSON], PAY).await.empty(403);
    let answer = server.send("POST /api/eureka/default/v2/apps/PAY", &[JSON], PAY).await;
    assert_eq!(answer.refused(403), "Failed to register instance");
}

#[tokio::test]
async fn heartbeats_compare_versions() {
    let server = Server::new();
    server.register_pay("/eureka/v2").await;
    let beat = |millis: u64| format!("PUT /eureka/apps/PAY/pay-1?status=UP&lastDirtyTimestamp={millis}");
    let (older, equal, newer) = (beat(1_500_000_000_000), beat(1_500_000_000_001), beat(1_500_000_000_002));
    for (line, client, peer) in [(&older, 200, 409), (&equal, 200, 200), (&newer, 404, 404)] {
        server.send(line, &[], "").await.empty(client);
        server.send(line, &[("x-netflix-discovery-replication", "TRUE")], "").await.empty(client);
        let answer = server.send(line, &[FROM_PEER, READS_JSON], "").await;
        assert_eq!(answer.status.as_u16(), peer, "{line}");
        if peer == 409 {
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.json()["instance"]["lastDirtyTimestamp"], "1500000000001");
        } else {
            answer.empty(peer);
        }
    }
    for headers in [&[FROM_PEER][..], &[FROM_PEER, ("accept", "text/plain")]] {
        let answer = server.send(&older, headers, "").await;
        assert_eq!(answer.header("content-type"), "application/xml");
        assert!(answer.body.starts_with(b"<instance>"), "{:?}", answer.body);
    }
    let ours = server.send(&format!("{newer}&overriddenstatus=OUT_OF_SERVICE"), &[FROM_PEER], "").await;
    ours.empty(404);
    let answer = server.send("GET /eureka/apps/PAY/pay-1", &[READS_JSON], "").await;
    assert_eq!(answer.ok().json()["instance"]["overriddenStatus"], "OUT_OF_SERVICE");
}

#[tokio::test]
async fn a_colon_in_a_name_is_not_the_one_between_name_and_id() {
    let server = Server::new();
    let colon = PAY.replace(r#""app":"PAY""#, r#""app":"A:B""#).replace("pay-1", "C");
    server.send("POST /eureka/v2/apps/A%3AB", &[JSON], colon).await.empty(204);
    for (path, status) in
        [("a%3Ab/C", 200), ("A:B/C", 200), ("A/B%3AC", 404), ("a:b:c/", 405), ("X/A%3AB%3AC", 404)]
    {
        for root in ["/eureka/v2", "/api/eureka/default/v2"] {
            let beat = server.send(&format!("PUT {root}/apps/{path}"), &[READS_JSON], "").await;
            assert_eq!(beat.status.as_u16(), status, "{root}/apps/{path}");
        }
    }
    server.send("PUT /api/v1/instances/A:B:C/heartbeat", &[], "").await.ok();
}

#[tokio::test]
async fn status_and_metadata_are_changed_and_the_lease_is_ended() {
    let server = Server::new();
    server.register_pay("/v2").await;
    let at = "/api/eureka/default/v2/apps/pay/pay-1";
    let status = async || {
        let answer = server.send(&format!("GET {at}"), &[("accept", "*/*")], "").await;
        answer.ok().json()["instance"]["status"].as_str().unwrap().to_owned()
    };
    let overrides = async || {
        let answer = server.send("GET /eureka/serverinfo/statusoverrides", &[READS_JSON], "").await;
        String::from_utf8_lossy(&answer.ok().body).into_owned()
    };
    assert_eq!(overrides().await, "{}");
    server.send(&format!("PUT {at}/status?value=out_of_service"), &[], "").await.empty(200);
    assert_eq!(status().await, "OUT_OF_SERVICE");
    assert_eq!(overrides().await, r#"{"pay-1":"OUT_OF_SERVICE"}"#);
    server.send(&format!("DELETE {at}/status?value=UP"), &[], "").await.empty(200);
    assert_eq!((status().await, overrides().await), ("UP".to_owned(), "{}".to_owned()));
    server.send(&format!("DELETE {at}/status"), &[], "").await.empty(200);
    assert_eq!(status().await, "UP", "there was no override");
    server.send(&format!("PUT {at}/metadata?a=1&b=x+y&a=3&c="), &[], "").await.empty(200);
    let answer = server.send(&format!("GET {at}"), &[READS_JSON], "").await;
    let metadata = &answer.ok().json()["instance"]["metadata"];
    assert_eq!([&metadata["a"], &metadata["b"], &metadata["c"], &metadata["k"]], ["1", "x y", "", "v"]);
    let long = "x".repeat(17 * 1024);
    server.send(&format!("PUT {at}/metadata?a={long}"), &[], "").await.empty(400);
    server.send(&format!("DELETE {at}"), &[], "").await.empty(200);
    server.send(&format!("DELETE {at}"), &[], "").await.empty(404);
    server.send("GET /eureka/serverinfo/statusoverrides", &[READS_XML], "").await.empty(406);
}

#[tokio::test]
async fn batches_are_judged_item_by_item() {
    let server = Server::new();
    let instance = PAY.strip_prefix(r#"{"instance":"#).unwrap().strip_suffix('}').unwrap();
    let item = |members: &str| format!(r#"{{"appName":"PAY","id":"pay-1",{members}}}"#);
    let batch = [
        item(r#""action":"Heartbeat","lastDirtyTimestamp":1500000000001,"status":"UP""#),
        item(&format!(r#""action":"Register","instanceInfo":{instance}"#)),
        item(r#""action":"Register""#),
        item(&format!(r#""action":"Register","instanceInfo":{}"#, instance.replace("\"h\"", "\"\""))),
        item(r#""action":"Heartbeat","lastDirtyTimestamp":1500000000001,"status":"UP""#),
        item(r#""action":"Heartbeat","lastDirtyTimestamp":1500000000000,"status":"UP""#),
        item(r#""action":"StatusUpdate","lastDirtyTimestamp":1500000000001,"status":"OUT_OF_SERVICE""#),
        item(r#""action":"StatusUpdate""#),
        item(r#""action":"DeleteStatusOverride","status":"UP""#),
        item(r#""action":"Cancel""#),
        item(r#""action":"Cancel""#),
    ];
    let want = [404, 200, 400, 400, 200, 409, 200, 400, 200, 200, 404];
    let body = format!(r#"{{"replicationList":[{}]}}"#, batch.join(","));
    for (root, _) in ROOTS {
        let line = format!("POST {root}/peerreplication/batch/");
        let answer = server.send(&line, &[JSON, READS_JSON], body.clone()).await;
        assert_eq!(answer.ok().header("content-type"), "application/json");
        let answer = answer.json();
        let items = answer["responseList"].as_array().unwrap();
        let statuses: Vec<_> = items.iter().map(|item| item["statusCode"].as_u64().unwrap()).collect();
        assert_eq!(statuses, want, "{root}");
        assert_eq!(items[5]["responseEntity"]["instanceId"], "pay-1");
        let empty = server.send(&line, &[JSON], r#"{"replicationList":[]}"#).await;
        assert_eq!(empty.ok().body, r#"{"responseList":[]}"#);
        for body in ["{", "{}", r#"{"replicationList":[{"appName":"A","id":"b","action":"Dance"}]}"#] {
            assert_eq!(server.send(&line, &[JSON], body).await.status, 400, "{body}");
        }
    }
}

#[tokio::test]
async fn batches_are_bounded() {
    let limits = Limits { eureka_batch_body: 200, eureka_batch_items: 2, ..Limits::default() };
    let server = Choices { limits, ..Choices::default() }.server();
    let batch = |items: usize| {
        let items = vec![r#"{"appName":"A","id":"b","action":"Cancel"}"#; items];
        format!(r#"{{"replicationList":[{}]}}"#, items.join(","))
    };
    for (items, status) in [(2, 200), (3, 413), (9, 413)] {
        let answer = server.send("POST /v2/peerreplication/batch", &[JSON], batch(items)).await;
        assert_eq!(answer.status.as_u16(), status, "{items}");
    }
}

#[derive(Debug)]
struct TwoPeers;

impl crate::registry::Replicas for TwoPeers {
    fn has_taken_over(&self) -> bool {
        false
    }

    fn replicas(&self) -> Vec<crate::registry::Replica> {
        let of = |url: &str, is_available| crate::registry::Replica { url: url.into(), is_available };
        vec![of("http://a:1/eureka/", true), of("http://b:1/eureka/", false)]
    }
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let server = Server::new();
    server.api.show_replicas(Arc::new(TwoPeers));
    let answer = server.send("GET /eureka/v2/status", &[READS_JSON], "").await;
    let status = answer.ok().json();
    assert_eq!(status["applicationStats"]["registered-replicas"], "http://a:1/eureka/, http://b:1/eureka/");
    assert_eq!(status["applicationStats"]["available-replicas"], "http://a:1/eureka/,");
    assert_eq!(status["instanceInfo"]["hostName"], "registry.example");
    assert_eq!(status["instanceInfo"]["port"]["$"], 8080);
    assert_eq!(status["generalStats"]["lease-expiration-enabled"], "true");
    assert_eq!(status["generalStats"]["environment"], "a8registry");
    let answer = server.send("GET /eureka/v2/status", &[READS_XML], "").await;
    assert!(answer.ok().body.starts_with(b"<com.netflix.eureka.util.StatusInfo>"), "{:?}", answer.body);
}

#[tokio::test]
async fn pages_show_what_there_is_and_nothing_runs() {
    let server = Server::new();
    server.register("<b>shop</b>", "10.2.0.1:8080", "").await;
    for path in ["/eureka", "/eureka/", "/eureka/jsp/status.jsp", "/lastn", "/eureka/lastn"] {
        let answer = server.get(path).await;
        assert_eq!(answer.ok().header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        let html = String::from_utf8_lossy(&answer.body);
        assert!(html.contains("&lt;b&gt;shop&lt;/b&gt;"), "{path}: {html}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_resource_and_no_token_is_shown() {
    let server = Server::new();
    server.get("/api/eureka/default/v2/apps/x").await;
    server.send("PUT /eureka/apps/A/b", &[], "").await;
    server.get("/eureka/nothing/there").await;
    let metrics = server.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.ok().body);
    for route in ["/eureka/v2/apps/{app}\"", "/eureka/v2/apps/{app}/{id}\"", "(none)\""] {
        assert!(text.contains(&format!("route=\"{route}")), "{route}: {text}");
    }
    assert!(!text.contains("default/v2"));
}

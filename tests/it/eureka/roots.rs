//! What differs, and what must not, between the places where the API is found.
//!
//! Never: judges what a document holds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::eureka::{JDK_ACCEPT, JSON, ROOTS, document, start};
use crate::support::{Client, Daemon, Eureka};

fn basic(client: &Client, password: &str) -> Client {
    client.with(&format!("Authorization: Basic {}", STANDARD.encode(format!("any-user:{password}"))))
}

/// With a body behind a 404 the Java client never registers again.
#[test]
fn the_four_calls_are_answered_without_a_body_below_every_root() {
    let daemon = Daemon::start("");
    let bare = Eureka::of(&daemon);
    let clients = [bare.clone(), bare.with("Accept: application/json"), bare.with(JDK_ACCEPT)];
    for (root, client) in
        ROOTS.iter().flat_map(|root| clients.iter().map(move |client| (root, client.at(root))))
    {
        for (line, status) in [
            ("PUT apps/T/nobody", 404),
            ("PUT apps/T/nobody?status=UP&lastDirtyTimestamp=1", 404),
            ("DELETE apps/T/nobody", 404),
            ("PUT apps/T/nobody/status?value=DOWN", 404),
            ("DELETE apps/T/nobody/status", 404),
            ("PUT apps/T/nobody/metadata?k=v", 404),
            ("POST apps/T", 204),
            ("PUT apps/T/a", 200),
            ("PUT apps/T/a?status=UP&lastDirtyTimestamp=99999999999999", 404),
            ("PUT apps/T/a?lastDirtyTimestamp=x", 400),
            ("PUT apps/T/a/status?value=DOWN", 200),
            ("PUT apps/T/a/status?value=wobbly", 400),
            ("PUT apps/T/a/status", 400),
            ("DELETE apps/T/a/status?value=UP", 200),
            ("DELETE apps/T/a/status?value=wobbly", 400),
            ("PUT apps/T/a/metadata?k=v", 200),
            ("DELETE apps/T/a", 200),
            ("DELETE apps/T/a", 404),
        ] {
            let answer = match status {
                204 => client.post(&document("T", "a")),
                _ => client.ask(line),
            };
            let length = if status == 204 { "" } else { "0" };
            let seen = (answer.status, &*answer.text(), answer.header("content-length"));
            if status != 204 {
                assert_eq!(seen, (status, "", length), "{line} below {root}");
            }
            assert_eq!(seen.0, status, "{line} below {root}");
        }
    }
}

#[test]
fn a_401_says_how_to_do_better() {
    let daemon = Daemon::start("--auth_mode trusted");
    let bare = Eureka::of(&daemon);
    for root in ["/eureka/v2", "/eureka", "/v2", "/eureka/v1", "/v1"] {
        for line in
            ["GET apps", "GET apps/delta", "PUT apps/T/a", "DELETE apps/T/a", "PUT apps/T/a/status?value=UP"]
        {
            let answer = bare.at(root).ask(line);
            assert_eq!(answer.status, 401, "{line} below {root}");
            assert!(answer.header("www-authenticate").starts_with("Basic"), "{line} below {root}");
            if !line.starts_with("GET") {
                answer.empty(401);
            }
        }
        assert_eq!(bare.at(root).post(&document("T", "a")).status, 401);
    }
    let api = bare.at("/api/eureka//v2");
    for line in ["GET apps", "PUT apps/T/a", "DELETE apps/T/a"] {
        let answer = api.ask(line);
        answer.refused(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{line}");
    }
}

#[test]
fn without_authentication_credentials_are_passed_over() {
    let daemon = Daemon::start("");
    let client = daemon.client().with("Accept: application/json");
    for header in [
        "Authorization: Basic !!!",
        "Authorization: Bearer other",
        "Authorization: Negotiate abc",
        "Authorization:",
    ] {
        let eureka = Eureka::by(client.with(header));
        eureka.register(&document("T", "a"));
        eureka.ask("PUT apps/T/a").empty(200);
        assert_eq!(Eureka::by(client.clone()).list("apps")["apps__hashcode"], "UP_1_", "{header}");
        eureka.at("/v2").ask("GET apps").ok();
        eureka.ask("DELETE apps/T/a").empty(200);
    }
}

#[test]
fn a_namespace_is_chosen_by_token_bearer_or_password() {
    let daemon = Daemon::start("--auth_mode trusted");
    let client = daemon.client().with("Accept: application/json");
    let ways = [
        Eureka::by(client.clone()).at("/api/eureka/acme/v2"),
        Eureka::by(client.bearer("acme")),
        Eureka::by(basic(&client, "acme")),
        Eureka::by(basic(&client, "acme")).at("/eureka"),
        Eureka::by(client.bearer("acme")).at("/v2"),
    ];
    for (number, way) in ways.iter().enumerate() {
        way.register(&document("T", &number.to_string()));
    }
    for way in &ways {
        assert_eq!(way.list("apps")["apps__hashcode"], "UP_5_");
        way.ask("PUT apps/T/0").empty(200);
    }
    assert_eq!(client.bearer("acme").ids("/api/v1/services/T").len(), 5);
    for other in
        [Eureka::by(basic(&client, "globex")), Eureka::by(client.clone()).at("/api/eureka/globex/v2")]
    {
        assert_eq!(other.list("apps")["apps__hashcode"], "");
        other.ask("PUT apps/T/0").empty(404);
        assert_eq!(other.ask("GET instances/0").status, 404);
        other.ask("DELETE apps/T/0").empty(404);
        assert_eq!(other.list("apps/delta")["apps__hashcode"], "");
    }
    assert_eq!(Eureka::by(basic(&client, "globex")).overrides(), json!({}));
}

#[test]
fn metadata_has_a_limit_that_is_refused_with_400() {
    let long = |length: usize| json!({"k": "v".repeat(length)});
    for (flags, fits, exceeds) in [("", 15_000, 17_000), ("--eureka_metadata_max 100", 50, 120)] {
        let (_daemon, eureka) = start(flags);
        for root in ROOTS {
            let eureka = eureka.at(root);
            let registered =
                |length| crate::support::eureka::with(document("T", "a"), &json!({"metadata": long(length)}));
            eureka.register(&registered(fits));
            assert_eq!(eureka.post(&registered(exceeds)).status, 400, "{flags} {root}");
            let value = "v".repeat(exceeds - fits + 200);
            eureka.ask(&format!("PUT apps/T/a/metadata?more={value}")).empty(400);
            assert_eq!(eureka.one("a")["metadata"], long(fits), "nothing has changed");
        }
    }
}

#[test]
fn a_full_namespace_takes_no_new_instance() {
    let (_daemon, eureka) = start("--namespace_capacity 1");
    eureka.register(&document("T", "a"));
    assert_eq!(eureka.post(&document("T", "b")).status, 403);
    eureka.at("/api/eureka/default/v2").post(&document("T", "b")).refused(403);
    eureka.register(&document("T", "a"));
    let body = json!({"instance": document("T", "a")}).to_string();
    eureka.send("POST apps/T", JSON, body).empty(204);
}

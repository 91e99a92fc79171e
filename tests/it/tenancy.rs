//! Who sees what: namespaces by trusted and by signed tokens, and what operators are shown of them.
//!
//! Never: judges how a token is verified; that is tested beside the code.

use std::fs;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::instance;
use crate::support::token::{self, Signer, base64url, hs256, hs256_with};
use crate::support::{Client, Daemon, Setup, eventually};

const SECRET: &str = "correct-horse-battery-staple-correct";

const LIST: &str = "/api/v1/instances?status=ALL";

/// Everything that a client can be shown without naming an instance of its own.
const OPEN: [&str; 6] = ["/", "/uptime", "/health/live", "/health/ready", "/metrics", "/swagger"];

#[test]
fn nothing_crosses_from_one_namespace_to_another() {
    let daemon = Daemon::start("--auth_mode trusted --namespace_capacity 2");
    let [acme, globex] = ["acme", "globex"].map(|name| daemon.client().bearer(name));
    let shared = acme.register(&instance("shared", "10.0.0.1:80"));
    let only = acme.register(&instance("only-acme", "10.0.0.1:80"));

    // Unknown, whatever is asked.
    for (line, body) in [
        (format!("PUT /api/v1/instances/{only}/heartbeat"), ""),
        (format!("PUT /api/v1/instances/{only}/status"), r#"{"status": "STARTING"}"#),
        (format!("DELETE /api/v1/instances/{only}"), ""),
    ] {
        globex.send(&line, body).refused(410);
    }
    globex.get(&format!("/api/v1/instances/{only}")).refused(404);
    globex.get("/api/v1/services/only-acme").refused(404);
    let batch = globex.put("/api/v1/heartbeats", &json!([only]).to_string()).ok().json();
    assert_eq!(batch["results"][0]["status"], 410);
    for path in [LIST, "/api/v1/instances?service_name=shared", &format!("/api/v1/instances?id={only}")] {
        assert!(globex.ids(path).is_empty(), "{path}");
    }
    assert_eq!(globex.get("/api/v1/services").ok().json(), json!({"services": []}));

    // One id in two namespaces is two instances, and each namespace has its own capacity.
    let mut twin = instance("shared", "10.0.0.1:80");
    twin["tags"] = json!(["of-globex"]);
    assert_eq!(globex.register(&twin), shared);
    globex.register(&instance("only-globex", "10.0.0.2:80"));
    acme.post(&instance("third", "x")).refused(403);
    globex.post(&instance("third", "x")).refused(403);
    assert!(!acme.get(LIST).text().contains("globex"));
    assert!(!globex.get(LIST).text().contains("acme"));

    // What happens in one shows in no tag of the other, and no tag is good for both.
    let tags = [&acme, &globex].map(|client| client.get(LIST).ok().header("etag").to_owned());
    assert_ne!(tags[0], tags[1]);
    globex.with(&format!("If-None-Match: {}", tags[0])).get(LIST).ok();
    globex.delete(&format!("/api/v1/instances/{shared}")).ok();
    assert_eq!(acme.with(&format!("If-None-Match: {}", tags[0])).get(LIST).status, 304);
    acme.renew(&shared).ok();
    globex.renew(&shared).refused(410);
    assert_eq!(acme.get(&format!("/api/v1/instances/{shared}")).ok().json()["tags"], Value::Null);
}

#[test]
fn namespaces_and_services_are_named_to_operators_only() {
    let flags = "--auth_mode trusted --ops_token operators-only-4711 --ops_address 127.0.0.1:0";
    let daemon = Daemon::start(flags);
    let anybody = daemon.client();
    let tenant = anybody.bearer("acme-corp");
    let id = tenant.register(&instance("billing-api", "10.0.0.77:80"));
    tenant.register(&instance("billing-web", "10.0.0.77:81"));
    tenant.get(LIST).ok();
    tenant.get("/api/v1/services/billing-api").ok();
    let by_namespace = r#"a8_namespace_instances{namespace="acme-corp"}"#;
    for client in [&anybody, &tenant, &anybody.bearer("operators-only-4712"), &anybody.bearer("")] {
        for path in OPEN {
            let text = client.get(path).ok().text();
            let text = if path == "/swagger" { text.replace("billing", "") } else { text };
            for name in ["acme", "billing", "10.0.0.77", &id, "operators-only"] {
                assert!(!text.contains(name), "{path} shows {name}");
            }
        }
        assert_eq!(client.metric("a8_instances"), Some(2.0));
        assert_eq!(client.metric("a8_namespaces"), Some(1.0));
        assert_eq!(client.metric(by_namespace), None);
    }
    let operators = daemon.ops_client();
    for operator in [&anybody.bearer("operators-only-4711"), &operators] {
        assert_eq!(operator.metric(by_namespace), Some(2.0));
        let text = operator.get("/metrics").text();
        assert!(!text.contains("billing") && !text.contains("operators-only"), "{text}");
    }
    let open_metrics = operators.with("Accept: application/openmetrics-text; version=1.0.0").get("/metrics");
    assert!(open_metrics.header("content-type").starts_with("application/openmetrics-text"));
    let text = open_metrics.text();
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1 && text.contains(by_namespace));
    // The operators' port has no tenants' routes.
    operators.bearer("acme-corp").get(LIST).refused(404);
    operators.bearer("acme-corp").post(&instance("x", "y")).refused(404);
    operators.get("/health/ready").ok();
}

#[test]
fn signed_tokens_open_the_namespace_that_they_name() {
    let daemon = Setup::new("--auth_mode jwt --log_level debug").env("A8_JWT_SECRET", SECRET).start();
    let anybody = daemon.client();
    let good = hs256(SECRET, &json!({"namespace": "acme", "exp": token::seconds_from_now(600)}));
    let acme = anybody.bearer(&good);
    let id = acme.register(&instance("web", "x"));
    for same in
        [good.clone(), format!("jwt.{good}"), hs256(SECRET, &json!({"namespace": "acme", "iat": "?"}))]
    {
        assert_eq!(anybody.bearer(&same).ids(LIST), [id.as_str()]);
    }
    assert!(anybody.bearer(&hs256(SECRET, &json!({"namespace": "other"}))).ids(LIST).is_empty());

    let (now, later) = (token::seconds_from_now(0), token::seconds_from_now(600));
    let unsigned = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(r#"{"namespace":"acme"}"#));
    let refused = [
        (hs256(SECRET, &json!({"namespace": "acme", "exp": now - 60})), "the token expired"),
        (hs256(SECRET, &json!({"namespace": "acme", "nbf": later})), "not valid yet"),
        (hs256(SECRET, &json!({"namespace": "acme", "exp": "tomorrow"})), "exp is not a number"),
        (hs256(SECRET, &json!({"namespace": 7})), "is not text"),
        (hs256(SECRET, &json!({"namespace": ""})), "is empty"),
        (hs256(SECRET, &json!({"sub": "acme"})), "is missing"),
        (hs256(SECRET, &json!({"namespace": "n".repeat(257)})), "more than 256 bytes"),
        (hs256("another secret", &json!({"namespace": "acme"})), "signature does not fit"),
        (hs256_with(SECRET, &json!({"alg": "HS512"}), &json!({"namespace": "acme"})), "alg is not that"),
        (unsigned, "alg is not that"),
        ("acme".to_owned(), ""),
        ("a.b.c".to_owned(), ""),
    ];
    for (token, why) in &refused {
        let answer = anybody.bearer(token).get(LIST);
        let error = answer.refused(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(error["Error"], "Authorization failure, invalid token");
        assert!(error["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{why}: {error}");
    }
    assert_eq!(anybody.get(LIST).refused(401)["Error"], "Missing request Authorization header");
    anybody.with("Authorization: Basic YWNtZTpodW50ZXIy").get(LIST).refused(401);
    anybody.get("/metrics").ok();

    // Not a word of any of it is in the log, whatever became of it.
    let log = daemon.stop().stderr;
    assert!(log.contains("route=\"/api/v1/instances\"") && log.contains("status=401"), "{log}");
    let parts = refused.iter().flat_map(|(token, _)| token.split('.')).filter(|part| 8 < part.len());
    for secret in
        parts.chain(good.split('.')).chain([SECRET, "another secret", "YWNtZTpodW50ZXIy", "hunter2"])
    {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}

#[test]
fn keys_come_from_files_that_may_change_while_the_process_runs() {
    let (rsa, ec, ed) =
        (Signer::new(Algorithm::RS256), Signer::new(Algorithm::ES256), Signer::new(Algorithm::EdDSA));
    let directory = TempDir::new().expect("a directory");
    let [pem, jwks] = ["key.pem", "jwks.json"].map(|name| directory.path().join(name));
    let replace = |keys: &str| {
        let new = directory.path().join("new");
        fs::write(&new, keys).expect("written");
        fs::rename(new, &jwks).expect("renamed");
    };
    fs::write(&pem, &rsa.pem).expect("written");
    replace(&json!({"keys": [ec.jwk("ec"), ed.jwk("ed")]}).to_string());
    let daemon = Setup::new("--auth_mode jwt --jwt_namespace_claim org --jwt_audience registry")
        .arg(format!("--jwt_public_key={}", pem.display()))
        .arg(format!("--jwt_jwks_file={}", jwks.display()))
        .start();
    let claims = json!({"org": "acme", "aud": ["registry", "other"]});
    let answer = |token: &str| daemon.client().bearer(token).get(LIST).status;
    let [by_rsa, by_ec, by_ed] = [&rsa, &ec, &ed].map(|signer| signer.token(&claims));
    for token in [&by_rsa, &by_ec, &by_ed] {
        assert_eq!(answer(token), 200);
    }
    assert_eq!(answer(&rsa.token(&json!({"org": "acme", "aud": "another"}))), 401);
    // A public key is no secret to sign with, and the token does not choose its algorithm.
    assert_eq!(answer(&hs256(&rsa.pem, &claims)), 401);

    replace("{\"keys\": [{\"kty\": ");
    daemon.until_metric("a8_auth_key_reloads_failed_total", 1.0);
    daemon.logged("its old keys stay");
    for token in [&by_rsa, &by_ec, &by_ed] {
        assert_eq!(answer(token), 200, "a broken file takes no key away");
    }

    let new = Signer::new(Algorithm::ES256);
    replace(&json!({"keys": [new.jwk("new")]}).to_string());
    eventually("the new key counts", || (answer(&new.token(&claims)) == 200).then_some(()));
    // Also a token that was verified before is not good any more.
    assert_eq!([answer(&by_rsa), answer(&by_ec), answer(&by_ed)], [200, 401, 401]);
}

#[test]
fn in_a_chain_the_next_is_asked_only_about_tokens_of_no_known_kind() {
    let setup = Setup::new("--auth_mode trusted").env("A8_AUTH_MODE", " jwt ,").env("A8_JWT_SECRET", SECRET);
    let daemon = setup.start();
    let anybody = daemon.client();
    let signed = anybody.bearer(&hs256(SECRET, &json!({"namespace": "acme"})));
    let id = signed.register(&instance("web", "x"));
    assert_eq!(anybody.bearer("acme").ids(LIST), [id], "trusted takes what jwt does not know");
    assert!(anybody.bearer("a.b").ids(LIST).is_empty());
    for forged in [
        hs256("another secret", &json!({"namespace": "acme"})),
        hs256(SECRET, &json!({"namespace": "acme", "exp": 1})),
    ] {
        anybody.bearer(&forged).get(LIST).refused(401);
    }
    anybody.get(LIST).refused(401);
    let warnings = daemon.log().matches("anyone can name any namespace").count();
    assert_eq!(warnings, 1, "{}", daemon.log());
}

#[test]
fn namespaces_are_bounded_and_empty_ones_make_room() {
    let daemon = Daemon::start("--auth_mode trusted --max_namespaces 2 --change_log_age 1s");
    let of = |name: &str| daemon.client().bearer(name);
    // Reading, and writing what changes nothing, makes no namespace.
    let read = |client: &Client| {
        client.get(LIST).ok();
        client.get("/api/v1/services").ok();
        client.get("/api/v1/instances/0123456789abcdef").refused(404);
        client.renew("0123456789abcdef").refused(410);
        client.delete("/api/v1/instances/0123456789abcdef").refused(410);
        client.post(&json!({"service_name": "x"})).refused(400);
    };
    (0..5).for_each(|number| read(&of(&format!("reader-{number}"))));
    assert!(daemon.metric("a8_namespaces") < 0.5);

    let id = of("one").register(&instance("web", "x"));
    of("two").register(&instance("web", "x"));
    let full = of("three").post(&instance("web", "x")).refused(403);
    assert!(full["reason"].as_str().is_some_and(|reason| reason.contains("2 namespaces")), "{full}");
    assert!(of("three").ids(LIST).is_empty());
    of("two").register(&instance("web", "y"));
    assert!((daemon.metric("a8_namespaces") - 2.0).abs() < 0.5);

    // An empty one keeps its place while somebody could ask what changed.
    let before = of("one").get(LIST).header("etag").to_owned();
    of("one").delete(&format!("/api/v1/instances/{id}")).ok();
    daemon.until_metric("a8_namespaces", 1.0);
    of("three").register(&instance("web", "x"));
    of("one").post(&instance("web", "x")).refused(403);
    let after = of("one").get(LIST);
    assert_eq!(after.json(), json!({"instances": []}));
    assert_ne!(after.header("etag"), before);
}

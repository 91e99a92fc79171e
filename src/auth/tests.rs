//! Modes, chains and configurations; the cases of the recorded original are among them.

use serde_json::json;

use super::fixtures::{Keys, P256, RSA, SECRET, Setup, ask, hs256, jwks, sign_hs256};
use super::*;
use crate::model::Secret;

const NOT_DEFAULT: &str = "no auth mode is set here, so the only token is `default`";

fn authentication(modes: &[Mode]) -> Arc<Authentication> {
    let config = AuthConfig { modes: modes.to_vec(), jwt: None };
    let (authentication, reload) = Authentication::new(config, Arc::default()).expect("is complete");
    assert!(reload.is_none(), "there is no file to look at");
    authentication
}

fn check(authenticator: &dyn Authenticator, token: Option<&str>, want: Result<&str, &str>) {
    let got = ask(authenticator, token);
    assert_eq!(got.as_ref().map(String::as_str).map_err(String::as_str), want, "{token:?}");
}

#[test]
fn without_a_mode_everybody_is_in_the_default_namespace() {
    let open = authentication(&[]);
    check(&*open, None, Ok("default"));
    check(&*open, Some(""), Ok("default"));
    check(&*open, Some("default"), Ok("default"));
    check(&*open, Some("Default"), Err(NOT_DEFAULT));
    check(&*open, Some("other"), Err(NOT_DEFAULT));
}

#[test]
fn a_trusted_token_is_the_namespace() {
    let trusted = authentication(&[Mode::Trusted]);
    let (longest, too_long) = ("n".repeat(256), "n".repeat(257));
    check(&*trusted, None, Err("missing"));
    check(&*trusted, Some(""), Err("missing"));
    check(&Trusted, Some(""), Err("missing"));
    for token in ["acme", "ACME", "acme 2", " ", "default", "a.b.c", "é", &longest] {
        check(&*trusted, Some(token), Ok(token));
    }
    check(
        &*trusted,
        Some(&too_long),
        Err("the token is longer than the 256 bytes that a namespace may have"),
    );
}

#[test]
fn a_chain_passes_on_only_what_is_not_recognised() {
    let setup =
        Setup::new(&Keys { modes: &[Mode::Jwt, Mode::Trusted], secret: Some(SECRET), ..Keys::default() });
    let claims = json!({"namespace": "acme"});
    let good = hs256(&claims);
    let (signed, _) = good.rsplit_once('.').expect("has dots");
    let forged = sign_hs256(b"x", signed);
    let expired = hs256(&json!({"namespace": "acme", "exp": setup.now() - 60}));
    let chain = &*setup.authentication;
    check(chain, None, Err("missing"));
    check(chain, Some(""), Err("missing"));
    check(chain, Some(&good), Ok("acme"));
    check(chain, Some("plain"), Ok("plain"));
    check(chain, Some("a.b.c"), Ok("a.b.c"));
    check(chain, Some(&expired), Err("the token expired"));
    check(chain, Some(&forged), Err("the token's signature does not fit"));
    check(chain, Some(&format!("{signed}.")), Err("the token's signature is missing or not base64url"));
    check(chain, Some(&format!("{signed}.!")), Err("the token's signature is missing or not base64url"));
}

#[test]
fn trusted_first_takes_every_token() {
    let setup =
        Setup::new(&Keys { modes: &[Mode::Trusted, Mode::Jwt], secret: Some(SECRET), ..Keys::default() });
    let good = hs256(&json!({"namespace": "acme"}));
    check(&*setup.authentication, Some(&good), Ok(&good));
}

#[test]
fn a_chain_that_nobody_recognises_refuses() {
    #[derive(Debug)]
    struct Never;
    impl Authenticator for Never {
        fn authenticate(&self, _token: Option<&str>) -> Result<Namespace, AuthError> {
            Err(AuthError::Unrecognized)
        }
    }
    check(&Chain::new(vec![]), Some("a"), Err("unrecognized"));
    check(&Chain::new(vec![Arc::new(Never), Arc::new(Never)]), Some("a"), Err("unrecognized"));
    check(&Chain::new(vec![Arc::new(Never), Arc::new(Trusted)]), Some("a"), Ok("a"));
    check(&Chain::new(vec![Arc::new(Open::default()), Arc::new(Trusted)]), Some("a"), Err(NOT_DEFAULT));
    // Without a token the first decides, whatever it says.
    check(&Chain::new(vec![Arc::new(Trusted), Arc::new(Open::default())]), None, Err("missing"));
    check(&Chain::new(vec![Arc::new(Open::default()), Arc::new(Trusted)]), None, Ok("default"));
    check(&Chain::new(vec![Arc::new(Never), Arc::new(Open::default())]), None, Err("unrecognized"));
}

fn jwt() -> JwtConfig {
    JwtConfig {
        secret: Secret::new(&"x".repeat(32)),
        public_key: None,
        jwks_file: None,
        namespace_claim: JwtConfig::NAMESPACE_CLAIM.to_owned(),
        audience: None,
        issuer: None,
    }
}

#[test]
fn contradictions_are_refused_in_one_sentence() {
    let jwk = P256.jwk(&json!({})).to_string();
    let text = |text: &str| Some(text.to_owned());
    for (jwt, want) in [
        (None, "auth_mode jwt needs one of jwt_secret, jwt_public_key and jwt_jwks_file"),
        (
            Some(JwtConfig { secret: None, ..jwt() }),
            "auth_mode jwt needs one of jwt_secret, jwt_public_key and jwt_jwks_file",
        ),
        (Some(JwtConfig { namespace_claim: String::new(), ..jwt() }), "jwt_namespace_claim is empty"),
        (Some(JwtConfig { audience: text(""), ..jwt() }), "jwt_audience is empty"),
        (Some(JwtConfig { issuer: text(""), ..jwt() }), "jwt_issuer is empty"),
        (
            Some(JwtConfig { namespace_claim: "exp".to_owned(), ..jwt() }),
            "jwt_namespace_claim is exp, which has a meaning of its own",
        ),
        (
            Some(JwtConfig { secret: Secret::new(&RSA.pem), ..jwt() }),
            "jwt_secret holds a key in PEM or JWK form; give its file as jwt_public_key or jwt_jwks_file",
        ),
        (
            Some(JwtConfig { secret: Secret::new(&jwk), ..jwt() }),
            "jwt_secret holds a key in PEM or JWK form; give its file as jwt_public_key or jwt_jwks_file",
        ),
        (
            Some(JwtConfig { public_key: Some("/no/such/file".into()), ..jwt() }),
            "jwt_public_key /no/such/file: it cannot be read: entity not found",
        ),
        (
            Some(JwtConfig { jwks_file: Some("/".into()), ..jwt() }),
            "jwt_jwks_file /: it is not a regular file",
        ),
    ] {
        let error = Authentication::new(AuthConfig { modes: vec![Mode::Jwt], jwt }, Arc::default());
        assert_eq!(error.expect_err(want).to_string(), want);
    }
}

#[test]
fn claim_audience_and_issuer_can_be_chosen() {
    let config = JwtConfig {
        namespace_claim: "org".to_owned(),
        audience: Some("registry".to_owned()),
        issuer: Some("us".to_owned()),
        secret: Secret::new(SECRET),
        ..jwt()
    };
    let config = AuthConfig { modes: vec![Mode::Jwt], jwt: Some(config) };
    let (authentication, _) = Authentication::new(config, Arc::default()).expect("is complete");
    let token = |claims| hs256(&claims);
    let good = token(json!({"org": "acme", "namespace": "x", "aud": ["registry"], "iss": "us"}));
    check(&*authentication, Some(&good), Ok("acme"));
    let without = token(json!({"org": "acme", "iss": "us"}));
    check(&*authentication, Some(&without), Err("the claim aud is missing"));
    let other = token(json!({"namespace": "acme", "aud": "registry", "iss": "us"}));
    check(&*authentication, Some(&other), Err("the claim that names the namespace is missing"));
}

#[test]
fn modes_have_two_names() {
    assert_eq!("jwt".parse(), Ok(Mode::Jwt));
    assert_eq!("trusted".parse(), Ok(Mode::Trusted));
    for other in ["", "JWT", "none", "jwt "] {
        let error = other.parse::<Mode>().expect_err("is no mode").to_string();
        assert_eq!(error, format!("got {other:?}, wanted trusted or jwt"));
    }
}

#[test]
fn outcomes_are_counted_by_classes_that_no_client_chooses() {
    let set = jwks(&[P256.jwk(&json!({"kid": "k"}))]);
    let setup = Setup::new(&Keys { jwks: Some(&set), ..Keys::default() });
    let good = P256.token(&json!({}), &json!({"namespace": "a"}));
    for token in
        [&good, &good, "", "garbage", &hs256(&json!({})), &P256.token(&json!({"kid": "x"}), &json!({}))]
    {
        let _ = setup.ask(token);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    setup.authentication.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("is written");
    for line in [
        "a8_auth_token_cache_hits_total 1",
        "a8_auth_token_cache_misses_total 4",
        r#"a8_auth_refusals_total{reason="missing"} 1"#,
        r#"a8_auth_refusals_total{reason="unrecognized"} 1"#,
        r#"a8_auth_refusals_total{reason="key"} 2"#,
        "a8_auth_key_reloads_total 0",
        "a8_auth_key_reloads_failed_total 0",
    ] {
        assert!(text.lines().any(|got| got == line), "{line} is not in\n{text}");
    }
}

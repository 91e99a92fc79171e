//! Which files are taken, and what happens when they change.

use serde_json::{Value, json};

use super::super::fixtures::{ED, Keys, P256, RSA, SECRET, Setup, Signer, hs256, jwks};
use super::*;

macro_rules! key_file {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/keys/", $name))
    };
}

fn check_file(keys: &Keys<'_>, want: &str) {
    let error = Setup::try_new(keys).err().map(|error| error.to_string()).unwrap_or_default();
    let (flag, why) = error.split_once(": ").unwrap_or((&error, ""));
    assert_eq!(why, want, "{error}");
    assert!(flag.starts_with("jwt_") && flag.contains('/'), "{error}");
    for material in ["BEGIN P", "MII", "AAAA"] {
        assert!(!why.contains(material) || why.starts_with("it holds no"), "{error}");
    }
}

#[test]
fn a_pem_file_holds_public_keys_and_nothing_else() {
    let no_block = "it holds no complete PEM block; wanted -----BEGIN PUBLIC KEY-----";
    let private = "key 1: it is a private key; only the public key belongs here";
    let unreadable = "key 1: it is not a readable RSA, P-256 or Ed25519 public key";
    let second = format!("{}{}", P256.pem, ED.private_pem);
    let wide = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", "A".repeat(5000));
    for (pem, want) in [
        ("", no_block),
        ("hello", no_block),
        ("\u{0}\u{1}", no_block),
        ("-----BEGIN PUBLIC KEY-----\nMCow", no_block),
        ("-----BEGIN PUBLIC KEY", no_block),
        ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----", unreadable),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", unreadable),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", unreadable),
        (wide.as_str(), unreadable),
        (P256.private_pem.as_str(), private),
        (RSA.private_pem.as_str(), private),
        (second.as_str(), "key 2: it is a private key; only the public key belongs here"),
        (key_file!("certificate.pem"), "key 1: it is not a public key; wanted PUBLIC KEY or RSA PUBLIC KEY"),
        (key_file!("rsa1024.pem"), "key 1: it is an RSA key of 1024 bits; wanted 2048 to 8192"),
        (key_file!("rsa1024_pkcs1.pem"), "key 1: it is an RSA key of 1024 bits; wanted 2048 to 8192"),
        (key_file!("p384.pem"), "key 1: it is not a point on the curve P-256"),
        (key_file!("secp256k1.pem"), "key 1: it is not a point on the curve P-256"),
        (key_file!("x25519.pem"), unreadable),
        (key_file!("ed448.pem"), unreadable),
    ] {
        check_file(&Keys { pem: Some(pem), ..Keys::default() }, want);
    }
}

#[test]
fn a_key_set_with_a_dangerous_key_is_refused() {
    let unreadable = "key 1: it is not a readable RSA, P-256 or Ed25519 public key";
    let unsound = "key 1: it is not a sound RSA key";
    let private = "key 1: it is a private key; only the public key belongs here";
    let no_key = "it holds no key for RS256, ES256 or EdDSA";
    let not_p256 = "key 1: it is not a point on the curve P-256";
    let swapped = P256.jwk(&json!({"x": P256.jwk(&json!({}))["y"]}));
    let short_n = "x".repeat(168);
    for (key, want) in [
        (
            json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
            "key 1: it is a symmetric key (kty oct); a shared secret belongs in jwt_secret",
        ),
        (P256.jwk(&json!({"d": "AAAA"})), private),
        (RSA.jwk(&json!({"d": 1})), private),
        (RSA.jwk(&json!({"n": short_n})), "key 1: it is an RSA key of 1008 bits; wanted 2048 to 8192"),
        (RSA.jwk(&json!({"n": ""})), "key 1: it is an RSA key of 0 bits; wanted 2048 to 8192"),
        (RSA.jwk(&json!({"n": null})), unreadable),
        (RSA.jwk(&json!({"n": "!!"})), unreadable),
        (RSA.jwk(&json!({"e": "AQ"})), unsound),
        (RSA.jwk(&json!({"e": "Ag"})), unsound),
        (RSA.jwk(&json!({"e": ""})), unsound),
        (RSA.jwk(&json!({"e": "AQAAAAAB"})), unsound),
        (P256.jwk(&json!({"y": null})), unreadable),
        (P256.jwk(&json!({"y": "AAAA"})), not_p256),
        (swapped, not_p256),
        (ED.jwk(&json!({"x": "AAAA"})), "key 1: it is not an Ed25519 public key"),
        // Not for us: left out, and then nothing is left.
        (json!({"kty": "PQ", "n": "x"}), no_key),
        (RSA.jwk(&json!({"use": "enc"})), no_key),
        (RSA.jwk(&json!({"key_ops": ["wrapKey"]})), no_key),
        (RSA.jwk(&json!({"alg": "RS512"})), no_key),
        (RSA.jwk(&json!({"alg": "HS256"})), no_key),
        (P256.jwk(&json!({"alg": "RS256"})), no_key),
        (P256.jwk(&json!({"crv": "P-384"})), no_key),
        (ED.jwk(&json!({"crv": "X25519"})), no_key),
    ] {
        check_file(&Keys { jwks: Some(&jwks(&[key])), ..Keys::default() }, want);
    }
    let many: Vec<Value> = (0..33).map(|number| P256.jwk(&json!({"kid": format!("{number}")}))).collect();
    for (text, want) in [
        ("", "it is not a JWK set ({\"keys\": [...]}); line 1, column 0"),
        ("{\"keys\":\n \"s3cret\"}", "it is not a JWK set ({\"keys\": [...]}); line 2, column 9"),
        ("{}", "it is not a JWK set ({\"keys\": [...]}); line 1, column 2"),
        ("{\"keys\":[]}", no_key),
        (&jwks(&many), "it holds 33 keys, at most 32 are allowed"),
        (&" ".repeat(FILE_MAX + 1), "it has more than 262144 bytes"),
    ] {
        check_file(&Keys { jwks: Some(text), ..Keys::default() }, want);
    }
}

#[test]
fn keys_that_are_not_for_us_do_not_spoil_the_set() {
    let set = jwks(&[
        json!({"kty": "PQ", "kid": "new"}),
        RSA.jwk(&json!({"use": "enc", "kid": "e"})),
        P256.jwk(&json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"], "kid": "s", "x5c": ["MII"]})),
    ]);
    let setup = Setup::new(&Keys { jwks: Some(&set), ..Keys::default() });
    let claims = json!({"namespace": "acme"});
    assert_eq!(setup.ask(&P256.token(&json!({"kid": "s"}), &claims)), Ok("acme".to_owned()));
    assert!(setup.ask(&RSA.token(&json!({}), &claims)).is_err());
}

/// Reloads counted as done and failed.
fn reloads(setup: &Setup) -> (u64, u64) {
    let metrics = setup.authentication.metrics();
    (metrics.reloads.get(), metrics.reloads_failed.get())
}

#[tokio::test(start_paused = true)]
async fn changed_keys_take_over_and_old_tokens_are_refused() {
    let new = Signer::new(jsonwebtoken::Algorithm::ES256);
    let set = jwks(&[P256.jwk(&json!({"kid": "old"}))]);
    let mut setup =
        Setup::new(&Keys { secret: Some(SECRET), pem: Some(&ED.pem), jwks: Some(&set), ..Keys::default() });
    let mut reload = setup.reload.take().expect("there are files");
    let claims = json!({"namespace": "acme"});
    let old_token = P256.token(&json!({"kid": "old"}), &claims);
    let new_token = new.token(&json!({"kid": "new"}), &claims);
    assert!(setup.ask(&old_token).is_ok() && setup.ask(&old_token).is_ok());
    assert_eq!(setup.cache(), (1, 1), "the old token is remembered");
    assert!(setup.ask(&new_token).is_err());

    reload.look().await;
    assert_eq!(reloads(&setup), (0, 0), "nothing changed");

    let both = jwks(&[P256.jwk(&json!({"kid": "old"})), new.jwk(&json!({"kid": "new"}))]);
    std::fs::write(setup.path("jwks.json"), both).expect("is written");
    reload.look().await;
    assert_eq!(reloads(&setup), (1, 0));
    assert!(setup.ask(&old_token).is_ok() && setup.ask(&new_token).is_ok());

    // As Kubernetes does it: another file under the same name.
    let replacement = setup.path("next.json");
    std::fs::write(&replacement, jwks(&[new.jwk(&json!({"kid": "new"}))])).expect("is written");
    std::fs::rename(&replacement, setup.path("jwks.json")).expect("is renamed");
    reload.look().await;
    assert_eq!(reloads(&setup), (2, 0));
    // The key of the other file has no kid, but is of another kind.
    assert_eq!(setup.ask(&old_token), Err("the token's alg is not that of its key".to_owned()));
    assert!(setup.ask(&new_token).is_ok());
    assert!(setup.ask(&hs256(&claims)).is_ok(), "the secret stays");
    assert!(setup.ask(&ED.token(&json!({}), &claims)).is_ok(), "so does the other file");
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_leaves_the_old_keys_and_is_reported_once() {
    let mut setup = Setup::new(&Keys { pem: Some(&P256.pem), ..Keys::default() });
    let mut reload = setup.reload.take().expect("there is a file");
    let path = setup.path("key.pem");
    let token = P256.token(&json!({}), &json!({"namespace": "acme"}));
    let broken: [&dyn Fn(); 4] = [
        &|| std::fs::write(&path, "half a k").expect("is written"),
        &|| std::fs::write(&path, key_file!("rsa1024.pem")).expect("is written"),
        &|| std::fs::remove_file(&path).expect("is removed"),
        &|| std::fs::create_dir(&path).expect("is made"),
    ];
    for (number, damage) in (1..).zip(broken) {
        damage();
        for _ in 0..3 {
            reload.look().await;
            assert_eq!(reloads(&setup), (0, number));
            assert_eq!(setup.ask(&token), Ok("acme".to_owned()));
        }
    }
    std::fs::remove_dir(&path).expect("is removed");
    std::fs::write(&path, &ED.pem).expect("is written");
    reload.look().await;
    assert_eq!(reloads(&setup), (1, 4));
    assert!(setup.ask(&token).is_err());
    assert!(setup.ask(&ED.token(&json!({}), &json!({"namespace": "acme"}))).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_left_for_the_next_look() {
    let mut setup = Setup::new(&Keys { pem: Some(&P256.pem), ..Keys::default() });
    let mut reload = setup.reload.take().expect("there is a file");
    let path = setup.path("key.pem");
    std::fs::write(&path, "-----BEGIN PUBLIC").expect("is written");
    let finish = async {
        tokio::time::sleep(SETTLED / 2).await;
        std::fs::write(&path, &ED.pem).expect("is written");
    };
    tokio::join!(reload.look(), finish);
    assert_eq!(reloads(&setup), (0, 0));
    reload.look().await;
    assert_eq!(reloads(&setup), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_loop_follows_the_file_until_it_is_told_to_stop() {
    let mut setup = Setup::new(&Keys { pem: Some(&P256.pem), ..Keys::default() });
    let reload = setup.reload.take().expect("there is a file").at_every(Duration::from_secs(1));
    let shutdown = CancellationToken::new();
    let steps = async {
        std::fs::write(setup.path("key.pem"), &ED.pem).expect("is written");
        let token = ED.token(&json!({}), &json!({"namespace": "acme"}));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while setup.ask(&token).is_err() {
            assert!(tokio::time::Instant::now() < deadline, "the new key never took over");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        shutdown.cancel();
    };
    tokio::join!(reload.run(shutdown.clone()), steps);
}

//! Command lines and environments go in, a configuration or one sentence comes out.

mod forms;

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::auth::JwtConfig;
use crate::healthcheck::Transport;
use crate::store::redis::BadAddress;
use crate::telemetry::{LogFormat, LogLevel};

type Env<'a> = &'a [(&'a str, &'a str)];

fn parse(args: &[&str], env: Env<'_>) -> Result<Parsed, ConfigError> {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Parsed::of(args.iter().map(OsString::from), env)
}

fn config(args: &[&str], env: Env<'_>) -> Config {
    match parse(args, env) {
        Ok(Parsed::Run(config)) => *config,
        other => panic!("{args:?} {env:?}: {other:?}"),
    }
}

fn text(args: &[&str]) -> String {
    match parse(args, &[]) {
        Ok(Parsed::Print(text)) => text,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn check_error(args: &[&str], env: Env<'_>, want: &str) {
    match parse(args, env) {
        Err(error) => assert_eq!(error.to_string(), want, "{args:?} {env:?}"),
        Ok(parsed) => panic!("{args:?} {env:?}: {parsed:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults() {
    let want = Config {
        listen: ListenConfig {
            address: "[::]:8080".parse().unwrap(),
            tls: None,
            require_https: false,
            proxies: Proxies::Everybody,
        },
        auth: AuthConfig::default(),
        ttl: TtlLimits { default: seconds(30), min: seconds(10), max: seconds(600) },
        leases: LeaseRules::default(),
        store: StoreConfig::Memory,
        capacity: CapacityConfig {
            instances: None,
            namespaces: 100_000,
            changes: 65_536,
            change_age: seconds(180),
        },
        limits: Limits {
            header_bytes: 16_384,
            body_bytes: 65_536,
            batch_bytes: 262_144,
            batch_ids: 10_000,
            connections: 10_000,
            full_lists: 64,
            eureka_metadata: 16_384,
            eureka_lists: ListRules::default(),
        },
        timeouts: Timeouts {
            header: seconds(10),
            idle: seconds(75),
            body: seconds(30),
            write: seconds(30),
            drain: seconds(20),
        },
        peers: PeersConfig {
            urls: vec![],
            namespace: "default".parse().unwrap(),
            application: "EUREKA".parse().unwrap(),
            own_url: None,
            metadata_max: 16_384,
        },
        catalogs: CatalogsConfig { max_instances: 100_000, ..CatalogsConfig::default() },
        ops: OpsConfig { token: None, address: None },
        log: LogConfig { level: LogLevel::Debug, format: LogFormat::Text },
        given: vec![],
        warnings: vec![],
    };
    assert_eq!(config(&[], &[]), want);
    let empty: Vec<(String, &str)> =
        args::table().get_arguments().map(|a| (spelling::variable(a.get_id().as_str()), "")).collect();
    let empty: Vec<(&str, &str)> = empty.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(config(&[], &empty), want, "empty variables count as unset");
}

#[test]
fn peers_are_named_by_urls_whose_credentials_are_not_shown() {
    let read = config(
        &["--eureka_peer_url=http://u:hush@A:8761/eureka", "--eureka_peer_url=http://a:8761/eureka/"],
        &[("A8_EUREKA_PEER_URL", "https://b/eureka/v2/,http://c/")],
    );
    let shown: Vec<_> = read.peers.urls.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://b/eureka/v2/", "http://c/", "http://a:8761/eureka/"]);
    assert!(read.peers.urls[2].authorization().is_some());
    assert_eq!(read.warnings.len(), 2, "{:?}", read.warnings);
    assert!(!format!("{read:?}").contains("hush"), "{read:?}");
    assert!(read.given.iter().any(|given| given.contains("http://***@A:8761/eureka")), "{:?}", read.given);
    let lonely = config(&["--eureka_app=SHOP"], &[]);
    assert!(lonely.warnings[0].contains("--eureka_peer_url"), "{:?}", lonely.warnings);
}

#[test]
fn all_spellings_of_a_flag_are_one() {
    for args in [
        &["--max_ttl", "90s"][..],
        &["--max_ttl=90s"],
        &["-max_ttl", "90s"],
        &["-max_ttl=90s"],
        &["--max-ttl", "1m30s"],
        &["-max-ttl=1.5m"],
        &["--max_ttl", "1h", "--max-ttl", "90s"],
    ] {
        assert_eq!(config(args, &[]).ttl.max, seconds(90), "{args:?}");
    }
}

#[test]
fn values_may_begin_with_a_dash_or_hold_equals_signs() {
    let args = ["--ops_token", "--x=y-z", "--namespace_capacity", "-5", "--jwt_issuer==a=b"];
    let got = config(&args, &[]);
    assert_eq!(got.ops.token, Secret::new("--x=y-z"));
    assert_eq!(got.capacity.instances, None);
    let jwt = config(&["--auth_mode=jwt", "--jwt-secret=-", "--jwt_issuer==a=b"], &[]);
    let jwt = jwt.auth.jwt.expect("signed tokens");
    assert_eq!(jwt.issuer.as_deref(), Some("=a=b"));
    assert_eq!(jwt.secret, Secret::new("-"));
}

#[test]
fn flags_beat_variables() {
    let env = [("A8_DEFAULT_TTL", "40s"), ("A8_MIN_TTL", "15s"), ("A8_LOG_LEVEL", "nonsense")];
    let got = config(&["--default_ttl", "50s", "--log_level=info"], &env);
    assert_eq!(got.ttl.default, seconds(50));
    assert_eq!(got.ttl.min, seconds(15));
    assert_eq!(got.log.level, LogLevel::Info);
}

#[test]
fn lists_of_variables_come_before_those_of_flags() {
    let modes = |args: &[&str], env: Env<'_>| -> Vec<&'static str> {
        let args: Vec<&str> = args.iter().copied().chain(["--jwt_secret=s"]).collect();
        let modes = config(&args, env).auth.modes;
        modes.iter().map(|mode| mode.as_str()).collect()
    };
    assert_eq!(modes(&["--auth_mode", "trusted", "--auth-mode=jwt"], &[]), ["trusted", "jwt"]);
    assert_eq!(modes(&["--auth_mode", "jwt, trusted"], &[]), ["jwt", "trusted"]);
    assert_eq!(modes(&[], &[("A8_AUTH_MODE", " jwt ,, trusted ,")]), ["jwt", "trusted"]);
    assert_eq!(modes(&["--auth_mode=trusted"], &[("A8_AUTH_MODE", "jwt")]), ["jwt", "trusted"]);
    assert_eq!(modes(&["--auth_mode=jwt"], &[("A8_AUTH_MODE", "jwt")]), ["jwt"]);
    let got = config(&["--trusted_proxy", "fd00::/8"], &[("A8_TRUSTED_PROXY", "10.0.0.0/8, 192.168.1.1")]);
    let Proxies::These(networks) = &got.listen.proxies else { panic!("{got:?}") };
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.168.1.1/32", "fd00::/8"]);
    check_error(
        &["--auth_mode=jwt"],
        &[("A8_AUTH_MODE", "trusted,ldap")],
        "--auth_mode (variable A8_AUTH_MODE) is \"ldap\", want one of trusted, jwt",
    );
    check_error(&["--auth_mode="], &[], "--auth_mode is \"\", want one of trusted, jwt");
}

#[test]
fn a_store_in_redis_needs_an_address_and_hides_it() {
    check_error(&["--store", "redis"], &[], "--store is redis, but there is no --store_address");
    let want = BadAddress::WANTED;
    let bad = format!("--store_address is ***, want {want}");
    check_error(&["--store", "redis", "--store_address", "redis://:hush@:x"], &[], &bad);
    let cert = ["--store", "redis", "--store_address", "a:1", "--store_key", "k"];
    check_error(&cert, &[], "--store_key is given without --store_cert");
    let args = ["--store=redis", "--store_address=redis://u:hush@h:1/2", "--store_password=husher"];
    let Ok(Parsed::Run(config)) = parse(&args, &[]) else { panic!("it is refused") };
    let StoreConfig::Redis(redis) = &config.store else { panic!("it is another store") };
    assert_eq!((redis.address.to_string().as_str(), redis.timeout), ("h:1", seconds(2)));
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let Ok(Parsed::Run(config)) = parse(&["--store_address=a:1"], &[]) else { panic!("it is refused") };
    assert_eq!(config.warnings, ["--store_address has no effect without --store redis"]);
}

#[test]
fn contradictions_are_refused() {
    check_error(
        &["--min_ttl", "20m"],
        &[("A8_MAX_TTL", "15m")],
        "--min_ttl is 20m0s, above --max_ttl (variable A8_MAX_TTL), which is 15m0s",
    );
    check_error(
        &[],
        &[("A8_AUTH_MODE", "trusted,jwt")],
        "--auth_mode (variable A8_AUTH_MODE) contains jwt, but there is no key; \
         want --jwt_secret, --jwt_public_key or --jwt_jwks_file",
    );
    check_error(&["--tls_cert=c"], &[], "--tls_cert is given without --tls_key");
    check_error(&["--tls_key=k"], &[], "--tls_key is given without --tls_cert");
    check_error(&["--tls_key=k", "--tls_client_ca=a"], &[], "--tls_key is given without --tls_cert");
    check_error(&["--tls_client_ca=a"], &[], "--tls_client_ca is given without --tls_cert and --tls_key");
}

#[test]
fn what_is_odd_works_and_is_warned_of() {
    let strong = "--jwt_secret=0123456789abcdef0123456789abcdef";
    let check = |args: &[&str], env: Env<'_>, want: &[&str]| {
        assert_eq!(config(args, env).warnings, want, "{args:?} {env:?}");
    };
    check(&["--auth_mode=jwt", strong], &[], &[]);
    check(&["--auth_mode=trusted"], &[], &["--auth_mode contains trusted: anyone can name any namespace"]);
    check(
        &["--auth_mode=trusted,jwt,jwt", strong],
        &[],
        &[
            "--auth_mode names jwt more than once; the first counts",
            "--auth_mode contains trusted: anyone can name any namespace",
            "--auth_mode has trusted before jwt: trusted takes every token, jwt is never asked",
        ],
    );
    check(
        &[strong],
        &[("A8_JWT_JWKS_FILE", "f")],
        &[
            "--jwt_jwks_file (variable A8_JWT_JWKS_FILE) has no effect without --auth_mode jwt",
            "--jwt_secret has no effect without --auth_mode jwt",
        ],
    );
    check(
        &["--auth_mode=jwt", "--jwt_secret=short"],
        &[],
        &["--jwt_secret is shorter than 32 bytes, so that it can be guessed"],
    );
    check(
        &["--default_ttl=5s"],
        &[],
        &["--default_ttl is 5s, outside --min_ttl 10s to --max_ttl 10m0s; \
           instances that ask for no TTL get it all the same"],
    );
    check(
        &["--namespace_capacity=0"],
        &[],
        &["--namespace_capacity is 0: nothing can be registered; below 0 means no limit"],
    );
    check(
        &[],
        &[
            ("A8_MONGO_ADDRESS", "true"),
            ("A8_REGISTRY_SERVICE_HOST", "10.0.0.1"),
            ("A8_REGISTRY_PORT_8080_TCP", "x"),
            ("A8_BUILD_DATE", "x"),
            ("A8_EMPTY", ""),
            ("PATH", "x"),
        ],
        &["the variable \"A8_MONGO_ADDRESS\" is none of this program's; it has no effect"],
    );
}

#[test]
fn what_was_set_is_told_without_secrets() {
    let env = [("A8_JWT_SECRET", "hunter2"), ("A8_DEFAULT_TTL", "1m")];
    let config = config(&["--auth_mode", "jwt", "--ops_token=hunter3"], &env);
    assert_eq!(
        config.given,
        [
            "--jwt_secret (variable A8_JWT_SECRET)=***",
            "--default_ttl (variable A8_DEFAULT_TTL)=\"1m\"",
            "--auth_mode=\"jwt\"",
            "--ops_token=***",
        ]
    );
}

#[test]
fn all_keys_of_signed_tokens_can_be_used_together() {
    let args = [
        "--auth_mode=jwt",
        "--jwt_secret=s",
        "--jwt_public_key=p.pem",
        "--jwt_jwks_file=k.json",
        "--jwt_namespace_claim=ns",
        "--jwt_audience=a",
    ];
    assert_eq!(
        config(&args, &[]).auth.jwt,
        Some(JwtConfig {
            secret: Secret::new("s"),
            public_key: Some("p.pem".into()),
            jwks_file: Some("k.json".into()),
            namespace_claim: "ns".to_owned(),
            audience: Some("a".to_owned()),
            issuer: None,
        })
    );
    check_error(
        &["--jwt_namespace_claim="],
        &[],
        "--jwt_namespace_claim is \"\", want a text that is not empty",
    );
}

#[test]
fn secrets_are_not_shown() {
    let secret = "hunter2";
    let args = ["--auth_mode=jwt,trusted", "--jwt_secret", secret, "--ops_token", secret];
    let shown = format!("{:?}", config(&args, &[]));
    assert!(shown.contains("***") && !shown.contains(secret), "{shown}");
    let healthcheck = format!("{:?}", parse(&["healthcheck", "--ops_token", secret], &[]).unwrap());
    assert!(!healthcheck.contains(secret), "{healthcheck}");
    let invalid = || OsString::from_vec(b"hunter2\xFF".to_vec());
    for (args, env) in [
        (vec!["--jwt_secert=hunter2".into()], vec![]),
        (vec!["--jwt_secert".into(), secret.into()], vec![]),
        (vec!["--jwt_secret".into(), invalid()], vec![]),
        (vec![OsString::from_vec(b"--jwt_secret=hunter2\xFF".to_vec())], vec![]),
        (vec![], vec![("A8_JWT_SECRET".into(), invalid())]),
        (vec!["--jwt_secret=hunter2".into(), "--auth_mode=x".into()], vec![]),
    ] {
        let error = Parsed::of(args.clone(), env).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{args:?}: {error:?}");
    }
    check_error(&["--jwt_secret="], &[], "--jwt_secret is ***, want a secret that is not empty");
}

#[test]
fn usage_errors() {
    check_error(&["--no_such_flag"], &[], "unknown flag --no_such_flag; see --help");
    check_error(&["--api_prt=1"], &[], "unknown flag --api_prt, did you mean --api_port?; see --help");
    check_error(&["---api_port=1"], &[], "unknown flag --_api_port, did you mean --api_port?; see --help");
    check_error(&["--api_port=1", "--min_ttl"], &[], "--min_ttl lacks its value");
    check_error(
        &["--tls_cert=", "--tls_key=k"],
        &[],
        "--tls_cert is \"\", want UTF-8 text that is not empty",
    );
    for word in ["serve", "", "-", "--", "--=x", "version"] {
        check_error(
            &[word],
            &[],
            &format!(
                "unexpected argument {word:?}; want flags, or one of the words help and healthcheck; see --help"
            ),
        );
    }
    check_error(
        &["--log_level", &"x".repeat(1000)],
        &[],
        &format!(
            "--log_level is \"{}\"..., want one of debug, info, warn, warning, error, fatal, panic",
            "x".repeat(60)
        ),
    );
    let ugly = Parsed::of([OsString::from_vec(b"--tls_cert=\xFF".to_vec())], []).unwrap_err();
    assert_eq!(ugly.to_string(), "the argument \"--tls_cert\" is not UTF-8");
}

#[test]
fn names_of_files_need_not_be_utf8() {
    let name = OsString::from_vec(b"k\xFF".to_vec());
    let env = [("A8_TLS_CERT".into(), name.clone())];
    let Ok(Parsed::Run(got)) = Parsed::of(["--tls_key".into(), name.clone()], env) else { panic!() };
    let name = PathBuf::from(name);
    assert_eq!(got.listen.tls, Some(TlsPaths { cert: name.clone(), key: name, client_ca: None }));
}

#[test]
fn help_and_version_are_printed() {
    let help = text(&["--help"]);
    for args in
        [&["-h"][..], &["help"], &["h"], &["-help"], &["--min_ttl=1h", "help"], &["healthcheck", "-h"]]
    {
        assert_eq!(text(args), help, "{args:?}");
    }
    for args in [&["--version"][..], &["-v"], &["-version"]] {
        assert!(text(args).starts_with("a8registry 2.0.0 (revision "), "{args:?}");
    }
}

#[test]
fn one_table_feeds_help_and_readme() {
    let help = text(&["--help"]);
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let words: HashSet<&str> = help.split(|c: char| c.is_whitespace() || "[]=".contains(c)).collect();
    let table = markdown_table();
    assert!(table.lines().all(|row| row.replace("\\|", "").matches('|').count() == 5), "{table}");
    for arg in args::table().get_arguments() {
        let flag = arg.get_id().as_str();
        let variable = spelling::variable(flag);
        assert!(words.contains(format!("--{flag}").as_str()), "--{flag} in\n{help}");
        assert!(words.contains(variable.as_str()), "{variable} in\n{help}");
        assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{flag}");
        assert_eq!(table.matches(&format!("| `--{flag}` | `{variable}` |")).count(), 1, "{flag} in\n{table}");
    }
    assert!(table.contains("| `--default_ttl` | `A8_DEFAULT_TTL` | `30s` |"), "{table}");
    assert!(table.contains("| `--jwt_secret` | `A8_JWT_SECRET` | – |"), "{table}");
}

#[test]
fn healthcheck_asks_where_the_registry_listens() {
    let probe = |args: &[&str]| match parse(args, &[("A8_API_PORT", "9000")]) {
        Ok(Parsed::Healthcheck(probe)) => probe,
        other => panic!("{args:?}: {other:?}"),
    };
    let check = |args: &[&str], addresses: &[&str], transport: Transport| {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(probe(args), Probe { addresses, transport }, "{args:?}");
    };
    check(&["healthcheck"], &["127.0.0.1:9000", "[::1]:9000"], Transport::Plain);
    check(&["--api_port=1", "healthcheck"], &["127.0.0.1:1", "[::1]:1"], Transport::Plain);
    check(&["healthcheck", "--api_address=0.0.0.0"], &["127.0.0.1:9000"], Transport::Plain);
    check(&["healthcheck", "--api_address=192.0.2.7"], &["192.0.2.7:9000"], Transport::Plain);
    let tls = ["healthcheck", "--tls_cert=c", "--tls_key=k", "--api_address=::1"];
    check(&tls, &["[::1]:9000"], Transport::Tls);
    let mutual: Vec<&str> = tls.iter().copied().chain(["--tls_client_ca=a"]).collect();
    check(&mutual, &["[::1]:9000"], Transport::MutualTls { cert: "c".into(), key: "k".into() });
    let ops: Vec<&str> = mutual.iter().copied().chain(["--ops_address=:7"]).collect();
    check(&ops, &["127.0.0.1:7"], Transport::Plain);
    check_error(
        &["healthcheck", "--api_port=0"],
        &[],
        "the port is 0, any free one, so healthcheck cannot know it; give --api_port or --ops_address a number",
    );
}

#[test]
fn the_cluster_around_the_process_is_where_its_environment_says() {
    use crate::catalog::config::KubernetesServer;
    let server = |env: Env<'_>| config(&["--k8s_url", "in-cluster"], env).catalogs.kubernetes.unwrap().server;
    for (host, port, want) in
        [("10.96.0.1", "443", "https://10.96.0.1/"), ("fd00::1", "6443", "https://[fd00::1]:6443/")]
    {
        let env = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
        assert_eq!(server(&env), KubernetesServer::InCluster(want.parse().unwrap()));
    }
    let want = "--k8s_url is in-cluster, but the variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not \
                say where; outside of a pod give a URL";
    for env in [
        &[][..],
        &[("KUBERNETES_SERVICE_HOST", "10.96.0.1")],
        &[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "https")],
        &[("KUBERNETES_SERVICE_HOST", ""), ("KUBERNETES_SERVICE_PORT", "443")],
    ] {
        check_error(&["--k8s_url", "in-cluster"], env, want);
    }
}

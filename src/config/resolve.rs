//! From values to a configuration: what contradicts is refused, what is odd becomes a warning.
//!
//! Never: reads text; that has happened.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::args::{
    Args, AuthArgs, EurekaArgs, LeaseArgs, LimitArgs, ListenArgs, OpsArgs, PeerArgs, StoreArgs, TimeoutArgs,
};
use super::catalogs::catalogs_config;
use super::spelling::Settings;
use super::values::StoreName;
use super::{
    CapacityConfig, Config, ConfigError, Limits, ListenConfig, OpsConfig, StoreConfig, Timeouts, TlsPaths,
    reachable,
};
use crate::api::{ListRules, Proxies};
use crate::auth::{AuthConfig, JwtConfig, Mode};
use crate::directory::LeaseRules;
use crate::healthcheck::{Probe, Transport};
use crate::model::TtlLimits;
use crate::outbound::BaseUrl;
use crate::peers::PeersConfig;
use crate::store::redis::{Address, BadAddress, RedisConfig};
use crate::telemetry::{GoDuration, LogConfig};

/// Bytes from which an HS256 secret is as strong as its signature.
const STRONG_SECRET: usize = 32;

/// The configuration that these values make.
pub(super) fn config(args: Args, settings: &Settings) -> Result<Config, ConfigError> {
    let Args { listen, auth, leases, eureka, store, limits, timeouts, peers, catalogs, ops } = args;
    let mut warnings = Vec::new();
    let listen = listen_config(listen, settings)?;
    let auth = auth_config(auth, settings, &mut warnings)?;
    let ttl = ttl_limits(&leases, settings, &mut warnings)?;
    let capacity = capacity_config(&store, &mut warnings);
    let store = store_config(store, settings, &mut warnings)?;
    let catalogs = catalogs_config(catalogs, &peers.eureka_namespace, settings, &mut warnings)?;
    let peers = peers_config(peers, &eureka, settings, &mut warnings);
    let (ops, log) = ops_config(ops, &listen, settings)?;
    warn_of_unknown_variables(settings, &mut warnings);
    Ok(Config {
        listen,
        auth,
        ttl,
        store,
        capacity,
        leases: lease_rules(&leases, &eureka),
        limits: limits_config(&limits, &eureka),
        timeouts: timeouts_config(&timeouts),
        peers,
        catalogs,
        ops,
        log,
        given: Vec::new(),
        warnings,
    })
}

/// How the registry that runs by this configuration is asked from this machine.
pub(super) fn probe(config: &Config) -> Result<Probe, ConfigError> {
    let transport = match (&config.ops.address, &config.listen.tls) {
        (Some(_), _) | (None, None) => Transport::Plain,
        (None, Some(TlsPaths { client_ca: None, .. })) => Transport::Tls,
        (None, Some(TlsPaths { cert, key, client_ca: Some(_) })) => {
            Transport::MutualTls { cert: cert.clone(), key: key.clone() }
        }
    };
    let address = config.ops.address.unwrap_or(config.listen.address);
    if address.port() == 0 {
        return Err(ConfigError::Contradiction(
            "the port is 0, any free one, so healthcheck cannot know it; give --api_port or --ops_address a number"
                .to_owned(),
        ));
    }
    Ok(Probe { addresses: reachable(address), transport })
}

fn listen_config(args: ListenArgs, settings: &Settings) -> Result<ListenConfig, ConfigError> {
    let ListenArgs { api_port, api_address, tls_cert, tls_key, tls_client_ca, require_https, trusted_proxy } =
        args;
    let lacks = |given: &str, lacking: &str| {
        Err(ConfigError::Contradiction(format!("{} is given without --{lacking}", settings.name(given))))
    };
    let tls = match (tls_cert, tls_key, tls_client_ca) {
        (Some(cert), Some(key), client_ca) => Some(TlsPaths { cert, key, client_ca }),
        (Some(_), None, _) => return lacks("tls_cert", "tls_key"),
        (None, Some(_), _) => return lacks("tls_key", "tls_cert"),
        (None, None, Some(_)) => return lacks("tls_client_ca", "tls_cert and --tls_key"),
        (None, None, None) => None,
    };
    let proxies = match trusted_proxy.is_empty() {
        true => Proxies::Everybody,
        false => Proxies::These(trusted_proxy),
    };
    Ok(ListenConfig { address: SocketAddr::new(api_address, api_port), tls, require_https, proxies })
}

fn auth_config(
    args: AuthArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<AuthConfig, ConfigError> {
    let mut modes: Vec<Mode> = Vec::new();
    for mode in &args.auth_mode {
        if modes.contains(mode) {
            warnings.push(format!("--auth_mode names {} more than once; the first counts", mode.as_str()));
        } else {
            modes.push(*mode);
        }
    }
    warn_of_modes(&modes, settings, warnings);
    let jwt = match modes.contains(&Mode::Jwt) {
        true => Some(jwt_config(args, settings, warnings)?),
        false => None,
    };
    Ok(AuthConfig { modes, jwt })
}

fn warn_of_modes(modes: &[Mode], settings: &Settings, warnings: &mut Vec<String>) {
    if modes.contains(&Mode::Trusted) {
        warnings.push("--auth_mode contains trusted: anyone can name any namespace".to_owned());
    }
    if modes == [Mode::Trusted, Mode::Jwt] {
        warnings.push(
            "--auth_mode has trusted before jwt: trusted takes every token, jwt is never asked".to_owned(),
        );
    }
    if !modes.contains(&Mode::Jwt) {
        for flag in settings.flags_with_prefix("jwt_") {
            warnings.push(format!("{} has no effect without --auth_mode jwt", settings.name(flag)));
        }
    }
}

fn jwt_config(
    args: AuthArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<JwtConfig, ConfigError> {
    let AuthArgs {
        auth_mode: _,
        jwt_secret,
        jwt_public_key,
        jwt_jwks_file,
        jwt_namespace_claim,
        jwt_audience,
        jwt_issuer,
    } = args;
    if jwt_secret.as_ref().is_some_and(|secret| secret.expose().len() < STRONG_SECRET) {
        warnings.push(format!(
            "{} is shorter than {STRONG_SECRET} bytes, so that it can be guessed",
            settings.name("jwt_secret")
        ));
    }
    if jwt_secret.is_none() && jwt_public_key.is_none() && jwt_jwks_file.is_none() {
        return Err(ConfigError::Contradiction(format!(
            "{} contains jwt, but there is no key; want --jwt_secret, --jwt_public_key or --jwt_jwks_file",
            settings.name("auth_mode")
        )));
    }
    Ok(JwtConfig {
        secret: jwt_secret,
        public_key: jwt_public_key,
        jwks_file: jwt_jwks_file,
        namespace_claim: jwt_namespace_claim,
        audience: jwt_audience,
        issuer: jwt_issuer,
    })
}

fn ttl_limits(
    args: &LeaseArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<TtlLimits, ConfigError> {
    let LeaseArgs {
        default_ttl: default,
        min_ttl: min,
        max_ttl: max,
        out_of_service_max: _,
        self_preservation: _,
    } = *args;
    if max < min {
        return Err(ConfigError::Contradiction(format!(
            "{} is {}, above {}, which is {}",
            settings.name("min_ttl"),
            GoDuration(min),
            settings.name("max_ttl"),
            GoDuration(max)
        )));
    }
    if !(min..=max).contains(&default) {
        warnings.push(format!(
            "{} is {}, outside --min_ttl {} to --max_ttl {}; instances that ask for no TTL get it all the same",
            settings.name("default_ttl"),
            GoDuration(default),
            GoDuration(min),
            GoDuration(max)
        ));
    }
    Ok(TtlLimits { default, min, max })
}

fn lease_rules(args: &LeaseArgs, eureka: &EurekaArgs) -> LeaseRules {
    let LeaseArgs { default_ttl: _, min_ttl: _, max_ttl: _, out_of_service_max, self_preservation } = *args;
    let EurekaArgs { eureka_strict_expiry, .. } = *eureka;
    LeaseRules {
        strict_eureka: eureka_strict_expiry,
        self_preservation,
        out_of_service_max: Some(out_of_service_max).filter(|max| !max.is_zero()),
    }
}

fn capacity_config(args: &StoreArgs, warnings: &mut Vec<String>) -> CapacityConfig {
    let StoreArgs { namespace_capacity, max_namespaces, change_log_size, change_log_age, .. } = *args;
    if namespace_capacity == 0 {
        warnings
            .push("--namespace_capacity is 0: nothing can be registered; below 0 means no limit".to_owned());
    }
    CapacityConfig {
        // What is negative has no counterpart: no limit.
        instances: usize::try_from(namespace_capacity).ok(),
        namespaces: max_namespaces,
        changes: change_log_size,
        change_age: change_log_age,
    }
}

fn store_config(
    args: StoreArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<StoreConfig, ConfigError> {
    match args.store {
        StoreName::Memory => {
            for flag in settings.flags_with_prefix("store_") {
                warnings.push(format!("{} has no effect without --store redis", settings.name(flag)));
            }
            Ok(StoreConfig::Memory)
        }
        StoreName::Redis => Ok(StoreConfig::Redis(redis_config(args, settings, warnings)?.into())),
    }
}

fn redis_config(
    args: StoreArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<RedisConfig, ConfigError> {
    let StoreArgs { store_address, store_user, store_password, .. } = args;
    let refused = |why: String| Err(ConfigError::Contradiction(why));
    let Some(address) = store_address else {
        return refused(format!("{} is redis, but there is no --store_address", settings.name("store")));
    };
    let Ok(address) = address.expose().parse::<Address>() else {
        // It may hold a password, so it is not shown.
        let (setting, want) = (settings.name("store_address"), BadAddress::WANTED.to_owned());
        return Err(ConfigError::BadValue { setting, got: "***".to_owned(), want });
    };
    let certificate = match (args.store_cert, args.store_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            return refused(format!("{} is given without --store_key", settings.name("store_cert")));
        }
        (None, Some(_)) => {
            return refused(format!("{} is given without --store_cert", settings.name("store_key")));
        }
    };
    if !address.is_tls && (certificate.is_some() || args.store_ca_file.is_some()) {
        warnings.push(
            "--store_ca_file, --store_cert and --store_key have no effect without rediss://".to_owned(),
        );
    }
    Ok(RedisConfig {
        address,
        user: store_user,
        password: store_password,
        ca_file: args.store_ca_file,
        certificate,
        timeout: args.store_timeout,
    })
}

fn limits_config(args: &LimitArgs, eureka: &EurekaArgs) -> Limits {
    let LimitArgs {
        max_header_bytes,
        max_body_bytes,
        max_batch_bytes,
        max_batch_ids,
        max_connections,
        max_full_lists,
    } = *args;
    let EurekaArgs {
        eureka_metadata_max,
        eureka_strict_expiry: _,
        eureka_delta,
        eureka_empty_wait,
        eureka_list_rate,
        eureka_full_list_rate,
        eureka_list_burst,
    } = *eureka;
    let eureka_lists = ListRules {
        serves_delta: eureka_delta,
        empty_wait: eureka_empty_wait,
        rate: NonZeroU32::new(eureka_list_rate),
        full_rate: NonZeroU32::new(eureka_full_list_rate),
        burst: NonZeroU32::new(eureka_list_burst).unwrap_or(NonZeroU32::MIN),
    };
    Limits {
        header_bytes: max_header_bytes,
        body_bytes: max_body_bytes,
        batch_bytes: max_batch_bytes,
        batch_ids: max_batch_ids,
        connections: max_connections,
        full_lists: max_full_lists,
        eureka_metadata: eureka_metadata_max,
        eureka_lists,
    }
}

fn timeouts_config(args: &TimeoutArgs) -> Timeouts {
    let TimeoutArgs { header_timeout, idle_timeout, body_timeout, write_timeout, drain_timeout } = *args;
    Timeouts {
        header: header_timeout,
        idle: idle_timeout,
        body: body_timeout,
        write: write_timeout,
        drain: drain_timeout,
    }
}

fn peers_config(
    args: PeerArgs,
    eureka: &EurekaArgs,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> PeersConfig {
    let PeerArgs { eureka_peer_url, eureka_namespace, eureka_app, eureka_own_url } = args;
    let mut urls: Vec<BaseUrl> = Vec::new();
    for url in eureka_peer_url {
        if urls.iter().any(|known| known.is_same_place(&url)) {
            warnings.push(format!("--eureka_peer_url names {url} more than once; the first counts"));
        } else {
            urls.push(url);
        }
    }
    if urls.is_empty() {
        for flag in ["eureka_namespace", "eureka_app", "eureka_own_url"] {
            if settings.iter().any(|setting| setting.flag() == flag) {
                warnings.push(format!("{} has no effect without --eureka_peer_url", settings.name(flag)));
            }
        }
    }
    if urls.iter().any(|url| url.authorization().is_some() && !url.is_tls()) {
        warnings.push(
            "--eureka_peer_url has credentials for a peer without TLS: anyone on the way can read them"
                .to_owned(),
        );
    }
    PeersConfig {
        urls,
        namespace: eureka_namespace,
        application: eureka_app,
        own_url: eureka_own_url,
        metadata_max: eureka.eureka_metadata_max,
    }
}

fn ops_config(
    args: OpsArgs,
    listen: &ListenConfig,
    settings: &Settings,
) -> Result<(OpsConfig, LogConfig), ConfigError> {
    let OpsArgs { log_level, log_format, ops_token, ops_address } = args;
    if ops_address.is_some_and(|ops| collide(ops, listen.address)) {
        return Err(ConfigError::Contradiction(format!(
            "{} has the port of the API, {}; want another one",
            settings.name("ops_address"),
            listen.address.port()
        )));
    }
    let ops = OpsConfig { token: ops_token, address: ops_address };
    Ok((ops, LogConfig { level: log_level, format: log_format }))
}

/// Whether two addresses cannot both be listened on.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_host
}

fn warn_of_unknown_variables(settings: &Settings, warnings: &mut Vec<String>) {
    for name in settings.unknown_variables() {
        warnings.push(format!("the variable {name:?} is none of this program's; it has no effect"));
    }
}

//! The flags of the cluster, and what they come to.
//!
//! Never: reads a file or looks a name up.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::spelling::Settings;
use super::values::{self, BOOL, Boolean, StoreName, duration, positive_duration, whole};
use crate::cluster::config::{Advertised, ClusterConfig, ClusterSecret, ClusterTls, DnsName, Place, Source};
use crate::model::{Secret, TtlLimits};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster", rename_all = "snake_case")]
pub(super) struct ClusterArgs {
    /// Share all instances with the other registries of a cluster, in memory; needs one of --cluster_dir,
    /// --cluster_dns and --cluster_peers
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) replication: Boolean,
    /// Directory that all members can write to, by which they find each other; made when it is missing
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) cluster_dir: Option<PathBuf>,
    /// Name in DNS whose addresses are the members, at the port behind it or --replication_port; a name such as
    /// `_cluster._tcp.registry.example` is asked for SRV records
    #[arg(long, value_name = "NAME", value_parser = values::dns_name)]
    pub(super) cluster_dns: Option<DnsName>,
    /// The members, as `host:port`; repeatable; this one may be among them
    #[arg(long, value_name = "PLACE", value_parser = values::place, value_delimiter = ',')]
    pub(super) cluster_peers: Vec<Place>,
    /// Members below which the cluster is too small: health says so, and after 10 minutes errors are logged
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = whole(0_usize, 1_000))]
    pub(super) cluster_size: usize,
    /// Port for the other members; 0 takes any free one, which they are told
    #[arg(long, value_name = "PORT", default_value = "6100", value_parser = whole(0, u16::MAX))]
    pub(super) replication_port: u16,
    /// Longest time to dial a member, and to wait for what the others have before being ready
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(super) sync_timeout: Duration,
    /// What all members know and strangers do not; unset: with --cluster_dir one that the first member puts there
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) cluster_secret: Option<Secret>,
    /// How long an instance outlives its lease while the member that it renewed at cannot be reached
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(super) partition_hold: Duration,
    /// Address or name, perhaps with a port, by which the others reach this member; unset: the first address of this
    /// machine that is not loopback
    #[arg(long, value_name = "ADDRESS", value_parser = values::advertised)]
    pub(super) cluster_advertise: Option<Advertised>,
    /// TLS between members: certificate chain (PEM) of this one; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) cluster_tls_cert: Option<PathBuf>,
    /// Private key of --cluster_tls_cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) cluster_tls_key: Option<PathBuf>,
    /// Authorities (PEM) that sign the certificates of members, and no other certificates
    #[arg(long, value_name = "FILE")]
    pub(super) cluster_tls_ca: Option<PathBuf>,
}

/// Bytes of a secret below which it can be guessed.
const STRONG_SECRET: usize = 16;

/// How this process takes part in a cluster; none without `--replication`.
pub(super) fn cluster_config(
    args: ClusterArgs,
    store: StoreName,
    ttl: &TtlLimits,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<Option<ClusterConfig>, ConfigError> {
    if !args.replication {
        for prefix in ["cluster_", "replication_port", "sync_timeout", "partition_hold"] {
            for flag in settings.flags_with_prefix(prefix) {
                warnings.push(format!("{} has no effect without --replication", settings.name(flag)));
            }
        }
        return Ok(None);
    }
    let named = settings.name("replication");
    match store {
        StoreName::Memory => {}
        StoreName::Redis => {
            return refused(format!(
                "{named} is given with --store redis: registries over one Redis see the same instances already; \
                 leave out one of the two"
            ));
        }
    }
    let source = source(&args, settings)?;
    let tls = tls(&args, settings)?;
    let advertise = args.cluster_advertise.or_else(|| source.is_loopback().then(Advertised::loopback));
    let secret = secret(args.cluster_secret, &source, advertise.as_ref(), settings, warnings)?;
    Ok(Some(ClusterConfig {
        source,
        advertise,
        port: args.replication_port,
        secret,
        size: args.cluster_size,
        sync_timeout: args.sync_timeout,
        hold: args.partition_hold,
        max_ttl: ttl.max.max(ttl.default),
        tls,
    }))
}

fn source(args: &ClusterArgs, settings: &Settings) -> Result<Source, ConfigError> {
    let mut peers: Vec<Place> = Vec::new();
    for place in &args.cluster_peers {
        if !peers.contains(place) {
            peers.push(place.clone());
        }
    }
    match (&args.cluster_dir, &args.cluster_dns, peers.is_empty()) {
        (Some(directory), None, true) => Ok(Source::Directory(directory.clone())),
        (None, Some(name), true) => Ok(Source::Dns(name.clone())),
        (None, None, false) => Ok(Source::Fixed(peers)),
        (None, None, true) => refused(format!(
            "{} is given without a way to find the other members; want --cluster_dir, --cluster_dns or --cluster_peers",
            settings.name("replication")
        )),
        (Some(_), Some(_), _) | (Some(_), _, false) | (_, Some(_), false) => refused(
            "only one of --cluster_dir, --cluster_dns and --cluster_peers may be given: members that find each other \
             in different ways would be different clusters"
                .to_owned(),
        ),
    }
}

fn secret(
    given: Option<Secret>,
    source: &Source,
    advertise: Option<&Advertised>,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<ClusterSecret, ConfigError> {
    let is_loopback = source.is_loopback() && advertise.is_some_and(Advertised::is_loopback);
    match (given, source) {
        (Some(secret), _) => {
            if secret.expose().len() < STRONG_SECRET {
                warnings.push(format!(
                    "{} is shorter than {STRONG_SECRET} bytes, so that it can be guessed",
                    settings.name("cluster_secret")
                ));
            }
            Ok(ClusterSecret::Given(secret))
        }
        (None, Source::Directory(_)) => Ok(ClusterSecret::Shared),
        (None, Source::Fixed(_)) if is_loopback => Ok(ClusterSecret::Loopback),
        (None, Source::Dns(_) | Source::Fixed(_)) => refused(format!(
            "{} is given without --cluster_secret: whoever reaches the port could then read and write every \
             namespace; want the same secret for all members",
            settings.name(if matches!(source, Source::Dns(_)) { "cluster_dns" } else { "cluster_peers" })
        )),
    }
}

fn tls(args: &ClusterArgs, settings: &Settings) -> Result<Option<ClusterTls>, ConfigError> {
    match (&args.cluster_tls_cert, &args.cluster_tls_key, &args.cluster_tls_ca) {
        (None, None, None) => Ok(None),
        (Some(cert), Some(key), Some(ca)) => {
            Ok(Some(ClusterTls { cert: cert.clone(), key: key.clone(), ca: ca.clone() }))
        }
        (cert, key, _) => {
            let flag = match (cert, key) {
                (Some(_), _) => "cluster_tls_cert",
                (None, Some(_)) => "cluster_tls_key",
                (None, None) => "cluster_tls_ca",
            };
            refused(format!(
                "{} is not enough: members show each other certificates; want all of --cluster_tls_cert, \
                 --cluster_tls_key and --cluster_tls_ca",
                settings.name(flag)
            ))
        }
    }
}

fn refused<T>(why: String) -> Result<T, ConfigError> {
    Err(ConfigError::Contradiction(why))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Parsed, StoreConfig};
    use super::*;

    fn config(flags: &str) -> Result<Config, ConfigError> {
        match Parsed::of(flags.split_whitespace().map(Into::into), []) {
            Ok(Parsed::Run(config)) => Ok(*config),
            Ok(other) => panic!("{flags}: {other:?}"),
            Err(error) => Err(error),
        }
    }

    #[track_caller]
    fn cluster(flags: &str) -> (ClusterConfig, Vec<String>) {
        let config = config(flags).unwrap_or_else(|error| panic!("{flags}: {error}"));
        match config.store {
            StoreConfig::Replicated(cluster) => (*cluster, config.warnings),
            other => panic!("{flags}: {other:?}"),
        }
    }

    #[track_caller]
    fn check_refused(flags: &str, says: &[&str]) {
        let error = config(flags).expect_err(flags).to_string();
        for word in says {
            assert!(error.contains(word), "{flags}: {word} is not in: {error}");
        }
    }

    #[test]
    fn a_directory_is_enough() {
        let (cluster, warnings) = cluster("--replication --cluster_dir /d");
        let want = ClusterConfig {
            source: Source::Directory("/d".into()),
            advertise: None,
            port: 6100,
            secret: ClusterSecret::Shared,
            size: 1,
            sync_timeout: Duration::from_secs(30),
            hold: Duration::from_secs(300),
            max_ttl: Duration::from_secs(600),
            tls: None,
        };
        assert_eq!((cluster, warnings), (want, vec![]));
    }

    #[test]
    fn a_member_is_found_in_one_way() {
        check_refused(
            "--replication",
            &["--replication", "--cluster_dir", "--cluster_dns", "--cluster_peers"],
        );
        for two in [
            "--cluster_dir d --cluster_dns n",
            "--cluster_dir d --cluster_peers a:1",
            "--cluster_dns n --cluster_peers a:1",
        ] {
            check_refused(
                &format!("--replication --cluster_secret s {two}"),
                &["only one", "different clusters"],
            );
        }
        let (cluster, _) =
            cluster("--replication --cluster_secret s --cluster_peers a:1,b:2 --cluster_peers a:1");
        let places: Vec<Place> = ["a:1", "b:2"].map(|place| place.parse().unwrap()).into();
        assert_eq!(cluster.source, Source::Fixed(places));
    }

    #[test]
    fn redis_needs_no_replication() {
        let flags = "--replication --cluster_dir d --store redis --store_address h:1";
        check_refused(flags, &["--replication", "--store redis", "same instances"]);
    }

    #[test]
    fn there_is_no_replication_without_a_secret_but_on_loopback() {
        for open in [
            "--cluster_dns registry.example",
            "--cluster_peers 10.0.0.1:6100",
            "--cluster_peers 127.0.0.1:1,registry.example:1",
            "--cluster_peers 127.0.0.1:1 --cluster_advertise 10.0.0.1",
        ] {
            check_refused(&format!("--replication {open}"), &["--cluster_secret", "read and write"]);
            let (cluster, warnings) =
                cluster(&format!("--replication --cluster_secret 0123456789abcdef {open}"));
            assert!(matches!(cluster.secret, ClusterSecret::Given(_)) && warnings.is_empty(), "{warnings:?}");
        }
        let (alone, _) = cluster("--replication --cluster_peers 127.0.0.1:1,[::1]:2,localhost:3");
        assert_eq!((alone.secret, alone.advertise), (ClusterSecret::Loopback, Some(Advertised::loopback())));
        let (weak, warnings) = cluster("--replication --cluster_secret hush --cluster_dir d");
        assert!(warnings[0].contains("guessed"), "{warnings:?}");
        assert!(!format!("{weak:?} {warnings:?}").contains("hush"));
    }

    #[test]
    fn tls_takes_three_files() {
        for some in ["--cluster_tls_cert c", "--cluster_tls_key k --cluster_tls_ca a", "--cluster_tls_ca a"] {
            check_refused(&format!("--replication --cluster_dir d {some}"), &["--cluster_tls_", "all of"]);
        }
        let all = "--cluster_tls_cert c --cluster_tls_key k --cluster_tls_ca a";
        let (cluster, _) = cluster(&format!("--replication --cluster_dir d {all}"));
        let files = ClusterTls { cert: "c".into(), key: "k".into(), ca: "a".into() };
        assert_eq!(cluster.tls, Some(files));
    }

    #[test]
    fn without_replication_the_others_do_nothing() {
        let flags =
            "--cluster_dir d --cluster_size 3 --replication_port 1 --sync_timeout 1s --partition_hold 0";
        let config = config(flags).unwrap();
        assert_eq!(config.store, StoreConfig::Memory);
        let said: Vec<&str> = config.warnings.iter().map(String::as_str).collect();
        let want = ["cluster_dir", "cluster_size", "replication_port", "sync_timeout", "partition_hold"];
        assert_eq!(said, want.map(|flag| format!("--{flag} has no effect without --replication")));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (flag, value) in [
            ("cluster_peers", "10.0.0.1"),
            ("cluster_dns", "10.0.0.1"),
            ("cluster_advertise", "0.0.0.0"),
            ("replication_port", "65536"),
            ("sync_timeout", "0"),
            ("cluster_size", "-1"),
        ] {
            check_refused(&format!("--{flag}={value}"), &[&format!("--{flag}"), value, "want"]);
        }
    }
}

//! The table of flags: names, defaults, meanings. It feeds parsing, `--help` and the README.
//!
//! The variable of a flag is its name in capitals behind `A8_`; no flag is without one.
//! Never: reads the environment, or judges values together.

use std::any::TypeId;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::Error;
use clap::{Arg, CommandFactory, FromArgMatches};

use super::ConfigError;
use super::catalogs::CatalogArgs;
use super::cluster::ClusterArgs;
use super::spelling::{Setting, Settings, shortened, variable};
use super::values::{
    self, BOOL, Boolean, StoreName, Wanted, boolean, duration, positive_duration, text, whole,
};
use crate::api::Cidr;
use crate::auth::Mode;
use crate::catalog::config::KubernetesServer;
use crate::model::{Namespace, Secret, ServiceName};
use crate::outbound::{BaseUrl, redacted};
use crate::telemetry::{BUILD, LogFormat, LogLevel};

const COLUMNS: usize = 100;

const USAGE: &str = "a8registry [FLAGS]              run the registry
       a8registry healthcheck [FLAGS]  ask the registry on this machine whether it is ready
       a8registry --help | --version";

const RULES: &str = "\
In brackets: the variable of the flag and the default. An empty variable counts as unset. A flag wins \
over its variable, but the values of a repeatable flag are added to those of its variable, which is a list with \
commas.

A flag may have one dash or two in front, and dashes for underscores. A DURATION is written as in Go: 500ms, \
30s, 1m30s, 1.5h. Numbers may be written 0x... A BOOL flag alone means true; its opposite is --flag=false.";

/// The values of all flags.
#[derive(Debug, clap::Parser)]
#[command(
    name = "a8registry",
    about = "A multi-tenant, highly available service registry that speaks the Amalgam8 and Eureka protocols.",
    override_usage = USAGE,
    after_help = RULES,
    term_width = COLUMNS,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listen: ListenArgs,
    #[command(flatten)]
    pub(super) auth: AuthArgs,
    #[command(flatten)]
    pub(super) leases: LeaseArgs,
    #[command(flatten)]
    pub(super) eureka: EurekaArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
    #[command(flatten)]
    pub(super) timeouts: TimeoutArgs,
    #[command(flatten)]
    pub(super) peers: PeerArgs,
    #[command(flatten)]
    pub(super) catalogs: CatalogArgs,
    #[command(flatten)]
    pub(super) ops: OpsArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listening", rename_all = "snake_case")]
pub(super) struct ListenArgs {
    /// Port of the API; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value = "8080", value_parser = whole(0, u16::MAX))]
    pub(super) api_port: u16,
    /// IP address of the API; `::` is every interface, IPv4 and IPv6
    #[arg(long, value_name = "ADDRESS", default_value = "::", value_parser = values::ip_address)]
    pub(super) api_address: IpAddr,
    /// Serve HTTPS with this certificate chain (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Private key of --tls_cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Mutual TLS: ask for client certificates, which one of these authorities (PEM) must have signed
    #[arg(long, value_name = "FILE")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// Redirect requests to https that came neither by TLS nor by a proxy that says `X-Forwarded-Proto: https`
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) require_https: Boolean,
    /// Believe `X-Forwarded-*` headers only from this network; repeatable; unset: from everyone
    #[arg(long, value_name = "CIDR", value_parser = values::cidr, value_delimiter = ',')]
    pub(super) trusted_proxy: Vec<Cidr>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Authentication", rename_all = "snake_case")]
pub(super) struct AuthArgs {
    /// How a token becomes a namespace: `trusted` (it is the namespace) or `jwt` (it is signed); repeatable,
    /// asked in order; unset: one namespace for everybody
    #[arg(long, value_name = "MODE", value_parser = values::auth_mode, value_delimiter = ',')]
    pub(super) auth_mode: Vec<Mode>,
    /// Shared secret of signed tokens (HS256)
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) jwt_secret: Option<Secret>,
    /// Public key of signed tokens (PEM; RS256, ES256 or EdDSA); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) jwt_public_key: Option<PathBuf>,
    /// Public keys of signed tokens (JWK set); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) jwt_jwks_file: Option<PathBuf>,
    /// Claim that holds the namespace
    #[arg(long, value_name = "NAME", default_value = "namespace", value_parser = text)]
    pub(super) jwt_namespace_claim: String,
    /// Wanted audience (`aud`); unset: not looked at
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub(super) jwt_audience: Option<String>,
    /// Wanted issuer (`iss`); unset: not looked at
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub(super) jwt_issuer: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Leases", rename_all = "snake_case")]
pub(super) struct LeaseArgs {
    /// Lease of an instance that asks for none
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(super) default_ttl: Duration,
    /// Shortest lease that can be asked for
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) min_ttl: Duration,
    /// Longest lease that can be asked for
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = positive_duration)]
    pub(super) max_ttl: Duration,
    /// How long an instance may stay OUT_OF_SERVICE without a renewal; 0: for ever
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    pub(super) out_of_service_max: Duration,
    /// Keep the instances of a namespace in which too few renew, until enough do again (Netflix' self-preservation)
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) self_preservation: Boolean,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Eureka", rename_all = "snake_case")]
pub(super) struct EurekaArgs {
    /// Most bytes of an instance's metadata, as JSON, when it comes by the Eureka API
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = whole(1_usize, 1_048_576))]
    pub(super) eureka_metadata_max: usize,
    /// End leases as a Netflix server does: once renewed after twice their length, listed until they are removed
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) eureka_strict_expiry: Boolean,
    /// Serve what changed lately by itself; false: every reader fetches whole lists (Netflix' disableDelta)
    #[arg(long, value_name = BOOL, default_value = "true")]
    pub(super) eureka_delta: Boolean,
    /// How long lists are refused after the start unless a peer had instances (Netflix' waitTimeInMsWhenSyncEmpty); 0: not
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    pub(super) eureka_empty_wait: Duration,
    /// Most lists a second, full, delta or of an application, for all clients that do not name themselves as Eureka's
    /// own; 0: any number
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = whole(0_u32, 1_000_000))]
    pub(super) eureka_list_rate: u32,
    /// The same for full lists alone
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = whole(0_u32, 1_000_000))]
    pub(super) eureka_full_list_rate: u32,
    /// How many lists may be asked for at once where a rate is set
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = whole(1_u32, 1_000_000))]
    pub(super) eureka_list_burst: u32,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store", rename_all = "snake_case")]
pub(super) struct StoreArgs {
    /// Where registrations are kept: `inmem`, in this process, or `redis`, shared by any number of registries
    #[arg(long, value_name = "STORE", default_value = "inmem", value_parser = values::store)]
    pub(super) store: StoreName,
    /// Where Redis is: `host:port`, `redis://user:password@host:port/db`, `rediss://` for TLS, `host:port,host:port`
    /// for a cluster, `redis+sentinel://name@host:port,host:port` for a server that sentinels know
    #[arg(long, value_name = "ADDRESS", value_parser = values::secret)]
    pub(super) store_address: Option<Secret>,
    /// User at Redis; wins over that in the address
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(super) store_user: Option<String>,
    /// Password at Redis; wins over that in the address
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) store_password: Option<Secret>,
    /// Authorities (PEM) that sign Redis' certificates; unset: those of the system
    #[arg(long, value_name = "FILE")]
    pub(super) store_ca_file: Option<PathBuf>,
    /// Client certificate (PEM) for Redis; read again for each connection
    #[arg(long, value_name = "FILE")]
    pub(super) store_cert: Option<PathBuf>,
    /// Private key of --store_cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) store_key: Option<PathBuf>,
    /// Longest wait for an answer of Redis
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    pub(super) store_timeout: Duration,
    /// Most instances in one namespace; below 0: no limit
    #[arg(long, value_name = "NUMBER", default_value = "-1", value_parser = values::integer)]
    pub(super) namespace_capacity: i64,
    /// Most namespaces
    #[arg(long, value_name = "NUMBER", default_value = "100000", value_parser = whole(1_usize, 10_000_000))]
    pub(super) max_namespaces: usize,
    /// Changes that each namespace remembers for those who follow it
    #[arg(long, value_name = "NUMBER", default_value = "65536", value_parser = whole(1_usize, 100_000_000))]
    pub(super) change_log_size: usize,
    /// How long changes are remembered
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = positive_duration)]
    pub(super) change_log_age: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits", rename_all = "snake_case")]
pub(super) struct LimitArgs {
    /// Most bytes of a request's head
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = whole(8_192_usize, 1_048_576))]
    pub(super) max_header_bytes: usize,
    /// Most bytes of a registration
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = whole(1_usize, 1_073_741_824))]
    pub(super) max_body_bytes: usize,
    /// Most bytes of a batch renewal
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = whole(1_usize, 1_073_741_824))]
    pub(super) max_batch_bytes: usize,
    /// Most ids in a batch renewal
    #[arg(long, value_name = "NUMBER", default_value = "10000", value_parser = whole(1_usize, 10_000_000))]
    pub(super) max_batch_ids: usize,
    /// Most open connections
    #[arg(long, value_name = "NUMBER", default_value = "10000", value_parser = whole(1_usize, 10_000_000))]
    pub(super) max_connections: usize,
    /// Most full lists that are sent at once
    #[arg(long, value_name = "NUMBER", default_value = "64", value_parser = whole(1_usize, 1_000_000))]
    pub(super) max_full_lists: usize,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Timeouts", rename_all = "snake_case")]
pub(super) struct TimeoutArgs {
    /// Time to send the head of a request
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(super) header_timeout: Duration,
    /// Time between two requests of a connection
    #[arg(long, value_name = "DURATION", default_value = "75s", value_parser = positive_duration)]
    pub(super) idle_timeout: Duration,
    /// Time to send the body of a request
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(super) body_timeout: Duration,
    /// Time that a client may leave an answer untaken
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(super) write_timeout: Duration,
    /// Time to finish what is under way after the signal to stop
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub(super) drain_timeout: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Eureka peers", rename_all = "snake_case")]
pub(super) struct PeerArgs {
    /// Eureka server that is told of our clients' writes and tells us of its own, such as
    /// `http://user:password@host:8761/eureka/`; repeatable; unset: none
    #[arg(long, value_name = "URL", value_parser = values::base_url, value_delimiter = ',')]
    pub(super) eureka_peer_url: Vec<BaseUrl>,
    /// Namespace that Eureka peers share, and that --eureka_url fills
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = values::namespace)]
    pub(super) eureka_namespace: Namespace,
    /// Application under which this server is registered at its Eureka peers; theirs, for them to show it as available
    #[arg(long, value_name = "NAME", default_value = "EUREKA", value_parser = values::service_name)]
    pub(super) eureka_app: ServiceName,
    /// URL by which Eureka peers reach this server; unset: `/eureka/` at an address of this machine and the port
    /// of the API
    #[arg(long, value_name = "URL", value_parser = values::base_url)]
    pub(super) eureka_own_url: Option<BaseUrl>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Operations", rename_all = "snake_case")]
pub(super) struct OpsArgs {
    /// Least level that is logged: debug, info, warn, error (or fatal, panic: as error)
    #[arg(long, value_name = "LEVEL", default_value = "debug", value_parser = values::log_level)]
    pub(super) log_level: LogLevel,
    /// Form of a log line: text, json, logstash
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = values::log_format)]
    pub(super) log_format: LogFormat,
    /// Token that opens metrics and details by namespace on the API's port
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) ops_token: Option<Secret>,
    /// Port, or IP address and port, for health, metrics and uptime with all details, without a token and by
    /// plain HTTP; a port alone is on loopback; unset: none
    #[arg(long, value_name = "ADDRESS", value_parser = values::loopback_address)]
    pub(super) ops_address: Option<SocketAddr>,
}

// === impl Args ===

impl Args {
    /// Reads the values of all settings.
    pub(super) fn read(table: &clap::Command, settings: &Settings) -> Result<Self, ConfigError> {
        let argv = std::iter::once("a8registry".into()).chain(settings.iter().map(Setting::canonical));
        let read = table.clone().try_get_matches_from(argv);
        read.and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| refusal(table, settings, &error))
    }
}

/// The table as clap knows it.
pub(super) fn table() -> clap::Command {
    Args::command().mut_args(|arg| {
        let is_boolean = arg.get_value_names().is_some_and(|names| names.iter().any(|name| *name == BOOL));
        if is_boolean { arg.value_parser(boolean).num_args(0..=1).require_equals(true) } else { arg }
    })
}

/// What `--version` prints.
pub(super) fn version() -> String {
    format!("a8registry {BUILD}\n")
}

/// What `--help` prints: at most 100 columns.
pub(super) fn help() -> String {
    let mut with_variables = table().mut_args(|arg| {
        let variable = variable(arg.get_id().as_str());
        let default = default(&arg).map(|value| format!("={value}")).unwrap_or_default();
        let help = format!("{} [{variable}{default}]", meaning(&arg));
        arg.hide_default_value(true).help(help)
    });
    with_variables.render_help().to_string()
}

/// The flags as a table in Markdown, for the README: flag, variable, default, meaning.
#[must_use]
pub fn markdown_table() -> String {
    let mut rows = String::from("| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for arg in table().get_arguments() {
        let flag = arg.get_id().as_str();
        let default = default(arg).map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
        let meaning = meaning(arg).replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "| `--{flag}` | `{}` | {default} | {meaning} |", variable(flag));
    }
    rows
}

fn meaning(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn default(arg: &Arg) -> Option<String> {
    arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
}

/// The first setting that the table refuses by itself; `error` is what it said of all together.
fn refusal(table: &clap::Command, settings: &Settings, error: &Error) -> ConfigError {
    let alone = settings.iter().find_map(|setting| {
        let argv = ["a8registry".into(), setting.canonical()];
        Some((setting, table.clone().try_get_matches_from(argv).err()?))
    });
    let Some((setting, error)) = alone else {
        return ConfigError::Contradiction(error.kind().to_string());
    };
    let reader = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Wanted>());
    let want = reader.map_or_else(|| "UTF-8 text that is not empty".to_owned(), ToString::to_string);
    ConfigError::BadValue { setting: setting.name(), got: shown_value(table, setting), want }
}

/// A setting as the log shows it.
pub(super) fn shown(table: &clap::Command, setting: &Setting) -> String {
    format!("{}={}", setting.name(), shown_value(table, setting))
}

fn shown_value(table: &clap::Command, setting: &Setting) -> String {
    if is_read_as::<Secret>(table, setting.flag()) {
        return "***".to_owned();
    }
    let is_url = is_read_as::<BaseUrl>(table, setting.flag());
    match is_url || is_read_as::<KubernetesServer>(table, setting.flag()) {
        // All of it but the credentials.
        true => shortened(redacted(&setting.value().to_string_lossy()).as_ref()),
        false => shortened(setting.value()),
    }
}

/// Whether a flag's value is read as this type, which says how it may be shown.
fn is_read_as<T: 'static>(table: &clap::Command, flag: &str) -> bool {
    let mut args = table.get_arguments();
    args.any(|arg| arg.get_id() == flag && arg.get_value_parser().type_id() == TypeId::of::<T>())
}

//! What the operator asked for: flags and `A8_*` variables become one checked [`Config`].
//!
//! One table, the flags of `config/args.rs`, feeds parsing, `--help` and the README. What this module lets through is
//! free of contradictions, in small types that components take apart.
//! Never: reads the process' environment or any file, or shows a secret.

mod args;
mod catalogs;
mod cluster;
mod duration;
mod resolve;
mod spelling;
mod values;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::api::{ListRules, Proxies};
use crate::auth::AuthConfig;
use crate::catalog::CatalogsConfig;
use crate::cluster::config::ClusterConfig;
use crate::directory::LeaseRules;
use crate::healthcheck::Probe;
use crate::model::{Secret, TtlLimits};
use crate::peers::PeersConfig;
use crate::store::redis::RedisConfig;
use crate::telemetry::LogConfig;

pub use args::markdown_table;

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Run the registry.
    Run(Box<Config>),
    /// Ask the registry on this machine whether it is ready.
    Healthcheck(Probe),
    /// Print this text on standard output and end with status 0.
    Print(String),
}

/// Everything the daemon is built from; each part goes to one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where and how the API is served.
    pub listen: ListenConfig,
    /// Who may use which namespace.
    pub auth: AuthConfig,
    /// How long leases may be.
    pub ttl: TtlLimits,
    /// How leases end.
    pub leases: LeaseRules,
    /// Where registrations are kept.
    pub store: StoreConfig,
    /// How much is kept.
    pub capacity: CapacityConfig,
    /// What one client, or all, may cost.
    pub limits: Limits,
    /// How long a connection may take for what.
    pub timeouts: Timeouts,
    /// Eureka servers that share a namespace with this one.
    pub peers: PeersConfig,
    /// Foreign systems whose instances are shown too.
    pub catalogs: CatalogsConfig,
    /// What is for operators only.
    pub ops: OpsConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What was set, as `--flag=value`, in order of rising precedence; secrets are `***`. Logged once at start.
    pub given: Vec<String>,
    /// Sentences about settings that work but are probably not meant; logged once at start.
    pub warnings: Vec<String>,
}

/// Where and how the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// Address and port; port 0 is any free one. `::` means every interface, IPv4 and IPv6.
    pub address: SocketAddr,
    /// Files for TLS; none serves plain HTTP.
    pub tls: Option<TlsPaths>,
    /// Whether plain requests are sent to https.
    pub require_https: bool,
    /// Whose `X-Forwarded-*` headers are believed.
    pub proxies: Proxies,
}

/// PEM files of the TLS side, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPaths {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates; none asks for no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Where registrations are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In this process.
    Memory,
    /// In this process and in those of a cluster, each of which has all.
    Replicated(Box<ClusterConfig>),
    /// In Redis, shared with other registries.
    Redis(Box<RedisConfig>),
}

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapacityConfig {
    /// Instances of one namespace; none: no limit.
    pub instances: Option<usize>,
    /// Namespaces; at least 1.
    pub namespaces: usize,
    /// Changes that a namespace remembers; at least 1.
    pub changes: usize,
    /// How long it remembers them; above 0.
    pub change_age: Duration,
}

/// What one client, or all, may cost; every number is at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head; at least 8192, which the HTTP library needs.
    pub header_bytes: usize,
    /// Bytes of a registration's body.
    pub body_bytes: usize,
    /// Bytes of a batch renewal's body.
    pub batch_bytes: usize,
    /// Ids in a batch renewal.
    pub batch_ids: usize,
    /// Open connections.
    pub connections: usize,
    /// Full lists that are sent at once.
    pub full_lists: usize,
    /// Bytes of an instance's metadata as JSON, when it comes by the Eureka API.
    pub eureka_metadata: usize,
    /// Which lists of the Eureka API are served.
    pub eureka_lists: ListRules,
}

/// How long a connection may take for what; all above 0, but `drain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// To send a body.
    pub body: Duration,
    /// Without taking a byte of the answer.
    pub write: Duration,
    /// From the signal to stop to the end; 0 drops what is under way.
    pub drain: Duration,
}

/// What is for operators only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpsConfig {
    /// Token that opens details on the API's port; none: they are not given there when there is an auth mode.
    pub token: Option<Secret>,
    /// Address of a port of its own for health, metrics and uptime, plain HTTP, with all details; none: no such port.
    pub address: Option<SocketAddr>,
}

/// Why the command line or a variable was refused: one sentence that names the flag, what came and
/// what is wanted. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No flag has this name.
    #[error("unknown flag --{name}{}; see --help", hint(suggestion.as_deref()))]
    UnknownFlag {
        /// As it came, without its value.
        name: String,
        /// A flag that looks like it.
        suggestion: Option<String>,
    },
    /// A word that is neither a flag nor a flag's value.
    #[error("unexpected argument {got}; want flags, or one of the words help and healthcheck; {note}")]
    UnknownWord {
        /// What came, shortened and quoted.
        got: String,
        /// How what was probably meant is written.
        note: &'static str,
    },
    /// An argument that is no text; a file's name of that kind can stand behind its flag, not joined to it by `=`.
    #[error("the argument {got} is not UTF-8")]
    NotText {
        /// What is before its value, quoted.
        got: String,
    },
    /// A flag stands last and lacks its value.
    #[error("--{flag} lacks its value")]
    ValueMissing {
        /// Name of the flag.
        flag: String,
    },
    /// A value that cannot be read.
    #[error("{setting} is {got}, want {want}")]
    BadValue {
        /// The flag, and its variable when the value came from there.
        setting: String,
        /// What came, shortened and quoted; `***` for secrets.
        got: String,
        /// What would do.
        want: String,
    },
    /// Settings that are fine alone and not together.
    #[error("{0}")]
    Contradiction(String),
}

// === impl Parsed ===

impl Parsed {
    /// Reads a command line (without the program's name) and an environment.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong; `main` prints it and ends with status 2.
    pub fn of(
        args: impl IntoIterator<Item = OsString>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let table = args::table();
        let (command, settings) = spelling::read(&table, args.into_iter(), env.into_iter())?;
        match command {
            spelling::Command::Help => Ok(Self::Print(args::help())),
            spelling::Command::Version => Ok(Self::Print(args::version())),
            spelling::Command::Run => {
                let args = args::Args::read(&table, &settings)?;
                let given = settings.iter().map(|setting| args::shown(&table, setting)).collect();
                Ok(Self::Run(Box::new(Config { given, ..resolve::config(args, &settings)? })))
            }
            spelling::Command::Healthcheck => {
                let args = args::Args::read(&table, &settings)?;
                resolve::probe(&resolve::config(args, &settings)?).map(Self::Healthcheck)
            }
        }
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|flag| format!(", did you mean --{flag}?")).unwrap_or_default()
}

/// `address` as one can connect to it from this machine: a wildcard is loopback.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let loopback: &[IpAddr] = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => &[IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            &[IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)]
        }
        ip => &[ip],
    };
    loopback.iter().map(|ip| SocketAddr::new(*ip, address.port())).collect()
}

#[cfg(test)]
mod tests;

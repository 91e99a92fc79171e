//! Where Redis is: one server, a cluster, or sentinels that know.
//!
//! Never: shows a password, or reads a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::model::Secret;

/// How Redis is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where it is.
    pub address: Address,
    /// Who we are there; none is Redis' default user.
    pub user: Option<String>,
    /// What proves it; for a server's nodes, not for sentinels.
    pub password: Option<Secret>,
    /// Authorities that sign Redis' certificates (PEM); none takes those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key (PEM), for a Redis that asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Longest wait for one answer; above 0.
    pub timeout: Duration,
}

/// Where Redis is; shown without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands there.
    pub topology: Topology,
    /// Whether it is spoken to by TLS.
    pub is_tls: bool,
    /// The user in the address.
    pub user: Option<String>,
    /// The password in the address.
    pub password: Option<Secret>,
    /// Number of the database; 0 on a cluster.
    pub database: u16,
}

/// How Redis is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Server(Host),
    /// A cluster, of which at least one of these nodes is up at a start.
    Cluster(Vec<Host>),
    /// A server that sentinels know under a name.
    Sentinel {
        /// The name.
        master: String,
        /// The sentinels.
        sentinels: Vec<Host>,
    },
}

/// A name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name, an IPv6 address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// Not an address of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

// === impl Address ===

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("redis", text));
        let (is_tls, kind) = match scheme {
            "redis" => (false, ""),
            "rediss" => (true, ""),
            other => match other.split_once('+').ok_or(BadAddress)? {
                ("redis", kind) => (false, kind),
                ("rediss", kind) => (true, kind),
                _ => return Err(BadAddress),
            },
        };
        let (who, rest) = match rest.rsplit_once('@') {
            Some((who, rest)) => (Some(who), rest),
            None => (None, rest),
        };
        let (hosts, database) = match rest.split_once('/') {
            Some((hosts, "")) => (hosts, 0),
            Some((hosts, database)) => (hosts, database.parse().map_err(|_| BadAddress)?),
            None => (rest, 0),
        };
        let port = if kind == "sentinel" { SENTINEL_PORT } else { PORT };
        let listed = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let listed: Vec<Host> = listed.map(|host| Host::parse(host, port)).collect::<Result<_, _>>()?;
        let is_list = hosts.contains(',');
        let (topology, user, password) = match (kind, listed.as_slice()) {
            (_, []) => return Err(BadAddress),
            ("sentinel", _) => {
                let master = who.filter(|name| !name.is_empty() && !name.contains(':')).ok_or(BadAddress)?;
                (Topology::Sentinel { master: decoded(master)?, sentinels: listed }, None, None)
            }
            ("", [only]) if !is_list => {
                let (user, password) = credentials(who)?;
                (Topology::Server(only.clone()), user, password)
            }
            ("" | "cluster", _) if database == 0 => {
                let (user, password) = credentials(who)?;
                (Topology::Cluster(listed), user, password)
            }
            (_, _) => return Err(BadAddress),
        };
        Ok(Self { topology, is_tls, user, password, database })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |hosts: &[Host]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.topology {
            Topology::Server(host) => write!(f, "{host}"),
            Topology::Cluster(nodes) => write!(f, "cluster {}", list(nodes)),
            Topology::Sentinel { master, sentinels } => {
                write!(f, "{master} by sentinels {}", list(sentinels))
            }
        }
    }
}

/// `user:password`, `:password`, or a password alone, percent-encoded.
fn credentials(who: Option<&str>) -> Result<(Option<String>, Option<Secret>), BadAddress> {
    let Some(who) = who else { return Ok((None, None)) };
    let (user, password) = match who.split_once(':') {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        None => (String::new(), decoded(who)?),
    };
    Ok((Some(user).filter(|user| !user.is_empty()), Secret::new(&password)))
}

fn decoded(text: &str) -> Result<String, BadAddress> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| BadAddress)
}

// === impl Host ===

impl Host {
    fn parse(text: &str, port: u16) -> Result<Self, BadAddress> {
        let (name, rest) = match text.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or(BadAddress)?,
            None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| BadAddress)?,
            None if rest.is_empty() => port,
            None => return Err(BadAddress),
        };
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "/?#@".contains(c));
        if is_name && 0 < port { Ok(Self { name: name.into(), port }) } else { Err(BadAddress) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

// === impl BadAddress ===

impl BadAddress {
    /// What would do.
    pub const WANTED: &'static str = "host:port, redis://user:password@host:port/db, rediss://..., \
                                      host:port,host:port for a cluster, or redis+sentinel://name@host:port,host:port";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) -> Address {
        let address: Address = text.parse().unwrap_or_else(|BadAddress| panic!("{text}"));
        assert_eq!(address.to_string(), shown, "{text}");
        address
    }

    #[test]
    fn addresses_of_all_forms_are_read_and_shown_without_secrets() {
        check("localhost:1234", "localhost:1234");
        check("10.0.0.1", "10.0.0.1:6379");
        check("[::1]:7", "[::1]:7");
        let full = check("rediss://us%40er:p%3Aw@h:1/3", "h:1");
        assert_eq!((full.user.as_deref(), full.database, full.is_tls), (Some("us@er"), 3, true));
        assert_eq!(full.password.map(|it| it.expose().to_owned()), Some("p:w".into()));
        assert!(!format!("{:?}", check("redis://:hush@h", "h:6379")).contains("hush"));
        check("a:1,b:2", "cluster a:1,b:2");
        check("a:1,", "cluster a:1");
        check("redis+cluster://u:p@a", "cluster a:6379");
        let address = check("redis+sentinel://main@a,b:1", "main by sentinels a:26379,b:1");
        assert_eq!((address.user, address.password), (None, None));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":1",
            "a:b",
            "a:0",
            "a:70000",
            "http://a",
            "redis+other://a",
            "a b:1",
            "a:1,b:2/3",
            "a/x",
            "[::1",
            "redis+sentinel://a:1",
            ",",
        ] {
            assert_eq!(text.parse::<Address>(), Err(BadAddress), "{text}");
        }
    }
}

//! The connections to Redis: made anew by one loop, used by everybody as long as they hold.
//!
//! A call fails at once while there is no connection, and within the configured time while there is one.
//! Never: waits for a connection, repeats what may have been done, or shows a password.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClientBuilder, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, TlsMode, Value,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::address::{Host, RedisConfig, Topology};
use super::metrics::RedisMetrics;
use super::scripts::Call;

/// What calls go through.
#[derive(Debug)]
pub(super) struct Connection {
    config: RedisConfig,
    metrics: RedisMetrics,
    state: Mutex<State>,
    lost: Notify,
    /// When a refusal was logged last.
    told: Mutex<Option<Instant>>,
}

/// A way to a Redis that answers; cheap to clone.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Server(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

#[derive(Debug)]
enum State {
    /// And why.
    Down(Box<str>),
    Up(Arc<Link>),
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// There is no connection, or it broke, or the server cannot be used.
    #[error("{0}")]
    Lost(Box<str>),
    /// The server answered that it will not.
    #[error("{message}")]
    Refused {
        /// Its first word.
        code: Box<str>,
        /// All of it.
        message: Box<str>,
    },
}

/// How often refusals are logged at most.
const TELL: Duration = Duration::from_secs(30);
/// Oldest version of Redis that has all the commands.
const OLDEST: (u32, u32) = (6, 2);

// === impl Connection ===

impl Connection {
    pub(super) fn new(config: RedisConfig, metrics: RedisMetrics) -> Self {
        let state = Mutex::new(State::Down("not connected yet".into()));
        Self { config, metrics, state, lost: Notify::new(), told: Mutex::default() }
    }

    /// Longest wait for one answer.
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Whether it is a cluster that is talked to.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.config.address.topology, Topology::Cluster(_))
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.lock(), State::Up(_))
    }

    /// Opens a connection that nobody else uses yet.
    pub(super) async fn open(&self) -> Result<Link, Failure> {
        // Connecting takes several answers: a look-up, a greeting, a password.
        match timeout(self.timeout() * 2, self.config.connect()).await {
            Ok(opened) => opened.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::lost("no connection in time")),
        }
    }

    /// Everybody's calls go by this link from now on.
    pub(super) fn establish(&self, link: Link) {
        *self.state.lock() = State::Up(Arc::new(link));
        self.metrics.is_connected(true);
    }

    /// No calls any more.
    pub(super) fn give_up(&self, why: &str) {
        *self.state.lock() = State::Down(why.into());
        self.metrics.is_connected(false);
    }

    /// Waits until somebody's call found the connection broken; answers with what that call ended with.
    pub(super) async fn lost(&self) -> Failure {
        loop {
            self.lost.notified().await;
            // It may have been told of a connection that was given up meanwhile.
            if let State::Down(why) = &*self.state.lock() {
                return Failure::Lost(why.clone());
            }
        }
    }

    /// Logs what the server refuses, now and then; a lost connection is logged by who makes a new one.
    pub(super) fn tell_of(&self, failure: &Failure) {
        let Failure::Refused { code, message } = failure else { return };
        let mut told = self.told.lock();
        if told.is_none_or(|told| TELL <= told.elapsed()) {
            *told = Some(Instant::now());
            drop(told);
            tracing::warn!(%code, "Redis refuses writes: {message}");
        }
    }

    /// Calls a script.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, Failure> {
        let link = match &*self.state.lock() {
            State::Up(link) => link.clone(),
            State::Down(_) => return Err(Failure::lost("not connected")),
        };
        let answer = self.call_by(&link, call).await;
        if let Err(Failure::Lost(why)) = &answer
            && !self.is_cluster()
        {
            self.give_up_on(&link, why);
        }
        answer
    }

    /// Calls a script by a link of the caller's own.
    pub(super) async fn call_by<T: FromRedisValue>(
        &self,
        link: &Link,
        call: &Call<'_>,
    ) -> Result<T, Failure> {
        let answer = match self.ask(link, call.by_hash(), Duration::ZERO).await {
            Err(Failure::Refused { code, .. }) if *code == *"NOSCRIPT" => {
                self.ask(link, &call.with_code(), Duration::ZERO).await
            }
            answer => answer,
        };
        if let Err(Failure::Refused { code, message }) = &answer {
            self.metrics.refused(code);
            tracing::debug!(script = call.script.name, "Redis refused {}: {message}", call.script.name);
        }
        answer
    }

    /// Sends a command that may take `longer` than others.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        link: &Link,
        command: &Cmd,
        longer: Duration,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let mut link = link.clone();
        let answered = match timeout(self.timeout() + longer, link.send(command)).await {
            Err(_) => return Err(Failure::lost(&format!("no answer within {:?}", self.timeout()))),
            Ok(answered) => answered,
        };
        if longer.is_zero() {
            self.metrics.answered(begun.elapsed());
        }
        let value = answered.and_then(Value::extract_error).map_err(|error| Failure::of(&error))?;
        T::from_redis_value(value).map_err(|error| Failure::refused("ANSWER", &error.to_string()))
    }

    fn give_up_on(&self, link: &Arc<Link>, why: &str) {
        let mut state = self.state.lock();
        if let State::Up(present) = &*state
            && Arc::ptr_eq(present, link)
        {
            *state = State::Down(why.into());
            drop(state);
            tracing::debug!("a call failed: {why}");
            self.metrics.is_connected(false);
            self.lost.notify_one();
        }
    }
}

// === impl Link ===

impl Link {
    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Cluster(_) => "Cluster",
        })
    }
}

// === impl RedisConfig ===

impl RedisConfig {
    async fn connect(&self) -> Result<Link, RedisError> {
        let certificates = self.certificates().await?;
        match &self.address.topology {
            Topology::Server(host) => {
                let info = self.endpoint(host, self.address.is_tls).into_connection_info()?;
                let info = info.set_redis_settings(self.identity());
                let client = match self.address.is_tls {
                    true => Client::build_with_tls(info, certificates)?,
                    false => Client::open(info)?,
                };
                self.usable(&client).await
            }
            Topology::Sentinel { master, sentinels } => {
                let sentinels = sentinels.iter().map(|host| self.endpoint(host, self.address.is_tls));
                let kind = SentinelServerType::Master;
                let mut builder = SentinelClientBuilder::new(sentinels, master, kind)?;
                if self.address.is_tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(certificates);
                }
                if let Some(user) = self.user() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = self.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                builder = builder.set_client_to_redis_db(self.address.database.into());
                let client = builder.build()?.async_get_client().await?;
                self.usable(&client).await
            }
            Topology::Cluster(nodes) => {
                let nodes = nodes.iter().map(|host| self.endpoint(host, self.address.is_tls));
                let mut builder = ClusterClientBuilder::new(nodes)
                    .retries(2)
                    .connection_timeout(self.timeout)
                    .response_timeout(self.timeout);
                if self.address.is_tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates);
                }
                if let Some(user) = self.user() {
                    builder = builder.username(user);
                }
                if let Some(password) = self.password() {
                    builder = builder.password(password);
                }
                let config = ClusterConfig::new()
                    .set_connection_timeout(self.timeout)
                    .set_response_timeout(self.timeout);
                let mut connection = builder.build()?.get_async_connection_with_config(config).await?;
                let info: Result<HashMap<String, String>, _> =
                    redis::cmd("INFO").query_async(&mut connection).await;
                // A node that does not answer, or not in this way, says nothing about the others.
                info.unwrap_or_default().values().try_for_each(|info| refuse_too_old(info))?;
                Ok(Link::Cluster(connection))
            }
        }
    }

    /// A connection to a server that we can work with.
    async fn usable(&self, client: &Client) -> Result<Link, RedisError> {
        // The time limit for an answer is ours, because it is longer for some.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let info: Result<String, RedisError> = redis::cmd("INFO").query_async(&mut connection).await;
        match info {
            Ok(info) => refuse_unusable(&info)?,
            // It may be forbidden to ask.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {}
            Err(error) => return Err(error),
        }
        Ok(Link::Server(connection))
    }

    fn endpoint(&self, host: &Host, is_tls: bool) -> ConnectionAddr {
        let Host { name, port } = host.clone();
        match is_tls {
            true => ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(name, port),
        }
    }

    fn identity(&self) -> RedisConnectionInfo {
        let mut identity = RedisConnectionInfo::default().set_db(self.address.database.into());
        if let Some(user) = self.user() {
            identity = identity.set_username(user);
        }
        if let Some(password) = self.password() {
            identity = identity.set_password(password);
        }
        identity
    }

    /// What a flag says wins over the address.
    fn user(&self) -> Option<&str> {
        self.user.as_deref().or(self.address.user.as_deref())
    }

    fn password(&self) -> Option<&str> {
        self.password.as_ref().or(self.address.password.as_ref()).map(|secret| secret.expose())
    }

    /// Read anew for each connection, so that a renewed certificate is taken.
    async fn certificates(&self) -> Result<TlsCertificates, RedisError> {
        if !self.address.is_tls {
            return Ok(TlsCertificates { client_tls: None, root_cert: None });
        }
        let root_cert = match &self.ca_file {
            Some(path) => Some(tokio::fs::read(path).await?),
            None => None,
        };
        let client_tls = match &self.certificate {
            None => None,
            Some((cert, key)) => Some(ClientTlsConfig {
                client_cert: tokio::fs::read(cert).await?,
                client_key: tokio::fs::read(key).await?,
            }),
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

/// A server that is too old, or that takes no writes; else it would be lost and found with each of them.
fn refuse_unusable(info: &str) -> Result<(), RedisError> {
    if said(info, "role:") == "slave" {
        let detail = "Redis is a replica, want a server that can be written to".to_owned();
        return Err(RedisError::from((ErrorKind::InvalidClientConfig, "wrong role", detail)));
    }
    refuse_too_old(info)
}

fn refuse_too_old(info: &str) -> Result<(), RedisError> {
    let version = said(info, "redis_version:");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => {
            let (major, minor) = OLDEST;
            let detail = format!("Redis is version {version}, want {major}.{minor} or newer");
            Err(RedisError::from((ErrorKind::InvalidClientConfig, "wrong version", detail)))
        }
        (_, _) => Ok(()),
    }
}

fn said<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// The code of the command in a script that failed; before version 7 it stands within the script's error, behind a hyphen.
fn code_within(message: &str) -> Option<&str> {
    let (_, within) = message.rsplit_once(": -")?;
    let code = within.split(' ').next()?;
    (!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(code)
}

// === impl Failure ===

impl Failure {
    fn lost(why: &str) -> Self {
        Self::Lost(why.into())
    }

    fn refused(code: &str, message: &str) -> Self {
        Self::Refused { code: code.into(), message: message.into() }
    }

    /// What the server will say of every call is a lost connection: another server may be found instead.
    fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (
                ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::NoPerm,
                ),
                _,
            )
            | (_, Some("NOAUTH" | "WRONGPASS")) => Self::lost(&error.to_string()),
            (ErrorKind::Server(_) | ErrorKind::Extension, code) => {
                let message = error.to_string();
                match code_within(&message).or(code).unwrap_or("ERR") {
                    "READONLY" | "LOADING" | "MASTERDOWN" => Self::lost(&message),
                    code => Self::refused(code, &message),
                }
            }
            (_, _) => Self::lost(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_command_in_a_script_is_found_in_both_forms() {
        let old = "ERR: Error running script (call to f_1): @user_script:48: @user_script: 48: -OOM command not allowed";
        assert_eq!(code_within(old), Some("OOM"));
        assert_eq!(code_within("OOM: command not allowed when used memory > 'maxmemory'."), None);
        assert_eq!(code_within("ERR: value is: -1 or so"), None);
    }

    #[test]
    fn what_is_too_old_or_a_replica_is_refused() {
        for (info, wanted) in [
            ("redis_version:7.0.15\r\nrole:master\r\n", None),
            ("redis_version:6.2.0\r\n", None),
            ("", None),
            ("redis_version:6.0.16\r\n", Some("6.2 or newer")),
            ("redis_version:7.0.15\r\nrole:slave\r\n", Some("can be written to")),
        ] {
            let refused = refuse_unusable(info).err().map(|error| error.to_string());
            let is_right = match (&refused, wanted) {
                (Some(refused), Some(wanted)) => refused.contains(wanted),
                (None, None) => true,
                (_, _) => false,
            };
            assert!(is_right, "{info}: {refused:?}");
        }
    }
}

//! Redis as processes: servers, sentinels and a cluster, started on free loopback ports and ended with their owner.
//!
//! Never: touches a Redis that somebody else runs, or keeps data beyond its test.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use redis::{Client, Connection, RedisResult, Value};
use tempfile::TempDir;

use super::eventually;

/// A server, or a sentinel.
#[derive(Debug)]
pub(crate) struct Redis {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

/// Six servers, three of them masters.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

/// A server that all of this process' tests share, each with a database of its own.
struct Shared {
    redis: Redis,
    /// Its other end is held by a shell that ends the server when this process has ended.
    _alive: ChildStdin,
    databases: AtomicU16,
}

const PROGRAM: &str = "redis-server";

/// Databases of the shared server.
const DATABASES: u16 = 8192;

static SHARED: OnceLock<Shared> = OnceLock::new();

/// Whether there is a Redis to start; if not, says so on standard error.
pub(crate) fn is_there() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        let version =
            Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    });
    if !found {
        // Not eprintln!, which is shown for tests that fail only.
        let _ = writeln!(io::stderr(), "skipped: a test that needs {PROGRAM}");
    }
    found
}

/// The library that gives a process a clock of its own, if `A8_TEST_FAKETIME` names it; if not, says so.
pub(crate) fn faked_clock() -> Option<String> {
    let library = std::env::var("A8_TEST_FAKETIME").ok().filter(|path| fs::exists(path).unwrap_or(false));
    if library.is_none() {
        let _ = writeln!(io::stderr(), "skipped: a test that needs libfaketime");
    }
    library
}

/// Whether chapters that know nothing of stores are run on Redis: `A8_TEST_STORE` says so.
fn is_asked_for() -> bool {
    match std::env::var("A8_TEST_STORE").as_deref() {
        Err(_) | Ok("" | "inmem") => false,
        Ok("redis") => true,
        Ok(other) => panic!("A8_TEST_STORE is {other}, want inmem or redis"),
    }
}

/// Whether a test cannot be run because the store in Redis leaves out what it is about; if so, says so.
pub(crate) fn leaves_out(what: &str) -> bool {
    let leaves_out = is_asked_for();
    if leaves_out {
        let _ = writeln!(io::stderr(), "left out: {what}, which is for stores in memory");
    }
    leaves_out
}

/// Flags for a registry with a store in Redis that nobody else uses; none when it is not asked for.
pub(crate) fn flags_of_shared() -> Option<String> {
    if !is_asked_for() {
        return None;
    }
    let shared = SHARED.get_or_init(|| {
        let redis = Redis::start(&format!("--databases {DATABASES}")).expect("there is redis-server");
        let child = redis.child.as_ref().expect("it runs");
        let guard = format!("read -r _; kill -KILL {}", child.id());
        let guard = Command::new("sh").args(["-c", &guard]).stdin(Stdio::piped()).process_group(0).spawn();
        let alive = guard.expect("there is a shell").stdin.expect("it is piped");
        Shared { redis, _alive: alive, databases: AtomicU16::new(0) }
    });
    let database = shared.databases.fetch_add(1, Ordering::Relaxed);
    assert!(database < DATABASES, "there are not enough databases");
    Some(format!("--store redis --store_address redis://{}/{database}", shared.redis.address()))
}

/// A port of loopback that is free, outside of what the kernel gives to connections: a server that is down for a while
/// finds its port free again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 200).expect("is small") * 100;
    loop {
        let port = 11_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

// === impl Redis ===

impl Redis {
    /// A server that answers, with options as on its command line; none where there is no Redis.
    #[track_caller]
    pub(crate) fn start(options: &str) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let directory = TempDir::new().expect("a directory");
        let options = options.split_whitespace().map(Into::into).collect();
        let mut redis = Self { directory, port: 0, options, child: None };
        // Somebody else may have taken the port meanwhile.
        for _ in 0..10 {
            redis.port = free_port();
            redis.spawn();
            if redis.is_ready() {
                return Some(redis);
            }
        }
        panic!("no server could be started:\n{}", redis.log());
    }

    /// A sentinel that looks after a server by the name `main`; two of them agree on its end.
    #[track_caller]
    pub(crate) fn sentinel_of(master: &Self) -> Self {
        let directory = TempDir::new().expect("a directory");
        let conf = directory.path().join("sentinel.conf");
        let lines = format!(
            "sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 2000\n\
             sentinel failover-timeout main 6000\n",
            master.port
        );
        fs::write(&conf, lines).expect("written");
        let options = vec![conf.display().to_string(), "--sentinel".into()];
        let mut redis = Self { directory, port: free_port(), options, child: None };
        redis.spawn();
        assert!(redis.is_ready(), "the sentinel ended:\n{}", redis.log());
        redis
    }

    /// The first number of the program's version; that of a Valkey, which came after Redis 7, is higher.
    fn major() -> u32 {
        let said = Command::new(PROGRAM).arg("--version").output().expect("the program can be run").stdout;
        let text = String::from_utf8_lossy(&said).into_owned();
        let version = text.split("v=").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
        version.unwrap_or_else(|| panic!("{PROGRAM} says {text:?}"))
    }

    /// The option without which a server does not do what only tests want.
    pub(crate) fn debugging() -> &'static str {
        if Self::major() < 7 { "" } else { "--enable-debug-command yes" }
    }

    fn spawn(&mut self) {
        let mut command = Command::new(PROGRAM);
        // A sentinel's file and word stand first, what it does not know it does not get.
        let is_sentinel = self.is_sentinel();
        command.args(&self.options[..if is_sentinel { 1 } else { 0 }]);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--logfile", "log"]);
        if is_sentinel {
            command.arg("--sentinel");
        } else {
            command.args(["--save", ""]).args(&self.options);
        }
        command.arg("--dir").arg(self.directory.path()).current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the program can be run"));
    }

    fn is_sentinel(&self) -> bool {
        self.options.iter().any(|option| option == "--sentinel")
    }

    /// Waits for an answer, be it a refusal; false when the process ended instead.
    fn is_ready(&mut self) -> bool {
        eventually("Redis answers", || {
            let child = self.child.as_mut().expect("it was started");
            match child.try_wait().expect("it is a child of ours") {
                Some(_) => Some(false),
                None => self.is_answering().then_some(true),
            }
        })
    }

    fn is_answering(&self) -> bool {
        let pong: RedisResult<Value> = self.connect().and_then(|mut it| redis::cmd("PING").query(&mut it));
        match pong {
            Ok(_) => true,
            Err(error) => !error.is_io_error(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn option(&self, name: &str) -> Option<&str> {
        let at = self.options.iter().position(|option| option == name)?;
        self.options.get(at + 1).map(String::as_str)
    }

    fn connect(&self) -> RedisResult<Connection> {
        let password =
            self.option("--requirepass").map(|password| format!(":{password}@")).unwrap_or_default();
        let client = Client::open(format!("redis://{password}{}", self.address()))?;
        let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(connection)
    }

    /// Sends a command, words with blanks between them.
    pub(crate) fn try_ask(&self, command: &str) -> RedisResult<Value> {
        let mut words = command.split_whitespace();
        let mut command = redis::cmd(words.next().expect("a command"));
        command.arg(words.collect::<Vec<_>>()).query(&mut self.connect()?)
    }

    /// Sends a command that must be done.
    #[track_caller]
    pub(crate) fn ask(&self, command: &str) -> Value {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The answer to a command, as text.
    #[track_caller]
    pub(crate) fn text(&self, command: &str) -> String {
        redis::from_redis_value(self.ask(command)).expect("a text")
    }

    /// A line of `INFO`.
    #[track_caller]
    pub(crate) fn info(&self, name: &str) -> Option<String> {
        let info: String = redis::from_redis_value(self.try_ask("INFO").ok()?).expect("a text");
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    }

    /// A connection that stays, also when the password changes.
    #[track_caller]
    pub(crate) fn admin(&self) -> impl FnMut(&[&str]) {
        let mut connection = self.connect().expect("it answers");
        move |words: &[&str]| {
            let done: RedisResult<Value> = redis::cmd(words[0]).arg(&words[1..]).query(&mut connection);
            done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }

    /// One more option, from the next start on.
    pub(crate) fn option_for_next(&mut self, option: &str) {
        self.options.extend(option.split_whitespace().map(Into::into));
    }

    /// Ends it at once, as when the machine goes.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is a child of ours");
        child.wait().expect("it is a child of ours");
    }

    /// Starts it again with what is on its disk.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.spawn();
        assert!(self.is_ready(), "it does not start again:\n{}", self.log());
    }

    /// Starts it again without anything.
    #[track_caller]
    pub(crate) fn restart_empty(&mut self) {
        for entry in fs::read_dir(self.directory.path()).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        self.restart();
    }

    /// Sends `STOP` or `CONT`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
        assert!(sent.expect("there is a shell").success());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

// === impl Cluster ===

impl Cluster {
    /// Three masters with a replica each, whose slots are all served; none where there is no Redis.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let nodes: Option<Vec<_>> = (0..6)
            .map(|_| {
                // Before version 7 the other port is always 10 000 further.
                let bus = if Redis::major() < 7 {
                    String::new()
                } else {
                    format!("--cluster-port {}", free_port())
                };
                Redis::start(&format!("--cluster-enabled yes --cluster-node-timeout 3000 {bus}"))
            })
            .collect();
        let cluster = Self { nodes: nodes? };
        for node in &cluster.nodes[1..] {
            let bus = node.option("--cluster-port").unwrap_or_default();
            cluster.nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port));
        }
        for (at, master) in cluster.nodes[..3].iter().enumerate() {
            let slots = [0, 5461, 10923, 16384];
            let own: Vec<_> = (slots[at]..slots[at + 1]).map(|slot| slot.to_string()).collect();
            master.ask(&format!("CLUSTER ADDSLOTS {}", own.join(" ")));
        }
        for (master, replica) in cluster.nodes[..3].iter().zip(&cluster.nodes[3..]) {
            let id = master.text("CLUSTER MYID");
            // It is taken as soon as both know each other.
            eventually("a replica knows its master", || {
                replica.try_ask(&format!("CLUSTER REPLICATE {id}")).ok()
            });
        }
        eventually("the cluster is whole", || {
            let is_whole = |node: &Redis| {
                let info = node.text("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            };
            let is_linked = |node: &Redis| node.info("master_link_status").as_deref() == Some("up");
            let is_done = cluster.nodes.iter().all(is_whole) && cluster.nodes[3..].iter().all(is_linked);
            is_done.then_some(())
        });
        Some(cluster)
    }

    /// What a registry is told.
    pub(crate) fn address(&self) -> String {
        self.nodes.iter().map(Redis::address).collect::<Vec<_>>().join(",")
    }

    /// The slot of a hash tag.
    pub(crate) fn slot(&self, tag: &str) -> u16 {
        let slot =
            self.nodes.iter().find_map(|node| node.try_ask(&format!("CLUSTER KEYSLOT {{{tag}}}")).ok());
        redis::from_redis_value(slot.expect("a node that is up")).expect("a slot")
    }

    /// The place of the master that serves a slot, as most nodes that are up see it.
    pub(crate) fn master_of(&self, slot: u16) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let Ok(Value::BulkString(text)) = node.try_ask("CLUSTER NODES") else { return false };
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().any(|line| {
                let words: Vec<_> = line.split(' ').collect();
                let is_it = words[2].contains("myself,master");
                is_it
                    && words[8..].iter().any(|range| {
                        let (first, last) = range.split_once('-').unwrap_or((range, range));
                        match (first.parse::<u16>(), last.parse::<u16>()) {
                            (Ok(first), Ok(last)) => first <= slot && slot <= last,
                            // What is under way stands in brackets.
                            _ => false,
                        }
                    })
            })
        })
    }

    /// Moves a slot with its keys to another master, as an operator does who adds machines.
    #[track_caller]
    pub(crate) fn migrate(&self, slot: u16, to: usize) {
        let from = self.master_of(slot).expect("somebody serves it");
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (from.text("CLUSTER MYID"), to.text("CLUSTER MYID"));
        to.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
        from.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
        loop {
            let keys: Vec<String> =
                redis::from_redis_value(from.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1"))).expect("keys");
            let [key] = keys.as_slice() else { break };
            from.ask(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
        }
        for node in [to, from] {
            node.ask(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
        }
    }
}

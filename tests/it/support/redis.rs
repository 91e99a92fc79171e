//! Redis as a process of a test's own: on a free loopback port, in a directory of its own, ended with its owner.
//!
//! Never: touches a Redis that the test did not start.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo};
use tempfile::TempDir;

use super::eventually;

/// A server, or a sentinel.
#[derive(Debug)]
pub(crate) struct RedisServer {
    directory: TempDir,
    arguments: Vec<String>,
    password: Option<String>,
    child: Option<Child>,
    port: u16,
}

/// Whether there is a Redis to start; says so when there is none.
pub(crate) fn has_redis() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: there is no redis-server here");
    }
    found
}

/// A port that nobody listened on a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A wire to a server that can be held: what is sent then is neither delivered nor refused.
#[derive(Debug)]
pub(crate) struct Wire {
    port: u16,
    is_held: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (is_held, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (held, over, target) = (is_held.clone(), is_over.clone(), server.address());
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { break };
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let ends =
                    |from: &TcpStream, to: &TcpStream| Some((from.try_clone().ok()?, to.try_clone().ok()?));
                for (from, to) in [ends(&client, &server), ends(&server, &client)].into_iter().flatten() {
                    let (held, over) = (held.clone(), over.clone());
                    thread::spawn(move || carry(from, to, &held, &over));
                }
            }
        });
        Self { port, is_held, is_over }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes who accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool, over: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while held.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        if over.load(Ordering::Relaxed) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

// === impl RedisServer ===

impl RedisServer {
    /// A server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// A server with these arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let mut all: Vec<String> = ["--bind", "127.0.0.1", "--port"].map(Into::into).into();
            all.push(port.to_string());
            all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            let place = arguments.iter().position(|argument| *argument == "--requirepass");
            let password = place.and_then(|at| arguments.get(at + 1)).map(|it| (*it).to_owned());
            let directory = TempDir::new().expect("a directory");
            let mut server = Self { directory, arguments: all, password, child: None, port };
            if server.launch() {
                return server;
            }
        }
        panic!("no Redis could be started");
    }

    /// A sentinel with this configuration.
    pub(crate) fn sentinel(configuration: &str) -> Self {
        let port = free_port();
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("sentinel.conf");
        let head = format!("port {port}\nbind 127.0.0.1\nsentinel resolve-hostnames no\n");
        fs::write(&file, head + configuration).expect("written");
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        let mut server = Self { directory, arguments, password: None, child: None, port };
        assert!(server.launch(), "a sentinel");
        server
    }

    /// Starts it, again when it ran before; false when it ended at once.
    pub(crate) fn launch(&mut self) -> bool {
        let log = File::create(self.directory.path().join("log")).expect("a file");
        let mut command = Command::new("redis-server");
        command.args(&self.arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the same file")).stderr(log);
        let mut child = command.spawn().expect("there is a redis-server");
        let answers = eventually("Redis answers", || match child.try_wait() {
            Ok(Some(_)) => Some(false),
            Ok(None) | Err(_) => self.connection().is_some().then_some(true),
        });
        self.child = Some(child);
        answers
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> Option<Connection> {
        let address = ConnectionAddr::Tcp("127.0.0.1".into(), self.port);
        let mut identity = RedisConnectionInfo::default();
        if let Some(password) = &self.password {
            identity = identity.set_password(password);
        }
        let info = address.into_connection_info().ok()?.set_redis_settings(identity);
        Client::open(info).ok()?.get_connection_with_timeout(Duration::from_secs(2)).ok()
    }

    /// Runs one command, its words with blanks between them.
    #[track_caller]
    pub(crate) fn run<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_run(words).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    pub(crate) fn try_run<T: FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connection().expect("Redis answers"))
    }

    /// Sends `KILL`, `STOP` or `CONT`.
    #[track_caller]
    pub(crate) fn signal(&mut self, name: &str) {
        let child = self.child.as_mut().expect("it runs");
        let kill = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// Ends it at once, as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it and starts it again on its port.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        for _ in 0..50 {
            if self.launch() {
                return;
            }
            // Its port may be held for a moment by connections of before.
            thread::sleep(Duration::from_millis(100));
        }
        panic!("Redis does not start again");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

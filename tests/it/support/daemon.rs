//! The registry as a process of its own: started on a free loopback port, and ended with its owner.
//!
//! Never: sleeps in the hope that the process is ready; it says so in its log.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, PATIENCE, eventually};

/// How a process is to be started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    descriptors: Option<u32>,
}

/// A process that serves.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: Log,
    address: SocketAddr,
}

/// How a process ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; none when a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Lines of standard error, as they come.
#[derive(Debug, Clone, Default)]
struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    is_over: bool,
}

/// How long a process may take to end by itself when a test is over.
const GRACE: Duration = Duration::from_secs(5);

// === impl Setup ===

impl Setup {
    /// Flags with blanks between them; they win over a free loopback port and `--log_level info`.
    pub(crate) fn new(flags: &str) -> Self {
        Self::default().args(flags)
    }

    /// More flags with blanks between them; the later win.
    pub(crate) fn args(mut self, flags: &str) -> Self {
        self.flags.extend(flags.split_whitespace().map(Into::into));
        self
    }

    /// One more argument, which may hold blanks.
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.flags.push(argument.into());
        self
    }

    /// A variable; there are no others.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// How many files the process may have open.
    pub(crate) fn descriptors(self, number: u32) -> Self {
        Self { descriptors: Some(number), ..self }
    }

    /// Starts and waits until it serves.
    #[track_caller]
    pub(crate) fn start(&self) -> Daemon {
        let defaults = ["--api_address", "127.0.0.1", "--api_port", "0", "--log_level", "info"];
        // Chapters that know nothing of stores can be run on Redis too.
        let of_store = match self.flags.iter().any(|flag| flag.starts_with("--store")) {
            false => super::redis::flags_of_shared(),
            true => None,
        };
        let defaults: Vec<_> =
            defaults.into_iter().chain(of_store.iter().flat_map(|it| it.split(' '))).collect();
        let mut child = self.spawn(&defaults, Stdio::null());
        let log = Log::default();
        log.follow(child.stderr.take().expect("it is piped"));
        let mut daemon = Daemon { child, log, address: ([0, 0, 0, 0], 0).into() };
        daemon.address = daemon.address_in("the registry is served on ");
        daemon
    }

    /// Runs to the end with nothing but what was given.
    #[track_caller]
    pub(crate) fn run(&self) -> Ended {
        let mut child = self.spawn(&[], Stdio::piped());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let stdout = thread::spawn(move || read_all(out.expect("it is piped")));
        let stderr = thread::spawn(move || read_all(err.expect("it is piped")));
        let status = ended(&mut child, PATIENCE);
        if status.is_none() {
            // It did not refuse what it should have refused: do not leave it behind.
            let _ = child.kill();
            let _ = child.wait();
        }
        let stderr = stderr.join().expect("the reader does not panic");
        let status = status.unwrap_or_else(|| panic!("{self:?} is still running: {stderr}"));
        Ended { status, stdout: stdout.join().expect("the reader does not panic"), stderr }
    }

    fn spawn(&self, defaults: &[&str], stdout: Stdio) -> Child {
        const BINARY: &str = env!("CARGO_BIN_EXE_a8registry");
        let mut command = match self.descriptors {
            None => Command::new(BINARY),
            Some(number) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {number}; exec \"$@\""), "sh", BINARY]);
                shell
            }
        };
        // The word of a command has to stand first.
        let (words, flags) = match self.flags.split_first() {
            Some((word, flags)) if !word.starts_with('-') => (vec![word], flags),
            Some(_) | None => (Vec::new(), &self.flags[..]),
        };
        command.args(words).args(defaults).args(flags);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        command.spawn().expect("the binary can be run")
    }
}

// === impl Daemon ===

impl Daemon {
    /// A process with these flags, which serves.
    #[track_caller]
    pub(crate) fn start(flags: &str) -> Self {
        Setup::new(flags).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Somebody who shows no token.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Somebody on the operators' port.
    #[track_caller]
    pub(crate) fn ops_client(&self) -> Client {
        Client::new(self.address_in("operators are served on "))
    }

    /// The first line that holds this text, as soon as it is written.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) -> String {
        self.log.first(text).unwrap_or_else(|| panic!("no line has {text:?}:\n{}", self.log.text()))
    }

    /// All that was written so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The address that follows this text in a line.
    #[track_caller]
    fn address_in(&self, text: &str) -> SocketAddr {
        let line = self.logged(text);
        let rest = &line[line.find(text).expect("was found there") + text.len()..];
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !"[]:.".contains(c)).unwrap_or(rest.len());
        rest[..end].parse().unwrap_or_else(|_| panic!("no address in {line}"))
    }

    /// Sends `TERM`, `INT`, `STOP` or `CONT`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        assert!(sent.expect("there is a shell").success(), "{kill}");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let status = ended(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("it is still running:\n{}", self.log()));
        self.log.wait_until_over();
        Ended { status, stdout: String::new(), stderr: self.log() }
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Memory in use, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The sample with this name and these labels, such as `a8_connections_closed_total{reason="idle"}`.
    #[track_caller]
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        self.client().metric(sample).unwrap_or_else(|| panic!("there is no {sample}"))
    }

    /// Waits for a sample to have this value.
    #[track_caller]
    pub(crate) fn until_metric(&self, sample: &str, value: f64) {
        eventually(&format!("{sample} is {value}"), || {
            let is_near = (self.client().metric(sample)? - value).abs() < 0.5;
            is_near.then_some(())
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            let kill = format!("kill -TERM {0}; kill -CONT {0}", self.child.id());
            let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
            if ended(&mut self.child, GRACE).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if thread::panicking() {
            let text = self.log();
            let lines: Vec<_> = text.lines().rev().take(20).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            eprintln!("the last lines of {}:\n{}", self.address, lines.join("\n"));
        }
    }
}

/// The exit status, when the process ends within `patience`.
fn ended(child: &mut Child, patience: Duration) -> Option<Option<i32>> {
    let begun = Instant::now();
    loop {
        match child.try_wait().expect("it is a child of ours") {
            Some(status) => return Some(status.code()),
            None if patience <= begun.elapsed() => return None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is shown all the same.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

// === impl Log ===

impl Log {
    fn follow(&self, from: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n') {
                let Ok(line) = line else { break };
                log.add(|lines| lines.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            log.add(|lines| lines.is_over = true);
        });
    }

    fn add(&self, change: impl FnOnce(&mut Lines)) {
        let (lines, changed) = &*self.0;
        change(&mut lines.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    /// Waits for something among the lines; nothing when they are over, or patience is.
    fn wait_for<T>(&self, mut look: impl FnMut(&Lines) -> Option<T>) -> Option<T> {
        let (lines, changed) = &*self.0;
        let begun = Instant::now();
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = look(&lines);
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if found.is_some() || lines.is_over || left.is_zero() {
                return found;
            }
            lines = changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn first(&self, text: &str) -> Option<String> {
        let mut seen = 0;
        self.wait_for(|lines| {
            let new = &lines.lines[seen..];
            seen = lines.lines.len();
            new.iter().find(|line| line.contains(text)).cloned()
        })
    }

    fn wait_until_over(&self) {
        self.wait_for(|lines| lines.is_over.then_some(()));
    }

    fn text(&self) -> String {
        let (lines, _) = &*self.0;
        lines.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }
}

//! A server as a child process: started on a free loopback port, watched, paused, and ended whatever happens.
//!
//! Never: outlives its value.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::followed::System;
use crate::machine::{Cores, TICK};

const READY_WITHIN: Duration = Duration::from_secs(10);
/// How long a member may take to have everything.
const COMPLETE_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    started_in: Duration,
}

/// How the registry is set up, and by which API everything in it was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// As it is meant to run.
    Plain,
    /// Logging every request too.
    Debug,
    /// Registered by the Eureka API. Changes are forgotten so soon that a delta shows none but its turn's own.
    Eureka {
        /// When changes are forgotten.
        forgets: Duration,
    },
    /// With its store in the Redis on this loopback port.
    Redis {
        /// The port.
        port: u16,
    },
    /// With a catalog.
    Following {
        /// What is followed.
        system: System,
        /// Its loopback port.
        port: u16,
    },
}

/// Which core a server is on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// The servers'.
    Servers(&'a Cores),
    /// That of this process.
    Generator,
}

// === impl Server ===

impl Server {
    /// Starts the registry with leases that no run outlives, its log thrown away.
    pub(crate) fn registry(program: &Path, setting: Setting, cores: &Cores) -> anyhow::Result<Self> {
        let (level, more) = match setting {
            Setting::Plain => ("info", None),
            Setting::Debug => ("debug", None),
            Setting::Eureka { forgets } => {
                ("info", Some(format!("--change_log_age {}ms", forgets.as_millis())))
            }
            Setting::Following { system, port } => ("info", Some(system.flags(port))),
            Setting::Redis { port } => {
                ("info", Some(format!("--store redis --store_address 127.0.0.1:{port}")))
            }
        };
        Self::start(Place::Servers(cores), is_ready, |port| {
            let mut command = Command::new(program);
            command.args(["--api_address", "127.0.0.1", "--api_port", &port.to_string()]);
            command.args(["--max_ttl", "24h", "--log_level", level]);
            command.args(more.iter().flat_map(|more| more.split(' ')));
            command
        })
        .with_context(|| format!("the registry {} did not start", program.display()))
    }

    /// Starts a member of the cluster whose members find each other in `directory`; it is ready when it has what they have.
    pub(crate) fn member(program: &Path, directory: &Path, place: Place<'_>) -> anyhow::Result<Self> {
        Self::start_once(place, is_ready, COMPLETE_WITHIN, &|port| {
            let mut command = Command::new(program);
            command.args(["--api_address", "127.0.0.1", "--api_port", &port.to_string()]);
            command.args([
                "--max_ttl",
                "24h",
                "--log_level",
                "info",
                "--replication",
                "--replication_port",
                "0",
            ]);
            command.args(["--cluster_advertise", "127.0.0.1", "--sync_timeout", "120s", "--cluster_dir"]);
            command.arg(directory);
            command
        })
        .with_context(|| format!("the member {} did not start", program.display()))
    }

    /// Starts this program as the bare server.
    pub(crate) fn bare(cores: &Cores) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        Self::start(Place::Servers(cores), is_ready, |port| {
            let mut command = Command::new(&program);
            command.args(["bare", &port.to_string()]);
            command
        })
        .context("the bare server did not start")
    }

    /// Starts a Redis that keeps nothing on disk, on the generator's core.
    pub(crate) fn redis(program: &Path) -> anyhow::Result<Self> {
        Self::start(Place::Generator, is_accepting, |port| {
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.current_dir(std::env::temp_dir());
            command
        })
        .context("Redis did not start")
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From before the process was made until its first "ready".
    pub(crate) const fn started_in(&self) -> Duration {
        self.started_in
    }

    /// CPU time of the whole process until now, ended threads included.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        match ClockId::pid_cpu_clock_id(self.pid()).and_then(ClockId::now) {
            Ok(time) => Ok(time.into()),
            Err(_) => self.cpu_in_ticks(),
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
        Ok(kilobytes.parse::<u64>()? * 1024)
    }

    /// Stops it from running, so that what it does of its own accord falls into no other server's turn.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid(), Signal::SIGSTOP)?)
    }

    /// Lets it run again.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }

    /// The port is free when it is chosen and may be taken when it is used, so a few are tried.
    fn start(
        place: Place<'_>,
        is_up: fn(SocketAddr) -> bool,
        command: impl Fn(u16) -> Command,
    ) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..3 {
            match Self::start_once(place, is_up, READY_WITHIN, &command) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("not tried")?)
    }

    fn start_once(
        place: Place<'_>,
        is_up: fn(SocketAddr) -> bool,
        within: Duration,
        command: &impl Fn(u16) -> Command,
    ) -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = command(address.port());
        // The environment could configure it otherwise than the report says.
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let child = match place {
            Place::Servers(cores) => cores.as_server(|| command.spawn())??,
            Place::Generator => command.spawn()?,
        };
        let mut server = Self { child, address, started_in: Duration::ZERO };
        while !is_up(address) {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            if within < begin.elapsed() {
                bail!("it was not ready within {} s", within.as_secs());
            }
            // Who looks all the time at one that takes long slows it down.
            thread::sleep(Duration::from_micros(200).max(begin.elapsed() / 500));
        }
        server.started_in = begin.elapsed();
        Ok(server)
    }

    fn cpu_in_ticks(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The command's name may hold blanks: fields are counted behind it.
        let (_, fields) = stat.rsplit_once(')').context("no command in stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        Ok(TICK * ticks.sum::<Result<u32, _>>()?)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // A paused process would not see the other signal.
        let _ = self.resume();
        let _ = kill(self.pid(), Signal::SIGTERM);
        let begin = Instant::now();
        while !self.has_ended() && begin.elapsed() < ENDS_WITHIN {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_accepting(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

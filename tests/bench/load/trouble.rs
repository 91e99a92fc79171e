//! Reads while a system that a catalog follows is in trouble: beside those of a registry that has as many instances
//! and no catalog, in short turns, each at the same modest rate.
//!
//! What a read takes is the CPU time of the server between question and answer: whatever a catalog has done meanwhile on
//! the one core that the server has was waited for, and what other processes did to the machine was not its doing. A stall
//! counts for every read that was due in it. Whoever has not its turn stands still. The median of the rounds counts, for some of
//! what the hypervisor gives to others looks like the server's.
//! Never: takes a figure of a registry that shows less than before, or of one that has not yet felt what is wrong.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::case::Case;
use crate::catalog::{get, percentile};
use crate::faults::{Far, Fault, FaultProxy};
use crate::figure::{Figure, Measured};
use crate::followed::{EACH, SERVICES, System, address, name};
use crate::generator;
use crate::http::Connection;
use crate::population::Population;
use crate::report::Report;
use crate::server::{Server, Setting};
use crate::session::Session;

/// Instances that every registry has of its own.
const OWN: usize = 1_000;
/// Turns of both in each round, reads of a turn, and time between two of them.
const TURNS: usize = 8;
const READS: u32 = 200;
const EVERY: Duration = Duration::from_micros(500);
/// Reads before those of a turn: one that stood still makes up for what it did not do meanwhile.
const UNHEEDED: u32 = 40;
/// What is wrong, one after the other. A system that is silent asks for nothing that a delayed one does not.
const FAULTS: [Option<Fault>; 7] = [
    None,
    Some(Fault::Cut),
    Some(Fault::Delayed),
    Some(Fault::Refusing),
    Some(Fault::Half),
    Some(Fault::Garbage),
    Some(Fault::Endless),
];
/// How much slower most reads may be.
const BOUND: f64 = 1.2;
/// How long a registry may take to feel what is wrong, or that nothing is any longer.
const WITHIN: Duration = Duration::from_secs(60);
/// Before a fault is measured that a registry does not tell of, or not soon.
const UNTOLD: Duration = Duration::from_millis(500);

/// A proxy that is made and ended where it may wait.
struct Between(Option<FaultProxy>);

/// One of the two that are read.
struct Reader {
    server: Server,
    connection: Connection,
    questions: Vec<Question>,
    asked: usize,
}

/// What reads took, in milliseconds.
#[derive(Default)]
struct Times {
    /// Of the server's CPU, those included that were due while one took long.
    cpu: Vec<f64>,
    /// By the clock.
    clock: Vec<f64>,
}

/// A look-up and the length of its answer.
struct Question {
    request: Vec<u8>,
    length: Option<u64>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

// === impl Session ===

impl Session {
    /// Everything about catalogs in trouble, when it is wanted.
    pub(crate) async fn with_faults(&self, report: &mut Report) -> anyhow::Result<()> {
        if !self.options.wants_figure(Figure::CatalogFaults) {
            return Ok(());
        }
        let mut plain =
            Reader::of(Server::registry(&self.options.registry, Setting::Plain, &self.cores)?).await?;
        plain.register_followed().await?;
        for system in System::ALL {
            self.note(&format!("reads beside {} in trouble", system.name()));
            let running = system.start();
            let proxy = Between::to(running.far())?;
            let setting = Setting::Following { system, port: proxy.get()?.address().port() };
            let mut followed =
                Reader::of(Server::registry(&self.options.registry, setting, &self.cores)?).await?;
            followed.until(system, "instances", (SERVICES * EACH) as f64).await?;
            for fault in FAULTS {
                let failures = followed.metric(system, "failures_total").await?;
                proxy.get()?.set(fault);
                followed.until_felt(system, fault, failures).await?;
                let rounds = self.options.rounds();
                let measured = measure(system, fault, rounds, &mut plain, &mut followed).await;
                report.figures.push(measured.with_context(|| format!("{}, {fault:?}", system.name()))?);
                proxy.get()?.set(None);
                followed.until(system, "up", 1.0).await?;
            }
        }
        Ok(())
    }
}

/// Turn by turn, and who begins alternates.
async fn measure(
    system: System,
    fault: Option<Fault>,
    rounds: usize,
    plain: &mut Reader,
    followed: &mut Reader,
) -> anyhow::Result<Measured> {
    let (mut played, mut resident) = (Vec::new(), 0);
    for _ in 0..rounds {
        let (mut without, mut with) = (Times::default(), Times::default());
        for nth in 0..TURNS {
            if nth % 4 == 0 || nth % 4 == 3 {
                plain.turn_beside(followed, &mut without).await?;
            } else {
                followed.turn_beside(plain, &mut with).await?;
                resident = followed.server.resident()?.max(resident);
            }
        }
        played.push([without, with]);
    }
    for reader in [plain, followed] {
        reader.has_all().await?;
    }
    let mut median = |of: &dyn Fn(&mut [Times; 2]) -> f64| {
        percentile(&mut played.iter_mut().map(of).collect::<Vec<_>>(), 50)
    };
    let ratio = median(&|[without, with]| percentile(&mut with.cpu, 99) / percentile(&mut without.cpu, 99));
    let note = format!(
        "p99 {:.3} ms of CPU without, {:.3} with; half within {:.3}, {:.3}, by the clock {:.3}, {:.3}; up to {} MB",
        median(&|[without, _]| percentile(&mut without.cpu, 99)),
        median(&|[_, with]| percentile(&mut with.cpu, 99)),
        median(&|[without, _]| percentile(&mut without.cpu, 50)),
        median(&|[_, with]| percentile(&mut with.cpu, 50)),
        median(&|[without, _]| percentile(&mut without.clock, 50)),
        median(&|[_, with]| percentile(&mut with.clock, 50)),
        resident >> 20
    );
    let fault = fault.map_or("well".to_owned(), |fault| format!("{fault:?}").to_lowercase());
    let name = format!("p99, {}, {fault}", system.name());
    Ok(Measured::catalog(&name, ratio, Some(BOUND), note))
}

// === impl Between ===

impl Between {
    fn to(far: Far) -> anyhow::Result<Self> {
        let started = thread::spawn(|| FaultProxy::to(far)).join();
        Ok(Self(Some(started.ok().context("the proxy did not start")?)))
    }

    fn get(&self) -> anyhow::Result<&FaultProxy> {
        self.0.as_ref().context("the proxy has ended")
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let proxy = self.0.take();
        // It says nothing that anybody could act upon.
        let _ = thread::spawn(|| drop(proxy)).join();
    }
}

// === impl Times ===

impl Times {
    fn add(&mut self, cpu: Duration) {
        self.cpu.push(milliseconds(cpu));
        let mut left = cpu;
        while EVERY < left {
            left -= EVERY;
            self.cpu.push(milliseconds(left));
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Reads services of its own and those that are followed, by turns.
    async fn of(server: Server) -> anyhow::Result<Self> {
        let own = generator::preload(server.address(), Population::new(OWN), Case::Register).await?;
        let names = (0..SERVICES).flat_map(|nth| [own.wide(nth), name(nth)]);
        let request = |name: String| get(&format!("/api/v1/services/{name}"));
        let questions = names.map(|name| Question { request: request(name), length: None }).collect();
        let connection = Connection::open(server.address()).await?;
        Ok(Self { server, connection, questions, asked: 0 })
    }

    /// Registers what others follow.
    async fn register_followed(&mut self) -> anyhow::Result<()> {
        for (service, at) in (0..SERVICES).flat_map(|service| (0..EACH).map(move |at| (service, at))) {
            let body = format!(
                r#"{{"service_name":"{}","endpoint":{{"type":"http","value":"{}"}},"ttl":86400,"status":"UP"}}"#,
                name(service),
                address(service, at)
            );
            let length = body.len();
            let request = format!(
                "POST /api/v1/instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let answer = self.connection.exchange(request.as_bytes(), None).await?;
            ensure!(answer.status == 201, "a registration was answered with {}", answer.status);
        }
        Ok(())
    }

    /// Takes a turn while the other stands still.
    async fn turn_beside(&mut self, other: &Self, times: &mut Times) -> anyhow::Result<()> {
        other.server.pause()?;
        let turn = self.turn(times).await;
        other.server.resume()?;
        turn
    }

    async fn turn(&mut self, times: &mut Times) -> anyhow::Result<()> {
        let begin = Instant::now();
        for nth in 0..UNHEEDED + READS {
            // Timers of the runtime are no finer than a millisecond.
            thread::sleep((begin + EVERY * nth).saturating_duration_since(Instant::now()));
            let (asked, cpu) = (Instant::now(), self.server.cpu()?);
            self.read().await?;
            if UNHEEDED <= nth {
                times.clock.push(milliseconds(asked.elapsed()));
                times.add(self.server.cpu()?.saturating_sub(cpu));
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let nth = self.asked % self.questions.len();
        self.asked += 1;
        let Question { request, length } = self.questions.get_mut(nth).context("nothing to ask for")?;
        let answer = self.connection.exchange(request, None).await?;
        ensure!(answer.status == 200, "a read was answered with {}", answer.status);
        let before = *length.get_or_insert(answer.length);
        ensure!(answer.length == before, "an answer had {before} bytes, and now {}", answer.length);
        Ok(())
    }

    /// That nothing is lacking.
    async fn has_all(&mut self) -> anyhow::Result<()> {
        let mut body = Vec::new();
        self.connection.exchange(&get("/api/v1/instances?status=ALL"), Some(&mut body)).await?;
        let shown = memchr::memmem::find_iter(&body, b"\"service_name\"").count();
        let wanted = OWN + SERVICES * EACH;
        ensure!(shown == wanted, "{shown} instances are shown of {wanted}");
        Ok(())
    }

    /// Waits until the fault has made the catalog fail, where it does so soon.
    async fn until_felt(&mut self, system: System, fault: Option<Fault>, before: f64) -> anyhow::Result<()> {
        match fault {
            None | Some(Fault::Delayed | Fault::Silent) => {
                tokio::time::sleep(UNTOLD).await;
                return Ok(());
            }
            Some(Fault::Cut | Fault::Refusing | Fault::Half | Fault::Garbage | Fault::Endless) => {}
        }
        let begin = Instant::now();
        while self.metric(system, "failures_total").await? <= before {
            ensure!(begin.elapsed() < WITHIN, "the fault was not felt within {WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the registry says so of its catalog.
    async fn until(&mut self, system: System, what: &str, wanted: f64) -> anyhow::Result<()> {
        // A namespace is followed that somebody uses.
        self.connection.exchange(&get("/api/v1/services"), None).await?;
        let begin = Instant::now();
        loop {
            let value = self.metric(system, what).await?;
            if value == wanted {
                return Ok(());
            }
            ensure!(begin.elapsed() < WITHIN, "{what} of {} is {value}, wanted {wanted}", system.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn metric(&mut self, system: System, what: &str) -> anyhow::Result<f64> {
        let mut body = Vec::new();
        self.connection.exchange(&get("/metrics"), Some(&mut body)).await?;
        let text = std::str::from_utf8(&body)?;
        let sample = format!("a8_catalog_{what}{{catalog=\"{}\"}} ", system.name());
        let value = text.lines().find_map(|line| line.strip_prefix(&sample));
        Ok(value.with_context(|| format!("no {sample}"))?.parse()?)
    }
}

//! A whole run: which servers are up when, who takes turns with whom, and what goes into the report.
//!
//! The bare server lives through the run, the registry is started anew for each size.
//! Never: stops at a case that fails; the others are still measured, and the exit status tells.

use std::cell::Cell;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::burden::Burden;
use crate::case::{Case, Kind};
use crate::figure::{Count, Figure, Measured};
use crate::generator;
use crate::machine::Cores;
use crate::options::Options;
use crate::population::Population;
use crate::report::{Report, Round, Row};
use crate::server::{Server, Setting};
use crate::turn::Turn;
use crate::workload::{Side, Workload};

const STARTS: usize = 9;
/// After registering, before memory is read: what the registry frees with a delay is free then.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);

/// Runs everything that was asked for and prints the report.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let cores = Cores::divide()?;
    let session = Session { bare: Server::bare(&cores)?, cores, begin: Instant::now(), options };
    session.note(if cores.are_apart() {
        "servers on one core, generator on another"
    } else {
        "one core for all"
    });
    let mut report = Report::default();
    session.figures(&mut report)?;
    for size in session.options.sizes() {
        session.size(Kind::Plain, size, &mut report).await;
    }
    if let Some(smallest) = session.options.sizes().into_iter().min() {
        session.size(Kind::Debug, smallest, &mut report).await;
    }
    for size in session.options.sizes() {
        session.size(Kind::Eureka, size, &mut report).await;
    }
    for size in session.options.sizes() {
        if let Err(error) = session.on_redis(size, &mut report).await {
            report.fail(format!("Redis at {}: {error:#}", Count(size)));
        }
    }
    for size in session.options.sizes() {
        if let Err(error) = session.in_cluster(size, &mut report).await {
            report.fail(format!("cluster at {}: {error:#}", Count(size)));
        }
    }
    if let Err(error) = session.with_catalog(&mut report).await {
        report.fail(format!("catalogs: {error:#}"));
    }
    if let Err(error) = session.with_faults(&mut report).await {
        report.fail(format!("catalogs in trouble: {error:#}"));
    }
    report.print()?;
    if let Some(path) = &session.options.json {
        fs::write(path, report.json()?).with_context(|| format!("can not write {}", path.display()))?;
    }
    Ok(if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) options: Options,
    pub(crate) cores: Cores,
    bare: Server,
    begin: Instant,
}

// === impl Session ===

impl Session {
    /// What needs no load.
    fn figures(&self, report: &mut Report) -> anyhow::Result<()> {
        if self.options.wants_figure(Figure::Binary) {
            report.figures.push(Measured::binary(fs::metadata(&self.options.registry)?.len()));
        }
        if self.options.wants_figure(Figure::Start) {
            let starts = (0..STARTS).map(|_| {
                let registry = Server::registry(&self.options.registry, Setting::Plain, &self.cores)?;
                Ok(registry.started_in().as_secs_f64() * 1e3)
            });
            report.figures.push(Measured::start(starts.collect::<anyhow::Result<_>>()?));
        }
        Ok(())
    }

    /// Everything of one kind at one size; what goes wrong is noted, not passed on.
    async fn size(&self, kind: Kind, size: usize, report: &mut Report) {
        let wanted = |case: &Case| case.is_for(size) && kind == case.kind();
        let cases: Vec<Case> = self.options.cases().into_iter().filter(wanted).collect();
        let with_memory = kind == Kind::Plain && self.options.wants_figure(Figure::Memory);
        if cases.is_empty() && !with_memory {
            return;
        }
        if let Err(error) = self.measure(kind, size, &cases, with_memory, report).await {
            report.fail(format!("{}: {error:#}", Count(size)));
        }
    }

    async fn measure(
        &self,
        kind: Kind,
        size: usize,
        cases: &[Case],
        with_memory: bool,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (setting, registers) = match kind {
            Kind::Plain | Kind::Redis | Kind::Cluster => (Setting::Plain, Case::Register),
            Kind::Debug => (Setting::Debug, Case::Register),
            Kind::Eureka => (Setting::Eureka { forgets: self.forgets() }, Case::EurekaRegister),
        };
        let registry = Server::registry(&self.options.registry, setting, &self.cores)?;
        tokio::time::sleep(SETTLE / 4).await;
        let idle = registry.resident()?;
        self.note(&format!("registering {} instances", Count(size)));
        let population = generator::preload(registry.address(), Population::new(size), registers).await?;
        let population = Arc::new(population);
        tokio::time::sleep(SETTLE).await;
        if with_memory {
            report.memory(Measured::idle_memory(idle), Measured::memory(size, registry.resident()?, idle));
        }
        for case in cases {
            match self.rounds(*case, &registry, &population).await {
                Ok(rounds) => report.rows.push(Row::new(*case, size, rounds)),
                Err(error) => report.fail(format!("{case} at {}: {error:#}", Count(size))),
            }
        }
        if with_memory && !cases.is_empty() {
            report.figures.push(Measured::memory_after_load(size, registry.resident()?));
        }
        Ok(())
    }

    /// Turn by turn: registry and bare, bare and registry, and so on.
    async fn rounds(
        &self,
        case: Case,
        registry: &Server,
        population: &Arc<Population>,
    ) -> anyhow::Result<Vec<Round>> {
        let mut rounds = Vec::new();
        let asked = Workload::new(Side::Registry, case, registry.address(), population.clone());
        if matches!(case, Case::EurekaDelta | Case::EurekaDeltaGzip) {
            // What other cases changed is in it too.
            let deltas =
                Workload::new(Side::Registry, Case::EurekaDelta, registry.address(), population.clone());
            generator::until_forgotten(deltas, self.forgets()).await?;
        }
        let bare = asked.beside(self.bare.address(), generator::weigh(asked.clone()).await?);
        for number in 0..self.options.rounds() {
            let round =
                Round::by_turns(number, self.take(registry, &asked), self.take_alone(&bare, registry))
                    .await?;
            self.note(&format!(
                "{case} at {}, round {}: {:.2} us, bare {:.2} us, others use {:.0} % and {:.0} % of a core",
                Count(population.size()),
                number + 1,
                round.registry.micros,
                round.bare.micros,
                round.registry.foreign * 100.0,
                round.bare.foreign * 100.0
            ));
            rounds.push(round);
        }
        Ok(rounds)
    }

    /// Turn by turn: a registry and one that has less to do, and the other way round. What a companion of the first uses of
    /// the generator's core in a turn is used in one of the other, too.
    pub(crate) async fn side_by_side(
        &self,
        case: Case,
        (registry, companion): (&Server, Option<&Server>),
        other: &Server,
        population: &Arc<Population>,
    ) -> anyhow::Result<Vec<Round>> {
        let of = |server: &Server| Workload::new(Side::Registry, case, server.address(), population.clone());
        let (mut rounds, share) = (Vec::new(), Cell::new(0.0));
        for number in 0..self.options.rounds() {
            let (asked, beside) = (of(registry), of(other));
            let cpu = || companion.map_or(Ok(Duration::ZERO), Server::cpu);
            let first = async {
                let (begin, before) = (Instant::now(), cpu()?);
                let turn = self.take(registry, &asked).await;
                share.set(cpu()?.saturating_sub(before).div_duration_f64(begin.elapsed()));
                turn
            };
            let second = async {
                let _burden = companion.map(|_| Burden::of(share.get()));
                self.take(other, &beside).await
            };
            let round = Round::by_turns(number, first, second).await?;
            self.note(&format!(
                "{case} at {}, round {}: {:.2} us, beside it {:.2} us; {:.0} and {:.0} answers a second",
                Count(population.size()),
                number + 1,
                round.registry.micros,
                round.bare.micros,
                round.registry.rate,
                round.bare.rate
            ));
            rounds.push(round);
        }
        Ok(rounds)
    }

    /// A turn of the bare server, the registry standing still.
    async fn take_alone(&self, workload: &Workload, registry: &Server) -> anyhow::Result<Turn> {
        registry.pause()?;
        let turn = self.take(&self.bare, workload).await;
        registry.resume()?;
        turn
    }

    pub(crate) async fn take(&self, server: &Server, workload: &Workload) -> anyhow::Result<Turn> {
        let length = Duration::from_secs_f64(self.options.secs());
        let workload = workload.clone();
        if self.options.quick {
            Turn::take(server, workload, length).await
        } else {
            Turn::take_patiently(server, workload, length).await
        }
    }

    /// When changes are forgotten: after more than a turn, so that what it changes is there to its end.
    fn forgets(&self) -> Duration {
        Duration::from_secs_f64(2.0 + 2.0 * self.options.secs())
    }

    pub(crate) fn note(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.begin.elapsed().as_secs_f64());
    }
}

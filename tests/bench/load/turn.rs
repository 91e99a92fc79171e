//! One turn of one server: warm-up, a gap, the measured stretch, a gap. CPU is read in the gaps, so the cost of every
//! counted request is counted, and no other's.
//!
//! Never: decides what the numbers mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::generator;
use crate::machine::Usage;
use crate::server::Server;
use crate::workload::Workload;

/// More than this much of a core used by others disturbs a turn.
const DISTURBED: f64 = 0.25;

/// What a turn showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Turn {
    /// CPU time of the server for each unit of work, in microseconds.
    pub(crate) micros: f64,
    /// Answers in the measured stretch.
    pub(crate) answers: usize,
    /// Answers per second.
    pub(crate) rate: f64,
    /// How busy the server was, in cores.
    pub(crate) server: f64,
    /// How busy the generator was, in cores.
    pub(crate) generator: f64,
    /// What everybody else used meanwhile, in cores.
    pub(crate) foreign: f64,
}

// === impl Turn ===

impl Turn {
    /// Measures; a turn that others disturbed is repeated once, and the quieter of both counts.
    pub(crate) async fn take_patiently(
        server: &Server,
        workload: Workload,
        length: Duration,
    ) -> anyhow::Result<Self> {
        let first = Self::take(server, workload.clone(), length).await?;
        if !first.is_disturbed() {
            return Ok(first);
        }
        let second = Self::take(server, workload, length).await?;
        Ok(if second.foreign < first.foreign { second } else { first })
    }

    /// Whether others used so much of the machine that the figure may be off.
    pub(crate) fn is_disturbed(&self) -> bool {
        DISTURBED < self.foreign
    }

    /// Measures, whatever others do meanwhile.
    pub(crate) async fn take(
        server: &Server,
        mut workload: Workload,
        length: Duration,
    ) -> anyhow::Result<Self> {
        let case = workload.case();
        let mut connections = generator::connect(server.address(), case.connections()).await?;
        for connection in connections.iter_mut().take(1) {
            generator::probe(&mut workload, connection).await?;
        }
        let workload = Arc::new(workload);
        let (connections, _) = generator::stretch(&workload, connections, length / 3).await?;

        let (usage, cpu, begin) = (Usage::now()?, server.cpu()?, Instant::now());
        let (_connections, answers) = generator::stretch(&workload, connections, length).await?;
        let (seconds, cpu) = (begin.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(cpu));
        let after = Usage::now()?;

        let others = after.others_since(&usage).saturating_sub(cpu);
        Ok(Self {
            micros: cpu.as_secs_f64() * 1e6 / (answers * case.units()) as f64,
            answers,
            rate: answers as f64 / seconds,
            server: cpu.as_secs_f64() / seconds,
            generator: after.own_since(&usage).as_secs_f64() / seconds,
            foreign: others.as_secs_f64() / seconds,
        })
    }
}

//! The command line of the benchmark.
//!
//! Never: reads the environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::case::{Case, Subject};
use crate::figure::Figure;

/// Measures what requests cost the registry, beside a bare axum handler.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// The registry's binary
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_a8registry"))]
    pub(crate) registry: PathBuf,

    /// A smoke run of less than half a minute: sizes 1k and 10k, one short round, no turn repeated
    #[arg(long)]
    pub(crate) quick: bool,

    /// Instances registered while measuring [default: 1k,10k,100k,1m]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = size)]
    sizes: Vec<usize>,

    /// What to measure [default: everything]
    #[arg(long, value_name = "LIST", value_delimiter = ',', long_help = Subject::help())]
    cases: Vec<Subject>,

    /// Turns of each server for each case and size [default: 11]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,

    /// Length of a turn, after a warm-up of a third of it [default: 0.4]
    #[arg(long, value_name = "SECONDS")]
    secs: Option<f64>,

    /// Write every figure and every turn to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Given by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What this process is, when it is not the driver.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Role {
    /// The server that does nothing (the driver starts it)
    #[command(hide = true)]
    Bare {
        /// Loopback port
        port: u16,
    },
}

// === impl Options ===

impl Options {
    /// Sizes in the order in which they are measured.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        match (self.sizes.is_empty(), self.quick) {
            (false, _) => self.sizes.clone(),
            (true, true) => vec![1_000, 10_000],
            (true, false) => vec![1_000, 10_000, 100_000, 1_000_000],
        }
    }

    /// The request cases that were asked for.
    pub(crate) fn cases(&self) -> Vec<Case> {
        Case::ALL.into_iter().filter(|case| self.wants(&Subject::Case(*case))).collect()
    }

    /// Whether it was said how many instances there are.
    pub(crate) fn names_sizes(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// Whether it was said what to measure.
    pub(crate) fn names_cases(&self) -> bool {
        !self.cases.is_empty()
    }

    /// Whether a figure was asked for.
    pub(crate) fn wants_figure(&self, figure: Figure) -> bool {
        self.wants(&Subject::Figure(figure))
    }

    /// At least one.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 11 }).max(1)
    }

    /// Length of a turn in seconds, at least a twentieth.
    pub(crate) fn secs(&self) -> f64 {
        self.secs.unwrap_or(if self.quick { 0.25 } else { 0.4 }).clamp(0.05, 600.0)
    }

    fn wants(&self, subject: &Subject) -> bool {
        self.cases.is_empty() || self.cases.contains(subject)
    }
}

/// `1000`, `10k` or `1m`; at least 1000, so that there are services with 20 instances.
fn size(text: &str) -> Result<usize, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, unit) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
        (Some(digits), _) => (digits, 1_000),
        (None, Some(digits)) => (digits, 1_000_000),
        (None, None) => (lower.as_str(), 1),
    };
    let count = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
    match count {
        Some(count @ 1_000..=10_000_000) if count % 1_000 == 0 => Ok(count),
        Some(_) | None => Err(format!("got {text:?}, wanted a multiple of 1000 up to 10m, like 10k")),
    }
}

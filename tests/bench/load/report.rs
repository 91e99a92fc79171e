//! What came out, as a table for people and as JSON for programs.
//!
//! Never: measures.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::case::Case;
use crate::figure::{Count, Measured};
use crate::turn::Turn;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Costs of requests.
    pub(crate) rows: Vec<Row>,
    /// Properties of the process.
    pub(crate) figures: Vec<Measured>,
    failures: Vec<String>,
}

/// One turn of each server, near in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// The registry's.
    pub(crate) registry: Turn,
    /// The bare server's.
    pub(crate) bare: Turn,
}

/// One case at one size.
#[derive(Debug)]
pub(crate) struct Row {
    case: Case,
    size: usize,
    rounds: Vec<Round>,
}

// === impl Report ===

impl Report {
    /// Adds memory; the idle figure only once.
    pub(crate) fn memory(&mut self, idle: Measured, full: Measured) {
        if !self.figures.iter().any(|figure| figure.name == idle.name) {
            self.figures.push(idle);
        }
        self.figures.push(full);
    }

    /// Notes that something could not be measured.
    pub(crate) fn fail(&mut self, what: String) {
        eprintln!("failed: {what}");
        self.failures.push(what);
    }

    /// Whether something could not be measured.
    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The tables, on standard output.
    pub(crate) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.rows.is_empty() {
            self.write_costs(&mut out)?;
        }
        if !self.figures.is_empty() {
            self.write_figures(&mut out)?;
        }
        for failure in &self.failures {
            writeln!(out, "failed: {failure}")?;
        }
        out.flush()
    }

    /// Everything, each turn too.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let figures = self.figures.iter().map(|figure| {
            let Measured { name, value, bound, note } = figure;
            json!({"name": name, "value": value, "bound": bound, "note": note})
        });
        let figures: Vec<Value> = figures.collect();
        serde_json::to_string_pretty(&json!({"rows": rows, "figures": figures, "failures": self.failures}))
    }

    fn write_costs(&self, out: &mut impl Write) -> io::Result<()> {
        let head = ["case", "size", "server us", "bare us", "ratio", "bound", "", "spread", "others"];
        let [case, size, server, bare, ratio, bound, verdict, spread, others] = head;
        writeln!(
            out,
            "\nServer CPU per request (batch: per instance; list, list-gzip: the bare server sends 10 MB;\n\
             eureka-delta, eureka-list: it sends as many bytes as the registry; redis-*, cluster-*: instead of the bare server\n\
             there is a registry with its store in memory and without replication)\n\n\
             {case:<18}{size:>6}{server:>12}{bare:>11}{ratio:>8}{bound:>8}  {verdict:<6}{spread:>7}{others:>8}"
        )?;
        // By case, so that the sizes of one stand below each other, and debug below info.
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| (row.case, row.size));
        for row in rows {
            writeln!(out, "{}", row.line())?;
        }
        writeln!(
            out,
            "\nratio: median of the rounds' ratios; spread: (largest - smallest) / median of them;\n\
             others: CPU used by other processes, median, in % of a core; ~: no round was undisturbed\n"
        )
    }

    fn write_figures(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:<34}{:>9}{:>9}", "figure", "value", "bound")?;
        for figure in &self.figures {
            let Measured { name, value, bound, note } = figure;
            let verdict = verdict(*value, *bound);
            // Of what is bounded by a small number the hundredths tell.
            let (digits, of_bound) = if bound.is_some_and(|bound| bound < 2.0) { (2, 2) } else { (1, 0) };
            writeln!(
                out,
                "{name:<34}{value:>9.digits$}{:>9}  {verdict:<6}{note}",
                or_dash(*bound, of_bound)
            )?;
        }
        writeln!(out)
    }
}

// === impl Round ===

impl Round {
    /// One turn after the other; in every second round the other way round.
    pub(crate) async fn by_turns(
        number: usize,
        registry: impl Future<Output = anyhow::Result<Turn>>,
        bare: impl Future<Output = anyhow::Result<Turn>>,
    ) -> anyhow::Result<Self> {
        if number.is_multiple_of(2) {
            let registry = registry.await?;
            Ok(Self { registry, bare: bare.await? })
        } else {
            let bare = bare.await?;
            Ok(Self { registry: registry.await?, bare })
        }
    }

    fn ratio(&self) -> f64 {
        self.registry.micros / self.bare.micros
    }

    fn is_disturbed(&self) -> bool {
        self.registry.is_disturbed() || self.bare.is_disturbed()
    }
}

// === impl Row ===

impl Row {
    /// From at least one round.
    pub(crate) fn new(case: Case, size: usize, rounds: Vec<Round>) -> Self {
        Self { case, size, rounds }
    }

    /// The rounds that count: the undisturbed ones, or all when there is none.
    fn counted(&self) -> Vec<&Round> {
        let calm: Vec<&Round> = self.rounds.iter().filter(|round| !round.is_disturbed()).collect();
        if calm.is_empty() { self.rounds.iter().collect() } else { calm }
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let values = self.sorted(of);
        let middle = values.len() / 2;
        match values.len() % 2 {
            1 => values[middle],
            _even => f64::midpoint(values[middle - 1], values[middle]),
        }
    }

    fn spread(&self) -> f64 {
        let ratios = self.sorted(Round::ratio);
        let width = ratios.last().zip(ratios.first()).map_or(0.0, |(last, first)| last - first);
        width / self.median(Round::ratio)
    }

    fn sorted(&self, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.counted().into_iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn line(&self) -> String {
        let server = self.median(|round| round.registry.micros);
        let bare = self.median(|round| round.bare.micros);
        let ratio = self.median(Round::ratio);
        let bound = self.case.bound(self.size);
        let others = self.median(|round| round.registry.foreign.max(round.bare.foreign));
        let mark = if self.counted().iter().all(|round| round.is_disturbed()) { "~" } else { "" };
        format!(
            "{:<18}{:>6}{server:>12.2}{bare:>11.2}{ratio:>8.3}{:>8}  {:<6}{:>5.0} %{:>6.0} %{mark}",
            self.case,
            Count(self.size),
            or_dash(bound, 3),
            verdict(ratio, bound),
            self.spread() * 100.0,
            others * 100.0
        )
    }

    fn json(&self) -> Value {
        let turns: Vec<Value> =
            self.rounds.iter().map(|round| json!({"registry": round.registry, "bare": round.bare})).collect();
        json!({
            "case": self.case.name(),
            "size": self.size,
            "server_us": self.median(|round| round.registry.micros),
            "bare_us": self.median(|round| round.bare.micros),
            "ratio": self.median(Round::ratio),
            "bound": self.case.bound(self.size),
            "spread": self.spread(),
            "rounds": turns,
        })
    }
}

fn or_dash(bound: Option<f64>, digits: usize) -> String {
    bound.map_or_else(|| "-".to_owned(), |bound| format!("{bound:.digits$}"))
}

fn verdict(value: f64, bound: Option<f64>) -> &'static str {
    match bound {
        None => "",
        Some(bound) if value <= bound => "ok",
        Some(_) => "OVER",
    }
}

//! What the process itself costs: build, age, processor time, memory, files, threads.
//!
//! Read from `/proc/self` when somebody asks; a figure that the system does not give is left out.
//! Never: guesses, or keeps what it read.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use super::logs::DroppedLines;
use crate::model::Timestamp;

/// Ticks of processor time in a second as `/proc` counts them; fixed in Linux' interface.
const TICKS: f64 = 100.0;

/// Which program this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Version of the release.
    pub version: &'static str,
    /// Revision of the source, `unknown` when the build did not say.
    pub revision: &'static str,
    /// Day of the build, `unknown` when the build did not say.
    pub date: &'static str,
}

/// This program; the build passes `A8_BUILD_REVISION` and `A8_BUILD_DATE` in its environment.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: given(option_env!("A8_BUILD_REVISION")),
    date: given(option_env!("A8_BUILD_DATE")),
};

/// Figures of the process, by the names that Prometheus' own clients use.
#[derive(Debug)]
pub struct ProcessMetrics {
    started: Timestamp,
    dropped: Option<DroppedLines>,
}

/// Memory, in bytes, as far as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What this process uses.
    pub used: Option<u64>,
    /// What the machine has.
    pub total: Option<u64>,
}

/// A reading of `/proc/self`.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

// === impl Build ===

const fn given(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) if !value.is_empty() => value,
        Some(_) | None => "unknown",
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (revision {}, built {})", self.version, self.revision, self.date)
    }
}

// === impl ProcessMetrics ===

impl ProcessMetrics {
    /// Figures of a process that started at `started` and whose dropped log lines are counted by
    /// `dropped`, when it has a log.
    #[must_use]
    pub fn new(started: Timestamp, dropped: Option<DroppedLines>) -> Self {
        Self { started, dropped }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_build(&mut encoder)?;
        let started = std::time::Duration::from_millis(self.started.as_millis()).as_secs_f64();
        gauge(&mut encoder, "process_start_time", "Start, since 1970", Some(&Unit::Seconds), Some(started))?;
        let Reading { cpu_seconds, resident_bytes, threads, open_fds, max_fds } = Reading::take();
        counter(&mut encoder, "process_cpu", "Processor time used", Some(&Unit::Seconds), cpu_seconds)?;
        gauge(&mut encoder, "process_resident_memory", "Memory in use", Some(&Unit::Bytes), resident_bytes)?;
        gauge(&mut encoder, "process_threads", "Threads", None, threads)?;
        gauge(&mut encoder, "process_open_fds", "Open file descriptors", None, open_fds)?;
        gauge(&mut encoder, "process_max_fds", "File descriptors allowed", None, max_fds)?;
        let dropped = self.dropped.as_ref().map(DroppedLines::count);
        counter(&mut encoder, "a8_log_lines_dropped", "Log lines lost to a full queue", None, dropped)
    }
}

fn encode_build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Build { version, revision, date } = BUILD;
    encoder.encode_descriptor("a8_build", "Which program this is", None, MetricType::Info)?.encode_info(&[
        ("version", version),
        ("revision", revision),
        ("date", date),
    ])
}

fn gauge<T: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<T>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
}

fn counter<T: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<T>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    encoder
        .encode_descriptor(name, help, unit, MetricType::Counter)?
        .encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], u64>>)
}

// === impl Memory ===

impl Memory {
    /// As it is now.
    #[must_use]
    pub fn of_system() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { used: kilobytes(&status, "VmRSS:"), total: kilobytes(&machine, "MemTotal:") }
    }
}

/// A figure of a list in `/proc`, in bytes.
fn kilobytes(list: &str, key: &str) -> Option<u64> {
    let line = list.lines().find_map(|line| line.strip_prefix(key))?;
    let figure: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    figure.checked_mul(1024)
}

// === impl Reading ===

impl Reading {
    fn take() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self { open_fds: open_fds(), ..Self::of(&stat, &status, &limits) }
    }

    fn of(stat: &str, status: &str, limits: &str) -> Self {
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            cpu_seconds: cpu_seconds(stat),
            resident_bytes: kilobytes(status, "VmRSS:"),
            threads: number("Threads:"),
            open_fds: None,
            max_fds: max_fds.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()),
        }
    }
}

/// User and system time. The program's name, in parentheses, may hold anything; fields count from
/// behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

/// Newer systems say how many there are; older ones are asked for the list.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok(),
        open => Some(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Dialect, Exposition};

    #[test]
    fn figures_are_read_from_proc() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 3 0 100 1 2 3";
        let status = "Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t3\n";
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        assert_eq!(
            Reading::of(stat, status, limits),
            Reading {
                cpu_seconds: Some(1.75),
                resident_bytes: Some(2_097_152),
                threads: Some(3),
                open_fds: None,
                max_fds: Some(1024),
            }
        );
    }

    #[test]
    fn what_the_system_does_not_say_is_left_out() {
        assert_eq!(Reading::of("", "", ""), Reading::default());
        assert_eq!(Reading::of("1 (x) S", "VmRSS: x", "Max open files unlimited"), Reading::default());
    }

    #[test]
    fn the_build_and_the_start_are_always_there() {
        let mut exposition = Exposition::default();
        let process = ProcessMetrics::new(Timestamp::from_millis(1_500), None);
        exposition.registry_mut().register_collector(Box::new(process));
        let text = exposition.encode(Dialect::OpenMetrics).unwrap();
        assert!(text.contains("a8_build_info{version=\"2.0.0\","), "{text}");
        assert!(text.contains("process_start_time_seconds 1.5\n"), "{text}");
    }
}

//! Figures that are not the cost of a request: memory, start to ready, size of the binary.
//!
//! Never: a judgement that the report does not show the numbers for.

use std::fmt;

/// A property of the registry's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Resident memory, idle and with every size.
    Memory,
    /// From the start of the process to the first "ready", with nothing registered.
    Start,
    /// Size of the executable file.
    Binary,
    /// Heartbeats of a thousand instances in one request, beside the same calls of Redis by `redis-benchmark`.
    RedisBatch,
    /// Start and memory of a registry that reads its instances from Redis.
    Mirror,
    /// Time from the answer of one registry to a registration until another one on the same Redis shows it.
    Visibility,
    /// Fifty thousand instances of a catalog, of which one in a hundred changes each second.
    Catalog,
    /// Reads while what a catalog follows is in trouble.
    CatalogFaults,
    /// Bytes on a link and CPU of both members, for renewals at the rate of a million instances.
    ClusterLink,
    /// From the start of a member until it has everything and is ready.
    ClusterJoin,
    /// From the end of a member's silence until it has what changed meanwhile.
    ClusterHeal,
}

/// One measured figure, in the unit of its name.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// What it is.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// At most, where the design says so.
    pub(crate) bound: Option<f64>,
    /// What else to know, or nothing.
    pub(crate) note: String,
}

// === impl Figure ===

impl Figure {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 11] = [
        Self::Memory,
        Self::Start,
        Self::Binary,
        Self::RedisBatch,
        Self::Mirror,
        Self::Visibility,
        Self::Catalog,
        Self::CatalogFaults,
        Self::ClusterLink,
        Self::ClusterJoin,
        Self::ClusterHeal,
    ];

    /// As the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Binary => "binary",
            Self::RedisBatch => "redis-batch",
            Self::Mirror => "mirror",
            Self::Visibility => "visibility",
            Self::Catalog => "catalog",
            Self::CatalogFaults => "catalog-faults",
            Self::ClusterLink => "cluster-link",
            Self::ClusterJoin => "cluster-join",
            Self::ClusterHeal => "cluster-heal",
        }
    }
}

// === impl Measured ===

impl Measured {
    /// Memory of an empty registry, in MB of 2^20 bytes.
    pub(crate) fn idle_memory(bytes: u64) -> Self {
        Self {
            name: "memory, idle (MB)".into(),
            value: megabytes(bytes),
            bound: Some(15.0),
            note: String::new(),
        }
    }

    /// Memory with `size` instances.
    pub(crate) fn memory(size: usize, bytes: u64, idle: u64) -> Self {
        let bound = match size {
            10_000 => Some(40.0),
            100_000 => Some(120.0),
            1_000_000 => Some(1024.0),
            _other => None,
        };
        let each = bytes.saturating_sub(idle) as f64 / size as f64;
        let note = format!("{each:.0} bytes per instance");
        Self { name: format!("memory, {} (MB)", Count(size)), value: megabytes(bytes), bound, note }
    }

    /// Memory of a registry that has read `size` instances from Redis; what is allowed of one that keeps them itself.
    pub(crate) fn mirror_memory(size: usize, bytes: u64, idle: u64) -> Self {
        let name = format!("memory, mirror of {} (MB)", Count(size));
        Self { name, ..Self::memory(size, bytes, idle) }
    }

    /// Start of a registry that has `size` instances to read from Redis.
    pub(crate) fn mirror_start(size: usize, millis: Vec<f64>) -> Self {
        let bound = (size <= 100_000).then_some(2_000.0);
        Self { name: format!("start, mirror of {} (ms)", Count(size)), bound, ..Self::start(millis) }
    }

    /// By how much `redis-benchmark` renews more in the same time; what each renewed in a second, the median first.
    pub(crate) fn redis_batch(ratio: f64, ours: f64, benchmark: f64) -> Self {
        let note = format!("times our rate: {ours:.0} renewals a second, redis-benchmark {benchmark:.0}");
        Self { name: "redis-batch, redis-benchmark".into(), value: ratio, bound: Some(1.0 / 0.6), note }
    }

    /// The 99th of a hundred times until another registry shows a registration.
    pub(crate) fn visibility(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let at = |hundredth: usize| millis.get(millis.len() * hundredth / 100).copied().unwrap_or(f64::NAN);
        let note = format!("p50 {:.1}, longest {:.1}", at(50), millis.last().copied().unwrap_or(f64::NAN));
        Self { name: "seen elsewhere, p99 (ms)".into(), value: at(99), bound: Some(100.0), note }
    }

    /// What a renewal costs Redis.
    pub(crate) fn redis_cpu(kind: &str, size: usize, micros: f64) -> Self {
        let name = format!("Redis' CPU, {kind} at {} (us)", Count(size));
        Self { name, value: micros, bound: None, note: "for each renewal".into() }
    }

    /// Memory after all requests of a size; lists and churn leave their traces.
    pub(crate) fn memory_after_load(size: usize, bytes: u64) -> Self {
        let name = format!("memory, {} after the load (MB)", Count(size));
        Self { name, value: megabytes(bytes), bound: None, note: String::new() }
    }

    /// Median of several starts.
    pub(crate) fn start(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let median = millis.get(millis.len() / 2).copied().unwrap_or(f64::NAN);
        let (first, last) =
            (millis.first().copied().unwrap_or(median), millis.last().copied().unwrap_or(median));
        let note = format!("{first:.1} to {last:.1} in {} starts", millis.len());
        Self { name: "start to ready (ms)".into(), value: median, bound: Some(50.0), note }
    }

    /// A property of a registry with a catalog.
    pub(crate) fn catalog(name: &str, value: f64, bound: Option<f64>, note: String) -> Self {
        Self { name: format!("catalog, {name}"), value, bound, note }
    }

    /// Bytes of a link for each renewal that came by it.
    pub(crate) fn cluster_bytes(size: usize, bytes: f64) -> Self {
        let name = format!("cluster, bytes each of {}", Count(size));
        Self { name, value: bytes, bound: Some(4.0), note: "for a renewal on a link".into() }
    }

    /// What renewals cost one of two members beyond those of its clients, in hundredths of a core.
    pub(crate) fn cluster_cpu(side: &str, size: usize, percent: f64, note: &str) -> Self {
        let name = format!("cluster, CPU {side}, {} (%)", Count(size));
        Self { name, value: percent, bound: None, note: note.into() }
    }

    /// Until a new member has `size` instances.
    pub(crate) fn cluster_join(size: usize, millis: f64, note: String) -> Self {
        let bound = (1_000_000 <= size).then(|| 15_000.0 * size as f64 / 1e6);
        Self { name: format!("cluster, join with {} (ms)", Count(size)), value: millis, bound, note }
    }

    /// Until a member that was cut off has what changed.
    pub(crate) fn cluster_heal(size: usize, changes: usize, mut millis: Vec<f64>) -> Self {
        let name = format!("cluster, heal, {} of {} (ms)", Count(changes), Count(size));
        millis.sort_by(f64::total_cmp);
        let value = millis.get(millis.len() / 2).copied().unwrap_or(f64::NAN);
        let (first, last) =
            (millis.first().copied().unwrap_or(value), millis.last().copied().unwrap_or(value));
        let note = format!("{first:.0} to {last:.0} in {} cuts", millis.len());
        Self { name, value, bound: Some(3_000.0), note }
    }

    /// The executable.
    pub(crate) fn binary(bytes: u64) -> Self {
        Self { name: "binary (MB)".into(), value: megabytes(bytes), bound: Some(25.0), note: String::new() }
    }
}

/// A number of instances as people write it: `10k`, `1m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count) = *self;
        let text = match (count % 1_000_000, count % 1_000) {
            (0, _) => format!("{}m", count / 1_000_000),
            (_, 0) => format!("{}k", count / 1_000),
            (_, _) => count.to_string(),
        };
        f.pad(&text)
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

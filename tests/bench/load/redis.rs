//! What a store in Redis costs: the registry with it takes turns with one that keeps everything in memory; heartbeats of
//! many beside `redis-benchmark` with the same script; start and memory of a registry that reads everything from Redis.
//!
//! Where there is no `redis-server`, the report says so.
//! Never: uses a Redis that this process did not start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::case::{Case, Kind};
use crate::figure::{Count, Figure, Measured};
use crate::generator;
use crate::http::Connection;
use crate::population::{Population, id_in};
use crate::report::{Report, Row};
use crate::server::{Server, Setting};
use crate::session::{SETTLE, Session};
use crate::workload::{Side, Workload};

/// The script of a renewal, as the registry sends it.
const RENEW: &str = concat!(
    include_str!("../../../src/store/redis/scripts/bucket.lua"),
    include_str!("../../../src/store/redis/scripts/renew.lua")
);
/// Where the namespace `default` lies.
const BUCKET: &str = "{a8:31}";
const NAMESPACE: &str = "64656661756c74";
const STARTS: usize = 3;
/// Registrations that are looked for elsewhere.
const SEEN: usize = 1_000;
const SEEN_WITHIN: Duration = Duration::from_secs(10);

// === impl Session ===

impl Session {
    /// Everything about Redis at one size.
    pub(crate) async fn on_redis(&self, size: usize, report: &mut Report) -> anyhow::Result<()> {
        let wanted = |case: &Case| case.is_for(size) && case.kind() == Kind::Redis;
        let cases: Vec<Case> = self.options.cases().into_iter().filter(wanted).collect();
        let with_batch = size == 10_000 && self.options.wants_figure(Figure::RedisBatch);
        // A million are registered for minutes, so only for who asks.
        let with_mirror = self.options.wants_figure(Figure::Mirror)
            && ((10_000..=100_000).contains(&size) || self.options.names_cases());
        let with_visibility = size == 10_000 && self.options.wants_figure(Figure::Visibility);
        if cases.is_empty() && !with_batch && !with_mirror && !with_visibility {
            return Ok(());
        }
        let redis = Server::redis(&program("redis-server")?)?;
        let setting = Setting::Redis { port: redis.address().port() };
        let registry = Server::registry(&self.options.registry, setting, &self.cores)?;
        tokio::time::sleep(SETTLE / 4).await;
        let idle = registry.resident()?;
        self.note(&format!("registering {} instances in Redis", Count(size)));
        let population = Population::new(size);
        let population = Arc::new(generator::preload(registry.address(), population, Case::Register).await?);
        if !cases.is_empty() {
            let memory = Server::registry(&self.options.registry, Setting::Plain, &self.cores)?;
            generator::preload(memory.address(), Population::new(size), Case::Register).await?;
            for case in cases {
                match self.side_by_side(case, (&registry, None), &memory, &population).await {
                    Ok(rounds) => report.rows.push(Row::new(case, size, rounds)),
                    Err(error) => report.fail(format!("{case} at {}: {error:#}", Count(size))),
                }
                if case == Case::RedisRenew {
                    let cpu = self.cpu_of_redis(case, &redis, &registry, &population).await?;
                    report.figures.push(Measured::redis_cpu(case.name(), size, cpu));
                }
            }
        }
        if with_batch {
            report.figures.push(self.batch(&redis, &registry, &population).await?);
            let cpu = self.cpu_of_redis(Case::Batch, &redis, &registry, &population).await?;
            report.figures.push(Measured::redis_cpu("batch", size, cpu));
        }
        if with_visibility {
            let other = Server::registry(&self.options.registry, setting, &self.cores)?;
            report.figures.push(self.visibility(&registry, &other, &population).await?);
        }
        drop(registry);
        if with_mirror {
            self.mirror(setting, size, idle, report).await?;
        }
        Ok(())
    }

    /// CPU time of Redis for each renewal, in microseconds.
    async fn cpu_of_redis(
        &self,
        case: Case,
        redis: &Server,
        registry: &Server,
        population: &Arc<Population>,
    ) -> anyhow::Result<f64> {
        let before = redis.cpu()?;
        let (answers, _) = self.answers(case, registry.address(), population).await?;
        let cpu = redis.cpu()?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / (answers * case.units()) as f64)
    }

    /// How many answers came, and in what time.
    async fn answers(
        &self,
        case: Case,
        address: SocketAddr,
        population: &Arc<Population>,
    ) -> anyhow::Result<(usize, Duration)> {
        let workload = Arc::new(Workload::new(Side::Registry, case, address, population.clone()));
        let connections = generator::connect(address, at_once(case)).await?;
        let begin = Instant::now();
        let length = Duration::from_secs_f64(self.options.secs());
        let (_, answers) = generator::stretch(&workload, connections, length).await?;
        Ok((answers, begin.elapsed()))
    }

    /// Heartbeats of a thousand in one request, and `redis-benchmark`, by turns.
    async fn batch(
        &self,
        redis: &Server,
        registry: &Server,
        population: &Arc<Population>,
    ) -> anyhow::Result<Measured> {
        let command = benchmark(redis.address().port(), population)?;
        let (mut ratios, mut rates, mut benchmarks) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..self.options.rounds() {
            let (answers, time) = self.answers(Case::Batch, registry.address(), population).await?;
            let ours = (answers * Case::BATCH) as f64 / time.as_secs_f64();
            let calls = (answers / 2).max(200);
            let theirs = self.calls_a_second(&command, calls)? * Case::BATCH as f64;
            self.note(&format!(
                "redis-batch, round {}: {ours:.0} renewals a second, redis-benchmark {theirs:.0}",
                number + 1
            ));
            ratios.push(theirs / ours);
            rates.push(ours);
            benchmarks.push(theirs);
        }
        Ok(Measured::redis_batch(median(ratios), median(rates), median(benchmarks)))
    }

    fn calls_a_second(&self, command: &[String], calls: usize) -> anyhow::Result<f64> {
        let program = program("redis-benchmark")?;
        let run = || {
            let calls = calls.to_string();
            let count = at_once(Case::Batch).to_string();
            let head = ["-n", &calls, "-c", &count, "--csv"];
            // Its options end where the command begins.
            Command::new(&program).args(&command[..2]).args(head).args(&command[2..]).output()
        };
        let output = self.cores.as_server(run)??;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let field = last.rsplit("\",\"").nth(6).context("redis-benchmark said nothing that can be read")?;
        ensure!(output.status.success(), "redis-benchmark failed: {last}");
        field.parse().with_context(|| format!("redis-benchmark says {field:?} calls a second"))
    }

    /// Registers at one registry and asks another one until it knows.
    async fn visibility(
        &self,
        registry: &Server,
        other: &Server,
        population: &Arc<Population>,
    ) -> anyhow::Result<Measured> {
        let workload =
            Workload::new(Side::Registry, Case::RegisterNew, registry.address(), population.clone());
        let mut writer = Connection::open(registry.address()).await?;
        let mut reader = Connection::open(other.address()).await?;
        let (mut request, mut body, mut millis) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SEEN {
            let step = workload.first_step();
            workload.write(step, &mut request);
            body.clear();
            let answer = writer.exchange(&request, Some(&mut body)).await?;
            workload.judge(step, &answer)?;
            let answered = Instant::now();
            let id = id_in(&body)?;
            let path = format!("/api/v1/instances/{}", String::from_utf8_lossy(&id));
            let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            while reader.exchange(question.as_bytes(), None).await?.status != 200 {
                ensure!(answered.elapsed() < SEEN_WITHIN, "a registration is not seen elsewhere");
            }
            millis.push(answered.elapsed().as_secs_f64() * 1e3);
            if let Some(step) = workload.second_step(step, &body)? {
                workload.write(step, &mut request);
                writer.exchange(&request, None).await?;
            }
        }
        Ok(Measured::visibility(millis))
    }

    /// Start and memory of registries that read everything.
    async fn mirror(
        &self,
        setting: Setting,
        size: usize,
        idle: u64,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut millis = Vec::new();
        let mut resident = 0;
        for _ in 0..STARTS {
            let registry = Server::registry(&self.options.registry, setting, &self.cores)?;
            millis.push(registry.started_in().as_secs_f64() * 1e3);
            tokio::time::sleep(SETTLE).await;
            resident = registry.resident()?;
            self.note(&format!(
                "a mirror of {} is ready after {:.0} ms and takes {:.1} MB",
                Count(size),
                registry.started_in().as_secs_f64() * 1e3,
                resident as f64 / f64::from(1 << 20)
            ));
        }
        report.figures.push(Measured::mirror_start(size, millis));
        report.figures.push(Measured::mirror_memory(size, resident, idle));
        Ok(())
    }
}

/// `-p`, a port, and a call that renews a thousand instances. They are others than the registry's, whose names have a byte
/// that no argument may have, among as many.
fn benchmark(port: u16, population: &Population) -> anyhow::Result<Vec<String>> {
    let mut redis = redis::Client::open(("127.0.0.1", port))?.get_connection()?;
    let hash: String = redis::cmd("SCRIPT").arg("LOAD").arg(RENEW).query(&mut redis)?;
    let [clock, leases] = ["clock", "benchmark"].map(|key| format!("{BUCKET}:{key}"));
    let member = |at| format!("{NAMESPACE}-{}", population.id(at));
    for some in (0..population.size()).collect::<Vec<_>>().chunks(Case::BATCH) {
        let mut add = redis::cmd("ZADD");
        add.arg(&leases);
        for at in some {
            add.arg("3000000000000").arg(member(*at));
        }
        let () = add.query(&mut redis)?;
    }
    let head =
        ["-p", &port.to_string(), "EVALSHA", &hash, "2", &clock, &leases, "0", ""].map(ToOwned::to_owned);
    let members = (0..Case::BATCH).map(member);
    let lengths = (0..Case::BATCH).map(|_| "86400000".to_owned());
    Ok(head.into_iter().chain(members).chain(lengths).collect())
}

/// Connections that ask at once. Few suffice to keep Redis busy by batches, and many have them wait for each other.
const fn at_once(case: Case) -> usize {
    if matches!(case, Case::Batch) { 8 } else { case.connections() }
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|place| place.join(name)).find(|path| Path::is_file(path));
    found.with_context(|| format!("there is no {name} here"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

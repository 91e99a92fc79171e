//! What a cluster costs: a member takes turns with a registry that does not replicate; bytes and CPU for renewals on a
//! link; the time that a new member takes to have everything, and that one takes which was cut off meanwhile.
//!
//! The first member stands on the servers' core, the second one on the generator's, where something else does as much while
//! the registry has its turn that does not replicate.
//! Never: measures more than two members, or uses a directory that others know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::case::{Case, Kind};
use crate::figure::{Count, Figure, Measured};
use crate::generator;
use crate::http::Connection;
use crate::population::Population;
use crate::report::{Report, Row};
use crate::server::{Place, Server, Setting};
use crate::session::Session;
use crate::workload::{Side, Step, Workload};

/// As many renewals come in a second as a million instances send that renew every 30 s; in requests of a thousand.
const RATE: usize = 33;
/// How often a member joins, and is cut off.
const TIMES: usize = 3;
/// What is changed while a member is cut off.
const CHANGES: usize = 10_000;
/// A member that does not speak is cut off after five seconds.
const CUT_WITHIN: Duration = Duration::from_secs(20);
/// Far above all bounds.
const AGREE_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Two members, or one, and all that is registered with the first.
struct Pair<'a> {
    session: &'a Session,
    first: Server,
    second: Option<Server>,
    population: Arc<Population>,
    /// Outlives the servers.
    directory: TempDir,
}

/// What renewals cost.
struct Link {
    bytes: f64,
    renewals: f64,
    /// CPU of who was told, and of the second member, for each renewal that was sent, in seconds.
    cpu: [f64; 2],
}

// === impl Session ===

impl Session {
    /// Everything about clusters at one size.
    pub(crate) async fn in_cluster(&self, size: usize, report: &mut Report) -> anyhow::Result<()> {
        let wanted = |case: &Case| case.is_for(size) && case.kind() == Kind::Cluster;
        let cases: Vec<Case> = self.options.cases().into_iter().filter(wanted).collect();
        let is_usual = (10_000..=100_000).contains(&size);
        let wants = |figure| {
            self.options.wants_figure(figure) && (is_usual || CHANGES <= size && self.options.names_sizes())
        };
        let (with_link, with_join) = (wants(Figure::ClusterLink), wants(Figure::ClusterJoin));
        let with_heal = wants(Figure::ClusterHeal) && (!self.options.quick || self.options.names_cases());
        if cases.is_empty() && !with_link && !with_join && !with_heal {
            return Ok(());
        }
        let mut pair = Pair::of(self, size).await?;
        if with_join {
            pair.join(report).await?;
        }
        pair.complete().await?;
        if with_heal {
            pair.heal(report).await?;
        }
        if !cases.is_empty() || with_link {
            let alone = Server::registry(&self.options.registry, Setting::Plain, &self.cores)?;
            self.note(&format!("registering {} instances beside", Count(size)));
            generator::preload(alone.address(), Population::new(size), Case::Register).await?;
            if with_link {
                pair.link(&alone, report).await?;
            }
            for case in cases {
                let members = (&pair.first, pair.second.as_ref());
                match self.side_by_side(case, members, &alone, &pair.population).await {
                    Ok(rounds) => report.rows.push(Row::new(case, size, rounds)),
                    Err(error) => report.fail(format!("{case} at {}: {error:#}", Count(size))),
                }
            }
        }
        Ok(())
    }
}

// === impl Pair ===

impl<'a> Pair<'a> {
    /// The first member, with so many instances.
    async fn of(session: &'a Session, size: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let first =
            Server::member(&session.options.registry, directory.path(), Place::Servers(&session.cores))?;
        session.note(&format!("registering {} instances with a member", Count(size)));
        let population = generator::preload(first.address(), Population::new(size), Case::Register).await?;
        Ok(Self { session, first, second: None, population: Arc::new(population), directory })
    }

    /// Starts the second member, which has everything when it is ready.
    async fn complete(&mut self) -> anyhow::Result<&Server> {
        if self.second.is_none() {
            let path = self.directory.path();
            let second = Server::member(&self.session.options.registry, path, Place::Generator)?;
            let (here, there) = (Stand::of(&second).await?, Stand::of(&self.first).await?);
            ensure!(here.digest == there.digest, "a member is ready and has {here:?}, wanted {there:?}");
            self.second = Some(second);
        }
        self.second.as_ref().context("there is no second member")
    }

    /// How long a member takes to have everything, again and again.
    async fn join(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let size = self.population.size();
        let times = if self.session.options.quick || 1_000_000 <= size { 1 } else { TIMES };
        let (mut millis, mut sending, mut joining) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..times {
            self.second = None;
            let before = self.first.cpu()?;
            let second = self.complete().await?;
            let (took, cpu) = (second.started_in().as_secs_f64() * 1e3, second.cpu()?);
            let sent = self.first.cpu()?.saturating_sub(before);
            let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / size as f64;
            self.session.note(&format!(
                "a member has {} after {took:.0} ms; its CPU {:.2} us for each, the sender's {:.2} us",
                Count(size),
                each(cpu),
                each(sent)
            ));
            millis.push(took);
            joining.push(each(cpu));
            sending.push(each(sent));
        }
        let note = format!("CPU for each: {:.2} us, sending {:.2} us", median(joining), median(sending));
        report.figures.push(Measured::cluster_join(size, median(millis), note));
        Ok(())
    }

    /// How long two members take to agree after one of them was stopped for so long that it was given up.
    async fn heal(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let second = self.second.as_ref().context("there is no second member")?;
        let mut millis = Vec::new();
        for status in ["STARTING", "UP", "STARTING"].into_iter().take(self.times()) {
            agreed(&self.first, second).await?;
            second.pause()?;
            let healed = self.change_unseen(status).await;
            second.resume()?;
            let (begin, wanted) = (Instant::now(), healed?);
            let mut connection = Connection::open(second.address()).await?;
            while Stand::by(&mut connection).await?.digest != wanted {
                ensure!(begin.elapsed() < AGREE_WITHIN, "a member that was cut off never caught up");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            millis.push(begin.elapsed().as_secs_f64() * 1e3);
            let took = millis.last().copied().unwrap_or_default();
            self.session.note(&format!("a member that was cut off has {CHANGES} changes after {took:.0} ms"));
        }
        report.figures.push(Measured::cluster_heal(self.population.size(), CHANGES, millis));
        Ok(())
    }

    /// Changes instances while nobody else hears of it; answers with the digest then.
    async fn change_unseen(&self, status: &'static str) -> anyhow::Result<String> {
        let mut connection = Connection::open(self.first.address()).await?;
        let begin = Instant::now();
        while Stand::by(&mut connection).await?.connected != 0 {
            ensure!(begin.elapsed() < CUT_WITHIN, "a member that says nothing is not cut off");
            tokio::time::sleep(LOOK_EVERY * 10).await;
        }
        let workload =
            Workload::new(Side::Registry, Case::Status, self.first.address(), self.population.clone());
        let mut request = Vec::new();
        for instance in 0..CHANGES {
            let step = Step::SetStatus(instance, status);
            workload.write(step, &mut request);
            workload.judge(step, &connection.exchange(&request, None).await?)?;
        }
        Ok(Stand::by(&mut connection).await?.digest)
    }

    /// Renewals at a steady rate, by turns to the first member and to a registry that tells nobody.
    async fn link(&self, alone: &Server, report: &mut Report) -> anyhow::Result<()> {
        let second = self.second.as_ref().context("there is no second member")?;
        agreed(&self.first, second).await?;
        let (mut bytes, mut telling, mut hearing) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.times() {
            let without = self.renewals(alone, second).await?.cpu[0];
            let Link { bytes: came, renewals, cpu: [told, heard] } =
                self.renewals(&self.first, second).await?;
            self.session.note(&format!(
                "{came:.0} bytes for {renewals:.0} renewals; CPU {:.2} us each, {:.2} us without replication, {:.2} us at \
                 the other member",
                told * 1e6,
                without * 1e6,
                heard * 1e6
            ));
            bytes.push(came / renewals);
            // Of a core, as if they had come at that rate on a busy machine, too.
            telling.push((told - without) * RATE as f64 * 1e5);
            hearing.push(heard * RATE as f64 * 1e5);
        }
        let size = self.population.size();
        report.figures.push(Measured::cluster_bytes(size, median(bytes)));
        let note = format!("at {RATE} 000 renewals a second");
        report.figures.push(Measured::cluster_cpu("telling", size, median(telling), &note));
        report.figures.push(Measured::cluster_cpu("hearing", size, median(hearing), &note));
        Ok(())
    }

    /// Renewals to a server, and what the second member has of it.
    async fn renewals(&self, told: &Server, second: &Server) -> anyhow::Result<Link> {
        let mut connection = Connection::open(told.address()).await?;
        let mut other = Connection::open(second.address()).await?;
        let workload = Workload::new(Side::Registry, Case::Batch, told.address(), self.population.clone());
        let length = Duration::from_secs_f64((10.0 * self.session.options.secs()).max(2.0));
        renew(&mut connection, &workload, length / 4).await?;
        let (counts, cpu) = (Heard::by(&mut other).await?, [told.cpu()?, second.cpu()?]);
        let sent = renew(&mut connection, &workload, length).await?;
        let after = [told.cpu()?, second.cpu()?];
        let since = Heard::by(&mut other).await?;
        let each = |at: usize| after[at].saturating_sub(cpu[at]).as_secs_f64() / sent as f64;
        Ok(Link {
            bytes: since.bytes - counts.bytes,
            renewals: since.renewals - counts.renewals,
            cpu: [each(0), each(1)],
        })
    }

    fn times(&self) -> usize {
        if self.session.options.quick { 1 } else { TIMES }
    }
}

/// Sends renewals at [`RATE`]; answers with how many.
async fn renew(connection: &mut Connection, workload: &Workload, length: Duration) -> anyhow::Result<usize> {
    let mut sent = 0;
    let begin = Instant::now();
    let mut every = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    let mut request = Vec::new();
    while begin.elapsed() < length {
        every.tick().await;
        workload.write(Step::RenewMany, &mut request);
        let answer = connection.exchange(&request, None).await?;
        workload.judge(Step::RenewMany, &answer)?;
        sent += Case::BATCH;
    }
    Ok(sent)
}

/// Waits until two members have the same.
async fn agreed(first: &Server, second: &Server) -> anyhow::Result<()> {
    let begin = Instant::now();
    while Stand::of(first).await?.digest != Stand::of(second).await?.digest {
        ensure!(begin.elapsed() < AGREE_WITHIN, "two members do not come to agree");
        tokio::time::sleep(LOOK_EVERY * 10).await;
    }
    Ok(())
}

/// How a member says that it stands.
#[derive(Debug)]
struct Stand {
    /// Equal at members that have the same.
    digest: String,
    /// How many others are connected.
    connected: usize,
}

// === impl Stand ===

impl Stand {
    async fn of(server: &Server) -> anyhow::Result<Self> {
        Self::by(&mut Connection::open(server.address()).await?).await
    }

    async fn by(connection: &mut Connection) -> anyhow::Result<Self> {
        let body: Value = serde_json::from_slice(&body(connection, "/cluster").await?)?;
        let digest = body["digest"].as_str().context("no digest in /cluster")?.to_owned();
        let members = body["members"].as_array().context("no members in /cluster")?;
        let connected = members.iter().filter(|member| member["state"] == "connected").count();
        Ok(Self { digest, connected })
    }
}

/// What a member has heard.
struct Heard {
    bytes: f64,
    renewals: f64,
}

// === impl Heard ===

impl Heard {
    async fn by(connection: &mut Connection) -> anyhow::Result<Self> {
        let text = String::from_utf8(body(connection, "/metrics").await?)?;
        let sum = |name: &str, label: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let bytes = sum("a8_cluster_link_bytes_total{", r#"direction="in""#);
        ensure!(0.0 < bytes, "/metrics shows no bytes of a link");
        Ok(Self { bytes, renewals: sum("a8_cluster_renewals_total ", "") })
    }
}

async fn body(connection: &mut Connection, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let answer = connection.exchange(request.as_bytes(), Some(&mut body)).await?;
    ensure!(answer.status == 200, "{path} was answered with {}", answer.status);
    Ok(body)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

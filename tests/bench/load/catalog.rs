//! What a catalog costs: fifty thousand instances of a Kubernetes cluster of this process' own, of which one in a hundred
//! changes each second, and reads of the registry's own instances beside those of a registry without a catalog.
//!
//! Never: asks a cluster that this process did not start.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::case::Case;
use crate::figure::{Figure, Measured};
use crate::followed::System;
use crate::generator;
use crate::http::Connection;
use crate::kubernetes::Cluster;
use crate::population::Population;
use crate::report::Report;
use crate::server::{Server, Setting};
use crate::session::{SETTLE, Session};

const SLICES: &str = "default/endpointslices";
const SERVICES: usize = 500;
/// Addresses of one service.
const EACH: usize = 100;
/// Of those, so many change at once: fifty times a second that is one instance in a hundred.
const CHANGE: usize = 10;
const TICK: Duration = Duration::from_millis(20);
/// How long it changes.
const LENGTH: Duration = Duration::from_secs(15);
/// Instances of the registry's own, which are read meanwhile.
const OWN: usize = 1_000;
const LOADED_WITHIN: Duration = Duration::from_secs(60);

/// A change of the cluster: when, of which service, and an address that was not there before.
#[derive(Debug)]
struct Changed {
    at: Instant,
    service: usize,
    address: String,
}

// === impl Session ===

impl Session {
    /// Everything about catalogs, when it is wanted.
    pub(crate) async fn with_catalog(&self, report: &mut Report) -> anyhow::Result<()> {
        if !self.options.wants_figure(Figure::Catalog) {
            return Ok(());
        }
        let cluster = Arc::new(Cluster::start(&["default"]));
        (0..SERVICES).for_each(|service| cluster.put(SLICES, slice(service, 0)));
        let plain = Server::registry(&self.options.registry, Setting::Plain, &self.cores)?;
        let setting = Setting::Following { system: System::Kubernetes, port: cluster.port() };
        let followed = Server::registry(&self.options.registry, setting, &self.cores)?;
        for server in [&plain, &followed] {
            generator::preload(server.address(), Population::new(OWN), Case::Register).await?;
        }
        let begin = Instant::now();
        let mut connection = Connection::open(followed.address()).await?;
        until_loaded(&mut connection).await?;
        let loaded = begin.elapsed().as_secs_f64() * 1e3;
        tokio::time::sleep(SETTLE).await;
        let memory = followed.resident()?.saturating_sub(plain.resident()?);
        report.figures.push(Measured::catalog("to read 50k (ms)", loaded, None, String::new()));
        let each = format!("{} bytes per instance", memory / (SERVICES * EACH) as u64);
        report.figures.push(Measured::catalog("memory of 50k (MB)", memory as f64 / 1_048_576.0, None, each));

        let is_over = Arc::new(AtomicBool::new(false));
        let (cpu, begin) = (followed.cpu()?, Instant::now());
        let changes = change_always(cluster.clone(), is_over.clone());
        let seen = self.see(&mut connection, &changes, LENGTH).await;
        let share =
            (followed.cpu()?.saturating_sub(cpu)).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
        let reads = self.reads(&plain, &followed).await;
        is_over.store(true, Ordering::Relaxed);
        let mut seen = seen?;
        let note = "500 changes a second, and who looks for them".to_owned();
        report.figures.push(Measured::catalog("CPU, 1 % changing a second (%)", share, None, note));
        let note = format!("{} changes; half within {:.1}", seen.len(), percentile(&mut seen, 50));
        report.figures.push(Measured::catalog(
            "change to visible, p99 (ms)",
            percentile(&mut seen, 99),
            None,
            note,
        ));
        let (mut without, mut with) = reads?;
        let (a, b) = (percentile(&mut without, 99), percentile(&mut with, 99));
        let note = format!(
            "p99 {a:.3} ms without, {b:.3} with; p50 {:.3}, {:.3}",
            percentile(&mut without, 50),
            percentile(&mut with, 50)
        );
        report.figures.push(Measured::catalog("reads, p99 beside none (ratio)", b / a, Some(1.2), note));
        Ok(())
    }

    /// How long changes take until a reader sees them, in milliseconds.
    async fn see(
        &self,
        connection: &mut Connection,
        changes: &Receiver<Changed>,
        length: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let (begin, mut waiting, mut seen) = (Instant::now(), VecDeque::new(), Vec::new());
        while begin.elapsed() < length {
            // One in ten is looked for, so that looking costs little.
            waiting.extend(changes.try_iter().filter(|changed: &Changed| changed.service.is_multiple_of(10)));
            let Some(changed) = waiting.pop_front() else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let request = get(&format!("/api/v1/services/{}", name(changed.service)));
            loop {
                let mut body = Vec::new();
                connection.exchange(&request, Some(&mut body)).await?;
                if memchr::memmem::find(&body, changed.address.as_bytes()).is_some() {
                    break;
                }
                ensure!(changed.at.elapsed() < LOADED_WITHIN, "a change was never seen");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen.push(changed.at.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(!seen.is_empty(), "no change was seen");
        Ok(seen)
    }

    /// How long reads take without and with a catalog, by turns, in milliseconds.
    async fn reads(&self, plain: &Server, followed: &Server) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            for (server, times) in [(plain, &mut without), (followed, &mut with)] {
                times.extend(look_up(server.address(), 250).await?);
            }
        }
        Ok((without, with))
    }
}

/// Times of reads of one service of the registry's own, in milliseconds.
async fn look_up(address: SocketAddr, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut connection = Connection::open(address).await?;
    let request = get(&format!("/api/v1/services/{}", Population::new(OWN).wide(0)));
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        connection.exchange(&request, None).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

async fn until_loaded(connection: &mut Connection) -> anyhow::Result<()> {
    let begin = Instant::now();
    let all = format!("a8_catalog_instances{{catalog=\"kubernetes\"}} {}.0", SERVICES * EACH);
    // A namespace is followed that somebody uses.
    connection.exchange(&get("/api/v1/services"), None).await?;
    loop {
        let mut body = Vec::new();
        connection.exchange(&get("/metrics"), Some(&mut body)).await?;
        if memchr::memmem::find(&body, all.as_bytes()).is_some() {
            return Ok(());
        }
        ensure!(begin.elapsed() < LOADED_WITHIN, "the catalog was not read within {LOADED_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Changes one service after the other until it is over.
fn change_always(cluster: Arc<Cluster>, is_over: Arc<AtomicBool>) -> Receiver<Changed> {
    let (say, changes) = channel();
    thread::spawn(move || {
        for round in 0_usize.. {
            thread::sleep(TICK);
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let (service, turn) = (round * 7 % SERVICES, round / SERVICES + 1);
            cluster.put(SLICES, slice(service, turn));
            let changed = Changed { at: Instant::now(), service, address: address(service, 0, turn) };
            if say.send(changed).is_err() {
                return;
            }
        }
    });
    changes
}

/// A service after so many turns of changes, each of which gave its first addresses away for others.
fn slice(service: usize, turn: usize) -> Value {
    let endpoints: Vec<_> = (0..EACH).map(|at| json!({"addresses": [address(service, at, turn)]})).collect();
    let name = name(service);
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80}]
    })
}

fn address(service: usize, at: usize, turn: usize) -> String {
    let turn = if at < CHANGE { turn } else { 0 };
    format!("10.{}.{}.{at}", turn % 200 + service / 250, service % 250)
}

fn name(service: usize) -> String {
    format!("followed-{service}")
}

/// A request.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// The value that so many in a hundred do not exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

//! The load generator: a closed loop over a few connections, all on one thread.
//!
//! Each stretch ends when every answer is in, so nothing is in flight where costs are read.
//! Never: measures the server, or goes on after a wrong answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use crate::case::Case;
use crate::eureka;
use crate::http::Connection;
use crate::population::{Id, Population, id_in};
use crate::workload::{Side, Step, Workload};

const PRELOAD_CONNECTIONS: usize = 32;
/// How long after its time a change may still be remembered.
const FORGETS_WITHIN: Duration = Duration::from_secs(20);

/// Opens the connections of a turn.
pub(crate) async fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(address).await.context("can not connect")?);
    }
    Ok(connections)
}

/// Does what has to be done before the turn, asks once and checks the answer in full; tells how long its body is.
pub(crate) async fn probe(workload: &mut Workload, connection: &mut Connection) -> anyhow::Result<u64> {
    let (mut request, mut body) = (Vec::new(), Vec::new());
    for step in workload.preparation() {
        workload.write(step, &mut request);
        let answer = connection.exchange(&request, None).await?;
        workload.judge(step, &answer)?;
    }
    let step = workload.first_step();
    workload.write(step, &mut request);
    let answer = connection.exchange(&request, Some(&mut body)).await?;
    workload.judge(step, &answer)?;
    workload.check(&answer, &body)?;
    let length = answer.length;
    if let Some(step) = workload.second_step(step, &body)? {
        workload.write(step, &mut request);
        let answer = connection.exchange(&request, None).await?;
        workload.judge(step, &answer)?;
    }
    Ok(length)
}

/// Length of the registry's answer.
pub(crate) async fn weigh(mut workload: Workload) -> anyhow::Result<u64> {
    let mut connection = Connection::open(workload.address()).await.context("can not connect")?;
    probe(&mut workload, &mut connection).await
}

/// Waits until the registry has forgotten what was registered, so that a delta shows nothing.
pub(crate) async fn until_forgotten(workload: Workload, forgets: Duration) -> anyhow::Result<()> {
    let mut connection = Connection::open(workload.address()).await.context("can not connect")?;
    tokio::time::sleep(forgets).await;
    let until = Instant::now() + FORGETS_WITHIN;
    let (mut request, mut body) = (Vec::new(), Vec::new());
    let step = workload.first_step();
    while Instant::now() < until {
        workload.write(step, &mut request);
        body.clear();
        let answer = connection.exchange(&request, Some(&mut body)).await?;
        workload.judge(step, &answer)?;
        if eureka::instances_in(&body) == 0 {
            return Ok(());
        }
        tokio::time::sleep(FORGETS_WITHIN / 100).await;
    }
    bail!("the delta still shows what was registered")
}

/// Keeps every connection busy for a while; gives them back with the number of answers.
pub(crate) async fn stretch(
    workload: &Arc<Workload>,
    connections: Vec<Connection>,
    length: Duration,
) -> anyhow::Result<(Vec<Connection>, usize)> {
    let until = Instant::now() + length;
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(drive(workload.clone(), connection, until));
    }
    let (mut back, mut total) = (Vec::with_capacity(tasks.len()), 0);
    while let Some(outcome) = tasks.join_next().await {
        let (connection, answers) = outcome??;
        back.push(connection);
        total += answers;
    }
    Ok((back, total))
}

/// Registers the whole population as `case` does and learns its ids, where the registry gives some.
pub(crate) async fn preload(
    address: SocketAddr,
    population: Population,
    case: Case,
) -> anyhow::Result<Population> {
    let population = Arc::new(population);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for connection in connect(address, PRELOAD_CONNECTIONS).await? {
        let workload = Workload::new(Side::Registry, case, address, population.clone());
        tasks.spawn(register_each(workload, connection, next.clone(), population.size()));
    }
    let mut ids = Vec::with_capacity(population.size());
    while let Some(outcome) = tasks.join_next().await {
        ids.append(&mut outcome??);
    }
    let mut population = Arc::into_inner(population).context("the population is still in use")?;
    population.learn(ids);
    Ok(population)
}

async fn drive(
    workload: Arc<Workload>,
    mut connection: Connection,
    until: Instant,
) -> anyhow::Result<(Connection, usize)> {
    let (mut request, mut body, mut answers) = (Vec::new(), Vec::new(), 0);
    while Instant::now() < until {
        let first = workload.first_step();
        workload.write(first, &mut request);
        body.clear();
        let kept = workload.keeps_body().then_some(&mut body);
        let answer = connection.exchange(&request, kept).await?;
        workload.judge(first, &answer)?;
        answers += 1;
        if let Some(second) = workload.second_step(first, &body)? {
            workload.write(second, &mut request);
            let answer = connection.exchange(&request, None).await?;
            workload.judge(second, &answer)?;
            answers += 1;
        }
    }
    Ok((connection, answers))
}

async fn register_each(
    workload: Workload,
    mut connection: Connection,
    next: Arc<AtomicUsize>,
    size: usize,
) -> anyhow::Result<Vec<(usize, Id)>> {
    let (mut request, mut body, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let instance = next.fetch_add(1, Ordering::Relaxed);
        if size <= instance {
            return Ok(ids);
        }
        let step = workload.registration(instance);
        workload.write(step, &mut request);
        body.clear();
        let answer = connection.exchange(&request, Some(&mut body)).await?;
        workload.judge(step, &answer)?;
        if let Step::Register(_) = step {
            ids.push((instance, id_in(&body)?));
        }
    }
}

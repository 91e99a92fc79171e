//! What a request costs the registry: server CPU per request beside a bare axum handler that takes turns with it
//! in the same run, and memory, start and size of the binary. Run with `cargo bench --bench load -- [options]`.
//!
//! A measurement, not a test: the exit status is 0 whenever everything could be measured, whatever came out.
//! One binary, two roles: the driver (generator and bookkeeping), and `bare`, which the driver starts.
//! Linux only: costs are read from the processes' CPU clocks and from `/proc`.
//! Never: needs anything but the registry's binary (and `redis-server` for what is about Redis), leaves a process behind, or uses a fixed port.

#[path = "load/bare.rs"]
mod bare;
#[path = "load/burden.rs"]
mod burden;
#[path = "load/case.rs"]
mod case;
#[path = "load/catalog.rs"]
mod catalog;
#[path = "load/cluster.rs"]
mod cluster;
#[path = "../it/catalog_swarm/engine.rs"]
#[expect(dead_code, reason = "the chapters of the tests use more of it")]
mod engine;
#[path = "load/eureka.rs"]
mod eureka;
#[path = "../it/support/faults.rs"]
#[expect(dead_code, reason = "the chapters of the tests use more of it")]
mod faults;
#[path = "load/figure.rs"]
mod figure;
#[path = "load/followed.rs"]
mod followed;
#[path = "load/generator.rs"]
mod generator;
#[path = "load/http.rs"]
mod http;
#[path = "../it/support/kubernetes.rs"]
#[expect(dead_code, reason = "the chapters of the tests use more of it")]
mod kubernetes;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/options.rs"]
mod options;
#[path = "load/population.rs"]
mod population;
#[path = "load/redis.rs"]
mod redis;
#[path = "load/report.rs"]
mod report;
#[path = "load/server.rs"]
mod server;
#[path = "load/session.rs"]
mod session;
#[path = "load/trouble.rs"]
mod trouble;
#[path = "load/turn.rs"]
mod turn;
#[path = "../it/support/upstream.rs"]
#[expect(dead_code, reason = "the chapters of the tests use more of it")]
mod upstream;
#[path = "load/workload.rs"]
mod workload;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Options, Role};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.role {
        Some(Role::Bare { port }) => bare::run(port),
        None => drive(options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The generator shares one thread with the bookkeeping, so that all of its work stays on one core.
fn drive(options: Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Servers end when the session that holds them is dropped, on every one of these ways out.
        tokio::select! {
            outcome = session::run(options) => outcome,
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
        }
    })
}

//! The program: reads the command line, starts logging, runs the daemon, and says how it ended.
//!
//! Exit status: 0 when it was told to stop and did, 1 when it could not run or end well, 2 when it was
//! set up wrongly.
//! Never: decides anything that a test would want to see; that is in the library.

use std::io::Write;
use std::process::ExitCode;

use a8registry::config::{Config, Parsed};
use a8registry::daemon::Daemon;
use a8registry::telemetry::Logs;
use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Parsed::of(std::env::args_os().skip(1), std::env::vars_os()) {
        Err(error) => fail(2, &error),
        Ok(Parsed::Print(text)) => print(&text),
        Ok(Parsed::Healthcheck(probe)) => finish(async { Ok(probe.run().await?) }),
        Ok(Parsed::Run(config)) => finish(run(*config)),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let logs = Logs::start(config.log).context("logging cannot be started")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (abort, aborted) = tokio::sync::oneshot::channel();
    let signals = async {
        for sender in [stop, abort] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            // Nobody listens any more when the daemon has ended by itself.
            let _ = sender.send(());
        }
        std::future::pending::<()>().await
    };
    let daemon = async {
        let daemon = Daemon::bind(config, Some(logs.dropped())).await?;
        daemon.run(async { drop(stopped.await) }, async { drop(aborted.await) }).await
    };
    tokio::select! {
        ended = daemon => ended,
        () = signals => Ok(()),
    }
}

fn finish(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format_args!("the runtime cannot be started: {error}")),
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format_args!("{error:#}")),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // Whoever asked has gone.
    }
}

fn fail(status: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // Without a standard error there is nobody to tell; the status says it all the same.
    let _ = writeln!(std::io::stderr().lock(), "a8registry: {error}");
    ExitCode::from(status)
}

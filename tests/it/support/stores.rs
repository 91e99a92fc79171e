//! On which store the chapters are run that know nothing of stores: `A8_TEST_STORE` is `inmem`, `redis` or `replicated`.
//!
//! Never: has two registries share a store, or a cluster.

use std::io::{self, Write};

use tempfile::TempDir;

use super::redis;

/// What a registry is given for its store, and what has to be there as long as it runs.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) flags: Vec<String>,
    pub(crate) directory: Option<TempDir>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Memory,
    Redis,
    Replicated,
}

fn asked() -> Asked {
    match std::env::var("A8_TEST_STORE").as_deref() {
        Err(_) | Ok("" | "inmem") => Asked::Memory,
        Ok("redis") => Asked::Redis,
        Ok("replicated") => Asked::Replicated,
        Ok(other) => panic!("A8_TEST_STORE is {other}, want inmem, redis or replicated"),
    }
}

/// Flags for a registry whose own flags are these; none when they name a store or a cluster already.
pub(crate) fn given(own: &[String]) -> Given {
    if own.iter().any(|flag| flag.starts_with("--store") || flag.starts_with("--replication")) {
        return Given::default();
    }
    let flags_of = |text: &str| text.split(' ').map(Into::into).collect();
    match asked() {
        Asked::Memory => Given::default(),
        Asked::Redis => Given { flags: flags_of(&redis::flags_of_shared()), directory: None },
        Asked::Replicated => {
            let directory = TempDir::new().expect("a directory");
            let mut flags: Vec<String> = flags_of(
                "--replication --replication_port 0 --cluster_advertise 127.0.0.1 --sync_timeout 1s --cluster_dir",
            );
            flags.push(directory.path().display().to_string());
            Given { flags, directory: Some(directory) }
        }
    }
}

/// Whether a test cannot be run because the store in Redis leaves out what it is about; if so, says so.
pub(crate) fn leaves_out(what: &str) -> bool {
    let leaves_out = asked() == Asked::Redis;
    if leaves_out {
        // Not eprintln!, which is shown for tests that fail only.
        let _ = writeln!(io::stderr(), "left out: {what}, which is for stores in memory");
    }
    leaves_out
}

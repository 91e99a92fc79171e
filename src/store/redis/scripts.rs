//! The scripts that Redis runs, and how one is called.
//!
//! Each is atomic, tells the time by Redis' clock and touches the keys of one bucket. A call whose script Redis has
//! lost carries it along the next time.
//! Never: a command whose cost grows with the number of namespaces.

use redis::{Cmd, ToRedisArgs};

/// One script.
#[derive(Debug)]
pub(super) struct Script {
    /// For logs.
    pub(super) name: &'static str,
    code: &'static str,
    /// What Redis knows it by, once it has run it.
    hash: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put: Script,
    pub(super) remove: Script,
    pub(super) renew: Script,
    pub(super) renew_unseen: Script,
    pub(super) tick: Script,
    pub(super) standing: Script,
    pub(super) renumber: Script,
    pub(super) forget: Script,
}

/// A script with its keys and arguments.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    keys: usize,
    parts: Vec<Vec<u8>>,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(
            $name,
            concat!(include_str!("scripts/clock.lua"), include_str!(concat!("scripts/", $name, ".lua"))),
        )
    };
}

// === impl Scripts ===

impl Default for Scripts {
    fn default() -> Self {
        Self {
            put: script!("put"),
            remove: script!("remove"),
            renew: script!("renew"),
            renew_unseen: script!("renew_unseen"),
            tick: script!("tick"),
            standing: script!("standing"),
            renumber: script!("renumber"),
            forget: script!("forget"),
        }
    }
}

// === impl Script ===

impl Script {
    fn new(name: &'static str, code: &'static str) -> Self {
        Self { name, code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A call of this script on these keys.
    pub(super) fn on<const N: usize>(&self, keys: [String; N]) -> Call<'_> {
        Call { script: self, keys: N, parts: keys.into_iter().map(String::into_bytes).collect() }
    }
}

// === impl Call ===

impl Call<'_> {
    /// One more argument.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.parts.extend(value.to_redis_args());
        self
    }

    /// The command that names the script only.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The command that carries the script.
    pub(super) fn with_code(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys);
        for part in &self.parts {
            command.arg(part.as_slice());
        }
        command
    }
}

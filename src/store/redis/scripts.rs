//! The scripts that Redis runs, and how one is called.
//!
//! Each is atomic, tells the time by Redis' clock and touches the keys of one bucket. A call whose script Redis has
//! lost carries it along the next time. Those that leases matter to refuse who knows another bucket than is there.
//! Never: a command whose cost grows with the number of namespaces.

use redis::{Arg, Cmd, ToRedisArgs};

use crate::directory::LeaseRules;

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
    /// The command that names the script only.
    command: Cmd,
    /// Place of the bucket's number among the arguments, if the script wants it.
    number_at: Option<usize>,
}

/// What a caller knows of a bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standpoint {
    /// The number of the bucket; 0 when it is not known.
    pub(super) number: u64,
    /// How leases end.
    pub(super) leases: LeaseRules,
}

/// The command, the script and the number of keys.
const BEFORE_KEYS: usize = 3;
/// What Redis refuses a call with when it has lost the bucket, or has another one in its place.
pub(super) const LOST: &str = "LOST";

macro_rules! timed {
    ($name:literal) => {
        Script::new(
            $name,
            concat!(include_str!("scripts/bucket.lua"), include_str!(concat!("scripts/", $name, ".lua"))),
        )
    };
}

macro_rules! timeless {
    ($name:literal) => {
        Script::new($name, include_str!(concat!("scripts/", $name, ".lua")))
    };
}

// === impl Scripts ===

impl Default for Scripts {
    fn default() -> Self {
        Self {
            put: timed!("put"),
            remove: timed!("remove"),
            renew: timed!("renew"),
            renew_unseen: timed!("renew_unseen"),
            tick: timed!("tick"),
            standing: timeless!("standing"),
            renumber: timeless!("renumber"),
            forget: timeless!("forget"),
        }
    }
}

// === impl Script ===

impl Script {
    fn new(name: &'static str, code: &'static str) -> Self {
        Self { name, code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A call of this script on these keys.
    pub(super) fn on(&self, keys: &[String]) -> Call<'_> {
        self.with_room(keys, 0, 0)
    }

    /// A call of a script that `scripts/bucket.lua` stands before, by somebody who knows this.
    pub(super) fn timed(&self, keys: &[String], standpoint: Standpoint) -> Call<'_> {
        self.timed_with_room(keys, standpoint, 0, 0)
    }

    /// The same with so many arguments to come, of so many bytes.
    pub(super) fn timed_with_room(
        &self,
        keys: &[String],
        standpoint: Standpoint,
        arguments: usize,
        bytes: usize,
    ) -> Call<'_> {
        let Standpoint { number, leases } = standpoint;
        let mut call = self.with_room(keys, arguments, bytes).arg(number).arg(letters(leases));
        call.number_at = Some(BEFORE_KEYS + keys.len());
        call
    }

    fn with_room(&self, keys: &[String], arguments: usize, bytes: usize) -> Call<'_> {
        const USUAL: usize = 16;
        let mut command = Cmd::with_capacity(USUAL + arguments, 32 * USUAL + bytes);
        command.arg("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys);
        Call { script: self, command, number_at: None }
    }
}

// === impl Call ===

impl Call<'_> {
    /// One more argument, or more of them.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// The command that names the script only.
    pub(super) fn by_hash(&self) -> &Cmd {
        &self.command
    }

    /// The command that carries the script.
    pub(super) fn with_code(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script.code);
        for argument in self.arguments().skip(2) {
            command.arg(argument);
        }
        command
    }

    /// The same call by who knows the bucket by this number.
    pub(super) fn by(&self, number: u64) -> Self {
        let mut command = Cmd::with_capacity(self.command.args_iter().len(), 0);
        for (at, argument) in self.arguments().enumerate() {
            match self.number_at == Some(at) {
                true => command.arg(number),
                false => command.arg(argument),
            };
        }
        Self { script: self.script, command, number_at: self.number_at }
    }

    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.command.args_iter().map(|argument| match argument {
            Arg::Simple(bytes) => bytes,
            // Ours are all of the simple kind.
            _ => &[],
        })
    }
}

/// How leases end, as scripts are told.
fn letters(leases: LeaseRules) -> &'static str {
    match (leases.strict_eureka, leases.self_preservation) {
        (false, false) => "",
        (true, false) => "s",
        (false, true) => "p",
        (true, true) => "sp",
    }
}

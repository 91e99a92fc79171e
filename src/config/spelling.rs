//! How flags and variables are written: the rules of the original's command line, which are Go's (spec amalgam8 section 13).
//!
//! The result is a list of plain settings, variables before flags, each with its origin.
//! Never: reads a value; that it leaves to the table.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::ArgAction;
use clap::error::{ContextKind, ContextValue};

use super::ConfigError;
use super::values::boolean;

/// What the command line wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    Healthcheck,
    Help,
    Version,
}

/// All values that were given, in order of rising precedence.
#[derive(Debug, Default)]
pub(super) struct Settings {
    given: Vec<Setting>,
    unknown_variables: Vec<String>,
    /// What others say of the place where the process runs.
    surroundings: BTreeMap<String, String>,
}

/// Where Kubernetes tells its pods that its API server is: host and port.
pub(super) const KUBERNETES_VARIABLES: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// One value of one flag.
#[derive(Debug)]
pub(super) struct Setting {
    flag: String,
    value: OsString,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Flag,
    Variable,
}

/// An argument by its dashes.
enum Spelled<'a> {
    Word(&'a str),
    Flag { name: String, value: Option<&'a str> },
}

/// Reads arguments (without the program's name) and variables.
pub(super) fn read(
    table: &clap::Command,
    args: impl Iterator<Item = OsString>,
    env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Command, Settings), ConfigError> {
    let (command, flags) = read_flags(table, args)?;
    let mut settings = Settings::default();
    settings.add_variables(table, &flags, env);
    settings.given.extend(flags);
    Ok((command, settings))
}

/// The variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("A8_{}", flag.to_ascii_uppercase())
}

/// A text from outside as errors show it: quoted, and not longer than a line bears.
pub(super) fn shortened(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

fn read_flags(
    table: &clap::Command,
    mut args: impl Iterator<Item = OsString>,
) -> Result<(Command, Vec<Setting>), ConfigError> {
    let mut command = Command::Run;
    let mut given: Vec<Setting> = Vec::new();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else { return Err(not_text(&arg)) };
        let (name, value) = match spelled(text) {
            Spelled::Word("help" | "h") => return Ok((Command::Help, given)),
            Spelled::Word("healthcheck") if command == Command::Run => {
                command = Command::Healthcheck;
                continue;
            }
            Spelled::Word(word) => return Err(unknown_word(word)),
            Spelled::Flag { name, value } => (name, value),
        };
        let flag = match (name.as_str(), find(table, &name)) {
            ("h" | "help", _) => return Ok((Command::Help, given)),
            ("v" | "version", _) => return Ok((Command::Version, given)),
            (_, Some(flag)) => flag,
            (_, None) => return Err(unknown_flag(table, &name)),
        };
        let value = match value {
            Some(value) => value.into(),
            None if is_boolean(flag) => "true".into(),
            None => args.next().ok_or_else(|| ConfigError::ValueMissing { flag: name.clone() })?,
        };
        if !is_repeatable(flag) {
            given.retain(|earlier| earlier.flag != name);
        }
        given.push(Setting { flag: name, value, origin: Origin::Flag });
    }
    Ok((command, given))
}

/// One dash is as good as two, and within a name a dash is as good as an underscore.
fn spelled(arg: &str) -> Spelled<'_> {
    let Some(flag) = arg.strip_prefix('-').map(|rest| rest.strip_prefix('-').unwrap_or(rest)) else {
        return Spelled::Word(arg);
    };
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    if name.is_empty() { Spelled::Word(arg) } else { Spelled::Flag { name: name.replace('-', "_"), value } }
}

fn find<'a>(table: &'a clap::Command, name: &str) -> Option<&'a clap::Arg> {
    table.get_arguments().find(|arg| arg.get_id() == name)
}

/// Boolean flags are those that may stand alone.
fn is_boolean(flag: &clap::Arg) -> bool {
    flag.is_require_equals_set()
}

fn is_repeatable(flag: &clap::Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

fn unknown_word(word: &str) -> ConfigError {
    let note = match boolean(word) {
        Ok(_) => "a boolean is written --flag=false",
        Err(_) => "see --help",
    };
    ConfigError::UnknownWord { got: shortened(word.as_ref()), note }
}

fn not_text(arg: &OsStr) -> ConfigError {
    let shown = arg.to_string_lossy();
    let name = shown.split_once('=').map_or(&*shown, |(name, _)| name);
    ConfigError::NotText { got: shortened(name.as_ref()) }
}

/// Only the name is looked at: the value might be a secret behind a slip of the pen.
fn unknown_flag(table: &clap::Command, name: &str) -> ConfigError {
    let probe = table.clone().try_get_matches_from(["", &format!("--{name}")]);
    let suggestion = probe.err().and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => Some(flag.trim_start_matches('-').to_owned()),
        Some(_) | None => None,
    });
    ConfigError::UnknownFlag { name: name.chars().take(60).collect(), suggestion }
}

// === impl Settings ===

impl Settings {
    /// Adds the variables; a flag in `flags` hides its variable, unless it is repeatable.
    fn add_variables(
        &mut self,
        table: &clap::Command,
        flags: &[Setting],
        env: impl Iterator<Item = (OsString, OsString)>,
    ) {
        let mut ours: BTreeMap<String, OsString> = BTreeMap::new();
        for (name, value) in env.filter_map(|(name, value)| Some((name.into_string().ok()?, value))) {
            if KUBERNETES_VARIABLES.contains(&&*name) {
                self.surroundings.extend(value.into_string().ok().map(|value| (name, value)));
            } else if name.starts_with("A8_") && !value.is_empty() {
                ours.insert(name, value);
            }
        }
        for arg in table.get_arguments() {
            let flag = arg.get_id().as_str();
            let Some(value) = ours.remove(&variable(flag)) else { continue };
            if is_repeatable(arg) {
                self.add_list(flag, &value);
            } else if !flags.iter().any(|given| given.flag == flag) {
                self.given.push(Setting { flag: flag.to_owned(), value, origin: Origin::Variable });
            }
        }
        self.unknown_variables = ours.into_keys().filter(|name| !is_foreign(name)).collect();
    }

    fn add_list(&mut self, flag: &str, values: &OsStr) {
        let values = values.to_string_lossy();
        let values = values.split(',').map(str::trim).filter(|value| !value.is_empty());
        self.given.extend(values.map(|value| Setting {
            flag: flag.to_owned(),
            value: value.into(),
            origin: Origin::Variable,
        }));
    }

    /// A variable that is not ours, as far as there is one that is asked for.
    pub(super) fn surrounding(&self, name: &str) -> Option<&str> {
        self.surroundings.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.given.iter()
    }

    /// Variables of our kind that are no flag's.
    pub(super) fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }

    /// The flags that were given and whose names begin so, each once.
    pub(super) fn flags_with_prefix(&self, prefix: &str) -> Vec<&str> {
        let mut flags: Vec<_> =
            self.given.iter().map(|s| s.flag.as_str()).filter(|f| f.starts_with(prefix)).collect();
        flags.dedup();
        flags
    }

    /// A flag as messages name it, with its variable when its value came from there.
    pub(super) fn name(&self, flag: &str) -> String {
        match self.given.iter().rfind(|given| given.flag == flag) {
            Some(given) => given.name(),
            None => format!("--{flag}"),
        }
    }
}

/// Names that a container's surroundings make up, and those of the build.
fn is_foreign(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_PORT_"].iter().any(|part| name.contains(part))
        || name.starts_with("A8_BUILD_")
}

// === impl Setting ===

impl Setting {
    /// The name of the flag.
    pub(super) fn flag(&self) -> &str {
        &self.flag
    }

    /// The value as it came.
    pub(super) fn value(&self) -> &OsStr {
        &self.value
    }

    /// The one spelling that the table knows.
    pub(super) fn canonical(&self) -> OsString {
        let mut text = OsString::from(format!("--{}=", self.flag));
        text.push(&self.value);
        text
    }

    /// The flag as messages name it.
    pub(super) fn name(&self) -> String {
        match self.origin {
            Origin::Flag => format!("--{}", self.flag),
            Origin::Variable => format!("--{} (variable {})", self.flag, variable(&self.flag)),
        }
    }
}

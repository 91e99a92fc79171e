//! How one event becomes one line, in three formats (spec amalgam8 section 12).
//!
//! Whatever an event carries, it stays one line of its format: line breaks, quotes, control and
//! direction characters are escaped, and a long value is cut. An event stands alone: what spans
//! know is not shown.
//! Never: decides which events are written, or where.

mod escape;

use std::fmt::{self, Write};
use std::ops::Range;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::go_duration::GoDuration;
use super::logs::LogFormat;
use crate::model::Timestamp;

/// Bytes of one value that are shown; together with the length of the queue it bounds its memory.
const VALUE_MAX: usize = 2048;

/// Nanoseconds by this name are shown as a duration where people read.
const ELAPSED: &str = "elapsedtime";

/// Writes events as lines.
#[derive(Debug)]
pub(super) struct Lines {
    format: LogFormat,
}

/// The fields of one event; their texts are kept in one buffer, one after the other.
struct Fields {
    entries: Vec<Entry>,
    texts: String,
    message: Range<usize>,
    has_module: bool,
}

struct Entry {
    name: &'static str,
    value: Value,
}

enum Value {
    /// A number or a boolean, written as it is.
    Plain(Range<usize>),
    Text(Range<usize>),
    Elapsed(Duration),
}

/// Writes into a text until the value is as long as one may be; then it fails, so that formatting
/// something huge ends early.
struct Cut<'a> {
    text: &'a mut String,
    left: usize,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(format: LogFormat) -> Self {
        Self { format }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::new();
        event.record(&mut fields);
        fields.add_module(event.metadata());
        let now = Timestamp::of_system();
        let level = level_name(event.metadata().level());
        let line = match self.format {
            LogFormat::Text => fields.into_text(now, level),
            LogFormat::Json => {
                fields.add("time", |text| write!(text, "{now}"));
                fields.add("level", |text| text.write_str(level));
                fields.into_object("msg")
            }
            LogFormat::Logstash => {
                fields.add("@timestamp", |text| write!(text, "{now}"));
                fields.add_plain("@version", &1);
                fields.add("level", |text| text.write_str(level));
                fields.into_object("message")
            }
        };
        writer.write_str(&line)
    }
}

// === impl Fields ===

impl Fields {
    fn new() -> Self {
        Self {
            entries: Vec::with_capacity(16),
            texts: String::with_capacity(256),
            message: 0..0,
            has_module: false,
        }
    }

    fn add(&mut self, name: &'static str, write: impl FnOnce(&mut Cut<'_>) -> fmt::Result) {
        let range = self.keep(write);
        self.entries.push(Entry { name, value: Value::Text(range) });
    }

    fn add_plain(&mut self, name: &'static str, value: &dyn fmt::Display) {
        let range = self.keep(|text| write!(text, "{value}"));
        self.entries.push(Entry { name, value: Value::Plain(range) });
    }

    /// Adds a text to the buffer, as much of it as may be shown.
    fn keep(&mut self, write: impl FnOnce(&mut Cut<'_>) -> fmt::Result) -> Range<usize> {
        let start = self.texts.len();
        if write(&mut Cut { text: &mut self.texts, left: VALUE_MAX }).is_err() {
            self.texts.push('…');
        }
        start..self.texts.len()
    }

    fn record_text(&mut self, field: &Field, write: impl FnOnce(&mut Cut<'_>) -> fmt::Result) {
        match own_name(field) {
            "message" => self.message = self.keep(write),
            name => {
                self.has_module |= name == "module";
                self.add(unreserved(name), write);
            }
        }
    }

    /// A line says which part of the registry speaks, by the event's own field or by its place in the code.
    fn add_module(&mut self, metadata: &Metadata<'_>) {
        if !self.has_module {
            let mut letters = module(metadata.target()).chars();
            self.add("module", |text| letters.try_for_each(|c| text.write_char(c.to_ascii_uppercase())));
        }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.texts.get(range.clone()).unwrap_or_default()
    }

    fn into_text(mut self, now: Timestamp, level: &str) -> String {
        self.entries.sort_unstable_by_key(|entry| entry.name);
        let mut line = String::with_capacity(512);
        line.push_str("time=\"");
        line.push_str(&now.to_string());
        line.push_str("\" level=");
        line.push_str(level);
        line.push_str(" msg=");
        escape::push_quoted(&mut line, self.text(&self.message));
        for Entry { name, value } in &self.entries {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            match value {
                Value::Plain(range) => line.push_str(self.text(range)),
                Value::Text(range) => escape::push_bare_or_quoted(&mut line, self.text(range)),
                Value::Elapsed(elapsed) => line.push_str(&GoDuration(*elapsed).to_string()),
            }
        }
        line.push_str(" \n");
        line
    }

    fn into_object(mut self, message: &'static str) -> String {
        self.entries.push(Entry { name: message, value: Value::Text(self.message.clone()) });
        self.entries.sort_unstable_by_key(|entry| entry.name);
        let mut line = String::with_capacity(512);
        for Entry { name, value } in &self.entries {
            line.push(if line.is_empty() { '{' } else { ',' });
            escape::push_json(&mut line, name);
            line.push(':');
            match value {
                Value::Plain(range) => line.push_str(self.text(range)),
                Value::Text(range) => escape::push_json(&mut line, self.text(range)),
                Value::Elapsed(elapsed) => line.push_str(&elapsed.as_nanos().to_string()),
            }
        }
        line.push_str("}\n");
        line
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_text(field, |text| write!(text, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_text(field, |text| text.write_str(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_plain(unreserved(own_name(field)), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_plain(unreserved(own_name(field)), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match unreserved(own_name(field)) {
            ELAPSED => {
                let value = Value::Elapsed(Duration::from_nanos(value));
                self.entries.push(Entry { name: ELAPSED, value });
            }
            name => self.add_plain(name, &value),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.add_plain(unreserved(own_name(field)), &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.add_plain(unreserved(own_name(field)), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.add_plain(unreserved(own_name(field)), &value);
        } else {
            // JSON has no number for it.
            self.record_text(field, |text| write!(text, "{value}"));
        }
    }
}

// === impl Cut ===

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.left -= text.len();
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(self.left)]);
        self.left = 0;
        Err(fmt::Error)
    }
}

/// The name as it was written, without the mark of a keyword.
fn own_name(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// The names that every line has of itself are not taken by fields.
fn unreserved(name: &'static str) -> &'static str {
    match name {
        "time" => "fields.time",
        "level" => "fields.level",
        "msg" => "fields.msg",
        "message" => "fields.message",
        "@timestamp" => "fields.@timestamp",
        "@version" => "fields.@version",
        name => name,
    }
}

/// `a8registry::store::memory` is `store`; in other crates it is the crate.
fn module(target: &str) -> &str {
    let mut parts = target.split("::");
    let krate = parts.next().unwrap_or(target);
    match parts.next() {
        Some(part) if krate == env!("CARGO_CRATE_NAME") => part,
        Some(_) | None => krate,
    }
}

fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        // Level is not an enum; what is left is debug and the one below, which is never switched on.
        _ => "debug",
    }
}

#[cfg(test)]
mod tests;

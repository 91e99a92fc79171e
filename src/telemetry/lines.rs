//! How one event becomes one line, in three formats (spec amalgam8 section 12).
//!
//! Whatever an event carries, it stays one line of its format: line breaks, quotes, control and
//! direction characters are escaped, and a long value is cut. An event stands alone: what spans
//! know is not shown.
//! Never: decides which events are written, or where.

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

/// The fields of one event; texts are kept in one buffer, one after the other.
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
    Bool(bool),
    Signed(i128),
    Unsigned(u128),
    Float(f64),
    Text(Range<usize>),
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
        match self.format {
            LogFormat::Text => fields.write_text(&mut writer, now, level),
            LogFormat::Json => {
                fields.add("time", format_args!("{now}"));
                fields.add("level", format_args!("{level}"));
                fields.write_object(&mut writer, "msg")
            }
            LogFormat::Logstash => {
                fields.add("@timestamp", format_args!("{now}"));
                fields.entries.push(Entry { name: "@version", value: Value::Unsigned(1) });
                fields.add("level", format_args!("{level}"));
                fields.write_object(&mut writer, "message")
            }
        }
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

    fn push(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        match (name, value) {
            ("message", Value::Text(range)) => self.message = range,
            (name, value) => {
                self.has_module |= name == "module";
                self.entries.push(Entry { name: unreserved(name), value });
            }
        }
    }

    fn add(&mut self, name: &'static str, text: fmt::Arguments<'_>) {
        let value = self.keep(text);
        self.entries.push(Entry { name, value });
    }

    /// Adds a text to the buffer, as much of it as may be shown.
    fn keep(&mut self, text: fmt::Arguments<'_>) -> Value {
        let start = self.texts.len();
        let mut cut = Cut { text: &mut self.texts, left: VALUE_MAX };
        if cut.write_fmt(text).is_err() {
            self.texts.push('…');
        }
        Value::Text(start..self.texts.len())
    }

    /// A line says which part of the registry speaks, by the event's own field or by its place in the code.
    fn add_module(&mut self, metadata: &Metadata<'_>) {
        if !self.has_module {
            let start = self.texts.len();
            self.texts.extend(module(metadata.target()).chars().map(|c| c.to_ascii_uppercase()));
            self.entries.push(Entry { name: "module", value: Value::Text(start..self.texts.len()) });
        }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.texts.get(range.clone()).unwrap_or_default()
    }

    fn write_text(mut self, out: &mut Writer<'_>, now: Timestamp, level: &str) -> fmt::Result {
        self.entries.sort_by_key(|entry| entry.name);
        write!(out, "time=\"{now}\" level={level} msg=")?;
        write_quoted(out, self.text(&self.message))?;
        for Entry { name, value } in &self.entries {
            write!(out, " {name}=")?;
            match value {
                Value::Unsigned(nanos) if *name == ELAPSED => {
                    let nanos = u64::try_from(*nanos).unwrap_or(u64::MAX);
                    write!(out, "{}", GoDuration(Duration::from_nanos(nanos)))?;
                }
                Value::Text(range) => write_bare_or_quoted(out, self.text(range))?,
                Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) => {
                    write_number(out, value)?;
                }
            }
        }
        out.write_str(" \n")
    }

    fn write_object(mut self, out: &mut Writer<'_>, message: &'static str) -> fmt::Result {
        self.entries.push(Entry { name: message, value: Value::Text(self.message.clone()) });
        self.entries.sort_by_key(|entry| entry.name);
        let mut before = '{';
        for Entry { name, value } in &self.entries {
            out.write_char(before)?;
            self.write_member(out, name, value)?;
            before = ',';
        }
        out.write_str("}\n")
    }

    fn write_member(&self, out: &mut Writer<'_>, name: &str, value: &Value) -> fmt::Result {
        write_json_text(out, name)?;
        out.write_char(':')?;
        match value {
            Value::Text(range) => write_json_text(out, self.text(range)),
            Value::Float(number) if !number.is_finite() => write!(out, "\"{number}\""),
            Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) => {
                write_number(out, value)
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = self.keep(format_args!("{value:?}"));
        self.push(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = self.keep(format_args!("{value}"));
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Signed(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Unsigned(value.into()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push(field, Value::Signed(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::Float(value));
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

fn write_number(out: &mut Writer<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Bool(value) => write!(out, "{value}"),
        Value::Signed(value) => write!(out, "{value}"),
        Value::Unsigned(value) => write!(out, "{value}"),
        Value::Float(value) => write!(out, "{value}"),
        Value::Text(_) => Ok(()),
    }
}

fn write_bare_or_quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return out.write_str(text);
    }
    write_quoted(out, text)
}

fn write_quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    write_escaped(out, text, |out, c| match (c, u32::from(c)) {
        (_, code @ 0..=0x7F) => write!(out, "\\x{code:02x}"),
        (_, code @ 0..=0xFFFF) => write!(out, "\\u{code:04x}"),
        (_, code) => write!(out, "\\U{code:08x}"),
    })
}

fn write_json_text(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    write_escaped(out, text, |out, c| {
        c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
    })
}

/// A quoted text; `escape` writes what has no short escape.
fn write_escaped(
    out: &mut Writer<'_>,
    text: &str,
    escape: impl Fn(&mut Writer<'_>, char) -> fmt::Result,
) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| needs_escape(*c)) {
        out.write_str(&rest[..at])?;
        match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c => escape(out, c),
        }?;
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// Whether a character could end a value or a line, or change how a terminal shows its
/// neighbours.
fn needs_escape(c: char) -> bool {
    matches!(c,
        '"' | '\\' | '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{AD}' | '\u{61C}' | '\u{180E}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests;

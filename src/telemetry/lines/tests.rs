//! Lines are checked as a reader sees them: events go in, the bytes of the log come out.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::telemetry::logs::{LogConfig, LogFormat, LogLevel, subscriber};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged while `events` runs.
fn logged(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = subscriber(LogConfig { level, format }, move || writer.clone());
    tracing::subscriber::with_default(subscriber, events);
    String::from_utf8(std::mem::take(&mut *sink.0.lock())).unwrap()
}

/// One line without its time, which must be 24 bytes of UTC.
fn without_time(line: &str) -> String {
    let start = line.find("\"2").unwrap() + 1;
    let time = &line[start..start + 24];
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{time}");
    line.replacen(time, "T", 1)
}

fn json_of(text: &str) -> Value {
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    serde_json::from_str(text).unwrap()
}

fn access_line() {
    tracing::info!(
        module = "ACCESS",
        returncode = 200_u16,
        elapsedtime = 240_439_u64,
        namespace = "",
        method = "ListServices",
        ratio = 0.5,
        cached = true,
        delta = -3,
        "sd-request-id" = "a_b",
        "127.0.0.1 GET /api/v1/services HTTP/1.1"
    );
}

#[test]
fn text_lines_are_those_of_the_original() {
    let text = logged(LogLevel::Info, LogFormat::Text, access_line);
    assert_eq!(
        without_time(&text),
        "time=\"T\" level=info msg=\"127.0.0.1 GET /api/v1/services HTTP/1.1\" cached=true delta=-3 \
         elapsedtime=240.439µs method=ListServices module=ACCESS namespace= ratio=0.5 returncode=200 \
         sd-request-id=\"a_b\" \n"
    );
}

#[test]
fn json_lines_are_flat_and_sorted() {
    let text = logged(LogLevel::Info, LogFormat::Json, access_line);
    assert_eq!(
        without_time(&text),
        "{\"cached\":true,\"delta\":-3,\"elapsedtime\":240439,\"level\":\"info\",\"method\":\"ListServices\",\
         \"module\":\"ACCESS\",\"msg\":\"127.0.0.1 GET /api/v1/services HTTP/1.1\",\"namespace\":\"\",\
         \"ratio\":0.5,\"returncode\":200,\"sd-request-id\":\"a_b\",\"time\":\"T\"}\n"
    );
}

#[test]
fn logstash_lines_have_its_names() {
    let text = logged(LogLevel::Info, LogFormat::Logstash, access_line);
    let line = without_time(&text);
    assert!(line.starts_with("{\"@timestamp\":\"T\",\"@version\":1,\"cached\":true,"), "{line}");
    let line = json_of(&text);
    assert_eq!(line["level"], "info");
    assert_eq!(line["message"], "127.0.0.1 GET /api/v1/services HTTP/1.1");
    assert_eq!(line.get("msg"), None);
}

#[test]
fn hostile_text_stays_one_value_of_one_line() {
    let hostile = "a\" level=error msg=\"x\n{\"time\":1}\r\t\u{0}\u{1b}[31m\\\u{7f}\u{85}\u{2028}\u{202e}\u{feff}é😀\u{e0041}";
    for format in [LogFormat::Json, LogFormat::Logstash] {
        let line = json_of(&logged(LogLevel::Info, format, || {
            tracing::info!(value = hostile, shown = %hostile, "{hostile}");
        }));
        assert_eq!(line["value"], hostile);
        assert_eq!(line["shown"], hostile);
        assert_eq!(line[if format == LogFormat::Json { "msg" } else { "message" }], hostile);
    }
    let text = logged(LogLevel::Info, LogFormat::Text, || tracing::info!(value = hostile, "m"));
    assert!(
        text.ends_with(
            "msg=\"m\" module=TELEMETRY value=\"a\\\" level=error msg=\\\"x\\n{\\\"time\\\":1}\\r\\t\\x00\\x1b[31m\
             \\\\\\x7f\\u0085\\u2028\\u202e\\ufeffé😀\\U000e0041\" \n"
        ),
        "{text}"
    );
}

#[test]
fn every_character_comes_back_from_json() {
    let all: String = ('\0'..='\u{2100}').chain('\u{fe00}'..='\u{ffff}').collect();
    for chunk in all.chars().collect::<Vec<_>>().chunks(300) {
        let chunk: String = chunk.iter().collect();
        let line = json_of(&logged(LogLevel::Info, LogFormat::Json, || tracing::info!("{chunk}")));
        assert_eq!(line["msg"], chunk);
    }
}

#[test]
fn fields_do_not_take_the_place_of_the_line_itself() {
    let line = json_of(&logged(LogLevel::Info, LogFormat::Json, || {
        tracing::info!(time = "t", level = "l", msg = "m", r#type = "ty", "said");
    }));
    assert_eq!(line["msg"], "said");
    assert_eq!(line["level"], "info");
    assert_eq!(line["fields.time"], "t");
    assert_eq!(line["fields.level"], "l");
    assert_eq!(line["fields.msg"], "m");
    assert_eq!(line["type"], "ty");
}

#[test]
fn long_values_are_cut_between_characters() {
    let long = format!("x{}", "é".repeat(2000));
    let line = json_of(&logged(LogLevel::Info, LogFormat::Json, || {
        tracing::info!(long = long.as_str(), after = "kept", "m");
    }));
    assert_eq!(line["long"], format!("x{}…", "é".repeat(1023)));
    assert_eq!(line["after"], "kept");
}

#[test]
fn numbers_that_json_does_not_know_are_texts() {
    let line = json_of(&logged(LogLevel::Info, LogFormat::Json, || {
        tracing::info!(nan = f64::NAN, big = u128::MAX, "m");
    }));
    assert_eq!(line["nan"], "NaN");
    assert!(line["big"].is_number());
}

fn one_line_of_each_level() {
    tracing::debug!("debug");
    tracing::info!("info");
    tracing::warn!("warn");
    tracing::error!("error");
    tracing::info!(target: "h2::frame", "foreign info");
    tracing::warn!(target: "h2::frame", "foreign warn");
    tracing::error!(target: "hyper", "foreign error");
}

#[test]
fn levels_choose_lines_and_libraries_speak_from_warnings_on() {
    for (level, want) in [
        (LogLevel::Debug, &["debug", "info", "warn", "error", "foreign warn", "foreign error"][..]),
        (LogLevel::Info, &["info", "warn", "error", "foreign warn", "foreign error"]),
        (LogLevel::Warn, &["warn", "error", "foreign warn", "foreign error"]),
        (LogLevel::Error, &["error", "foreign error"]),
    ] {
        let text = logged(level, LogFormat::Json, one_line_of_each_level);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: Vec<&str> = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect();
        assert_eq!(said, want, "{level:?}");
    }
    let text = logged(LogLevel::Debug, LogFormat::Text, one_line_of_each_level);
    for (line, head) in text.lines().zip(["level=debug ", "level=info ", "level=warning ", "level=error "]) {
        assert!(line.contains(head), "{line}");
    }
    assert!(text.contains("msg=\"foreign warn\" module=H2 \n"), "{text}");
}

//! Where log lines go: through a bounded queue to a thread that writes standard error.
//!
//! No caller ever waits for the writer: a line that finds the queue full is dropped and counted.
//! Never: decides what is worth a line.

use std::io;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use super::lines::Lines;

/// Lines that may wait for the writer; with the bound on a line's values, a few MB at the usual
/// length and never unbounded.
const QUEUE_LINES: usize = 8_192;

/// Which lines are written, and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least that is written of our own lines.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// The levels of the original (spec amalgam8 section 12); `fatal` and `panic` are [`LogLevel::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything, one line for every request included.
    Debug,
    /// What an operator acts on or audits.
    Info,
    /// What may need someone.
    Warn,
    /// What needs someone.
    Error,
}

/// The three formats of the original (spec amalgam8 section 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="..." level=info msg="..." key=value`
    Text,
    /// One flat JSON object.
    Json,
    /// One flat JSON object with the names that Logstash expects.
    Logstash,
}

/// The running log writer. Lines that are queued are written when this is dropped, so `main` keeps
/// it to its end.
#[must_use = "queued lines are written when this is dropped"]
#[derive(Debug)]
pub struct Logs {
    dropped: DroppedLines,
    _writer: WorkerGuard,
}

/// How many lines were dropped because the queue was full.
#[derive(Debug, Clone)]
pub struct DroppedLines(ErrorCounter);

// === impl LogLevel ===

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
        }
    }
}

// === impl Logs ===

impl Logs {
    /// Starts the writer and sends every event of the process to it.
    ///
    /// # Errors
    /// When the process has a subscriber already.
    pub fn start(config: LogConfig) -> Result<Self, SetGlobalDefaultError> {
        let (queue, writer) = queue(io::stderr());
        let dropped = DroppedLines(queue.error_counter());
        tracing::subscriber::set_global_default(subscriber(config, queue))?;
        Ok(Self { dropped, _writer: writer })
    }

    /// The counter of dropped lines, for the metrics.
    #[must_use]
    pub fn dropped(&self) -> DroppedLines {
        self.dropped.clone()
    }
}

// === impl DroppedLines ===

impl DroppedLines {
    /// Lines dropped so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.dropped_lines()).unwrap_or(u64::MAX)
    }
}

/// A bounded queue and the thread that writes it to `target`.
fn queue(target: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE_LINES)
        .thread_name("log")
        // A batch of lines is one write; the thread flushes whenever the queue is empty.
        .finish(io::BufWriter::new(target))
}

/// Our own events from `config.level` on, those of libraries from warnings on.
pub(super) fn subscriber<W>(config: LogConfig, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let LogConfig { level, format } = config;
    let wanted = Targets::new()
        .with_default(level.max(LogLevel::Warn).filter())
        .with_target(env!("CARGO_CRATE_NAME"), level.filter());
    let lines = tracing_subscriber::fmt::layer().event_format(Lines::new(format)).with_writer(writer);
    tracing_subscriber::registry().with(wanted).with(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Stands still at each write until it is told to go on, or nobody is left to tell.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<usize>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _nobody_left = self.0.recv();
            let _reader_gone = self.1.send(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (go_on, stuck) = mpsc::channel();
        let (tell, written) = mpsc::channel();
        let (mut lines, writer) = queue(Stuck(stuck, tell));
        let dropped = DroppedLines(lines.error_counter());
        let sent = 3 * QUEUE_LINES;
        for _ in 0..sent {
            lines.write_all(&[b'x'; 1024]).unwrap();
        }
        let lost = usize::try_from(dropped.count()).unwrap();
        assert!(QUEUE_LINES < lost && lost < sent, "{lost} of {sent}");
        drop(go_on);
        let mut left = (sent - lost) * 1024;
        while 0 < left {
            left -= written.recv_timeout(Duration::from_secs(30)).expect("what is queued is written");
        }
        drop(writer);
    }
}

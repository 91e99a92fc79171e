//! What operators see of the process: log lines, metrics, health.
//!
//! Never: knows a protocol's paths or a component's rules; they bring names, numbers and verdicts.

mod exposition;
mod go_duration;
mod health;
mod lines;
mod logs;
mod panel;
mod process;
mod requests;

pub use exposition::{Dialect, Exposition};
pub use go_duration::GoDuration;
pub use health::{Component, Health, Phase, Verdict};
pub use logs::{DroppedLines, LogConfig, LogFormat, LogLevel, Logs};
pub use panel::Panel;
pub use process::{BUILD, Build, Memory, ProcessMetrics};
pub use requests::RequestMetrics;

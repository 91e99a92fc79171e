//! Judges every connection, twenty times within the shortest limit.
//!
//! One walk for all connections instead of a timer for each request: a renewal would pay for arming one. A limit
//! therefore strikes up to two ticks late, never early.
//!
//! Never: touches a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::{ListenerMetrics, Reason};
use super::pulse::{Pulse, Sample};
use super::stall::Stall;

/// How long a connection that is told to close may take for it.
const LINGER: Duration = Duration::from_secs(5);

/// The longest time between two walks.
const TICK_MAX: Duration = Duration::from_millis(500);

/// The shortest time between two walks; limits below twenty of these are for tests.
const TICK_MIN: Duration = Duration::from_millis(5);

/// How long a client may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) handshake: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// All connections of a listener, and since when each does what it does.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    metrics: ListenerMetrics,
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    pulse: Arc<Pulse>,
    peer: SocketAddr,
    judge: Judge,
}

/// The pure part: what one connection does, and since when.
#[derive(Debug)]
struct Judge {
    doing: (Doing, u32),
    since: Instant,
    stall: Stall,
    sentence: Option<Verdict>,
}

/// What a connection is busy with. Each but `Answer` has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Handshake,
    Head,
    Upload,
    Answer,
    Idle,
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Finish(Reason),
    Abort(Option<Reason>),
}

/// What the answers of an HTTP/2 connection do.
#[derive(Debug, Clone, Copy, Default)]
struct Flows {
    stalled: u32,
    longest: Duration,
}

// === impl Limits ===

impl Limits {
    /// Time between two walks.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.handshake.min(self.head).min(self.body).min(self.idle).min(self.write);
        (shortest / 20).clamp(TICK_MIN, TICK_MAX)
    }

    fn of(&self, doing: Doing) -> Option<(Duration, Verdict)> {
        match doing {
            Doing::Handshake => Some((self.handshake, Verdict::Abort(Some(Reason::Handshake)))),
            Doing::Head => Some((self.head, Verdict::Abort(Some(Reason::HeadTimeout)))),
            Doing::Upload => Some((self.body, Verdict::Abort(Some(Reason::BodyTimeout)))),
            Doing::Answer => None,
            Doing::Idle => Some((self.idle, Verdict::Finish(Reason::Idle))),
            Doing::Closing => Some((LINGER.min(self.head), Verdict::Abort(None))),
        }
    }
}

// === impl Watchdog ===

impl Watchdog {
    pub(super) fn new(limits: Limits, metrics: ListenerMetrics) -> Self {
        Self { limits, metrics, records: Vec::new() }
    }

    /// Watches one more connection, until its task has dropped the pulse.
    pub(super) fn watch(&mut self, pulse: Arc<Pulse>, peer: SocketAddr, now: Instant) {
        let judge = Judge::new(pulse.sample(), now);
        self.records.push(Record { pulse, peer, judge });
    }

    /// Looks at every connection and ends those over a limit.
    pub(super) fn walk(&mut self, now: Instant) {
        let Self { limits, metrics, records } = self;
        records.retain_mut(|record| {
            // The task of a connection that ended has dropped its half.
            let alive = Arc::strong_count(&record.pulse) != 1;
            if alive {
                record.look(limits, metrics, now);
            }
            alive
        });
        // A burst of connections must not hold its memory for ever.
        if records.len() < records.capacity() / 4 {
            records.shrink_to(records.len() * 2);
        }
    }

    /// Tells every connection to take no new request.
    pub(super) fn finish_all(&self) {
        for record in &self.records {
            record.pulse.finish();
        }
    }
}

// === impl Record ===

impl Record {
    fn look(&mut self, limits: &Limits, metrics: &ListenerMetrics, now: Instant) {
        let mut flows = Flows::default();
        self.pulse.for_each_flow(|flow, stall| {
            let stalled = stall.observe(flow.is_blocked(), flow.yielded(), now);
            flows.stalled += u32::from(limits.write <= stalled);
            flows.longest = flows.longest.max(stalled);
        });
        let Some(verdict) = self.judge.judge(self.pulse.sample(), flows, limits, now) else { return };
        let reason = match verdict {
            Verdict::Finish(reason) => {
                self.pulse.finish();
                Some(reason)
            }
            Verdict::Abort(reason) => {
                self.pulse.abort();
                reason
            }
        };
        if let Some(reason) = reason {
            metrics.closed(reason);
            let (peer, reason) = (self.peer, reason.as_str());
            tracing::debug!(%peer, reason, "connection of {peer} closed: {reason}");
        }
    }
}

// === impl Judge ===

impl Judge {
    fn new(sample: Sample, now: Instant) -> Self {
        Self {
            doing: (Doing::of(&sample), sample.begun),
            since: now,
            stall: Stall::default(),
            sentence: None,
        }
    }

    /// What is to happen with the connection, each verdict once.
    fn judge(&mut self, sample: Sample, flows: Flows, limits: &Limits, now: Instant) -> Option<Verdict> {
        let doing = (Doing::of(&sample), sample.begun);
        if doing != self.doing {
            self.doing = doing;
            self.since = now;
        }
        let overdue = limits.of(doing.0).and_then(|(limit, verdict)| {
            (limit <= now.saturating_duration_since(self.since)).then_some(verdict)
        });
        let stalled = self.stall.observe(sample.blocked, sample.written, now);
        let verdict = match (self.sentence, overdue, flows.verdict(sample.in_flight, limits.write)) {
            (Some(Verdict::Abort(_)), _, _) => None,
            _ if limits.write <= stalled => Some(Verdict::Abort(Some(Reason::WriteStall))),
            (_, Some(Verdict::Abort(reason)), _) | (_, _, Some(Verdict::Abort(reason))) => {
                Some(Verdict::Abort(reason))
            }
            (Some(Verdict::Finish(_)), _, _) => None,
            (None, finish, slow) => finish.or(slow),
        }?;
        // A connection that was told to finish is counted already.
        let counted = self.sentence.replace(verdict).is_some();
        Some(match verdict {
            Verdict::Abort(_) if counted => Verdict::Abort(None),
            Verdict::Abort(_) | Verdict::Finish(_) => verdict,
        })
    }
}

// === impl Doing ===

impl Doing {
    fn of(sample: &Sample) -> Self {
        match *sample {
            Sample { handshaking: true, .. } => Self::Handshake,
            Sample { uploads: 1.., .. } => Self::Upload,
            Sample { in_flight: 1.., .. } | Sample { blocked: true, .. } => Self::Answer,
            Sample { closing: true, .. } => Self::Closing,
            Sample { begun: 0, .. } | Sample { http2: false, head_begun: true, .. } => Self::Head,
            Sample { .. } => Self::Idle,
        }
    }
}

// === impl Flows ===

impl Flows {
    /// A proxy's connection may carry one stalled answer among many good ones: those may end first, but not for
    /// longer than the limit once more.
    fn verdict(self, in_flight: u32, limit: Duration) -> Option<Verdict> {
        match self.stalled {
            0 => None,
            stalled if in_flight <= stalled || limit * 2 <= self.longest => {
                Some(Verdict::Abort(Some(Reason::WriteStall)))
            }
            _ => Some(Verdict::Finish(Reason::WriteStall)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stall::PROGRESS;
    use super::*;

    const LIMITS: Limits = Limits {
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    const QUIET: Flows = Flows { stalled: 0, longest: Duration::ZERO };

    /// Shows what a connection does in each second from 1 on; the verdicts, with their seconds.
    fn check(seconds: u32, sample: impl Fn(u32) -> (Sample, Flows), expected: &[(u32, Verdict)]) {
        let start = Instant::now();
        let mut judge = Judge::new(sample(0).0, start);
        let verdicts: Vec<_> = (1..=seconds)
            .filter_map(|second| {
                let (sample, flows) = sample(second);
                let now = start + Duration::from_secs(second.into());
                Some((second, judge.judge(sample, flows, &LIMITS, now)?))
            })
            .collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn each_limit_strikes_once_and_for_its_own_reason() {
        let abort = |second, reason| [(second, Verdict::Abort(Some(reason)))];
        let sample = Sample::default();
        check(99, |_| (Sample { handshaking: true, ..sample }, QUIET), &abort(10, Reason::Handshake));
        check(99, |_| (sample, QUIET), &abort(10, Reason::HeadTimeout));
        let sample = Sample { begun: 1, ..sample };
        check(99, |_| (Sample { head_begun: true, ..sample }, QUIET), &abort(10, Reason::HeadTimeout));
        let upload = Sample { in_flight: 1, uploads: 1, ..sample };
        check(99, |_| (upload, QUIET), &abort(30, Reason::BodyTimeout));
        // What is first seen at 1 s is counted from there.
        check(99, |_| (Sample { blocked: true, ..sample }, QUIET), &abort(31, Reason::WriteStall));
        check(999, |_| (Sample { in_flight: 1, ..sample }, QUIET), &[]);
    }

    #[test]
    fn an_idle_connection_is_asked_before_it_is_cut() {
        let asked = (75, Verdict::Finish(Reason::Idle));
        let idle = |second| Sample { begun: 1, closing: 75 < second, ..Sample::default() };
        check(99, |second| (idle(second), QUIET), &[asked, (81, Verdict::Abort(None))]);
        // Frames that are no request, such as pings.
        let pinged = |second| Sample { http2: true, head_begun: true, ..idle(second) };
        check(80, |second| (pinged(second), QUIET), &[asked]);
    }

    #[test]
    fn a_heartbeat_now_and_then_keeps_a_connection() {
        check(999, |second| (Sample { begun: 1 + second / 30, ..Sample::default() }, QUIET), &[]);
    }

    #[test]
    fn sixty_four_kibibytes_are_progress_and_less_is_not() {
        let reader = |written| Sample { begun: 1, in_flight: 1, blocked: true, written, ..Sample::default() };
        let rate = |second: u32, rate| reader(usize::try_from(second).map_or(0, |second| second * rate));
        check(999, |second| (rate(second, PROGRESS / 29), QUIET), &[]);
        let cut = Verdict::Abort(Some(Reason::WriteStall));
        check(99, |second| (rate(second, PROGRESS / 31), QUIET), &[(31, cut)]);
    }

    #[test]
    fn good_streams_may_end_before_a_stalled_one_is_cut() {
        let sample = Sample { http2: true, begun: 9, in_flight: 3, ..Sample::default() };
        let flows = |second: u32| Flows {
            stalled: u32::from(30 <= second),
            longest: Duration::from_secs(second.into()),
        };
        let asked = (30, Verdict::Finish(Reason::WriteStall));
        check(99, |second| (sample, flows(second)), &[asked, (60, Verdict::Abort(None))]);
        let few = |second| Sample { in_flight: if second < 40 { 3 } else { 1 }, ..sample };
        check(99, |second| (few(second), flows(second)), &[asked, (40, Verdict::Abort(None))]);
    }
}

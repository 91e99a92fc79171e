//! What replication costs: CPU and bytes for joining, for renewals and for what was missed during a cut. Two members in
//! one process, whose frames are handed over directly. Run with `cargo bench --bench replication -- [instances]`.
//!
//! A measurement, not a test. Linux only: costs are read from the thread's CPU clock.
//! Never: opens a socket, or needs anything but itself.

use std::sync::Arc;
use std::time::Duration;

use a8registry::cluster::message::MemberId;
use a8registry::cluster::replicated::ReplicatedStore;
use a8registry::cluster::replication::Replication;
use a8registry::cluster::replicator::{Link, Settings};
use a8registry::directory::{LeaseRules, LogLimits};
use a8registry::model::{
    Clock, Endpoint, EndpointType, Instance, Namespace, Origin, Registration, Status, Timestamp,
};
use a8registry::store::memory::{MemoryConfig, MemoryStore};
use a8registry::store::{Store, StoreMetrics};
use futures_util::FutureExt;
use nix::time::{ClockId, clock_gettime};

struct Member {
    store: ReplicatedStore,
    memory: Arc<MemoryStore>,
    replication: Arc<Replication>,
}

/// What carrying frames cost.
#[derive(Default)]
struct Cost {
    frames: u32,
    bytes: usize,
    sending: Duration,
    receiving: Duration,
    /// Longest time that a frame kept the lock.
    longest: Duration,
}

const FRAME_MAX: usize = 1 << 20;

#[allow(clippy::print_stdout, reason = "a measurement is for people")]
fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let count: u32 = words.first().map_or(100_000, |word| word.parse().expect("a count of instances"));
    let pair = [Member::new("a"), Member::new("b")];
    pair[0].replication.open();
    let ids: Vec<Box<str>> = (0..count).map(|nth| pair[0].register(&instance(nth))).collect();

    connect(&pair, 0);
    let cost = carry(&pair, 0);
    let begun = cpu();
    pair[1].replication.open();
    println!("join, {count} instances: {}; opening {} ns each", cost.per(count), each(cpu() - begun, count));
    assert_eq!(pair[1].memory.census(0).instances, ids.len());

    let renewed = count / 4;
    let begun = cpu();
    for id in ids.iter().step_by(4) {
        let renewed = pair[0].store.renew(&Namespace::default(), id).now_or_never();
        assert!(matches!(renewed, Some(Ok(()))));
    }
    let renewing = cpu() - begun;
    // What is renewed in the millisecond of the registration is no news.
    std::thread::sleep(Duration::from_millis(300));
    for id in ids.iter().step_by(4) {
        assert!(matches!(pair[0].store.renew(&Namespace::default(), id).now_or_never(), Some(Ok(()))));
    }
    let begun = cpu();
    pair[0].replication.flush();
    let flushing = cpu() - begun;
    std::thread::sleep(Duration::from_millis(300));
    pair[0].replication.flush();
    let cost = carry(&pair, 0);
    println!("renewals, {renewed} of {count}: {}", cost.per(renewed));
    println!(
        "  renewing itself {} ns each, collecting {} ns each",
        each(renewing, renewed),
        each(flushing, renewed)
    );

    for (at, link) in [(0, Link(0)), (1, Link(0))] {
        pair[at].replication.disconnected(link);
    }
    let changed = count / 10;
    for nth in 0..changed {
        pair[0].register(&Instance { status: Status::Starting, ..instance(nth) });
    }
    connect(&pair, 1);
    let cost = carry(&pair, 1);
    println!("heal, {changed} changes: {}", cost.per(changed));
    let digests = pair.each_ref().map(|member| member.replication.report().digest);
    assert_eq!(digests[0], digests[1], "they agree");
}

// === impl Member ===

impl Member {
    fn new(name: &str) -> Self {
        let clock = Arc::new(Clock::default());
        let config = MemoryConfig {
            namespace_capacity: None,
            max_namespaces: 10,
            change_log: LogLimits::default(),
            leases: LeaseRules::default(),
        };
        let memory = Arc::new(MemoryStore::tracking(config, clock.clone(), StoreMetrics::default()));
        let settings = Settings {
            me: MemberId(name.into()),
            incarnation: 1,
            max_ttl: Duration::from_secs(3600),
            hold: Duration::from_secs(300),
            flush: Duration::from_millis(200),
            frame_max: FRAME_MAX,
            leases: LeaseRules::default(),
        };
        let replication = Replication::new(settings, memory.clone(), clock);
        Self { store: ReplicatedStore::new(memory.clone(), replication.clone()), memory, replication }
    }

    fn register(&self, instance: &Instance) -> Box<str> {
        let answer = self.store.register(&Namespace::default(), instance.clone(), Origin::Client);
        assert!(matches!(answer.now_or_never(), Some(Ok(_))));
        instance.id.as_str().into()
    }
}

// === impl Cost ===

impl Cost {
    fn per(&self, count: u32) -> String {
        let Self { frames, bytes, sending, receiving, longest } = self;
        format!(
            "{frames} frames, {bytes} bytes ({:.1} each); sending {} ns each, receiving {} ns each, {:.0} ms in all, a frame {:.1} ms at most",
            f64::from(u32::try_from(*bytes).unwrap_or(u32::MAX)) / f64::from(count),
            each(*sending, count),
            each(*receiving, count),
            (*sending + *receiving).as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3,
        )
    }
}

fn connect(pair: &[Member; 2], link: u64) {
    pair[0].replication.connected(Link(link), MemberId("b".into()));
    pair[1].replication.connected(Link(link), MemberId("a".into()));
}

/// Carries frames until neither has any.
fn carry(pair: &[Member; 2], link: u64) -> Cost {
    let mut cost = Cost::default();
    let mut is_quiet = false;
    while !is_quiet {
        is_quiet = true;
        for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            loop {
                let begun = cpu();
                let Some(frame) = from.replication.next_frame(Link(link)) else { break };
                let sent = cpu();
                to.replication.received(Link(link), &frame).expect("no rule is broken");
                let received = cpu() - sent;
                cost.frames += 1;
                cost.bytes += frame.len();
                cost.sending += sent - begun;
                cost.receiving += received;
                cost.longest = cost.longest.max(received);
                is_quiet = false;
            }
        }
    }
    cost
}

fn instance(nth: u32) -> Instance {
    let asked = Registration {
        service: format!("service-{}", nth % 500).parse().expect("a name"),
        endpoint: Endpoint::new(
            EndpointType::Http,
            &format!("10.{}.{}.{}:8080", nth >> 16, nth >> 8 & 255, nth & 255),
        )
        .expect("an endpoint"),
        status: Status::Up,
        tags: ["blue".into(), "v2".into()].into(),
        metadata: Some(
            a8registry::model::Metadata::from_json(r#"{"zone":"eu-1a","weight":10}"#, 100).expect("JSON"),
        ),
        ttl: None,
        eureka: None,
    };
    asked.grant(Duration::from_secs(3600), Timestamp::from_millis(1_795_366_814_492))
}

/// CPU time of this thread.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("there is such a clock").into()
}

fn each(time: Duration, count: u32) -> u128 {
    time.as_nanos() / u128::from(count.max(1))
}

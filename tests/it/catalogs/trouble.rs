//! What every catalog that is asked by HTTP keeps to while something is wrong between it and whom it follows.
//!
//! Never: waits for one fault after the other; each has a registry of its own.

use std::time::{Duration, Instant};

use super::{System, ends_soon, health, until_shown};
use crate::support::client::instance;
use crate::support::{Client, Daemon, Fault, FaultProxy, Setup, eventually};

/// A registry between which and the system something goes wrong.
struct Troubled {
    fault: Fault,
    registry: Daemon,
    client: Client,
    proxy: FaultProxy,
}

/// How long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nobody waits until silence is said, which takes some catalogs half a minute.
    Short,
    Long,
}

/// What each registry has itself.
const OURS: &str = "10.9.9.9:1";
/// Most memory of a registry, in MiB.
const RESIDENT_MAX: u64 = 400;
/// Most instances of a catalog, on which it depends how long an answer may be.
const INSTANCES_MAX: &str = "--catalog_max_instances=100";
/// Reads of which most are to be quick, and how quick.
const READS: usize = 25;
const QUICK: Duration = Duration::from_millis(200);

/// Under each fault what was read stays, reads are as quick as ever, memory is bounded, health says what is wrong in one of
/// these words (none: nothing is), and when it is over all is well.
#[track_caller]
pub(crate) fn survive_all_faults(
    system: &mut dyn System,
    says: fn(Fault) -> &'static [&'static str],
    length: Length,
) {
    let name = system.catalog();
    let [one, two] = [1, 2].map(|nth| system.place(nth));
    system.has(&[("shop", &one)]);
    let all = Fault::ALL.map(|fault| Troubled::start(system, fault));
    for Troubled { client, .. } in &all {
        until_shown(client, &[&one, OURS]);
    }
    let until_said = |it: &Troubled, fault: Fault| {
        eventually(&format!("{fault:?} is said"), || {
            let state = health(&it.client, name);
            let error = state["last_error"].as_str().unwrap_or_default();
            let is_said = says(fault).iter().any(|words| error.contains(words));
            (is_said && state["state"] == "failing" && state["instances"] == 1).then_some(())
        });
    };
    let is_seen = |fault: Fault| says(fault).is_empty();
    // Whoever waits for a change just now would wait for long when he is told nothing.
    for it in &all {
        it.proxy.set(Some(Fault::Cut));
    }
    for it in &all {
        until_said(it, Fault::Cut);
        it.proxy.set(Some(it.fault));
    }
    for it in all.iter().filter(|it| !is_seen(it.fault) && it.fault != Fault::Silent) {
        until_said(it, it.fault);
    }
    system.has(&[("shop", &two)]);
    for it in &all {
        if is_seen(it.fault) {
            until_shown(&it.client, &[&two, OURS]);
            it.reads_well(&two);
            continue;
        }
        if it.fault != Fault::Silent || length == Length::Long {
            until_said(it, it.fault);
        }
        it.reads_well(&one);
    }
    for it in &all {
        it.proxy.set(None);
    }
    for it in &all {
        until_shown(&it.client, &[&two, OURS]);
        eventually("it is current again", || (health(&it.client, name)["state"] == "current").then_some(()));
    }
    for it in &all {
        it.proxy.set(Some(it.fault));
    }
    for Troubled { registry, .. } in all {
        ends_soon(registry);
    }
    system.has(&[]);
}

/// One of what health says of each fault of a server that is called as catalogs call most; its answer is no list in these
/// words. Nobody waits for the end of one that goes on without anything to read.
pub(crate) fn said_of_a_call(fault: Fault, no_list: &'static [&'static str]) -> &'static [&'static str] {
    match fault {
        Fault::Cut => &["broke off", "cannot be connected to"],
        Fault::Delayed => &[],
        Fault::Refusing => &["answers 500"],
        Fault::Half => &["broke off"],
        Fault::Garbage | Fault::Endless => no_list,
        Fault::Silent => &["does not answer in time"],
    }
}

// === impl Troubled ===

impl Troubled {
    #[track_caller]
    fn start(system: &dyn System, fault: Fault) -> Self {
        let proxy = FaultProxy::to(system.far());
        let flags = system.flags(proxy.address()).into_iter();
        let registry = flags.fold(Setup::new(INSTANCES_MAX), Setup::arg).start();
        let client = registry.client();
        let mut own = instance("own", OURS);
        own["ttl"] = 300.into();
        client.register(&own);
        Self { fault, registry, client, proxy }
    }

    /// What it had is there, and is read as if nothing were wrong.
    #[track_caller]
    fn reads_well(&self, foreign: &str) {
        let mut took: Vec<_> = (0..READS)
            .map(|_| {
                let begun = Instant::now();
                let list = self.client.get("/api/v1/instances?status=ALL").ok().text();
                assert!(list.contains(foreign) && list.contains(OURS), "{:?}: {list}", self.fault);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        assert!(took[READS / 2] < QUICK, "{:?}: {took:?}", self.fault);
        assert_eq!(self.client.get("/health/ready").status, 200, "{:?}", self.fault);
        let resident = self.registry.resident() >> 20;
        assert!(resident < RESIDENT_MAX, "{:?}: it takes {resident} MiB", self.fault);
    }
}

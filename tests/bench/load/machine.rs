//! The machine under the measurement: which cores it may use, and what everybody else does on it meanwhile.
//!
//! Never: changes anything but the affinity of this process.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;

/// Length of the tick in which Linux tells times in `/proc`, on every architecture.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// One core for the servers, another for the generator; none of both where only one is to be had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    split: Option<(CpuSet, CpuSet)>,
}

/// CPU time that the whole machine has used until now, and this process's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    all: Duration,
    own: Duration,
}

// === impl Cores ===

impl Cores {
    /// Takes the first two cores that this process may use, and moves it to the second.
    pub(crate) fn divide() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let split = match (cores.next(), cores.next()) {
            (Some(server), Some(generator)) => Some((only(server)?, only(generator)?)),
            (_, _) => None,
        };
        let cores = Self { split };
        cores.move_to_generator()?;
        Ok(cores)
    }

    /// Whether servers and generator are apart.
    pub(crate) const fn are_apart(&self) -> bool {
        self.split.is_some()
    }

    /// Does something on the servers' core; a process that it starts stays there.
    pub(crate) fn as_server<T>(&self, action: impl FnOnce() -> T) -> anyhow::Result<T> {
        if let Some((server, _)) = &self.split {
            sched_setaffinity(Pid::from_raw(0), server)?;
        }
        let outcome = action();
        self.move_to_generator()?;
        Ok(outcome)
    }

    fn move_to_generator(&self) -> anyhow::Result<()> {
        if let Some((_, generator)) = &self.split {
            sched_setaffinity(Pid::from_raw(0), generator)?;
        }
        Ok(())
    }
}

fn only(core: usize) -> anyhow::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(set)
}

// === impl Usage ===

impl Usage {
    /// Until now.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u32> = ticks.map_while(|field| field.parse().ok()).collect();
        // user, nice, system; then interrupts, and what the hypervisor gave to others. The rest is idle or doubled.
        let busy = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|field| ticks.get(field)).sum::<u32>();
        let own = Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?);
        Ok(Self { all: TICK * busy, own })
    }

    /// CPU time that others than this process used since then.
    pub(crate) fn others_since(&self, before: &Self) -> Duration {
        self.all.saturating_sub(before.all).saturating_sub(self.own_since(before))
    }

    /// CPU time that this process used since then.
    pub(crate) fn own_since(&self, before: &Self) -> Duration {
        self.own.saturating_sub(before.own)
    }
}

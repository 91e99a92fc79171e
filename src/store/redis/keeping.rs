//! The loops that keep leases: one lets the buckets' time go on and reaps what has run out, one looks after this
//! process' own time, its logs and what it says of itself.
//!
//! Every node reaps, each at its own time; a script removes an instance once, whoever asks first.
//! Never: ends before it is told to, or reaps without Redis saying that a lease is over.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;

use super::entry::Renewed;
use super::keys::{self, BUCKETS, Bucket, Encoded};
use super::{RedisStore, Shared, random};
use crate::directory::LeaseRules;
use crate::model::{Instance, Namespace};
use crate::store::Standing;
use crate::telemetry::Component;

/// Lets leases run out.
#[derive(Debug)]
pub struct Reaper {
    shared: Arc<Shared>,
    /// The minute of each bucket's time whose counts this node shows.
    minutes: [AtomicU64; BUCKETS],
}

/// What a tick of a bucket answers: its number, the minute of its time, which leases are due, and, when the minute is
/// another one, how many renewed in the last one and how many are silent, by namespace.
type Ticked = (u64, u64, Vec<Vec<u8>>, HashMap<String, u64>, HashMap<String, usize>);

/// Looks after this process' part.
#[derive(Debug)]
pub struct Upkeep {
    pub(super) shared: Arc<Shared>,
}

/// How often a node looks, give or take a quarter: an instance is gone at most this and a reader's delay after its
/// lease.
const EVERY: Duration = Duration::from_millis(400);
/// Rounds between two announcements of who renewed: two seconds.
const ANNOUNCE: u32 = 5;
/// Rounds between two looks at changes that are too old.
const TRIM: u32 = 50;
/// Leases of one bucket that end in one call.
const MOST: usize = 256;
/// The same where many may be kept, which costs little.
const MOST_KEPT: usize = 1024;
/// All of them.
const ALL: i64 = -1;
/// Buckets that are looked at side by side.
const AT_ONCE: usize = 16;
/// Instances that are named in the log in one round; the rest is counted.
const NAMED: usize = 100;
/// A standstill that is worth a line.
const STANDSTILL: Duration = Duration::from_secs(1);
/// How often this process looks after itself.
const UPKEEP: Duration = Duration::from_millis(250);

// === impl Reaper ===

impl Reaper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, minutes: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Looks until told to stop. What fails is done in the next round, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut round = 0_u32;
        loop {
            let pause = EVERY * u32::try_from(750 + random() % 500).unwrap_or(1000) / 1000;
            if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            round = round.wrapping_add(1);
            let looked = shutdown.run_until_cancelled(self.look(round)).await;
            if looked.is_none() {
                return;
            }
        }
    }

    async fn look(&self, round: u32) {
        let shared = &self.shared;
        if !shared.connection.is_up() {
            return;
        }
        let empty = std::mem::take(&mut *shared.empty.lock());
        for namespace in empty {
            shared.forget(&namespace).await;
        }
        let buckets = Bucket::all().filter(|bucket| !shared.mirror.is_vacant(*bucket));
        let reaped = stream::iter(buckets)
            .map(|bucket| self.look_at(bucket, round))
            .buffer_unordered(AT_ONCE)
            .fold(0, |sum, reaped| async move { sum + reaped })
            .await;
        if NAMED < reaped {
            tracing::info!(instances = reaped, "{reaped} instances expired at once; not all are named");
        }
    }

    async fn look_at(&self, bucket: Bucket, round: u32) -> usize {
        let shared = &self.shared;
        let age = if round.is_multiple_of(TRIM) { shared.limits.change_log.age } else { Duration::ZERO };
        let renewed =
            if round.is_multiple_of(ANNOUNCE) { shared.renewed_in(bucket) } else { Renewed::default() };
        let LeaseRules { strict_eureka, self_preservation, .. } = shared.limits.leases;
        let most = match (strict_eureka, self_preservation) {
            (true, _) => ALL,
            (false, true) => i64::try_from(MOST_KEPT).unwrap_or(ALL),
            (false, false) => i64::try_from(MOST).unwrap_or(ALL),
        };
        let counted: Vec<(String, u64)> = match self_preservation {
            true => {
                renewed.counts().map(|(it, count)| (Encoded::of(it).as_str().to_owned(), count)).collect()
            }
            false => Vec::new(),
        };
        let shown = &self.minutes[bucket.position() % BUCKETS];
        let keys = [bucket.clock(), bucket.leases(), bucket.changes(), bucket.renewals()];
        let mut call = shared.scripts.tick.timed(&keys, shared.standpoint(bucket)).arg(most);
        call = call.arg(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)).arg(renewed.into_bytes());
        call = call.arg(random()).arg(shown.load(Ordering::Relaxed)).arg(shared.author);
        for (namespace, count) in counted {
            call = call.arg(namespace).arg(count);
        }
        // What cannot be done now is done in the next round; the connection counts and logs it.
        let Ok(ticked) = shared.call::<Ticked>(bucket, &call).await else { return 0 };
        let (number, minute, due, beats, silent) = ticked;
        shared.mirror.is_numbered(bucket, number);
        if self_preservation && shown.swap(minute, Ordering::Relaxed) != minute {
            for (namespace, directory) in shared.mirror.directories(bucket) {
                let encoded = Encoded::of(&namespace);
                let beats = beats.get(encoded.as_str()).copied().unwrap_or_default();
                directory.count_renewals(beats, silent.get(encoded.as_str()).copied().unwrap_or_default());
            }
        }
        self.reap(&due).await
    }

    /// Ends these leases; tells how many.
    async fn reap(&self, due: &[Vec<u8>]) -> usize {
        let shared = &self.shared;
        let mut by_namespace: BTreeMap<Namespace, Vec<&str>> = BTreeMap::new();
        for (namespace, id) in due.iter().filter_map(|member| keys::parted(member)) {
            by_namespace.entry(namespace).or_default().push(id);
        }
        let mut reaped = 0;
        for (namespace, mut ids) in by_namespace {
            if shared.limits.leases.strict_eureka {
                shared.evict_some(&namespace, &mut ids);
            }
            for ids in ids.chunks(MOST_KEPT) {
                for instance in shared.reap(&namespace, ids).await {
                    reaped += 1;
                    if reaped <= NAMED {
                        let Instance { id, service, .. } = &instance;
                        tracing::info!(%namespace, %service, instance = %id, "instance {id} of {service} expired");
                    }
                }
            }
        }
        reaped
    }
}

impl Shared {
    /// On a Netflix server one run removes at most as many as would leave 85 of a hundred, taken at random (spec eureka
    /// section 3.5).
    fn evict_some(&self, namespace: &Namespace, ids: &mut Vec<&str>) {
        let size = self.mirror.directory(namespace).map_or(0, |directory| directory.own_len());
        let most = size - size * 85 / 100;
        if most < ids.len() {
            let hasher = RandomState::new();
            ids.sort_unstable_by_key(|id| hasher.hash_one(id));
            ids.truncate(most);
        }
    }
}

impl Shared {
    /// Forgets a namespace that holds nothing.
    async fn forget(&self, namespace: &Namespace) {
        let Some(directory) = self.mirror.directory(namespace).filter(|it| it.own_len() == 0) else { return };
        let (bucket, encoded, at) = (Bucket::of(namespace), Encoded::of(namespace), directory.followed());
        let call = self
            .scripts
            .forget
            .on(&[bucket.changes(), bucket.namespaces(), bucket.instances(&encoded), bucket.clock()])
            .arg(encoded.as_str())
            .arg(at.epoch)
            .arg(at.revision)
            .arg(self.most_changes());
        // Another node forgets it, or nobody does until it is written to and empty again: it costs a few bytes.
        if self.connection.call::<u64>(&call).await.is_err() {
            self.empty.lock().push(namespace.clone());
        }
    }
}

// === impl Upkeep ===

impl Upkeep {
    /// Goes on until told to stop. Nothing it does can fail, so it never ends early.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(UPKEEP);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let shared = &self.shared;
            let stood_still = shared.clock.tick();
            if STANDSTILL <= stood_still {
                tracing::warn!(
                    seconds = stood_still.as_secs_f64(),
                    "the process stood still for {stood_still:?}; leases end as its peers on this Redis see it"
                );
            }
            let empty = shared.mirror.compact(shared.clock.now());
            shared.empty.lock().extend(empty);
            shared.redis_metrics.mirror_age(shared.mirror.age());
            shared.report();
        }
    }
}

impl Shared {
    /// Says how it stands; with everything read once, the process is ready.
    pub(super) fn report(&self) {
        let mirror = match self.mirror.standing() {
            Standing::Current => "current",
            Standing::Stale { .. } => "stale",
            Standing::Unread => "unread",
        };
        match self.mirror.standing() {
            Standing::Current | Standing::Stale { .. } => self.health.is_complete(RedisStore::PART),
            Standing::Unread => {}
        }
        let mut properties = Map::new();
        let mut say = |name: &str, value: Value| properties.insert(name.to_owned(), value);
        let is_connected = self.connection.is_up();
        say("connected", is_connected.into());
        say("mirror", mirror.into());
        say("mirror_age_seconds", self.mirror.age().as_secs_f64().into());
        say("reloads", self.redis_metrics.reloads.get().into());
        say("outages", self.redis_metrics.outages.get().into());
        let healthy = is_connected && matches!(self.mirror.standing(), Standing::Current);
        self.health.report("REDIS", Component { healthy, properties });
    }
}

//! The store in Redis: any number of registries share what is there, and each reads from a copy of its own.
//!
//! A write is one atomic script that compares with what the writer knew; what becomes of an instance is decided here, by
//! the model's rules, and decided again when somebody was faster. Leases run on Redis' clock, which stands still while
//! nobody can renew. Reads never go to Redis.
//! Never: a command whose cost grows with the number of namespaces, or a password in a log.

mod address;
mod connection;
mod entry;
mod following;
mod keeping;
mod keys;
mod loading;
mod metrics;
mod mirror;
mod renewals;
mod scripts;

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use parking_lot::Mutex;
use redis::Value;
use tokio_util::sync::CancellationToken;

use super::{Answer, Census, Registered, Standing, Store, StoreError, StoreMetrics};
use crate::directory::{Cause, Directory, LeaseRules, LogLimits, News, Tag};
use crate::model::{Clock, Instance, Namespace, Origin, Status, Update};
use crate::telemetry::Health;
use crate::wire::record::Record;
use connection::{Connection, Failure, Link};
use entry::{REAPED, Renewed, cause_of};
use keys::{BUCKETS, Bucket, Encoded};
use mirror::Mirror;
use renewals::Renewals;
use scripts::{Call, Scripts};

pub use address::{Address, BadAddress, Host, RedisConfig, Topology};
pub use following::Follower;
pub use keeping::{Reaper, Upkeep};
pub use metrics::RedisMetrics;
pub use renewals::Coalescer;

/// Bounds of a store in Redis; the same on all nodes.
#[derive(Debug, Clone, Copy)]
pub struct RedisLimits {
    /// Most instances of one namespace; none is no limit. Exact, whoever writes.
    pub namespace_capacity: Option<usize>,
    /// Most namespaces, by what this node knows of.
    pub max_namespaces: usize,
    /// How much of its past each namespace remembers.
    pub change_log: LogLimits,
    /// How leases end; self-preservation and Netflix' order of eviction are for stores in memory.
    pub leases: LeaseRules,
}

/// A [`Store`] in Redis.
#[derive(Debug)]
pub struct RedisStore(Arc<Shared>);

/// The loops of a store in Redis; all of them have to run.
#[derive(Debug)]
pub struct RedisLoops {
    /// Keeps the mirror.
    pub follower: Follower,
    /// Sends renewals.
    pub coalescer: Coalescer,
    /// Lets leases run out.
    pub reaper: Reaper,
    /// Looks after this process' part.
    pub upkeep: Upkeep,
    /// Cancelled when the first attempt to read everything has ended, well or not. Who serves before turns clients
    /// away that could be answered a moment later.
    pub tried: CancellationToken,
}

/// What the store and its loops work with.
#[derive(Debug)]
struct Shared {
    address: Address,
    limits: RedisLimits,
    clock: Arc<Clock>,
    connection: Connection,
    scripts: Scripts,
    mirror: Mirror,
    renewals: Renewals,
    /// Who renewed here and was not announced yet, by bucket.
    renewed: [Mutex<Renewed>; BUCKETS],
    /// Namespaces that hold nothing any more.
    empty: Mutex<Vec<Namespace>>,
    metrics: StoreMetrics,
    redis_metrics: RedisMetrics,
    health: Arc<Health>,
}

/// A lease to begin anew.
#[derive(Debug, Clone)]
struct Lease {
    bucket: Bucket,
    namespace: Namespace,
    id: Box<str>,
    /// Milliseconds; none when this node does not know the instance.
    length: Option<u64>,
}

/// What became of a record that was put.
#[derive(Debug)]
enum Put {
    Done,
    Full,
    /// Another one is there, or none.
    Other(Vec<u8>),
}

/// Times that a write is decided again because somebody was faster.
const ATTEMPTS: usize = 16;
/// Most changes that a bucket's stream keeps; readers that are further behind read the whole.
const STREAM_MAX: usize = 16_384;
/// A record that no other equals.
const NO_RECORD: &[u8] = b"?";

// === impl RedisStore ===

impl RedisStore {
    /// A store and the loops that it needs; nothing is connected before they run.
    #[must_use]
    pub fn new(
        config: RedisConfig,
        limits: RedisLimits,
        clock: Arc<Clock>,
        metrics: (StoreMetrics, RedisMetrics),
        health: Arc<Health>,
    ) -> (Self, RedisLoops) {
        let (metrics, redis_metrics) = metrics;
        let tried = CancellationToken::new();
        let LeaseRules { strict_eureka: _, self_preservation: _, out_of_service_max } = limits.leases;
        let leases = LeaseRules { out_of_service_max, ..LeaseRules::default() };
        let shared = Arc::new(Shared {
            address: config.address.clone(),
            limits: RedisLimits { leases, ..limits },
            connection: Connection::new(config, redis_metrics.clone()),
            scripts: Scripts::default(),
            mirror: Mirror::new(clock.clone(), limits.change_log),
            renewals: Renewals::default(),
            renewed: std::array::from_fn(|_| Mutex::default()),
            empty: Mutex::default(),
            clock,
            metrics,
            redis_metrics,
            health,
        });
        let loops = RedisLoops {
            follower: Follower {
                shared: shared.clone(),
                positions: vec![Default::default(); BUCKETS],
                tried: tried.clone(),
            },
            coalescer: Coalescer { shared: shared.clone() },
            reaper: Reaper { shared: shared.clone() },
            upkeep: Upkeep { shared: shared.clone() },
            tried,
        };
        (Self(shared), loops)
    }
}

impl Store for RedisStore {
    fn register(
        &self,
        namespace: &Namespace,
        instance: Instance,
        origin: Origin,
    ) -> Answer<Result<Registered, StoreError>> {
        let (shared, namespace) = (self.0.clone(), namespace.clone());
        Either::Right(Box::pin(async move {
            let registered = shared.register(&namespace, instance, origin).await;
            registered.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn renew(&self, namespace: &Namespace, id: &str) -> Answer<Result<(), StoreError>> {
        let (shared, lease) = (self.0.clone(), self.0.lease(namespace, id));
        Either::Right(Box::pin(async move {
            let renewed = shared.renew(lease).await;
            renewed.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn renew_many(
        &self,
        namespace: &Namespace,
        ids: &[Box<str>],
    ) -> Answer<Result<Vec<Result<(), StoreError>>, StoreError>> {
        let shared = self.0.clone();
        let leases: Vec<_> = ids.iter().map(|id| shared.lease(namespace, id)).collect();
        let bucket = Bucket::of(namespace);
        Either::Right(Box::pin(async move {
            let calls = leases.chunks(renewals::MOST).map(|leases| shared.renew_by_call(bucket, leases));
            let renewed =
                future::try_join_all(calls).await.map_err(|failure| shared.unavailable(&failure))?;
            let answer = |renewed| match renewed {
                true => Ok(()),
                false => Err(shared.metrics.refused(StoreError::NoSuchInstance)),
            };
            Ok(renewed.into_iter().flatten().map(answer).collect())
        }))
    }

    fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: Update,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let (shared, namespace, id) = (self.0.clone(), namespace.clone(), Box::<str>::from(id));
        Either::Right(Box::pin(async move {
            let updated = shared.update(&namespace, &id, &update, origin).await;
            updated.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Answer<Result<Arc<Instance>, StoreError>> {
        let (shared, namespace, id) = (self.0.clone(), namespace.clone(), Box::<str>::from(id));
        Either::Right(Box::pin(async move {
            let gone = shared.deregister(&namespace, &id, origin).await;
            gone.map_err(|error| shared.metrics.refused(error))
        }))
    }

    fn directory(&self, namespace: &Namespace) -> Option<Arc<Directory>> {
        self.0.mirror.directory(namespace)
    }

    fn standing(&self) -> Standing {
        self.0.mirror.standing()
    }

    fn census(&self, largest: usize) -> Census {
        let directories: Vec<_> =
            Bucket::all().flat_map(|bucket| self.0.mirror.directories(bucket)).collect();
        let out_of_service = |directory: &Directory| {
            directory.counts().get(Status::OutOfService.position()).copied().unwrap_or_default()
        };
        let mut counted: Vec<_> =
            directories.iter().map(|(namespace, directory)| (namespace.clone(), directory.len())).collect();
        counted.sort_unstable_by(|a, b| Reverse(a.1).cmp(&Reverse(b.1)).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(largest);
        Census {
            instances: directories.iter().map(|(_, directory)| directory.len()).sum(),
            namespaces: directories.len(),
            out_of_service: directories.iter().map(|(_, directory)| out_of_service(directory)).sum(),
            preserving: 0,
            largest: counted,
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn register(
        &self,
        namespace: &Namespace,
        asked: Instance,
        origin: Origin,
    ) -> Result<Registered, StoreError> {
        let max = self.limits.max_namespaces;
        if self.mirror.directory(namespace).is_none() && max <= self.mirror.len() {
            return Err(StoreError::TooManyNamespaces { max });
        }
        let (mut known, mut expected) = self.known(namespace, asked.id.as_str());
        for _ in 0..ATTEMPTS {
            let now = self.clock.time_of_day(self.clock.now());
            let before = known.as_ref().map(|record| &record.instance);
            let succeeding = asked.clone().succeeding(before, origin, now);
            if let Some(before) = before
                && succeeding.as_ref().is_none_or(|it| it.document.is_none() && it.same_content(before))
            {
                let instance = Arc::new(before.clone());
                match self.renew(self.lease(namespace, asked.id.as_str())).await {
                    Ok(()) => return Ok(Registered { instance, changed: false }),
                    // It went just now.
                    Err(StoreError::NoSuchInstance) => (known, expected) = (None, Vec::new()),
                    Err(error) => return Err(error),
                }
                continue;
            }
            let Some(instance) = succeeding else { break };
            let record = with(known.take(), instance);
            match self.put(namespace, &record, &expected, origin).await? {
                Put::Done => {
                    self.metrics.registrations.inc();
                    return Ok(Registered { instance: Arc::new(record.instance), changed: true });
                }
                Put::Full => {
                    let capacity = self.limits.namespace_capacity.unwrap_or_default();
                    return Err(StoreError::NamespaceFull { capacity });
                }
                Put::Other(other) => (known, expected) = (self.read(namespace, &other)?, other),
            }
        }
        Err(StoreError::Unavailable)
    }

    async fn update(
        &self,
        namespace: &Namespace,
        id: &str,
        update: &Update,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        let (mut known, mut expected) = self.known(namespace, id);
        for _ in 0..ATTEMPTS {
            let Some(before) = known.take() else {
                // Another node may have just registered it.
                known = self.fetch(namespace, id, &mut expected).await?;
                if known.is_none() {
                    return Err(StoreError::NoSuchInstance);
                }
                continue;
            };
            let now = self.clock.time_of_day(self.clock.now());
            let instance = update.applied_to(&before.instance, now)?;
            if instance.same_content(&before.instance) {
                match self.renew(self.lease(namespace, id)).await {
                    Ok(()) => {
                        self.metrics.updates.inc();
                        return Ok(Arc::new(before.instance));
                    }
                    Err(StoreError::NoSuchInstance) => return Err(StoreError::NoSuchInstance),
                    Err(error) => return Err(error),
                }
            }
            let record = before.with(instance);
            match self.put(namespace, &record, &expected, origin).await? {
                Put::Done => {
                    self.metrics.updates.inc();
                    return Ok(Arc::new(record.instance));
                }
                Put::Full => return Err(StoreError::Unavailable), // Only what is new can be too many.
                Put::Other(other) if other.is_empty() => return Err(StoreError::NoSuchInstance),
                Put::Other(other) => (known, expected) = (self.read(namespace, &other)?, other),
            }
        }
        Err(StoreError::Unavailable)
    }

    async fn deregister(
        &self,
        namespace: &Namespace,
        id: &str,
        origin: Origin,
    ) -> Result<Arc<Instance>, StoreError> {
        let mut gone = self.remove(namespace, &[id], cause_of(origin), origin.into()).await?;
        let Some((instance, at)) = gone.pop() else { return Err(StoreError::NoSuchInstance) };
        self.mirror.until(namespace, at, self.connection.timeout()).await;
        self.metrics.deregistrations.inc();
        Ok(Arc::new(instance))
    }

    /// Removes those of these instances whose lease has run out; answers with them.
    async fn reap(&self, namespace: &Namespace, ids: &[&str]) -> Vec<Instance> {
        // What fails is done in the next round.
        let gone = self.remove(namespace, ids, REAPED, Cause::Expiry).await.unwrap_or_default();
        self.metrics.expirations.inc_by(u64::try_from(gone.len()).unwrap_or(u64::MAX));
        gone.into_iter().map(|(instance, _)| instance).collect()
    }

    async fn remove(
        &self,
        namespace: &Namespace,
        ids: &[&str],
        word: &str,
        cause: Cause,
    ) -> Result<Vec<(Instance, Tag)>, StoreError> {
        let (keys, encoded) = self.keys(namespace);
        let call =
            self.scripts.remove.on(keys).arg(encoded.as_str()).arg(word).arg(self.most_changes()).arg(ids);
        let removed: Vec<(u64, u64, Vec<u8>)> =
            self.connection.call(&call).await.map_err(|failure| self.unavailable(&failure))?;
        let mut gone = Vec::with_capacity(removed.len());
        for (epoch, revision, json) in removed {
            let Some(record) = self.read(namespace, &json)? else { continue };
            let (instance, at) = (record.instance, Tag { epoch, revision });
            let news = News::Remove(instance.id.as_str().into());
            // A gap is for the reader of the stream to close.
            let _ = self.mirror.told(namespace, at, &news, cause);
            gone.push((instance, at));
        }
        self.mirror.has_moved();
        Ok(gone)
    }

    async fn renew(&self, lease: Lease) -> Result<(), StoreError> {
        let renewed = match &lease.length {
            Some(_) if !self.connection.is_up() => return Err(StoreError::Unavailable),
            Some(_) => {
                // The loop that sends it has ended with the process.
                let answer = self.renewals.add(lease).await;
                answer.map_err(|_| StoreError::Unavailable)?
            }
            None => self.renew_unseen(&lease).await,
        };
        match renewed {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::NoSuchInstance),
            Err(failure) => Err(self.unavailable(&failure)),
        }
    }

    /// Renews leases of one bucket by one call; answers for each, in order.
    async fn renew_by_call(&self, bucket: Bucket, leases: &[Lease]) -> Result<Vec<bool>, Failure> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let members = leases.iter().map(|lease| Encoded::of(&lease.namespace).member(&lease.id));
        let mut call = self.scripts.renew.on([bucket.clock(), bucket.leases()]);
        for member in members {
            call = call.arg(member);
        }
        for lease in leases {
            call = call.arg(lease.length.unwrap_or(0));
        }
        let answers: Vec<u8> = self.connection.call(&call).await?;
        let mut renewed: Vec<bool> = answers.iter().map(|answer| *answer == 1).collect();
        self.redis_metrics.renewal_calls.inc();
        self.redis_metrics.renewals.inc_by(u64::try_from(leases.len()).unwrap_or(u64::MAX));
        self.note_renewed(
            bucket,
            leases.iter().zip(&renewed).filter_map(|(it, renewed)| renewed.then_some(it)),
        );
        for (at, lease) in leases.iter().enumerate().filter(|(at, _)| answers.get(*at) == Some(&2)) {
            let unseen = self.renew_unseen(lease).await?;
            renewed.get_mut(at).into_iter().for_each(|renewed| *renewed = unseen);
        }
        Ok(renewed)
    }

    /// Renews a lease that this node does not know the length of.
    async fn renew_unseen(&self, lease: &Lease) -> Result<bool, Failure> {
        let Lease { bucket, namespace, id, length: _ } = lease;
        let encoded = Encoded::of(namespace);
        let keys = [bucket.clock(), bucket.leases(), bucket.instances(&encoded)];
        let call = self.scripts.renew_unseen.on(keys).arg(encoded.as_str()).arg(&**id);
        let renewed = self.connection.call(&call).await?;
        if renewed {
            self.note_renewed(*bucket, [lease].into_iter());
        }
        Ok(renewed)
    }

    /// Shows and announces leases that began anew.
    fn note_renewed<'a>(&self, bucket: Bucket, leases: impl Iterator<Item = &'a Lease>) {
        let now = self.clock.now();
        let Some(mut announced) = self.renewed.get(bucket.position()).map(Mutex::lock) else { return };
        for lease in leases {
            self.metrics.renewals.inc();
            announced.add(&lease.namespace, &lease.id);
            if let Some(directory) = self.mirror.directory(&lease.namespace) {
                directory.touch(&lease.id, now);
            }
        }
    }

    /// Who renewed here since this was last asked for.
    fn renewed_in(&self, bucket: Bucket) -> Vec<u8> {
        let renewed = self.renewed.get(bucket.position()).map(|renewed| std::mem::take(&mut *renewed.lock()));
        renewed.unwrap_or_default().into_bytes()
    }

    async fn put(
        &self,
        namespace: &Namespace,
        record: &Record,
        expected: &[u8],
        origin: Origin,
    ) -> Result<Put, StoreError> {
        let capacity = self.limits.namespace_capacity;
        let call = self.put_call(namespace, record, expected, capacity, origin);
        let answer: Vec<Value> =
            self.connection.call(&call).await.map_err(|failure| self.unavailable(&failure))?;
        let Some(at) = Self::put_answer(&answer)? else { return Ok(Put::Full) };
        let at = match at {
            Either::Left(other) => return Ok(Put::Other(other)),
            Either::Right(at) => at,
        };
        let news = News::Put(Arc::new(record.instance.clone()));
        // A gap is for the reader of the stream to close.
        let _ = self.mirror.told(namespace, at, &news, origin.into());
        self.mirror.has_moved();
        self.mirror.until(namespace, at, self.connection.timeout()).await;
        Ok(Put::Done)
    }

    /// Where the namespace stands, or what is there instead; none when the namespace is full.
    fn put_answer(answer: &[Value]) -> Result<Option<Either<Vec<u8>, Tag>>, StoreError> {
        let read = |value: &Value| redis::from_redis_value_ref::<Vec<u8>>(value).ok();
        let number = |value: &Value| redis::from_redis_value_ref::<u64>(value).ok();
        let understood = match answer {
            [word, epoch, revision] if read(word).as_deref() == Some(b"done") => {
                let at = number(epoch).zip(number(revision));
                at.map(|(epoch, revision)| Some(Either::Right(Tag { epoch, revision })))
            }
            [word, other] if read(word).as_deref() == Some(b"other") => {
                read(other).map(|other| Some(Either::Left(other)))
            }
            [word] if read(word).as_deref() == Some(b"full") => Some(None),
            [..] => None,
        };
        understood.ok_or(StoreError::Unavailable)
    }

    fn put_call(
        &self,
        namespace: &Namespace,
        record: &Record,
        expected: &[u8],
        capacity: Option<usize>,
        origin: Origin,
    ) -> Call<'_> {
        let (keys, encoded) = self.keys(namespace);
        let lease = self.limits.leases.first_lease(&record.instance).map_or(0, millis);
        let capacity = capacity.map_or(-1, |capacity| i64::try_from(capacity).unwrap_or(i64::MAX));
        self.scripts
            .put
            .on(keys)
            .arg(encoded.as_str())
            .arg(record.instance.id.as_str())
            .arg(expected)
            .arg(record.to_json())
            .arg(lease)
            .arg(capacity)
            .arg(random())
            .arg(cause_of(origin))
            .arg(self.most_changes())
    }

    /// What is there under an id, from Redis itself.
    async fn fetch(
        &self,
        namespace: &Namespace,
        id: &str,
        expected: &mut Vec<u8>,
    ) -> Result<Option<Record>, StoreError> {
        let (keys, encoded) = self.keys(namespace);
        // Nothing equals what is expected, so nothing is put and the answer is what is there.
        let call = self.scripts.put.on(keys).arg(encoded.as_str()).arg(id).arg(NO_RECORD);
        let call = call.arg(NO_RECORD).arg(0).arg(-1).arg(0).arg(cause_of(Origin::Client)).arg(1);
        let answer: Vec<Value> =
            self.connection.call(&call).await.map_err(|failure| self.unavailable(&failure))?;
        match Self::put_answer(&answer)? {
            Some(Either::Left(other)) => {
                let record = self.read(namespace, &other)?;
                *expected = other;
                Ok(record)
            }
            Some(Either::Right(_)) | None => Err(StoreError::Unavailable),
        }
    }

    /// Gives a namespace another epoch than this one.
    async fn renumber(&self, link: &Link, namespace: &Namespace, epoch: u64) -> Result<(), Failure> {
        let (bucket, encoded) = (Bucket::of(namespace), Encoded::of(namespace));
        let call = self
            .scripts
            .renumber
            .on([bucket.namespaces(), bucket.changes()])
            .arg(encoded.as_str())
            .arg(epoch)
            .arg(random())
            .arg(self.most_changes());
        self.connection.call_by::<u64>(link, &call).await.map(drop)
    }

    /// The record of an instance that this node knows, and how it stands in Redis in all likelihood.
    fn known(&self, namespace: &Namespace, id: &str) -> (Option<Record>, Vec<u8>) {
        let known = self.mirror.get(namespace, id).map(|instance| Record::of((*instance).clone()));
        let expected = known.as_ref().map(Record::to_json).unwrap_or_default();
        (known, expected)
    }

    fn read(&self, namespace: &Namespace, json: &[u8]) -> Result<Option<Record>, StoreError> {
        if json.is_empty() {
            return Ok(None);
        }
        Record::from_json(json).map(Some).map_err(|error| {
            tracing::warn!(%namespace, %error, "a record of {namespace} in Redis cannot be read: {error}");
            StoreError::Unavailable
        })
    }

    fn lease(&self, namespace: &Namespace, id: &str) -> Lease {
        let length = self.mirror.get(namespace, id).map(|it| millis(self.limits.leases.renewed_lease(&it)));
        Lease { bucket: Bucket::of(namespace), namespace: namespace.clone(), id: id.into(), length }
    }

    fn keys(&self, namespace: &Namespace) -> ([String; 5], Encoded) {
        let (bucket, encoded) = (Bucket::of(namespace), Encoded::of(namespace));
        let instances = bucket.instances(&encoded);
        ([bucket.clock(), bucket.leases(), bucket.changes(), bucket.namespaces(), instances], encoded)
    }

    fn most_changes(&self) -> usize {
        self.limits.change_log.size.min(STREAM_MAX)
    }

    fn unavailable(&self, failure: &Failure) -> StoreError {
        self.connection.tell_of(failure);
        StoreError::Unavailable
    }
}

fn with(known: Option<Record>, instance: Instance) -> Record {
    match known {
        Some(record) => record.with(instance),
        None => Record::of(instance),
    }
}

fn millis(length: Duration) -> u64 {
    // A length of 0 would be one without an end.
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A number that nobody else has. The standard library's keys come from the system and cost nothing.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

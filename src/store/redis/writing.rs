//! Writes: what an instance becomes is decided here by the model's rules, compared and put there by a script.
//!
//! A writer says what it knew; when another one was faster, the script answers with what is there and it is decided
//! again. What was put is in this process' mirror before the answer.
//! Never: tries for ever, or reads before it writes when the mirror knows.

use std::sync::Arc;

use futures_util::future::Either;
use redis::Value;

use super::connection::{Failure, Link};
use super::entry::{REAPED, cause_of};
use super::keys::{Bucket, Encoded};
use super::scripts::{Call, Standpoint};
use super::{Shared, millis, random};
use crate::directory::{Cause, News, Tag};
use crate::model::{Instance, Namespace, Origin, Update};
use crate::store::{Registered, StoreError};
use crate::wire::record::Record;

/// What became of a record that was put.
#[derive(Debug)]
enum Put {
    Done,
    Full,
    /// Another one is there, or none.
    Other(Vec<u8>),
}

/// Where a namespace stands, and the number of its bucket.
type Stand = (Tag, u64);

/// Times that a write is decided again because somebody was faster.
const ATTEMPTS: usize = 16;
/// Most changes that a bucket's stream keeps; readers that are further behind read the whole.
const STREAM_MAX: usize = 16_384;
/// A record that no other equals.
const NO_RECORD: &[u8] = b"?";

impl Shared {
    pub(super) async fn register(
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

    pub(super) async fn update(
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

    pub(super) async fn deregister(
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
    pub(super) async fn reap(&self, namespace: &Namespace, ids: &[&str]) -> Vec<Instance> {
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
        let bucket = Bucket::of(namespace);
        let call = self.scripts.remove.timed(&keys, self.standpoint(bucket));
        let call = call.arg(encoded.as_str()).arg(word).arg(self.most_changes()).arg(ids);
        let removed: Vec<(u64, u64, Vec<u8>)> =
            self.call(bucket, &call).await.map_err(|failure| self.unavailable(&failure))?;
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

    async fn put(
        &self,
        namespace: &Namespace,
        record: &Record,
        expected: &[u8],
        origin: Origin,
    ) -> Result<Put, StoreError> {
        let capacity = self.limits.namespace_capacity;
        let bucket = Bucket::of(namespace);
        let call = self.put_call(namespace, record, expected, (capacity, origin), self.standpoint(bucket));
        let answer: Vec<Value> =
            self.call(bucket, &call).await.map_err(|failure| self.unavailable(&failure))?;
        let Some(at) = Self::put_answer(&answer)? else { return Ok(Put::Full) };
        let (at, number) = match at {
            Either::Left(other) => return Ok(Put::Other(other)),
            Either::Right(done) => done,
        };
        self.mirror.is_numbered(bucket, number);
        let news = News::Put(Arc::new(record.instance.clone()));
        // A gap is for the reader of the stream to close.
        let _ = self.mirror.told(namespace, at, &news, origin.into());
        self.mirror.has_moved();
        self.mirror.until(namespace, at, self.connection.timeout()).await;
        Ok(Put::Done)
    }

    /// Where the namespace stands and the number of its bucket, or what is there instead; none when the namespace is full.
    fn put_answer(answer: &[Value]) -> Result<Option<Either<Vec<u8>, Stand>>, StoreError> {
        let read = |value: &Value| redis::from_redis_value_ref::<Vec<u8>>(value).ok();
        let number = |value: &Value| redis::from_redis_value_ref::<u64>(value).ok();
        let understood = match answer {
            [word, epoch, revision, bucket] if read(word).as_deref() == Some(b"done") => {
                let at = number(epoch).zip(number(revision)).zip(number(bucket));
                at.map(|((epoch, revision), bucket)| Some(Either::Right((Tag { epoch, revision }, bucket))))
            }
            [word, other] if read(word).as_deref() == Some(b"other") => {
                read(other).map(|other| Some(Either::Left(other)))
            }
            [word] if read(word).as_deref() == Some(b"full") => Some(None),
            [..] => None,
        };
        understood.ok_or(StoreError::Unavailable)
    }

    pub(super) fn put_call(
        &self,
        namespace: &Namespace,
        record: &Record,
        expected: &[u8],
        (capacity, origin): (Option<usize>, Origin),
        standpoint: Standpoint,
    ) -> Call<'_> {
        let (keys, encoded) = self.keys(namespace);
        let lease = self.limits.leases.first_lease(&record.instance).map_or(0, millis);
        let capacity = capacity.map_or(-1, |capacity| i64::try_from(capacity).unwrap_or(i64::MAX));
        self.scripts
            .put
            .timed(&keys, standpoint)
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
        let bucket = Bucket::of(namespace);
        let call = self.scripts.put.timed(&keys, self.standpoint(bucket)).arg(encoded.as_str()).arg(id);
        let call = call.arg(NO_RECORD).arg(NO_RECORD).arg(0).arg(-1).arg(0);
        let call = call.arg(cause_of(Origin::Client)).arg(1);
        let answer: Vec<Value> =
            self.call(bucket, &call).await.map_err(|failure| self.unavailable(&failure))?;
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
    pub(super) async fn renumber(
        &self,
        link: &Link,
        namespace: &Namespace,
        epoch: u64,
    ) -> Result<(), Failure> {
        let (bucket, encoded) = (Bucket::of(namespace), Encoded::of(namespace));
        let call = self
            .scripts
            .renumber
            .on(&[bucket.namespaces(), bucket.changes()])
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

    fn keys(&self, namespace: &Namespace) -> ([String; 5], Encoded) {
        let (bucket, encoded) = (Bucket::of(namespace), Encoded::of(namespace));
        let instances = bucket.instances(&encoded);
        ([bucket.clock(), bucket.leases(), bucket.changes(), bucket.namespaces(), instances], encoded)
    }

    pub(super) fn most_changes(&self) -> usize {
        self.limits.change_log.size.min(STREAM_MAX)
    }

    pub(super) fn unavailable(&self, failure: &Failure) -> StoreError {
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

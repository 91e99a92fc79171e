//! Reading a bucket as a whole, while others go on writing.
//!
//! What is read piece by piece is of several moments; the changes made meanwhile are applied on top, after which all
//! is as it was at the last of them.
//! Never: `KEYS` or `SCAN`; the namespaces of a bucket are known by name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, Failure, Link};
use super::entry::{Entry, Event};
use super::keys::{self, Bucket, Encoded};
use super::scripts::Scripts;
use crate::directory::{LeaseRules, News, Tag};
use crate::model::{Clock, Instance, Moment, Namespace};
use crate::wire::record::Record;

/// Everything of one bucket.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The last change that is in it.
    pub(super) position: String,
    /// What Redis knows the bucket by; 0 when it has none.
    pub(super) number: u64,
    pub(super) namespaces: HashMap<Namespace, Read>,
}

/// Everything of one namespace.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) at: Tag,
    /// By id, each with the moment of its last renewal.
    pub(super) instances: HashMap<Box<str>, (Arc<Instance>, Moment)>,
}

/// Reads buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) scripts: &'a Scripts,
    pub(super) link: &'a Link,
    pub(super) clock: &'a Clock,
    pub(super) leases: LeaseRules,
}

/// An entry of a stream: its position and its fields.
pub(super) type Raw = (String, Vec<Vec<u8>>);

/// What one step reads at most.
const PAGE: usize = 1000;
/// Scores from here on are those of leases without an end; the same as in `scripts/bucket.lua`.
const NEVER: f64 = 4e15;
/// Times that a bucket is read when its changes outrun the reader.
const ATTEMPTS: usize = 5;

// === impl Loader ===

impl Loader<'_> {
    /// Everything of a bucket.
    pub(super) async fn load(&self, bucket: Bucket) -> Result<Loaded, Failure> {
        for _ in 0..ATTEMPTS {
            if let Some(loaded) = self.load_once(bucket).await? {
                return Ok(loaded);
            }
        }
        Err(Failure::Refused {
            code: "BEHIND".into(),
            message: "changes are faster than their reader".into(),
        })
    }

    /// None when changes were forgotten before they were read.
    async fn load_once(&self, bucket: Bucket) -> Result<Option<Loaded>, Failure> {
        let call = self.scripts.standing.on(&[bucket.changes(), bucket.clock()]).arg("0-0");
        let (position, _, _, number): (String, u64, String, u64) =
            self.connection.call_by(self.link, &call).await?;
        let mut loaded = Loaded { position, number, namespaces: self.namespaces(bucket).await? };
        let seen: Option<f64> = self.ask(redis::cmd("HGET").arg(bucket.clock()).arg("seen")).await?;
        let names: Vec<_> = loaded.namespaces.keys().cloned().collect();
        for namespace in names {
            let instances = self.instances(bucket, &namespace, seen).await?;
            if let Some(read) = loaded.namespaces.get_mut(&namespace) {
                read.instances = instances;
            }
        }
        loop {
            let from = format!("({}", loaded.position);
            let mut command = redis::cmd("XRANGE");
            command.arg(bucket.changes()).arg(from).arg("+").arg("COUNT").arg(PAGE);
            let entries: Vec<Raw> = self.ask(&command).await?;
            let is_last = entries.len() < PAGE;
            for (position, fields) in entries {
                let follows = Entry::of(&fields).is_none_or(|entry| loaded.apply(entry, self.clock.now()));
                if !follows {
                    return Ok(None);
                }
                loaded.position = position;
            }
            if is_last {
                let number: Option<u64> =
                    self.ask(redis::cmd("HGET").arg(bucket.clock()).arg("number")).await?;
                // It was emptied meanwhile: what was read is neither the one nor the other.
                return Ok((number.unwrap_or_default() == loaded.number).then_some(loaded));
            }
        }
    }

    async fn namespaces(&self, bucket: Bucket) -> Result<HashMap<Namespace, Read>, Failure> {
        let fields: HashMap<String, u64> = self.ask(redis::cmd("HGETALL").arg(bucket.namespaces())).await?;
        let epochs = fields.iter().filter_map(|(name, epoch)| {
            let encoded = name.strip_prefix('e')?;
            let revision = fields.get(&format!("r{encoded}")).copied().unwrap_or_default();
            let at = Tag { epoch: *epoch, revision };
            Some((keys::decoded(encoded.as_bytes())?, Read { at, instances: HashMap::new() }))
        });
        Ok(epochs.collect())
    }

    async fn instances(
        &self,
        bucket: Bucket,
        namespace: &Namespace,
        seen: Option<f64>,
    ) -> Result<HashMap<Box<str>, (Arc<Instance>, Moment)>, Failure> {
        let encoded = Encoded::of(namespace);
        let key = bucket.instances(&encoded);
        let mut instances = HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(&key).arg(&cursor).arg("COUNT").arg(PAGE);
            let (next, pairs): (String, Vec<(String, Vec<u8>)>) = self.ask(&command).await?;
            if !pairs.is_empty() {
                let mut command = redis::cmd("ZMSCORE");
                command.arg(bucket.leases());
                for (id, _) in &pairs {
                    command.arg(encoded.member(id));
                }
                let scores: Vec<Option<f64>> = self.ask(&command).await?;
                for ((id, json), score) in pairs.into_iter().zip(scores) {
                    match Record::from_json(&json) {
                        Ok(record) => {
                            let renewed = self.renewed(&record.instance, score, seen);
                            instances.insert(id.into(), (Arc::new(record.instance), renewed));
                        }
                        Err(error) => tracing::warn!(
                            %namespace, instance = %id, %error,
                            "instance {id} of {namespace} in Redis is not shown: {error}"
                        ),
                    }
                }
            }
            if next == "0" {
                return Ok(instances);
            }
            cursor = next;
            tokio::task::yield_now().await;
        }
    }

    /// When an instance renewed, by its deadline and the time that the bucket's clock showed last.
    fn renewed(&self, instance: &Instance, score: Option<f64>, seen: Option<f64>) -> Moment {
        let now = self.clock.now();
        let (Some(score), Some(seen)) = (score, seen) else { return now };
        let length = self.leases.renewed_lease(instance).as_secs_f64();
        let renewed = if score < NEVER { score / 1e3 - length } else { (score - NEVER) / 1e3 };
        let age = Duration::try_from_secs_f64(seen / 1e3 - renewed).unwrap_or_default();
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Moment::from_millis(now.as_millis().saturating_sub(age))
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Failure> {
        self.connection.ask(self.link, command, Duration::ZERO).await
    }
}

// === impl Loaded ===

impl Loaded {
    /// Takes over a change that was made while the rest was read; false when it does not follow.
    fn apply(&mut self, Entry { namespace, event }: Entry, now: Moment) -> bool {
        match event {
            Event::Forgotten { epoch } => {
                if self.namespaces.get(&namespace).is_some_and(|read| read.at.epoch == epoch) {
                    self.namespaces.remove(&namespace);
                }
                true
            }
            Event::Renumbered { epoch } => {
                if let Some(read) = self.namespaces.get_mut(&namespace) {
                    read.at.epoch = epoch;
                }
                true
            }
            Event::Changed(at, _, news) => {
                let new = || Read { at: Tag { revision: 0, ..at }, instances: HashMap::new() };
                let read = self.namespaces.entry(namespace).or_insert_with(new);
                if at.epoch == read.at.epoch && read.at.revision + 1 < at.revision {
                    return false;
                }
                read.at = Tag { epoch: at.epoch, revision: at.revision.max(read.at.revision) };
                match news {
                    News::Put(instance) => {
                        let id = instance.id.as_str().into();
                        read.instances.insert(id, (instance, now));
                    }
                    News::Remove(id) => {
                        read.instances.remove(&id);
                    }
                }
                true
            }
        }
    }
}

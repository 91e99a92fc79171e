//! The loop that keeps the mirror: connects, makes sure that nothing is missing, and reads the streams.
//!
//! On one server it waits in one blocking read for all buckets; on a cluster, where one read cannot name keys of
//! several nodes, it asks each bucket 40 times a second. After every interruption each bucket shows that the last change
//! that was read is still there; else it is read as a whole, and what Redis lost is written back.
//! Never: ends before it is told to, or comes back at once together with all others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connection::{Failure, Link};
use super::entry::{Entry, Renewed};
use super::keys::{BUCKETS, Bucket};
use super::loading::{Loaded, Loader, Raw};
use super::mirror::Gap;
use super::random;
use super::scripts::Standpoint;
use crate::model::Origin;

/// Keeps the mirror.
#[derive(Debug)]
pub struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) positions: Vec<Position>,
    /// Cancelled when the first attempt to read everything has ended, well or not.
    pub(super) tried: CancellationToken,
    /// Cancelled when everything was read for the first time.
    pub(super) read: CancellationToken,
}

/// How far a bucket was read; before the first time, nowhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    changes: Option<String>,
    renewals: Option<String>,
}

/// How a bucket stands to what was read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continuity {
    /// Everything that was read is there.
    Whole,
    /// What comes next may be forgotten already.
    Missed,
    /// Redis is without something that was read.
    Lost,
}

/// What an `XREAD` answers: entries by the stream they are from.
type Streams = Option<Vec<(String, Vec<Raw>)>>;

/// How long one read waits for something to come.
const WAIT: Duration = Duration::from_secs(1);
/// Most entries of one stream in one read.
const PAGE: usize = 512;
/// Pause after something came, so that what comes next comes together.
const GATHER: Duration = Duration::from_millis(4);
/// How often buckets are asked on a cluster.
const POLL: Duration = Duration::from_millis(25);
/// How often a cluster's buckets show that nothing is missing.
const PROVE: Duration = Duration::from_secs(1);
/// Longest time that a part of a cluster may be missing before all connections are made anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);
/// Buckets, or instances, that are seen to at once.
const AT_ONCE: usize = 8;

// === impl Follower ===

impl Follower {
    /// Follows until told to stop. Every failure is followed by another attempt, so it never ends early.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = PAUSE.start;
        let mut outage: Option<Instant> = None;
        let mut is_first = true;
        loop {
            let session = async {
                let (calls, reads) = self.begin(&shutdown).await?;
                let address = &self.shared.address;
                match outage.take() {
                    None => tracing::info!("the store is Redis at {address}"),
                    Some(since) => {
                        let seconds = since.elapsed().as_secs_f64();
                        tracing::info!(seconds, "Redis at {address} is back after {seconds:.1} seconds");
                    }
                }
                (pause, is_first) = (PAUSE.start, false);
                self.read.cancel();
                self.tried.cancel();
                self.follow(&calls, &reads).await
            };
            let why = match shutdown.run_until_cancelled(session).await {
                None => return self.shared.connection.give_up("stopped"),
                Some(Ok(never)) => match never {},
                Some(Err(why)) => why,
            };
            self.shared.connection.give_up(&why.to_string());
            self.shared.mirror.is_left_alone();
            self.shared.report();
            self.tried.cancel();
            if outage.is_none() {
                outage = Some(Instant::now());
                self.shared.redis_metrics.outages.inc();
                let address = &self.shared.address;
                let until = if is_first { "nothing is served" } else { "reads are answered from the mirror" };
                tracing::warn!("Redis at {address} cannot be used: {why}; {until} and writes are refused");
            }
            if shutdown.run_until_cancelled(sleep(jittered(pause))).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE.end);
        }
    }

    /// Connects, and sees to it that every bucket can be followed from where it stands.
    async fn begin(&mut self, shutdown: &CancellationToken) -> Result<(Link, Link), Failure> {
        let shared = self.shared.clone();
        let calls = shared.connection.open().await?;
        let reads =
            if shared.connection.is_cluster() { calls.clone() } else { shared.connection.open().await? };
        self.align(&calls).await?;
        if !shutdown.is_cancelled() {
            shared.connection.establish(calls.clone());
            shared.mirror.is_current();
            shared.report();
        }
        Ok((calls, reads))
    }

    /// Sees to it that nothing is missing of any bucket.
    async fn align(&mut self, calls: &Link) -> Result<(), Failure> {
        let aligning = Bucket::all().zip(self.positions.clone()).map(|(bucket, position)| {
            let (shared, calls) = (self.shared.clone(), calls.clone());
            async move { align(&shared, &calls, bucket, position).await }
        });
        let aligned: Vec<(Position, usize)> = stream::iter(aligning).buffered(AT_ONCE).try_collect().await?;
        let restored: usize = aligned.iter().map(|(_, restored)| restored).sum();
        self.positions = aligned.into_iter().map(|(position, _)| position).collect();
        tell_restored(restored);
        Ok(())
    }

    async fn follow(&mut self, calls: &Link, reads: &Link) -> Result<std::convert::Infallible, Failure> {
        match reads {
            Link::Server(_) => self.follow_server(calls, reads).await,
            Link::Cluster(_) => self.follow_cluster(calls).await,
        }
    }

    async fn follow_server(
        &mut self,
        calls: &Link,
        reads: &Link,
    ) -> Result<std::convert::Infallible, Failure> {
        let shared = self.shared.clone();
        let streams = |bucket: Bucket| [bucket.changes(), bucket.renewals()];
        let keys: Vec<String> = Bucket::all().flat_map(streams).collect();
        let buckets: HashMap<String, Bucket> =
            Bucket::all().flat_map(|bucket| streams(bucket).map(|key| (key, bucket))).collect();
        loop {
            let mut command = redis::cmd("XREAD");
            let wait = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
            command.arg("COUNT").arg(PAGE).arg("BLOCK").arg(wait).arg("STREAMS").arg(&keys);
            for position in &self.positions {
                command.arg(position.changes()).arg(position.renewals());
            }
            let streams: Streams = tokio::select! {
                streams = shared.connection.ask(reads, &command, WAIT) => streams?,
                why = shared.connection.lost() => return Err(why),
                () = shared.emptied.notified() => {
                    self.align(calls).await?;
                    continue;
                }
            };
            let Some(streams) = streams else {
                shared.mirror.is_current();
                continue;
            };
            for (key, entries) in streams {
                let Some(bucket) = buckets.get(&key) else { continue };
                self.take(calls, *bucket, &key, entries).await?;
            }
            shared.mirror.is_current();
            sleep(GATHER).await;
        }
    }

    async fn follow_cluster(&mut self, calls: &Link) -> Result<std::convert::Infallible, Failure> {
        let shared = self.shared.clone();
        let mut behind: Vec<Option<Instant>> = vec![None; BUCKETS];
        let mut proven = Instant::now();
        loop {
            let proves = PROVE <= proven.elapsed();
            if proves {
                proven = Instant::now();
            }
            let reads = Bucket::all().zip(&self.positions).map(|(bucket, position)| {
                let mut command = redis::cmd("XREAD");
                command.arg("COUNT").arg(PAGE).arg("STREAMS").arg(bucket.changes()).arg(bucket.renewals());
                command.arg(position.changes()).arg(position.renewals());
                let (shared, calls) = (shared.clone(), calls.clone());
                async move { shared.connection.ask::<Streams>(&calls, &command, Duration::ZERO).await }
            });
            let answers = future::join_all(reads).await;
            for (bucket, answer) in Bucket::all().zip(answers) {
                let was_behind = behind.get(bucket.position()).copied().flatten();
                let read = match answer {
                    Ok(streams) => {
                        self.take_of_cluster(calls, bucket, streams, proves || was_behind.is_some()).await
                    }
                    Err(why) => Err(why),
                };
                let is_behind = match read {
                    Ok(()) => None,
                    Err(why) => {
                        let since = was_behind.unwrap_or_else(Instant::now);
                        if PATIENCE <= since.elapsed() {
                            return Err(why);
                        }
                        Some(since)
                    }
                };
                if let Some(place) = behind.get_mut(bucket.position()) {
                    *place = is_behind;
                }
            }
            match behind.iter().any(Option::is_some) {
                true => shared.mirror.is_left_alone(),
                false => shared.mirror.is_current(),
            }
            tokio::select! {
                () = sleep(POLL) => {}
                why = shared.connection.lost() => return Err(why),
                () = shared.emptied.notified() => proven -= PROVE,
            }
        }
    }

    async fn take_of_cluster(
        &mut self,
        calls: &Link,
        bucket: Bucket,
        streams: Streams,
        proves: bool,
    ) -> Result<(), Failure> {
        if proves && let Some(position) = self.positions.get_mut(bucket.position()) {
            let (aligned, restored) = align(&self.shared, calls, bucket, position.clone()).await?;
            *position = aligned;
            tell_restored(restored);
        }
        for (key, entries) in streams.into_iter().flatten() {
            self.take(calls, bucket, &key, entries).await?;
        }
        Ok(())
    }

    /// Takes over what came by one stream.
    async fn take(
        &mut self,
        calls: &Link,
        bucket: Bucket,
        key: &str,
        entries: Vec<Raw>,
    ) -> Result<(), Failure> {
        let shared = &self.shared;
        let Some(position) = self.positions.get_mut(bucket.position()) else { return Ok(()) };
        let is_renewals = key == bucket.renewals();
        for (at, fields) in entries {
            if is_renewals {
                shared.show_renewed(&fields);
                position.renewals = Some(at);
            } else if position.changes.as_deref().is_some_and(|read| order(read) < order(&at)) {
                let applied = Entry::of(&fields).ok_or(Gap).and_then(|entry| shared.mirror.apply(&entry));
                if applied.is_err() {
                    tracing::info!("something is missing in what Redis told; a part of it is read anew");
                    let (loaded, restored) = read_anew(shared, calls, bucket, Continuity::Missed).await?;
                    tell_restored(restored);
                    position.changes = Some(loaded.position.clone());
                    shared.mirror.replace(bucket, loaded);
                    break;
                }
                position.changes = Some(at);
            }
        }
        shared.mirror.has_moved();
        Ok(())
    }
}

// === impl Position ===

impl Position {
    fn changes(&self) -> &str {
        self.changes.as_deref().unwrap_or("0-0")
    }

    /// Only what is renewed from now on matters.
    fn renewals(&self) -> &str {
        self.renewals.as_deref().unwrap_or("0-0")
    }
}

/// Sees to it that a bucket can be followed; tells from where, and how many instances were written back for that.
async fn align(
    shared: &Shared,
    link: &Link,
    bucket: Bucket,
    position: Position,
) -> Result<(Position, usize), Failure> {
    let continuity = match &position.changes {
        None => Continuity::Missed,
        Some(read) => {
            let call = shared.scripts.standing.on(&[bucket.changes(), bucket.clock()]).arg(read);
            let (last, here, first, number): (String, u64, String, u64) =
                shared.connection.call_by(link, &call).await?;
            match is_another(shared, bucket, number) {
                true => Continuity::Lost,
                false => continuity(read, &last, here, &first),
            }
        }
    };
    if continuity == Continuity::Whole {
        return Ok((position, 0));
    }
    let (loaded, restored) = read_anew(shared, link, bucket, continuity).await?;
    let changes = Some(loaded.position.clone());
    shared.mirror.replace(bucket, loaded);
    // Positions of another Redis are nothing to this one; what is read twice is shown once.
    Ok((Position { changes, renewals: None }, restored))
}

/// Reads a bucket as a whole, after what Redis lost of it was written back; tells how many instances that were.
async fn read_anew(
    shared: &Shared,
    link: &Link,
    bucket: Bucket,
    continuity: Continuity,
) -> Result<(Loaded, usize), Failure> {
    let loaded = load(shared, link, bucket).await?;
    let is_lost = continuity == Continuity::Lost
        || is_another(shared, bucket, loaded.number)
        || went_back(shared, bucket, &loaded);
    if !is_lost {
        return Ok((loaded, 0));
    }
    let restored = restore(shared, link, bucket, &loaded).await?;
    Ok((load(shared, link, bucket).await?, restored))
}

fn tell_restored(count: usize) {
    if count != 0 {
        tracing::warn!(instances = count, "Redis has lost changes; {count} instances were written back");
    }
}

/// Whether a bucket with this number is another one than was read before.
fn is_another(shared: &Shared, bucket: Bucket, number: u64) -> bool {
    let known = shared.mirror.number(bucket);
    known != 0 && number != known
}

async fn load(shared: &Shared, link: &Link, bucket: Bucket) -> Result<Loaded, Failure> {
    let Shared { connection, scripts, clock, limits, .. } = shared;
    let loader = Loader { connection, scripts, link, clock, leases: limits.leases };
    let loaded = loader.load(bucket).await?;
    shared.redis_metrics.reloads.inc();
    Ok(loaded)
}

/// Whether a namespace stands before what was read of it.
fn went_back(shared: &Shared, bucket: Bucket, loaded: &Loaded) -> bool {
    let known = shared.mirror.directories(bucket);
    known.iter().any(|(namespace, directory)| {
        let known = directory.followed();
        loaded
            .namespaces
            .get(namespace)
            .is_some_and(|read| read.at.epoch == known.epoch && read.at.revision < known.revision)
    })
}

/// Gives namespaces another epoch whose revisions are ambiguous, and writes instances back that Redis lost. Those who do
/// not renew any more go with their lease.
async fn restore(shared: &Shared, link: &Link, bucket: Bucket, loaded: &Loaded) -> Result<usize, Failure> {
    let mut missing = Vec::new();
    for (namespace, directory) in shared.mirror.directories(bucket) {
        let read = loaded.namespaces.get(&namespace);
        let known = directory.followed();
        if read.is_some_and(|read| read.at.epoch == known.epoch) {
            shared.renumber(link, &namespace, known.epoch).await?;
        }
        directory.for_each(&mut |instance, _| {
            if instance.foreign.is_none()
                && read.is_none_or(|read| !read.instances.contains_key(instance.id.as_str()))
            {
                missing.push((namespace.clone(), instance.clone()));
            }
        });
    }
    for some in missing.chunks(AT_ONCE * AT_ONCE) {
        let puts = some.iter().map(|(namespace, instance)| shared.put_back(link, namespace, instance));
        future::try_join_all(puts).await?;
    }
    Ok(missing.len())
}

fn continuity(read: &str, last: &str, here: u64, first: &str) -> Continuity {
    match (order(read), order(last)) {
        (read, last) if read == last => Continuity::Whole,
        (read, last) if last < read => Continuity::Lost,
        (_, _) if here != 0 => Continuity::Whole,
        (read, _) if read != (0, 0) && !first.is_empty() && order(first) < read => Continuity::Lost,
        (_, _) => Continuity::Missed,
    }
}

/// What positions of a stream are ordered by.
fn order(position: &str) -> (u64, u64) {
    let (millis, nth) = position.split_once('-').unwrap_or((position, "0"));
    (millis.parse().unwrap_or_default(), nth.parse().unwrap_or_default())
}

/// Between a half and the whole of a pause.
fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(random() % 500).unwrap_or_default();
    pause * (500 + share) / 1000
}

impl Shared {
    /// Shows who renewed elsewhere.
    fn show_renewed(&self, fields: &[Vec<u8>]) {
        let now = self.clock.now();
        let (pairs, _) = fields.as_chunks::<2>();
        let is_own =
            |[key, value]: &[Vec<u8>; 2]| key == b"w" && *value == self.author.to_string().as_bytes();
        if pairs.iter().any(is_own) {
            return; // It is shown already, more exactly.
        }
        for [key, bytes] in pairs {
            if key == b"b" {
                let read = Renewed::each(bytes, |namespace, id| {
                    if let Some(directory) = self.mirror.directory(namespace) {
                        directory.touch(id, now);
                    }
                });
                if read.is_none() {
                    tracing::debug!("renewals of another node cannot be read");
                }
            }
        }
    }

    async fn put_back(
        &self,
        link: &Link,
        namespace: &crate::model::Namespace,
        instance: &crate::model::Instance,
    ) -> Result<(), Failure> {
        let record = crate::wire::record::Record::of(instance.clone());
        // Whatever is there by now: who comes first makes the bucket anew.
        let standpoint = Standpoint { number: 0, leases: self.limits.leases };
        let call = self.put_call(namespace, &record, &[], (None, Origin::Client), standpoint);
        self.connection.call_by::<redis::Value>(link, &call).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuity_is_told_by_positions() {
        for (read, last, here, first, want) in [
            ("5-1", "5-1", 1, "1-0", Continuity::Whole),
            ("5-1", "5-1", 0, "", Continuity::Whole),
            ("5-1", "9-0", 1, "5-1", Continuity::Whole),
            ("5-1", "9-0", 0, "7-0", Continuity::Missed),
            ("5-1", "9-0", 0, "", Continuity::Missed),
            ("5-1", "9-0", 0, "4-0", Continuity::Lost),
            ("5-10", "5-9", 0, "4-0", Continuity::Lost),
            ("5-1", "0-0", 0, "", Continuity::Lost),
            ("0-0", "0-0", 0, "", Continuity::Whole),
            ("0-0", "9-0", 0, "1-0", Continuity::Missed),
        ] {
            assert_eq!(continuity(read, last, here, first), want, "{read} {last} {here} {first}");
        }
    }
}

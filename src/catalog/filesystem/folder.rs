//! A folder of files, one or two for each namespace, looked at again and again.
//!
//! A look opens each file, for on a network that is what makes its times true, and reads it when its number, times or
//! size differ from before, or when it was changed so lately that they say nothing; its content counts when it
//! differs. What is missing, or is broken, counts once two looks agree on it: a file may be just being replaced.
//! Never: leaves the folder by a name (links in it are followed), opens what is no regular file, or forgets what a file
//! held because it cannot be read.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::quality::FixedState;

use super::content::{self, Content};
use crate::model::{Instance, Namespace, Timestamp};

/// A folder and what was seen in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    max_instances: usize,
    seen: BTreeMap<Namespace, Seen>,
    /// Files `.conf` that lay beside a `.json`.
    passed_over: BTreeMap<Namespace, Stamp>,
    /// Why the folder as a whole cannot be read.
    fault: Option<String>,
}

/// What a look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Something is not certain yet: the next look should come soon.
    pub(super) is_unsettled: bool,
    /// Files that cannot be used just now, and the folder itself.
    pub(super) faults: usize,
    /// Entries in files read anew that are left out.
    pub(super) left_out: usize,
    /// Namespaces whose instances were told.
    pub(super) told: usize,
    /// Which folder it was.
    pub(super) identity: Option<Identity>,
}

/// The device and number of a folder.
pub(super) type Identity = (u64, u64);

/// What was seen of the file of a namespace.
#[derive(Debug, Default)]
struct Seen {
    ending: Ending,
    /// The file that was read last; none when it must be read again.
    stamp: Option<Stamp>,
    /// Of the content that was read last.
    hash: Option<u64>,
    /// The file was not there at the last look.
    is_missing: bool,
    /// What was wrong at the last look.
    suspect: Option<String>,
    /// The same, once it is certain and was logged.
    fault: Option<String>,
}

/// The two names that the file of a namespace can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ending {
    #[default]
    Conf,
    Json,
}

/// The files of a namespace that are there.
#[derive(Debug, Default)]
struct Present {
    json: bool,
    conf: Option<Stamp>,
}

/// What of a file differs when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp {
    device: u64,
    number: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What became of the file of a namespace.
enum Verdict {
    Unchanged,
    New(Content),
    Wrong(String),
}

/// Most bytes of a file.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Most namespaces with a file.
const FILES_MAX: usize = 10_000;
/// A file whose times are not older than this may change without a difference in them; the coarsest clock of a file
/// system has 2 s.
const SETTLED: Duration = Duration::from_secs(3);

// === impl Folder ===

impl Folder {
    /// A folder that was not looked at yet, and of each of whose files at most so many instances are taken.
    pub(super) fn new(path: PathBuf, max_instances: usize) -> Self {
        Self { path, max_instances, seen: BTreeMap::new(), passed_over: BTreeMap::new(), fault: None }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks, and tells all instances of each namespace in which something may differ.
    pub(super) fn look(&mut self, tell: &mut dyn FnMut(&Namespace, Vec<Instance>)) -> Looked {
        let identity = fs::metadata(&self.path).ok().map(|folder| (folder.dev(), folder.ino()));
        let mut looked = Looked { identity, ..Looked::default() };
        let fault = match list(&self.path) {
            Ok(files) => {
                let fault = (FILES_MAX < files.len())
                    .then(|| format!("has more than {FILES_MAX} files, of which the others are not read"));
                let files = self.choose(files);
                self.forget_missing(&files, &mut looked, tell);
                for (namespace, ending) in files.into_iter().take(FILES_MAX) {
                    self.look_at(&namespace, ending, &mut looked, tell);
                }
                fault
            }
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        if fault != self.fault {
            let path = self.path.display();
            match &fault {
                Some(why) => tracing::warn!(folder = %path, why, "catalog filesystem: {path} {why}"),
                None => tracing::info!(folder = %path, "catalog filesystem: {path} is well again"),
            }
            self.fault = fault;
        }
        let faults = self.seen.values().filter(|seen| seen.fault.is_some()).count();
        looked.faults = faults + usize::from(self.fault.is_some());
        looked
    }

    /// Which file counts: `.json` before `.conf`. A `.conf` that was passed over does not come to life when its `.json`
    /// goes, but when it is changed itself.
    fn choose(&mut self, files: BTreeMap<Namespace, Present>) -> BTreeMap<Namespace, Ending> {
        self.passed_over.retain(|namespace, _| files.contains_key(namespace));
        let choose = |(namespace, present): (Namespace, Present)| {
            let ending = match present {
                Present { json: true, conf: None } => {
                    self.passed_over.remove(&namespace);
                    Ending::Json
                }
                Present { json: true, conf: Some(stamp) } => {
                    self.passed_over.insert(namespace.clone(), stamp);
                    Ending::Json
                }
                Present { json: false, conf } if self.passed_over.get(&namespace) == conf.as_ref() => {
                    return None;
                }
                Present { json: false, conf: _ } => {
                    self.passed_over.remove(&namespace);
                    Ending::Conf
                }
            };
            Some((namespace, ending))
        };
        files.into_iter().filter_map(choose).collect()
    }

    fn forget_missing(
        &mut self,
        files: &BTreeMap<Namespace, Ending>,
        looked: &mut Looked,
        tell: &mut dyn FnMut(&Namespace, Vec<Instance>),
    ) {
        self.seen.retain(|namespace, seen| {
            if files.contains_key(namespace) {
                seen.is_missing = false;
                return true;
            }
            if !seen.is_missing {
                seen.is_missing = true;
                looked.is_unsettled = true;
                return true;
            }
            tracing::info!(%namespace, "catalog filesystem: the file of namespace {namespace} is gone");
            tell(namespace, Vec::new());
            looked.told += 1;
            false
        });
    }

    fn look_at(
        &mut self,
        namespace: &Namespace,
        ending: Ending,
        looked: &mut Looked,
        tell: &mut dyn FnMut(&Namespace, Vec<Instance>),
    ) {
        let path = self.path.join(format!("{namespace}{}", ending.as_str()));
        let file = path.display();
        let seen = self.seen.entry(namespace.clone()).or_default();
        if seen.ending != ending {
            *seen = Seen { ending, fault: seen.fault.take(), ..Seen::default() };
        }
        match seen.judge(&path, self.max_instances) {
            Verdict::Unchanged => {}
            Verdict::Wrong(why) => {
                if seen.suspect.as_ref() != Some(&why) {
                    looked.is_unsettled = true;
                } else if seen.fault.as_ref() != Some(&why) {
                    tracing::warn!(%file, why, "catalog filesystem: {file}: {why}; what it held before stays");
                    seen.fault = Some(why.clone());
                }
                seen.suspect = Some(why);
            }
            Verdict::New(content) => {
                seen.suspect = None;
                let Content { instances, faults, wrong, beyond } = content;
                let taken = instances.len();
                let is = if seen.fault.take().is_some() { "is well again and has" } else { "has" };
                tracing::info!(%file, instances = taken, "catalog filesystem: {file} {is} {taken} instances");
                for fault in &faults {
                    tracing::warn!(%file, "catalog filesystem: {file}: left out: {fault}");
                }
                let more = wrong - faults.len();
                if more != 0 {
                    tracing::warn!(%file, more, "catalog filesystem: {file}: left out: {more} more wrong entries");
                }
                if beyond != 0 {
                    let max = self.max_instances;
                    tracing::warn!(
                        %file, beyond,
                        "catalog filesystem: {file}: left out: {beyond} entries after {max}; see --catalog_max_instances"
                    );
                }
                looked.left_out += wrong + beyond;
                looked.told += 1;
                tell(namespace, instances);
            }
        }
    }
}

/// The namespaces that have a file in a folder; a folder that is not there has none.
fn list(folder: &Path) -> io::Result<BTreeMap<Namespace, Present>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut files: BTreeMap<_, Present> = BTreeMap::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some((namespace, ending)) = name.to_str().and_then(named) else { continue };
        let stamp = match fs::metadata(folder.join(&name)) {
            Ok(metadata) if metadata.is_file() => Stamp::of(&metadata),
            // A link to nothing is as good as no file.
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // It is there, and opening it will say what is wrong.
            Err(_) => Stamp::default(),
        };
        let present = files.entry(namespace).or_default();
        match ending {
            Ending::Json => present.json = true,
            Ending::Conf => present.conf = Some(stamp),
        }
        if FILES_MAX < files.len() {
            break;
        }
    }
    Ok(files)
}

/// The namespace that a file name stands for. Names that begin with a dot are those of editors and volumes.
fn named(name: &str) -> Option<(Namespace, Ending)> {
    [Ending::Json, Ending::Conf].into_iter().find_map(|ending| {
        let namespace = name.strip_suffix(ending.as_str()).filter(|name| !name.starts_with('.'))?;
        Some((namespace.parse().ok()?, ending))
    })
}

// === impl Seen ===

impl Seen {
    fn judge(&mut self, path: &Path, max_instances: usize) -> Verdict {
        let failed = |error: &io::Error| Verdict::Wrong(format!("cannot be read: {error}"));
        let mut file = match open(path) {
            Ok(file) => file,
            Err(error) => return self.forget_content(failed(&error)),
        };
        let stamp = match file.metadata() {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => return self.forget_content(failed(&error)),
        };
        if self.stamp == Some(stamp) {
            return Verdict::Unchanged;
        }
        if FILE_MAX < stamp.size {
            let why = format!("has {} bytes, at most {FILE_MAX} are allowed", stamp.size);
            return self.forget_content(Verdict::Wrong(why));
        }
        let mut bytes = Vec::new();
        // One byte beyond, should it grow meanwhile: then it is broken, and read again.
        if let Err(error) = file.by_ref().take(FILE_MAX + 1).read_to_end(&mut bytes) {
            return self.forget_content(failed(&error));
        }
        let is_still = file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == stamp);
        let mut hasher = FixedState::default().build_hasher();
        hasher.write(&bytes);
        let hash = Some(hasher.finish());
        let is_certain = is_still && stamp.is_settled(SystemTime::now());
        if hash == self.hash && self.suspect == self.fault {
            self.stamp = is_certain.then_some(stamp);
            return Verdict::Unchanged;
        }
        self.hash = hash;
        match content::read(&bytes, max_instances, Timestamp::of_system()) {
            Ok(content) => {
                self.stamp = is_certain.then_some(stamp);
                Verdict::New(content)
            }
            Err(fault) => {
                // It is read again until two looks agree.
                self.stamp = None;
                Verdict::Wrong(fault.to_string())
            }
        }
    }

    /// What is read next counts as new.
    fn forget_content(&mut self, verdict: Verdict) -> Verdict {
        (self.stamp, self.hash) = (None, None);
        verdict
    }
}

/// Opens a regular file. Asked before opening: to open a pipe can wait for ever.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

// === impl Ending ===

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Conf => ".conf",
            Self::Json => ".json",
        }
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            number: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Whether a change after `now` would show in the times.
    fn is_settled(&self, now: SystemTime) -> bool {
        let latest = self.modified.0.max(self.changed.0);
        let limit = now.checked_sub(SETTLED).and_then(|limit| limit.duration_since(UNIX_EPOCH).ok());
        let limit = limit.and_then(|limit| i64::try_from(limit.as_secs()).ok());
        limit.is_some_and(|limit| latest < limit)
    }
}

#[cfg(test)]
mod tests;

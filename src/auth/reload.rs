//! Key files: read at the start, then looked at again and again, so that keys can be changed without a
//! restart.
//!
//! The content is compared, not the time of the file: it is short, and a file that was replaced by a
//! symbolic link or twice within a tick of the clock is not missed. A change counts once two looks agree
//! on it, so that a file that is just being written is not taken for a broken one.
//! A file that cannot be used leaves its old keys in force and is reported once, until it changes again.
//! Never: ends on its own, gives up a good key for a bad file, or shows what is in a file.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::config::AuthConfigError;
use super::jwt::JwtAuthenticator;
use super::keys::{Key, KeyFileError};
use super::{jwk, pem};

/// Follows the key files of a [`JwtAuthenticator`].
#[derive(Debug)]
pub struct KeyReload {
    jwt: Arc<JwtAuthenticator>,
    files: Vec<KeyFile>,
    every: Duration,
}

/// One file and the keys that it held when it could last be used.
pub(super) struct KeyFile {
    flag: &'static str,
    path: PathBuf,
    parse: fn(&[u8]) -> Result<Vec<Key>, KeyFileError>,
    seen: Content,
    keys: Vec<Arc<Key>>,
}

type Content = Result<Vec<u8>, KeyFileError>;

/// Far more than `KEYS_MAX` keys need.
const FILE_MAX: usize = 256 * 1024;
/// What a bad token may cost: at most so many signatures are tried.
const KEYS_MAX: usize = 32;
/// How long a file has to stay as it is before it counts.
const SETTLED: Duration = Duration::from_millis(100);

// === impl KeyReload ===

impl KeyReload {
    /// How often the files are looked at.
    pub const EVERY: Duration = Duration::from_secs(2);

    /// None when there is nothing to look at.
    pub(super) fn new(jwt: Arc<JwtAuthenticator>, files: Vec<KeyFile>) -> Option<Self> {
        (!files.is_empty()).then_some(Self { jwt, files, every: Self::EVERY })
    }

    /// Looks at another pace than [`KeyReload::EVERY`]. At least a millisecond.
    #[must_use]
    pub fn at_every(self, every: Duration) -> Self {
        Self { every: every.max(Duration::from_millis(1)), ..self }
    }

    /// Looks until told to stop; every fault is reported and retried, so it never returns early.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(self.every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let follow = async {
            loop {
                every.tick().await;
                self.look().await;
            }
        };
        // Cancelled anywhere: a file system that hangs must not hold the shutdown.
        shutdown.run_until_cancelled(follow).await;
    }

    /// Takes over what changed since the last look.
    async fn look(&mut self) {
        let mut changed = false;
        for file in &mut self.files {
            let metrics = self.jwt.metrics();
            match file.look().await {
                None => {}
                Some(Ok(keys)) => {
                    changed = true;
                    metrics.reloads.inc();
                    let path = file.path.display();
                    tracing::info!(file = %path, keys, "{} {path}: {keys} keys taken over", file.flag);
                }
                Some(Err(why)) => {
                    metrics.reloads_failed.inc();
                    let path = file.path.display();
                    tracing::warn!(file = %path, %why, "{} {path}: {why}; its old keys stay", file.flag);
                }
            }
        }
        if changed {
            self.jwt.replace_keys(&self.files);
        }
    }
}

// === impl KeyFile ===

impl KeyFile {
    /// A file of PEM blocks, read now.
    pub(super) fn open_pem(path: PathBuf) -> Result<Self, AuthConfigError> {
        Self::open("jwt_public_key", path, pem::keys_of)
    }

    /// A file with a JWK set, read now.
    pub(super) fn open_jwks(path: PathBuf) -> Result<Self, AuthConfigError> {
        Self::open("jwt_jwks_file", path, jwk::keys_of)
    }

    fn open(
        flag: &'static str,
        path: PathBuf,
        parse: fn(&[u8]) -> Result<Vec<Key>, KeyFileError>,
    ) -> Result<Self, AuthConfigError> {
        let seen = read(&path);
        let mut file = Self { flag, path, parse, seen, keys: Vec::new() };
        match file.take_over() {
            Ok(_) => Ok(file),
            Err(why) => Err(AuthConfigError::KeyFile { flag, path: file.path, why }),
        }
    }

    /// The keys in force.
    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Whether the file changed, and if so how many keys it has now.
    async fn look(&mut self) -> Option<Result<usize, KeyFileError>> {
        let first = self.read_aside().await?;
        if first == self.seen {
            return None;
        }
        tokio::time::sleep(SETTLED).await;
        if self.read_aside().await? != first {
            return None;
        }
        self.seen = first;
        Some(self.take_over())
    }

    /// Reads off the runtime's own threads, for the file may lie on a network. None when the runtime is
    /// going down.
    async fn read_aside(&self) -> Option<Content> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || read(&path)).await.ok()
    }

    /// Puts the keys of what was seen in place of the old ones, when all of them can be used.
    fn take_over(&mut self) -> Result<usize, KeyFileError> {
        let keys = (self.parse)(self.seen.as_deref().map_err(Clone::clone)?)?;
        if KEYS_MAX < keys.len() {
            return Err(KeyFileError::TooManyKeys { got: keys.len(), max: KEYS_MAX });
        }
        self.keys = keys.into_iter().map(Arc::new).collect();
        Ok(self.keys.len())
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flag, path, parse: _, seen: _, keys } = self;
        f.debug_struct("KeyFile")
            .field("flag", flag)
            .field("path", path)
            .field("keys", keys)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Content {
    let failed = |error: std::io::Error| KeyFileError::Unreadable(error.kind());
    // Asked before opening: to open a pipe can wait for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    let mut content = Vec::new();
    let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut content).map_err(failed)?;
    if FILE_MAX < content.len() { Err(KeyFileError::TooLong { max: FILE_MAX }) } else { Ok(content) }
}

#[cfg(test)]
mod tests;

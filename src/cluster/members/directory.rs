//! Members that write a file each into a directory which all of them share.
//!
//! A file lives while its counter moves: by the reader's own clock, so that no two clocks are compared, and no time of a
//! file system. What is seen at once when the kernel tells of it is seen within a second in any case, also where the
//! kernel cannot know (NFS).
//! Never: takes a directory that cannot be read, is full or is gone for a cluster without members.

mod card;
mod shelf;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Picture, Source};
use crate::cluster::secret::SharedSecret;

pub(in crate::cluster) use card::{Card, next_incarnation};
use shelf::Shelf;

/// Follows a directory, and keeps this member's own file in it.
#[derive(Debug)]
pub(in crate::cluster) struct DirectoryMembers {
    directory: PathBuf,
    shelf: Arc<Mutex<Shelf>>,
    wake: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    last: Picture,
    looked: Option<Instant>,
}

/// Time between two looks when nothing wakes it.
const EVERY: Duration = Duration::from_secs(1);
/// After a change is told, others may follow at once.
const SETTLING: Duration = Duration::from_millis(50);
/// A directory that does not answer for this long is in trouble.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a member that leaves waits for its file to go.
const FAREWELL: Duration = Duration::from_secs(1);

// === impl DirectoryMembers ===

impl DirectoryMembers {
    /// Follows a directory that exists; `secret` is put back when its file is lost.
    pub(in crate::cluster) fn new(directory: PathBuf, card: Card, secret: Option<SharedSecret>) -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::new(directory.clone(), card, secret)));
        Self { directory, shelf, wake: Arc::default(), watcher: None, last: Picture::default(), looked: None }
    }

    async fn look(&mut self) -> Picture {
        if let Some(looked) = self.looked {
            let woken = async {
                self.wake.notified().await;
                sleep_until(looked + SETTLING).await;
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(looked + EVERY) => {}
            }
        }
        if self.watcher.is_none() || self.last.trouble.is_some() {
            self.watch();
        }
        let shelf = self.shelf.clone();
        // What the blocking thread does it does to the end, also when nobody waits for it any more.
        let looking = tokio::task::spawn_blocking(move || shelf.lock().look(std::time::Instant::now()));
        let picture = match timeout(ANSWER, looking).await {
            Ok(Ok(picture)) => picture,
            Ok(Err(_)) | Err(_) => Picture {
                trouble: Some(format!("{} does not answer", self.directory.display())),
                ..self.last.clone()
            },
        };
        self.looked = Some(Instant::now());
        self.last = picture.clone();
        picture
    }

    /// Asks the kernel to tell of changes; where it cannot, the looks come often enough.
    fn watch(&mut self) {
        self.watcher = None;
        let (wake, own) = (self.wake.clone(), self.shelf.lock().own_file().to_owned());
        let told = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_news(&event, &own)) {
                wake.notify_one();
            }
        };
        if let Ok(mut watcher) = notify::recommended_watcher(told)
            && watcher.watch(&self.directory, RecursiveMode::NonRecursive).is_ok()
        {
            self.watcher = Some(watcher);
        }
    }
}

/// Whether something came, went or was written that this member did not do itself.
fn is_news(event: &Event, own: &Path) -> bool {
    let is_foreign = |path: &PathBuf| {
        path != own && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    };
    match event.kind {
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => {
            event.paths.iter().any(is_foreign)
        }
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    }
}

impl Source for DirectoryMembers {
    fn next(&mut self) -> BoxFuture<'_, Picture> {
        Box::pin(self.look())
    }

    fn withdraw(&mut self) -> BoxFuture<'_, ()> {
        let shelf = self.shelf.clone();
        let removing = tokio::task::spawn_blocking(move || shelf.lock().withdraw());
        // Without success the others notice by the counter.
        Box::pin(async { drop(timeout(FAREWELL, removing).await) })
    }

    fn kind(&self) -> &'static str {
        "directory"
    }
}

#[cfg(test)]
mod tests;

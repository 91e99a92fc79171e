//! The files of a shared directory, as one look after the other shows them. Everything here blocks.
//!
//! A member writes its file every 5 s, by a rename. One whose counter has not moved for 15 s is not there any more, and
//! after a minute any other member removes its file.
//! Never: reads the time, removes a file that is no member's, or names one in the log twice.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::card::{self, Card, NoCard};
use crate::cluster::members::{MEMBERS_MAX, Picture, Seen};
use crate::cluster::message::MemberId;
use crate::cluster::secret::{self, SharedSecret};

/// What is known of a directory.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    own: PathBuf,
    card: Card,
    secret: Option<SharedSecret>,
    written: Option<Instant>,
    /// When the own file was last found to be gone, though nobody but a member removes it.
    emptied: Option<Instant>,
    is_withdrawn: bool,
    known: HashMap<String, Known>,
    /// Files that the log has named.
    named: HashSet<String>,
    /// Since when looks fail: as long as they do, nobody's time passes.
    blind_since: Option<Instant>,
    is_known: bool,
    /// The trouble that the log knows of.
    told: Option<String>,
}

#[derive(Debug)]
struct Known {
    card: Card,
    /// When its counter was last seen to move.
    moved: Instant,
}

/// Time between two writings of a member's own file.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(5);
/// Three times that: who has not written meanwhile is not there.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(15);
/// Who has not written for this long has its file removed.
pub(super) const REMOVED_AFTER: Duration = Duration::from_secs(60);
/// Most entries of a directory that are looked at.
const ENTRIES_MAX: usize = 4096;

// === impl Shelf ===

impl Shelf {
    pub(super) fn new(directory: PathBuf, card: Card, secret: Option<SharedSecret>) -> Self {
        Self {
            own: directory.join(Card::file_name(&card.id)),
            directory,
            card,
            secret,
            written: None,
            emptied: None,
            is_withdrawn: false,
            known: HashMap::new(),
            named: HashSet::new(),
            blind_since: None,
            is_known: false,
            told: None,
        }
    }

    pub(super) fn own_file(&self) -> &Path {
        &self.own
    }

    /// Writes the own file when that is due, and says who is there.
    pub(super) fn look(&mut self, now: Instant) -> Picture {
        let written = self.write_when_due(now);
        let read = self.read(now);
        self.blind_since = if read.is_err() { Some(self.blind_since.unwrap_or(now)) } else { None };
        self.is_known |= read.is_ok();
        let directory = self.directory.display();
        let trouble = match (read, written) {
            (Err(error), _) => Some(format!("{directory} cannot be read: {error}")),
            (Ok(()), Err(error)) => Some(format!("{directory} cannot be written to: {error}")),
            (Ok(()), Ok(())) => None,
        };
        self.tell(trouble.as_deref());
        if self.blind_since.is_none() {
            self.remove_dead(now);
        }
        let judged = self.blind_since.unwrap_or(now);
        let alive = self.known.values().filter(|known| judged.duration_since(known.moved) <= STALE_AFTER);
        let mut seen: Vec<_> = alive
            .flat_map(|known| {
                let id = MemberId(known.card.id.as_str().into());
                known.card.places().map(move |place| Seen { place, id: Some(id.clone()) })
            })
            .collect();
        seen.sort_unstable();
        Picture { seen, trouble, is_known: self.is_known }
    }

    /// Removes the own file, for good.
    pub(super) fn withdraw(&mut self) {
        self.is_withdrawn = true;
        if matches!(self.on_disk(), Ok(card) if card.incarnation == self.card.incarnation)
            && let Err(error) = fs::remove_file(&self.own)
        {
            let file = self.own.display();
            tracing::warn!(%error, %file, "{file} cannot be removed, others will: {error}");
        }
    }

    fn write_when_due(&mut self, now: Instant) -> io::Result<()> {
        let is_there = fs::symlink_metadata(&self.own).is_ok();
        let is_due = self.written.is_none_or(|written| WRITE_EVERY <= now.duration_since(written));
        if self.is_withdrawn || (is_there && !is_due) {
            return Ok(());
        }
        if !is_there && self.written.is_some() {
            self.emptied = Some(now);
        }
        self.warn_of_double();
        match fs::create_dir(&self.directory) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if let Some(secret) = &self.secret {
            secret.restore()?;
        }
        self.card.counter += 1;
        write(&self.own, &self.card.text())?;
        self.written = Some(now);
        Ok(())
    }

    /// Says once that somebody else writes the same file.
    fn warn_of_double(&mut self) {
        let Ok(card) = self.on_disk() else { return };
        if self.written.is_some() && card.incarnation != self.card.incarnation {
            let (id, name) = (&self.card.id, Card::file_name(&self.card.id));
            if self.named.insert(name) {
                tracing::error!(
                    member = id,
                    "another registry says that it is {id}, which is this member; give one of them another --cluster_advertise or --replication_port"
                );
            }
        }
    }

    fn on_disk(&self) -> io::Result<Card> {
        read_card(&self.own)?.map_err(io::Error::other)
    }

    /// Takes in every file; those that could not be read this time stay as they were.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let mut present = HashSet::new();
        for entry in fs::read_dir(&self.directory)?.take(ENTRIES_MAX) {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.starts_with('.') || name == secret::FILE {
                continue;
            }
            self.take_in(&name, now);
            present.insert(name);
        }
        if let Some(since) = self.blind_since {
            for known in self.known.values_mut() {
                known.moved = (known.moved + now.duration_since(since)).min(now);
            }
        }
        // Who emptied the directory took away files of members that live; they write them again.
        let is_emptied = self.emptied.is_some_and(|emptied| now.duration_since(emptied) <= STALE_AFTER);
        if !is_emptied {
            self.known.retain(|name, _| present.contains(name));
        }
        self.named.retain(|name| present.contains(name));
        Ok(())
    }

    fn take_in(&mut self, name: &str, now: Instant) {
        let card = match name.ends_with(".json") {
            true => read_card(&self.directory.join(name)),
            false => Ok(Err(NoCard::Malformed("its name does not end in .json".to_owned()))),
        };
        let card = match card {
            Ok(Ok(card)) => card,
            Ok(Err(reason)) => return self.name(name, &reason),
            // It went between the two looks.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.name(name, &error),
        };
        let has_room = self.known.len() < MEMBERS_MAX;
        match self.known.get_mut(name) {
            Some(known) if known.card.is_as_old_as(&card) => {}
            Some(known) => *known = Known { card, moved: now },
            None if has_room => drop(self.known.insert(name.to_owned(), Known { card, moved: now })),
            None => self.name(name, &format_args!("is one more than {MEMBERS_MAX} members")),
        }
    }

    /// Says once of a file that it is ignored.
    fn name(&mut self, name: &str, reason: &dyn std::fmt::Display) {
        if self.named.len() < MEMBERS_MAX && self.named.insert(name.to_owned()) {
            let file = self.directory.join(name);
            let file = file.display();
            tracing::warn!(%file, "{file} is ignored: it {reason}");
        }
    }

    fn tell(&mut self, trouble: Option<&str>) {
        match (trouble, &self.told) {
            (Some(trouble), None) => {
                tracing::error!("{trouble}; the members known so far stay, new ones are not found");
            }
            (None, Some(_)) => {
                let directory = self.directory.display();
                tracing::info!(%directory, "{directory} can be used again");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.told = trouble.map(str::to_owned);
    }

    /// Removes the files of those who have not written for long; whoever comes first does it.
    fn remove_dead(&mut self, now: Instant) {
        let own = Card::file_name(&self.card.id);
        let dead: Vec<String> = self
            .known
            .iter()
            .filter(|(name, known)| **name != own && REMOVED_AFTER < now.duration_since(known.moved))
            .map(|(name, _)| name.clone())
            .collect();
        for name in dead {
            let file = self.directory.join(&name);
            let Some(known) = self.known.remove(&name) else { continue };
            // It may have come back since it was looked at.
            if !matches!(read_card(&file), Ok(Ok(card)) if card == known.card) {
                continue;
            }
            match fs::remove_file(&file) {
                Ok(()) => {
                    let id = &known.card.id;
                    tracing::info!(
                        member = id,
                        "the file of member {id} is removed: it was not written for {REMOVED_AFTER:?}"
                    );
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Kept as dead, so that it does not count as somebody new.
                Err(_) => drop(self.known.insert(name, known)),
            }
        }
    }
}

/// The card in a file; the outer error is the file system's.
fn read_card(file: &Path) -> io::Result<Result<Card, NoCard>> {
    let mut text = Vec::new();
    File::open(file)?.take(card::MAX + 1).read_to_end(&mut text)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(Card::read(&name, &text))
}

/// Writes a file so that nobody sees half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let draft = file.with_file_name(format!(".{name}.new"));
    let written = File::create(&draft).and_then(|mut written| {
        written.write_all(text.as_bytes())?;
        written.sync_data()
    });
    let renamed = written.and_then(|()| fs::rename(&draft, file));
    if renamed.is_err() {
        // It may be there or not; the next writing replaces it.
        let _ = fs::remove_file(&draft);
    }
    renamed
}

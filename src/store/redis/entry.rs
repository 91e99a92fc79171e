//! What stands in a bucket's streams: changes, and who renewed.
//!
//! Never: applies anything.

use std::collections::{BTreeMap, HashSet};

use foldhash::quality::RandomState;

use super::keys::{self};
use crate::directory::{Cause, News, Tag};
use crate::model::{Namespace, Origin};
use crate::wire::record::Record;

/// One entry of a change stream.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) namespace: Namespace,
    pub(super) event: Event,
}

/// What happened to a namespace.
#[derive(Debug)]
pub(super) enum Event {
    /// An instance changed; the namespace stands here since.
    Changed(Tag, Cause, News),
    /// It has another epoch since.
    Renumbered { epoch: u64 },
    /// It is no more.
    Forgotten { epoch: u64 },
}

/// Who renewed, by namespace.
#[derive(Debug, Default)]
pub(super) struct Renewed(BTreeMap<Namespace, Beats>);

/// Renewals in one namespace.
#[derive(Debug, Default)]
pub(super) struct Beats {
    /// How many there were, also of those who renewed more than once.
    pub(super) count: u64,
    ids: HashSet<Box<str>, RandomState>,
}

const BY_CLIENT: &str = "c";
const BY_PEER: &str = "p";
/// The cause of what was reaped.
pub(super) const REAPED: &str = "x";

/// The word for who asked for a change.
pub(super) fn cause_of(origin: Origin) -> &'static str {
    match origin {
        Origin::Client => BY_CLIENT,
        Origin::Peer => BY_PEER,
    }
}

// === impl Entry ===

impl Entry {
    /// The entry with these fields; none when it cannot be read, so that everything has to be read anew.
    pub(super) fn of(fields: &[Vec<u8>]) -> Option<Self> {
        let field = |name: &[u8]| {
            let (pairs, _) = fields.as_chunks::<2>();
            pairs.iter().find_map(|[key, value]| (key == name).then_some(value.as_slice()))
        };
        let number = |name| std::str::from_utf8(field(name)?).ok()?.parse::<u64>().ok();
        let namespace = keys::decoded(field(b"n")?)?;
        let epoch = number(b"e")?;
        let cause = match field(b"c") {
            Some(cause) if cause == REAPED.as_bytes() => Cause::Expiry,
            Some(cause) if cause == BY_PEER.as_bytes() => Cause::Peer,
            Some(_) | None => Cause::Client,
        };
        let event = match (number(b"r"), field(b"p"), field(b"d")) {
            (None, None, None) => Event::Forgotten { epoch },
            (Some(_), None, None) => Event::Renumbered { epoch },
            (Some(revision), Some(record), None) => {
                let instance = Record::from_json(record).ok()?.instance;
                Event::Changed(Tag { epoch, revision }, cause, News::Put(instance.into()))
            }
            (Some(revision), None, Some(id)) => {
                let id = std::str::from_utf8(id).ok()?;
                Event::Changed(Tag { epoch, revision }, cause, News::Remove(id.into()))
            }
            (_, _, _) => return None,
        };
        Some(Self { namespace, event })
    }
}

// === impl Renewed ===

impl Renewed {
    /// One more renewal.
    pub(super) fn add(&mut self, namespace: &Namespace, id: Box<str>) {
        let beats = match self.0.get_mut(namespace) {
            Some(beats) => beats,
            None => self.0.entry(namespace.clone()).or_default(),
        };
        beats.count += 1;
        beats.ids.insert(id);
    }

    /// How many renewals there were in each namespace.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Namespace, u64)> {
        self.0.iter().map(|(namespace, beats)| (namespace, beats.count))
    }

    /// As it stands in a stream: for each namespace its name, how many ids, and these; a text is its length, in two
    /// bytes, and itself. Nothing when nobody renewed.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        for (namespace, Beats { count: _, ids }) in self.0 {
            push_text(&mut bytes, namespace.as_str());
            bytes.extend(number(ids.len()));
            ids.iter().for_each(|id| push_text(&mut bytes, id));
        }
        bytes
    }

    /// Calls `visit` with each namespace and id that can be read.
    pub(super) fn each(mut bytes: &[u8], mut visit: impl FnMut(&Namespace, &str)) -> Option<()> {
        while !bytes.is_empty() {
            let namespace = take_text(&mut bytes)?.parse::<Namespace>().ok()?;
            let (count, rest) = bytes.split_first_chunk::<4>()?;
            bytes = rest;
            for _ in 0..u32::from_be_bytes(*count) {
                visit(&namespace, take_text(&mut bytes)?);
            }
        }
        Some(())
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    // Longer ones do not exist: ids are bounded by the size of a body's fields, and cut ones match nobody.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(text.as_bytes().iter().take(usize::from(length)));
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn entries_are_read_by_their_fields() {
        let event = |texts: &[&str]| Entry::of(&fields(texts)).map(|entry| entry.event);
        let removed = event(&["n", "61", "e", "7", "r", "3", "c", "x", "d", "id"]);
        assert!(matches!(removed, Some(Event::Changed(Tag { epoch: 7, revision: 3 }, Cause::Expiry, _))));
        assert!(matches!(event(&["n", "61", "e", "7", "r", "0"]), Some(Event::Renumbered { epoch: 7 })));
        assert!(matches!(event(&["n", "61", "e", "7"]), Some(Event::Forgotten { epoch: 7 })));
        for broken in
            [&["n", "61"][..], &[], &["n", "61", "e", "x"], &["n", "61", "e", "1", "r", "2", "p", "{}"]]
        {
            assert!(event(broken).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn renewals_come_back() {
        let mut renewed = Renewed::default();
        let (a, b): (Namespace, Namespace) = ("a".parse().unwrap(), "é".parse().unwrap());
        for (namespace, id) in [(&a, "1"), (&b, "x\n\0y"), (&a, "2"), (&a, "1"), (&b, "")] {
            renewed.add(namespace, id.into());
        }
        assert_eq!(renewed.counts().map(|(_, count)| count).collect::<Vec<_>>(), [3, 2]);
        let bytes = renewed.into_bytes();
        let mut seen = Vec::new();
        assert_eq!(Renewed::each(&bytes, |n, id| seen.push((n.clone(), id.to_owned()))), Some(()));
        let want = [(&a, "1"), (&a, "2"), (&b, ""), (&b, "x\n\0y")].map(|(n, id)| (n.clone(), id.to_owned()));
        seen.sort();
        assert_eq!(seen, want);
        for length in 1..bytes.len() {
            Renewed::each(&bytes[..length], |_, _| {});
        }
    }
}

//! Content: entries with their stamps, leases and places in the streams, and how far those are complete.
//!
//! Never: more than a frame's worth, or an instance taken apart; that is a record's to do.

use super::bytes::{Malformed, Reader, Writer};
use super::renewals::{age, units};
use super::{read_streams, write_stream};
use crate::cluster::message::{Age, Key, StreamId};

/// So much of a stream is complete behind this message for who has all up to `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) stream: StreamId,
    pub(crate) from: u64,
    pub(crate) upto: u64,
}

/// One entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Where it was written: who wrote it is also who stamped it.
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    /// The time of its stamp.
    pub(crate) time: u64,
    /// The sender's name for it.
    pub(crate) handle: u32,
    /// The member that its client last told.
    pub(crate) home: u64,
    /// Of the last renewal, or of the deregistration.
    pub(crate) age: Age,
    pub(crate) key: Key,
    /// Whether a digest has found it.
    pub(crate) is_repair: bool,
    /// The instance as a record; none when it was deregistered.
    pub(crate) json: Option<&'a [u8]>,
}

/// A message as it came: its records are read one by one.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    pub(crate) marks: Vec<Mark>,
    homes: Vec<u64>,
    records: Reader<'a>,
    raw: &'a [u8],
}

/// A message in the making.
#[derive(Debug)]
pub(crate) struct Batch {
    marks: Vec<Mark>,
    homes: Vec<u64>,
    records: Writer,
}

const IS_DEAD: u8 = 1;
const IS_REPAIR: u8 = 2;

/// Two numbers and two LEB128 numbers.
const MARK_MAX: usize = 16 + 20;

// === impl Entries ===

impl<'a> Entries<'a> {
    pub(super) fn read(reader: Reader<'a>) -> Result<Self, Malformed> {
        let raw = reader.rest();
        let mut reader = reader;
        let marks = read_streams(&mut reader, |reader, stream| {
            let from = reader.varint()?;
            let upto = from.checked_add(reader.varint()?).ok_or(Malformed::Number("a mark"))?;
            Ok(Mark { stream, from, upto })
        })?;
        let homes = (0..reader.count(8)?).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        Ok(Self { marks, homes, records: reader, raw })
    }

    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The next record; none behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'a>>, Malformed> {
        let reader = &mut self.records;
        if reader.is_empty() {
            return Ok(None);
        }
        let flags = reader.u8()?;
        let stream = reader.count(0)?;
        let stream = self.marks.get(stream).ok_or(Malformed::Unlisted("stream"))?.stream;
        let (seq, time, handle) = (reader.varint()?, reader.u64()?, reader.handle()?);
        let home = reader.count(0)?;
        let home = *self.homes.get(home).ok_or(Malformed::Unlisted("member"))?;
        let (age, key) = (age(reader.varint()?), reader.key()?);
        let json = match flags & IS_DEAD {
            0 => {
                let length = reader.count(1)?;
                Some(reader.take(length)?)
            }
            _ => None,
        };
        let is_repair = flags & IS_REPAIR != 0;
        Ok(Some(Record { stream, seq, time, handle, home, age, key, is_repair, json }))
    }
}

// === impl Batch ===

impl Batch {
    pub(crate) fn new() -> Self {
        Self { marks: Vec::new(), homes: Vec::new(), records: Writer::part() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Most bytes of the frame as it is now.
    pub(crate) fn len(&self) -> usize {
        2 + 10 + self.marks.len() * MARK_MAX + 10 + self.homes.len() * 8 + self.records.len()
    }

    /// Most bytes that a record adds.
    pub(crate) fn cost(key: &Key, json: usize) -> usize {
        let texts = key.namespace.as_str().len() + key.id.as_str().len();
        1 + 10 + 10 + 8 + 5 + 10 + 10 + super::KEY_OVERHEAD + texts + 10 + json + MARK_MAX + 8
    }

    pub(crate) fn push(&mut self, record: &Record<'_>) {
        let Record { stream, seq, time, handle, home, age, key, is_repair, json } = record;
        let stream = self.place_of_stream(*stream);
        let home = self.homes.iter().position(|it| it == home).unwrap_or_else(|| {
            self.homes.push(*home);
            self.homes.len() - 1
        });
        let records = &mut self.records;
        let is_dead = if json.is_none() { IS_DEAD } else { 0 };
        records.u8(is_dead | if *is_repair { IS_REPAIR } else { 0 });
        records.count(stream);
        records.varint(*seq);
        records.u64(*time);
        records.varint(u64::from(*handle));
        records.count(home);
        records.varint(units(*age));
        records.key(key);
        if let Some(json) = json {
            records.bytes(json);
        }
    }

    /// Says how far a stream is complete.
    pub(crate) fn mark(&mut self, mark: Mark) {
        let at = self.place_of_stream(mark.stream);
        self.marks[at] = mark;
    }

    fn place_of_stream(&mut self, stream: StreamId) -> usize {
        self.marks.iter().position(|mark| mark.stream == stream).unwrap_or_else(|| {
            self.marks.push(Mark { stream, from: 0, upto: 0 });
            self.marks.len() - 1
        })
    }

    /// The frame.
    pub(crate) fn done(self) -> Vec<u8> {
        let mut writer = Writer::new(super::ENTRIES);
        writer.count(self.marks.len());
        for Mark { stream, from, upto } in self.marks {
            write_stream(&mut writer, stream);
            writer.varint(from);
            writer.varint(upto - from);
        }
        writer.count(self.homes.len());
        self.homes.into_iter().for_each(|home| writer.u64(home));
        writer.raw(&self.records.done());
        writer.done()
    }
}

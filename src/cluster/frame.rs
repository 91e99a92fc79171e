//! The binary form of messages between members: one message is one frame.
//!
//! A frame is a type, a byte of flags and the payload, without a length, which is the connection's to write. Numbers
//! are little endian or LEB128. Every length is compared with what is there before anything is taken for it, and a
//! frame of an unknown type is skipped when its sender says that it may be.
//! Never: allocates more than a small multiple of the frame's length, or judges what a message means.

mod bytes;
mod entries;
mod hello;
mod renewals;
#[cfg(test)]
mod tests;

pub(crate) use bytes::{Malformed, Reader, Writer};
pub(crate) use entries::{Batch, Entries, Mark, Record};
pub(crate) use hello::{Hello, Ping};
pub(crate) use renewals::{Bind, Binds, Renewals};

use super::message::{Key, StreamId};

/// The versions of the protocol that this build speaks.
pub(crate) const PROTOCOL_MIN: u8 = 1;
/// The highest of them.
pub(crate) const PROTOCOL_MAX: u8 = 1;

/// A frame of an unknown type with this flag is skipped.
pub(crate) const MAY_BE_SKIPPED: u8 = 2;

/// Sums of the digests of the parts into which all keys fall.
pub(crate) const BUCKETS: usize = 256;

/// One message.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// The first of every link.
    Hello(Hello),
    /// Content, and how far it goes in each stream.
    Entries(Entries<'a>),
    /// Leases that were renewed, by handle.
    Renew(Renewals),
    /// Leases that were renewed, by key, and the handles that name them from now on.
    Bind(Binds),
    /// What is wanted of the receiver's entries, by its own handles.
    Pull(Handles),
    /// So many bytes of entries were taken.
    Credit(u64),
    /// Sent every second.
    Ping(Ping),
    /// The answer to a ping, with its sample.
    Pong(u64),
    /// All that was there when the link began has been sent.
    Caught,
    /// The sum over all that is registered.
    Digest(u64),
    /// The sums were equal.
    Agree,
    /// They were not; these are the sums of the parts.
    Buckets(Box<[u64; BUCKETS]>),
    /// What is registered of a part.
    Keys(Listing),
    /// Entries without an end of their lease: does the receiver still have them?
    Ask(Vec<Asked>),
    /// Those of them that it has not.
    Lacking(Handles),
    /// A type that this build does not know, which may be skipped.
    Unknown,
}

/// Entries by the handles of who owns them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handles {
    /// Whether a digest has found them.
    pub(crate) is_repair: bool,
    /// In ascending order.
    pub(crate) handles: Vec<u32>,
}

/// An entry by its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The sender's name for it.
    pub(crate) handle: u32,
    pub(crate) key: Key,
}

/// All that is registered whose key's number lies between two bounds, both included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// In ascending order of the key's number.
    pub(crate) items: Vec<Listed>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// [`Key::hash`].
    pub(crate) hash: u64,
    /// The upper half of what key and stamp come to.
    pub(crate) version: u32,
    /// The sender's name for it.
    pub(crate) handle: u32,
    /// Whether it has been so for a while and will be: not on its way anywhere, and not about to expire.
    pub(crate) is_settled: bool,
}

// === impl Message ===

const HELLO: u8 = 1;
const ENTRIES: u8 = 2;
const RENEW: u8 = 3;
const BIND: u8 = 4;
const PULL: u8 = 5;
const CREDIT: u8 = 6;
const PING: u8 = 7;
const PONG: u8 = 8;
const CAUGHT: u8 = 9;
const DIGEST: u8 = 10;
const AGREE: u8 = 11;
const SUMS: u8 = 12;
const KEYS: u8 = 13;
const ASK: u8 = 14;
const LACKING: u8 = 15;

/// Most bytes of a key in a frame, its lengths included, beyond those of its texts.
pub(crate) const KEY_OVERHEAD: usize = 6;
/// Most bytes of a [`Listed`].
pub(crate) const LISTED_MAX: usize = 8 + 4 + 5 + 1;

impl<'a> Message<'a> {
    /// Reads a frame.
    pub(crate) fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        let (kind, flags) = (reader.u8()?, reader.u8()?);
        let message = match kind {
            HELLO => return Hello::read(&mut reader).map(Self::Hello),
            ENTRIES => return Entries::read(reader).map(Self::Entries),
            RENEW => Self::Renew(Renewals::read(&mut reader)?),
            BIND => Self::Bind(Binds::read(&mut reader)?),
            PULL => Self::Pull(Handles::read(&mut reader)?),
            CREDIT => Self::Credit(reader.varint()?),
            PING => Self::Ping(Ping::read(&mut reader)?),
            PONG => Self::Pong(reader.u64()?),
            CAUGHT => Self::Caught,
            DIGEST => Self::Digest(reader.u64()?),
            AGREE => Self::Agree,
            SUMS => {
                let mut sums = Box::new([0; BUCKETS]);
                for sum in sums.iter_mut() {
                    *sum = reader.u64()?;
                }
                Self::Buckets(sums)
            }
            KEYS => Self::Keys(Listing::read(&mut reader)?),
            ASK => {
                let mut asked = Vec::new();
                while !reader.is_empty() {
                    asked.push(Asked { handle: reader.handle()?, key: reader.key()? });
                }
                Self::Ask(asked)
            }
            LACKING => Self::Lacking(Handles::read(&mut reader)?),
            _ if flags & MAY_BE_SKIPPED != 0 => return Ok(Self::Unknown),
            _ => return Err(Malformed::Type(kind)),
        };
        reader.end()?;
        Ok(message)
    }

    /// Writes a frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(self.kind());
        match self {
            Self::Hello(hello) => hello.write(&mut writer),
            Self::Entries(entries) => writer.raw(entries.raw()),
            Self::Renew(renewals) => renewals.write(&mut writer),
            Self::Bind(binds) => binds.write(&mut writer),
            Self::Pull(handles) | Self::Lacking(handles) => handles.write(&mut writer),
            Self::Credit(bytes) => writer.varint(*bytes),
            Self::Ping(ping) => ping.write(&mut writer),
            Self::Pong(number) | Self::Digest(number) => writer.u64(*number),
            Self::Caught | Self::Agree | Self::Unknown => {}
            Self::Buckets(sums) => sums.iter().for_each(|sum| writer.u64(*sum)),
            Self::Keys(listing) => listing.write(&mut writer),
            Self::Ask(asked) => asked.iter().for_each(|Asked { handle, key }| {
                writer.varint(u64::from(*handle));
                writer.key(key);
            }),
        }
        writer.done()
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Entries(_) => ENTRIES,
            Self::Renew(_) => RENEW,
            Self::Bind(_) => BIND,
            Self::Pull(_) => PULL,
            Self::Credit(_) => CREDIT,
            Self::Ping(_) => PING,
            Self::Pong(_) => PONG,
            Self::Caught => CAUGHT,
            Self::Digest(_) => DIGEST,
            Self::Agree => AGREE,
            Self::Buckets(_) => SUMS,
            Self::Keys(_) => KEYS,
            Self::Ask(_) => ASK,
            Self::Lacking(_) => LACKING,
            Self::Unknown => u8::MAX,
        }
    }
}

// === impl Handles ===

impl Handles {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let is_repair = reader.u8()? != 0;
        let (mut handles, mut last) = (Vec::new(), 0);
        while !reader.is_empty() {
            last = reader.handle_after(last)?;
            handles.push(last);
        }
        Ok(Self { is_repair, handles })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.is_repair));
        let mut last = 0;
        for handle in &self.handles {
            writer.varint(u64::from(handle.wrapping_sub(last)));
            last = *handle;
        }
    }
}

// === impl Listing ===

impl Listing {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (first, last) = (reader.u64()?, reader.u64()?);
        let mut items = Vec::new();
        while !reader.is_empty() {
            let (hash, version, handle) = (reader.u64()?, reader.u32()?, reader.handle()?);
            items.push(Listed { hash, version, handle, is_settled: reader.u8()? != 0 });
        }
        Ok(Self { first, last, items })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.first);
        writer.u64(self.last);
        for Listed { hash, version, handle, is_settled } in &self.items {
            writer.u64(*hash);
            writer.u32(*version);
            writer.varint(u64::from(*handle));
            writer.u8(u8::from(*is_settled));
        }
    }
}

/// Streams as they stand in a frame, and what stands with each.
fn read_streams<T>(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&mut Reader<'_>, StreamId) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.count(16)?;
    (0..count)
        .map(|_| {
            let stream = StreamId { origin: reader.u64()?, incarnation: reader.u64()? };
            each(reader, stream)
        })
        .collect()
}

fn write_stream(writer: &mut Writer, stream: StreamId) {
    writer.u64(stream.origin);
    writer.u64(stream.incarnation);
}

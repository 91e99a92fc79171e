//! Who a member is and how far it has got: the first message of a link, and what it repeats every second.
//!
//! Never: refuses what a newer build adds behind what this one knows of the first message.

use super::bytes::{Malformed, Reader, Writer};
use super::{PROTOCOL_MAX, PROTOCOL_MIN, read_streams, write_stream};
use crate::cluster::message::{MemberId, StreamId};

/// Longest id of a member, in bytes.
const MEMBER_MAX: usize = 256;

/// The first message of a link, from both ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Versions of the protocol that the sender speaks.
    pub(crate) protocol: (u8, u8),
    /// What the sender can do beyond the version; unknown bits mean nothing.
    pub(crate) features: u64,
    /// Whether it was out of touch with the receiver for longer than deregistrations are remembered.
    pub(crate) was_away: bool,
    pub(crate) me: MemberId,
    pub(crate) incarnation: u64,
    /// Bytes of entries that it takes before it says that it has taken them.
    pub(crate) window: u64,
    /// The members that it hears at first hand.
    pub(crate) direct: Vec<StreamId>,
    /// How far it has each stream.
    pub(crate) have: Vec<(StreamId, u64)>,
}

/// Sent every second, and when the members that the sender hears have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ping {
    /// Comes back in the answer.
    pub(crate) sample: u64,
    pub(crate) is_draining: bool,
    /// The members that it hears at first hand.
    pub(crate) direct: Vec<StreamId>,
    /// How far it has streams that went on since it last said so.
    pub(crate) have: Vec<(StreamId, u64)>,
}

// === impl Hello ===

impl Hello {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let protocol = (reader.u8()?, reader.u8()?);
        let features = reader.u64()?;
        let was_away = reader.u8()? & 1 != 0;
        let me = reader.text("the id of a member")?;
        if me.is_empty() || MEMBER_MAX < me.len() {
            return Err(Malformed::Text("the id of a member"));
        }
        let me = MemberId(me.into());
        let (incarnation, window) = (reader.u64()?, reader.varint()?);
        let (direct, have) = (read_direct(reader)?, read_have(reader)?);
        Ok(Self { protocol, features, was_away, me, incarnation, window, direct, have })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let Self { protocol: (min, max), features, was_away, me, incarnation, window, direct, have } = self;
        writer.u8(*min);
        writer.u8(*max);
        writer.u64(*features);
        writer.u8(u8::from(*was_away));
        writer.bytes(me.0.as_bytes());
        writer.u64(*incarnation);
        writer.varint(*window);
        write_direct(writer, direct);
        write_have(writer, have);
    }

    /// The version that both speak, the highest there is.
    pub(crate) fn common_protocol(&self) -> Option<u8> {
        let (min, max) = (self.protocol.0.max(PROTOCOL_MIN), self.protocol.1.min(PROTOCOL_MAX));
        (min <= max).then_some(max)
    }
}

// === impl Ping ===

impl Ping {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (sample, flags) = (reader.u64()?, reader.u8()?);
        let (direct, have) = (read_direct(reader)?, read_have(reader)?);
        Ok(Self { sample, is_draining: flags & 1 != 0, direct, have })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let Self { sample, is_draining, direct, have } = self;
        writer.u64(*sample);
        writer.u8(u8::from(*is_draining));
        write_direct(writer, direct);
        write_have(writer, have);
    }
}

fn read_direct(reader: &mut Reader<'_>) -> Result<Vec<StreamId>, Malformed> {
    read_streams(reader, |_, stream| Ok(stream))
}

fn write_direct(writer: &mut Writer, direct: &[StreamId]) {
    writer.count(direct.len());
    direct.iter().for_each(|stream| write_stream(writer, *stream));
}

fn read_have(reader: &mut Reader<'_>) -> Result<Vec<(StreamId, u64)>, Malformed> {
    read_streams(reader, |reader, stream| Ok((stream, reader.varint()?)))
}

fn write_have(writer: &mut Writer, have: &[(StreamId, u64)]) {
    writer.count(have.len());
    for (stream, upto) in have {
        write_stream(writer, *stream);
        writer.varint(*upto);
    }
}

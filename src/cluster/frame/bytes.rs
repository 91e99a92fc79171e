//! Bytes into numbers and texts, and back.
//!
//! Never: reads beyond the end, or believes a length.

use crate::cluster::message::Key;
use crate::model::{InstanceId, Namespace};

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It ends too early.
    #[error("the frame ends where {wanted} more bytes are wanted; {got} are there")]
    Short { wanted: usize, got: usize },
    /// It goes on.
    #[error("the frame has {0} bytes beyond its end")]
    Long(usize),
    /// Its type is unknown, and it must not be skipped.
    #[error("frames of type {0} are not known, and this one must not be skipped")]
    Type(u8),
    /// A number does not fit.
    #[error("{0} is too large")]
    Number(&'static str),
    /// A text is none, or too long.
    #[error("{0} is no text within its bounds")]
    Text(&'static str),
    /// Something is named that was not listed.
    #[error("the frame names a {0} that it does not list")]
    Unlisted(&'static str),
}

/// What is left of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// A frame in the making.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Long(self.0.len())) }
    }

    pub(crate) fn take(&mut self, wanted: usize) -> Result<&'a [u8], Malformed> {
        let got = self.0.len();
        let (taken, rest) = self.0.split_at_checked(wanted).ok_or(Malformed::Short { wanted, got })?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Malformed::Short { wanted: N, got: taken.len() })
    }

    /// LEB128, at most ten bytes.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Number("a LEB128 number"))
    }

    /// A number of things of at least `each` bytes, for which there is room.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let (wanted, got) = (count.saturating_mul(each), self.0.len());
        if wanted <= got { Ok(count) } else { Err(Malformed::Short { wanted, got }) }
    }

    pub(crate) fn handle(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed::Number("a handle"))
    }

    pub(crate) fn handle_after(&mut self, last: u32) -> Result<u32, Malformed> {
        last.checked_add(self.handle()?).ok_or(Malformed::Number("a handle"))
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Text(what))
    }

    pub(crate) fn key(&mut self) -> Result<Key, Malformed> {
        let namespace: Namespace =
            self.text("a namespace")?.parse().map_err(|_| Malformed::Text("a namespace"))?;
        Ok(Key { namespace, id: InstanceId::from_text(self.text("an id")?) })
    }
}

// === impl Writer ===

impl Writer {
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![kind, 0])
    }

    /// Bytes that are to stand in a frame, without its beginning.
    pub(crate) fn part() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while 0x7f < value {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or_default());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.varint(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    pub(crate) fn key(&mut self, key: &Key) {
        self.bytes(key.namespace.as_str().as_bytes());
        self.bytes(key.id.as_str().as_bytes());
    }
}

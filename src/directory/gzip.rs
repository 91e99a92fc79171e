//! One gzip member (RFC 1952) made of pieces: deflated fragments that are kept with their chunks, and
//! stored blocks for what is not worth deflating.
//!
//! A fragment ends at a byte boundary and refers to nothing before itself, so any sequence of fragments is
//! one deflate stream; the check sums are combined, not computed anew.
//! Never: holds a lock while compressing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

use crate::model::Moment;

/// A comma and a chunk's text, deflated.
#[derive(Debug)]
pub(super) struct Fragment {
    /// A stored comma, then the text.
    bytes: Bytes,
    text: Hasher,
    comma_and_text: Hasher,
    made: Moment,
}

/// The fragment of a chunk, and when its line of chunks was last compressed.
#[derive(Debug, Default)]
pub(super) struct FragmentCache {
    kept: ArcSwapOption<Fragment>,
    busy: AtomicBool,
    /// Milliseconds of the moment after which this line of chunks may be compressed again.
    rests_until: AtomicU64,
}

/// A gzip member in the making: gives the bytes for what is added, in order.
#[derive(Debug, Default)]
pub(super) struct Member {
    sum: Hasher,
}

/// How old the times in a kept fragment may be.
const KEEP: Duration = Duration::from_secs(5);
/// How long a line of chunks rests between two compressions.
const REST: Duration = Duration::from_secs(1);
/// Small enough for 75 us a chunk, and a tenth of the text for typical lists.
const LEVEL: Compression = Compression::new(3);

const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const STORED_COMMA: &[u8] = &[0, 1, 0, 0xfe, 0xff, b','];
const LAST_BLOCK: &[u8] = &[3, 0];
const STORED_MAX: usize = 0xffff;

// === impl Fragment ===

impl Fragment {
    fn of(text: &[u8], made: Moment) -> Self {
        let mut bytes = STORED_COMMA.to_vec();
        deflate(text, &mut bytes);
        bytes.shrink_to_fit();
        let sum = checksum(text);
        let mut comma_and_text = checksum(b",");
        comma_and_text.combine(&sum);
        Self { bytes: bytes.into(), text: sum, comma_and_text, made }
    }
}

// === impl FragmentCache ===

impl FragmentCache {
    /// The cache of a chunk that takes the place of this one's.
    pub(super) fn heir(&self) -> Self {
        Self { rests_until: AtomicU64::new(self.rests_until.load(Ordering::Relaxed)), ..Self::default() }
    }

    /// The kept fragment when it is new enough, or one made of `text` when it is time for one.
    pub(super) fn get(&self, now: Moment, text: impl FnOnce() -> Bytes) -> Option<Arc<Fragment>> {
        if let Some(kept) = self.kept.load_full()
            && now.since(kept.made) <= KEEP
        {
            return Some(kept);
        }
        if now.as_millis() < self.rests_until.load(Ordering::Relaxed)
            || self.busy.swap(true, Ordering::Acquire)
        {
            return None;
        }
        let fragment = Arc::new(Fragment::of(&text(), now));
        self.kept.store(Some(fragment.clone()));
        self.rests_until.store(now.plus(REST).as_millis(), Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        Some(fragment)
    }
}

// === impl Member ===

impl Member {
    /// The beginning of a member.
    pub(super) fn header(&self) -> Bytes {
        Bytes::from_static(HEADER)
    }

    /// A kept fragment, after a comma or not.
    pub(super) fn fragment(&mut self, fragment: &Fragment, comma: bool) -> Bytes {
        match comma {
            true => self.sum.combine(&fragment.comma_and_text),
            false => self.sum.combine(&fragment.text),
        }
        let skip = if comma { 0 } else { STORED_COMMA.len() };
        fragment.bytes.slice(skip..)
    }

    /// Text as it is.
    pub(super) fn stored(&mut self, text: &[u8]) -> Bytes {
        self.sum.update(text);
        let mut bytes = Vec::with_capacity(text.len() + 5 * text.len().div_ceil(STORED_MAX));
        for block in text.chunks(STORED_MAX) {
            let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
            bytes.push(0);
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(&(!len).to_le_bytes());
            bytes.extend_from_slice(block);
        }
        bytes.into()
    }

    /// Text deflated for this member alone.
    pub(super) fn deflated(&mut self, text: &[u8]) -> Bytes {
        self.sum.update(text);
        let mut bytes = Vec::with_capacity(text.len() / 4 + 64);
        deflate(text, &mut bytes);
        bytes.into()
    }

    /// The end of a member whose text has `len` bytes.
    pub(super) fn trailer(self, len: u64) -> Bytes {
        let mut bytes = LAST_BLOCK.to_vec();
        bytes.extend_from_slice(&self.sum.finalize().to_le_bytes());
        let modulo = u32::try_from(len & u64::from(u32::MAX)).unwrap_or_default();
        bytes.extend_from_slice(&modulo.to_le_bytes());
        bytes.into()
    }
}

/// A whole body as one gzip member.
#[must_use]
pub fn gzip(text: &[u8]) -> Bytes {
    let mut member = Member::default();
    let mut bytes = member.header().to_vec();
    bytes.extend_from_slice(&member.deflated(text));
    bytes.extend_from_slice(&member.trailer(u64::try_from(text.len()).unwrap_or(u64::MAX)));
    bytes.into()
}

/// Appends text as deflate blocks that end at a byte boundary and are not the last.
fn deflate(text: &[u8], to: &mut Vec<u8>) {
    let mut stream = Compress::new(LEVEL, false);
    loop {
        let read = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        to.reserve(1024.max((text.len() - read) / 8));
        let room = to.capacity() - to.len();
        let before = to.len();
        let _ = stream.compress_vec(&text[read..], to, FlushCompress::Sync); // only room can run out
        let all_read = usize::try_from(stream.total_in()).unwrap_or(usize::MAX) == text.len();
        if all_read && to.len() - before < room {
            return;
        }
    }
}

fn checksum(text: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(text);
    sum
}

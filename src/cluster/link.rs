//! One connection to a member, from the handshake's end to its own: frames in both directions, each behind its length.
//!
//! Bounded: a frame by [`FRAME_MAX`], what waits to be sent by one batch of frames; a member from which nothing comes
//! for a while is dead.
//! Never: reads before the other end has proved that it is a member, or knows what a frame says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::message::MemberId;
use super::network::Stream;
use super::replication::Replication;
use super::replicator::{Link, Misbehaviour};

/// A connection whose other end is a member.
pub(super) struct Connection {
    pub(super) link: Link,
    pub(super) stream: Box<dyn Stream>,
    /// What is to be sent before the first frame.
    pub(super) greeting: Option<[u8; 33]>,
    pub(super) traffic: Arc<Traffic>,
    /// Ends it, once what waits is sent.
    pub(super) cut: CancellationToken,
}

/// What went through a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) frames_in: AtomicU64,
    pub(super) frames_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// This end wanted it.
    #[error("it was closed by this member")]
    Cut,
    /// The other end closed it.
    #[error("it was closed by the other end")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing came for {SILENCE:?}")]
    Silent,
    /// A frame is longer than any may be.
    #[error("a frame of {0} bytes was announced, above {FRAME_MAX}")]
    TooLong(usize),
    /// The other end breaks a rule.
    #[error(transparent)]
    Misbehaviour(#[from] Misbehaviour),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Most bytes of a frame.
pub(super) const FRAME_MAX: usize = 1024 * 1024;
/// A member that says nothing for this long is dead: it pings every second.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Small frames are sent together up to this many bytes.
const BATCH: usize = 64 * 1024;
/// Bytes that are read at once at least.
const READ: usize = 16 * 1024;
/// How long the last frames may take to go.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes of a frame's length.
const PREFIX: usize = 4;

// === impl Connection ===

impl Connection {
    /// Carries frames until something ends it; says which link it was, and why it ended.
    pub(super) async fn carry(
        self,
        peer: MemberId,
        replication: Arc<Replication>,
    ) -> (Link, MemberId, Ended) {
        let Self { link, stream, greeting, traffic, cut } = self;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let ended = {
            let mut sending = std::pin::pin!(send(&mut writer, link, greeting, &replication, &traffic, &cut));
            tokio::select! {
                // What the other end allows bounds sending, nothing bounds what comes: it must not keep pings waiting.
                biased;
                ended = &mut sending => ended.map_or_else(Ended::Io, |()| Ended::Cut),
                ended = receive(&mut reader, link, &replication, &traffic) => ended,
            }
        };
        // The other end sees the end in any case.
        let _ = timeout(FAREWELL, writer.shutdown()).await;
        (link, peer, ended)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("link", &self.link).finish_non_exhaustive()
    }
}

async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    link: Link,
    replication: &Replication,
    traffic: &Traffic,
) -> Ended {
    let mut buffer = BytesMut::new();
    loop {
        loop {
            match take_frame(&mut buffer) {
                Ok(Some(frame)) => {
                    traffic.frames_in.fetch_add(1, Ordering::Relaxed);
                    if let Err(misbehaviour) = replication.received(link, &frame) {
                        return misbehaviour.into();
                    }
                }
                Ok(None) => break,
                Err(ended) => return ended,
            }
            // A long run of frames must not keep other connections waiting.
            tokio::task::consume_budget().await;
        }
        buffer.reserve(READ);
        // What has come already is seen before time is: a process that was stopped finds its members alive.
        match timeout(SILENCE, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ended::Closed,
            Ok(Ok(count)) => add(&traffic.bytes_in, count),
            Ok(Err(error)) => return error.into(),
            Err(_) => return Ended::Silent,
        }
    }
}

/// The next whole frame.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Ended> {
    let Some(prefix) = buffer.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if FRAME_MAX < length {
        return Err(Ended::TooLong(length));
    }
    if buffer.len() < PREFIX + length {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(length)))
}

/// Sends what there is whenever the other end takes it; ends well when it was cut and nothing is left.
async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    link: Link,
    greeting: Option<[u8; 33]>,
    replication: &Replication,
    traffic: &Traffic,
    cut: &CancellationToken,
) -> io::Result<()> {
    if let Some(greeting) = greeting {
        writer.write_all(&greeting).await?;
        writer.flush().await?;
    }
    let mut batch = BytesMut::new();
    loop {
        let news = replication.news();
        let is_cut = cut.is_cancelled();
        while batch.len() < BATCH {
            let Some(frame) = replication.next_frame(link) else { break };
            let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            batch.extend_from_slice(&length.to_le_bytes());
            batch.extend_from_slice(&frame);
            traffic.frames_out.fetch_add(1, Ordering::Relaxed);
        }
        if !batch.is_empty() {
            add(&traffic.bytes_out, batch.len());
            let whole = async {
                writer.write_all_buf(&mut batch).await?;
                writer.flush().await
            };
            match is_cut {
                true => timeout(FAREWELL, whole).await.map_err(|_| io::ErrorKind::TimedOut)??,
                false => whole.await?,
            }
            continue;
        }
        if is_cut {
            return Ok(());
        }
        // Large for a while is not large for ever.
        batch = BytesMut::new();
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = news => {}
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_one_after_the_other() {
        let mut buffer = BytesMut::new();
        let bytes = [3, 0, 0, 0, b'a', b'b', b'c', 0, 0, 0, 0, 1, 0, 0, 0, b'd'];
        let mut frames = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[byte]);
            while let Some(frame) = take_frame(&mut buffer).unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&b"abc"[..], b"", b"d"]);
    }

    #[test]
    fn a_frame_above_the_bound_is_refused_before_it_comes() {
        let length = u32::try_from(FRAME_MAX + 1).unwrap();
        let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
        assert!(matches!(take_frame(&mut buffer), Err(Ended::TooLong(_))));
        assert!(buffer.capacity() < READ);
    }
}

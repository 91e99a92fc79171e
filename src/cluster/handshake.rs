//! How two members make sure of each other before either reads a byte of what the other has to say.
//!
//! The one that dials says who it is, the other answers the same; then the dialler proves that it knows the secret, and
//! the other does. A proof covers all that was said, the role, and the TLS session if there is one, so that it is worth
//! nothing anywhere else. What a stranger can cost is a greeting.
//! Never: allocates by what a length says beyond a few hundred bytes, or says why before it knows whom it tells.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::message::MemberId;
use super::secret::Key;

/// Which versions of the protocol a member speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) min: u8,
    pub(super) max: u8,
}

/// What a member says of itself first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: Versions,
    pub(super) incarnation: u64,
    pub(super) nonce: [u8; 32],
    pub(super) id: MemberId,
}

/// Who is at the other end, and what was agreed upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeted {
    pub(super) peer: MemberId,
    pub(super) incarnation: u64,
    pub(super) version: u8,
}

/// What the one that was dialled has to say last, when it wants the connection.
#[derive(Debug)]
pub(super) struct Answer([u8; 33]);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection broke off.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("it does not answer in time")]
    TimedOut,
    /// The other end speaks something else.
    #[error("what answers is no member")]
    Stranger,
    /// There is no version that both speak.
    #[error("member {peer} speaks versions {} to {} of the protocol, this one {} to {}", theirs.min, theirs.max, ours.min, ours.max)]
    Version {
        /// Who it says it is.
        peer: Box<str>,
        theirs: Versions,
        ours: Versions,
    },
    /// The other end has another secret.
    #[error("member {0} has another secret")]
    Secret(Box<str>),
    /// The other end is this very process.
    #[error("that is this member itself")]
    Oneself,
    /// Another process has this member's name.
    #[error("another registry says that it is {0}, which is this member")]
    SameName(Box<str>),
    /// The other end, which has not proved who it is, says that it keeps the connection that it has.
    #[error("{} is connected otherwise", .0.0)]
    Unwanted(MemberId),
}

/// The only version there is so far.
pub(super) const VERSIONS: Versions = Versions { min: 1, max: 1 };

const MAGIC: &[u8; 8] = b"a8member";
const CONTEXT: &[u8] = b"a8registry member 1";
const DIALLER: &[u8] = b"D";
const DIALLED: &[u8] = b"A";
/// What stands before an id.
const HEAD: usize = 51;

const PROOF: u8 = 1;
const NO_SECRET: u8 = 2;
const UNWANTED: u8 = 3;

/// The side that dials, to its end. `session` is what only the two ends of a TLS connection know; empty without.
pub(super) async fn dial<S>(
    stream: &mut S,
    hello: &Hello,
    key: &Key,
    session: &[u8],
) -> Result<Greeted, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mine = hello.encoded();
    stream.write_all(&mine).await?;
    let (theirs, bytes) = read_hello(stream).await?;
    let greeted = hello.greeted(&theirs)?;
    stream.write_all(&message(PROOF, &key.sign(&said(DIALLER, &mine, &bytes, session)))).await?;
    let (kind, proof) = read_message(stream).await?;
    match kind {
        PROOF if key.verifies(&said(DIALLED, &mine, &bytes, session), &proof) => Ok(greeted),
        PROOF | NO_SECRET => Err(HandshakeError::Secret(theirs.id.0)),
        UNWANTED => Err(HandshakeError::Unwanted(greeted.peer)),
        _ => Err(HandshakeError::Stranger),
    }
}

/// The side that was dialled, but for its [`Answer`], for which the dialler waits.
pub(super) async fn accept<S>(
    stream: &mut S,
    hello: &Hello,
    key: &Key,
    session: &[u8],
) -> Result<(Greeted, Answer), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mine = hello.encoded();
    let (theirs, bytes) = read_hello(stream).await?;
    stream.write_all(&mine).await?;
    let greeted = hello.greeted(&theirs)?;
    let (kind, proof) = read_message(stream).await?;
    if kind != PROOF {
        return Err(HandshakeError::Stranger);
    }
    if !key.verifies(&said(DIALLER, &bytes, &mine, session), &proof) {
        // Whoever it is, that it was not believed is no news to it.
        let _ = stream.write_all(&message(NO_SECRET, &[0; 32])).await;
        let _ = stream.shutdown().await;
        return Err(HandshakeError::Secret(theirs.id.0));
    }
    Ok((greeted, Answer(message(PROOF, &key.sign(&said(DIALLED, &bytes, &mine, session))))))
}

/// What a proof covers.
fn said<'a>(role: &'a [u8], dialler: &'a [u8], dialled: &'a [u8], session: &'a [u8]) -> [&'a [u8]; 5] {
    [CONTEXT, role, dialler, dialled, session]
}

fn message(kind: u8, proof: &[u8; 32]) -> [u8; 33] {
    let mut bytes = [kind; 33];
    bytes[1..].copy_from_slice(proof);
    bytes
}

async fn read_message<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(u8, [u8; 32]), HandshakeError> {
    let kind = stream.read_u8().await?;
    let mut proof = [0; 32];
    stream.read_exact(&mut proof).await?;
    Ok((kind, proof))
}

async fn read_hello<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Hello, Vec<u8>), HandshakeError> {
    let mut bytes = vec![0; HEAD];
    stream.read_exact(&mut bytes[..MAGIC.len()]).await?;
    if !bytes.starts_with(MAGIC) {
        return Err(HandshakeError::Stranger);
    }
    stream.read_exact(&mut bytes[MAGIC.len()..]).await?;
    let length = usize::from(bytes[HEAD - 1]);
    bytes.resize(HEAD + length, 0);
    stream.read_exact(&mut bytes[HEAD..]).await?;
    let hello = Hello::decoded(&bytes).ok_or(HandshakeError::Stranger)?;
    Ok((hello, bytes))
}

// === impl Answer ===

impl Answer {
    /// The connection is wanted: what is to be sent first.
    pub(super) fn welcome(self) -> [u8; 33] {
        self.0
    }

    /// It is not.
    pub(super) fn unwanted() -> [u8; 33] {
        message(UNWANTED, &[0; 32])
    }
}

// === impl Hello ===

impl Hello {
    /// Who is at the other end, and in which version to go on.
    fn greeted(&self, theirs: &Self) -> Result<Greeted, HandshakeError> {
        if theirs.id == self.id {
            return Err(match theirs.incarnation == self.incarnation {
                true => HandshakeError::Oneself,
                false => HandshakeError::SameName(self.id.0.clone()),
            });
        }
        match self.versions.common(theirs.versions) {
            Some(version) => {
                Ok(Greeted { peer: theirs.id.clone(), incarnation: theirs.incarnation, version })
            }
            None => Err(HandshakeError::Version {
                peer: theirs.id.0.clone(),
                theirs: theirs.versions,
                ours: self.versions,
            }),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let Self { versions, incarnation, nonce, id } = self;
        let mut bytes = MAGIC.to_vec();
        bytes.extend([versions.min, versions.max]);
        bytes.extend(incarnation.to_le_bytes());
        bytes.extend(nonce);
        // Configuration lets no longer one through.
        bytes.push(u8::try_from(id.0.len()).unwrap_or(u8::MAX));
        bytes.extend(id.0.bytes().take(usize::from(u8::MAX)));
        bytes
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&[min, max], rest) = rest.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (&length, id) = rest.split_first()?;
        let id = std::str::from_utf8(id).ok()?;
        let is_sound = min <= max && usize::from(length) == id.len() && is_printable(id);
        is_sound.then(|| Self {
            versions: Versions { min, max },
            incarnation: u64::from_le_bytes(*incarnation),
            nonce: *nonce,
            id: MemberId(id.into()),
        })
    }
}

/// Whether a member may be called so: ids end up in logs and labels.
pub(super) fn is_printable(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

// === impl Versions ===

impl Versions {
    /// The highest that both speak.
    pub(super) fn common(self, other: Self) -> Option<u8> {
        let highest = self.max.min(other.max);
        (self.min.max(other.min) <= highest).then_some(highest)
    }
}

#[cfg(test)]
mod tests;

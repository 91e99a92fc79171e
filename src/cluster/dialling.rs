//! How a connection to a member comes about, from either end: the network, perhaps TLS, the handshake.
//!
//! Each has one deadline for all of it.
//! Never: gives out a connection whose other end has not proved that it is a member.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use tokio::time::timeout;

use super::config::Place;
use super::handshake::{self, Answer, Greeted, HandshakeError, Hello, VERSIONS};
use super::message::MemberId;
use super::network::{Network, Stream};
use super::secret::Key;
use super::tls::{self, Tls};

/// What both ends of a connection begin with. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Introduction<N> {
    pub(super) network: N,
    pub(super) me: MemberId,
    pub(super) incarnation: u64,
    pub(super) key: Key,
    pub(super) tls: Option<Arc<Tls>>,
}

/// A connection to a member.
pub(super) struct Met {
    pub(super) greeted: Greeted,
    pub(super) stream: Box<dyn Stream>,
    /// What the dialler waits for; none at its own end.
    pub(super) answer: Option<Answer>,
}

/// How long someone who dialled has to prove that it is a member.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(3);

// === impl Introduction ===

impl<N: Network> Introduction<N> {
    /// Dials a place.
    pub(super) async fn dial(self, place: Place, limit: Duration) -> Result<Met, HandshakeError> {
        let dialled = async {
            let stream = self.network.connect(&place).await?;
            let hello = self.hello()?;
            let Some(tls) = &self.tls else {
                let mut stream = stream;
                let greeted = handshake::dial(&mut stream, &hello, &self.key, &[]).await?;
                return Ok(Met { greeted, stream: Box::new(stream), answer: None });
            };
            let mut stream = tls.connect(stream).await?;
            let session = tls::session(&stream)?;
            let greeted = handshake::dial(&mut stream, &hello, &self.key, &session).await?;
            Ok(Met { greeted, stream: Box::new(stream), answer: None })
        };
        timeout(limit, dialled).await.unwrap_or(Err(HandshakeError::TimedOut))
    }

    /// Hears somebody who dialled.
    pub(super) async fn hear(self, stream: impl Stream) -> Result<Met, HandshakeError> {
        let heard = async {
            let hello = self.hello()?;
            let Some(tls) = &self.tls else {
                let mut stream = stream;
                let (greeted, answer) = handshake::accept(&mut stream, &hello, &self.key, &[]).await?;
                return Ok(Met { greeted, stream: Box::new(stream), answer: Some(answer) });
            };
            let mut stream = tls.accept(stream).await?;
            let session = tls::session(&stream)?;
            let (greeted, answer) = handshake::accept(&mut stream, &hello, &self.key, &session).await?;
            Ok(Met { greeted, stream: Box::new(stream), answer: Some(answer) })
        };
        timeout(HANDSHAKE, heard).await.unwrap_or(Err(HandshakeError::TimedOut))
    }

    fn hello(&self) -> io::Result<Hello> {
        let mut nonce = [0; 32];
        fill(&mut nonce).map_err(|_| io::Error::other("no random bytes can be had"))?;
        let Self { me, incarnation, .. } = self;
        Ok(Hello { versions: VERSIONS, incarnation: *incarnation, nonce, id: me.clone() })
    }
}

impl std::fmt::Debug for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Met").field("greeted", &self.greeted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! What connects members: TCP, or another network that behaves like it.
//!
//! Never: knows who is at the other end, or what is said.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::config::Place;

/// Anything that bytes go through, in both directions and in order.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A way to other members. Cheap to clone.
pub trait Network: fmt::Debug + Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: Stream;
    /// Takes connections of others for as long as it is there.
    type Listener: fmt::Debug + Send + Sync + 'static;

    /// Opens a connection to a place; may be dropped before it ends.
    ///
    /// # Errors
    /// When nobody there takes it.
    fn connect(&self, place: &Place) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The next connection that somebody else opened, and where from; may be dropped before it ends, and loses none then.
    ///
    /// # Errors
    /// When none can be taken for now.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// The network of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

// === impl Tcp ===

impl Network for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;

    /// The first address of a place that takes a connection.
    async fn connect(&self, place: &Place) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = lookup_host((place.host(), place.port())).await?.collect();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        // A connection that is gone already says so when it is read; this is no trouble of the listener.
        let _ = stream.set_nodelay(true);
        Ok((stream, from))
    }
}

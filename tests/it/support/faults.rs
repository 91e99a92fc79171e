//! A proxy before any server of HTTP/1.1, which does it harm when it is told to.
//!
//! Never: changes what passes while nothing is wrong, keeps a connection when it is told something else, or outlives its
//! owner.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, sink, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// What goes wrong between a server and whoever asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Connections are reset.
    Cut,
    /// Each part of an answer comes late.
    Delayed,
    /// Everything is answered with 500.
    Refusing,
    /// An answer ends in the middle of its body.
    Half,
    /// The true head of an answer has noise for a body.
    Garbage,
    /// The true head of an answer has a body of blanks without end.
    Endless,
    /// Connections are taken, and nothing is said.
    Silent,
}

/// Where a server is.
#[derive(Debug, Clone)]
pub(crate) enum Far {
    Tcp(SocketAddr),
    /// By TLS; its certificate names the address.
    Tls(SocketAddr, Arc<ClientConfig>),
    Socket(PathBuf),
}

/// A proxy that runs. It speaks plain HTTP on loopback, whatever the server speaks.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Option<Fault>>,
    /// Ends all connections with itself.
    _runtime: Runtime,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// How late each part of an answer comes.
const DELAY: Duration = Duration::from_millis(300);
/// How long a body is waited for of which a half is to be told; a watch may have none yet.
const HALF_OF: Duration = Duration::from_millis(200);
const HEAD_MAX: usize = 64 * 1024;
const REFUSAL: &[u8] = b"HTTP/1.1 500 Said\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nbroken";

// === impl Fault ===

impl Fault {
    pub(crate) const ALL: [Self; 7] =
        [Self::Cut, Self::Delayed, Self::Refusing, Self::Half, Self::Garbage, Self::Endless, Self::Silent];
}

// === impl FaultProxy ===

impl FaultProxy {
    /// A proxy by which nothing is wrong yet.
    #[track_caller]
    pub(crate) fn to(far: Far) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let fault = watch::Sender::new(None);
        let told = fault.clone();
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(serve(near, far.clone(), told.subscribe()));
            }
        });
        Self { address, fault, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is wrong; none: nothing. All connections that there are end.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }
}

async fn serve(mut near: TcpStream, far: Far, mut told: watch::Receiver<Option<Fault>>) {
    let fault = *told.borrow_and_update();
    // Dropped, it is reset.
    if near.set_zero_linger().and(near.set_nodelay(true)).is_err() {
        return;
    }
    tokio::select! {
        // Whichever way it ended: the other side is told by the end of the connection.
        _ = converse(&mut near, &far, fault) => {}
        _ = told.changed() => {}
    }
}

async fn converse(near: &mut TcpStream, far: &Far, fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => {
            copy_bidirectional(near, &mut far.connect().await?).await?;
            near.shutdown().await
        }
        Some(Fault::Cut) => Ok(()),
        Some(Fault::Silent) => {
            copy(near, &mut sink()).await?;
            Ok(())
        }
        Some(Fault::Refusing) => loop {
            head(near).await?;
            near.write_all(REFUSAL).await?;
        },
        Some(Fault::Delayed) => delay(near, far.connect().await?).await,
        Some(fault @ (Fault::Half | Fault::Garbage | Fault::Endless)) => {
            spoil(near, far.connect().await?, fault).await
        }
    }
}

async fn delay(near: &mut TcpStream, far: Box<dyn Duplex>) -> io::Result<()> {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), split(far));
    let late = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from_far.read(&mut bytes).await?;
            if count == 0 {
                return to_near.shutdown().await;
            }
            tokio::time::sleep(DELAY).await;
            to_near.write_all(&bytes[..count]).await?;
        }
    };
    tokio::select! {
        ended = late => ended,
        ended = copy(&mut from_near, &mut to_far) => ended.map(drop),
    }
}

/// Answers one request with the true head and another body.
async fn spoil(near: &mut TcpStream, far: Box<dyn Duplex>, fault: Fault) -> io::Result<()> {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), split(far));
    let (head, begun) = tokio::select! {
        head = head(&mut from_far) => head?,
        ended = copy(&mut from_near, &mut to_far) => return ended.map(drop),
    };
    if fault == Fault::Half {
        let mut body = begun;
        if body.is_empty() {
            // A watch may have nothing to tell: then the head is half of it.
            if let Ok(read) = tokio::time::timeout(HALF_OF, from_far.read_buf(&mut body)).await {
                read?;
            }
        }
        to_near.write_all(&head).await?;
        to_near.write_all(&body[..body.len() / 2]).await?;
    } else {
        to_near.write_all(&without_length(&head)).await?;
        if fault == Fault::Endless {
            loop {
                to_near.write_all(&[b' '; 64 * 1024]).await?;
            }
        }
        to_near.write_all(&noise()).await?;
    }
    to_near.shutdown().await?;
    // What was written arrives before the end.
    copy(&mut from_near, &mut sink()).await?;
    Ok(())
}

fn noise() -> Vec<u8> {
    (0..4096_u32).map(|nth| u8::try_from(nth * 167 % 251).unwrap_or_default()).collect()
}

/// A head to its empty line, and what came with it of the body.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((bytes, body));
        }
        if HEAD_MAX < bytes.len() || from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The same head for a plain body that ends with the connection.
fn without_length(head: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let is_kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !["content-length", "content-encoding", "transfer-encoding", "connection"].contains(&name.as_str())
    };
    let lines: Vec<_> = text.trim_end().split("\r\n").filter(is_kept).collect();
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).into_bytes()
}

// === impl Far ===

impl Far {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Tls(address, config) => {
                let name = ServerName::IpAddress(address.ip().into());
                let stream = TcpStream::connect(address).await?;
                Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?)
            }
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

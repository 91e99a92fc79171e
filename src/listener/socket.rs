//! Opens listening sockets, and says which errors of `accept` concern one client only.
//!
//! Never: serves.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// A silent peer is probed after this long, then each `KEEPALIVE_EVERY`; one that is gone cannot hold a long answer.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Bytes of an answer that the kernel takes before the client's window has room for them. Its default is megabytes, in
/// steps of a third: a slow client would seem to stall between two, and a stalled one would hold them all.
const UNSENT: u32 = 256 * 1024;

/// Listens on `address`; `[::]` takes IPv4 as well, and becomes `0.0.0.0` on a machine without IPv6.
///
/// # Errors
/// When the address cannot be listened on; the error names it.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let is_any_v6 = address.is_ipv6() && address.ip().is_unspecified();
    let opened = match open(address) {
        Err(_) if is_any_v6 && Socket::new(Domain::IPV6, Type::STREAM, None).is_err() => {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        opened => opened,
    };
    opened.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Accepted sockets inherit the options, which saves a system call for each.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether only the client that was to be accepted is lost; anything else is a shortage (of descriptors, of memory)
/// that a pause may cure.
pub(super) fn is_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

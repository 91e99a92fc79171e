//! A line between two processes that can be cut, and one that swallows everything without a word.
//!
//! Never: looks at what passes, or changes it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// Forwards connections to an address.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    state: Arc<AtomicU8>,
}

const WHOLE: u8 = 0;
const CUT: u8 = 1;
const SILENT: u8 = 2;
const OVER: u8 = 3;

/// How soon a line notices what became of it.
const LOOK: Duration = Duration::from_millis(5);

// === impl Line ===

impl Line {
    /// A line to a port of loopback.
    #[track_caller]
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("it is a socket");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(AtomicU8::new(WHOLE));
        let seen = state.clone();
        thread::spawn(move || accept(&listener, port, &seen));
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and those that come, which both sides are told.
    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
    }

    /// Accepts and forwards nothing any more; nobody is told.
    pub(crate) fn fall_silent(&self) {
        self.state.store(SILENT, Ordering::SeqCst);
    }

    /// Forwards again, also what was held back.
    pub(crate) fn mend(&self) {
        self.state.store(WHOLE, Ordering::SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.store(OVER, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, port: u16, state: &Arc<AtomicU8>) {
    loop {
        match state.load(Ordering::SeqCst) {
            OVER => return,
            SILENT => thread::sleep(LOOK),
            now => match listener.accept() {
                Ok((stream, _)) if now == WHOLE => join(&stream, port, state),
                // Dropped, which the other side is told.
                Ok(_) => {}
                Err(_) => thread::sleep(LOOK),
            },
        }
    }
}

fn join(near: &TcpStream, port: u16, state: &Arc<AtomicU8>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    near.set_nonblocking(false).expect("it is a socket");
    for stream in [near, &far] {
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(LOOK)).expect("not zero");
    }
    for (from, to) in [(near, &far), (&far, near)] {
        let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
        let state = state.clone();
        thread::spawn(move || {
            forward(&from, &to, &state);
            // The other side may have ended it already.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, state: &AtomicU8) {
    let mut bytes = [0; 16 * 1024];
    loop {
        match state.load(Ordering::SeqCst) {
            WHOLE => {}
            SILENT => {
                thread::sleep(LOOK);
                continue;
            }
            _ => return,
        }
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                if to.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

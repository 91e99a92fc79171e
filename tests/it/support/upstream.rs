//! A server that others call: it records what it is asked and answers what the test says.
//!
//! Never: outlives its owner, or answers what the test did not think of.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /path?query`
    pub(crate) line: String,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A status and a body of JSON; none is an empty body.
pub(crate) type Said = (u16, Option<Value>);

/// Writes the answer to what was asked; an error ends the connection.
type Answers = dyn Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync;

/// A port that nobody answers on yet.
#[derive(Debug)]
pub(crate) struct Reserved(Socket);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

// === impl Reserved ===

impl Reserved {
    /// A free loopback port: connections to it are refused, and others may take it who ask for that.
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a socket option");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).expect("a port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|address| address.as_socket()).expect("an address")
    }

    /// Answers from now on.
    pub(crate) fn serve(self, answer: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Upstream {
        self.serve_bytes(move |asked, to| {
            let (status, body) = answer(asked);
            say(to, status, "", body.map(|body| body.to_string()).unwrap_or_default().as_bytes())
        })
    }

    /// Answers from now on what the test writes, whatever that is.
    pub(crate) fn serve_bytes(
        self,
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Upstream {
        let address = self.address();
        self.0.listen(64).expect("nobody listens on it");
        let shared = Arc::new(Shared::default());
        let (listener, answer) = (TcpListener::from(self.0), Arc::new(answer));
        let accepting = shared.clone();
        let acceptor = thread::spawn(move || {
            let mut readers = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                if accepting.is_over.load(Ordering::Relaxed) {
                    break;
                }
                let copy = stream.try_clone().expect("a descriptor");
                accepting.open.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                let (shared, answer) = (accepting.clone(), answer.clone());
                readers.push(thread::spawn(move || shared.converse(stream, &*answer)));
            }
            for stream in accepting.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                // It may have ended already.
                let _ = stream.shutdown(Shutdown::Both);
            }
            for reader in readers {
                let _ = reader.join();
            }
        });
        Upstream { address, shared, acceptor: Some(acceptor) }
    }
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        Reserved::new().serve(answer)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Answers the requests of a connection until it ends.
    fn converse(&self, stream: TcpStream, answer: &Answers) {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream) {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
            if answer(&asked, stream.get_mut()).is_err() {
                // The other side is to see that nothing follows; it may have ended it already.
                let _ = stream.get_mut().shutdown(Shutdown::Both);
                break;
            }
        }
    }
}

/// Writes an answer; `headers` are whole lines.
pub(crate) fn say(to: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> io::Result<()> {
    let head = match status {
        204 => String::new(),
        _ => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
    };
    to.write_all(format!("HTTP/1.1 {status} Said\r\n{headers}{head}\r\n").as_bytes())?;
    to.write_all(body)
}

/// A request; none at the end of the connection.
fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let (first, headers) = lines.split_first()?;
    let headers: Vec<_> = headers
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let line = first.trim_end_matches(" HTTP/1.1").to_owned();
    let mut asked = Asked { line, headers, body: Vec::new() };
    asked.body.resize(asked.header("content-length").parse().unwrap_or(0), 0);
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

// === impl Asked ===

impl Asked {
    /// The value of a header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.line))
    }
}

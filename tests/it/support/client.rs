//! A small HTTP/1.1 client, exact about bytes: what is sent is what the test wrote.
//!
//! Never: retries, follows, decodes a content coding, or repairs what it is told to send.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use super::PATIENCE;

/// Who asks: where, with which headers, by TLS or not.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    headers: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection that stays open as long as both sides like.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<Stream>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What stands behind the status.
    pub(crate) reason: String,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A registration with as little as there can be.
pub(crate) fn instance(service: &str, value: &str) -> Value {
    json!({"service_name": service, "endpoint": {"type": "http", "value": value}})
}

// === impl Client ===

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, headers: String::new(), tls: None }
    }

    /// The same by TLS, to the server's name `localhost`.
    pub(crate) fn by_tls(self, config: ClientConfig) -> Self {
        Self { tls: Some(Arc::new(config)), ..self }
    }

    /// The same with one more header line.
    pub(crate) fn with(&self, header: &str) -> Self {
        Self { headers: format!("{}{header}\r\n", self.headers), ..self.clone() }
    }

    /// The same with a token.
    pub(crate) fn bearer(&self, token: &str) -> Self {
        self.with(&format!("Authorization: Bearer {token}"))
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().expect("a connection")
    }

    /// With TLS, the handshake is not over when this returns.
    pub(crate) fn try_connect(&self) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        socket.set_nodelay(true)?;
        Connection::over(socket, self.tls.clone())
    }

    /// The bytes of a request: `GET /path`.
    pub(crate) fn request(&self, line: &str, body: &str) -> String {
        let mut text = format!("{line} HTTP/1.1\r\nHost: {}\r\n{}", self.address, self.headers);
        if !body.is_empty() {
            // Writing to a text cannot fail.
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, line: &str, body: &str) -> Answer {
        self.connect().ask(self, line, body)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), "")
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("PUT {path}"), body)
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send(&format!("DELETE {path}"), "")
    }

    #[track_caller]
    pub(crate) fn post(&self, registration: &Value) -> Answer {
        self.send("POST /api/v1/instances", &registration.to_string())
    }

    /// Registers, and answers the id.
    #[track_caller]
    pub(crate) fn register(&self, registration: &Value) -> String {
        let answer = self.post(registration);
        assert_eq!(answer.status, 201, "{registration}: {}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Registers many over one connection, and answers their ids.
    #[track_caller]
    pub(crate) fn register_many(&self, registrations: &[Value]) -> Vec<String> {
        let mut connection = self.connect();
        let mut ids = Vec::with_capacity(registrations.len());
        for some in registrations.chunks(100) {
            let requests = some.iter().map(|body| self.request("POST /api/v1/instances", &body.to_string()));
            connection.write(requests.collect::<String>());
            for _ in some {
                let answer = connection.answer();
                assert_eq!(answer.status, 201, "{}", answer.text());
                ids.push(answer.json()["id"].as_str().expect("an id").to_owned());
            }
        }
        ids
    }

    #[track_caller]
    pub(crate) fn renew(&self, id: &str) -> Answer {
        self.put(&format!("/api/v1/instances/{id}/heartbeat"), "")
    }

    /// The ids that a path lists, sorted.
    #[track_caller]
    pub(crate) fn ids(&self, path: &str) -> Vec<String> {
        self.get(path).ids()
    }

    /// The value of a sample at `/metrics`.
    #[track_caller]
    pub(crate) fn metric(&self, sample: &str) -> Option<f64> {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }
}

// === impl Connection ===

impl Connection {
    /// Speaks over a socket that is connected.
    pub(crate) fn over(socket: TcpStream, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { stream: BufReader::new(stream) })
    }

    #[track_caller]
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).expect("the connection is open");
    }

    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())?;
        self.stream.get_mut().flush()
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, client: &Client, line: &str, body: &str) -> Answer {
        self.write(client.request(line, body));
        match self.try_answer(line.starts_with("HEAD ")) {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("{line}: the connection ended without an answer"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer").expect("an answer before the end")
    }

    /// None when the other side ended the connection in place of an answer.
    pub(crate) fn try_answer(&mut self, is_head: bool) -> io::Result<Option<Answer>> {
        let Some(line) = self.line()? else { return Ok(None) };
        let mut parts = line.splitn(3, ' ');
        let version = parts.next().unwrap_or_default();
        assert!(version.starts_with("HTTP/1."), "no answer begins like {line:?}");
        let status = parts.next().and_then(|status| status.parse().ok()).expect("a status");
        let reason = parts.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, reason, headers, body: Vec::new() };
        if !is_head && !matches!(status, 100..=199 | 204 | 304) {
            answer.body = self.body(&answer)?;
        }
        Ok(Some(answer))
    }

    fn body(&mut self, head: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header("transfer-encoding") == "chunked" {
            loop {
                let size = self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = u64::from_str_radix(&size, 16).expect("a chunk has a size");
                self.stream.by_ref().take(size).read_to_end(&mut body)?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let length: usize = head.header("content-length").parse().expect("an answer has a length");
        body.resize(length, 0);
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// A line without its end; none when the connection ended before it.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }

    /// Everything until the other side ends the connection, by whichever way.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) -> String {
        let mut all = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut all) {
            let is_patience_over =
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            assert!(!is_patience_over, "still open after {:?}", String::from_utf8_lossy(&all));
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What was negotiated, over TLS.
    pub(crate) fn session(&mut self) -> &ClientConnection {
        match self.stream.get_ref() {
            Stream::Plain(_) => panic!("this is plain"),
            Stream::Tls(stream) => &stream.conn,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The value of a header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    /// The error, after checking the status.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json();
        assert!(error["Error"].is_string(), "{error}");
        error
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// The ids of the instances in a list, sorted.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<String> {
        let list = self.ok().json();
        let instances = list["instances"].as_array().expect("a list of instances");
        let mut ids: Vec<_> = instances.iter().map(|i| i["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    }
}

// === impl Stream ===

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

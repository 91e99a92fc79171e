//! A keep-alive HTTP/1.1 client connection that costs the generator little.
//!
//! Understands what the servers here send: bodies with a length, chunked bodies, answers without a body.
//! Never: reconnects, so a connection that a server closes is an error that is seen.

use std::io;
use std::net::SocketAddr;

use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Large, so that lists are read in few calls and the server seldom finds its socket full.
const BUFFER: usize = 256 * 1024;

/// A connection with the bytes that were read ahead.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What came back, without the body.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Length of the body, without its chunk heads.
    pub(crate) length: u64,
    /// Whether the body is compressed.
    pub(crate) is_gzip: bool,
    /// The entity tag, when asked for together with the body.
    pub(crate) etag: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Where the bytes of a body go.
type Sink<'a> = Option<&'a mut Vec<u8>>;

// === impl Connection ===

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0 })
    }

    /// Sends a whole request and reads the whole answer; the body is appended to `body` when given.
    pub(crate) async fn exchange(&mut self, request: &[u8], mut body: Sink<'_>) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let (mut answer, framing) = self.head(body.is_some()).await?;
        answer.length = match framing {
            Framing::Length(length) => self.take(length, &mut body).await?,
            Framing::Chunked => self.chunks(&mut body).await?,
        };
        Ok(answer)
    }

    async fn head(&mut self, with_etag: bool) -> io::Result<(Answer, Framing)> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            if let Some(length) = memmem::find(ahead, b"\r\n\r\n") {
                let parsed = parse_head(&ahead[..length], with_etag);
                self.start += length + 4;
                return parsed;
            }
            self.fill().await?;
        }
    }

    async fn chunks(&mut self, body: &mut Sink<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let size = self.line().await?;
            if size == 0 {
                // No trailers are expected: the line behind the last chunk is empty.
                self.take(2, &mut None).await?;
                return Ok(total);
            }
            total += self.take(size, body).await?;
            self.take(2, &mut None).await?;
        }
    }

    /// The number in the next line.
    async fn line(&mut self) -> io::Result<usize> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            if let Some(length) = memchr(b'\n', ahead) {
                let digits = std::str::from_utf8(&ahead[..length]).ok().map(str::trim_end);
                let size = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
                self.start += length + 1;
                return size.ok_or_else(|| malformed("a chunk without a size"));
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize, body: &mut Sink<'_>) -> io::Result<u64> {
        let mut left = length;
        while 0 < left {
            if self.start == self.end {
                self.fill().await?;
            }
            let part = left.min(self.end - self.start);
            if let Some(body) = body {
                body.extend_from_slice(&self.buffer[self.start..self.start + part]);
            }
            self.start += part;
            left -= part;
        }
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

fn parse_head(head: &[u8], with_etag: bool) -> io::Result<(Answer, Framing)> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("a head that is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("an answer without a status"))?;
    let mut answer = Answer { status, length: 0, is_gzip: false, etag: None };
    let mut framing = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = value.parse().ok().map(Framing::Length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if name.eq_ignore_ascii_case("content-encoding") {
            answer.is_gzip = value == "gzip";
        } else if with_etag && name.eq_ignore_ascii_case("etag") {
            answer.etag = Some(value.to_owned());
        }
    }
    match (status, framing) {
        (204 | 304, _) => Ok((answer, Framing::Length(0))),
        (_, Some(framing)) => Ok((answer, framing)),
        (_, None) => Err(malformed("a body without a length")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

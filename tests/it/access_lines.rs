//! Access lines, as a process writes them: at debug one for each request, and nothing secret in them.
//!
//! Never: shares a process with other tests; what is logged is decided once for a whole process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A registry in a process of its own, and the lines that it logs.
struct Process {
    child: Child,
    lines: Receiver<String>,
    address: String,
}

// === impl Process ===

impl Process {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_a8registry"))
            .args(["--api_address", "127.0.0.1", "--api_port", "0"])
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the registry starts");
        let stderr = BufReader::new(child.stderr.take().expect("is piped"));
        let (sender, lines) = channel();
        // Ends with the process, when its side of the pipe is closed.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut process = Self { child, lines, address: String::new() };
        let started = process.line_with("the registry is served on ");
        let (_, rest) = started.split_once("the registry is served on ").expect("was looked for");
        process.address = rest.split('"').next().expect("something").to_owned();
        process
    }

    fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn send(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "{head}\r\nHost: h\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_debug_each_request_has_one_line_without_its_path_or_token() {
    let registry = Process::start(&["--log_level", "debug"]);
    for (head, wanted) in [
        (
            "PUT /api/v1/instances/some-id/heartbeat?x=hidden HTTP/1.1\r\nAuthorization: Bearer default",
            &["route=\"/api/v1/instances/{id}/heartbeat\"", "status=410", "namespace=default", "method=PUT"]
                [..],
        ),
        (
            "GET /api/v1/services/some-id HTTP/1.1\r\nAuthorization: Bearer hidden",
            &["route=\"/api/v1/services/{name}\"", "status=401", "namespace= ", "method=GET"],
        ),
        ("GET /some-id/hidden HTTP/1.1", &["route=\"(none)\"", "status=404", "namespace= "]),
    ] {
        let answer = registry.send(head);
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let id = answer.lines().find_map(|line| line.strip_prefix("request_id: ")).expect("an id");
        let line = registry.line_with("module=ACCESS");
        let bytes = format!("byteswritten={} ", body.len());
        for wanted in wanted.iter().chain(&[id, &bytes, "client=127.0.0.1", "elapsedtime="]) {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
        assert!(!line.contains("hidden") && !line.contains("some-id"), "{line}");
    }
}

#[test]
fn at_info_requests_have_no_lines() {
    let registry = Process::start(&["--log_level", "info"]);
    registry.send("GET /api/v1/services HTTP/1.1");
    registry.send("GET /nothing HTTP/1.1");
    drop(registry.send("DELETE /api/v1/instances/x HTTP/1.1"));
    let Process { child, lines, .. } = &registry;
    let stopped = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(stopped.success());
    let rest: Vec<_> = std::iter::from_fn(|| lines.recv_timeout(Duration::from_secs(20)).ok()).collect();
    assert!(rest.iter().any(|line| line.contains("stopped")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("ACCESS")), "{rest:?}");
}

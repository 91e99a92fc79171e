//! An API server of Kubernetes as small as a test needs it: lists page by page, watches line by line, forgets its
//! history, refuses.
//!
//! Never: checks what it is given, or answers what nobody followed here asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// A cluster that runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// By `namespace/resource`, then by name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    history: Vec<(u64, String, Value)>,
    /// What happened up to here is forgotten.
    compacted: u64,
    namespaces: BTreeSet<String>,
    /// Resources that are answered with a status.
    refused: BTreeMap<&'static str, u16>,
    token: Option<String>,
    asked: Vec<String>,
    open: Vec<TcpStream>,
    is_over: bool,
}

/// Objects on a page, when more were asked for.
const PAGE: usize = 2;

// === impl Cluster ===

impl Cluster {
    /// One that has these namespaces.
    pub(crate) fn start(namespaces: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let state = State { version: 98, namespaces, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        let acceptor = thread::spawn(move || {
            let mut conversations = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let mut state = accepting.state();
                if state.is_over {
                    break;
                }
                state.open.push(stream.try_clone().expect("a descriptor"));
                drop(state);
                let shared = accepting.clone();
                conversations.push(thread::spawn(move || {
                    let copy = stream.try_clone().expect("a descriptor");
                    shared.converse(stream);
                    // It may have ended already.
                    let _ = copy.shutdown(Shutdown::Both);
                }));
            }
            for conversation in conversations {
                let _ = conversation.join();
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The flag that makes a registry follow it.
    pub(crate) fn flag(&self) -> String {
        format!("--k8s_url=http://127.0.0.1:{}", self.port())
    }

    /// Where it listens, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Puts an object, whose name is in its metadata.
    pub(crate) fn put(&self, resource: &str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.shared.change(|state| {
            let version = state.version;
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let kind = if state.has(resource, &name) { "MODIFIED" } else { "ADDED" };
            let some = state.objects.entry(resource.to_owned()).or_default();
            some.insert(name, object.clone());
            state.history.push((version, resource.to_owned(), json!({"type": kind, "object": object})));
        });
    }

    /// Takes an object away, if it is there.
    pub(crate) fn delete(&self, resource: &str, name: &str) {
        self.shared.change(|state| {
            let gone = state.objects.get_mut(resource).and_then(|some| some.remove(name));
            if let Some(mut object) = gone {
                let version = state.version;
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                let event = json!({"type": "DELETED", "object": object});
                state.history.push((version, resource.to_owned(), event));
            }
        });
    }

    /// The names of what it has.
    pub(crate) fn names(&self, resource: &str) -> Vec<String> {
        self.shared.state().objects.get(resource).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Tells all watches the newest version.
    pub(crate) fn bookmark(&self, resource: &str) {
        self.shared.change(|state| {
            let version = state.version;
            let object = json!({"metadata": {"resourceVersion": version.to_string()}});
            let event = json!({"type": "BOOKMARK", "object": object});
            state.history.push((version, resource.to_owned(), event));
        });
    }

    /// Forgets what happened; watches that are open end.
    pub(crate) fn forget_history(&self) {
        self.shared.change(|state| {
            state.compacted = state.version;
            state.history.clear();
        });
        self.cut();
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        for stream in self.shared.state().open.drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }

    /// From now on a resource is answered so; none: as it should be.
    pub(crate) fn refuse(&self, resource: &'static str, status: Option<u16>) {
        let mut state = self.shared.state();
        match status {
            Some(status) => state.refused.insert(resource, status),
            None => state.refused.remove(resource),
        };
    }

    /// From now on only this token is taken.
    pub(crate) fn wants(&self, token: &str) {
        self.shared.state().token = Some(token.to_owned());
        self.cut();
    }

    /// The paths that were asked for, with their queries.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.state().asked.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.cut();
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        state.version += 1;
        change(&mut state);
        drop(state);
        self.changed.notify_all();
    }

    /// Answers the requests of a connection until it ends.
    fn converse(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((path, token)) = read(&mut stream) {
            let mut state = self.state();
            state.asked.push(path.clone());
            let is_refused = state.token.as_ref().is_some_and(|wanted| *wanted != token);
            drop(state);
            let said = if is_refused {
                say(&mut stream, 401, &json!({"kind": "Status", "code": 401}))
            } else {
                self.answer(&mut stream, &path)
            };
            if said.is_err() {
                return;
            }
        }
    }

    fn answer(&self, stream: &mut BufReader<TcpStream>, path: &str) -> std::io::Result<()> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        match parts[..] {
            ["version"] => say(stream, 200, &json!({"gitVersion": "v1.34.0"})),
            ["api", "v1", "namespaces", name] => {
                if self.state().namespaces.contains(name) {
                    return say(stream, 200, &json!({"kind": "Namespace"}));
                }
                let details = json!({"name": name, "kind": "namespaces"});
                say(stream, 404, &json!({"kind": "Status", "code": 404, "details": details}))
            }
            ["api", "v1", "namespaces", namespace, resource @ ("pods" | "endpoints")]
            | ["apis", "discovery.k8s.io", "v1", "namespaces", namespace, resource @ "endpointslices"] => {
                if let Some(status) = self.state().refused.get(resource).copied() {
                    return say(stream, status, &json!({"kind": "Status", "code": status}));
                }
                let key = format!("{namespace}/{resource}");
                match query.get("watch") {
                    Some(_) => self.watch(stream, &key, query["resourceVersion"]),
                    None => say(stream, 200, &self.list(&key, &query)),
                }
            }
            _ => say(stream, 404, &json!({"kind": "Status", "code": 404})),
        }
    }

    fn list(&self, key: &str, query: &BTreeMap<&str, &str>) -> Value {
        let state = self.state();
        let none = BTreeMap::new();
        let all = state.objects.get(key).unwrap_or(&none);
        let from: usize = query.get("continue").map_or(0, |from| from.parse().expect("our own token"));
        let items: Vec<_> = all.values().skip(from).take(PAGE).cloned().collect();
        let next = from + items.len();
        let next = if next < all.len() { next.to_string() } else { String::new() };
        json!({"metadata": {"resourceVersion": state.version.to_string(), "continue": next}, "items": items})
    }

    /// Tells what happens until the connection ends.
    fn watch(&self, stream: &mut BufReader<TcpStream>, key: &str, since: &str) -> std::io::Result<()> {
        let stream = stream.get_mut();
        let mut since: u64 = since.parse().expect("a version of ours");
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            let state = self.state();
            if since < state.compacted {
                drop(state);
                chunk(stream, &json!({"type": "ERROR", "object": {"kind": "Status", "code": 410}}))?;
                return stream.write_all(b"0\r\n\r\n");
            }
            let is_new = |(version, of, _): &&(u64, String, Value)| since < *version && of == key;
            let events: Vec<_> = state.history.iter().filter(is_new).cloned().collect();
            if events.is_empty() {
                if state.is_over || is_closed(stream)? {
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                let waited = self.changed.wait_timeout(state, Duration::from_secs(1));
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            drop(state);
            for (version, _, event) in events {
                since = version;
                chunk(stream, &event)?;
            }
        }
    }
}

// === impl State ===

impl State {
    fn has(&self, resource: &str, name: &str) -> bool {
        self.objects.get(resource).is_some_and(|some| some.contains_key(name))
    }
}

fn is_closed(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let is_closed = stream.peek(&mut [0]).is_ok_and(|read| read == 0);
    stream.set_nonblocking(false)?;
    Ok(is_closed)
}

/// A line in two chunks, cut in the middle.
fn chunk(stream: &mut TcpStream, event: &Value) -> std::io::Result<()> {
    let line = format!("{event}\n");
    let mut middle = line.len() / 2;
    while !line.is_char_boundary(middle) {
        middle += 1;
    }
    for part in [&line[..middle], &line[middle..]] {
        stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes())?;
        stream.flush()?;
    }
    Ok(())
}

fn say(stream: &mut BufReader<TcpStream>, status: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    stream.get_mut().write_all(format!("{head}\r\n\r\n{body}").as_bytes())
}

/// A request's path and token; none at the end of the connection.
fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    let mut token = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = value.trim_start_matches("Bearer ").to_owned();
            }
            Some(_) => {}
            None => first = line.to_owned(),
        }
    }
    let path = first.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    Some((path.to_owned(), token))
}

//! A Docker engine as far as its swarm is concerned, on a Unix socket, in the words of a recorded one.
//!
//! Never: outlives its owner.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

/// An engine that answers.
pub(crate) struct Engine {
    dir: TempDir,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What it answers with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mood {
    /// With its lists.
    Well,
    /// With this status and message.
    Refusing(u16, &'static str),
    /// With these bytes in place of each list.
    Babbling(&'static str),
}

/// What it has.
#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    pub(crate) services: Value,
    pub(crate) nodes: Value,
    pub(crate) tasks: Value,
}

struct Shared {
    world: Mutex<World>,
}

struct World {
    swarm: Swarm,
    mood: Mood,
    asked: Vec<String>,
    /// All connections, to be broken off, and those that want events.
    open: Vec<UnixStream>,
    events: Vec<UnixStream>,
    is_over: bool,
}

// === impl Swarm ===

impl Swarm {
    /// What an engine (20.10) had once: a service on a network, one with a port on all nodes, one with a port on its own.
    pub(crate) fn recorded() -> Self {
        let read = |name: &str| {
            let path = format!("{}/tests/fixtures/swarm/{name}.json", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
        };
        Self { services: read("services"), nodes: read("nodes"), tasks: read("tasks") }
    }

    /// Services whose tasks have these addresses on the network `app`, all with one port.
    pub(crate) fn with(instances: &[(&str, &str)]) -> Self {
        let mut swarm = Self { services: json!([]), nodes: Self::recorded().nodes, tasks: json!([]) };
        for (nth, (service, address)) in instances.iter().enumerate() {
            let (address, port) = address.rsplit_once(':').expect("a port");
            let services = swarm.services.as_array_mut().expect("a list");
            if !services.iter().any(|it| it["ID"] == *service) {
                let labels = json!({"a8.endpoint.port": port, "a8.endpoint.type": "http"});
                services.push(json!({"ID": service, "Spec": {"Name": service, "Labels": labels}, "Endpoint": {"Spec": {}}}));
            }
            swarm.tasks.as_array_mut().expect("a list").push(json!({
                "ID": format!("t{nth}"), "ServiceID": service, "Slot": nth, "NodeID": swarm.nodes[0]["ID"],
                "Status": {"State": "running", "PortStatus": {}}, "DesiredState": "running",
                "NetworksAttachments": [{
                    "Network": {"ID": "n1", "Spec": {"Name": "app"}}, "Addresses": [format!("{address}/24")],
                }],
            }));
        }
        swarm
    }
}

// === impl Engine ===

impl Engine {
    #[track_caller]
    pub(crate) fn start(swarm: Swarm) -> Self {
        let world = World {
            swarm,
            mood: Mood::Well,
            asked: Vec::new(),
            open: Vec::new(),
            events: Vec::new(),
            is_over: false,
        };
        let shared = Arc::new(Shared { world: Mutex::new(world) });
        let mut engine = Self { dir: TempDir::new().expect("a directory"), shared, acceptor: None };
        engine.listen();
        engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    pub(crate) fn flag(&self) -> String {
        format!("--swarm_url=unix://{}", self.socket().display())
    }

    pub(crate) fn set(&self, swarm: Swarm) {
        self.shared.world().swarm = swarm;
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.shared.world().mood = mood;
    }

    /// Tells those who listen that something happened.
    pub(crate) fn happen(&self) {
        let event = b"{\"Type\":\"service\",\"Action\":\"update\",\"scope\":\"swarm\"}\n";
        let mut world = self.shared.world();
        world.events.retain_mut(|stream| {
            let chunk = [format!("{:x}\r\n", event.len()).as_bytes(), event, b"\r\n"].concat();
            stream.write_all(&chunk).is_ok()
        });
    }

    /// How many listen to events.
    pub(crate) fn listeners(&self) -> usize {
        self.shared.world().events.len()
    }

    /// The paths that were asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.world().asked.clone()
    }

    /// Ends as a process does: no socket, no connection.
    pub(crate) fn stop(&mut self) {
        self.shared.world().is_over = true;
        // Wakes the acceptor.
        drop(UnixStream::connect(self.socket()));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("it does not panic");
        }
        drop(fs::remove_file(self.socket()));
    }

    /// Listens, for the first time or again.
    #[track_caller]
    pub(crate) fn listen(&mut self) {
        self.shared.world().is_over = false;
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        let shared = self.shared.clone();
        self.acceptor = Some(thread::spawn(move || {
            let mut readers = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let mut world = shared.world();
                if world.is_over {
                    break;
                }
                world.open.retain(|stream| stream.take_error().is_ok());
                world.open.push(stream.try_clone().expect("a descriptor"));
                drop(world);
                let shared = shared.clone();
                readers.push(thread::spawn(move || shared.answer(stream)));
            }
            let mut world = shared.world();
            world.events.clear();
            for stream in world.open.drain(..) {
                // It may have ended already.
                drop(stream.shutdown(std::net::Shutdown::Both));
            }
            drop(world);
            for reader in readers {
                reader.join().expect("it does not panic");
            }
        }));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Shared ===

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the one request of a connection.
    fn answer(&self, mut stream: UnixStream) {
        let mut lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
        let Some(Ok(first)) = lines.next() else { return };
        for line in lines {
            match line {
                Ok(line) if line.is_empty() => break,
                Ok(_) => {}
                Err(_) => return,
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut world = self.world();
        world.asked.push(path.clone());
        let body = match path.split('?').next() {
            Some("/events") if world.mood == Mood::Well => {
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                if stream.write_all(head.as_bytes()).is_ok() {
                    world.events.push(stream);
                }
                return;
            }
            Some("/services") => world.swarm.services.to_string(),
            Some("/nodes") => world.swarm.nodes.to_string(),
            Some("/tasks") => world.swarm.tasks.to_string(),
            _ => String::new(),
        };
        let mood = world.mood.clone();
        drop(world);
        let whole = |status: u16, body: &str| {
            format!(
                "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let text = match mood {
            Mood::Well => whole(200, &body),
            Mood::Refusing(status, message) => whole(status, &json!({"message": message}).to_string()),
            Mood::Babbling(text) => whole(200, text),
        };
        // Whoever asked may have gone.
        drop(stream.write_all(text.as_bytes()));
        drop(stream.shutdown(std::net::Shutdown::Both));
    }
}

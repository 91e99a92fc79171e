//! A Eureka server that only takes notes, for a registry that replicates to it.
//!
//! Never: keeps a registry of its own; what it answers is what the test says.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use flate2::read::GzDecoder;
use http::request::Parts;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::PATIENCE;

/// A server on a loopback port; it ends with its owner.
pub(crate) struct Peer {
    url: String,
    notes: Arc<Notes>,
    /// Dropped to end the server.
    _runtime: Runtime,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    /// Such as `POST /eureka/v2/peerreplication/batch/`.
    pub(crate) line: String,
    head: Parts,
    /// Decoded.
    pub(crate) body: String,
}

struct Notes {
    taken: Mutex<Vec<Noted>>,
    changed: Condvar,
    /// The answer to a request, if it is not the usual one.
    answer: Box<Answers>,
}

/// From a request, and how many of its kind came before, to a status and a body.
type Answers = dyn Fn(&Noted, usize) -> Option<(u16, Value)> + Send + Sync;

// === impl Peer ===

impl Peer {
    /// A peer that knows nothing and agrees to everything.
    #[track_caller]
    pub(crate) fn agreeing() -> Self {
        Self::answering(|_, _| None)
    }

    /// A peer that answers so, and agrees where that is none.
    #[track_caller]
    pub(crate) fn answering(
        answer: impl Fn(&Noted, usize) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        Self::serving(0, Box::new(answer))
    }

    /// An agreeing peer on a port that was free a moment ago.
    #[track_caller]
    pub(crate) fn at(port: u16) -> Self {
        Self::serving(port, Box::new(|_, _| None))
    }

    #[track_caller]
    fn serving(port: u16, answer: Box<Answers>) -> Self {
        let notes = Notes { taken: Mutex::default(), changed: Condvar::new(), answer };
        let notes = Arc::new(notes);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(take_note).with_state(notes.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/eureka/v2/"), notes, _runtime: runtime }
    }

    /// The flag that makes a registry replicate to it.
    pub(crate) fn flag(&self) -> String {
        format!("--eureka_peer_url {}", self.url)
    }

    /// All requests so far.
    pub(crate) fn taken(&self) -> Vec<Noted> {
        self.notes.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All items of all batches so far.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.taken().iter().flat_map(Noted::items).collect()
    }

    /// The first item with this action and id, as soon as it came.
    #[track_caller]
    pub(crate) fn item(&self, action: &str, id: &str) -> Value {
        self.nth_item(action, id, 0)
    }

    /// The same after so many others like it.
    #[track_caller]
    pub(crate) fn nth_item(&self, action: &str, id: &str, number: usize) -> Value {
        let begun = Instant::now();
        let mut taken = self.notes.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut items = taken.iter().flat_map(Noted::items);
            if let Some(found) = items.by_ref().filter(|it| is(it, action, id)).nth(number) {
                return found;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "no {action} of {id} with number {number} came: {taken:#?}");
            let woken = self.notes.changed.wait_timeout(taken, left);
            taken = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whether an item is an action upon an id.
pub(crate) fn is(item: &Value, action: &str, id: &str) -> bool {
    item["action"] == action && item["id"] == id
}

async fn take_note(State(notes): State<Arc<Notes>>, head: Parts, body: Bytes) -> Response {
    let body = match head.headers.get("content-encoding") {
        None => String::from_utf8_lossy(&body).into_owned(),
        Some(_) => {
            let mut text = String::new();
            // A body that is not sound leaves a text that no test expects.
            let _ = GzDecoder::new(&body[..]).read_to_string(&mut text);
            text
        }
    };
    let noted = Noted { line: format!("{} {}", head.method, head.uri), head, body };
    let before = {
        let mut taken = notes.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(noted.clone());
        notes.changed.notify_all();
        taken[..taken.len() - 1].iter().filter(|other| other.line == noted.line).count()
    };
    let (status, answer) = (notes.answer)(&noted, before).unwrap_or_else(|| noted.agreed());
    let response = Response::builder().status(status);
    match answer {
        Value::Null => response.body(Body::empty()),
        answer => response.header("content-type", "application/json").body(answer.to_string().into()),
    }
    .expect("an answer")
}

// === impl Noted ===

impl Noted {
    /// The value of a header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.line.contains("/peerreplication/batch")
    }

    /// The items of a batch; none in other requests.
    pub(crate) fn items(&self) -> Vec<Value> {
        if !self.is_batch() {
            return Vec::new();
        }
        let body: Value = serde_json::from_str(&self.body).expect("a batch is JSON");
        body["replicationList"].as_array().expect("a list").clone()
    }

    /// The answer to a batch, with another result for some items.
    pub(crate) fn results(&self, result: impl Fn(&Value) -> Option<Value>) -> Value {
        let good = || json!({"statusCode": 200});
        let results: Vec<_> = self.items().iter().map(|item| result(item).unwrap_or_else(good)).collect();
        json!({ "responseList": results })
    }

    fn agreed(&self) -> (u16, Value) {
        let nothing = json!({"versions__delta": "1", "apps__hashcode": "", "application": []});
        let (method, path) = self.line.split_once(' ').expect("a method and a path");
        match method {
            "GET" if path.contains("/apps/T") => (404, Value::Null),
            "GET" => (200, json!({ "applications": nothing })),
            "POST" if self.is_batch() => (200, self.results(|_| None)),
            "POST" => (204, Value::Null),
            _ => (200, Value::Null),
        }
    }
}

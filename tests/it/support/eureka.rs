//! A client that speaks Eureka below one root, and documents to register.
//!
//! Never: sends a header that the test did not ask for, or decodes a content coding unasked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{Answer, Client, Daemon};

pub(crate) const JSON: &str = "application/json";
pub(crate) const XML: &str = "application/xml";

/// What a replicated call carries.
pub(crate) const REPLICATION: &str = "x-netflix-discovery-replication: true";

/// What the JDK adds by itself to calls that name no type.
pub(crate) const JDK_ACCEPT: &str = "Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";

/// All the places where the API is found, as clients are configured with them.
pub(crate) const ROOTS: [&str; 4] = ["/eureka/v2", "/eureka", "/v2", "/api/eureka/default/v2"];

/// The class of every data center but Amazon's.
pub(crate) const MY_OWN: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";

/// Who speaks Eureka: where, and with which headers.
#[derive(Debug, Clone)]
pub(crate) struct Eureka {
    client: Client,
    root: String,
}

/// A registry and a client of it at `/eureka/v2` that accepts JSON.
#[track_caller]
pub(crate) fn start(flags: &str) -> (Daemon, Eureka) {
    let daemon = Daemon::start(flags);
    let eureka = Eureka::of(&daemon).with("Accept: application/json");
    (daemon, eureka)
}

/// As little as can be registered.
pub(crate) fn document(app: &str, id: &str) -> Value {
    json!({
        "instanceId": id, "hostName": "host.test", "app": app, "ipAddr": "10.0.0.1",
        "dataCenterInfo": {"@class": MY_OWN, "name": "MyOwn"},
    })
}

/// The document with these members put in; null takes one out.
pub(crate) fn with(mut document: Value, members: &Value) -> Value {
    let inside = document.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Value::Null => drop(inside.remove(name)),
            value => drop(inside.insert(name.clone(), value.clone())),
        }
    }
    document
}

/// A document of application `T` with its version and status.
pub(crate) fn versioned(id: &str, version: u64, status: &str) -> Value {
    with(document("T", id), &json!({"lastDirtyTimestamp": version.to_string(), "status": status}))
}

/// A document of application `T` with a lease of so many seconds.
pub(crate) fn leased(id: &str, seconds: u64) -> Value {
    let lease = json!({"durationInSecs": seconds, "renewalIntervalInSecs": 1});
    with(document("T", id), &json!({"leaseInfo": lease}))
}

pub(crate) fn now_millis() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since_1970.as_millis()).expect("before the year 10000")
}

/// Waits until the clock shows another millisecond.
pub(crate) fn next_millisecond() {
    std::thread::sleep(Duration::from_millis(2));
}

pub(crate) fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// The instances of an `applications` document by application and id, which must not repeat.
#[track_caller]
pub(crate) fn by_id(applications: &Value) -> BTreeMap<(String, String), Value> {
    let mut all = BTreeMap::new();
    for application in applications["application"].as_array().expect("a list of applications") {
        let name = application["name"].as_str().expect("a name");
        for instance in application["instance"].as_array().expect("a list of instances") {
            let id = instance["instanceId"]
                .as_str()
                .unwrap_or_else(|| instance["hostName"].as_str().expect("what has no id has a host name"));
            assert_eq!(instance["app"], name);
            let before = all.insert((name.to_owned(), id.to_owned()), instance.clone());
            assert!(before.is_none(), "{name} lists {id} twice: {applications}");
        }
    }
    all
}

/// The hash code that a set of instances must have.
pub(crate) fn hash_of<'a>(instances: impl IntoIterator<Item = &'a Value>) -> String {
    let mut counts = BTreeMap::<&str, u32>::new();
    for instance in instances {
        *counts.entry(instance["status"].as_str().expect("a status")).or_default() += 1;
    }
    counts.iter().map(|(status, count)| format!("{status}_{count}_")).collect()
}

// === impl Eureka ===

impl Eureka {
    /// A client at `/eureka/v2` that says nothing about itself.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self::by(daemon.client())
    }

    pub(crate) fn by(client: Client) -> Self {
        Self { client, root: "/eureka/v2".into() }
    }

    /// The same below another root.
    pub(crate) fn at(&self, root: &str) -> Self {
        Self { root: root.into(), ..self.clone() }
    }

    /// The same with one more header line.
    pub(crate) fn with(&self, header: &str) -> Self {
        Self { client: self.client.with(header), ..self.clone() }
    }

    /// Sends a request without a body, such as `GET apps/T`; a path with a slash in front is whole.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str) -> Answer {
        self.client.send(&self.line(line), "")
    }

    /// Sends a body of a type, or of none.
    #[track_caller]
    pub(crate) fn send(&self, line: &str, media: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut client = self.client.with(&format!("Content-Length: {}", body.len()));
        if !media.is_empty() {
            client = client.with(&format!("Content-Type: {media}"));
        }
        let mut bytes = client.request(&self.line(line), "").into_bytes();
        bytes.extend_from_slice(body);
        self.raw(bytes)
    }

    /// Sends what is there.
    #[track_caller]
    pub(crate) fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.client.connect();
        connection.write(bytes);
        connection.answer()
    }

    /// The head of a request with these headers and the client's own.
    pub(crate) fn head(&self, line: &str, headers: &[&str]) -> String {
        let client = headers.iter().fold(self.client.clone(), |client, header| client.with(header));
        client.request(&self.line(line), "")
    }

    fn line(&self, line: &str) -> String {
        let (method, path) = line.split_once(' ').expect("a method and a path");
        if path.starts_with('/') { line.to_owned() } else { format!("{method} {}/{path}", self.root) }
    }

    /// Posts a document to its application.
    #[track_caller]
    pub(crate) fn post(&self, document: &Value) -> Answer {
        let app = document["app"].as_str().expect("an application");
        self.post_to(app, document)
    }

    #[track_caller]
    pub(crate) fn post_to(&self, app: &str, document: &Value) -> Answer {
        self.send(&format!("POST apps/{app}"), JSON, json!({ "instance": document }).to_string())
    }

    /// Posts a document, which must be taken.
    #[track_caller]
    pub(crate) fn register(&self, document: &Value) {
        self.post(document).empty(204);
    }

    /// Sends one replicated change after another in a batch, and answers the results.
    #[track_caller]
    pub(crate) fn batch(&self, items: &Value) -> Vec<Value> {
        let body = json!({ "replicationList": items }).to_string();
        let answer = self.send("POST peerreplication/batch/", JSON, body);
        let answer = answer.ok().json();
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
        answer["responseList"].as_array().expect("a list").clone()
    }

    /// What is inside of `applications`.
    #[track_caller]
    pub(crate) fn list(&self, path: &str) -> Value {
        inside(&self.ask(&format!("GET {path}")), "applications")
    }

    /// One instance of `T`.
    #[track_caller]
    pub(crate) fn one(&self, id: &str) -> Value {
        self.one_of("T", id)
    }

    #[track_caller]
    pub(crate) fn one_of(&self, app: &str, id: &str) -> Value {
        inside(&self.ask(&format!("GET apps/{app}/{id}")), "instance")
    }

    /// Status and overridden status of an instance of `T`.
    #[track_caller]
    pub(crate) fn statuses(&self, id: &str) -> [String; 2] {
        let one = self.one(id);
        ["status", "overriddenStatus"].map(|name| one[name].as_str().expect("a status").to_owned())
    }

    #[track_caller]
    pub(crate) fn overrides(&self) -> Value {
        let answer = self.ask("GET /eureka/serverinfo/statusoverrides");
        assert_eq!(answer.header("content-type"), JSON);
        answer.ok().json()
    }
}

/// What stands inside of the one member of a JSON document.
#[track_caller]
pub(crate) fn inside(answer: &Answer, wrapper: &str) -> Value {
    let mut whole = answer.ok().json();
    assert_eq!(answer.header("content-type"), JSON);
    assert_eq!(whole.as_object().map(serde_json::Map::len), Some(1), "{whole}");
    assert!(whole[wrapper].is_object(), "{whole}");
    whole[wrapper].take()
}

// === impl Answer ===

impl Answer {
    /// Nothing but a status.
    #[track_caller]
    pub(crate) fn empty(&self, status: u16) -> &Self {
        assert_eq!((self.status, self.text()), (status, String::new()));
        if status != 204 {
            assert_eq!(self.header("content-length"), "0", "{status}");
        }
        self
    }

    /// The text that a gzip body holds.
    #[track_caller]
    pub(crate) fn unzipped(&self) -> String {
        assert_eq!(self.header("content-encoding"), "gzip");
        let mut text = String::new();
        GzDecoder::new(&self.body[..]).read_to_string(&mut text).expect("sound");
        text
    }

    /// An XML document with this root element.
    #[track_caller]
    pub(crate) fn xml(&self, root: &str) -> String {
        let text = self.ok().text();
        assert_eq!(self.header("content-type"), XML, "{text}");
        let trimmed = text.trim();
        assert!(
            trimmed.starts_with(&format!("<{root}")) && trimmed.ends_with(&format!("</{root}>")),
            "{text}"
        );
        text
    }
}

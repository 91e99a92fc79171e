//! The catalog of files: what may lie in a folder, how it may change, and how soon that is seen.
//!
//! What every catalog keeps to is in the chapter on catalogs.
//! Never: waits longer for a change than a registry may take that nobody tells of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::catalogs::{health, until_shown};
use crate::support::client::instance;
use crate::support::{Client, Daemon, Setup, eventually};

/// A folder `cat` in one of its own.
struct Files(TempDir);

/// What a change takes at most to be seen, and as much for a machine that does something else as well.
const SEEN: Duration = Duration::from_secs(2 * 2);

// === impl Files ===

impl Files {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        fs::create_dir(dir.path().join("cat")).expect("created");
        Self(dir)
    }

    fn cat(&self) -> PathBuf {
        self.0.path().join("cat")
    }

    /// Writes a file as it is, anywhere in the outer folder.
    #[track_caller]
    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("written");
    }

    /// A file with an instance of the service `s` for each address.
    #[track_caller]
    fn write(&self, name: &str, addresses: &[&str]) {
        self.put(name, &file(addresses));
    }

    #[track_caller]
    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.0.path().join(from), self.0.path().join(to)).expect("renamed");
    }

    #[track_caller]
    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.0.path().join(name)).expect("linked");
    }

    fn setup(&self) -> Setup {
        Setup::new("").arg(format!("--fs_catalog={}", self.cat().display()))
    }

    #[track_caller]
    fn start(&self) -> Daemon {
        self.setup().start()
    }
}

fn file(addresses: &[&str]) -> String {
    json!({"instances": addresses.iter().map(|address| instance("s", address)).collect::<Vec<_>>()})
        .to_string()
}

/// Waits until the addresses of all that is shown are these, which must be soon.
#[track_caller]
fn seen(client: &Client, addresses: &[&str]) {
    let begun = Instant::now();
    until_shown(client, addresses);
    assert!(begun.elapsed() < SEEN, "{addresses:?} came after {:?}", begun.elapsed());
}

#[test]
fn the_folder_is_read_before_the_first_answer() {
    let files = Files::new();
    files.put(
        "cat/default.json",
        r#"{"instances": [{"service_name": "db", "endpoint": {"type": "tcp", "value": "db:1"}, "ttl": 45,
            "tags": ["x"], "metadata": {"a": 1}, "status": "starting"}]}"#,
    );
    files.write("cat/acme.conf", &["a:1"]);
    let registry = files.setup().args("--auth_mode trusted").start();
    let client = registry.client();
    let list = client.bearer("default").get("/api/v1/services/db").ok().json();
    let shown = &list["instances"][0];
    assert_eq!(shown["status"], "STARTING");
    assert_eq!(shown["tags"], json!(["x", "filesystem"]));
    assert_eq!(shown["metadata"], json!({"a": 1}));
    assert_eq!(shown["last_heartbeat"], "0001-01-01T00:00:00Z");
    assert_eq!(shown["ttl"], Value::Null);
    assert_eq!(client.bearer("acme").get("/api/v1/services").ok().json(), json!({"services": ["s"]}));
}

#[test]
fn changes_of_every_kind_are_seen_within_two_seconds() {
    let files = Files::new();
    let registry = files.start();
    let client = registry.client();
    files.write("cat/default.json", &["a:1"]);
    seen(&client, &["a:1"]);
    // Written over in place, as long as before.
    files.write("cat/default.json", &["b:1"]);
    seen(&client, &["b:1"]);
    files.write("cat/new", &["c:1", "c:2"]);
    files.rename("cat/new", "cat/default.json");
    seen(&client, &["c:1", "c:2"]);
    fs::remove_file(files.cat().join("default.json")).expect("removed");
    seen(&client, &[]);
    files.write("cat/default.conf", &["d:1"]);
    seen(&client, &["d:1"]);
    files.write("cat/default.json", &["e:1"]);
    seen(&client, &["e:1"]);
    files.rename("cat/default.json", "cat/default.conf");
    seen(&client, &["e:1"]);
    fs::remove_dir_all(files.cat()).expect("removed");
    seen(&client, &[]);
    fs::create_dir(files.cat()).expect("created");
    files.write("cat/default.json", &["f:1"]);
    seen(&client, &["f:1"]);
    // The folder that is there now is followed, not the one that was.
    files.write("cat/default.json", &["g:1"]);
    seen(&client, &["g:1"]);
}

/// Nothing happens in the folder itself when what its links lead to is changed.
#[test]
fn changes_that_the_system_does_not_tell_of_are_seen() {
    let files = Files::new();
    for (version, address) in [("one", "a:1"), ("two", "b:1")] {
        fs::create_dir(files.0.path().join(version)).expect("created");
        files.write(&format!("{version}/file"), &[address]);
    }
    files.link("one", "current");
    files.link("../current/file", "cat/default.json");
    let registry = files.start();
    let client = registry.client();
    seen(&client, &["a:1"]);
    files.link("two", "next");
    files.rename("next", "current");
    seen(&client, &["b:1"]);
    files.write("two/file", &["c:1"]);
    seen(&client, &["c:1"]);
    fs::remove_file(files.0.path().join("current")).expect("removed");
    seen(&client, &[]);
}

/// As Kubernetes does it: all files are links by way of one link, which is replaced.
#[test]
fn a_volume_that_is_swapped_is_seen_without_a_gap() {
    let files = Files::new();
    let version = |name: &str, address: &str| {
        fs::create_dir(files.cat().join(name)).expect("created");
        files.write(&format!("cat/{name}/default.json"), &[address, "stays:1"]);
        files.link(name, "cat/..data_tmp");
        files.rename("cat/..data_tmp", "cat/..data");
    };
    version("..2026_01", "a:1");
    files.link("..data/default.json", "cat/default.json");
    let registry = files.start();
    let client = registry.client();
    seen(&client, &["a:1", "stays:1"]);
    let mut last = "..2026_01".to_owned();
    for round in 2..12 {
        let (name, address) = (format!("..2026_{round:02}"), format!("a:{round}"));
        version(&name, &address);
        fs::remove_dir_all(files.cat().join(&last)).expect("removed");
        last = name;
        let begun = Instant::now();
        loop {
            let list = client.get("/api/v1/instances").ok().json().to_string();
            assert!(list.contains("stays:1"), "{list}");
            if list.contains(&format!("\"{address}\"")) {
                break;
            }
            assert!(begun.elapsed() < SEEN, "{address} is not seen: {list}");
        }
    }
}

#[test]
fn a_broken_file_keeps_what_it_had_and_is_named_with_its_place() {
    let files = Files::new();
    files.put("cat/default.json", "{\"instances\": [\n  {]");
    let registry = files.start();
    let client = registry.client();
    assert_eq!(client.get("/api/v1/services").ok().json(), json!({"services": []}));
    let line = registry.logged("default.json: line 2, column 4: is not JSON: key must be a string");
    assert!(line.contains("what it held before stays"), "{line}");
    let error = || health(&client, "filesystem")["last_error"].as_str().map(ToOwned::to_owned);
    let error = eventually("health says so, too", error);
    assert!(!error.contains("default"), "health is for everybody: {error}");
    assert_eq!(client.get("/health/ready").status, 200);

    files.write("cat/default.json", &["a:1", "a:2"]);
    seen(&client, &["a:1", "a:2"]);
    let whole = file(&["b:1", "b:2"]);
    let (half, rest) = whole.split_at(whole.len() / 2);
    files.put("cat/default.json", half);
    registry.logged(&format!("default.json: line 1, column {}: is not JSON: EOF while parsing", half.len()));
    until_shown(&client, &["a:1", "a:2"]);
    files.put("cat/default.json", &format!("{half}{rest}"));
    seen(&client, &["b:1", "b:2"]);
    fs::remove_file(files.cat().join("default.json")).expect("removed");
    fs::create_dir(files.cat().join("default.json")).expect("created");
    seen(&client, &[]);
}

#[test]
fn wrong_entries_are_left_out_and_named_with_their_place() {
    let files = Files::new();
    files.put(
        "cat/default.json",
        &format!(
            "{{\"instances\": [\n{good},\n  {{\"service_name\": \"bad\"}}, {{\"service_name\": \"s\", \"endpoint\": \
             {{\"type\": \"ftp\", \"value\": \"x\"}}}},\n{good}, {same_place}]}}",
            good = instance("s", "a:1"),
            same_place = json!({"service_name": "s", "endpoint": {"type": "http", "value": "a:1"}, "tags": ["second"]}),
        ),
    );
    let registry = files.start();
    let client = registry.client();
    let list = client.get("/api/v1/services/s").ok().json();
    assert_eq!(list["instances"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["instances"][0]["tags"], json!(["filesystem"]), "the first counts");
    registry.logged("default.json: left out: line 3, column 3: endpoint is missing");
    registry.logged("default.json: left out: line 3, column 28: endpoint.type is ");
    registry.until_metric("a8_catalog_skipped_total{catalog=\"filesystem\"}", 2.0);
    let is_current = || (health(&client, "filesystem")["state"] == "current").then_some(());
    eventually("the file as such is well", is_current);
}

#[test]
fn a_namespace_has_no_file_but_its_own() {
    let files = Files::new();
    files.write("outside.json", &["secret:1"]);
    fs::create_dir(files.cat().join("a")).expect("created");
    files.write("cat/a/b.json", &["secret:2"]);
    files.write("cat/default.json", &["a:1"]);
    files.write("cat/.hidden.json", &["secret:3"]);
    let registry = files.setup().args("--auth_mode trusted").start();
    let client = registry.client();
    for name in
        ["../outside", "a/b", "a%2Fb", "./default", "default.json", "cat/default", ".hidden", "..", "*"]
    {
        let list = client.bearer(name).get("/api/v1/instances").ok().json();
        assert_eq!(list, json!({"instances": []}), "{name}");
    }
    seen(&client.bearer("default"), &["a:1"]);
}

/// What is not a file that can be read, is too long or too much is said and costs nothing.
#[test]
fn odd_files_do_no_harm() {
    let files = Files::new();
    files.write("cat/default.json", &["a:1"]);
    let long = fs::File::create(files.cat().join("long.json")).expect("created");
    long.set_len(65 * 1024 * 1024).expect("set");
    let fifo = std::process::Command::new("mkfifo").arg(files.cat().join("pipe.json")).status();
    assert!(fifo.expect("it runs").success());
    files.link("default.json", "cat/link.json");
    files.link("loop.json", "cat/loop.json");
    files.put("cat/nested.json", &format!("{{\"instances\":{}", "[".repeat(1_000_000)));
    let registry = files.start();
    let client = registry.client();
    seen(&client, &["a:1"]);
    registry.logged("long.json: has 68157440 bytes, at most 67108864 are allowed");
    registry.logged("loop.json: cannot be read");
    registry.logged("nested.json: line 1, column ");
    assert!(!registry.log().contains("pipe.json"));
    files.write("cat/default.json", &["b:1"]);
    seen(&client, &["b:1"]);
}

#[test]
fn a_file_that_stays_broken_is_said_once_whatever_happens_to_others() {
    let files = Files::new();
    for name in ["good", "bad"] {
        files.write(&format!("cat/{name}.json"), &["a:1"]);
    }
    let registry = files.setup().args("--auth_mode trusted --ops_token ops").start();
    let client = |name: &str| registry.client().bearer(name);
    let state = || health(&client("ops"), "filesystem");
    seen(&client("bad"), &["a:1"]);
    files.put("cat/bad.json", "{");
    eventually("it is said", || (state()["state"] == "failing").then_some(()));
    for address in ["b:1", "c:1", "d:1"] {
        files.write("cat/good.json", &[address]);
        seen(&client("good"), &[address]);
        assert_eq!((&state()["state"], &state()["failures"]), (&json!("failing"), &json!(1)));
    }
    seen(&client("bad"), &["a:1"]);
    files.write("cat/bad.json", &["e:1"]);
    seen(&client("bad"), &["e:1"]);
    registry.logged("catalog filesystem is followed again");
    eventually("it is well", || (state()["state"] == "current").then_some(()));
    let log = registry.log();
    for once in [
        "bad.json: line 1",
        "cannot be followed: 1 of its files",
        "bad.json is well again",
        "is followed again",
    ] {
        assert_eq!(log.matches(once).count(), 1, "{once}: {log}");
    }
}

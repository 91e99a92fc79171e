//! Members of one cluster on loopback, found by a shared directory.
//!
//! Never: waits longer than a deadline for members to agree.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Daemon, Setup, eventually};

/// Members that share a directory.
pub(super) struct Cluster {
    /// The directory is below it, so that it can be taken away.
    parent: TempDir,
    directory: PathBuf,
    flags: String,
    daemons: Vec<Option<Daemon>>,
}

/// A directory that was taken away.
pub(super) struct Aside {
    aside: PathBuf,
    directory: PathBuf,
}

// === impl Aside ===

impl Aside {
    #[track_caller]
    pub(super) fn put_back(self) {
        fs::remove_file(&self.directory).expect("it is ours");
        fs::rename(&self.aside, &self.directory).expect("it is ours");
    }
}

// === impl Cluster ===

impl Cluster {
    /// So many members with these flags, all of which know each other.
    #[track_caller]
    pub(super) fn start(count: usize, flags: &str) -> Self {
        let parent = TempDir::new().expect("a directory");
        let directory = parent.path().join("members");
        let mut cluster = Self { parent, directory, flags: flags.to_owned(), daemons: Vec::new() };
        for _ in 0..count {
            cluster.join("");
        }
        cluster.until_size(count);
        cluster
    }

    /// One more member with more flags; its number.
    #[track_caller]
    pub(super) fn join(&mut self, more: &str) -> usize {
        let nth = self.daemons.len();
        self.daemons.push(None);
        self.start_again(nth, more);
        nth
    }

    /// The member starts, and is ready when this returns.
    #[track_caller]
    pub(super) fn start_again(&mut self, nth: usize, more: &str) {
        let daemon = self.setup(nth).args(more).start();
        until_ready(&daemon);
        self.daemons[nth] = Some(daemon);
    }

    /// Each member on a loopback address of its own.
    fn setup(&self, nth: usize) -> Setup {
        let address = format!("127.0.0.{}", nth + 1);
        Setup::new("--store inmem --replication --cluster_dir")
            .arg(self.path().to_string_lossy())
            .args(&format!("--cluster_advertise {address} --replication_port 0 {}", self.flags))
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Takes the directory away, and puts a file in its place.
    #[track_caller]
    pub(super) fn aside(&self) -> Aside {
        let aside = self.parent.path().join("aside");
        fs::rename(&self.directory, &aside).expect("it is ours");
        while fs::write(&self.directory, "not a directory").is_err() {
            // A member was faster and made it anew.
            fs::remove_dir_all(&self.directory).expect("it is ours");
        }
        Aside { aside, directory: self.directory.clone() }
    }

    #[track_caller]
    pub(super) fn daemon(&self, nth: usize) -> &Daemon {
        self.daemons[nth].as_ref().expect("it runs")
    }

    #[track_caller]
    pub(super) fn take(&mut self, nth: usize) -> Daemon {
        self.daemons[nth].take().expect("it runs")
    }

    #[track_caller]
    pub(super) fn client(&self, nth: usize) -> Client {
        self.daemon(nth).client()
    }

    /// Those that run.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.daemons.iter().flatten().map(Daemon::client).collect()
    }

    /// Ends a member as a power failure would.
    #[track_caller]
    pub(super) fn kill(&mut self, nth: usize) {
        let daemon = self.take(nth);
        daemon.signal("KILL");
        daemon.wait();
    }

    /// Waits until all who run have so many members.
    #[track_caller]
    pub(super) fn until_size(&self, size: usize) {
        for daemon in self.daemons.iter().flatten() {
            eventually(&format!("{} has {size} members", daemon.address()), || {
                (size_of(&daemon.client()) == size).then_some(())
            });
        }
    }

    /// Waits until all who run list exactly these instances.
    #[track_caller]
    pub(super) fn agree_on(&self, ids: &[String]) {
        for client in self.clients() {
            agrees(&client, ids);
        }
    }
}

/// The place by which others reach a member.
#[track_caller]
pub(super) fn place_of(daemon: &Daemon) -> String {
    let line = daemon.logged("this is member ");
    let rest = line.split("this is member ").nth(1).expect("it is there");
    rest.split(' ').next().expect("a word").to_owned()
}

/// Members as `/uptime` has them.
#[track_caller]
pub(super) fn size_of(client: &Client) -> usize {
    let size = client.get("/uptime").json()["CLUSTER"]["properties"]["size"].as_u64();
    usize::try_from(size.expect("there is a cluster")).expect("a few")
}

#[track_caller]
pub(super) fn until_ready(daemon: &Daemon) {
    eventually("the member is ready", || (daemon.client().get("/health/ready").status == 200).then_some(()));
}

/// Less than a lease: what should not be there is not to go by itself.
const AGREEMENT: Duration = Duration::from_secs(15);

/// Waits until somebody lists exactly these.
#[track_caller]
pub(super) fn agrees(client: &Client, ids: &[String]) {
    let want: BTreeSet<_> = ids.iter().cloned().collect();
    let mut shown = BTreeSet::new();
    let begun = Instant::now();
    while begun.elapsed() < AGREEMENT {
        shown = client.ids("/api/v1/instances?status=ALL").into_iter().collect();
        if shown == want {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it lists {shown:?}, not {want:?}");
}

/// An instance with a lease of so many seconds.
pub(super) fn instance(value: &str, ttl: u32) -> Value {
    json!({"service_name": "web", "endpoint": {"type": "http", "value": value}, "ttl": ttl})
}

pub(super) fn shows(client: &Client, id: &str) -> bool {
    client.get(&format!("/api/v1/instances/{id}")).status == 200
}

/// A port that was free a moment ago.
#[track_caller]
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

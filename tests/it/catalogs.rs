//! What every catalog keeps to, whichever system it follows; each catalog's chapter plays it with a system of its own.
//!
//! Never: knows how a catalog asks; a [`Rig`] does.

mod trouble;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::{Client, Daemon, Far, Fault, FaultProxy, Redis, Setup, eventually};

pub(crate) use trouble::{Length, said_of_a_call, survive_all_faults};

/// What a catalog follows, as the contract needs it.
pub(crate) trait Rig {
    /// The word for the catalog in metrics and errors.
    fn catalog(&self) -> &'static str;

    /// The flags that make a registry follow it.
    fn flags(&self) -> Vec<String>;

    /// The address of the nth instance that it may have.
    fn place(&self, nth: u16) -> String {
        private_place(nth)
    }

    /// From now on it has exactly these: services and the addresses of their instances.
    fn has(&mut self, instances: &[(&str, &str)]);

    /// From now on it cannot be read, or not be believed.
    fn fails(&mut self);

    /// It is as before it failed.
    fn recovers(&mut self);
}

/// A foreign system that is asked by HTTP: a small one in the test's hand, or a real one.
pub(crate) trait System {
    /// The word for the catalog in metrics and errors.
    fn catalog(&self) -> &'static str;

    /// The flags that make a registry follow it when it is asked at this address, by plain HTTP.
    fn flags(&self, at: SocketAddr) -> Vec<String>;

    /// Where it is itself.
    fn far(&self) -> Far;

    /// The address of the nth instance that it may have.
    fn place(&self, nth: u16) -> String {
        private_place(nth)
    }

    /// From now on it has exactly these: services and the addresses of their instances.
    fn has(&mut self, instances: &[(&str, &str)]);
}

/// A foreign system that can be made to fail.
pub(crate) struct Behind<S> {
    proxy: FaultProxy,
    system: S,
}

/// Most instances that the catalog may have here.
const BOUND: u16 = 4;

fn private_place(nth: u16) -> String {
    format!("10.0.0.{nth}:80")
}

// === impl Behind ===

impl<S: System> Behind<S> {
    /// A system that is followed through a proxy.
    #[track_caller]
    pub(crate) fn proxy(system: S) -> Self {
        Self { proxy: FaultProxy::to(system.far()), system }
    }
}

impl<S: System> Rig for Behind<S> {
    fn catalog(&self) -> &'static str {
        self.system.catalog()
    }

    fn flags(&self) -> Vec<String> {
        self.system.flags(self.proxy.address())
    }

    fn place(&self, nth: u16) -> String {
        self.system.place(nth)
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        self.system.has(instances);
    }

    fn fails(&mut self) {
        self.proxy.set(Some(Fault::Refusing));
    }

    fn recovers(&mut self) {
        self.proxy.set(None);
    }
}

/// Appears, changes, vanishes, keeps the last good state, recovers, is bounded, is read-only, never keeps the registry from
/// being ready or from stopping.
#[track_caller]
pub(crate) fn keep_the_contract(rig: &mut dyn Rig) {
    let name = rig.catalog();
    let [one, two, three, four] = [1, 2, 3, 4].map(|nth| rig.place(nth));
    let [one, two, three, four] = [&*one, &*two, &*three, &*four];
    let ours = "10.9.9.9:1";
    rig.has(&[("shop", one)]);
    let bound = format!("--catalog_max_instances={BOUND}");
    let setup = rig.flags().into_iter().fold(Setup::new("--log_level info").arg(bound), Setup::arg);
    let registry = setup.start();
    let client = registry.client();
    until_shown(&client, &[one]);
    let state = || health(&client, name);
    eventually("it says that it is current, and what it has", || {
        let state = state();
        (state["state"] == "current" && state["instances"] == 1).then_some(())
    });
    let sample = |metric: &str| format!("a8_catalog_{metric}{{catalog=\"{name}\"}}");
    registry.until_metric(&sample("instances"), 1.0);
    registry.until_metric(&sample("up"), 1.0);

    // Nobody can change what it has.
    let found = client.get("/api/v1/instances?status=ALL").ok().json()["instances"][0].clone();
    let id = found["id"].as_str().expect("an id").to_owned();
    for (line, body) in [
        (format!("PUT /api/v1/instances/{id}/heartbeat"), ""),
        (format!("DELETE /api/v1/instances/{id}"), ""),
        (format!("PUT /api/v1/instances/{id}/status"), r#"{"status":"STARTING"}"#),
    ] {
        let refused = client.send(&line, body).refused(410);
        assert_eq!(refused["catalog"], name, "{line}");
    }
    for line in ["PUT /eureka/v2/apps/SHOP", "DELETE /eureka/v2/apps/SHOP"] {
        let answer = client.send(&format!("{line}/{id}"), "");
        assert_eq!((answer.status, answer.text()), (404, String::new()), "{line}");
    }
    let eureka = client.with("Accept: application/json").get("/eureka/v2/apps/shop").ok().json();
    let host = one.split(':').next().expect("a host");
    assert!(eureka["application"]["instance"].to_string().contains(host), "{eureka}");

    // It stands beside the registry's own, and every change is one of the same revision.
    let own = client.register(&instance("own", ours));
    let before = client.get("/api/v1/instances").ok().header("etag").to_owned();
    rig.has(&[("shop", one), ("shop", two), ("cart", three)]);
    until_shown(&client, &[one, two, three, ours]);
    assert_ne!(client.get("/api/v1/instances").ok().header("etag"), before);
    // A real Eureka server writes names in capitals.
    let services = client.get("/api/v1/services").ok().text().to_lowercase();
    let services: Value = serde_json::from_str(&services).expect("JSON");
    assert_eq!(services, json!({"services": ["cart", "own", "shop"]}));
    rig.has(&[("shop", two)]);
    until_shown(&client, &[two, ours]);

    // What fails keeps what it had, and nothing else fails with it.
    rig.fails();
    eventually("its failure shows", || {
        let state = state();
        (state["last_error"].is_string() && state["instances"] == 1).then_some(())
    });
    registry.until_metric(&sample("up"), 0.0);
    assert_eq!(client.get("/health/ready").status, 200);
    until_shown(&client, &[two, ours]);
    client.renew(&own).ok();
    rig.recovers();
    rig.has(&[("shop", four)]);
    until_shown(&client, &[four, ours]);
    eventually("it is current again", || (state()["state"] == "current").then_some(()));

    // It may not have more than its bound, whatever it claims.
    let many: Vec<_> = (0..BOUND + 3).map(|nth| rig.place(10 + nth)).collect();
    let many: Vec<_> = many.iter().map(|address| ("many", address.as_str())).collect();
    rig.has(&many);
    eventually("it is cut off", || {
        let state = state();
        let is_told = state["left_out"] != 0 || state["skipped"] != 0;
        (state["instances"] == BOUND && is_told).then_some(())
    });
    eventually("they serve", || {
        let shown = client.get("/api/v1/instances").ok().ids().len();
        (shown == usize::from(BOUND) + 1).then_some(())
    });
    rig.has(&[]);
    until_shown(&client, &[ours]);

    // One that fails at the end holds nobody up.
    rig.fails();
    eventually("its failure shows", || state()["last_error"].is_string().then_some(()));
    ends_soon(registry);
}

/// Ends a registry, which takes it a moment.
#[track_caller]
pub(crate) fn ends_soon(registry: Daemon) {
    let begun = Instant::now();
    let ended = registry.stop();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(begun.elapsed().as_secs() < 10, "it took {:?}", begun.elapsed());
}

/// Waits until the addresses of all that is shown are these.
#[track_caller]
pub(crate) fn until_shown(client: &Client, addresses: &[&str]) {
    let mut last = Value::Null;
    eventually(&format!("{addresses:?} are shown"), || {
        last = client.get("/api/v1/instances?status=ALL").ok().json();
        let shown = last["instances"].as_array()?;
        let mut shown: Vec<_> = shown.iter().filter_map(|it| it["endpoint"]["value"].as_str()).collect();
        shown.sort_unstable();
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        (shown == wanted).then_some(())
    });
}

/// What the registry says of the catalog.
pub(crate) fn health(client: &Client, name: &str) -> Value {
    let ready = client.get("/health/ready").json();
    ready["components"][format!("CATALOG_{}", name.to_uppercase())]["properties"].clone()
}

/// A folder of files.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
    more: Vec<String>,
}

// === impl Folder ===

impl Folder {
    /// An empty folder, followed by a registry with these flags besides.
    pub(crate) fn with(more: &[&str]) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            more: more.iter().map(|flag| (*flag).to_owned()).collect(),
        }
    }

    fn write(&self, text: &str) {
        let (file, new) = (self.dir.path().join("default.json"), self.dir.path().join("new"));
        std::fs::write(&new, text).expect("it can be written");
        std::fs::rename(new, file).expect("it can be renamed");
    }
}

impl Rig for Folder {
    fn catalog(&self) -> &'static str {
        "filesystem"
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = self.more.clone();
        flags.push(format!("--fs_catalog={}", self.dir.path().display()));
        flags
    }

    fn has(&mut self, instances: &[(&str, &str)]) {
        let instances: Vec<_> =
            instances.iter().map(|(service, address)| instance(service, address)).collect();
        self.write(&json!({"instances": instances}).to_string());
    }

    fn fails(&mut self) {
        self.write("{\"instances\": [");
    }

    fn recovers(&mut self) {
        self.write("{\"instances\": []}");
    }
}

#[test]
fn a_folder_keeps_the_contract() {
    keep_the_contract(&mut Folder::with(&[]));
}

#[test]
fn a_folder_keeps_the_contract_beside_redis() {
    let Some(redis) = Redis::start("") else { return };
    let address = format!("--store_address={}", redis.address());
    keep_the_contract(&mut Folder::with(&["--store=redis", &address]));
}

/// What is in Redis comes and goes while a catalog's instances stand beside it, also those that it hides.
#[test]
fn redis_and_a_catalog_are_one_directory() {
    let Some(redis) = Redis::start("") else { return };
    let address = format!("--store_address={}", redis.address());
    let mut folder = Folder::with(&["--store=redis", &address]);
    folder.has(&[("shop", "10.0.0.1:80"), ("shop", "10.0.0.2:80")]);
    let start =
        |rig: &Folder| rig.flags().into_iter().fold(Setup::new("--log_level info"), Setup::arg).start();
    let (one, two) = (start(&folder), start(&folder));
    let plain = Setup::new("--log_level info").args(&format!("--store redis {address}")).start();
    let (a, b) = (one.client(), two.client());
    until_shown(&b, &["10.0.0.1:80", "10.0.0.2:80"]);
    let hiding = a.register(&instance("shop", "10.0.0.1:80"));
    let is_own = |client: &Client| client.get("/api/v1/services/shop").ok().text().contains("\"ttl\":30");
    eventually("the other has the registered one", || is_own(&b).then_some(()));
    until_shown(&plain.client(), &["10.0.0.1:80"]);
    until_shown(&b, &["10.0.0.1:80", "10.0.0.2:80"]);
    b.delete(&format!("/api/v1/instances/{hiding}")).ok();
    eventually("the catalog's comes forth", || (!is_own(&a) && !is_own(&b)).then_some(()));
    until_shown(&plain.client(), &[]);
    redis.ask("FLUSHALL");
    until_shown(&a, &["10.0.0.1:80", "10.0.0.2:80"]);
    a.register(&instance("own", "10.9.9.9:1"));
    until_shown(&b, &["10.0.0.1:80", "10.0.0.2:80", "10.9.9.9:1"]);
}

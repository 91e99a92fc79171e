//! Leases in real time: when they end, who sees it when, and what keeps them.
//!
//! Every claim is judged by times taken around it. What this machine was late with, measured while the
//! registry was asked, is granted to it on top.
//! Never: a claim that holds only on a fast machine.

use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::redis::leaves_out;
use crate::support::{Answer, Client, Daemon, eventually};

const TTL: Duration = Duration::from_secs(1);

/// How long after its lease an instance may still be in a list.
const GRACE: Duration = Duration::from_millis(500);

/// Clocks here and there are cut to milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// An instance whose lease began at some time between two.
struct Leased {
    id: String,
    begun: [Instant; 2],
    /// When the last list was asked for that has it.
    seen: Instant,
    /// When the first list had come that lacks it.
    missed: Option<Instant>,
}

/// A registry that grants leases of a second.
fn start() -> Daemon {
    Daemon::start("--min_ttl 1s --default_ttl 1s")
}

fn lease(client: &Client, service: &str) -> Leased {
    let before = Instant::now();
    let id = client.register(&instance(service, "x"));
    Leased { id, begun: [before, Instant::now()], seen: before, missed: None }
}

/// A list that was asked for compressed; an empty one is not worth it.
fn unzipped(answer: &Answer) -> Value {
    if answer.ok().header("content-encoding").is_empty() {
        let list = answer.json();
        assert_eq!(list, json!({"instances": []}));
        return list;
    }
    let mut plain = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).expect("sound");
    serde_json::from_slice(&plain).expect("JSON")
}

fn wait_until(then: Instant) {
    sleep(then.saturating_duration_since(Instant::now()));
}

#[test]
fn what_is_not_renewed_leaves_every_read_in_time_and_never_early() {
    let daemon = start();
    let client = daemon.client();
    let zipped = client.with("Accept-Encoding: gzip");
    let mut connection = client.connect();
    // Leases that end at different times between two looks of the registry.
    let mut leased: Vec<_> = (0..5)
        .map(|number| {
            sleep(Duration::from_millis(60));
            lease(&client, &format!("s{number}"))
        })
        .collect();
    let mut late = Duration::ZERO;
    while leased.iter().any(|one| one.missed.is_none()) {
        let round = Instant::now();
        for (number, reader) in [&client, &zipped, &client, &client].into_iter().enumerate() {
            let asked = Instant::now();
            let path = if number == 2 { "services" } else { "instances?status=ALL" };
            let answer = connection.ask(reader, &format!("GET /api/v1/{path}"), "");
            let came = Instant::now();
            let list = if number == 1 { unzipped(&answer) } else { answer.json() }.to_string();
            for (service, one) in leased.iter_mut().enumerate() {
                let mark = if number == 2 { format!("\"s{service}\"") } else { one.id.clone() };
                if list.contains(&mark) {
                    one.seen = asked;
                    assert!(one.missed.is_none(), "{mark} came back");
                } else {
                    one.missed.get_or_insert(came);
                }
            }
        }
        sleep(Duration::from_millis(5));
        late = late.max(round.elapsed());
    }
    for (number, Leased { id, begun: [before, after], seen, missed }) in leased.iter().enumerate() {
        let longest = TTL + GRACE + late;
        assert!(seen.duration_since(*after) <= longest, "{id}: {:?}, {late:?} late", *seen - *after);
        let gone = missed.expect("it is gone").duration_since(*before);
        assert!(TTL <= gone + ROUNDING, "{id} was gone after {gone:?}");
        daemon.logged(&format!("instance {id} of s{number} expired"));
    }
    assert!(daemon.log().lines().filter(|line| line.contains(" expired")).count() == leased.len());
    daemon.until_metric("a8_expirations_total", 5.0);
    assert!(daemon.metric("a8_instances") < 0.5);
}

#[test]
fn the_end_of_a_lease_is_judged_at_the_call() {
    if leaves_out("the end of a lease before it is reaped") {
        return;
    }
    /// What leases are measured in; none ends early, and the last tenth is given.
    const TICK: Duration = Duration::from_millis(100);
    let daemon = start();
    let client = daemon.client();
    // The registry looks four times a second. Calls that waited for that would be late for some of these.
    let leased: Vec<_> = (0..10)
        .map(|number| {
            sleep(Duration::from_millis(45));
            lease(&client, &format!("s{number}"))
        })
        .collect();
    for (number, Leased { id, begun: [_, after], .. }) in leased.iter().enumerate() {
        wait_until(*after + TTL + TICK + ROUNDING);
        let path = format!("/api/v1/instances/{id}");
        match number % 5 {
            0 => drop(client.get(&path).refused(404)),
            1 => drop(client.renew(id).refused(410)),
            2 => drop(client.delete(&path).refused(410)),
            3 => drop(client.put(&format!("{path}/status"), r#"{"status": "UP"}"#).refused(410)),
            _ => {
                let results = client.put("/api/v1/heartbeats", &json!([id]).to_string()).ok().json();
                assert_eq!(results["results"][0]["status"], 410);
            }
        }
    }
}

#[test]
fn what_is_renewed_stays() {
    let daemon = start();
    let client = daemon.client();
    let mut connection = client.connect();
    let Leased { id, begun: [mut before, first], .. } = lease(&client, "web");
    let line = format!("PUT /api/v1/instances/{id}/heartbeat");
    while first.elapsed() < 2 * TTL + GRACE {
        sleep(TTL / 4);
        let asked = Instant::now();
        let renewed = connection.ask(&client, &line, "");
        if renewed.status != 200 {
            // Only a machine that stood still for a whole lease excuses that.
            assert!(TTL <= before.elapsed() + ROUNDING, "lost after {:?}", before.elapsed());
            return;
        }
        before = asked;
        let list = connection.ask(&client, "GET /api/v1/instances", "").ids();
        assert!(list == [id.as_str()] || TTL <= before.elapsed() + ROUNDING, "lost at a read");
    }
}

#[test]
fn what_is_out_of_service_stays_and_comes_back_with_a_whole_lease() {
    let daemon = start();
    let client = daemon.client();
    let out = lease(&client, "out");
    let status = format!("/api/v1/instances/{}/status", out.id);
    client.put(&status, r#"{"status": "OUT_OF_SERVICE"}"#).ok();
    let twin = lease(&client, "twin");
    eventually("the twin is gone", || {
        (client.ids("/api/v1/instances?status=ALL") == [out.id.as_str()]).then_some(())
    });
    wait_until(twin.begun[1] + 2 * TTL);
    let renewed = client.renew(&out.id);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(client.ids("/api/v1/services/out"), [out.id.as_str()]);

    let before = Instant::now();
    client.put(&status, r#"{"status": "UP"}"#).ok();
    let gone = eventually("its lease ends", || {
        let is_gone = client.get(&format!("/api/v1/instances/{}", out.id)).status == 404;
        is_gone.then(|| before.elapsed())
    });
    assert!(TTL <= gone + ROUNDING, "gone after {gone:?}");
}

#[test]
fn the_last_heartbeat_is_exact_in_plain_lists_and_at_most_five_seconds_old_in_compressed_ones() {
    const OLD: Duration = Duration::from_secs(5);
    let daemon = Daemon::start("");
    let client = daemon.client();
    let zipped = client.with("Accept-Encoding: gzip");
    let id = client.register(&instance("web", "x"));
    let heartbeat =
        |list: &Value| list["instances"][0]["last_heartbeat"].as_str().expect("a time").to_owned();
    let registered = heartbeat(&unzipped(&zipped.get("/api/v1/instances")));
    sleep(10 * ROUNDING);

    let from = rfc3339(SystemTime::now() - ROUNDING);
    client.renew(&id).ok();
    let (to, renewed) = (rfc3339(SystemTime::now() + ROUNDING), Instant::now());
    for path in ["/api/v1/instances", "/api/v1/services/web", "/api/v1/instances?fields=last_heartbeat"] {
        let shown = heartbeat(&client.get(path).json());
        assert!(from <= shown && shown <= to && registered < shown, "{path}: {from} {shown} {to}");
    }
    let exact = heartbeat(&client.get("/api/v1/instances").json());
    loop {
        let asked = Instant::now();
        let shown = heartbeat(&unzipped(&zipped.get("/api/v1/instances")));
        // One heartbeat has one time, however often it is read.
        assert_eq!(heartbeat(&client.get("/api/v1/instances").json()), exact);
        if shown == exact {
            break;
        }
        assert_eq!(shown, registered);
        assert!(asked.duration_since(renewed) <= OLD + ROUNDING, "{:?}", asked.duration_since(renewed));
        sleep(Duration::from_millis(50));
    }
}

/// As the registry shows times, so that they compare as text.
fn rfc3339(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let millis = u64::try_from(since_1970).expect("before the year 10000");
    a8registry::model::Timestamp::from_millis(millis).to_string()
}

/// A process that is stopped cannot be renewed at, so its leases do not run out for that.
#[test]
fn leases_stand_still_while_the_process_does() {
    if leaves_out("a process that stands still") {
        return;
    }
    const STOPPED: Duration = Duration::from_secs(4);
    const LEASE: Duration = Duration::from_secs(3);
    /// What a lease may lose to a standstill: until one is noticed, it counts as time.
    const UNNOTICED: Duration = Duration::from_secs(2);
    let daemon = Daemon::start("--min_ttl 3s --default_ttl 3s");
    let client = daemon.client();
    let registrations: Vec<_> = (0..20).map(|number| instance("web", &number.to_string())).collect();
    let mut ids = client.register_many(&registrations);
    ids.sort();
    loop {
        let ids = json!(client.register_many(&registrations)).to_string();
        let before = Instant::now();
        client.put("/api/v1/heartbeats", &ids).ok();
        daemon.signal("STOP");
        let until_stopped = before.elapsed();
        sleep(STOPPED);
        let resumed = Instant::now();
        daemon.signal("CONT");
        let list = client.get("/api/v1/instances");
        if until_stopped + UNNOTICED + resumed.elapsed() < LEASE {
            assert_eq!(list.ids().len(), registrations.len(), "all of them are still there");
            break;
        }
        // The machine was too slow for a judgement.
    }
    let resumed = Instant::now();
    let standstill = daemon.logged("the process stood still");
    assert!(standstill.contains("level=warning"), "{standstill}");
    let mut late = Duration::ZERO;
    let mut seen = resumed;
    loop {
        let asked = Instant::now();
        let left = client.ids("/api/v1/instances");
        late = late.max(asked.elapsed());
        if left.is_empty() {
            break;
        }
        seen = asked;
        sleep(Duration::from_millis(20));
    }
    assert!(seen.duration_since(resumed) <= LEASE + GRACE + 2 * late, "{:?}", seen.duration_since(resumed));
    assert!(ids.iter().all(|id| client.renew(id).status == 410));
}

//! What one client may take of a running registry: time, connections, memory, long lists.
//!
//! Limits are set short; that they do not strike early is judged by times taken around them.
//! Never: asks how exactly a limit is kept; that is tested beside the listener.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::client::instance;
use crate::support::{Client, Connection, Daemon, Setup, eventually};

const LIST: &str = "/api/v1/instances";

/// Lists that are asked for in a row; together far more than the kernel takes for a client.
const LISTS: usize = 12;

/// Writes a little again and again until the other side has enough of it; everything it said.
fn drip(connection: &mut Connection, byte: &str) -> String {
    while connection.try_write(byte).is_ok() {
        sleep(Duration::from_millis(20));
    }
    connection.until_closed()
}

/// A registry whose plain list has more than a megabyte, and the id of one instance.
fn with_a_long_list(flags: &str) -> (Daemon, String) {
    let daemon = Daemon::start(&format!("--default_ttl 10m {flags}"));
    let registrations: Vec<_> = (0..1200)
        .map(|number| {
            let service = if number < 700 { "web" } else { "other" };
            let mut registration = instance(service, &number.to_string());
            registration["metadata"] = json!("m".repeat(900));
            registration
        })
        .collect();
    let id = daemon.client().register_many(&registrations)[0].clone();
    (daemon, id)
}

/// A client for whom the kernel takes at most `buffer` bytes, asking for a list twelve times in a row.
fn asks_and_does_not_read(address: SocketAddr, path: &str, buffer: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(buffer).expect("a small buffer");
    socket.connect(&address.into()).expect("a connection");
    let mut connection = TcpStream::from(socket);
    let request = Client::new(address).request(&format!("GET {path}"), "");
    std::io::Write::write_all(&mut connection, request.repeat(LISTS).as_bytes()).expect("requests are short");
    connection
}

#[test]
fn clients_that_are_too_slow_are_cut_and_pausing_ones_are_not() {
    const HEAD: Duration = Duration::from_millis(400);
    const BODY: Duration = Duration::from_millis(600);
    const IDLE: Duration = Duration::from_millis(1500);
    let daemon = Daemon::start("--header_timeout 400ms --body_timeout 600ms --idle_timeout 1500ms");
    let client = daemon.client();
    let id = client.register(&instance("web", "x"));
    /// Far beyond every limit here.
    const LATE: Duration = Duration::from_secs(20);
    let check = |what: &str, limit: Duration, work: &dyn Fn(&mut Connection) -> String| {
        let mut connection = client.connect();
        let begun = Instant::now();
        let said = work(&mut connection);
        let taken = begun.elapsed();
        assert!(limit <= taken && taken < LATE, "{what} was cut after {taken:?}: {said}");
        said
    };
    thread::scope(|scope| {
        scope.spawn(|| check("a silent client", HEAD, &|c| c.until_closed()));
        scope.spawn(|| {
            let said = check("a slow head", HEAD, &|c| {
                c.write("GET / HTTP/1.1\r\nX-Slow: ");
                drip(c, "x")
            });
            assert_eq!(said, "");
        });
        scope.spawn(|| {
            check("a slow second head", HEAD, &|c| {
                c.ask(&client, "GET /", "").ok();
                c.write("GET / HTTP/1.1\r\nX-Slow: ");
                drip(c, "x")
            })
        });
        scope.spawn(|| {
            let said = check("an idle client", IDLE, &|c| {
                c.ask(&client, "GET /", "").ok();
                c.until_closed()
            });
            assert_eq!(said, "");
        });
        scope.spawn(|| {
            let said = check("a slow body", BODY, &|c| {
                c.write("POST /api/v1/instances HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n");
                c.write("Content-Length: 60000\r\n\r\n{");
                drip(c, " ")
            });
            assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("within 0.6 seconds"), "{said}");
        });
        // Pauses longer than a head may take are what renewals are made of.
        scope.spawn(|| {
            let mut connection = client.connect();
            let mut before = Instant::now();
            for _ in 0..6 {
                let renewed = connection.try_write(client.request(&format!("PUT {LIST}/{id}/heartbeat"), ""));
                let renewed = renewed.and_then(|()| connection.try_answer(false));
                let Ok(Some(answer)) = renewed else {
                    assert!(IDLE <= before.elapsed(), "{renewed:?} after {:?}", before.elapsed());
                    return;
                };
                answer.ok();
                before = Instant::now();
                sleep(HEAD + HEAD / 4);
            }
        });
    });
    for (reason, least) in [("head_timeout", 3.0), ("idle", 1.0)] {
        let sample = format!("a8_connections_closed_total{{reason=\"{reason}\"}}");
        assert!(least <= daemon.metric(&sample), "{sample}");
    }
}

#[test]
fn connections_beyond_the_cap_wait_for_their_turn() {
    let daemon = Daemon::start("--max_connections 3");
    let client = daemon.client();
    let mut open: Vec<_> = (0..3)
        .map(|_| {
            let mut connection = client.connect();
            connection.ask(&client, "GET /", "").ok();
            connection
        })
        .collect();
    daemon.logged("at the limit of 3 connections");
    let mut waiting = client.connect();
    waiting.write(client.request("GET /health/live", ""));
    for connection in &mut open {
        let metrics = connection.ask(&client, "GET /metrics", "").ok().text();
        assert!(metrics.contains("\na8_connections_open 3\n"), "{metrics}");
    }
    drop(open.pop());
    waiting.answer().ok();
    open[0].ask(&client, "GET /", "").ok();
}

#[test]
fn readers_that_stall_are_cut_and_cost_little_memory() {
    const STALLED: usize = 16;
    const LIMIT: Duration = Duration::from_secs(1);
    const GROWTH: u64 = 24 * 1024 * 1024;
    let (daemon, id) = with_a_long_list("--write_timeout 1s");
    let client = daemon.client();
    let list = client.get(LIST).ok().body.len();
    let resident = daemon.resident();
    let begun = Instant::now();
    let stalled: Vec<_> =
        (0..STALLED).map(|_| asks_and_does_not_read(daemon.address(), LIST, 16 * 1024)).collect();
    let mut largest = 0;
    let mut connection = client.connect();
    eventually("all of them are cut", || {
        largest = largest.max(daemon.resident());
        connection.ask(&client, &format!("PUT {LIST}/{id}/heartbeat"), "").ok();
        let cut = client.metric(r#"a8_connections_closed_total{reason="write_stall"}"#)?;
        (STALLED as f64 - 0.5 < cut).then_some(())
    });
    assert!(LIMIT <= begun.elapsed());
    assert!(largest < resident + GROWTH, "{} bytes more", largest - resident);
    assert_eq!(client.ids(LIST).len(), 1200, "others go on");
    for mut connection in stalled {
        let mut taken = Vec::new();
        // How it ends is the kernel's choice; it does end.
        let _ = connection.read_to_end(&mut taken);
        assert!(taken.len() < LISTS * list, "{} bytes", taken.len());
    }
    daemon.until_metric("a8_connections_open", 2.0);
}

#[test]
fn a_reader_that_is_slow_and_steady_gets_everything() {
    const LIMIT: Duration = Duration::from_secs(1);
    let (daemon, _) = with_a_long_list("--write_timeout 1s");
    let one = daemon.client().get(LIST).body.len();
    let mut buffer = vec![0; 256 * 1024];
    let mut connection = asks_and_does_not_read(daemon.address(), LIST, buffer.len());
    let (begun, mut pause, mut taken) = (Instant::now(), Duration::ZERO, 0);
    while taken < LISTS * one {
        let paused = Instant::now();
        sleep(Duration::from_millis(50));
        pause = pause.max(paused.elapsed());
        match connection.read(&mut buffer) {
            Ok(read @ 1..) => taken += read,
            ended => {
                assert!(LIMIT / 2 <= pause, "{ended:?} after {taken} bytes and {:?}", begun.elapsed());
                return;
            }
        }
    }
    assert!(2 * LIMIT <= begun.elapsed(), "too fast to prove anything");
}

#[test]
fn beyond_the_long_lists_that_are_sent_at_once_others_are_told_to_come_back() {
    let (daemon, id) = with_a_long_list("--max_full_lists 1");
    let client = daemon.client();
    let other = client.register(&instance("small", "x"));
    let tag = client.get(LIST).ok().header("etag").to_owned();
    // Until the kernel takes no more, one list ends now and then before the next begins; and a reader whose
    // last bytes wait has none that is being sent, so another has to stall.
    let (mut stalled, mut sent, mut refused_in_a_row) = (Vec::new(), 0, 0);
    let refused = eventually("one list is being sent and does not end", || {
        let answer = client.get(LIST);
        if answer.status != 200 {
            refused_in_a_row += 1;
            return (25 < refused_in_a_row).then_some(answer);
        }
        refused_in_a_row = 0;
        if sent % 10 == 0 {
            // Each stalls at another place.
            let path = [LIST, "/api/v1/services/web", "/api/v1/services/other"][stalled.len() % 3];
            stalled.push(asks_and_does_not_read(daemon.address(), path, 16 * 1024));
        }
        sent += 1;
        None
    });
    assert_eq!(refused.refused(503)["Error"], "Too many lists are being sent");
    assert_eq!(refused.header("retry-after"), "1");
    client.get("/api/v1/services/web").refused(503);
    client.with("Accept-Encoding: gzip").get(LIST).refused(503);
    // What is short, or nothing but an answer that the client has, is served as ever.
    assert_eq!(client.with(&format!("If-None-Match: {tag}")).get(LIST).status, 304);
    client.renew(&id).ok();
    client.register(&instance("small", "x"));
    client.get("/api/v1/services").ok();
    client.get(&format!("{LIST}/{id}")).ok();
    assert_eq!(client.ids("/api/v1/services/small"), [other.as_str()]);
    assert_eq!(client.ids("/api/v1/instances?service_name=small"), [other]);
    drop(stalled);
    eventually("the place is free again", || (client.get(LIST).status == 200).then_some(()));
}

#[test]
fn a_shortage_of_descriptors_passes() {
    let daemon = Setup::new("").descriptors(64).start();
    let client = daemon.client();
    let mut first = client.connect();
    first.ask(&client, "GET /", "").ok();
    let crowd: Vec<_> = (0..100).map(|_| client.connect()).collect();
    let warning = daemon.logged("cannot accept connections");
    assert!(warning.contains("level=warning"), "{warning}");
    // Those that are in are served as ever, and the rest waits.
    let id =
        first.ask(&client, &format!("POST {LIST}"), &instance("web", "x").to_string()).json()["id"].clone();
    first.ask(&client, &format!("PUT {LIST}/{}/heartbeat", id.as_str().expect("an id")), "").ok();
    let mut last = client.connect();
    last.write(client.request("GET /health/ready", ""));
    drop(crowd);
    last.answer().ok();
    assert_eq!(client.ids(LIST).len(), 1);
    daemon.until_metric("a8_connections_open", 3.0);
    assert_eq!(daemon.stop().status, Some(0));
}

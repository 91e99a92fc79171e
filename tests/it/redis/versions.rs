//! Which Redis is taken: one that is too old, or does not take writes, is refused with a sentence.
//!
//! Never: claims a version; the suite is run on each that can be had.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

use super::LIST;
use crate::support::{Daemon, Redis};

/// A line to a server that makes it say another version of the same length.
fn disguised(port: u16, from: String, to: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let own = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let ends = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            thread::spawn(move || carry(ends.0, ends.1, None));
            let change = (from.clone(), to.clone());
            thread::spawn(move || carry(server, client, Some(&change)));
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, change: Option<&(String, String)>) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut text = bytes[..count].to_vec();
        if let Some((old, new)) = change
            && let Some(at) = text.windows(old.len()).position(|window| window == old.as_bytes())
        {
            text[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
        if to.write_all(&text).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_server_that_is_too_old_is_refused_with_a_sentence() {
    let Some(redis) = Redis::start("") else { return };
    let version = redis.info("redis_version").expect("a version");
    // The same number of letters: 6.0.16 instead of 7.0.15.
    let old = format!("6.0.{}", "9".repeat(version.len() - 4));
    let disguise = |version: &str| format!("redis_version:{version}");
    let port = disguised(redis.port(), disguise(&version), disguise(&old));
    let node = Daemon::start(&format!("--store redis --store_address 127.0.0.1:{port}"));
    let line = node.logged("cannot be used");
    assert!(line.contains(&format!("Redis is version {old}, want 6.2 or newer")), "{line}");
    let client = node.client();
    assert_eq!((client.get(LIST).status, client.get("/health/ready").status), (503, 503));
    assert!(redis.info("used_memory").is_some(), "it was left alone");
}

#[test]
fn a_replica_is_refused_with_a_sentence() {
    let Some(master) = Redis::start("") else { return };
    let replica = Redis::start(&format!("--replicaof 127.0.0.1 {}", master.port())).expect("as before");
    let node = Daemon::start(&format!("--store redis --store_address {}", replica.address()));
    let line = node.logged("cannot be used");
    assert!(line.contains("Redis is a replica, want a server that can be written to"), "{line}");
}

//! Those who reach the port for members and are none.
//!
//! Never: knows the secret.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::members::{Cluster, instance, place_of};
use crate::support::PATIENCE;

/// Connects to the port for members.
#[track_caller]
fn knock(place: &str) -> TcpStream {
    let stream = TcpStream::connect(place).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// What comes until the other side ends it.
fn answer(mut stream: &TcpStream) -> usize {
    let mut bytes = Vec::new();
    // An end by force is an end, too.
    let _ = stream.read_to_end(&mut bytes);
    bytes.len()
}

#[test]
fn whoever_says_something_else_is_turned_away_and_named_once() {
    let cluster = Cluster::start(1, "");
    let place = place_of(cluster.daemon(0));
    let before = cluster.daemon(0).resident();
    for nth in 0..200 {
        let mut stream = knock(&place);
        let garbage: Vec<u8> = match nth % 3 {
            0 => b"GET /api/v1/instances HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            1 => vec![0xff; 4096],
            _ => [b"a8member".as_slice(), &[0xff; 4096]].concat(),
        };
        // It may be turned away while it speaks.
        let _ = stream.write_all(&garbage);
        assert_eq!(answer(&stream), 0);
    }
    cluster.daemon(0).logged("was turned away");
    let log = cluster.daemon(0).log();
    assert_eq!(log.matches("turned away").count(), 1, "{log}");
    let grown = cluster.daemon(0).resident().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes");
    let counted = cluster.daemon(0).metric(r#"a8_cluster_turned_away_total{reason="stranger"}"#);
    assert!(100.0 < counted, "{counted}");
}

#[test]
fn whoever_is_silent_is_not_waited_for_and_keeps_nobody_out() {
    let mut cluster = Cluster::start(1, "");
    let place = place_of(cluster.daemon(0));
    let begun = Instant::now();
    let silent: Vec<_> = (0..60).map(|_| knock(&place)).collect();
    // A member is let in all the same.
    cluster.join("");
    cluster.until_size(2);
    let id = cluster.client(1).register(&instance("x", 30));
    cluster.agree_on(&[id]);
    for stream in &silent {
        assert_eq!(answer(stream), 0);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(1.0 <= cluster.daemon(0).metric(r#"a8_cluster_turned_away_total{reason="crowded"}"#));
}

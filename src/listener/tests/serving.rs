//! What is served, refused, survived and drained.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Names the child process of `a_shortage_of_descriptors_is_survived`.
const CHILD: &str = "A8_TEST_FEW_DESCRIPTORS";

#[tokio::test]
async fn both_protocols_are_served_on_one_port() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    let expected = format!("{} false", client.local_addr().expect("an address"));
    get(&mut client, "/peer").await;
    assert!(answered(&mut client).await.ends_with(&expected));
    let (mut http2, _connection) = http2_client(server.address).await;
    let answers = (0..50).map(|_| http2.send_request(http2_get("/peer"))).collect::<Vec<_>>();
    for answer in answers {
        assert_eq!(within(answer).await.expect("an answer").status(), StatusCode::OK);
    }
    assert_eq!(server.metrics.accepted.get(), 2);
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_preface_in_pieces_is_understood() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    for piece in ["P", "OST /ec", "ho HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"] {
        send(&mut client, piece).await;
        tokio::task::yield_now().await;
    }
    assert!(answered(&mut client).await.ends_with("\r\n\r\n3"));
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn bad_heads_are_answered() {
    async fn check(head: &str, expected: &str) {
        let server = Server::start(|_| ());
        let mut client = server.connect().await;
        send(&mut client, head).await;
        let answer = String::from_utf8_lossy(&until_closed(&mut client).await).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{expected} for {head:.60?}: {answer:?}"
        );
        assert_eq!(server.stopped().await, 0);
    }
    let long = "y".repeat(16 * 1024);
    let many = "x: y\r\n".repeat(101);
    check(&format!("GET /peer HTTP/1.1\r\nx: {long}\r\n\r\n"), "431").await;
    check(&format!("GET /peer HTTP/1.1\r\nx: {}", "y".repeat(300 * 1024)), "431").await;
    check(&format!("GET /peer HTTP/1.1\r\n{many}\r\n"), "431").await;
    check("G@T /peer HTTP/1.1\r\n\r\n", "400").await;
    check("GET /peer HTTP/3.7\r\n\r\n", "400").await;
    check("GET /peer HTTP/1.1\r\nx y: z\r\n\r\n", "400").await;
    check("POST /echo HTTP/1.1\r\ncontent-length: many\r\n\r\n", "400").await;
    check("POST /echo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", "400").await;
}

#[tokio::test]
async fn a_head_just_below_the_limit_is_served() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    let fill = "y".repeat(16 * 1024 - 60);
    send(&mut client, &format!("GET /peer HTTP/1.1\r\nhost: x\r\nx: {fill}\r\n\r\n")).await;
    answered(&mut client).await;
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn bodies_above_the_head_limit_are_read() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    send(&mut client, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await;
    send(&mut client, &"x".repeat(1_000_000)).await;
    assert!(answered(&mut client).await.ends_with("\r\n\r\n1000000"));
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    send(&mut client, "POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n").await;
    send(&mut client, &"x".repeat(3_000_000)).await;
    let answer = String::from_utf8_lossy(&until_closed(&mut client).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too large"), "{answer:?}");
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_panic_is_answered_and_ends_nothing_else() {
    let server = Server::start(|_| ());
    let mut client = server.connect().await;
    get(&mut client, "/panic").await;
    assert!(answered(&mut client).await.starts_with("HTTP/1.1 500 "));
    get(&mut client, "/peer").await;
    assert!(answered(&mut client).await.starts_with("HTTP/1.1 200 "));
    let (mut http2, _connection) = http2_client(server.address).await;
    let answer = within(http2.send_request(http2_get("/panic"))).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(server.closed(Reason::Panic), 2);
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_their_turn() {
    let server = Server::start(|config| config.max_connections = 2);
    let (mut first, mut second, mut third) =
        tokio::join!(server.connect(), server.connect(), server.connect());
    get(&mut first, "/peer").await;
    answered(&mut first).await;
    get(&mut second, "/peer").await;
    answered(&mut second).await;
    get(&mut third, "/peer").await;
    assert_eq!((server.metrics.accepted.get(), server.metrics.open.get()), (2, 2));
    drop(first);
    answered(&mut third).await;
    assert_eq!(server.metrics.accepted.get(), 3);
    drop((second, third));
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_drain_finishes_requests_and_closes_the_rest() {
    let server = Server::start(|config| config.drain = LONG);
    let (mut idle, mut silent, mut busy) = tokio::join!(server.connect(), server.connect(), server.connect());
    get(&mut idle, "/peer").await;
    answered(&mut idle).await;
    get(&mut busy, "/held").await;
    within(server.held.notified()).await;
    until(|| server.metrics.open.get() == 3).await;
    server.stop.cancel();
    assert_eq!(until_closed(&mut idle).await, b"");
    assert_eq!(until_closed(&mut silent).await, b"");
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
    server.release.notify_one();
    let answer = answered(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("released"), "{answer}");
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_drain_finishes_http2_streams() {
    let server = Server::start(|config| config.drain = LONG);
    let (mut client, _connection) = http2_client(server.address).await;
    let held = tokio::spawn(client.send_request(http2_get("/held")));
    within(server.held.notified()).await;
    server.stop.cancel();
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    server.release.notify_one();
    let answer = within(held).await.expect("no panic").expect("an answer");
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "released");
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_drain_cuts_what_outlasts_it() {
    let server = Server::start(|config| config.drain = SHORT);
    let mut client = server.connect().await;
    get(&mut client, "/held").await;
    within(server.held.notified()).await;
    let metrics = server.metrics.clone();
    assert_eq!(server.stopped().await, 1);
    assert_eq!(metrics.open.get(), 0);
    assert_eq!(until_closed(&mut client).await, b"");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = Server::start(|_| ());
    let error = Listener::bind(ListenerConfig::new(server.address)).expect_err("in use");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn any_address_of_ipv6_takes_ipv4_as_well() {
    let server = Server::start(|config| config.address = "[::]:0".parse().expect("an address"));
    let mut client = TcpStream::connect(("127.0.0.1", server.address.port())).await.expect("accepted");
    get(&mut client, "/peer").await;
    let answer = answered(&mut client).await;
    assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

/// The limit of descriptors is of a process, so the listener gets one of its own.
#[tokio::test]
async fn a_shortage_of_descriptors_is_survived() {
    let this = std::env::current_exe().expect("a test binary");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact listener::tests::serving::child_with_few_descriptors --nocapture"])
        .arg(this)
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    // Held to the end: the child's last words need a reader.
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let address = said
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("address=").and_then(|(_, address)| address.parse::<SocketAddr>().ok())
        })
        .expect("the child listens");
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(TcpStream::connect(address).await.expect("the kernel's queue has room"));
    }
    // The last one cannot be accepted before others leave.
    let mut last = clients.pop().expect("sixty of them");
    get(&mut last, "/peer").await;
    let refused = tokio::time::timeout(SHORT, last.readable()).await;
    assert!(refused.is_err(), "sixty connections fit into forty descriptors");
    clients.truncate(1);
    assert!(answered(&mut last).await.starts_with("HTTP/1.1 200 "));
    drop(clients);
    child.stdin.take().expect("piped").write_all(b"stop\n").expect("the child lives");
    let ended = within(tokio::task::spawn_blocking(move || child.wait())).await;
    assert!(ended.expect("no panic").expect("a status").success());
}

/// Does nothing unless it is the child of the test above: serves until a line arrives.
#[tokio::test]
async fn child_with_few_descriptors() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let server = Server::start(|config| config.drain = SHORT);
    writeln!(std::io::stdout(), "address={}", server.address).expect("a parent");
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line))
        .await
        .expect("no panic")
        .expect("a parent");
    server.stopped().await;
}

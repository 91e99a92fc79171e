//! Who is cut for taking too long, and who is not.

use socket2::{Domain, Socket, Type};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use super::*;

/// Waits for the server to close `client`, which must not be before `limit`, and must be counted as `reason`.
async fn check_cut(server: Server, mut client: TcpStream, limit: Duration, since: Instant, reason: Reason) {
    until_closed(&mut client).await;
    assert!(limit <= since.elapsed(), "cut after {:?}", since.elapsed());
    until(|| server.closed(reason) == 1).await;
    until(|| server.metrics.open.get() == 0).await;
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_silent_connection_is_cut() {
    let server = Server::start(|config| config.header_timeout = SHORT);
    let since = Instant::now();
    let client = server.connect().await;
    check_cut(server, client, SHORT, since, Reason::HeadTimeout).await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut() {
    let server = Server::start(|config| config.header_timeout = SHORT);
    let since = Instant::now();
    let mut client = server.connect().await;
    send(&mut client, "GET /peer HTTP/1.1\r\n").await;
    within(async {
        while client.write_all(b"x: y\r\n").await.is_ok() {
            sleep(SHORT / 10).await
        }
    })
    .await;
    check_cut(server, client, SHORT, since, Reason::HeadTimeout).await;
}

#[tokio::test]
async fn a_second_head_that_trickles_is_cut() {
    let server = Server::start(|config| config.header_timeout = SHORT);
    let mut client = server.connect().await;
    get(&mut client, "/peer").await;
    answered(&mut client).await;
    let since = Instant::now();
    send(&mut client, "GET").await;
    check_cut(server, client, SHORT, since, Reason::HeadTimeout).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_cut() {
    let server = Server::start(|config| config.body_timeout = SHORT);
    let since = Instant::now();
    let mut client = server.connect().await;
    send(&mut client, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    within(async {
        while client.write_all(b"x").await.is_ok() {
            sleep(SHORT / 10).await
        }
    })
    .await;
    check_cut(server, client, SHORT, since, Reason::BodyTimeout).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(|config| config.idle_timeout = SHORT);
    let mut client = server.connect().await;
    let since = Instant::now();
    get(&mut client, "/peer").await;
    answered(&mut client).await;
    check_cut(server, client, SHORT, since, Reason::Idle).await;
}

#[tokio::test]
async fn pauses_below_the_idle_limit_keep_a_connection() {
    let limit = Duration::from_secs(2);
    let server = Server::start(|config| {
        config.idle_timeout = limit;
        config.header_timeout = limit / 2;
    });
    let mut client = server.connect().await;
    let since = Instant::now();
    while since.elapsed() < limit * 3 / 2 {
        get(&mut client, "/peer").await;
        answered(&mut client).await;
        sleep(limit / 10).await;
    }
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let server = Server::start(|config| {
        config.idle_timeout = SHORT;
        config.header_timeout = SHORT;
        config.write_timeout = SHORT;
    });
    let mut client = server.connect().await;
    get(&mut client, "/held").await;
    sleep(SHORT * 3).await;
    server.release.notify_one();
    assert!(answered(&mut client).await.ends_with("released"));
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut() {
    let server = Server::start(|config| config.write_timeout = SHORT);
    let since = Instant::now();
    let mut client = server.connect().await;
    get(&mut client, "/chunks/4000").await;
    until(|| server.closed(Reason::WriteStall) == 1).await;
    check_cut(server, client, SHORT, since, Reason::WriteStall).await;
}

#[tokio::test]
async fn a_reader_of_crumbs_is_cut() {
    let server = Server::start(|config| config.write_timeout = SHORT);
    let mut client = server.connect().await;
    get(&mut client, "/chunks/4000").await;
    within(async {
        while server.closed(Reason::WriteStall) == 0 {
            client.read_u8().await.expect("what was sent before");
            sleep(SHORT / 100).await;
        }
    })
    .await;
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn a_slow_reader_that_moves_is_served() {
    let limit = Duration::from_secs(2);
    let server = Server::start(|config| config.write_timeout = limit);
    // A small window, so that the pace of the reader is the pace of the answer.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(32 * 1024).expect("a small buffer");
    socket.set_nonblocking(true).expect("a socket for tokio");
    let mut client =
        TcpSocket::from_std_stream(socket.into()).connect(server.address).await.expect("accepted");
    let chunks = 160;
    get(&mut client, &format!("/chunks/{chunks}")).await;
    let since = Instant::now();
    let mut all = Vec::new();
    while all.len() < chunks * CHUNK {
        assert!(within(client.read_buf(&mut all)).await.expect("not cut") != 0, "cut at {}", all.len());
        // About 3 MB in each second at most: far above the limit, and the whole takes longer than it.
        sleep(Duration::from_millis(10)).await;
    }
    assert!(limit < since.elapsed(), "took only {:?}", since.elapsed());
    assert_eq!(server.closed(Reason::WriteStall), 0);
    drop(client);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn an_http2_answer_that_nobody_reads_is_cut() {
    let server = Server::start(|config| config.write_timeout = SHORT);
    let (mut client, connection) = http2_client(server.address).await;
    let since = Instant::now();
    let unread = within(client.send_request(http2_get("/chunks/100"))).await.expect("a head");
    within(connection).await.expect("no panic");
    assert!(SHORT <= since.elapsed());
    assert_eq!(server.closed(Reason::WriteStall), 1);
    drop(unread);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn an_http2_stream_that_awaits_its_handler_is_not_stalled() {
    let server = Server::start(|config| config.write_timeout = SHORT);
    let (mut client, _connection) = http2_client(server.address).await;
    let held = client.send_request(http2_get("/held"));
    let release = async {
        sleep(SHORT * 3).await;
        server.release.notify_one();
    };
    let (answer, ()) = within(async { tokio::join!(held, release) }).await;
    let body = answer.expect("an answer").into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "released");
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn pings_do_not_keep_an_http2_connection() {
    let server = Server::start(|config| config.idle_timeout = SHORT);
    let (mut client, connection) = http2_client(server.address).await;
    let since = Instant::now();
    within(client.send_request(http2_get("/peer"))).await.expect("an answer");
    assert!(within(connection).await.expect("no panic"), "closed without an error");
    assert!(SHORT <= since.elapsed());
    assert_eq!(server.closed(Reason::Idle), 1);
    assert_eq!(server.stopped().await, 0);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_cut() {
    let server = Server::start(|config| config.header_timeout = SHORT);
    let (_client, connection) = http2_client(server.address).await;
    within(connection).await.expect("no panic");
    assert_eq!(server.closed(Reason::HeadTimeout), 1);
    assert_eq!(server.stopped().await, 0);
}

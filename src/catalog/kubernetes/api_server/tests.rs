//! Answers bounded in bytes and time, and credentials, against a server on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

const PATIENCE: Patience = Patience {
    quiet: Duration::from_secs(20),
    watch: Duration::from_secs(20),
    watch_quiet: Duration::from_millis(50),
};

fn config(url: &str) -> KubernetesConfig {
    KubernetesConfig {
        server: KubernetesServer::At(url.parse().expect("a URL")),
        token: None,
        token_file: None,
        ca_file: None,
        is_insecure: false,
        namespaces: Vec::new(),
        max_namespaces: 1,
    }
}

/// The API server at this URL, which is not waited for as long as usual.
pub(in crate::catalog::kubernetes) fn api_server_at(url: &str) -> ApiServer {
    ApiServer::new(&config(url), PATIENCE).expect("it can be used")
}

/// Asks one who says this and then keeps the connection open until it is asked to end.
async fn answering(said: &'static str, quiet: Duration) -> (Answering, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody calls");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            asked.push(byte[0]);
        }
        stream.write_all(said.as_bytes()).expect("it listens");
        // The end, when the caller has had enough.
        let _ = stream.read(&mut [0]);
        String::from_utf8(asked).expect("text")
    });
    let config =
        KubernetesConfig { token: Secret::new(" t0ken\n"), ..config(&format!("http://{address}/base")) };
    let api_server = ApiServer::new(&config, PATIENCE).expect("it can be used");
    let request = get("/api/v1/pods?limit=1".to_owned()).expect("a request");
    let answering = api_server.begin(request, "a list", quiet).await.expect("it says yes");
    (answering, server)
}

/// What was asked, when the connection has ended.
async fn end(server: thread::JoinHandle<String>) -> String {
    let ended = tokio::task::spawn_blocking(|| server.join()).await;
    ended.expect("it is not cancelled").expect("it does not panic")
}

fn text(line: Result<Option<BytesMut>, Failure>) -> Result<Option<String>, Failure> {
    line.map(|line| line.map(|line| String::from_utf8(line.to_vec()).expect("text")))
}

#[tokio::test]
async fn lines_come_as_they_are_said_and_not_longer_than_they_may_be() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                4\r\none\n\r\n2\r\ntw\r\n6\r\no\n\nfou\r\n1\r\nr\r\n";
    let (mut answering, server) = answering(said, Duration::from_millis(50)).await;
    for want in ["one\n", "two\n", "\n"] {
        assert_eq!(text(answering.line(8).await), Ok(Some(want.to_owned())));
    }
    assert_eq!(text(answering.line(8).await), Err(Failure::Silent));
    drop(answering);
    let asked = end(server).await;
    assert!(asked.starts_with("GET /base/api/v1/pods?limit=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nauthorization: Bearer t0ken\r\n"), "{asked}");
}

#[tokio::test]
async fn a_line_beyond_the_bound_is_not_kept() {
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nvery\nlonger\n";
    let (mut short, server) = answering(said, Duration::from_secs(20)).await;
    assert_eq!(text(short.line(11).await), Err(Failure::TooLong { max: 11 }));
    drop(short);
    end(server).await;
    let (mut whole, server) = answering(said, Duration::from_secs(20)).await;
    assert_eq!(whole.all(12).await.expect("it fits"), "very\nlonger\n");
    drop(whole);
    end(server).await;
}

#[tokio::test]
async fn what_stands_at_the_end_without_an_end_of_line_is_a_line() {
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\none\ntwo";
    let (mut answering, server) = answering(said, Duration::from_secs(20)).await;
    assert_eq!(text(answering.line(99).await), Ok(Some("one\n".to_owned())));
    assert_eq!(text(answering.line(99).await), Ok(Some("two".to_owned())));
    assert_eq!(text(answering.line(99).await), Ok(None));
    drop(answering);
    end(server).await;
}

#[test]
fn tokens_are_shown_to_nobody_and_blanks_around_them_are_not_theirs() {
    let header = bearer(b" t0ken \n").expect("a token");
    assert!(header.is_sensitive());
    assert_eq!(header.to_str().ok(), Some("Bearer t0ken"));
    for bad in [&b""[..], b" \n", b"a\nb", b"a\0b"] {
        let why = bearer(bad).expect_err("no token");
        assert!(!why.contains('a') || !why.contains('b') || why.starts_with("it "), "{why}");
    }
}

#[tokio::test]
async fn errors_of_the_setup_name_the_flag() {
    let url = "https://127.0.0.1:6443/";
    let check = |config: &KubernetesConfig, says: &str| {
        let error = ApiServer::new(config, PATIENCE).expect_err(says).to_string();
        assert!(error.starts_with(says), "{error}");
    };
    let nowhere = Some(PathBuf::from("/nowhere/file"));
    check(&KubernetesConfig { ca_file: nowhere.clone(), ..config(url) }, "--k8s_ca_file is /nowhere/file");
    check(&KubernetesConfig { token_file: nowhere, ..config(url) }, "--k8s_token_file is /nowhere/file");
    check(
        &KubernetesConfig { token: Secret::new("a\nb"), ..config("http://h/") },
        "--k8s_token cannot be used",
    );
    let in_cluster = KubernetesServer::InCluster(url.parse().expect("a URL"));
    let of_pod = KubernetesConfig { server: in_cluster, ..config(url) };
    check(&of_pod, "--k8s_ca_file is /var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
}

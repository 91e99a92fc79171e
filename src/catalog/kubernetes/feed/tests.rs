//! What is asked and told, one answer of an API server after the other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::StreamExt;

use super::super::api_server::tests::api_server_at;
use super::*;

/// What is told when the API server answers one request after the other with these; the first lines of the requests.
/// A body that is not whole leaves its connection open.
async fn told(answers: &[(u16, &str)], take: usize) -> (Vec<String>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<_> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let asking = asked.clone();
    thread::spawn(move || {
        let mut open = Vec::new();
        for (status, body) in answers {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut stream = BufReader::new(stream);
            let mut lines = Vec::new();
            while !lines.last().is_some_and(|line: &String| line.trim().is_empty()) {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a request");
                lines.push(line);
            }
            asking.lock().expect("nobody panics").push(lines.swap_remove(0));
            let is_open = body.ends_with("...");
            let body = body.trim_end_matches("...");
            let length = body.len() + usize::from(is_open);
            let head =
                format!("HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            // Who asked may have had enough.
            let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
            if is_open {
                open.push(stream);
            }
        }
        // Keeps the last ones open until the test is over.
        let _ = listener.accept();
    });
    let server = api_server_at(&format!("http://{address}"));
    let told = addresses(server, "shop".parse().expect("a name")).take(take);
    let told: Vec<_> = pin!(told).map(|told| in_short(&told)).collect().await;
    let asked = asked.lock().expect("nobody panics").iter().map(|line| short_path(line)).collect();
    // Ends the server.
    let _ = std::net::TcpStream::connect(address);
    (told, asked)
}

fn in_short(told: &Told<Slice>) -> String {
    match told {
        Told::Listing => "listing".into(),
        Told::Listed => "listed".into(),
        Told::Is(name, None) => format!("{name} is nothing"),
        Told::Is(name, Some(slice)) => format!("{name} is of {}", slice.service),
        Told::Gone(name) => format!("{name} is gone"),
        Told::LeftOut(what) => format!("left out {what}"),
        Told::Alive => "alive".into(),
        Told::Failed(failure) => format!("failed: {failure}"),
    }
}

/// `list endpoints continue=c` or `watch endpoints from=7`
fn short_path(line: &str) -> String {
    let path = line.trim_start_matches("GET ").split(' ').next().expect("a path");
    let (path, query) = path.split_once('?').expect("a query");
    let resource = path.strip_prefix("/apis/discovery.k8s.io/v1").or(path.strip_prefix("/api/v1"));
    let resource = resource.and_then(|path| path.strip_prefix("/namespaces/shop/")).expect("a resource");
    let get = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    match (get("watch"), get("continue")) {
        (Some(_), _) => {
            assert_eq!(get("allowWatchBookmarks"), Some("true"));
            format!("watch {resource} from {}", get("resourceVersion").expect("a version"))
        }
        (None, Some(token)) => format!("list {resource} from {token}"),
        (None, None) => format!("list {resource} of {}", get("limit").expect("a limit")),
    }
}

const A: &str = r#"{"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}"#;

fn page(version: &str, next: &str, items: &str) -> String {
    format!(r#"{{"metadata": {{"resourceVersion": "{version}", "continue": "{next}"}}, "items": [{items}]}}"#)
}

fn event(kind: &str, name: &str, version: u32) -> String {
    let object = format!(r#"{{"metadata": {{"name": "{name}", "resourceVersion": "{version}"}}}}"#);
    format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n")
}

#[tokio::test]
async fn pages_then_a_watch_which_goes_on_where_it_was() {
    let first = page("5", "c", A);
    let second = page("7", "", r#"{"metadata": {"name": "b"}}, {"metadata": {}}, 7"#);
    // A dead connection, an end, and a version that a bookmark told.
    let events = event("DELETED", "a", 8) + &event("ADDED", "c", 9) + "...";
    let bookmark = event("BOOKMARK", "", 12) + &event("SOMETHING", "new", 13);
    let (told, asked) =
        told(&[(200, &first), (200, &second), (200, &events), (200, &bookmark), (200, "...")], 12).await;
    let want = [
        "listing",
        "a is of web",
        "b is nothing",
        "left out an object without a name",
        "left out the API server's answer to a list of EndpointSlices cannot be read: \
         invalid type: integer `7`, expected struct Identity at line 1 column 1",
        "listed",
        "alive",
        "a is gone",
        "c is nothing",
        "alive",
        "alive",
        "alive",
    ];
    assert_eq!(told, want);
    let want = [
        "list endpointslices of 100",
        "list endpointslices from c",
        "watch endpointslices from 7",
        "watch endpointslices from 9",
        "watch endpointslices from 12",
    ];
    assert_eq!(asked[..5], want);
}

#[tokio::test]
async fn a_watch_that_lost_its_place_begins_with_a_list() {
    let error = "{\"type\": \"ERROR\", \"object\": {\"kind\": \"Status\", \"code\": 410}}\n";
    let page = page("7", "", "");
    let (told, asked) = told(&[(200, &page), (200, error), (200, &page), (410, "{}"), (200, &page)], 7).await;
    assert_eq!(told, ["listing", "listed", "alive", "listing", "listed", "listing", "listed"]);
    let list = "list endpointslices of 100";
    let watch = "watch endpointslices from 7";
    assert_eq!(asked[..5], [list, watch, list, watch, list]);
}

#[tokio::test]
async fn endpoints_are_asked_for_where_slices_may_not_be_and_decided_anew() {
    let page = page("7", "", "");
    let answers = [(403, "{}"), (200, page.as_str()), (403, "{}"), (404, "{}"), (403, "{}")];
    let (told, asked) = told(&answers, 7).await;
    let want = [
        "listing",
        "listing",
        "listed",
        "failed: the API server answers 403 Forbidden to a list of Endpoints",
        "listing",
        "listing",
        "failed: the API server answers 403 Forbidden to a list of Endpoints",
    ];
    assert_eq!(told, want);
    let (slices, endpoints) = ("list endpointslices of 100", "list endpoints of 100");
    assert_eq!(asked, [slices, endpoints, "watch endpoints from 7", slices, endpoints]);
}

#[tokio::test]
async fn what_fails_is_told_and_tried_again() {
    let page = page("7", "", "");
    let answers = [(500, "{}"), (200, "[]"), (200, page.as_str()), (504, "{}"), (200, "{}\n")];
    let (told, asked) = told(&answers, 8).await;
    let want = [
        "listing",
        "failed: the API server answers 500 Internal Server Error to a list of EndpointSlices",
        "listing",
        "failed: the API server's answer to a list of EndpointSlices cannot be read: \
         invalid length 0, expected struct Page with 2 elements at line 1 column 2",
        "listing",
        "listed",
        "failed: the API server answers 504 Gateway Timeout to a list of EndpointSlices",
        "alive",
    ];
    assert_eq!(told, want);
    let (list, watch) = ("list endpointslices of 100", "watch endpointslices from 7");
    assert_eq!(asked, [list, list, list, watch, watch]);
}

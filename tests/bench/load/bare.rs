//! The yardstick: a bare axum server with routes shaped like the registry's, which answers 200 bytes of JSON and does
//! nothing else; `/big/N` answers N bytes. What it costs is what the machine, tokio, hyper and axum cost.
//!
//! Ends with its parent: its standard input is a pipe that nobody else holds.
//! Never: looks at what it is asked.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// The most that `/big/N` answers.
const BIG: usize = 64 * 1024 * 1024;

/// Serves on this loopback port until the parent goes away.
pub(crate) fn run(port: u16) -> anyhow::Result<ExitCode> {
    std::thread::spawn(|| {
        // Nothing is ever sent: this returns when the other end is closed.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let listener = listener.tap_io(|stream| {
            // Without it small answers wait for acknowledgements; the registry sets it too.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router()).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn router() -> Router {
    let small = Bytes::from(small());
    let big = Bytes::from(small.repeat(BIG.div_ceil(small.len())));
    let big = move |Path(length): Path<usize>| async move {
        match length {
            0..=BIG => Ok(json(big.slice(..length))),
            _more => Err(StatusCode::NOT_FOUND),
        }
    };
    let with_path = {
        let small = small.clone();
        move |Path(_id): Path<String>| async move { json(small) }
    };
    let with_two = {
        let small = small.clone();
        move |Path((_app, _id)): Path<(String, String)>| async move { json(small) }
    };
    let with_path_and_body = {
        let small = small.clone();
        move |Path(_id): Path<String>, _body: Bytes| async move { json(small) }
    };
    let with_body = {
        let small = small.clone();
        move |_body: Bytes| async move { json(small) }
    };
    let plain = move || async move { json(small) };
    Router::new()
        .route("/health/ready", get(plain.clone()))
        .route("/big/{length}", get(big))
        .route("/api/v1/services", get(plain.clone()))
        .route("/api/v1/services/{name}", get(with_path.clone()))
        .route("/api/v1/instances", get(plain).merge(post(with_body.clone())))
        .route("/api/v1/instances/{id}", axum::routing::delete(with_path.clone()))
        .route("/api/v1/instances/{id}/heartbeat", put(with_path))
        .route("/api/v1/instances/{id}/status", put(with_path_and_body.clone()))
        .route("/api/v1/heartbeats", put(with_body))
        .route("/eureka/v2/apps/{app}", post(with_path_and_body))
        .route("/eureka/v2/apps/{app}/{id}", put(with_two))
}

fn json(body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], body)
}

/// 200 bytes that look like the answer to a registration.
fn small() -> String {
    let head = r#"{"id":"0123456789abcdef","ttl":30,"padding":""#;
    let tail = r#""}"#;
    format!("{head}{}{tail}", "x".repeat(200 - head.len() - tail.len()))
}

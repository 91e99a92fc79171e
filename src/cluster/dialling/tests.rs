//! Two members over loopback, with TLS and without, and those who only look like members.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cluster::config::ClusterTls;
use crate::cluster::network::Tcp;

const LIMIT: Duration = Duration::from_secs(10);

/// Writes an authority and a certificate of it.
fn files(directory: &Path, ca: &CertifiedIssuer<'static, KeyPair>) -> ClusterTls {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["whatever.example".to_owned()]).expect("a name");
    let of = |name: &str, text: String| {
        fs::write(directory.join(name), text).expect("written");
        directory.join(name)
    };
    ClusterTls {
        cert: of("cert.pem", params.signed_by(&key, ca).expect("signed").pem()),
        key: of("key.pem", key.serialize_pem()),
        ca: of("ca.pem", ca.pem()),
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn member(name: &str, secret: &str, tls: Option<ClusterTls>) -> Introduction<Tcp> {
    let tls = tls.map(|files| Arc::new(Tls::load(files).expect("the files are good")));
    Introduction { network: Tcp, me: MemberId(name.into()), incarnation: 1, key: Key::new(secret), tls }
}

/// What both ends have, the dialler first.
async fn meet(
    dialler: Introduction<Tcp>,
    dialled: Introduction<Tcp>,
) -> [Result<Greeted, HandshakeError>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = listener.local_addr().expect("bound").to_string().parse().expect("a place");
    let hears = async {
        let (stream, _) = listener.accept().await.expect("somebody dials");
        let mut met = dialled.hear(stream).await?;
        let welcome = met.answer.expect("the dialler waits").welcome();
        met.stream.write_all(&welcome).await?;
        met.stream.flush().await?;
        Ok((met.greeted, met.stream))
    };
    let dials = async { dialler.dial(place, LIMIT).await.map(|met| (met.greeted, met.stream)) };
    let (dialler, dialled) = tokio::join!(dials, hears);
    let both = dialler.as_ref().ok().zip(dialled.as_ref().ok()).is_some();
    let (mut streams, mut greeted) = (Vec::new(), Vec::new());
    for end in [dialler, dialled] {
        greeted.push(end.map(|(greeted, stream)| {
            streams.push(stream);
            greeted
        }));
    }
    if both {
        // What one says now comes to the other.
        let (mut far, mut near) = (streams.pop().expect("two"), streams.pop().expect("two"));
        near.write_all(b"hello").await.expect("open");
        near.flush().await.expect("open");
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.expect("open");
        assert_eq!(&bytes, b"hello");
    }
    greeted.try_into().expect("two")
}

#[tokio::test]
async fn members_meet_over_tcp() {
    let [a, b] = meet(member("a:1", "s", None), member("b:1", "s", None)).await;
    assert_eq!((&*a.unwrap().peer.0, &*b.unwrap().peer.0), ("b:1", "a:1"));
}

#[tokio::test]
async fn members_meet_over_tls_whatever_names_their_certificates_have() {
    let ca = authority();
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (a, b) = (files(one.path(), &ca), files(two.path(), &ca));
    let [near, far] = meet(member("a:1", "s", Some(a.clone())), member("b:1", "s", Some(b.clone()))).await;
    assert_eq!((&*near.unwrap().peer.0, &*far.unwrap().peer.0), ("b:1", "a:1"));
    let [near, far] = meet(member("a:1", "s", Some(a)), member("b:1", "t", Some(b))).await;
    assert!(matches!((near, far), (Err(HandshakeError::Secret(_)), Err(HandshakeError::Secret(_)))));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_worth_nothing() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (a, b) = (files(one.path(), &authority()), files(two.path(), &authority()));
    let [near, far] = meet(member("a:1", "s", Some(a)), member("b:1", "s", Some(b.clone()))).await;
    assert!(matches!((near, far), (Err(HandshakeError::Io(_)), Err(HandshakeError::Io(_)))));
    let [near, far] = meet(member("a:1", "s", None), member("b:1", "s", Some(b))).await;
    assert!(near.is_err() && far.is_err(), "plain does not speak to TLS");
}

#[tokio::test]
async fn files_of_tls_are_read_again_when_they_change() {
    let directory = TempDir::new().unwrap();
    let (old, new) = (authority(), authority());
    let tls = files(directory.path(), &old);
    let a = member("a:1", "s", Some(tls));
    let elsewhere = TempDir::new().unwrap();
    let b = member("b:1", "s", Some(files(elsewhere.path(), &new)));
    let [near, _] = meet(a.clone(), b.clone()).await;
    assert!(near.is_err());
    files(directory.path(), &new);
    let begun = std::time::Instant::now();
    while !matches!(meet(a.clone(), b.clone()).await, [Ok(_), Ok(_)]) {
        assert!(begun.elapsed() < LIMIT, "the new files are not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Files that cannot be used change nothing.
    fs::write(directory.path().join("cert.pem"), "rubbish").unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(matches!(meet(a, b).await, [Ok(_), Ok(_)]));
}

#[tokio::test]
async fn files_that_are_no_good_are_named() {
    let directory = TempDir::new().unwrap();
    let good = files(directory.path(), &authority());
    let empty = directory.path().join("empty");
    fs::write(&empty, "nothing").unwrap();
    for (tls, flag) in [
        (ClusterTls { cert: empty.clone(), ..good.clone() }, "--cluster_tls_cert"),
        (ClusterTls { key: empty.clone(), ..good.clone() }, "--cluster_tls_key"),
        (ClusterTls { ca: empty, ..good.clone() }, "--cluster_tls_ca"),
        (ClusterTls { ca: directory.path().join("gone"), ..good.clone() }, "--cluster_tls_ca"),
    ] {
        let error = Tls::load(tls).expect_err(flag).to_string();
        assert!(error.contains(flag), "{error}");
    }
    let other = TempDir::new().unwrap();
    let key = files(other.path(), &authority()).key;
    assert!(Tls::load(ClusterTls { key, ..good }).is_err(), "the key of another certificate");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let heard = member("b:1", "s", None).hear(stream);
    // A byte now and then does not help.
    let drips = async {
        for byte in b"a8member" {
            silent.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        heard = heard => assert!(matches!(heard, Err(HandshakeError::TimedOut)), "{heard:?}"),
        () = drips => panic!("it waited for all of it"),
    }
    // And one that dials is not kept by somebody who accepts and is silent.
    let place: Place = address.to_string().parse().unwrap();
    let dialled = member("a:1", "s", None).dial(place, Duration::from_secs(2)).await;
    assert!(matches!(dialled, Err(HandshakeError::TimedOut)), "{dialled:?}");
}

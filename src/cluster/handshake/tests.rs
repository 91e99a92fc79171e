//! Two ends of a pipe that know each other, and ends that do not.

use std::time::Duration;

use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn hello(id: &str, incarnation: u64) -> Hello {
    Hello { versions: VERSIONS, incarnation, nonce: [7; 32], id: MemberId(id.into()) }
}

type Outcome = (Result<Greeted, HandshakeError>, Result<Greeted, HandshakeError>);

/// Both ends with what each of them has.
async fn meet(dialler: (&Hello, &str, &[u8]), dialled: (&Hello, &str, &[u8])) -> Outcome {
    let (mut near, mut far) = duplex(4096);
    let dials = async {
        let met = dial(&mut near, dialler.0, &Key::new(dialler.1), dialler.2).await;
        drop(near);
        met
    };
    let accepts = async {
        let (greeted, answer) = accept(&mut far, dialled.0, &Key::new(dialled.1), dialled.2).await?;
        far.write_all(&answer.welcome()).await?;
        Ok(greeted)
    };
    timeout(PATIENCE, async { tokio::join!(dials, accepts) }).await.expect("both come to an end")
}

/// What the accepting end makes of these bytes, and how much it sent.
async fn told(bytes: &[u8]) -> (HandshakeError, usize) {
    let (mut near, mut far) = duplex(64 * 1024);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let error = accept(&mut far, &hello("b:1", 1), &Key::new("s"), b"").await.expect_err("no proof");
    drop(far);
    let mut sent = Vec::new();
    near.read_to_end(&mut sent).await.unwrap();
    (error, sent.len())
}

#[tokio::test]
async fn members_with_one_secret_know_each_other() {
    let (a, b) = (hello("a:1", 5), hello("b:1", 6));
    let (dialler, dialled) = meet((&a, "s", b"tls"), (&b, "s", b"tls")).await;
    assert_eq!(dialler.unwrap(), Greeted { peer: b.id, incarnation: 6, version: 1 });
    assert_eq!(dialled.unwrap(), Greeted { peer: a.id, incarnation: 5, version: 1 });
}

#[tokio::test]
async fn another_secret_is_told_from_both_ends() {
    let (a, b) = (hello("a:1", 5), hello("b:1", 6));
    let (dialler, dialled) = meet((&a, "s", b""), (&b, "t", b"")).await;
    assert_eq!(dialler.unwrap_err().to_string(), "member b:1 has another secret");
    assert_eq!(dialled.unwrap_err().to_string(), "member a:1 has another secret");
}

#[tokio::test]
async fn a_proof_is_worth_nothing_in_another_tls_session() {
    let (a, b) = (hello("a:1", 5), hello("b:1", 6));
    let (dialler, dialled) = meet((&a, "s", b"one"), (&b, "s", b"two")).await;
    assert!(
        matches!(dialler, Err(HandshakeError::Secret(_)))
            && matches!(dialled, Err(HandshakeError::Secret(_)))
    );
}

#[tokio::test]
async fn the_highest_common_version_is_spoken_and_without_one_both_say_so() {
    let versions = |min, max| Versions { min, max };
    for (ours, theirs, common) in [
        (versions(1, 1), versions(1, 1), Some(1)),
        (versions(1, 3), versions(2, 5), Some(3)),
        (versions(2, 3), versions(1, 2), Some(2)),
        (versions(1, 1), versions(2, 3), None),
        (versions(4, 5), versions(2, 3), None),
    ] {
        assert_eq!((ours.common(theirs), theirs.common(ours)), (common, common));
        let a = Hello { versions: ours, ..hello("a:1", 5) };
        let b = Hello { versions: theirs, ..hello("b:1", 6) };
        let (dialler, dialled) = meet((&a, "s", b""), (&b, "s", b"")).await;
        for end in [dialler, dialled] {
            match (end, common) {
                (Ok(greeted), Some(version)) => assert_eq!(greeted.version, version),
                (Err(HandshakeError::Version { .. }), None) => {}
                (end, common) => panic!("{common:?}: {end:?}"),
            }
        }
    }
}

#[tokio::test]
async fn oneself_is_known_from_one_of_the_same_name() {
    let a = hello("a:1", 5);
    let (dialler, dialled) = meet((&a, "s", b""), (&a, "s", b"")).await;
    assert!(matches!((dialler, dialled), (Err(HandshakeError::Oneself), Err(HandshakeError::Oneself))));
    let (dialler, _) = meet((&a, "s", b""), (&hello("a:1", 6), "s", b"")).await;
    assert!(matches!(dialler, Err(HandshakeError::SameName(_))));
}

#[tokio::test]
async fn garbage_costs_a_greeting_at_most() {
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 5000], &[0xff; 100], b""] {
        let (error, sent) = told(garbage).await;
        assert!(matches!(error, HandshakeError::Stranger | HandshakeError::Io(_)), "{error:?}");
        assert_eq!(sent, 0);
    }
    let greeting = hello("a:1", 1).encoded();
    for cut in 0..greeting.len() {
        assert!(matches!(told(&greeting[..cut]).await, (HandshakeError::Io(_), 0)));
    }
    let (error, sent) = told(&[&greeting[..], &[PROOF; 33]].concat()).await;
    assert!(matches!(error, HandshakeError::Secret(_)) && sent < 200, "{error:?} {sent}");
    for (at, byte) in [(8, 9), (HEAD, b' '), (HEAD, 0xff), (HEAD, b'\n'), (HEAD - 1, 0)] {
        let mut broken = greeting.clone();
        broken[at] = byte;
        assert!(matches!(told(&broken).await, (HandshakeError::Stranger, 0)), "{at} {byte}");
    }
}

#[tokio::test]
async fn a_dialler_is_told_that_it_is_not_wanted() {
    let (a, b) = (hello("a:1", 5), hello("b:1", 6));
    let (mut near, mut far): (DuplexStream, DuplexStream) = duplex(4096);
    let key = Key::new("s");
    let accepts = async {
        accept(&mut far, &b, &key, b"").await.unwrap();
        far.write_all(&Answer::unwanted()).await.unwrap();
    };
    let (dialler, ()) = tokio::join!(dial(&mut near, &a, &key, b""), accepts);
    assert!(matches!(dialler, Err(HandshakeError::Unwanted(_))));
}

#[tokio::test]
async fn what_a_dialler_said_cannot_be_said_back_to_it() {
    // The other end sends the dialler's own words and its proof back.
    let a = hello("a:1", 5);
    let (mut near, mut far) = duplex(4096);
    let echo = async {
        let (_, bytes) = read_hello(&mut far).await.unwrap();
        let mut theirs = bytes.clone();
        theirs[HEAD] = b'c';
        far.write_all(&theirs).await.unwrap();
        let (kind, proof) = read_message(&mut far).await.unwrap();
        far.write_all(&message(kind, &proof)).await.unwrap();
    };
    let key = Key::new("s");
    let (dialler, ()) = tokio::join!(dial(&mut near, &a, &key, b""), echo);
    assert!(matches!(dialler, Err(HandshakeError::Secret(_))));
}

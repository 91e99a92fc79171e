//! A directory with members that write, stop writing, leave, and files that are nobody's.

use std::fs;
use std::time::Instant;

use tempfile::TempDir;

use super::shelf::{REMOVED_AFTER, STALE_AFTER, WRITE_EVERY};
use super::*;
use crate::cluster::config::Place;
use crate::cluster::message::MemberId;
use crate::cluster::secret;

fn card(id: &str, incarnation: u64) -> Card {
    let place: Place = id.parse().expect("a place");
    Card::new(&MemberId(id.into()), &place, incarnation)
}

fn shelf(directory: &TempDir, id: &str) -> Shelf {
    Shelf::new(directory.path().to_owned(), card(id, 1), None)
}

fn ids(picture: &Picture) -> Vec<&str> {
    picture.seen.iter().filter_map(|seen| Some(&*seen.id.as_ref()?.0)).collect()
}

const A: &str = "10.0.0.1:1";
const B: &str = "10.0.0.2:1";

#[test]
fn members_see_each_other_while_they_write() {
    let directory = TempDir::new().unwrap();
    let (mut a, mut b) = (shelf(&directory, A), shelf(&directory, B));
    let begun = Instant::now();
    assert_eq!(ids(&a.look(begun)), [A]);
    assert_eq!(ids(&b.look(begun)), [A, B]);
    let mut now = begun;
    while now < begun + REMOVED_AFTER * 2 {
        now += WRITE_EVERY;
        assert_eq!(ids(&b.look(now)), [A, B]);
        assert_eq!(ids(&a.look(now)), [A, B]);
    }
    // B is no more.
    let last = now;
    while now <= last + STALE_AFTER {
        assert_eq!(ids(&a.look(now)), [A, B], "{:?}", now - last);
        now += Duration::from_secs(1);
    }
    while now <= last + REMOVED_AFTER {
        assert_eq!(ids(&a.look(now)), [A]);
        assert!(directory.path().join(Card::file_name(B)).exists());
        now += Duration::from_secs(1);
    }
    a.look(now);
    assert!(!directory.path().join(Card::file_name(B)).exists());
    // It comes back.
    b.look(now);
    assert_eq!(ids(&a.look(now)), [A, B]);
}

#[test]
fn who_leaves_politely_is_gone_at_once() {
    let directory = TempDir::new().unwrap();
    let (mut a, mut b) = (shelf(&directory, A), shelf(&directory, B));
    let now = Instant::now();
    a.look(now);
    b.look(now);
    assert_eq!(ids(&a.look(now)), [A, B]);
    b.withdraw();
    assert_eq!(ids(&a.look(now)), [A]);
    b.look(now + WRITE_EVERY);
    assert_eq!(ids(&a.look(now + WRITE_EVERY)), [A], "it does not come back by itself");
}

#[test]
fn a_successor_s_file_is_not_removed_by_the_one_before() {
    let directory = TempDir::new().unwrap();
    let mut before = shelf(&directory, A);
    let now = Instant::now();
    before.look(now);
    let mut after = Shelf::new(directory.path().to_owned(), card(A, 2), None);
    after.look(now);
    before.withdraw();
    assert_eq!(ids(&after.look(now)), [A]);
    let text = fs::read(directory.path().join(Card::file_name(A))).unwrap();
    assert_eq!(card::next_incarnation(&Card::file_name(A), &text), Some(3));
}

#[test]
fn what_is_no_member_s_file_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let whole = card(B, 1).text();
    for (name, text) in [
        ("10.9.8.7:6100", r#"{"ip":"10.9.8.7","port":6100,"timestamp":"2026-01-01T00:00:00Z"}"#),
        ("notes.txt", "hello"),
        ("10.0.0.3:1.json", &whole),
        ("10.0.0.2:1.json", &whole[..whole.len() / 2]),
        ("10.0.0.4:1.json", r#"{"format":2,"future":true}"#),
        ("10.0.0.5:1.json", &" ".repeat(5000)),
        (
            "10.0.0.6:1.json",
            r#"{"format":1,"id":"10.0.0.6:1","addresses":["nowhere"],"incarnation":1,"counter":1,"protocol":{"min":1,"max":1},"version":"2"}"#,
        ),
        (secret::FILE, "not looked at"),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    fs::create_dir(directory.path().join("folder.json")).unwrap();
    let mut a = shelf(&directory, A);
    let mut now = Instant::now();
    for _ in 0..30 {
        let picture = a.look(now);
        assert_eq!((ids(&picture), &picture.trouble), (vec![A], &None));
        now += WRITE_EVERY;
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 10, "nothing of it is removed");
    // A half-written file of somebody who was known already does not lose them.
    fs::write(directory.path().join("10.0.0.2:1.json"), &whole).unwrap();
    assert_eq!(ids(&a.look(now)), [A, B]);
    fs::write(directory.path().join("10.0.0.2:1.json"), &whole[..9]).unwrap();
    assert_eq!(ids(&a.look(now)), [A, B]);
}

#[test]
fn a_directory_that_is_gone_for_a_while_loses_nobody() {
    let parent = TempDir::new().unwrap();
    let (directory, aside) = (parent.path().join("members"), parent.path().join("aside"));
    fs::create_dir(&directory).unwrap();
    let secret = SharedSecret::of(&directory).unwrap();
    let of = |id| Shelf::new(directory.clone(), card(id, 1), Some(secret.clone()));
    let (mut a, mut b) = (of(A), of(B));
    let mut now = Instant::now();
    a.look(now);
    b.look(now);
    assert_eq!(ids(&a.look(now)), [A, B]);
    fs::rename(&directory, &aside).unwrap();
    fs::write(&directory, "a file in its place").unwrap();
    for _ in 0..30 {
        now += WRITE_EVERY;
        let picture = a.look(now);
        assert_eq!(ids(&picture), [A, B]);
        assert!(picture.trouble.is_some_and(|trouble| trouble.contains("members")) && picture.is_known);
        b.look(now);
    }
    // It comes back empty; A is the first to see it.
    fs::remove_file(&directory).unwrap();
    let picture = a.look(now);
    assert_eq!((ids(&picture), &picture.trouble), (vec![A, B], &None));
    b.look(now);
    assert_eq!(ids(&a.look(now)), [A, B]);
    assert!(secret.file().exists(), "the secret is put back");
}

#[tokio::test]
async fn changes_are_seen_without_waiting_for_the_next_look() {
    let directory = TempDir::new().unwrap();
    let mut source = DirectoryMembers::new(directory.path().to_owned(), card(A, 1), None);
    source.next().await;
    let mut b = shelf(&directory, B);
    b.look(Instant::now());
    let seen = async {
        loop {
            if ids(&source.next().await) == [A, B] {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), seen).await.expect("it is seen");
    source.withdraw().await;
    assert!(!directory.path().join(Card::file_name(A)).exists());
}

//! What ended or changed here while a peer was asked: what the peer says then is too old.
//!
//! Never: lets chance decide who comes first.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{
    BATCH, LIST, item, items, list_of, listed, no_applications, peered, sample, taken, until_ready, well,
};
use crate::support::client::instance;
use crate::support::upstream::{Said, Upstream};
use crate::support::{PATIENCE, eventually};

/// An answer that a test gives later than it was asked for.
struct Late {
    answer: SyncSender<Said>,
    waiting: Mutex<Receiver<Said>>,
}

// === impl Late ===

impl Late {
    fn new() -> Arc<Self> {
        let (answer, waiting) = sync_channel(1);
        Arc::new(Self { answer, waiting: Mutex::new(waiting) })
    }

    fn give(&self, answer: Said) {
        self.answer.send(answer).expect("somebody waits for it");
    }

    fn wait(&self) -> Said {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.recv_timeout(PATIENCE).unwrap_or((500, None))
    }
}

#[test]
fn a_list_does_not_undo_what_was_written_since_this_server_started() {
    let late = Late::new();
    let list = late.clone();
    let peer = Upstream::start(move |asked| match asked.line.as_str() {
        LIST => list.wait(),
        _ => well(asked, &no_applications(), taken),
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    eventually("the list is asked for", || peer.asked().iter().any(|asked| asked.line == LIST).then_some(()));
    // Of either API, ended.
    let ended = client.register(&instance("web", "10.0.0.1:80"));
    client.delete(&format!("/api/v1/instances/{ended}")).ok();
    let register = |id: &str| {
        let body = json!({ "instance": listed(id, "UP", "UNKNOWN", 1_750_000_000_000) }).to_string();
        let line = "POST /eureka/v2/apps/SHOP";
        assert_eq!(client.send(line, &body).status, 204, "{id}");
    };
    for id in ["ended", "anew", "out"] {
        register(id);
    }
    for id in ["ended", "anew"] {
        client.delete(&format!("/eureka/v2/apps/SHOP/{id}")).ok();
    }
    register("anew");
    client.put("/eureka/v2/apps/SHOP/out/status?value=OUT_OF_SERVICE", "").ok();

    let mut native = listed(&ended, "UP", "UNKNOWN", 0);
    native["app"] = json!("WEB");
    let newer = 1_750_000_000_001;
    late.give((
        200,
        Some(list_of(&[
            native,
            listed("ended", "UP", "UNKNOWN", newer),
            listed("anew", "DOWN", "DOWN", newer),
            listed("out", "DOWN", "DOWN", newer),
            listed("other", "DOWN", "UNKNOWN", newer),
        ])),
    ));
    let result = |result: &str| daemon.metric(&sample("a8_peer_instances_total", &peer, result));
    daemon.until_metric(&sample("a8_peer_instances_total", &peer, ",result=\"registered\""), 1.0);
    until_ready(&client);
    assert_eq!(result(",result=\"outdated\""), 4.0);
    let statuses: Vec<_> = ["ended", "anew", "out", "other"]
        .iter()
        .map(|id| client.get(&format!("/api/v1/instances/SHOP:{id}")).json()["status"].clone())
        .collect();
    assert_eq!(statuses, [Value::Null, json!("UP"), json!("OUT_OF_SERVICE"), json!("DOWN")]);
    for id in [ended.clone(), format!("WEB:{ended}")] {
        assert_eq!(client.get(&format!("/api/v1/instances/{id}")).status, 404, "{id}");
    }
}

/// An instance whose renewal the peer answers by `said` after it was deregistered here.
#[track_caller]
fn check_late_answer(said: &Value) {
    let late = Late::new();
    let answers = late.clone();
    let peer = Upstream::start(move |asked| match asked.line.as_str() {
        BATCH if asked.json()["replicationList"][0]["action"] == "Heartbeat" => answers.wait(),
        _ => well(asked, &list_of(&[listed("a", "UP", "UNKNOWN", 1_750_000_000_042)]), taken),
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    until_ready(&client);
    client.renew("SHOP:a").ok();
    item(&peer, "Heartbeat");
    client.delete("/eureka/v2/apps/SHOP/a").ok();
    late.give((200, Some(json!({ "responseList": [said] }))));
    eventually("its end is told", || {
        items(&peer).iter().any(|item| item["action"] == "Cancel").then_some(())
    });
    // What is sent after that comes after all that the answer led to.
    client.register(&instance("web", "x"));
    item(&peer, "Register");
    assert_eq!(client.get("/api/v1/instances/SHOP:a").status, 404);
    let of_it: Vec<_> = items(&peer).into_iter().filter(|item| item["id"] == "a").collect();
    assert_eq!(of_it.iter().filter(|item| item["action"] == "Register").count(), 0, "{of_it:?}");
}

#[test]
fn a_peer_that_does_not_know_it_is_not_told_of_what_ended_meanwhile() {
    check_late_answer(&json!({"statusCode": 404}));
}

#[test]
fn a_newer_copy_of_a_peer_does_not_bring_back_what_ended_meanwhile() {
    let newer = listed("a", "UP", "UNKNOWN", 1_750_000_000_043);
    check_late_answer(&json!({"statusCode": 409, "responseEntity": newer}));
}

#[test]
fn what_a_peer_ended_while_it_waited_is_told_to_no_other() {
    let late = Late::new();
    let busy = late.clone();
    let peer = Upstream::start(move |asked| match asked.line.as_str() {
        BATCH if asked.json()["replicationList"][0]["appName"] == "first" => busy.wait(),
        _ => well(asked, &no_applications(), taken),
    });
    let daemon = peered(&peer, "");
    let client = daemon.client();
    client.register(&instance("first", "x"));
    item(&peer, "Register");
    let id = client.register(&instance("web", "y"));
    let cancel = json!({"replicationList": [{"appName": "web", "id": id, "action": "Cancel"}]}).to_string();
    let line = "POST /eureka/v2/peerreplication/batch/";
    assert_eq!(client.send(line, &cancel).ok().json()["responseList"][0]["statusCode"], 200);
    late.give((200, Some(json!({"responseList": [{"statusCode": 200}]}))));
    daemon.until_metric(&sample("a8_peer_items_total", &peer, ",result=\"outdated\""), 1.0);
    assert!(items(&peer).iter().all(|item| item["appName"] == "first"), "{:?}", items(&peer));
}

//! Batches as servers send them, and what is answered.

use std::time::Duration;

use super::*;
use crate::model::{Endpoint, EndpointType, Registration};

fn instance() -> Instance {
    let asked = Registration {
        service: "s".parse().unwrap(),
        endpoint: Endpoint::new(EndpointType::Tcp, "h:1").unwrap(),
        status: Status::Up,
        tags: [].into(),
        metadata: None,
        ttl: None,
        eureka: None,
    };
    asked.grant(Duration::from_secs(90), Timestamp::from_millis(1))
}

const SAMPLE: &str = r#"{"replicationList":[
  {"appName":"PAYMENTS","id":"pay-1","lastDirtyTimestamp":1750000000042,"status":"UP","instanceInfo":{"instanceId":"pay-1","hostName":"h","app":"PAYMENTS"},"action":"Register"},
  {"appName":"PAYMENTS","id":"pay-3","lastDirtyTimestamp":1750000000555,"overriddenStatus":"OUT_OF_SERVICE","status":"OUT_OF_SERVICE","action":"Heartbeat"},
  {"appName":"PAYMENTS","id":"pay-4","lastDirtyTimestamp":"1750000000777","status":"ASLEEP","action":"StatusUpdate"},
  {"appName":"PAYMENTS","id":"pay-4","lastDirtyTimestamp":null,"status":null,"action":"DeleteStatusOverride","more":[]},
  {"appName":"REPORTS","id":"rep-7","action":"Cancel"}]}"#;

#[test]
fn the_sample_of_the_protocol_is_read() {
    let items = BatchBody::from_json(SAMPLE.as_bytes()).unwrap().items;
    let of = |item: &BatchItem| {
        (item.id.clone(), item.dirty_at.map(Timestamp::as_millis), item.status, item.overridden, item.action)
    };
    let got: Vec<_> = items.iter().map(of).collect();
    let out = Some(Status::OutOfService);
    let want = [
        ("pay-1".to_owned(), Some(1_750_000_000_042), Some(Status::Up), None, BatchAction::Register),
        ("pay-3".to_owned(), Some(1_750_000_000_555), out, out, BatchAction::Heartbeat),
        ("pay-4".to_owned(), Some(1_750_000_000_777), None, None, BatchAction::StatusUpdate),
        ("pay-4".to_owned(), None, None, None, BatchAction::DeleteStatusOverride),
        ("rep-7".to_owned(), None, None, None, BatchAction::Cancel),
    ];
    assert_eq!(got, want);
    let bodies: Vec<_> =
        items.iter().map(|item| item.instance.as_ref().and_then(|b| b.application())).collect();
    assert_eq!(bodies, [Some("PAYMENTS"), None, None, None, None]);
}

#[test]
fn what_is_no_batch_is_refused() {
    for body in ["{}", "null", r#"{"replicationList":null}"#] {
        assert_eq!(BatchBody::from_json(body.as_bytes()), Err(BadBatch::NoList), "{body}");
    }
    for body in [
        "",
        "[]",
        r#"{"replicationList":5}"#,
        r#"{"replicationList":[5]}"#,
        r#"{"replicationList":[{"appName":"A","id":"i"}]}"#,
        r#"{"replicationList":[{"appName":"A","id":"i","action":"register"}]}"#,
        r#"{"replicationList":[{"appName":"A","id":"i","action":"Cancel","instanceInfo":5}]}"#,
        r#"{"replicationList":[{"appName":"A","id":"i","action":"Cancel","lastDirtyTimestamp":"x"}]}"#,
    ] {
        let refused = BatchBody::from_json(body.as_bytes());
        assert!(matches!(refused, Err(BadBatch::Unreadable(_))), "{body}: {refused:?}");
    }
}

#[test]
fn items_have_the_members_of_the_protocol() {
    let instance = instance();
    let empty = ItemToSend {
        application: "A",
        id: "i\"",
        dirty_at: None,
        status: None,
        overridden: None,
        instance: None,
        action: BatchAction::Cancel,
    };
    let dirty_at = Some(Timestamp::from_millis(7));
    let full = ItemToSend {
        dirty_at,
        status: Some(Status::Up),
        overridden: Some(Status::OutOfService),
        action: BatchAction::Heartbeat,
        ..empty
    };
    let register = ItemToSend {
        dirty_at,
        status: Some(Status::Up),
        instance: Some((&instance, Timestamp::from_millis(9))),
        action: BatchAction::Register,
        ..empty
    };
    let written = |item| {
        let mut to = Vec::new();
        push_item(&mut to, &item);
        String::from_utf8(to).unwrap()
    };
    assert_eq!(written(empty), r#"{"appName":"A","id":"i\"","action":"Cancel"}"#);
    assert_eq!(
        written(full),
        r#"{"appName":"A","id":"i\"","lastDirtyTimestamp":7,"overriddenStatus":"OUT_OF_SERVICE","status":"UP","action":"Heartbeat"}"#
    );
    let text = written(register);
    assert!(text.contains(r#""status":"UP","instanceInfo":{"instanceId":""#), "{text}");
    assert!(text.ends_with(r#","actionType":"ADDED"},"action":"Register"}"#), "{text}");

    let items = [empty, full, register].map(written);
    let batch = BatchBody::from_json(&batch_of(items.iter().map(String::as_bytes))).unwrap();
    let actions: Vec<_> = batch.items.iter().map(|item| item.action).collect();
    assert_eq!(actions, [BatchAction::Cancel, BatchAction::Heartbeat, BatchAction::Register]);
    assert_eq!(batch_of([]), br#"{"replicationList":[]}"#);
}

#[test]
fn answers_have_the_members_of_the_protocol() {
    let ours = Entity::Ours { instance: Arc::new(instance()), renewed: Timestamp::from_millis(9) };
    let answer = BatchAnswer {
        items: vec![
            BatchItemAnswer { status: 200, entity: None },
            BatchItemAnswer { status: 409, entity: Some(ours) },
        ],
    };
    let json = String::from_utf8(answer.to_json()).unwrap();
    let head = r#"{"responseList":[{"statusCode":200},{"statusCode":409,"responseEntity":{"instanceId":""#;
    assert!(json.starts_with(head) && json.ends_with("\"}}]}"), "{json}");
    let back = BatchAnswer::from_json(json.as_bytes()).unwrap();
    assert_eq!(back.items.iter().map(|item| item.status).collect::<Vec<_>>(), [200, 409]);
    let [BatchItemAnswer { entity: None, .. }, BatchItemAnswer { entity: Some(Entity::Theirs(body)), .. }] =
        &*back.items
    else {
        panic!("{back:?}");
    };
    assert_eq!(body.application(), Some("s"));
}

#[test]
fn answers_of_other_servers_are_read() {
    let answer = br#"{"responseList":{"statusCode":404,"responseEntity":null}}"#;
    let want = vec![BatchItemAnswer { status: 404, entity: None }];
    assert_eq!(BatchAnswer::from_json(answer), Ok(BatchAnswer { items: want }));
    assert_eq!(BatchAnswer::from_json(b"{}"), Err(BadBatch::NoList));
    assert!(BatchAnswer::from_json(br#"{"responseList":[{}]}"#).is_err());
}

//! What is written at one member is what all have.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_registered_at_one_is_at_once_the_same_at_all() {
    let mut net = Net::of(3);
    let mut all: Vec<_> = [Status::Up, Status::Starting, Status::OutOfService, Status::Down, Status::Unknown]
        .into_iter()
        .zip(["u", "s", "o", "d", "n"])
        .map(|(status, value)| Instance { status, ..instance(value) })
        .collect();
    all.push(eureka("h", Status::Up, 77));
    for (at, it) in all.iter().enumerate() {
        assert!(net.members[at % 3].register(it).changed);
    }
    net.pump();
    assert!(net.agree());
    for member in &net.members {
        for it in &all {
            let here = member.get(it).expect("it is here");
            assert!(here.same_content(it) && here.dirty_at == it.dirty_at, "{here:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn repeating_a_registration_at_another_member_is_a_renewal() {
    let mut net = Net::of(2);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(6)).await;
    let revisions = [net.members[0].revision(), net.members[1].revision()];
    assert!(!net.members[1].register(&it).changed);
    net.pass(secs(1)).await;
    assert_eq!([net.members[0].revision(), net.members[1].revision()], revisions);
    assert!(net.members[0].age(&it) < secs(2));
    net.pass(secs(8)).await;
    assert!(net.members.iter().all(|member| member.get(&it).is_some()), "the lease began anew everywhere");
}

#[tokio::test(start_paused = true)]
async fn changes_at_any_member_are_the_same_at_all_and_have_their_causes() {
    let mut net = Net::of(2);
    let it = instance("x");
    net.members[0].register(&it);
    net.pump();
    net.members[1].update(&it, Update::Status(Status::OutOfService));
    net.pump();
    net.members[0].update(&it, Update::Status(Status::OutOfService));
    net.pump();
    let metadata = Update::Metadata { entries: vec![("k".into(), "v".into())], max: 1000 };
    let last = net.members[0].update(&it, metadata);
    net.pump();
    assert_eq!(net.members[1].get(&it), Some(last));
    assert!(net.agree());
    net.members[1].deregister(&it);
    net.pump();
    let puts = |causes: [Cause; 3], end| {
        let puts = causes.into_iter().map(|cause| (Op::Put, cause));
        puts.chain([(Op::Remove, end)]).collect::<Vec<_>>()
    };
    let (client, peer) = (Cause::Client, Cause::Peer);
    assert_eq!(net.members[0].causes(), puts([client, peer, client], peer));
    assert_eq!(net.members[1].causes(), puts([peer, client, peer], client));
}

#[tokio::test(start_paused = true)]
async fn what_was_deregistered_stays_gone_also_where_it_was_not_heard_at_first() {
    let mut net = Net::of(3);
    let it = Instance { ttl: secs(300), ..instance("x") };
    net.members[0].register(&it);
    net.pump();
    net.cut(0, 2);
    net.cut(1, 2);
    net.members[1].deregister(&it);
    net.pass(secs(20)).await;
    assert!(net.members[2].get(&it).is_some(), "it has not heard");
    net.connect(0, 2);
    net.pass(secs(1)).await;
    assert!(net.members.iter().all(|member| member.get(&it).is_none()));
    net.connect(1, 2);
    net.pass(secs(20)).await;
    assert!(net.members.iter().all(|member| member.get(&it).is_none()));
    assert!(net.members[0].register(&it).changed, "it may be registered anew");
    net.pump();
    assert!(net.members.iter().all(|member| member.get(&it).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_eureka_document_its_version_and_an_override_survive_everywhere() {
    let mut net = Net::of(2);
    let it = eureka("h", Status::Up, 1000);
    net.members[0].register(&it);
    net.pump();
    let overridden = Update::Override { status: Status::OutOfService, dirty_at: None };
    net.members[1].update(&it, overridden);
    net.pump();
    let here = net.members[0].get(&it).expect("it is here");
    assert_eq!((here.status, here.overridden), (Status::OutOfService, Some(Status::OutOfService)));
    assert_eq!(here.document, it.document);
    // The client says UP again at another member: the override, which only the other was told, stays.
    net.members[0].register(&eureka("h", Status::Up, 2000));
    net.pump();
    net.restart(1);
    net.connect(0, 1);
    net.pass(secs(1)).await;
    for member in &net.members {
        let here = member.get(&it).expect("it is here");
        assert_eq!((here.status, here.overridden), (Status::OutOfService, Some(Status::OutOfService)));
        assert_eq!((here.dirty_at, &here.document), (Timestamp::from_millis(2000), &it.document));
    }
    assert!(net.agree());
    let older = net.members[1].register(&eureka("h", Status::Up, 1500));
    assert!(!older.changed, "an older version of the document is a renewal");
}

#[tokio::test(start_paused = true)]
async fn equal_ids_in_two_namespaces_are_two_instances() {
    let mut net = Net::of(2);
    let it = instance("x");
    let (one, two): (Namespace, Namespace) = ("one".parse().unwrap(), "two".parse().unwrap());
    for (at, namespace) in [(0, &one), (1, &two)] {
        let registered = net.members[at].store.register(namespace, it.clone(), Origin::Client);
        assert!(given(registered).is_ok());
    }
    net.pump();
    assert!(given(net.members[1].store.deregister(&one, it.id.as_str(), Origin::Client)).is_ok());
    net.pump();
    for member in &net.members {
        let has = |namespace| {
            member.store.directory(namespace).is_some_and(|it_| it_.get(it.id.as_str()).is_some())
        };
        assert_eq!((has(&one), has(&two)), (false, true));
    }
}

#[tokio::test(start_paused = true)]
async fn many_at_once_arrive_at_once() {
    let mut net = Net::of(2);
    net.cut(0, 1);
    let all: Vec<_> = (0..3000).map(|nth| instance(&format!("10.0.{}.{}:1", nth / 250, nth % 250))).collect();
    all.iter().for_each(|it| drop(net.members[0].register(it)));
    net.connect(0, 1);
    net.pass(secs(2)).await;
    assert!(net.agree());
    assert_eq!(net.members[1].len(), 3000);
    assert!(net.members[1].replication.is_caught_up());
}

#[tokio::test(start_paused = true)]
async fn who_joins_has_what_the_others_have_when_it_lets_readers_in() {
    let mut net = Net::of(1);
    let all: Vec<_> = (0..300).map(|nth| instance(&format!("h{nth}:1"))).collect();
    all.iter().for_each(|it| drop(net.members[0].register(it)));
    net.members.push(Member::closed("b", 1, config(), HOLD));
    net.connect(0, 1);
    net.pump();
    // Renewals, changes and deregistrations are in order with what nobody sees yet.
    net.pass(secs(1)).await;
    net.members[0].update(&all[0], Update::Status(Status::OutOfService));
    net.members[0].deregister(&all[1]);
    net.members[1].register(&instance("own:1"));
    net.members[1].deregister(&all[2]);
    assert_eq!(net.members[1].renew(&all[3]), Ok(()));
    let late: Vec<_> = (0..30).map(|nth| instance(&format!("late{nth}:1"))).collect();
    late.iter().for_each(|it| drop(net.members[0].register(it)));
    net.pass(secs(1)).await;
    assert!(net.members[1].len() < 329, "some are not shown yet");
    assert!(net.members[1].get(&late[0]).is_some(), "and known");
    net.members[1].replication.open();
    assert!(net.agree());
    assert_eq!(net.members[1].len(), 329);
    let causes = net.members[1].causes();
    assert_eq!(causes.iter().filter(|(_, cause)| *cause == Cause::Client).count(), 2);
    assert_eq!(causes.len(), 300 + 1 + 1 + 1 + 1 + 30);
    let after = instance("after:1");
    net.members[0].register(&after);
    net.pump();
    assert!(net.agree() && net.members[1].get(&after).is_some(), "what comes now is seen at once");
}

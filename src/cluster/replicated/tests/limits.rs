//! Limits are each member's own, and what is not heard yet is not denied.

use super::*;

#[tokio::test(start_paused = true)]
async fn capacity_refuses_who_registers_here_and_nobody_who_is_told_of() {
    let mut net = Net::of(1);
    let narrow = MemoryConfig { namespace_capacity: Some(2), ..config() };
    net.members.push(Member::new("b", 1, narrow, HOLD));
    net.connect(0, 1);
    net.members[1].register(&instance("b:1"));
    for value in ["a:1", "a:2", "a:3"] {
        net.members[0].register(&instance(value));
    }
    net.pump();
    assert_eq!((net.members[0].len(), net.members[1].len()), (4, 4));
    let refused = net.members[1].try_register(&instance("b:2"));
    assert_eq!(refused, Err(StoreError::NamespaceFull { capacity: 2 }));
    assert!(!net.members[1].register(&instance("a:1")).changed, "repeating is always allowed");
    net.pump();
    assert_eq!(net.members[0].len(), 4, "nobody was told of who was refused");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_too_many_is_refused_and_the_others_are_not() {
    let mut net = Net::of(1);
    let narrow = MemoryConfig { max_namespaces: 1, ..config() };
    net.members.push(Member::new("b", 1, narrow, HOLD));
    net.connect(0, 1);
    let it = instance("x");
    let namespaces: [Namespace; 2] = ["one".parse().unwrap(), "two".parse().unwrap()];
    for namespace in &namespaces {
        assert!(given(net.members[0].store.register(namespace, it.clone(), Origin::Client)).is_ok());
        net.pass(secs(1)).await;
    }
    assert!(net.members[1].store.directory(&namespaces[0]).is_some());
    assert!(net.members[1].store.directory(&namespaces[1]).is_none());
    for _ in 0..3 {
        net.pass(secs(5)).await;
        for namespace in &namespaces {
            given(net.members[0].store.renew(namespace, it.id.as_str())).expect("it lives");
        }
    }
    let living = |at: usize, namespace| {
        net.members[at].store.directory(namespace).is_some_and(|it_| it_.get(it.id.as_str()).is_some())
    };
    assert!(living(0, &namespaces[0]) && living(0, &namespaces[1]) && living(1, &namespaces[0]));
}

#[tokio::test(start_paused = true)]
async fn before_all_is_heard_nobody_is_told_that_an_instance_is_not_there() {
    let clock = Arc::new(Clock::default());
    let memory = Arc::new(MemoryStore::tracking(config(), clock.clone(), StoreMetrics::default()));
    let settings = Settings {
        me: MemberId("a".into()),
        incarnation: 1,
        max_ttl: secs(600),
        hold: HOLD,
        flush: Duration::from_millis(200),
        frame_max: 64 << 10,
        leases: LeaseRules::default(),
    };
    let replication = Replication::new(settings, memory.clone(), clock);
    let store = ReplicatedStore::new(memory, replication.clone());
    let namespace = Namespace::default();
    let (here, elsewhere) = (instance("x"), instance("y"));
    let ask = |it: &Instance| {
        let id = it.id.as_str();
        let many = given(store.renew_many(&namespace, &[id.into()])).map(|each| each[0].clone());
        let update = Update::Status(Status::Down);
        [
            given(store.renew(&namespace, id)),
            many.and_then(|one| one),
            given(store.update(&namespace, id, update, Origin::Client)).map(drop),
            given(store.deregister(&namespace, id, Origin::Client)).map(drop),
        ]
    };
    assert_eq!(store.standing(), Standing::Unread);
    assert!(given(store.register(&namespace, here.clone(), Origin::Client)).is_ok(), "writes are taken");
    assert_eq!(ask(&elsewhere), [const { Err(StoreError::Unavailable) }; 4]);
    assert_eq!(ask(&here), [const { Ok(()) }; 4]);
    replication.open();
    assert_eq!(store.standing(), Standing::Current);
    assert_eq!(ask(&elsewhere), [const { Err(StoreError::NoSuchInstance) }; 4]);
}

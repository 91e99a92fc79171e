//! Leases: whoever renews anywhere lives everywhere, whoever does not is gone everywhere.

use super::*;
use crate::registry::{Forward, Forwarded, Registry};

#[tokio::test(start_paused = true)]
async fn who_renews_anywhere_lives_everywhere_and_its_heartbeat_is_seen() {
    let mut net = Net::of(3);
    let it = instance("x");
    net.members[0].register(&it);
    for round in 0..12 {
        net.pass_and(secs(5), |net| {
            for member in &net.members {
                assert!(member.get(&it).is_some(), "{} lost it", member.name);
                assert!(member.age(&it) <= Duration::from_millis(5500), "{} has not heard", member.name);
            }
        })
        .await;
        net.members[round % 3].renew(&it).expect("it lives");
    }
    assert_eq!(net.members.iter().map(Member::revision).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(net.members.iter().all(|member| member.held() == 0));
}

#[tokio::test(start_paused = true)]
async fn who_stops_renewing_is_gone_everywhere_soon_after_its_lease() {
    let mut net = Net::of(3);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(4)).await;
    net.members[1].renew(&it).expect("it lives");
    let mut seen = 0_u32;
    net.pass_and(TTL + Duration::from_millis(700), |net| {
        let ran = secs(4) + TTL;
        let at = Duration::from_millis(net.steps * STEP);
        for member in &net.members {
            let is_here = member.get(&it).is_some();
            assert!(is_here || ran <= at, "{} lost it at {at:?}", member.name);
            seen += u32::from(is_here);
        }
    })
    .await;
    assert!(0 < seen);
    assert!(net.members.iter().all(|member| member.len() == 0), "gone from every list");
    assert_eq!(net.members[2].causes().last(), Some(&(Op::Remove, Cause::Expiry)));
    assert!(net.members.iter().all(|member| member.replication.report().alive == 0));
    net.pass(secs(30)).await;
    assert!(net.members.iter().all(|member| member.len() == 0), "and it does not come back");
}

#[tokio::test(start_paused = true)]
async fn who_is_out_of_service_stays_without_renewals_also_at_who_joins_late() {
    let mut net = Net::of(2);
    let it = Instance { status: Status::OutOfService, ..instance("x") };
    net.members[0].register(&it);
    net.pass(secs(40)).await;
    net.restart(1);
    net.connect(0, 1);
    net.pass(secs(40)).await;
    assert!(net.members.iter().all(|member| member.get(&it).is_some()));
    net.members[1].update(&it, Update::Status(Status::Up));
    net.pass(secs(9)).await;
    assert!(net.members.iter().all(|member| member.get(&it).is_some()), "its lease has just begun");
    net.pass(secs(2)).await;
    assert!(net.members.iter().all(|member| member.len() == 0));
}

#[tokio::test(start_paused = true)]
async fn renewals_told_by_members_count_for_self_preservation() {
    let leases = LeaseRules { self_preservation: true, ..LeaseRules::default() };
    let mut net = Net::with(2, MemoryConfig { leases, ..config() }, HOLD);
    let all: Vec<_> =
        (0..10).map(|nth| Instance { ttl: secs(90), ..instance(&format!("h:{nth}")) }).collect();
    all.iter().for_each(|it| drop(net.members[0].register(it)));
    for _ in 0..2 {
        net.pass(secs(30)).await;
        all.iter().for_each(|it| net.members[0].renew(it).expect("it lives"));
        net.pass(secs(1)).await;
    }
    for member in &net.members {
        member.memory.end_minute(false, member.clock.now());
        let preservation = member.directory().expect("they are here").preservation();
        assert_eq!((preservation.expected, preservation.renewals), (10, 20), "{}", member.name);
        assert!(!preservation.is_preserving);
    }
    // All fall silent: both keep them.
    net.members.iter().for_each(|member| member.memory.end_minute(false, member.clock.now()));
    net.pass(secs(200)).await;
    assert!(net.members.iter().all(|member| member.len() == 10 && member.get(&all[0]).is_some()));
}

#[derive(Debug, Default)]
struct Recorder(parking_lot::Mutex<Vec<String>>);

impl Forward for Recorder {
    fn wants(&self, _: &Namespace) -> bool {
        true
    }

    fn offer(&self, write: Forwarded) {
        let kind = match write {
            Forwarded::Register(_) => "register",
            Forwarded::Renew(_) => "renew",
            Forwarded::Override { .. } => "override",
            Forwarded::ClearOverride { .. } => "clear",
            Forwarded::Deregister(_) => "deregister",
        };
        self.0.lock().push(kind.into());
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_member_that_took_a_write_forwards_it_to_eureka_peers() {
    let mut net = Net::of(2);
    let limits = crate::model::TtlLimits { default: TTL, min: TTL, max: TTL };
    let offered: Vec<_> = net
        .members
        .iter()
        .map(|member| {
            let registry = Registry::new(member.store.clone(), member.clock.clone(), limits);
            let recorder = Arc::new(Recorder::default());
            registry.forward_to(recorder.clone());
            (registry, recorder)
        })
        .collect();
    let namespace = Namespace::default();
    let (registry, _) = &offered[0];
    let granted = registry.register(&namespace, registration("x", Status::Up), Origin::Client).await.unwrap();
    net.pass(secs(1)).await;
    registry.renew(&namespace, granted.id.as_str()).await.unwrap();
    net.pass(secs(1)).await;
    let update = Update::Status(Status::OutOfService);
    registry.update(&namespace, granted.id.as_str(), update, Origin::Client).await.unwrap();
    net.pass(secs(1)).await;
    registry.deregister(&namespace, granted.id.as_str(), Origin::Client).await.unwrap();
    net.pass(secs(1)).await;
    assert_eq!(net.members[1].causes().len(), 3, "the other member took part");
    assert_eq!(*offered[0].1.0.lock(), ["register", "renew", "override", "deregister"]);
    assert!(offered[1].1.0.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_newer_renewal_counts_whichever_content_is_newer() {
    let mut net = Net::of(2);
    net.cut(0, 1);
    let it = instance("x");
    net.members[0].register(&it);
    net.pass(secs(2)).await;
    net.members[1].register(&Instance { status: Status::Starting, ..it.clone() });
    net.pass(secs(5)).await;
    assert_eq!(net.members[0].renew(&it), Ok(()));
    net.pass(secs(1)).await;
    net.connect(0, 1);
    net.pass(secs(1)).await;
    assert!(net.agree());
    for member in &net.members {
        assert_eq!(member.get(&it).map(|it| it.status), Some(Status::Starting));
        assert!(member.age(&it) < secs(4), "{:?}", member.age(&it));
    }
}

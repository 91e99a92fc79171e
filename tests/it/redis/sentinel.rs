//! A server with a replica and three sentinels, whose master dies.

use super::Nodes;
use super::load::Load;
use crate::support::{Redis, eventually};

#[test]
fn the_replica_takes_over() {
    let Some(mut master) = Redis::start("") else { return };
    let replica = Redis::start(&format!("--replicaof 127.0.0.1 {}", master.port())).expect("as before");
    eventually("the replica follows", || (replica.info("master_link_status")? == "up").then_some(()));
    let sentinels: Vec<_> = (0..3).map(|_| Redis::sentinel_of(&master)).collect();
    eventually("the sentinels know each other and the replica", || {
        let knows = |sentinel: &Redis| {
            let line = sentinel.info("master0")?;
            (line.contains("slaves=1") && line.contains("sentinels=3")).then_some(())
        };
        sentinels.iter().map(knows).collect::<Option<Vec<()>>>()
    });
    let addresses: Vec<_> = sentinels.iter().map(Redis::address).collect();
    let nodes = Nodes::start(&format!("redis+sentinel://main@{}", addresses.join(",")));
    let load = Load::start(&nodes);

    master.kill();
    load.until_refused(6);
    nodes.until_all_say_stale();
    eventually("the replica is the master", || (replica.info("role")? == "master").then_some(()));
    nodes.until_all_are_current();
    load.until_done(60);

    // The old master comes back as a replica, which nobody notices.
    master.restart();
    eventually("it is a replica", || (master.info("role")? == "slave").then_some(()));
    load.until_done(60);
    load.end(&nodes);
    assert_eq!(nodes.outages(), [[1, 1]; 3]);
}

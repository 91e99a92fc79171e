//! A cluster of six servers: a slot moves to another master, and a master dies.

use super::load::Load;
use super::{LIST, Nodes};
use crate::support::client::instance;
use crate::support::eventually;
use crate::support::redis::Cluster;

/// What the keys of the namespace `default` have in braces.
const TAG: &str = "a8:31";

#[test]
fn instances_of_many_namespaces_are_spread_over_the_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let nodes = Nodes::with(&cluster.address(), "--auth_mode trusted --default_ttl 1m");
    let names: Vec<_> = (0..40).map(|number| format!("namespace-{number}")).collect();
    for (at, name) in names.iter().enumerate() {
        let client = |at: usize| nodes.0[at % 3].client().bearer(name);
        let id = client(at).register(&instance("a", "b"));
        for at in 0..3 {
            eventually("it is listed", || (client(at).ids(LIST) == [id.clone()]).then_some(()));
        }
        assert_eq!(client(at + 1).renew(&id).status, 200);
        assert_eq!(client(at + 2).delete(&format!("/api/v1/instances/{id}")).status, 200);
    }
}

#[test]
fn a_slot_moves_and_a_master_dies() {
    let Some(mut cluster) = Cluster::start() else { return };
    let nodes = Nodes::start(&cluster.address());
    let load = Load::start(&nodes);
    let slot = cluster.slot(TAG);
    let from = cluster.master_of(slot).expect("somebody serves it");

    let to = (from + 1) % 3;
    cluster.migrate(slot, to);
    load.until_done(100);
    nodes.until_all_are_current();

    cluster.nodes[to].kill();
    load.until_refused(3);
    let heir = eventually("a replica takes over", || cluster.master_of(slot));
    assert_ne!(heir, to);
    load.until_done(100);
    nodes.until_all_are_current();

    cluster.nodes[to].restart();
    load.until_done(100);
    load.end(&nodes);
}

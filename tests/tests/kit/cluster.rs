//! A Cluster serves every slot, fails over, and is gone with its owner.

use archipelago::{
    partition_of,
    testing::{
        poll,
        servers::{Cluster, Options, Program, Server},
    },
};

use crate::servers::{assert_gone, traces};

/// A key for every slot.
fn keys() -> Vec<String> {
    let mut keys = vec![None; 16_384];
    let mut missing = keys.len();
    for number in 0.. {
        if missing == 0 {
            break;
        }
        let key = format!("key:{number}");
        let slot = &mut keys[usize::from(partition_of(key.as_bytes(), 16_384))];
        if slot.is_none() {
            *slot = Some(key);
            missing -= 1;
        }
    }
    keys.into_iter().flatten().collect()
}

/// Writes these keys in one pipeline; a slot that the node does not serve is an error.
async fn write(node: &Server, keys: &[String]) {
    let mut pipeline = redis::pipe();
    for key in keys {
        pipeline.set(key, "value").ignore();
    }
    let _: () = pipeline.query_async(&mut node.connect().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn every_slot_is_served_by_its_primary() {
    let cluster = Cluster::start(Program::Redis, Options::default(), 0).await.unwrap();
    let all = traces(cluster.nodes());
    let keys = keys();
    let mut from = 0;
    for (node, to) in cluster.nodes().iter().zip([5461, 10_922, 16_384]) {
        write(node, &keys[from..to]).await;
        from = to;
    }
    let mut stored = 0;
    for node in cluster.nodes() {
        stored += node.run::<usize>(&redis::cmd("DBSIZE")).await.unwrap();
    }
    assert_eq!(stored, 16_384);
    drop(cluster);
    assert_gone(&all);
}

#[tokio::test]
async fn a_replica_takes_over_from_a_killed_primary() {
    let mut cluster = Cluster::start(Program::Redis, Options::default(), 1).await.unwrap();
    assert_eq!(cluster.nodes().len(), 6);
    assert_eq!(cluster.nodes()[3].info("role").await.unwrap(), "slave");
    let key = &keys()[0];
    write(&cluster.nodes()[0], std::slice::from_ref(key)).await;
    cluster.nodes_mut()[0].kill();
    let heir = &cluster.nodes()[3];
    poll::until("the replica serves", || async { heir.run::<()>(redis::cmd("SET").arg(key).arg("new")).await.ok() })
        .await;
    cluster.well().await.unwrap();
    cluster.nodes_mut()[0].restart().await.unwrap();
    cluster.well().await.unwrap();
}

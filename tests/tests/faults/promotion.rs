//! A region whose replica takes over: lagging, flapping, or still a replica when a client comes.

use std::collections::BTreeMap;

use archipelago::testing::{
    poll,
    proxy::ChaosProxy,
    servers::{Options, Server},
};
use archipelago::{
    Client, Config,
    config::{KeyspaceConfig, RegionConfig},
};
use archipelago_tests::world::{converged, settings, settle, store};

use crate::{add, shown};

/// Region `one`: a primary, a replica behind a proxy, and a front that clients connect to. Region `two`: a peer.
struct Stage {
    primary: Server,
    replica: Server,
    replication: ChaosProxy,
    front: ChaosProxy,
    peer: Server,
}

impl Stage {
    async fn set() -> Self {
        let primary = Server::redis(Options::default()).await.unwrap();
        let replication = ChaosProxy::before(primary.address()).await.unwrap();
        let replica =
            Server::redis(Options { replica_of: Some(replication.port()), ..Options::default() }).await.unwrap();
        let front = ChaosProxy::before(primary.address()).await.unwrap();
        let stage =
            Self { primary, replica, replication, front, peer: Server::redis(Options::default()).await.unwrap() };
        in_sync(&stage.replica).await;
        stage
    }

    async fn client(&self, local: &str) -> Client {
        let regions = [("one", self.front.url()), ("two", self.peer.url())];
        let config = Config {
            local: Some(local.to_owned()),
            regions: regions.into_iter().map(|(name, url)| (name.to_owned(), RegionConfig::new(url))).collect(),
            keyspaces: BTreeMap::from([("default".to_owned(), KeyspaceConfig { partitions: 1, ..settings() })]),
            ..Config::default()
        };
        Client::builder().config(config).without_sync().build().await.unwrap()
    }

    /// Until the replica has all that the primary has.
    async fn caught_up(&self) {
        poll::until("the replica catches up", || async {
            (self.replica.info("slave_repl_offset").await.unwrap()
                == self.primary.info("master_repl_offset").await.unwrap())
            .then_some(())
        })
        .await;
    }
}

async fn in_sync(replica: &Server) {
    poll::until("replication", || async { (replica.info("master_link_status").await.unwrap() == "up").then_some(()) })
        .await;
}

async fn replicate(server: &Server, of: Option<u16>) {
    let mut cmd = redis::cmd("REPLICAOF");
    match of {
        Some(port) => cmd.arg("127.0.0.1").arg(port),
        None => cmd.arg("NO").arg("ONE"),
    };
    let _: () = server.run(&cmd).await.unwrap();
}

#[tokio::test]
async fn a_lagging_replica_that_is_promoted_destroys_nothing_at_the_peers() {
    let mut stage = Stage::set().await;
    let clients = [stage.client("one").await, stage.client("two").await];
    add(&clients[0], "hits", 7).await;
    stage.caught_up().await;
    stage.replication.disconnect().await;
    add(&clients[0], "hits", 3).await;
    settle(&clients[1]).await;
    assert_eq!(shown(&clients, "hits").await, [10, 10]);
    stage.primary.kill();
    replicate(&stage.replica, None).await;
    stage.front.point_at(stage.replica.address());
    assert_eq!(add(&clients[0], "hits", 1).await, 8, "it lacks what it never got");
    settle(&clients[1]).await;
    assert_eq!(shown(&clients, "hits").await, [11, 11]);
}

/// Counterexample 6: run id, scripts and even the client's socket are unchanged, the total is 7 again.
#[tokio::test]
async fn a_flap_does_not_pull_peers_from_ten_to_eight() {
    let stage = Stage::set().await;
    let clients = [stage.client("one").await, stage.client("two").await];
    add(&clients[0], "hits", 7).await;
    settle(&clients[1]).await;
    stage.caught_up().await;
    stage.replication.disconnect().await;
    replicate(&stage.replica, None).await;
    for _ in 0..3 {
        add(&clients[0], "hits", 1).await;
    }
    settle(&clients[1]).await;
    let run_id = stage.primary.info("run_id").await.unwrap();
    replicate(&stage.primary, Some(stage.replica.port())).await;
    in_sync(&stage.primary).await;
    replicate(&stage.primary, None).await;
    assert_eq!(stage.primary.info("run_id").await.unwrap(), run_id);
    assert_eq!(add(&clients[0], "hits", 1).await, 8);
    assert_eq!(shown(&clients, "hits").await, [8, 10]);
    settle(&clients[1]).await;
    assert_eq!(shown(&clients, "hits").await, [11, 11]);
}

/// Counterexample 7: a connection opened to a replica outlives its promotion.
#[tokio::test]
async fn a_client_that_met_a_replica_writes_only_under_a_new_incarnation_after_its_promotion() {
    let stage = Stage::set().await;
    let first = stage.client("one").await;
    add(&first, "hits", 7).await;
    let old = store(&first).sync_state(0).await.unwrap().record.unwrap();
    stage.caught_up().await;
    stage.front.point_at(stage.replica.address());
    let late = stage.client("one").await;
    let [(region, why)] = late.missing_regions() else { panic!("{:?}", late.missing_regions()) };
    assert!(region.as_str() == "one" && why.to_string().contains("replica"), "{why}");
    assert!(late.counter("hits").add(1).await.unwrap_err().is_unavailable());
    stage.replication.disconnect().await;
    replicate(&stage.replica, None).await;
    assert_eq!(add(&late, "hits", 1).await, 8);
    let new = store(&late).sync_state(0).await.unwrap().record.unwrap();
    assert!(new.incarnation != old.incarnation && new.opening > old.opening);
}

/// A demoted primary refuses, whatever socket is used, and the client finds the new one behind the same address.
#[tokio::test]
async fn a_demoted_primary_takes_no_writes_and_the_client_follows_the_address() {
    let stage = Stage::set().await;
    let clients = [stage.client("one").await, stage.client("two").await];
    add(&clients[0], "hits", 7).await;
    stage.caught_up().await;
    replicate(&stage.replica, None).await;
    replicate(&stage.primary, Some(stage.replica.port())).await;
    let error = clients[0].counter("hits").add(1).await.unwrap_err();
    assert!(!error.is_maybe_applied(), "{error}");
    stage.front.point_at(stage.replica.address());
    assert_eq!(add(&clients[0], "hits", 1).await, 8);
    settle(&clients[1]).await;
    converged(&clients[0]).await;
    assert_eq!(shown(&clients, "hits").await, [8, 8]);
}

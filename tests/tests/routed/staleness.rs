//! How far copies are behind, and what is done about it.

use archipelago::testing::{poll, proxy::Direction};
use redis::AsyncCommands;

use crate::world::{World, before};

#[tokio::test]
async fn a_copy_that_falls_behind_is_left_and_returned_to() {
    let world = World::start().await;
    // Between the two servers, so that the client's own connections stay well.
    let line = before(world.us.address()).await;
    let copy = &world.us.replicas()[0];
    let _: () = copy.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(line.port())).await.unwrap();
    let (client, mut connection) = world.client("local_replica = true\nmax_staleness_ms = 1500").await;
    let first = || {
        let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
        explanation.nodes[0].name.clone()
    };
    poll::until("reads at the copy", || async { first().contains("replica").then_some(()) }).await;
    line.cut(Direction::ToClient);
    poll::until("reads at the primary", || async { (first() == "us/primary").then_some(()) }).await;
    let _: () = connection.clone().set("name", "Bob").await.unwrap();
    assert_eq!(connection.clone().get::<_, String>("name").await.unwrap(), "Bob", "the copy does not know Bob");
    line.heal().await.unwrap();
    poll::until("reads at the copy again", || async { first().contains("replica").then_some(()) }).await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Bob");
    client.shut_down().await;
}

#[tokio::test]
async fn a_miss_at_the_copy_is_asked_at_the_primary_where_configured() {
    let world = World::start().await;
    let line = before(world.us.address()).await;
    let copy = &world.us.replicas()[0];
    let _: () = copy.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(line.port())).await.unwrap();
    for (fallback, found) in [("[\"miss\"]", Some("Ada")), ("[]", None)] {
        let routing = format!("local_replica = true\nfallback_to_primary = {fallback}");
        let (client, mut connection) = world.client(&routing).await;
        line.cut(Direction::ToClient);
        let _: () = connection.set("name", "Ada").await.unwrap();
        assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap().as_deref(), found);
        let _: () = connection.del("name").await.unwrap();
        line.heal().await.unwrap();
        client.shut_down().await;
    }
}

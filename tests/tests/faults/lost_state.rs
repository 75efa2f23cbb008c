//! A region that loses data never makes another region lose data, and gets back what its peers hold.

use archipelago::Client;
use archipelago::testing::servers::Options;
use archipelago_tests::world::{World, converged, settle, store};

use crate::{add, shown};

async fn fill(clients: &[Client]) {
    for (client, amount) in clients.iter().zip([5, 7, 9]) {
        add(client, "hits", amount).await;
        client.set("tags").add(format!("from {amount}")).await.unwrap();
        client.map::<String>("user").set(format!("f{amount}"), "v").await.unwrap();
    }
    settle(&clients[0]).await;
    assert_eq!(shown(clients, "hits").await, [21; 3]);
}

async fn assert_whole(clients: &[Client], hits: i64) {
    assert_eq!(shown(clients, "hits").await, [hits; 3]);
    for client in clients {
        assert_eq!(client.set("tags").members().await.unwrap().len(), 3);
        assert_eq!(client.map::<String>("user").len().await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_region_restarted_empty_gets_everything_back_and_destroys_nothing() {
    let mut world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    fill(&clients).await;
    world.servers[0].restart_empty().await.unwrap();
    // Before anything came back: a smaller total than the one the peers hold.
    add(&clients[0], "hits", 1).await;
    settle(&clients[1]).await;
    assert_whole(&clients, 22).await;
    add(&clients[0], "hits", 1).await;
    settle(&clients[2]).await;
    assert_whole(&clients, 23).await;
}

#[tokio::test]
async fn links_in_the_background_refill_a_region_restarted_empty() {
    let mut world = World::redis(Options::default()).await;
    let clients = [world.client(0).await, world.client(1).await, world.client(2).await];
    fill(&clients).await;
    world.servers[1].restart_empty().await.unwrap();
    converged(&clients[0]).await;
    assert_whole(&clients, 21).await;
}

/// Counterexample 8: neither yesterday's incarnation nor its versions are used again.
#[tokio::test]
async fn a_region_restored_from_a_backup_begins_a_new_incarnation_and_keeps_what_came_later() {
    let mut world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    fill(&clients).await;
    let _: String = world.servers[0].run(&redis::cmd("SAVE")).await.unwrap();
    world.servers[0].backup().unwrap();
    let before = store(&clients[0]).sync_state(0).await.unwrap().record.unwrap();
    add(&clients[0], "hits", 100).await;
    clients[0].set("tags").remove("from 5").await.unwrap();
    clients[0].set("tags").add("today").await.unwrap();
    settle(&clients[0]).await;
    world.servers[0].restore().await.unwrap();
    add(&clients[0], "hits", 1000).await;
    settle(&clients[0]).await;
    assert_whole(&clients, 1121).await;
    assert!(!clients[0].set("tags").contains("from 5").await.unwrap(), "what was removed today stays removed");
    let after = store(&clients[0]).sync_state(0).await.unwrap().record.unwrap();
    assert!(after.incarnation != before.incarnation && after.opening > before.opening);
}

/// FLUSHALL changes neither the run id nor the replication id (counterexample 6).
#[tokio::test]
async fn a_flushed_region_gets_everything_back_and_destroys_nothing() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    fill(&clients).await;
    let _: () = world.servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    add(&clients[0], "hits", 1).await;
    settle(&clients[1]).await;
    assert_whole(&clients, 22).await;
    let _: () = world.servers[2].run(&redis::cmd("FLUSHALL")).await.unwrap();
    settle(&clients[1]).await;
    assert_whole(&clients, 22).await;
}

/// The process that drives the links never writes to the flushed region itself, and waits on a log that is gone: it once
/// heard nothing of the new one, for ever.
#[tokio::test]
async fn links_notice_a_flushed_region_that_only_others_write_to() {
    let world = World::redis(Options::default()).await;
    let driver = world.client(1).await;
    let clients = world.idle_clients().await;
    fill(&clients).await;
    converged(&driver).await;
    let _: () = world.servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    add(&clients[0], "hits", 1).await;
    converged(&driver).await;
    assert_whole(&clients, 22).await;
    let _: () = world.servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    converged(&driver).await;
    assert_whole(&clients, 22).await;
    driver.shut_down().await;
}

//! Starting: with regions missing, and with servers or settings that do not fit.

use archipelago::testing::servers::Options;
use archipelago::{Client, ErrorKind};
use archipelago_tests::world::{REGIONS, World, converged};

use crate::{add, shown};

#[tokio::test]
async fn a_client_starts_with_one_reachable_region_and_names_the_missing() {
    let mut world = World::redis(Options::durable()).await;
    world.servers[1].kill();
    world.servers[2].kill();
    let client = world.client(0).await;
    let missing: Vec<_> = client.missing_regions().iter().map(|(region, _)| region.as_str().to_owned()).collect();
    assert_eq!(missing, REGIONS[1..]);
    assert!(client.missing_regions().iter().all(|(_, why)| why.kind() == ErrorKind::Unavailable));
    add(&client, "hits", 3).await;
    let not_yet = client.wait_converged(std::time::Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(not_yet.kind(), ErrorKind::NotConverged);
    assert!(REGIONS[1..].iter().all(|name| not_yet.to_string().contains(name)), "{not_yet}");
    // A client whose own region is away starts as well.
    let away = world.idle_client(1).await;
    assert!(away.counter("hits").add(1).await.unwrap_err().is_unavailable());
    world.servers[1].restart().await.unwrap();
    world.servers[2].restart().await.unwrap();
    converged(&client).await;
    let clients = world.idle_clients().await;
    assert_eq!(shown(&clients, "hits").await, [3; 3]);
    client.shut_down().await;
}

#[tokio::test]
async fn with_no_region_at_all_the_error_names_each() {
    let mut world = World::redis(Options::default()).await;
    world.servers.iter_mut().for_each(archipelago::testing::servers::Server::kill);
    let error = world.builder(0).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(REGIONS.iter().all(|name| error.to_string().contains(name)), "{error}");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused_naming_both() {
    let world = World::redis(Options::default()).await;
    drop(world.idle_client(0).await);
    let mut config = world.config(0);
    config.keyspaces.get_mut("default").unwrap().partitions = 7;
    let error = Client::builder().config(config).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("2 partitions") && text.contains('7') && text.contains("default"), "{text}");
    assert!(text.contains(REGIONS[0]), "{text}");
}

#[tokio::test]
async fn an_evicting_server_is_used_all_the_same() {
    let more = vec![("maxmemory-policy".to_owned(), "allkeys-lru".to_owned())];
    let world = World::redis(Options { more, ..Options::default() }).await;
    let client = world.idle_client(0).await;
    assert_eq!(add(&client, "hits", 1).await, 1);
}

#[tokio::test]
async fn a_server_that_ends_on_sigterm_comes_back_with_its_data() {
    let mut world = World::redis(Options::durable()).await;
    let client = world.idle_client(0).await;
    add(&client, "hits", 4).await;
    world.servers[0].terminate().await.unwrap();
    world.servers[0].restart().await.unwrap();
    assert_eq!(add(&client, "hits", 1).await, 5);
}

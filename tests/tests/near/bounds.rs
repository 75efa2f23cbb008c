//! Bounds, and what is refused.

use archipelago::{
    Client, Config, Embedded, ErrorKind,
    config::NearConfig,
    routing::RoutingConfig,
    testing::{poll, servers::Options},
};

use crate::{LONG, alone, client, held, patient, tracked};

#[tokio::test]
async fn it_takes_no_more_than_it_may() {
    let regions = Embedded::builder().region("eu").build().unwrap();
    let small = NearConfig { max_bytes: 64 << 10, ..patient() };
    let client = Client::builder().embedded(&regions).near_cache("default", small).build().await.unwrap();
    let near = client.near("default").unwrap();
    let text = "x".repeat(1000);
    for n in 0..500 {
        client.register::<String>(format!("k{n}")).set(&text).await.unwrap();
        near.register::<String>(format!("k{n}")).get().await.unwrap();
    }
    let stats = near.stats();
    assert!(stats.bytes <= 64 << 10 && stats.keys > 10 && stats.evictions > 400, "{stats:?}");
    // What is larger than all of it is read and not held.
    client.register::<String>("large").set(&"x".repeat(100_000)).await.unwrap();
    assert_eq!(near.register::<String>("large").get().await.unwrap().unwrap().len(), 100_000);
    assert!(near.stats().bytes <= 64 << 10);
    near.clear();
    assert_eq!(near.stats().keys, 0);
    client.shut_down().await;
}

#[tokio::test]
async fn time_passes_in_a_region_with_a_clock_of_its_own() {
    let start = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
    let regions = Embedded::builder().region("eu").manual_clock(start).build().unwrap();
    let client = Client::builder().embedded(&regions).near_cache("default", patient()).build().await.unwrap();
    let value = client.near("default").unwrap().register::<u8>("k");
    client.register::<u8>("k").set_for(&1, LONG).await.unwrap();
    assert_eq!(value.get().await.unwrap().as_deref(), Some(&1));
    regions.advance(LONG / 2);
    assert_eq!(value.get().await.unwrap().as_deref(), Some(&1));
    regions.advance(LONG);
    assert_eq!(value.get().await.unwrap(), None);
    client.shut_down().await;
}

/// On one thread, where a loop that never waits is all that runs: nobody would take in what the server says.
#[tokio::test]
async fn a_loop_over_what_is_held_hears_of_a_change() {
    let (_server, config) = alone(Options::default()).await;
    let (writer, reader) = (client(config.clone()).await, client(config).await);
    let near = reader.near("default").unwrap();
    let value = near.register::<u8>("k");
    writer.register::<u8>("k").set(&1).await.unwrap();
    tracked(&near).await;
    assert_eq!(held(&value).await, Some(1));
    let writing = tokio::spawn(async move {
        writer.register::<u8>("k").set(&2).await.unwrap();
        writer
    });
    let began = std::time::Instant::now();
    while value.get().await.unwrap().as_deref() != Some(&2) {
        assert!(began.elapsed() < poll::PATIENCE, "nobody else had a turn");
    }
    writing.await.unwrap().shut_down().await;
    reader.shut_down().await;
}

#[tokio::test]
async fn mistakes_are_named() {
    let regions = Embedded::builder().region("eu").region("us").weight("us", 2).build().unwrap();
    let builder = || Client::builder().embedded(&regions).local_region("eu");
    let by_key: RoutingConfig =
        RoutingConfig { policy: archipelago::routing::config::PolicyName::KeyOwner, ..RoutingConfig::default() };
    let client = builder().routed("plain", RoutingConfig::default()).routed("spread", by_key);
    let config: Config =
        "[regions.eu]\nurl = \"redis://h:1\"\n[keyspaces.default]\nmode = \"active-active\"\n".parse().unwrap();
    let client = client.config(config).build().await.unwrap();
    let kind = |keyspace: &str| client.near(keyspace).unwrap_err();
    assert!(kind("nowhere").kind() == ErrorKind::Config && kind("nowhere").message().contains("nowhere"));
    assert!(kind("spread").message().contains("one region for all keys"));
    let (active, plain) = (client.near("default").unwrap(), client.near("plain").unwrap());
    for error in [active.value::<u8>("k").get().await.unwrap_err(), plain.register::<u8>("k").get().await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert!(active.value::<u8>("k").cached().is_none());
    client.shut_down().await;

    let unknown = builder().near_cache("nowhere", patient()).build().await.unwrap_err();
    assert!(unknown.message().contains("nowhere"), "{unknown}");
    let bad = NearConfig { max_bytes: 1, ..patient() };
    assert!(builder().near_cache("default", bad).build().await.unwrap_err().message().contains("max_bytes"));
    for (line, key) in [
        ("max_bytes = 1", "near_cache.max_bytes"),
        ("ttl_ms = 0", "near_cache.ttl_ms"),
        ("tti_ms = 100000000", "near_cache.tti_ms"),
        ("tll_ms = 1", "tll_ms"),
    ] {
        let text = format!(
            "[regions.eu]\nurl = \"redis://h:1\"\n[keyspaces.default]\nmode = \"active-active\"\n\
             [keyspaces.default.near_cache]\n{line}\n"
        );
        let error = text.parse::<Config>().unwrap_err();
        assert!(error.message().contains(key), "{error}");
    }
}

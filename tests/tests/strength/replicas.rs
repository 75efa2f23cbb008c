//! Writes that wait for replicas, on real servers.

use std::time::Duration;

use archipelago::{
    Client, Config, ErrorKind, Keyspace, PhysicalKeys, WriteStrength,
    engine::{Key, Kind},
    partition_of,
    testing::servers::{Options, Server},
};
use futures_util::future::join_all;

/// A region with replicas, and a client of it.
async fn region(replicas: usize, options: &str) -> (Server, Client) {
    let server = Server::redis(Options::default()).await.unwrap().with_replicas(replicas).await.unwrap();
    server.replicas_in_sync().await.unwrap();
    let text = format!(
        "[regions.eu]\nurl = \"{}\"\n[keyspaces.default]\nmode = \"active-active\"\npartitions = 2\n{options}",
        server.url()
    );
    let config: Config = text.parse().unwrap();
    let client = Client::builder().config(config).build().await.unwrap();
    (server, client)
}

fn durable(client: &Client, replicas: u16, deadline: Duration) -> Keyspace {
    let keyspace = client.keyspace("default").unwrap();
    keyspace.with_write(WriteStrength::Replicated(replicas)).with_deadline(deadline)
}

async fn at_replica(server: &Server, name: &'static str) -> Option<String> {
    let view = PhysicalKeys::new("default", partition_of(name.as_bytes(), 2)).view(&Key::new(Kind::String, name));
    server.replicas()[0].run(redis::cmd("GET").arg(view)).await.unwrap()
}

#[tokio::test]
async fn what_is_acknowledged_is_at_the_replica() {
    let (server, client) = region(1, "write = \"replicated:1\"\ndeadline_ms = 20000").await;
    for n in 0..50 {
        client.register::<u32>("n").set(&n).await.unwrap();
        assert_eq!(at_replica(&server, "n").await, Some(n.to_string()));
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_paused_replica_is_named_and_the_write_is_applied() {
    let (mut server, client) = region(2, "").await;
    let address = server.replicas()[1].url();
    server.replicas_mut()[1].pause().unwrap();
    durable(&client, 1, Duration::from_secs(20)).counter("hits").add(1).await.unwrap();
    let error = durable(&client, 2, Duration::from_millis(300)).counter("hits").add(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PartlyApplied, "{error}");
    let named: Vec<String> =
        error.reach().unwrap().may_have.iter().map(|missed| format!("redis://{}", missed.place)).collect();
    assert!(address.ends_with(named[0].trim_start_matches("redis://")) && named.len() == 1, "{named:?} of {address}");
    assert_eq!(client.counter("hits").get().await.unwrap(), 2);
    server.replicas_mut()[1].resume().unwrap();
    assert_eq!(durable(&client, 2, Duration::from_secs(20)).counter("hits").add(1).await.unwrap(), 3);
    client.shut_down().await;
}

/// Counterexample 36: on one connection a GET behind a WAIT takes as long as the WAIT.
#[tokio::test]
async fn reads_and_plain_writes_do_not_wait_behind_a_durable_write() {
    let (mut server, client) = region(1, "").await;
    server.replicas_mut()[0].pause().unwrap();
    let slow = durable(&client, 1, Duration::from_secs(25));
    let waiting = tokio::spawn(async move { slow.counter("hits").add(1).await });
    archipelago::testing::poll::until("the write is applied", || async {
        (client.counter("hits").get().await.unwrap() == 1).then_some(())
    })
    .await;
    for _ in 0..20 {
        client.register::<u32>("other").set(&1).await.unwrap();
        assert_eq!(client.register::<u32>("other").get().await.unwrap(), Some(1));
    }
    assert!(!waiting.is_finished(), "all of that happened while it waited");
    server.replicas_mut()[0].resume().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    client.shut_down().await;
}

#[tokio::test]
async fn many_writers_share_a_wait() {
    let (server, client) = region(1, "write = \"replicated:1\"\ndeadline_ms = 20000").await;
    let counter = client.counter("hits");
    let done = join_all((0..300).map(|_| counter.add(1))).await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(at_replica(&server, "hits").await.as_deref(), Some("300"));
    let stats: String = server.run(redis::cmd("INFO").arg("commandstats")).await.unwrap();
    let waits = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls=")).unwrap();
    let waits: u64 = waits.split(',').next().unwrap().parse().unwrap();
    assert!(waits < 30, "{waits} WAITs for 300 writes");
    client.shut_down().await;
}

/// Written on one connection and waited for on the next, writes would count as replicated at once.
#[tokio::test]
async fn a_connection_lost_before_the_wait_confirms_nothing() {
    let (mut server, client) = region(1, "").await;
    let keyspace = durable(&client, 1, Duration::from_secs(20));
    keyspace.counter("hits").add(1).await.unwrap();
    server.replicas_mut()[0].pause().unwrap();
    let waiting = tokio::spawn(async move { keyspace.counter("hits").add(1).await });
    archipelago::testing::poll::until("the write is applied", || async {
        (client.counter("hits").get().await.unwrap() == 2).then_some(())
    })
    .await;
    let clients: String = server.run(redis::cmd("CLIENT").arg("LIST")).await.unwrap();
    let blocked = clients.lines().find(|line| line.contains("cmd=wait")).expect("a client that waits");
    let id = blocked.split(' ').next().unwrap().trim_start_matches("id=");
    let _: i64 = server.run(redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PartlyApplied, "{error}");
    client.shut_down().await;
}

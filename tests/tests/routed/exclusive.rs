//! Connections of one's own: transactions, what is left behind, and what happens when the node goes.

use std::time::Duration;

use archipelago::{
    CallOptions, Client, Connection, Error, ErrorKind, Exclusive,
    testing::{
        poll,
        servers::{Cluster, Options, Program},
    },
};
use redis::{AsyncCommands, RedisError, RedisResult, aio::transaction_async};

use crate::world::World;

const STAY: &str = "[routed]\nfailover = \"manual\"";

/// The server's number for a connection.
async fn id(own: &Exclusive) -> i64 {
    redis::cmd("CLIENT").arg("ID").query_async(&mut own.clone()).await.unwrap()
}

fn own_error(error: &RedisError) -> &Error {
    Error::of(error).unwrap_or_else(|| panic!("not ours: {error}"))
}

async fn increment(connection: &Connection, key: &'static str) -> RedisResult<i64> {
    let own = connection.exclusive(key).await?;
    let (value,): (i64,) = transaction_async(own, &[key], |mut own, mut pipe| async move {
        let value: i64 = own.get::<_, Option<i64>>(key).await?.unwrap_or_default();
        pipe.set(key, value + 1).ignore().get(key).query_async(&mut own).await
    })
    .await?;
    Ok(value)
}

#[tokio::test]
async fn concurrent_transactions_lose_nothing_and_share_connections() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let increments = (0..60).map(|_| {
        let connection = connection.with_options(CallOptions::default().deadline(Duration::from_secs(20)));
        tokio::spawn(async move { increment(&connection, "n").await.unwrap() })
    });
    for task in increments.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(connection.clone().get::<_, i64>("n").await.unwrap(), 60);
    // Used again, one after the other.
    let first = id(&connection.exclusive("n").await.unwrap()).await;
    assert_eq!(increment(&connection, "n").await.unwrap(), 61);
    assert_eq!(id(&connection.exclusive("n").await.unwrap()).await, first);
    client.shut_down().await;
}

#[tokio::test]
async fn a_conflict_makes_the_transaction_come_to_nothing() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut own = connection.exclusive("n").await.unwrap();
    let _: () = redis::cmd("WATCH").arg("n").query_async(&mut own).await.unwrap();
    let _: () = connection.clone().set("n", 7).await.unwrap();
    let nothing: Option<(i64,)> = redis::pipe().atomic().incr("n", 1).query_async(&mut own).await.unwrap();
    assert_eq!(nothing, None);
    assert_eq!(own.get::<_, i64>("n").await.unwrap(), 7);
    let something: Option<(i64,)> = redis::pipe().atomic().incr("n", 1).query_async(&mut own).await.unwrap();
    assert_eq!(something, Some((8,)));
    client.shut_down().await;
}

#[tokio::test]
async fn what_was_left_behind_never_meets_the_next_borrower() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    for (words, is_kept) in [
        (vec!["GET", "k"], true),
        (vec!["WATCH", "k"], false),
        (vec!["MULTI"], false),
        (vec!["SELECT", "1"], false),
        (vec!["CLIENT", "SETNAME", "x"], false),
    ] {
        let mut own = connection.exclusive("k").await.unwrap();
        let before = id(&own).await;
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(word);
        });
        cmd.exec_async(&mut own).await.unwrap();
        drop(own);
        let after = id(&connection.exclusive("k").await.unwrap()).await;
        assert_eq!(before == after, is_kept, "{words:?}");
    }
    // A call that was given up may still be waiting at the server.
    let own = connection.exclusive("k").await.unwrap();
    let before = id(&own).await;
    let pop = tokio::spawn({
        let mut own = own.clone();
        async move { own.blpop::<_, Option<(String, String)>>("queue", 0.0).await }
    });
    until_blocked(&world, 1).await;
    pop.abort();
    assert!(pop.await.unwrap_err().is_cancelled());
    drop(own);
    assert_ne!(id(&connection.exclusive("k").await.unwrap()).await, before);
    until_blocked(&world, 0).await;
    client.shut_down().await;
}

/// Waits until the writer's server counts so many blocked clients.
pub async fn until_blocked(world: &World, count: usize) {
    poll::until("blocked clients", || async {
        (world.us.info("blocked_clients").await.ok()? == count.to_string()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_would_break_it_is_refused() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut own = connection.exclusive("k").await.unwrap();
    for words in [vec!["SUBSCRIBE", "news"], vec!["MONITOR"], vec!["HELLO", "3"], vec!["CLIENT", "REPLY", "OFF"]] {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(word);
        });
        let error = cmd.exec_async(&mut own).await.unwrap_err();
        assert_eq!(own_error(&error).kind(), ErrorKind::Refused, "{words:?}: {error}");
    }
    assert_eq!(own.get::<_, Option<String>>("k").await.unwrap(), None);
    client.shut_down().await;
}

#[tokio::test]
async fn the_next_borrower_waits_in_line_until_its_deadline() {
    let world = World::start().await;
    let mut config = world.config("");
    config.regions.get_mut("us").unwrap().exclusive_connections = 2;
    let client = Client::builder().config(config).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    let held = [connection.exclusive("k").await.unwrap(), connection.exclusive("k").await.unwrap()];
    let hasty = connection.with_options(CallOptions::default().deadline(Duration::from_millis(100)));
    let error = hasty.exclusive("k").await.unwrap_err();
    let error = own_error(&error);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.attempts()[0].what.contains("all 2 exclusive connections are in use"), "{error}");
    let (waited, ()) = tokio::join!(connection.exclusive("k"), async { drop(held) });
    assert_eq!(waited.unwrap().node(), "us/primary");
    client.shut_down().await;
}

#[tokio::test]
async fn a_transaction_whose_node_is_killed_says_what_is_known() {
    let mut world = World::start().await;
    let (client, connection) = world.client(STAY).await;
    let mut own = connection.exclusive("n").await.unwrap();
    let _: () = redis::cmd("WATCH").arg("n").query_async(&mut own).await.unwrap();
    world.us.kill();
    let error = redis::pipe().atomic().incr("n", 1).exec_async(&mut own).await.unwrap_err();
    let error = own_error(&error).clone();
    assert!(matches!(error.kind(), ErrorKind::MaybeApplied | ErrorKind::Unavailable), "{error}");
    assert_eq!(error.attempts()[0].node, "us/primary", "{error}");
    drop(own);
    world.us.restart().await.unwrap();
    let value = poll::until("a transaction", || async { increment(&connection, "n").await.ok() }).await;
    assert_eq!(value, 1, "nothing was applied by the dead one, and the server had no disk");
    client.shut_down().await;
}

#[tokio::test]
async fn a_paused_node_ends_the_call_by_its_deadline_and_closes_the_connection() {
    let mut world = World::start().await;
    let (client, connection) = world.client(STAY).await;
    let hasty = connection.with_options(CallOptions::default().deadline(Duration::from_millis(100)));
    let mut own = hasty.exclusive("n").await.unwrap();
    let before = id(&own).await;
    world.us.pause().unwrap();
    let error = own.incr::<_, _, i64>("n", 1).await.unwrap_err();
    assert_eq!(own_error(&error).kind(), ErrorKind::MaybeApplied, "{error}");
    let error = own.get::<_, i64>("n").await.unwrap_err();
    assert!(matches!(own_error(&error).kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    drop(own);
    world.us.resume().unwrap();
    let after = poll::until("a new one", || async { Some(id(&connection.exclusive("n").await.ok()?).await) }).await;
    assert_ne!(before, after);
    client.shut_down().await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_between_two_borrows_lends_nothing() {
    let world = World::start().await;
    // Seldom, so that the borrower is the first to find out.
    let config = world.config(&format!("{STAY}\nprobe_interval_ms = 60000"));
    let client = Client::builder().config(config).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    drop(connection.exclusive("n").await.unwrap());
    let port = world.eu.port().to_string();
    let _: () = world.us.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await.unwrap();
    let error = connection.exclusive("n").await.unwrap_err();
    let error = own_error(&error);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.attempts()[0].what.contains("it is a replica"), "{error}");
    let _: () = world.us.run(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
    poll::until("a primary again", || async { connection.exclusive("n").await.ok() }).await;
    client.shut_down().await;
}

#[tokio::test]
async fn after_shutdown_nothing_is_lent_and_nothing_is_sent() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut own = connection.exclusive("n").await.unwrap();
    client.shut_down().await;
    for error in [own.get::<_, i64>("n").await.unwrap_err(), connection.exclusive("n").await.unwrap_err()] {
        let error = own_error(&error);
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("shut down"), "{error}");
    }
    drop(own);
    poll::until("no connection left", || async {
        let clients: String = world.us.run(redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal")).await.ok()?;
        (clients.lines().count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_a_cluster_it_leads_to_the_server_that_owns_the_key() {
    let mut cluster = Cluster::start(Program::Redis, Options::default(), 1).await.unwrap();
    let urls = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let text = format!("[regions.us]\ncluster = [{urls}]\n[keyspaces.profiles]\nmode = \"routed\"");
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    for key in ["a", "b", "c", "d", "{a}e"] {
        assert_eq!(increment(&connection, key).await.unwrap(), 1, "{key}");
    }
    let popping = tokio::spawn({
        let mut connection = connection.clone();
        async move { connection.blpop::<_, Option<(String, String)>>("queue", 0.0).await }
    });
    let _: i64 = connection.clone().rpush("queue", "job").await.unwrap();
    assert_eq!(popping.await.unwrap().unwrap().unwrap().1, "job");
    let mut news = client.subscribe("profiles").channels(["news"]).start().await.unwrap();
    let _: i64 = connection.clone().publish("news", "hello").await.unwrap();
    assert!(futures_util::StreamExt::next(&mut news).await.is_some());
    // A primary dies; its replica takes over, and so do new borrowers.
    cluster.nodes_mut()[0].kill();
    for key in ["a", "b", "c", "d", "{a}e"] {
        let value = poll::until("a transaction", || async { increment(&connection, key).await.ok() }).await;
        assert!(value >= 1, "{key}");
    }
    client.shut_down().await;
}

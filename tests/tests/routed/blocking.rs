//! Commands that wait at the server.

use std::time::{Duration, Instant};

use archipelago::{CallOptions, Connection, Error, ErrorKind, testing::poll};
use redis::{AsyncCommands, RedisResult, Value};
use tokio::task::JoinHandle;

use crate::{exclusive::until_blocked, world::World};

const STAY: &str = "[routed]\nfailover = \"manual\"";

type Popped = RedisResult<Option<(String, String)>>;

/// BLPOP with timeout 0.
fn pop_for_ever(connection: &Connection, queue: &'static str) -> JoinHandle<Popped> {
    let mut connection = connection.clone();
    tokio::spawn(async move { connection.blpop(queue, 0.0).await })
}

async fn end_of(popping: JoinHandle<Popped>) -> Error {
    let popped = tokio::time::timeout(poll::PATIENCE, popping).await.unwrap().unwrap();
    Error::of(&popped.unwrap_err()).unwrap().clone()
}

#[tokio::test]
async fn waiting_is_not_limited_by_the_deadline_and_is_by_its_own_timeout() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut hasty = connection.with_options(CallOptions::default().deadline(Duration::from_millis(200)));
    let began = Instant::now();
    let nothing: Option<(String, String)> = hasty.blpop("queue", 0.5).await.unwrap();
    assert_eq!(nothing, None);
    assert!(began.elapsed() >= Duration::from_millis(500));
    let popping = tokio::spawn(async move { hasty.blpop::<_, Option<(String, String)>>("queue", 30.0).await });
    until_blocked(&world, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // five deadlines
    let _: () = connection.clone().rpush("queue", "job").await.unwrap();
    assert_eq!(popping.await.unwrap().unwrap(), Some(("queue".to_owned(), "job".to_owned())));
    client.shut_down().await;
}

#[tokio::test]
async fn waiting_calls_hold_nobody_up_and_say_nothing_about_the_node() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let popping: Vec<_> = (0..12).map(|_| pop_for_ever(&connection, "queue")).collect();
    until_blocked(&world, 12).await;
    for n in 0..200 {
        let _: () = connection.set("k", n).await.unwrap();
    }
    for n in 0..12 {
        let _: () = connection.rpush("queue", n).await.unwrap();
    }
    for popping in popping {
        assert!(popping.await.unwrap().unwrap().is_some());
    }
    let explanation = connection.explain(redis::cmd("SET").arg("k")).unwrap();
    let node = explanation.nodes.iter().find(|node| node.name == "us/primary").unwrap();
    assert_eq!((node.availability, node.in_flight), ("up", 0), "{explanation}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_stream_is_read_at_the_node_of_the_read_plan() {
    let world = World::start().await;
    let (client, connection) = world.client(&format!("local_replica = true\n{STAY}")).await;
    let reading = tokio::spawn({
        let mut connection = connection.clone();
        async move {
            let mut read = redis::cmd("XREAD");
            read.arg("BLOCK").arg(30_000).arg("STREAMS").arg("log").arg("$");
            read.query_async::<Value>(&mut connection).await
        }
    });
    poll::until("a reader at the copy", || async {
        (world.us.replicas()[0].info("blocked_clients").await.ok()? == "1").then_some(())
    })
    .await;
    let _: String =
        redis::cmd("XADD").arg("log").arg("*").arg("n").arg(1).query_async(&mut connection.clone()).await.unwrap();
    assert!(matches!(reading.await.unwrap().unwrap(), Value::Array(_)));
    client.shut_down().await;
}

#[tokio::test]
async fn waiting_for_ever_ends_with_the_node() {
    for is_paused in [true, false] {
        let mut world = World::start().await;
        let (client, connection) = world.client(STAY).await;
        let popping = pop_for_ever(&connection, "queue");
        until_blocked(&world, 1).await;
        if is_paused {
            world.us.pause().unwrap();
        } else {
            world.us.kill();
        }
        let error = end_of(popping).await;
        assert_eq!(error.kind(), ErrorKind::MaybeApplied, "an element may have been popped: {error}");
        assert_eq!(error.attempts()[0].node, "us/primary", "{error}");
        if is_paused {
            world.us.resume().unwrap();
        }
        client.shut_down().await;
    }
}

#[tokio::test]
async fn waiting_for_ever_ends_behind_a_black_hole_and_outlives_one_broken_connection() {
    let world = World::start().await;
    let (client, mut connection) = world.client(STAY).await;
    let popping = pop_for_ever(&connection, "queue");
    until_blocked(&world, 1).await;
    // All others are closed; the node comes back at once, and this call has noticed nothing.
    let clients: String = world.us.run(redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal")).await.unwrap();
    for line in clients.lines().filter(|line| !line.contains("cmd=blpop") && !line.contains("cmd=client")) {
        let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).unwrap();
        let _: Value = world.us.run(redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await.unwrap();
    }
    poll::until("a push", || {
        let mut connection = connection.clone();
        async move { connection.rpush::<_, _, i64>("queue", "job").await.ok() }
    })
    .await;
    assert_eq!(popping.await.unwrap().unwrap().unwrap().1, "job");

    let popping = pop_for_ever(&connection, "queue");
    until_blocked(&world, 1).await;
    world.us_proxy.black_hole();
    let error = end_of(popping).await;
    assert_eq!(error.kind(), ErrorKind::MaybeApplied, "{error}");
    world.us_proxy.heal().await.unwrap();
    let _ = connection.get::<_, Option<String>>("k").await;
    client.shut_down().await;
}

#[tokio::test]
async fn waiting_for_ever_ends_with_the_client_and_with_a_switch() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let popping = pop_for_ever(&connection, "queue");
    until_blocked(&world, 1).await;
    client.switch_to("eu").unwrap();
    let error = end_of(popping).await;
    assert!(error.to_string().contains("another node"), "{error}");
    client.switch_to("us").unwrap();

    let popping = pop_for_ever(&connection, "queue");
    until_blocked(&world, 1).await;
    client.shut_down().await;
    let error = end_of(popping).await;
    assert!(error.to_string().contains("shut down"), "{error}");
    until_blocked(&world, 0).await;
}

#[tokio::test]
async fn a_cancelled_wait_ends_at_the_server_too() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let popping = pop_for_ever(&connection, "queue");
    until_blocked(&world, 1).await;
    popping.abort();
    until_blocked(&world, 0).await;
    let _: () = connection.rpush("queue", "job").await.unwrap();
    assert_eq!(connection.lpop::<_, Option<String>>("queue", None).await.unwrap().as_deref(), Some("job"));
    client.shut_down().await;
}

//! Regions die: reads go on, writes say whether they were applied, and steady traffic moves.

use std::time::{Duration, Instant};

use archipelago::{Client, Connection, Error, ErrorKind, Event, testing::poll};
use futures_util::StreamExt;
use redis::AsyncCommands;

use crate::world::World;

/// The other region has other data, and is asked as a last resort unless staleness is bounded: for tests that look at one
/// region's data only.
const STAY: &str = "max_staleness_ms = 60000\n[routed]\nfailover = \"manual\"";

/// Reads for so long, one after the other, and expects no error.
async fn read_steadily(connection: &Connection, duration: Duration) -> usize {
    let mut connection = connection.clone();
    let (began, mut reads) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let read: Result<Option<String>, _> = connection.get("name").await;
        assert_eq!(read.unwrap().as_deref(), Some("Ada"), "after {:?}", began.elapsed());
        reads += 1;
    }
    reads
}

async fn with_a_value(world: &World, routing: &str) -> (Client, Connection) {
    let (client, mut connection) = world.client(routing).await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    world.us.replicas_in_sync().await.unwrap();
    (client, connection)
}

#[tokio::test]
async fn reads_survive_a_killed_primary_without_an_error() {
    let mut world = World::start().await;
    let (client, connection) = with_a_value(&world, STAY).await;
    let reading = tokio::spawn({
        let connection = connection.clone();
        async move { read_steadily(&connection, Duration::from_millis(800)).await }
    });
    tokio::task::yield_now().await;
    world.us.kill();
    world.us_proxy.reset();
    assert!(reading.await.unwrap() > 0);
    client.shut_down().await;
}

#[tokio::test]
async fn reads_survive_a_paused_primary_and_a_black_hole() {
    for is_paused in [true, false] {
        let mut world = World::start().await;
        let (client, connection) = with_a_value(&world, STAY).await;
        if is_paused {
            world.us.pause().unwrap();
        } else {
            world.us_proxy.black_hole();
        }
        assert!(read_steadily(&connection, Duration::from_millis(800)).await > 0);
        if is_paused {
            world.us.resume().unwrap();
        } else {
            world.us_proxy.heal().await.unwrap();
        }
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_write_to_a_paused_primary_may_be_applied_and_says_so() {
    let mut world = World::start().await;
    let (client, connection) = world.client("").await;
    world.us.pause().unwrap();
    let mut connection =
        connection.with_options(archipelago::CallOptions::default().deadline(Duration::from_millis(100)));
    let error = connection.incr::<_, _, i64>("n", 1).await.unwrap_err();
    let own = Error::of(&error).unwrap();
    assert_eq!(own.kind(), ErrorKind::MaybeApplied, "{own}");
    assert!(matches!(error.retry_method(), redis::RetryMethod::NoRetry));
    assert_eq!(own.attempts().len(), 1, "{own}");
    world.us.resume().unwrap();
    let mut patient = client.connection("profiles").unwrap();
    // It was: the server had it in its socket.
    poll::until("the write", || {
        let mut patient = patient.clone();
        async move { (patient.get::<_, Option<i64>>("n").await.ok()? == Some(1)).then_some(()) }
    })
    .await;
    // Repeating it is the caller's decision, and nobody else's.
    assert_eq!(patient.incr::<_, _, i64>("n", 1).await.unwrap(), 2);
    client.shut_down().await;
}

#[tokio::test]
async fn writes_move_to_the_next_region_with_an_event_and_back_by_hand() {
    let mut world = World::start().await;
    let (client, mut connection) = with_a_value(&world, "").await;
    let mut events = client.events();
    assert_eq!(client.active_region().unwrap().as_str(), "us");
    world.us.kill();
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Bob").await.ok() }
    })
    .await;
    assert_eq!(client.active_region().unwrap().as_str(), "eu");
    assert_eq!(world.eu.run::<String>(redis::cmd("GET").arg("name")).await.unwrap(), "Bob");
    let mut seen = Vec::new();
    while !seen.iter().any(|event| matches!(event, Event::MayLack { .. })) {
        seen.push(tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap());
    }
    let switched = seen.iter().find_map(|event| match event {
        Event::Switched { from, to, .. } => Some((from.as_str(), to.as_str())),
        _ => None,
    });
    assert_eq!(switched, Some(("us", "eu")), "{seen:?}");
    assert!(
        seen.iter().any(|event| matches!(event, Event::NodeDown { node, .. } if &**node == "us/primary")),
        "{seen:?}"
    );
    // Back: refused while it is down, then by hand.
    let error = client.switch_to("us").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(client.switch_to("mars").unwrap_err().kind(), ErrorKind::Config);
    world.us.restart().await.unwrap();
    poll::until("the manual switch", || async { client.switch_to("us").ok() }).await;
    let _: () = connection.set("name", "Cid").await.unwrap();
    assert_eq!(world.us.run::<String>(redis::cmd("GET").arg("name")).await.unwrap(), "Cid");
    client.force_to("eu", Duration::from_secs(60)).unwrap();
    assert_eq!(client.active_region().unwrap().as_str(), "eu");
    client.release().unwrap();
    client.switch_to("us").unwrap();
    assert_eq!(client.active_region().unwrap().as_str(), "us");
    client.shut_down().await;
}

#[tokio::test]
async fn one_reachable_node_is_enough_to_start_and_the_rest_is_found_later() {
    let mut world = World::start().await;
    world.us.kill();
    world.us.replicas_mut()[0].kill();
    let client = Client::builder().config(world.config("")).build().await.unwrap();
    let mut connection = client.connection("profiles").unwrap();
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    world.us.restart().await.unwrap();
    poll::until("the writer's return", || async { client.switch_to("us").ok() }).await;
    let _: () = connection.set("name", "Bob").await.unwrap();
    client.shut_down().await;
}

#[tokio::test]
async fn with_everything_down_the_error_names_every_node_and_the_next_try() {
    let mut world = World::start().await;
    let (client, mut connection) = with_a_value(&world, "").await;
    world.us.kill();
    world.us.replicas_mut()[0].kill();
    world.eu.kill();
    let error = poll::until("the end", || {
        let mut connection = connection.clone();
        async move {
            let error = connection.get::<_, Option<String>>("name").await.err()?;
            let own = Error::of(&error)?.clone();
            // Before every connection is known to be broken, calls are sent and not answered.
            (own.kind() == ErrorKind::Unavailable && own.next_try().is_some()).then_some(own)
        }
    })
    .await;
    for node in ["us/primary", "us/replica-1@eu", "eu/primary"] {
        assert!(error.attempts().iter().any(|attempt| attempt.node == node), "{node}: {error}");
    }
    assert!(error.to_string().contains("next try in"), "{error}");
    world.us.restart().await.unwrap();
    poll::until("recovery", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
    client.shut_down().await;
}

#[tokio::test]
async fn nothing_to_start_with_is_an_error_that_says_so() {
    let config =
        "[regions.us]\nurl = \"redis://127.0.0.1:1\"\n[keyspaces.profiles]\nmode = \"routed\"".parse().unwrap();
    let error = Client::builder().config(config).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

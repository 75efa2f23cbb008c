//! Subscriptions go where messages are published, and say where some may be missing.

use std::time::Duration;

use archipelago::{Client, Connection, ErrorKind, Received, Subscription, testing::poll};
use futures_util::StreamExt;
use redis::AsyncCommands;

use crate::world::World;

const STAY: &str = "[routed]\nfailover = \"manual\"";

async fn next(subscription: &mut Subscription) -> Option<Received> {
    tokio::time::timeout(poll::PATIENCE, subscription.next()).await.unwrap()
}

async fn message(subscription: &mut Subscription) -> (String, Option<String>, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match next(subscription).await {
        Some(Received::Message(message)) => {
            (text(&message.channel), message.pattern.as_deref().map(text), text(&message.payload))
        }
        other => panic!("a message was expected: {other:?}"),
    }
}

/// Publishes until somebody receives it.
async fn publish(connection: &Connection, text: &str) {
    poll::until("a receiver", || {
        let mut connection = connection.clone();
        async move { (connection.publish::<_, _, i64>("news", text).await.ok()? > 0).then_some(()) }
    })
    .await;
}

/// What comes until the marker, without it.
async fn until_interrupted(subscription: &mut Subscription) -> Vec<Received> {
    let mut before = Vec::new();
    loop {
        match next(subscription).await.unwrap() {
            Received::Interrupted => return before,
            received => before.push(received),
        }
    }
}

async fn news(client: &Client) -> Subscription {
    client.subscribe("profiles").channels(["news"]).start().await.unwrap()
}

#[tokio::test]
async fn channels_and_patterns_are_received_from_the_start_on() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let mut all = client.subscribe("profiles").channels(["news", "sport"]).patterns(["user:*"]).start().await.unwrap();
    for (channel, text) in [("news", "one"), ("weather", "none"), ("sport", "two"), ("user:7", "three")] {
        let _: i64 = connection.publish(channel, text).await.unwrap();
    }
    assert_eq!(message(&mut all).await, ("news".into(), None, "one".into()));
    assert_eq!(message(&mut all).await, ("sport".into(), None, "two".into()));
    assert_eq!(message(&mut all).await, ("user:7".into(), Some("user:*".into()), "three".into()));
    client.shut_down().await;
    assert_eq!(next(&mut all).await, None, "it ends with the client");
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_said_at_the_start() {
    let world = World::start().await;
    let (client, _) = world.client("").await;
    let error = client.subscribe("nowhere").channels(["news"]).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = client.subscribe("profiles").start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let _: () =
        world.us.run(redis::cmd("ACL").arg("SETUSER").arg("default").arg("resetchannels").arg("&sport")).await.unwrap();
    let error = client.subscribe("profiles").channels(["news"]).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let _ = client.subscribe("profiles").channels(["sport"]).start().await.unwrap();
    client.shut_down().await;
    let error = client.subscribe("profiles").channels(["news"]).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_killed_writer_leaves_a_gap_that_is_marked() {
    let mut world = World::start().await;
    let (client, connection) = world.client(STAY).await;
    let mut news = news(&client).await;
    publish(&connection, "before").await;
    assert_eq!(message(&mut news).await.2, "before");
    world.us.kill();
    world.us.restart().await.unwrap();
    assert_eq!(until_interrupted(&mut news).await, []);
    publish(&connection, "after").await;
    assert_eq!(message(&mut news).await.2, "after");
    client.shut_down().await;
}

#[tokio::test]
async fn it_moves_to_the_next_region_with_the_writes() {
    let mut world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut news = news(&client).await;
    publish(&connection, "before").await;
    assert_eq!(message(&mut news).await.2, "before");
    world.us.kill();
    assert_eq!(until_interrupted(&mut news).await, []);
    assert_eq!(client.active_region().unwrap().as_str(), "eu");
    publish(&connection, "after").await;
    assert_eq!(message(&mut news).await.2, "after");
    // By hand, with nothing broken.
    world.us.restart().await.unwrap();
    poll::until("the manual switch", || async { client.switch_to("us").ok() }).await;
    assert_eq!(until_interrupted(&mut news).await, []);
    publish(&connection, "back").await;
    assert_eq!(message(&mut news).await.2, "back");
    client.shut_down().await;
}

#[tokio::test]
async fn a_black_hole_is_left_with_the_region_and_where_there_is_no_other_by_missing_signs_of_life() {
    for (routing, is_left) in [("", true), (STAY, false)] {
        let world = World::start().await;
        let mut config = world.config(routing);
        config.regions.get_mut("us").unwrap().connect_timeout = Duration::from_millis(200);
        let client = Client::builder().config(config).build().await.unwrap();
        let connection = client.connection("profiles").unwrap();
        let mut news = news(&client).await;
        world.us_proxy.black_hole();
        if !is_left {
            // Several signs of life are due by then.
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.us_proxy.heal().await.unwrap();
        }
        assert_eq!(until_interrupted(&mut news).await, []);
        publish(&connection, "after").await;
        assert_eq!(message(&mut news).await.2, "after");
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_keep_up_loses_the_oldest_and_hears_how_many() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let mut slow = client.subscribe("profiles").channels(["news"]).buffer(4).start().await.unwrap();
    let mut quick = news(&client).await;
    for n in 0..20 {
        let _: i64 = connection.publish("news", n).await.unwrap();
        assert_eq!(message(&mut quick).await.2, n.to_string());
    }
    // All were passed on to the one; they are to the other, too, in a moment.
    let mut received = Vec::new();
    let mut missed = 0;
    while received.last().map(String::as_str) != Some("19") {
        match next(&mut slow).await.unwrap() {
            Received::Message(message) => received.push(String::from_utf8(message.payload.to_vec()).unwrap()),
            Received::Missed { count } => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0 && missed + received.len() as u64 == 20, "{missed} missed, {received:?}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_dropped_subscription_ends_at_the_server() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let subscription = news(&client).await;
    drop(subscription);
    poll::until("no receivers", || {
        let mut connection = connection.clone();
        async move { (connection.publish::<_, _, i64>("news", "x").await.ok()? == 0).then_some(()) }
    })
    .await;
    assert_eq!(connection.publish::<_, _, i64>("news", "x").await.unwrap(), 0);
    client.shut_down().await;
}

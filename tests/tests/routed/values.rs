//! Typed values, and loads that callers share.

use std::{collections::BTreeMap, time::Duration};

use archipelago::{Connection, ErrorKind};
use archipelago_tests::loader::Loader;
use redis::AsyncCommands;

use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn values_are_json_and_expire() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let profile = BTreeMap::from([("name".to_owned(), "Ada".to_owned())]);
    assert_eq!(connection.get_value::<String>("profile").await.unwrap(), None);
    connection.set_value("profile", &profile).await.unwrap();
    assert_eq!(connection.get_value::<BTreeMap<String, String>>("profile").await.unwrap(), Some(profile));
    assert_eq!(connection.get::<_, String>("profile").await.unwrap(), r#"{"name":"Ada"}"#);
    connection.set_value_for("profile", "gone soon", MINUTE).await.unwrap();
    let ttl: i64 = connection.pttl("profile").await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    for ttl in [Duration::ZERO, Duration::MAX] {
        connection.set_value_for("odd", &1, ttl).await.unwrap();
    }
    let error = connection.get_value::<u32>("profile").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization, "{error}");
    assert!(!error.to_string().contains("soon"), "{error}");
    let _: i64 = connection.lpush("list", 1).await.unwrap();
    assert_eq!(connection.get_value::<u32>("list").await.unwrap_err().kind(), ErrorKind::Refused);
    client.shut_down().await;
    assert_eq!(connection.get_value::<u32>("list").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Callers of one key, each in a task of its own.
fn callers(
    connection: &Connection,
    loader: &Loader,
    count: usize,
    result: &Result<Option<u32>, String>,
) -> Vec<tokio::task::JoinHandle<Result<Option<u32>, archipelago::Error>>> {
    let call = |_| {
        let (connection, loader, result) = (connection.clone(), loader.clone(), result.clone());
        tokio::spawn(async move { connection.get_or_load("k", MINUTE, || loader.load(result)).await })
    };
    (0..count).map(call).collect()
}

#[tokio::test]
async fn fifty_callers_share_one_load_and_what_it_gave_is_kept() {
    for (result, stored) in [(Ok(Some(7)), "7"), (Ok(None), "null")] {
        let world = World::start().await;
        let (client, mut connection) = world.client("").await;
        let loader = Loader::default();
        let calls = callers(&connection, &loader, 50, &result);
        loader.until_called(1).await;
        loader.go();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), result.clone().unwrap());
        }
        let again = connection.get_or_load("k", MINUTE, || loader.load(Ok(Some(9)))).await.unwrap();
        assert_eq!((again, loader.calls()), (result.unwrap(), 1));
        assert_eq!(connection.get::<_, String>("k").await.unwrap(), stored);
        assert!(connection.pttl::<_, i64>("k").await.unwrap() > 0);
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_loaders_error_is_everybodys_and_is_not_kept() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let loader = Loader::default();
    let calls = callers(&connection, &loader, 20, &Err("no database".to_owned()));
    loader.until_called(1).await;
    loader.go();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Load && error.message().contains("no database"), "{error}");
    }
    // Who came late ran a load of its own: nothing was kept.
    assert!((1..=20).contains(&loader.calls()));
    assert_eq!(connection.get_value::<u32>("k").await.unwrap(), None);
    client.shut_down().await;
}

#[tokio::test]
async fn a_cancelled_load_is_taken_over_by_who_waits() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let loader = Loader::default();
    let first = callers(&connection, &loader, 1, &Ok(Some(1))).remove(0);
    loader.until_called(1).await;
    let others = callers(&connection, &loader, 5, &Ok(Some(2)));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    loader.until_called(2).await;
    loader.go();
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), Some(2));
    }
    assert_eq!(loader.calls(), 2);
    client.shut_down().await;
}

#[tokio::test]
async fn what_was_set_meanwhile_stays_and_what_cannot_be_stored_is_given() {
    let mut world = World::start().await;
    let (client, connection) = world.client("[routed]\nfailover = \"manual\"").await;
    let loader = Loader::default();
    let call = callers(&connection, &loader, 1, &Ok(Some(1))).remove(0);
    loader.until_called(1).await;
    connection.set_value("k", &5).await.unwrap();
    loader.go();
    assert_eq!(call.await.unwrap().unwrap(), Some(1));
    assert_eq!(connection.get_value::<u32>("k").await.unwrap(), Some(5));

    let loader = Loader::default();
    let _: () = connection.clone().del("k").await.unwrap();
    let call = callers(&connection, &loader, 1, &Ok(Some(1))).remove(0);
    loader.until_called(1).await;
    world.us.kill();
    loader.go();
    assert_eq!(call.await.unwrap().unwrap(), Some(1));
    client.shut_down().await;
}

//! Regions that cannot be reached: the one that keeps a user's record, and the home itself.

use std::time::Duration;

use archipelago::{
    Error, ErrorKind,
    homes::{HomeReason, HomeRequest, HomeStep},
    testing::poll,
};
use redis::AsyncCommands;

use crate::world::{World, settle, user_of};

#[tokio::test]
async fn while_the_owner_region_is_away_known_homes_are_lived_in_and_unknown_ones_are_not_assigned() {
    let mut world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    let user = user_of(&homes, "ap");
    let stranger = user_of(&homes, "ap") + "0";
    let stranger = (0..).map(|n| format!("{stranger}{n}")).find(|user| homes.owner_of(user).unwrap().as_str() == "ap");
    let stranger = stranger.unwrap();
    settle(&homes, &user, "eu").await;
    let mut connection = homes.connection(&user).unwrap();
    let key = connection.key("count");
    let _: () = connection.incr(&key, 1).await.unwrap();

    world.servers[0].kill();
    let request = HomeRequest::new().with_pin("us");
    for number in 2..50 {
        assert_eq!(connection.incr::<_, _, i64>(&key, 1).await.unwrap(), number);
    }
    let home = homes.home_of(&user, &request).await.unwrap();
    assert_eq!((home.region().as_str(), home.reason()), ("eu", HomeReason::Remembered));

    for unknown in [(&homes, &stranger), (&others, &user)] {
        let home = unknown.0.home_of(unknown.1, &request).await.unwrap();
        assert_eq!((home.region().as_str(), home.reason()), ("us", HomeReason::Unassigned(HomeStep::UserPin)));
        assert!(!home.is_assigned() && home.to_string().contains("owner region cannot be reached"), "{home}");
        let mut connection = unknown.0.connection(unknown.1).unwrap();
        let error = connection.incr::<_, _, i64>(connection.key("count"), 1).await.unwrap_err();
        assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = homes.migrate_home(&user, "us").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(
        world.servers[2].run::<Vec<String>>(redis::cmd("KEYS").arg("archipelago:gate*")).await.unwrap(),
        [""; 0]
    );

    world.servers[0].restart().await.unwrap();
    let home = poll::until("the owner is back", || async {
        let home = homes.home_of(&stranger, &request).await.unwrap();
        home.is_assigned().then_some(home)
    });
    assert_eq!(home.await.region().as_str(), "us");
    let _: () = others.connection(&user).unwrap().incr(&key, 1).await.unwrap();
    homes.migrate_home(&user, "us").await.unwrap();
    assert_eq!(connection.incr::<_, _, i64>(&key, 1).await.unwrap(), 51);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test]
async fn a_home_that_is_down_fails_its_users_and_moves_nobody() {
    let mut world = World::start().await;
    let (client, homes) = world.client().await;
    let user = user_of(&homes, "ap");
    settle(&homes, &user, "eu").await;
    let mut connection = homes.connection(&user).unwrap();
    let key = connection.key("count");
    let _: () = connection.incr(&key, 1).await.unwrap();
    world.servers[1].kill();
    poll::until("the client knows", || async {
        let error = connection.clone().incr::<_, _, i64>(&key, 1).await.unwrap_err();
        (Error::of(&error).unwrap().kind() == ErrorKind::Unavailable).then_some(())
    })
    .await;
    let homes = homes.with_migration_deadline(Duration::from_millis(500));
    let error = homes.migrate_home(&user, "us").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("rolled back"), "{error}");
    world.servers[1].restart().await.unwrap();
    let count = poll::until("the home is back", || async { connection.clone().get::<_, i64>(&key).await.ok() }).await;
    assert!(count >= 1);
    assert_eq!(world.open_at(&user).await, ["eu"]);
    homes.with_migration_deadline(Duration::from_secs(10)).migrate_home(&user, "us").await.unwrap();
    assert_eq!(connection.get::<_, i64>(&key).await.unwrap(), count);
    client.shut_down().await;
}

#[tokio::test]
async fn a_new_home_that_is_down_costs_nothing_but_the_attempt() {
    let mut world = World::start().await;
    let (client, homes) = world.client().await;
    let user = user_of(&homes, "ap");
    settle(&homes, &user, "eu").await;
    let mut connection = homes.connection(&user).unwrap();
    let key = connection.key("count");
    world.servers[2].kill();
    let homes = homes.with_migration_deadline(Duration::from_millis(500));
    let error = homes.migrate_home(&user, "us").await.unwrap_err();
    assert!(error.to_string().contains("rolled back"), "{error}");
    assert_eq!(connection.incr::<_, _, i64>(&key, 1).await.unwrap(), 1);
    client.shut_down().await;
}

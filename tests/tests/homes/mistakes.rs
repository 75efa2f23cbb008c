//! What callers get wrong, and what does not fit.

use std::time::Duration;

use archipelago::{
    Client, Embedded, Error, ErrorKind,
    homes::{HomeReason, HomeRequest},
    routing::{RoutingConfig, config::PolicyName},
};
use redis::AsyncCommands;

use crate::world::{NAMES, World, settle};

#[tokio::test]
async fn bad_ids_and_regions_are_refused_and_any_bytes_are_an_id() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    let request = HomeRequest::new();
    for id in [&b""[..], &[b'a'; 257], &[0xff; 1 << 20]] {
        assert_eq!(homes.home_of(id, &request).await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(homes.migrate_home(id, "eu").await.unwrap_err().kind(), ErrorKind::Refused);
        assert!(homes.connection(id).is_err() && homes.owner_of(id).is_err());
    }
    let error = homes.migrate_home("ada", "mars").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("known: ap, eu, us"), "{error}");
    for error in [homes.migrate_home("ada", "eu").await, homes.resume_migration("ada").await] {
        let error = error.unwrap_err();
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("no home yet"), "{error}");
    }
    let error = homes.connection("ada").unwrap().get::<_, Option<i64>>("{ada}").await.unwrap_err();
    assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Refused);

    for id in [&b"\xff\x00}{%\r\n"[..], "ö {ü}".as_bytes(), &[b'}'; 256]] {
        let home = homes.home_of(id, &request.with_pin("us")).await.unwrap();
        assert_eq!(home.region().as_str(), "us");
        let mut user = homes.connection(id).unwrap();
        let _: () = user.set(user.key("cart"), &b"\x00\xff"[..]).await.unwrap();
        for to in NAMES {
            homes.migrate_home(id, to).await.unwrap();
            assert_eq!(user.get::<_, Vec<u8>>(user.key("cart")).await.unwrap(), b"\x00\xff");
        }
    }
    client.shut_down().await;
}

#[tokio::test]
async fn to_migrate_where_one_lives_and_to_end_what_is_not_under_way_do_nothing() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let before = world.gates("ada").await;
    for home in [
        homes.migrate_home("ada", "eu").await,
        homes.resume_migration("ada").await,
        homes.roll_back_migration("ada").await,
    ] {
        assert_eq!(home.unwrap().region().as_str(), "eu");
    }
    assert_eq!(world.gates("ada").await, before);
    client.shut_down().await;
}

#[tokio::test]
async fn of_two_movers_at_once_one_moves_and_the_other_is_told() {
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    let mut told = 0;
    for round in 0..30 {
        let user = format!("user:{round}");
        settle(&homes, &user, "ap").await;
        let mut connection = others.connection(&user).unwrap();
        let _: () = connection.set(connection.key("cart"), round).await.unwrap();
        let (a, b) = tokio::join!(homes.migrate_home(&user, "eu"), others.migrate_home(&user, "us"));
        for error in [&a, &b].into_iter().filter_map(|end| end.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            told += 1;
        }
        assert!(a.is_ok() || b.is_ok());
        assert_eq!(connection.get::<_, usize>(connection.key("cart")).await.unwrap(), round);
        assert_eq!(world.open_at(&user).await.len(), 1);
    }
    println!("of 30 pairs {told} movers were refused");
    assert!(told > 0);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test]
async fn who_has_too_much_stays_and_lives_on() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = homes.connection("ada").unwrap().with_deadline(Duration::from_secs(10));
    let _: () = user.set(user.key("big"), vec![b'x'; 9 << 20]).await.unwrap();
    let error = homes.migrate_home("ada", "us").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("8388608 bytes"), "{error}");
    assert_eq!(user.incr::<_, _, i64>(user.key("count"), 1).await.unwrap(), 1);
    assert_eq!(world.open_at("ada").await, ["eu"]);
    let _: () = user.del(user.key("big")).await.unwrap();
    homes.migrate_home("ada", "us").await.unwrap();
    assert_eq!(user.incr::<_, _, i64>(user.key("count"), 1).await.unwrap(), 2);

    // Too many keys; those that have expired make room.
    for number in 0..999 {
        let _: () = user.set(user.key(&format!("item:{number}")), 1).await.unwrap();
    }
    let error = user.set::<_, _, ()>(user.key("one too many"), 1).await.unwrap_err();
    assert!(error.to_string().contains("at most 1000 keys"), "{error}");
    let _: () = user.incr(user.key("count"), 1).await.unwrap();
    let _: () = user.pexpire_at(user.key("item:7"), 1).await.unwrap();
    let _: () = user.set(user.key("one too many"), 1).await.unwrap();
    homes.migrate_home("ada", "ap").await.unwrap();
    assert_eq!(world.keys(0, "ada").await.len(), 1000);
    client.shut_down().await;
}

#[tokio::test]
async fn homes_need_a_table_a_policy_and_servers_and_keep_to_the_residency() {
    let world = World::start().await;
    let refused = async |more: &str, keyspace: &str| {
        let client = Client::builder().config(world.config(more)).build().await.unwrap();
        let error = client.homes(keyspace).unwrap_err();
        client.shut_down().await;
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(refused("", "profiles").await.contains("[homes]"));
    assert!(refused("[homes]\n", "nowhere").await.contains("unknown keyspace"));
    let owned = "[homes]\n[keyspaces.owned]\nmode = \"routed\"\nrouting = { policy = \"key-owner\" }\n";
    assert!(refused(owned, "owned").await.contains("keyspaces.owned.routing.policy"));

    let missing = world.config("[homes]\ndatabase = { path = \"nowhere.mmdb\" }\n");
    let error = Client::builder().config(missing).build().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("homes.database"), "{error}");

    let kept = "[homes]\n[keyspaces.kept]\nmode = \"routed\"\n\
                routing = { policy = \"home-region\", residency = [\"eu\", \"ap\"] }\n";
    let client = Client::builder().config(world.config(kept)).build().await.unwrap();
    let homes = client.homes("kept").unwrap();
    let request = HomeRequest::new();
    let error = homes.home_of("ada", &request.with_pin("us")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("residency"), "{error}");
    settle(&homes, "ada", "eu").await;
    assert_eq!(homes.migrate_home("ada", "us").await.unwrap_err().kind(), ErrorKind::Config);
    homes.migrate_home("ada", "ap").await.unwrap();
    client.shut_down().await;

    let regions = Embedded::builder().region("eu").build().unwrap();
    let routing = RoutingConfig { policy: PolicyName::HomeRegion, ..RoutingConfig::default() };
    let config = "[regions.eu]\nurl = \"redis://eu.invalid\"\n[homes]\n".parse().unwrap();
    let builder = Client::builder().embedded(&regions).config(config).routed("profiles", routing);
    let client = builder.build().await.unwrap();
    assert!(client.homes("profiles").unwrap_err().to_string().contains("servers"));
    client.shut_down().await;
}

/// Keyspaces with homes share a user's home and keys: what one of them may not leave, another must not take away.
#[tokio::test]
async fn a_home_outside_the_residency_of_any_keyspace_serves_nobody_until_the_user_is_moved() {
    let world = World::start().await;
    let (before, homes) = world.client().await;
    settle(&homes, "ada", "us").await;
    let mut user = homes.connection("ada").unwrap();
    let _: () = user.set(user.key("name"), "Ada").await.unwrap();
    before.shut_down().await;

    let more = "[homes]\ndefault = \"eu\"\n[keyspaces.medical]\nmode = \"routed\"\n\
                routing = { policy = \"home-region\", residency = [\"eu\"] }\n";
    let client = Client::builder().config(world.config(more)).build().await.unwrap();
    for keyspace in ["medical", "profiles"] {
        let homes = client.homes(keyspace).unwrap();
        let mut user = homes.connection("ada").unwrap();
        let refused = user.set::<_, _, ()>(user.key("diagnosis"), "none").await.unwrap_err();
        let error = Error::of(&refused).unwrap();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("outside the residency"), "{error}");
        assert!(homes.migrate_home("ada", "us").await.is_err(), "there is no way back");
    }
    assert_eq!(world.keys(2, "ada").await, ["{ada}:name"], "nothing was written in us");
    let homes = client.homes("medical").unwrap();
    homes.migrate_home("ada", "eu").await.unwrap();
    let mut user = homes.connection("ada").unwrap();
    let _: () = user.set(user.key("diagnosis"), "none").await.unwrap();
    let back = client.homes("profiles").unwrap().migrate_home("ada", "us").await.unwrap_err();
    assert!(back.to_string().contains("residency"), "{back}");
    assert_eq!(world.open_at("ada").await, ["eu"]);
    client.shut_down().await;
}

/// The record is lost with its server's data: what the error advises helps.
#[tokio::test]
async fn a_user_whose_record_is_lost_gets_a_home_again() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    settle(&homes, "ada", "us").await;
    let mut user = homes.connection("ada").unwrap();
    let _: () = user.set(user.key("name"), "Ada").await.unwrap();
    for server in &world.servers {
        let _: () = server.run(&redis::cmd("FLUSHALL")).await.unwrap();
    }
    let lost = user.get::<_, Option<String>>(user.key("name")).await.unwrap_err();
    assert!(lost.to_string().contains("`home_of` first"), "{lost}");
    let home = homes.home_of("ada", &HomeRequest::new()).await.unwrap();
    assert!(matches!(home.reason(), HomeReason::Assigned(_)), "{home}");
    assert_eq!(user.get::<_, Option<String>>(user.key("name")).await.unwrap(), None);
    client.shut_down().await;
}

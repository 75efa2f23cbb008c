//! The token itself: small, of both planes, and of writes that nobody answered.

use std::{collections::BTreeSet, time::Duration};

use archipelago::{
    Client, Embedded, ErrorKind,
    routing::RoutingConfig,
    sessions::{Guarantee, Session},
};
use archipelago_tests::world::{Ground, REGIONS};
use redis::AsyncCommands;

use crate::{impatient, on_partitions};

#[tokio::test]
async fn tokens_stay_small_however_many_partitions_were_seen() {
    on_partitions(Ground::Embedded, 16, async |case| {
        let session = impatient().build();
        let names: Vec<String> = (0..100).map(|n| format!("name:{n}")).collect();
        for name in &names {
            case.at(0, &session).register::<u32>(name.clone()).set(&1).await.unwrap();
            assert!(session.token().len() < 64, "{}", session.token());
        }
        let cookie = session.token();
        println!("100 names in 16 partitions of one region: {} characters", cookie.len());
        let read = async |at: usize, name: &str| {
            let session = impatient().from_token(&cookie).unwrap();
            case.at(at, &session).register::<u32>(name.to_owned()).get().await
        };
        for name in &names {
            assert_eq!(read(1, name).await.unwrap_err().kind(), ErrorKind::Behind, "what was seen is in there");
            assert_eq!(read(0, name).await.unwrap(), Some(1), "at home there is nothing to ask");
        }
        case.carry(0, 1).await;
        for name in &names {
            assert_eq!(read(1, name).await.unwrap(), Some(1), "the region says how far its log went");
        }

        let reader = impatient().guarantee(Guarantee::MonotonicReads).build();
        case.carry_all().await;
        let mut longest = 0;
        for name in &names {
            for at in 0..3 {
                case.at(at, &reader).register::<u32>(name.clone()).get().await.unwrap();
                longest = longest.max(reader.token().len());
            }
        }
        println!("read in all three: {longest} characters at most");
        assert!(longest < 300);
    })
    .await;
}

#[tokio::test]
async fn a_region_that_cannot_say_what_was_seen_there_is_waited_for() {
    on_partitions(Ground::Embedded, 16, async |case| {
        let session = impatient().build();
        for n in 0..50 {
            case.at(0, &session).counter(format!("n:{n}")).add(1).await.unwrap();
        }
        let cookie = session.token();
        case.carry(0, 1).await;
        case.world.cut(0, 1).await;
        let mut kinds = BTreeSet::new();
        for n in 0..50 {
            let session = impatient().from_token(&cookie).unwrap();
            match case.at(1, &session).counter(format!("n:{n}")).get().await {
                Ok(shown) => assert_eq!(shown, 1),
                Err(error) => drop(kinds.insert(format!("{:?}", error.kind()))),
            }
        }
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Behind"]);
        case.world.heal().await;
        let session = impatient().from_token(&cookie).unwrap();
        for n in 0..50 {
            assert_eq!(case.at(1, &session).counter(format!("n:{n}")).get().await.unwrap(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_write_without_an_answer_is_not_missed() {
    on_partitions(Ground::Embedded, 2, async |case| {
        let embedded = case.world.embedded.as_ref().unwrap();
        let session = impatient().build();
        embedded.lose_replies(REGIONS[0], REGIONS[0]).unwrap();
        let error = case.at(0, &session).set("cart").add("book").await.unwrap_err();
        assert!(error.is_maybe_applied());
        embedded.heal();
        let session = impatient().from_token(&session.token()).unwrap();
        let elsewhere = case.at(1, &session).set("cart");
        assert_eq!(elsewhere.contains("book").await.unwrap_err().kind(), ErrorKind::Behind);
        assert!(case.at(0, &session).set("cart").contains("book").await.unwrap());
        case.carry(0, 1).await;
        assert!(elsewhere.contains("book").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_write_that_was_never_sent_is_not_waited_for() {
    on_partitions(Ground::Embedded, 2, async |case| {
        let session = impatient().build();
        case.world.embedded.as_ref().unwrap().crash(REGIONS[0]).unwrap();
        let error = case.at(0, &session).set("cart").add("book").await.unwrap_err();
        assert!(error.is_unavailable());
        assert_eq!(session.token(), Session::new().token());
        assert!(!case.at(1, &session).set("cart").contains("book").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn one_cookie_carries_both_planes() {
    let regions = REGIONS.iter().fold(Embedded::builder(), |builder, name| builder.region(*name));
    let regions =
        regions.weight(REGIONS[0], 2).replica(REGIONS[0], REGIONS[1], Duration::from_secs(600)).build().unwrap();
    let config = archipelago::Config {
        keyspaces: [
            ("default".to_owned(), archipelago::config::KeyspaceConfig::default()),
            (
                "profiles".to_owned(),
                archipelago::config::KeyspaceConfig::routed(RoutingConfig {
                    local_replica: true,
                    ..RoutingConfig::default()
                }),
            ),
        ]
        .into(),
        ..archipelago::Config::default()
    };
    let build = |at: usize| Client::builder().embedded(&regions).config(config.clone()).local_region(REGIONS[at]);
    let (here, there) =
        (build(0).without_sync().build().await.unwrap(), build(1).without_sync().build().await.unwrap());

    let session = impatient().build();
    let client = here.with_session(&session);
    let _: () = client.connection("profiles").unwrap().set("ada", "Lovelace").await.unwrap();
    client.set("cart").add("book").await.unwrap();
    assert!(session.token().len() < 100);

    let session = impatient().from_token(&session.token()).unwrap();
    let client = there.with_session(&session);
    let name: Option<String> = client.connection("profiles").unwrap().get("ada").await.unwrap();
    assert_eq!(name.as_deref(), Some("Lovelace"), "the replica has no Ada yet");
    let cart = client.keyspace("default").unwrap().set("cart");
    assert_eq!(cart.contains("book").await.unwrap_err().kind(), ErrorKind::Behind);
    there.sync_until_idle(Duration::from_secs(30)).await.unwrap();
    assert!(cart.contains("book").await.unwrap());
    here.shut_down().await;
    there.shut_down().await;
}

#[tokio::test]
async fn keyspaces_owe_each_other_nothing() {
    let regions = REGIONS.iter().fold(Embedded::builder(), |builder, name| builder.region(*name)).build().unwrap();
    let keyspaces = ["one", "two"].map(|name| (name.to_owned(), archipelago::config::KeyspaceConfig::default()));
    let config = archipelago::Config { keyspaces: keyspaces.into(), ..archipelago::Config::default() };
    let build = |at: usize| Client::builder().embedded(&regions).config(config.clone()).local_region(REGIONS[at]);
    let (here, there) =
        (build(0).without_sync().build().await.unwrap(), build(1).without_sync().build().await.unwrap());
    let session = impatient().build();
    here.keyspace("one").unwrap().with_session(&session).counter("n").add(1).await.unwrap();
    assert_eq!(there.keyspace("two").unwrap().with_session(&session).counter("n").get().await.unwrap(), 0);
    let behind = there.keyspace("one").unwrap().with_session(&session).counter("n").get().await;
    assert_eq!(behind.unwrap_err().kind(), ErrorKind::Behind);
    here.shut_down().await;
    there.shut_down().await;
}

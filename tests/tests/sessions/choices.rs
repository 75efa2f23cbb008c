//! What a read does when its region is behind.

use std::time::Duration;

use archipelago::{
    ErrorKind,
    sessions::{Guarantee, Session, WhenBehind},
};

use crate::{Case, impatient};

pub async fn a_region_that_is_behind_is_an_error_until_it_has_caught_up(case: Case) {
    let session = impatient().build();
    case.at(0, &session).set("cart").add("book").await.unwrap();
    assert!(session.token().len() < 64);
    assert!(case.at(0, &session).set("cart").contains("book").await.unwrap(), "at home there is nothing to wait for");
    let elsewhere = case.at(1, &session).set("cart");
    let error = elsewhere.contains("book").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Behind);
    assert_eq!(error.region(), Some(case.clients[1].local_region()));
    assert!(
        case.clients[1].set("cart").members().await.unwrap().is_empty(),
        "without a session it reads what is there"
    );

    let patient = Session::builder().wait(Duration::from_secs(30)).from_token(&session.token()).unwrap();
    let patient = case.at(1, &patient).set("cart");
    let (contains, ()) = tokio::join!(patient.contains("book"), case.carry(0, 1));
    assert!(contains.unwrap(), "it waited");
    assert!(elsewhere.contains("book").await.unwrap());
}

pub async fn ask_origin_answers_from_the_region_that_wrote(case: Case) {
    let session = impatient().when_behind(WhenBehind::AskOrigin).build();
    case.at(0, &session).register::<u32>("profile").set(&7).await.unwrap();
    assert_eq!(case.at(2, &session).register::<u32>("profile").get().await.unwrap(), Some(7));
    case.at(1, &session).register::<u32>("profile").set(&8).await.unwrap();
    let alone = case.at(2, &session).register::<u32>("profile").get().await;
    assert_eq!(alone.unwrap_err().kind(), ErrorKind::Behind, "no region has both writes");
    case.carry(0, 1).await;
    assert_eq!(case.at(2, &session).register::<u32>("profile").get().await.unwrap(), Some(8));
}

pub async fn merge_answers_what_no_region_has_alone(case: Case) {
    let session = impatient().when_behind(WhenBehind::Merge).guarantee(Guarantee::MonotonicReads).build();
    case.at(0, &session).counter("n").add(1).await.unwrap();
    case.at(1, &session).counter("n").add(10).await.unwrap();
    case.at(0, &session).sorted_set("board").add("ada", 1.5).await.unwrap();
    case.at(1, &session).sorted_set("board").add("ada", 2.0).await.unwrap();
    case.at(1, &session).map::<u32>("map").set("field", &3).await.unwrap();
    case.clients[2].counter("n").add(100).await.unwrap();
    let here = case.at(2, &session);
    assert_eq!(here.counter("n").get().await.unwrap(), 111);
    assert_eq!(here.sorted_set("board").top(2).await.unwrap(), [("ada".into(), 3.5)]);
    assert_eq!(here.map::<u32>("map").get("field").await.unwrap(), Some(3));
    assert_eq!(case.clients[2].counter("n").get().await.unwrap(), 100, "nothing was written for it");

    // What was shown was seen: of what all three regions wrote.
    let later = impatient().from_token(&session.token()).unwrap();
    let elsewhere = case.at(0, &later).counter("n");
    assert_eq!(elsewhere.get().await.unwrap_err().kind(), ErrorKind::Behind);
    case.carry_all().await;
    assert_eq!(elsewhere.get().await.unwrap(), 111);
}

pub async fn merge_brings_back_nothing_that_was_removed(case: Case) {
    let session = impatient().when_behind(WhenBehind::Merge).build();
    case.clients[0].set("tags").add("old").await.unwrap();
    case.carry_all().await;
    case.at(0, &session).set("tags").remove("old").await.unwrap();
    case.at(1, &session).set("tags").add("new").await.unwrap();
    assert_eq!(case.at(2, &session).set("tags").members().await.unwrap(), ["new".into()].into());
    assert_eq!(case.clients[2].set("tags").members().await.unwrap(), ["old".into()].into());
}

pub async fn every_type_and_a_batch_see_the_sessions_own_writes(case: Case) {
    let session = impatient().build();
    let here = case.at(0, &session);
    let (n, tags, board) = (here.counter("n"), here.set("tags"), here.sorted_set("board"));
    let batch =
        here.batch().add(&n, 2).add(&tags, "x").add_score(&board, "ada", 1.0).set(&here.register::<u32>("r"), &1);
    assert!(batch.execute().await.iter().all(Result::is_ok));
    here.map::<u32>("map").set("field", &1).await.unwrap();
    let there = case.at(1, &session);
    let behind = [
        there.counter("n").get().await.map(drop),
        there.set("tags").len().await.map(drop),
        there.sorted_set("board").rank("ada").await.map(drop),
        there.register::<u32>("r").get().await.map(drop),
        there.map::<u32>("map").get("field").await.map(drop),
        there.map::<u32>("map").time_to_live().await.map(drop),
    ];
    assert!(behind.iter().all(|read| read.as_ref().unwrap_err().kind() == ErrorKind::Behind), "{behind:?}");
    case.carry(0, 1).await;
    assert_eq!(there.counter("n").get().await.unwrap(), 2);
    assert_eq!(there.set("tags").members().await.unwrap(), ["x".into()].into());
    assert_eq!(there.register::<u32>("r").get().await.unwrap(), Some(1));
    assert!(session.token().len() < 64);
}

//! The store behind `tower-sessions`: what that crate expects of one, and what several regions add.
#![cfg(feature = "tower-sessions")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::sync::Arc;

use archipelago::{
    Client, Embedded,
    web_sessions::{SessionStore, TowerStore},
};
use time::{Duration, OffsetDateTime};
use tower_sessions_core::{
    Session, SessionStore as Contract,
    session::{Id, Record},
};

async fn two() -> (Embedded, TowerStore, TowerStore) {
    let regions = Embedded::builder().region("eu").region("us").build().unwrap();
    let store = async |at: &str| {
        let client = Client::builder().embedded(&regions).local_region(at).without_sync().build().await.unwrap();
        TowerStore::new(SessionStore::new(&client, "default").unwrap())
    };
    let (eu, us) = (store("eu").await, store("us").await);
    (regions, eu, us)
}

fn record(minutes: i64) -> Record {
    let expiry_date = OffsetDateTime::now_utc() + Duration::minutes(minutes);
    Record { id: Id::default(), data: [("user".to_owned(), "ada".into())].into(), expiry_date }
}

#[tokio::test]
async fn what_was_created_is_loaded_here_and_elsewhere() {
    let (_regions, eu, us) = two().await;
    let mut record = record(30);
    eu.create(&mut record).await.unwrap();
    assert_eq!(eu.load(&record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(us.load(&record.id).await.unwrap(), Some(record));
}

#[tokio::test]
async fn an_id_that_is_taken_is_replaced() {
    let (_regions, eu, _) = two().await;
    let (mut first, mut second) = (record(30), record(30));
    eu.create(&mut first).await.unwrap();
    second.id = first.id;
    second.data.clear();
    eu.create(&mut second).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(eu.load(&first.id).await.unwrap(), Some(first));
}

#[tokio::test]
async fn saving_overwrites_data_and_expiry() {
    let (regions, eu, us) = two().await;
    let mut record = record(30);
    eu.create(&mut record).await.unwrap();
    record.data.insert("cart".to_owned(), 1.into());
    record.expiry_date += Duration::minutes(30);
    us.save(&record).await.unwrap();
    regions.advance(std::time::Duration::from_secs(45 * 60));
    assert_eq!(eu.load(&record.id).await.unwrap(), Some(record));
}

#[tokio::test]
async fn an_expired_session_is_none() {
    let (regions, eu, us) = two().await;
    let (mut long, mut past) = (record(30), record(-30));
    eu.create(&mut long).await.unwrap();
    eu.create(&mut past).await.unwrap();
    assert_eq!(eu.load(&past.id).await.unwrap(), None);
    regions.advance(std::time::Duration::from_secs(31 * 60));
    assert_eq!(eu.load(&long.id).await.unwrap(), None);
    assert_eq!(us.load(&long.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_deleted_session_does_not_come_back_by_a_save() {
    let (_regions, eu, us) = two().await;
    let mut record = record(30);
    eu.create(&mut record).await.unwrap();
    us.delete(&record.id).await.unwrap();
    for store in [&eu, &us] {
        store.save(&record).await.unwrap();
        assert_eq!(store.load(&record.id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn saving_under_an_id_that_nobody_was_given_plants_no_session() {
    let (_regions, eu, _) = two().await;
    let planted = record(30);
    eu.save(&planted).await.unwrap();
    assert_eq!(eu.load(&planted.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_home_that_is_cut_off_is_an_error() {
    let (regions, eu, us) = two().await;
    let mut record = record(30);
    eu.create(&mut record).await.unwrap();
    regions.partition("eu", "us").unwrap();
    let error = us.load(&record.id).await.unwrap_err().to_string();
    assert!(error.contains("eu") && !error.contains(&record.id.to_string()), "{error}");
}

#[tokio::test]
async fn dates_beyond_what_servers_take_are_the_last_they_take() {
    let (_regions, eu, _) = two().await;
    let mut record = record(30);
    record.expiry_date = OffsetDateTime::from_unix_timestamp(253_402_214_400).unwrap();
    eu.create(&mut record).await.unwrap();
    assert_eq!(eu.load(&record.id).await.unwrap(), Some(record));
}

#[tokio::test]
async fn a_session_of_the_middleware_cycles_its_id_and_is_flushed() {
    let (_regions, eu, us) = two().await;
    let session = Session::new(None, Arc::new(eu.clone()), None);
    session.insert("user", "ada").await.unwrap();
    session.save().await.unwrap();
    let planted = session.id().unwrap();
    session.cycle_id().await.unwrap();
    session.save().await.unwrap();
    let id = session.id().unwrap();
    assert_ne!(id, planted);
    assert_eq!(us.load(&planted).await.unwrap(), None);

    let there = Session::new(Some(id), Arc::new(us.clone()), None);
    assert_eq!(there.get::<String>("user").await.unwrap().as_deref(), Some("ada"));
    there.flush().await.unwrap();
    assert_eq!(eu.load(&id).await.unwrap(), None);
}

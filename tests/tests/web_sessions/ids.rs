//! Ids that nobody was given.

use std::time::Duration;

use archipelago::{
    Client, Embedded, ErrorKind,
    web_sessions::{SessionId, SessionStore},
};
use futures_util::future::join_all;

use crate::{LONG, Site, on_both};

on_both!(forged_ids_are_no_session_and_leave_nothing_behind, an_id_of_an_unknown_home_asks_nobody);

/// Another id of the same home.
fn forged(id: &SessionId, number: u64) -> SessionId {
    format!("{}{number:032x}", &id.to_text()[..5]).parse().unwrap()
}

/// How much a region has written, ever.
async fn written(site: &Site, at: usize) -> u64 {
    let store = site.clients[at].keyspace("default").unwrap().store();
    let mut entries = 0;
    for partition in 0..store.partitions() {
        entries += store.sync_state(partition).await.unwrap().number;
    }
    entries
}

async fn assert_none(site: &Site, at: usize, id: &SessionId) {
    let sessions = &site.sessions[at];
    assert_eq!(site.load(at, id).await, None);
    assert!(!sessions.save(id, "eve", LONG).await.unwrap());
    assert!(!sessions.renew(id, LONG).await.unwrap());
    assert!(!sessions.revoke(id).await.unwrap());
    assert!(!sessions.revoke_at_majority(id).await.unwrap());
    assert_eq!(sessions.rotate(id).await.unwrap(), None);
}

async fn forged_ids_are_no_session_and_leave_nothing_behind(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    let forge = async |numbers: std::ops::Range<u64>| {
        for number in numbers {
            for at in [0, 1] {
                assert_none(&site, at, &forged(&id, number)).await;
            }
        }
        [written(&site, 0).await, written(&site, 1).await]
    };
    // The first call on an embedded partition opens it, and writes that down.
    let opened = forge(0..20).await;
    assert_eq!(forge(20..40).await, opened);
}

async fn an_id_of_an_unknown_home_asks_nobody(site: Site) {
    site.world.cut(0, 1).await;
    site.world.cut(1, 2).await;
    let strange: SessionId = format!("1{}", "0".repeat(36)).parse().unwrap();
    assert_none(&site, 1, &strange).await;
}

async fn two_regions(latency: Duration) -> (Embedded, SessionStore, SessionStore) {
    let regions = Embedded::builder().region("eu").region("us").weight("eu", 2).build().unwrap();
    regions.set_latency("eu", "us", latency).unwrap();
    let client = async |at: &str| {
        let builder = Client::builder().embedded(&regions).local_region(at).without_sync();
        SessionStore::new(&builder.build().await.unwrap(), "default").unwrap()
    };
    let (eu, us) = (client("eu").await, client("us").await);
    (regions, eu, us)
}

// Answers come after 1.9 s. Those that wait for a place would come after 3.8 s, behind the deadline.
#[tokio::test]
async fn look_ups_elsewhere_are_bounded() {
    let (_regions, eu, us) = two_regions(Duration::from_millis(1900)).await;
    let us = us.with_deadline(Duration::from_secs(3));
    let id = eu.create("ada", LONG).await.unwrap();
    let extra = 10;
    let storm = (0..SessionStore::LOOKUPS as u64 + extra).map(|number| {
        let (us, id) = (us.clone(), forged(&id, number));
        async move { us.load::<String>(&id).await }
    });
    let errors: Vec<_> = join_all(storm).await.into_iter().filter_map(Result::err).collect();
    assert!(errors.len() >= usize::try_from(extra).unwrap(), "{}", errors.len());
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unavailable), "{errors:?}");
}

#[tokio::test]
async fn a_home_that_does_not_answer_is_waited_for_until_the_deadline() {
    let (_regions, eu, us) = two_regions(Duration::from_millis(1900)).await;
    let id = eu.create("ada", LONG).await.unwrap();
    let hurried = us.with_deadline(Duration::from_millis(1));
    let error = hurried.load::<String>(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[tokio::test]
async fn keyspaces_that_hold_no_sessions_are_refused() {
    let (regions, ..) = two_regions(Duration::ZERO).await;
    let builder = Client::builder().embedded(&regions).local_region("eu");
    let client = builder.routed("profiles", archipelago::routing::RoutingConfig::default()).build().await.unwrap();
    for name in ["profiles", "nothing"] {
        assert_eq!(SessionStore::new(&client, name).unwrap_err().kind(), ErrorKind::Config);
    }
    client.shut_down().await;
}

#[tokio::test]
async fn regions_that_ids_cannot_tell_apart_are_refused() {
    let regions = Embedded::builder().region("region-71").region("region-73").build().unwrap();
    let client = Client::builder().embedded(&regions).local_region("region-71").without_sync().build().await.unwrap();
    let error = SessionStore::new(&client, "default").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("region-71") && error.to_string().contains("region-73"), "{error}");
}

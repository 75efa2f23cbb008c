//! Sessions end by themselves, and renewals move that.

use std::time::Duration;

use archipelago::{testing::poll, web_sessions::SessionStore};
use archipelago_tests::world::Ground;

use crate::{LONG, Site, on_both};

const MINUTE: Duration = Duration::from_secs(60);

on_both!(a_session_ends_by_itself, an_expired_session_is_not_renewed);

async fn ended(sessions: &SessionStore, id: &archipelago::web_sessions::SessionId) {
    poll::until("the session has ended", || async {
        sessions.load::<String>(id).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn a_session_ends_by_itself(site: Site) {
    let id = site.sessions[0].create("ada", Duration::from_millis(20)).await.unwrap();
    ended(&site.sessions[0], &id).await;
    ended(&site.sessions[1], &id).await;
    assert_eq!(site.sessions[1].rotate(&id).await.unwrap(), None);
}

async fn an_expired_session_is_not_renewed(site: Site) {
    let id = site.sessions[0].create("ada", Duration::from_millis(20)).await.unwrap();
    ended(&site.sessions[0], &id).await;
    for at in 0..3 {
        assert!(!site.sessions[at].renew(&id, LONG).await.unwrap());
        assert!(!site.sessions[at].save(&id, "bob", LONG).await.unwrap());
        assert_eq!(site.load(at, &id).await, None);
    }
}

async fn embedded() -> (Site, archipelago::Embedded) {
    let site = Site::on(Ground::Embedded).await;
    let regions = site.world.embedded.clone().unwrap();
    (site, regions)
}

#[tokio::test]
async fn expiry_slides_with_each_renewal_and_each_save() {
    let (site, regions) = embedded().await;
    let id = site.sessions[0].create("ada", 10 * MINUTE).await.unwrap();
    site.settle().await;
    for at in [0, 1, 2, 0, 1] {
        regions.advance(6 * MINUTE);
        assert!(site.sessions[at].renew(&id, 10 * MINUTE).await.unwrap(), "region {at}");
        site.settle().await;
        regions.advance(6 * MINUTE);
        assert!(site.sessions[at].save(&id, "bob", 10 * MINUTE).await.unwrap(), "region {at}");
        site.settle().await;
    }
    regions.advance(11 * MINUTE);
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await, None, "region {at}");
    }
}

#[tokio::test]
async fn a_rotated_session_lives_no_longer_than_the_old_one() {
    let (site, regions) = embedded().await;
    let id = site.sessions[0].create("ada", 10 * MINUTE).await.unwrap();
    regions.advance(6 * MINUTE);
    let id = site.sessions[1].rotate(&id).await.unwrap().unwrap();
    assert_eq!(site.load(1, &id).await.as_deref(), Some("ada"));
    regions.advance(5 * MINUTE);
    assert_eq!(site.load(1, &id).await, None);
}

// The mark is over after a day; what keeps the session revoked is not.
#[tokio::test]
async fn a_revocation_outlives_its_mark_however_long_a_region_was_cut_off() {
    let (site, regions) = embedded().await;
    let day = 24 * 60 * MINUTE;
    let id = site.sessions[0].create("ada", 10 * day).await.unwrap();
    site.settle().await;
    regions.isolate("us-east-1").unwrap();
    assert!(site.sessions[0].revoke(&id).await.unwrap());
    for _ in 0..40 {
        regions.advance(5 * day);
        assert!(site.sessions[2].save(&id, "bob", 10 * day).await.unwrap(), "us-east-1 does not know");
        assert!(site.sessions[2].renew(&id, 10 * day).await.unwrap(), "us-east-1 does not know");
    }
    // Here everything of it is long gone, and swept.
    for partition in 0..2 {
        let store = site.clients[0].keyspace("default").unwrap().store();
        store.sweep(partition, Duration::ZERO, 1000).await.unwrap();
    }
    regions.heal();
    site.settle().await;
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await, None, "region {at}");
        assert!(!site.sessions[at].renew(&id, 10 * day).await.unwrap(), "region {at}");
    }
    // What the save left behind has an end, too.
    let data = |at: usize| site.clients[at].map::<String>(crate::name(&id));
    assert!(data(0).exists().await.unwrap());
    regions.advance(11 * day);
    for at in 0..3 {
        assert!(!data(at).exists().await.unwrap(), "region {at}");
    }
}

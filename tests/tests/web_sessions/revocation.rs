//! Revoked is revoked.

use archipelago::{ErrorKind, web_sessions::SessionId};

use crate::{LONG, Site, on_both};

on_both!(
    a_revocation_holds_here_and_at_the_home_at_once,
    a_region_that_revoked_what_had_not_arrived_does_not_take_it_back,
    concurrent_renewals_and_saves_elsewhere_never_revive,
    a_home_that_has_not_heard_is_not_believed,
    revoking_at_a_majority_tells_the_regions_directly,
    a_majority_that_cannot_be_reached_is_an_error_and_can_be_repeated,
    revoking_again_says_the_same,
);

async fn assert_over(site: &Site, id: &SessionId, at: usize) {
    assert_eq!(site.load(at, id).await, None, "region {at}");
    assert!(!site.sessions[at].renew(id, LONG).await.unwrap(), "region {at}");
    assert!(!site.sessions[at].save(id, "back", LONG).await.unwrap(), "region {at}");
    assert_eq!(site.sessions[at].rotate(id).await.unwrap(), None, "region {at}");
    assert_eq!(site.load(at, id).await, None, "region {at}");
}

async fn a_revocation_holds_here_and_at_the_home_at_once(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.settle().await;
    assert!(site.sessions[1].revoke(&id).await.unwrap());
    assert_over(&site, &id, 1).await;
    assert_over(&site, &id, 0).await;
    assert_eq!(site.load(2, &id).await.as_deref(), Some("ada"), "one link delay away");
    site.settle().await;
    for at in 0..3 {
        assert_over(&site, &id, at).await;
    }
}

async fn a_region_that_revoked_what_had_not_arrived_does_not_take_it_back(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    assert!(site.sessions[1].revoke(&id).await.unwrap());
    assert_over(&site, &id, 1).await;
    site.settle().await;
    for at in 0..3 {
        assert_over(&site, &id, at).await;
    }
}

async fn concurrent_renewals_and_saves_elsewhere_never_revive(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.settle().await;
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        site.world.cut(a, b).await;
    }
    assert!(site.sessions[0].revoke(&id).await.unwrap());
    assert!(site.sessions[1].renew(&id, 2 * LONG).await.unwrap(), "not known there yet");
    assert!(site.sessions[2].save(&id, "bob", 2 * LONG).await.unwrap(), "not known there yet");
    site.world.heal().await;
    site.settle().await;
    for at in 0..3 {
        assert_over(&site, &id, at).await;
    }
    site.settle().await;
    for at in 0..3 {
        assert_over(&site, &id, at).await;
    }
}

async fn a_home_that_has_not_heard_is_not_believed(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.settle().await;
    site.world.cut(0, 1).await;
    assert!(site.sessions[1].revoke(&id).await.unwrap());
    site.world.heal().await;
    assert_eq!(site.load(0, &id).await.as_deref(), Some("ada"), "the home has not heard");
    assert_over(&site, &id, 1).await;
}

async fn revoking_at_a_majority_tells_the_regions_directly(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.settle().await;
    assert!(site.sessions[1].revoke_at_majority(&id).await.unwrap());
    for at in 0..3 {
        assert_over(&site, &id, at).await;
    }
}

async fn a_majority_that_cannot_be_reached_is_an_error_and_can_be_repeated(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.world.cut(0, 1).await;
    site.world.cut(0, 2).await;
    let error = site.sessions[0].revoke_at_majority(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("1 of 3"), "{error}");
    assert_over(&site, &id, 0).await;
    site.world.heal().await;
    archipelago::testing::poll::until("the others are reached", || async {
        site.sessions[0].revoke_at_majority(&id).await.ok()
    })
    .await;
    archipelago::testing::poll::until("and know", || async {
        let known = [site.load(1, &id).await, site.load(2, &id).await];
        known.iter().all(Option::is_none).then_some(())
    })
    .await;
}

async fn revoking_again_says_the_same(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    for _ in 0..3 {
        assert!(site.sessions[0].revoke(&id).await.unwrap());
        assert!(site.sessions[1].revoke(&id).await.unwrap());
    }
}

//! Created in one region, valid in every other.

use archipelago::ErrorKind;

use crate::{LONG, Site, on_both};

on_both!(
    created_in_one_region_it_is_valid_at_once_in_every_other,
    what_another_region_saves_before_it_has_arrived_is_seen_by_both,
    a_home_that_is_cut_off_is_an_error_and_not_no_session,
    a_session_that_has_arrived_needs_no_home,
    a_rotation_moves_the_data_to_a_new_id,
    two_rotations_at_once_leave_one_session,
);

async fn created_in_one_region_it_is_valid_at_once_in_every_other(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await.as_deref(), Some("ada"), "region {at}");
        assert!(site.sessions[at].renew(&id, LONG).await.unwrap(), "region {at}");
    }
}

async fn what_another_region_saves_before_it_has_arrived_is_seen_by_both(site: Site) {
    let id = site.sessions[0].create("empty", LONG).await.unwrap();
    assert!(site.sessions[1].save(&id, "one book", LONG).await.unwrap());
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await.as_deref(), Some("one book"), "region {at}");
    }
    // Written there as well as at the home, so that the home's first data do not show up in between.
    let data = site.clients[1].map::<String>(crate::name(&id)).get("data").await.unwrap();
    assert_eq!(data.as_deref(), Some("one book"));
    site.settle().await;
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await.as_deref(), Some("one book"), "region {at}");
    }
}

async fn a_home_that_is_cut_off_is_an_error_and_not_no_session(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.world.cut(0, 1).await;
    let there = &site.sessions[1];
    let errors = [
        there.load::<String>(&id).await.unwrap_err(),
        there.save(&id, "bob", LONG).await.unwrap_err(),
        there.renew(&id, LONG).await.unwrap_err(),
        there.rotate(&id).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("ap-south-1"), "names the home: {error}");
        assert!(!error.to_string().contains(&id.to_text()[5..13]), "no secret: {error}");
    }
    let error = there.revoke(&id).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::MaybeApplied), "{error}");
    assert_eq!(site.load(0, &id).await.as_deref(), Some("ada"));
    site.world.heal().await;
    archipelago::testing::poll::until("the home answers again", || async {
        (site.sessions[1].load::<String>(&id).await.ok()?.as_deref() == Some("ada")).then_some(())
    })
    .await;
}

async fn a_session_that_has_arrived_needs_no_home(site: Site) {
    let id = site.sessions[0].create("ada", LONG).await.unwrap();
    site.settle().await;
    site.world.cut(0, 1).await;
    assert_eq!(site.load(1, &id).await.as_deref(), Some("ada"));
    assert!(site.sessions[1].save(&id, "bob", LONG).await.unwrap());
    assert_eq!(site.load(1, &id).await.as_deref(), Some("bob"));
    assert!(site.sessions[1].revoke(&id).await.unwrap());
    assert_eq!(site.load(1, &id).await, None);
    site.world.heal().await;
    site.settle().await;
    assert_eq!(site.load(0, &id).await, None);
}

async fn a_rotation_moves_the_data_to_a_new_id(site: Site) {
    let planted = site.sessions[0].create("ada", LONG).await.unwrap();
    let id = site.sessions[1].rotate(&planted).await.unwrap().expect("there is a session");
    assert_ne!(id, planted);
    for at in 0..3 {
        assert_eq!(site.load(at, &id).await.as_deref(), Some("ada"), "region {at}");
        assert_eq!(site.load(at, &planted).await, None, "region {at}");
    }
    assert_eq!(site.sessions[1].rotate(&planted).await.unwrap(), None);
    let left = site.sessions[1].renew(&id, LONG).await.unwrap();
    assert!(left, "the new id lives on");
}

async fn two_rotations_at_once_leave_one_session(site: Site) {
    let planted = site.sessions[0].create("ada", LONG).await.unwrap();
    let rotations = (0..8).map(|_| site.sessions[0].rotate(&planted));
    let ids: Vec<_> = futures_util::future::join_all(rotations).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.iter().flatten().count(), 1, "{ids:?}");
}

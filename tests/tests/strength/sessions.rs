//! Sessions in front of strong calls: what was shown is not missed later.

use std::time::Duration;

use archipelago::{
    ErrorKind, ReadStrength, WriteStrength,
    sessions::{Guarantee, Session, SessionBuilder},
};

use crate::Case;

fn impatient() -> SessionBuilder {
    Session::builder().wait(Duration::from_millis(30)).guarantee(Guarantee::MonotonicReads)
}

/// B's `applied` stays behind what was pushed there, and C has neither.
pub async fn counterexample_34_a_pushed_cell_that_was_read_is_not_missed_elsewhere(case: Case) {
    let (a, b, c) = (0, 1, 2);
    case.world.cut(a, c).await;
    case.at(a).set("tags").add("gone").await.unwrap();
    case.world.heal().await;
    case.carry(a, b).await;
    case.carry(a, c).await;
    case.world.cut(a, c).await;
    case.writer(a, WriteStrength::Majority).register::<u32>("pushed").set(&50).await.unwrap();
    // A removal leaves no version of its own in the cell that is pushed.
    case.writer(a, WriteStrength::Majority).set("tags").remove("gone").await.unwrap();
    for (name, is_removal) in [("pushed", false), ("tags", true)] {
        let session = impatient().build();
        let at_b = case.at(b).with_session(&session);
        if is_removal {
            assert!(!at_b.set(name).contains("gone").await.unwrap());
        } else {
            assert_eq!(at_b.register::<u32>(name).get().await.unwrap(), Some(50));
        }
        let session = impatient().from_token(&session.token()).unwrap();
        let at_c = case.at(c).with_session(&session);
        let missed = if is_removal {
            at_c.set(name).contains("gone").await.map(drop)
        } else {
            at_c.register::<u32>(name).get().await.map(drop)
        };
        assert_eq!(missed.unwrap_err().kind(), ErrorKind::Behind, "{name}");
    }
}

pub async fn a_merged_read_covers_all_that_it_showed(case: Case) {
    let (a, b, c) = (0, 1, 2);
    case.at(a).counter("hits").add(1).await.unwrap();
    case.at(b).counter("hits").add(10).await.unwrap();
    let session = impatient().build();
    let merged = case.reader(b, ReadStrength::Merged(3)).with_session(&session);
    assert_eq!(merged.counter("hits").get().await.unwrap(), 11);
    let session = impatient().from_token(&session.token()).unwrap();
    let at_c = case.at(c).with_session(&session).counter("hits");
    assert_eq!(at_c.get().await.unwrap_err().kind(), ErrorKind::Behind);
    case.carry(a, c).await;
    assert_eq!(at_c.get().await.unwrap_err().kind(), ErrorKind::Behind, "only one of both");
    case.carry(b, c).await;
    assert_eq!(at_c.get().await.unwrap(), 11);
}

pub async fn a_sessions_own_strong_writes_are_seen(case: Case) {
    let (a, b) = (0, 1);
    let session = impatient().build();
    let writer = case.writer(a, WriteStrength::Majority).with_session(&session);
    writer.counter("hits").add(1).await.unwrap();
    let reader = case.reader(b, ReadStrength::Merged(3)).with_session(&session);
    assert_eq!(reader.counter("hits").get().await.unwrap(), 1, "the region that wrote is among those that answered");
    let at_b = case.at(b).with_session(&session).counter("hits");
    case.carry(a, b).await;
    assert_eq!(at_b.get().await.unwrap(), 1);
}

//! Histories that broke earlier drafts of tokens.

use archipelago::{
    ErrorKind,
    sessions::{Guarantee, Session},
};
use bytes::Bytes;

use crate::{Case, impatient};

pub async fn counterexample_34_a_cell_read_ahead_of_applied_is_not_missed_elsewhere(case: Case) {
    let (a, b, c) = (0, 1, 2);
    let pushed = case.clients[a].register::<u32>("pushed");
    case.clients[a].register::<u32>("other").set(&40).await.unwrap();
    case.carry(a, b).await;
    case.clients[a].register::<u32>("other").set(&45).await.unwrap();
    case.carry(a, c).await;
    pushed.set(&50).await.unwrap();
    // A resync under way: B has the cell, and its `applied` stays where it was until the end.
    for partition in 0..case.store(a).partitions() {
        let plan = case.store(a).begin_resync(partition, None).await.unwrap();
        case.store(b).start_resync(partition, &plan).await.unwrap();
        let slice = case.store(a).walk(partition, &plan, &Bytes::new(), 100).await.unwrap();
        case.store(b).apply_slice(partition, &plan, &slice).await.unwrap();
    }

    let session = impatient().guarantee(Guarantee::MonotonicReads).build();
    assert_eq!(case.at(b, &session).register::<u32>("pushed").get().await.unwrap(), Some(50));
    let session = impatient().from_token(&session.token()).unwrap();
    let at_c = case.at(c, &session).register::<u32>("pushed");
    assert_eq!(at_c.get().await.unwrap_err().kind(), ErrorKind::Behind, "C has not what was read at B");
    case.carry(a, c).await;
    assert_eq!(at_c.get().await.unwrap(), Some(50));
}

pub async fn counterexample_35_a_write_that_changed_nothing_covers_what_it_saw(case: Case) {
    let (a, b, c) = (0, 1, 2);
    assert!(case.clients[a].register::<String>("lock").set_if_absent("ada").await.unwrap());
    case.carry(a, b).await;

    let session = impatient().build();
    let is_mine = case.at(b, &session).register::<String>("lock").set_if_absent("bob").await.unwrap();
    assert!(!is_mine, "Ada has it");
    let lock = case.at(c, &session).register::<String>("lock");
    assert_eq!(lock.get().await.unwrap_err().kind(), ErrorKind::Behind, "a free lock would be news from the past");
    case.carry(a, c).await;
    assert_eq!(lock.get().await.unwrap().as_deref(), Some("ada"));
}

pub async fn refusals_and_removals_of_nothing_cover_what_they_saw(case: Case) {
    let (a, b, c) = (0, 1, 2);
    case.clients[a].register::<String>("n").set("no number").await.unwrap();
    case.clients[a].set("tags").add("gone").await.unwrap();
    case.carry(a, b).await;
    case.carry(a, c).await;
    case.clients[a].set("tags").remove("gone").await.unwrap();
    case.clients[a].register::<String>("n").set("none still").await.unwrap();
    case.carry(a, b).await;

    let session = impatient().build();
    let refusal = case.at(b, &session).counter("n").add(1).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Refused);
    let shown = case.at(c, &session).register::<String>("n").get().await;
    assert_eq!(shown.unwrap_err().kind(), ErrorKind::Behind);

    let session = impatient().build();
    assert!(!case.at(b, &session).set("tags").remove("gone").await.unwrap());
    let shown = case.at(c, &session).set("tags").contains("gone").await;
    assert_eq!(shown.unwrap_err().kind(), ErrorKind::Behind);
    case.carry(a, c).await;
    assert!(!case.at(c, &session).set("tags").contains("gone").await.unwrap());
    assert!(!case.at(c, &Session::new()).set("tags").contains("gone").await.unwrap());
}

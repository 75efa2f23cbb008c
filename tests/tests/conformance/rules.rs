//! Rules of one field other than "the latest" and "the sum".

use archipelago::{
    engine::{Amount, Field, Key, Kind, Mutation, MutationError, Origin, Outcome, Version},
    store::{Excerpt, Query, Read, Reply, Store, StoreError, Write},
};
use archipelago_tests::world::settle;
use bytes::Bytes;

use crate::Case;

async fn write(store: &dyn Store, kind: Kind, mutation: Mutation) -> Result<Outcome, StoreError> {
    store.write(&Write { key: Key::new(kind, "k"), mutation, exclusive: false }).await
}

/// Whether the write was one at all.
async fn set(store: &dyn Store, kind: Kind, value: &str) -> bool {
    match write(store, kind, Mutation::set(value.to_owned())).await.unwrap() {
        Outcome::Assigned { assigned, .. } => assigned == 1,
        other => panic!("{other:?}"),
    }
}

async fn submit(store: &dyn Store, kind: Kind, member: &str, score: &str) -> bool {
    let entry = (Bytes::from(member.to_owned()), Bytes::from(score.to_owned()));
    match write(store, kind, Mutation::assign([entry])).await.unwrap() {
        Outcome::Assigned { changed, .. } => changed == 1,
        other => panic!("{other:?}"),
    }
}

async fn read(store: &dyn Store, kind: Kind, query: Query) -> String {
    match store.read(&Read { key: Key::new(kind, "k"), query }).await.unwrap() {
        Reply::Nil => "nil".to_owned(),
        Reply::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => format!("{other:?}"),
    }
}

async fn get(store: &dyn Store, kind: Kind) -> String {
    read(store, kind, Query::Value).await
}

async fn entries(store: &dyn Store) -> u64 {
    store.sync_state(0).await.unwrap().number
}

pub async fn a_score_that_is_no_better_changes_nothing(case: Case) {
    let score = || Query::Score(Bytes::from_static(b"ada"));
    for (kind, better, worse, best) in [(Kind::HighScores, "100", "50", "120"), (Kind::LowScores, "50", "100", "40")] {
        assert!(submit(&*case.a, kind, "ada", better).await);
        let before = entries(&*case.a).await;
        assert!(!submit(&*case.a, kind, "ada", worse).await);
        assert!(!submit(&*case.a, kind, "ada", better).await);
        assert_eq!(entries(&*case.a).await, before, "what is no better is not written down");
        assert!(submit(&*case.b, kind, "ada", best).await, "b has not heard of the other one");
        settle(&case.clients[0]).await;
        for store in [&case.a, &case.b, &case.c] {
            assert_eq!(read(&**store, kind, score()).await, best, "{kind}");
        }
        // Later, by a region that sees the best: it is none.
        assert!(!submit(&*case.c, kind, "ada", better).await);
        write(&*case.c, kind, Mutation::Remove { members: vec![Bytes::from_static(b"ada")] }).await.unwrap();
        assert!(submit(&*case.c, kind, "ada", worse).await, "behind a removal the scores begin anew");
        settle(&case.clients[0]).await;
        assert_eq!(read(&*case.a, kind, score()).await, worse);
    }
}

pub async fn the_first_write_stands_until_it_is_deleted(case: Case) {
    assert!(set(&*case.a, Kind::First, "ada").await);
    assert!(!set(&*case.a, Kind::First, "bob").await);
    assert!(set(&*case.b, Kind::First, "cyd").await, "b has not heard of it");
    settle(&case.clients[0]).await;
    for store in [&case.a, &case.b, &case.c] {
        assert_eq!(get(&**store, Kind::First).await, "ada");
    }
    write(&*case.c, Kind::First, Mutation::Clear { previous: false }).await.unwrap();
    assert!(set(&*case.c, Kind::First, "dee").await);
    settle(&case.clients[0]).await;
    assert_eq!(get(&*case.a, Kind::First).await, "dee");
}

pub async fn an_extreme_is_a_number_that_only_moves_one_way(case: Case) {
    for (kind, first, worse, best) in [(Kind::Max, "7", "-3", "9.5"), (Kind::Min, "7", "9.5", "-3")] {
        assert!(set(&*case.a, kind, first).await);
        assert!(!set(&*case.a, kind, worse).await);
        assert!(set(&*case.b, kind, best).await);
        settle(&case.clients[0]).await;
        assert_eq!(get(&*case.a, kind).await, best);
        let refused = write(&*case.a, kind, Mutation::set("word")).await;
        assert!(matches!(refused, Err(StoreError::Refused(MutationError::NotAFloat))), "{refused:?}");
    }
}

pub async fn a_flag_is_on_or_off_and_the_type_says_who_wins(case: Case) {
    for (kind, winner, loser) in [(Kind::EnableWins, "1", "0"), (Kind::DisableWins, "0", "1")] {
        assert_eq!(get(&*case.a, kind).await, "nil");
        assert!(set(&*case.a, kind, winner).await);
        assert!(set(&*case.b, kind, loser).await, "the later one, concurrently");
        settle(&case.clients[0]).await;
        for store in [&case.a, &case.b, &case.c] {
            assert_eq!(get(&**store, kind).await, winner, "{kind}");
        }
        // Who has seen both may still decide otherwise.
        assert!(set(&*case.c, kind, loser).await);
        settle(&case.clients[0]).await;
        assert_eq!(get(&*case.a, kind).await, loser, "{kind}");
        let refused = write(&*case.a, kind, Mutation::set("on")).await;
        assert!(matches!(refused, Err(StoreError::Refused(MutationError::NotAFlag))), "{refused:?}");
    }
}

async fn siblings(store: &dyn Store) -> (Vec<String>, Vec<(Origin, Version)>) {
    let (state, _) = store.cells_and_stand(&Excerpt::whole(Key::new(Kind::Siblings, "k"))).await.unwrap();
    let cells = &state.fields[&Field::VALUE].cells;
    let text = |payload: &&Bytes| String::from_utf8(payload.to_vec()).unwrap();
    (cells.siblings().iter().map(text).collect(), cells.context())
}

async fn resolve(store: &dyn Store, value: &'static str, seen: Vec<(Origin, Version)>) -> bool {
    let payload = Bytes::from_static(value.as_bytes());
    match write(store, Kind::Siblings, Mutation::Resolve { payload, seen }).await.unwrap() {
        Outcome::Assigned { assigned, .. } => assigned == 1,
        other => panic!("{other:?}"),
    }
}

pub async fn siblings_are_all_kept_until_a_decision_replaces_those_it_saw(case: Case) {
    set(&*case.a, Kind::Siblings, "x").await;
    set(&*case.b, Kind::Siblings, "y").await;
    settle(&case.clients[0]).await;
    let (values, seen) = siblings(&*case.c).await;
    assert_eq!(values, ["x", "y"]);
    assert_eq!(get(&*case.c, Kind::Siblings).await, "y", "the latest");
    // Somebody else writes before the decision arrives: it was not part of that.
    set(&*case.b, Kind::Siblings, "z").await;
    assert!(resolve(&*case.c, "xy", seen).await);
    settle(&case.clients[0]).await;
    for store in [&case.a, &case.b, &case.c] {
        let (mut values, _) = siblings(&**store).await;
        values.sort();
        assert_eq!(values, ["xy", "z"]);
    }
    let (_, seen) = siblings(&*case.a).await;
    assert!(resolve(&*case.a, "xyz", seen).await);
    settle(&case.clients[0]).await;
    for store in [&case.a, &case.b, &case.c] {
        assert_eq!(siblings(&**store).await.0, ["xyz"]);
    }
}

pub async fn a_decision_that_missed_a_write_of_its_own_region_is_refused(case: Case) {
    set(&*case.a, Kind::Siblings, "x").await;
    set(&*case.b, Kind::Siblings, "y").await;
    settle(&case.clients[0]).await;
    let (_, seen) = siblings(&*case.a).await;
    set(&*case.a, Kind::Siblings, "new").await;
    let before = entries(&*case.a).await;
    assert!(!resolve(&*case.a, "old", seen.clone()).await);
    assert_eq!(entries(&*case.a).await, before);
    assert_eq!(siblings(&*case.a).await.0, ["new"]);
    write(&*case.a, Kind::Siblings, Mutation::Clear { previous: false }).await.unwrap();
    assert!(!resolve(&*case.a, "old", seen).await, "nothing is left to decide about");
    assert_eq!(get(&*case.a, Kind::Siblings).await, "nil");
}

pub async fn an_increment_is_refused_where_the_rule_is_no_sum(case: Case) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.assigns() && !kind.adds()) {
        let add = Mutation::Add { member: Bytes::new(), amount: Amount::Integer(1) };
        let refused = write(&*case.a, kind, add).await;
        assert!(matches!(refused, Err(StoreError::Refused(MutationError::NoIncrements))), "{kind}: {refused:?}");
    }
    assert_eq!(entries(&*case.a).await, 1, "the opening's entry alone");
}

//! Incarnations, leases, inspection, reads.

use std::time::Duration;

use archipelago::testing::poll;
use archipelago::{
    PhysicalKeys,
    engine::{Key, Kind, Mutation},
    store::{Bound, Query, Reply, ResyncFailure, StoreError},
};
use archipelago_tests::{
    carry::{carry, resync},
    world::{line, read, write},
};

use crate::{
    Case,
    writes::{assign, get},
};

pub async fn opening_with_a_floor_gives_a_new_incarnation_above_it(case: Case) {
    let store = &*case.a;
    write(store, Kind::String, "k", Mutation::set("1")).await.unwrap();
    let first = store.sync_state(0).await.unwrap().record.unwrap();
    assert_eq!(store.open(0, 0).await.unwrap(), first, "nothing to open");
    assert_eq!(store.open(0, first.opening).await.unwrap(), first);
    let second = store.open(0, first.opening + 1_000_000_000_000).await.unwrap();
    assert!(second.opening > first.opening + 1_000_000_000_000 && second.incarnation != first.incarnation);
    assert_eq!(second.history, first.history);
    write(store, Kind::String, "k", Mutation::set("2")).await.unwrap();
    assert_eq!(get(store, "k").await, "2");
    assert_eq!(store.sync_state(0).await.unwrap().record.unwrap(), second);
}

pub async fn opening_closes_the_old_incarnation_and_drops_cursors(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    write(a, Kind::String, "k", Mutation::set("1")).await.unwrap();
    carry(b, a, 0).await;
    let old = a.log_after(0, archipelago::engine::Version::ZERO, 100).await.unwrap();
    let last = old.entries.last().unwrap().id;
    a.open(0, old.opening + 1).await.unwrap();
    let state = a.sync_state(0).await.unwrap();
    assert!(state.cursors.is_empty() && state.resyncs.is_empty() && state.acks.is_empty());
    assert!(state.applied[&old.origin] >= last, "all that the data shows of the old incarnation is held");
    let new = a.log_after(0, archipelago::engine::Version::ZERO, 100).await.unwrap();
    assert_ne!(new.origin, old.origin);
    assert_eq!(new.entries.len(), 1, "a log of its own");
    assert!(new.entries[0].id > last, "versions go on");
    assert_eq!(get(a, "k").await, "1");
    carry(a, b, 0).await;
    assert_eq!(get(b, "k").await, "1");
}

pub async fn a_peer_that_knows_a_later_opening_supersedes_the_sender(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    write(a, Kind::String, "k", Mutation::set("1")).await.unwrap();
    let stale = a.begin_resync(0, None).await.unwrap();
    a.open(0, stale.opening + 1).await.unwrap();
    resync(a, b, 0).await.unwrap();
    let known = b.sync_state(0).await.unwrap().known[a.region()].1;
    match b.start_resync(0, &stale).await {
        Err(ResyncFailure::Superseded(opening)) => assert!(opening >= known),
        other => panic!("{other:?}"),
    }
}

pub async fn a_lease_has_one_holder_until_it_is_given_back_or_runs_out(case: Case) {
    let (store, long) = (&*case.a, Duration::from_secs(600));
    assert!(store.take_lease("link", "one", long).await.unwrap());
    assert!(store.take_lease("link", "one", long).await.unwrap(), "renewed");
    assert!(!store.take_lease("link", "two", long).await.unwrap());
    assert!(store.take_lease("other", "two", long).await.unwrap(), "another lease");
    store.release_lease("link", "two").await.unwrap();
    assert!(!store.take_lease("link", "two", long).await.unwrap(), "not theirs to give back");
    store.release_lease("link", "one").await.unwrap();
    assert!(store.take_lease("link", "two", Duration::from_millis(50)).await.unwrap());
    poll::until("the lease runs out", || async { store.take_lease("link", "one", long).await.unwrap().then_some(()) })
        .await;
}

pub async fn inspection_shows_cells_and_physical_keys(case: Case) {
    let store = &*case.a;
    let key = Key::new(Kind::Set, "s");
    assert!(store.inspect(&key).await.unwrap().state.is_none());
    assign(store, Kind::Set, "s", &[("a", ""), ("b", "")]).await;
    let inspection = store.inspect(&key).await.unwrap();
    let state = inspection.state.unwrap();
    assert_eq!(state.fields.len(), 2);
    assert_eq!(state.stamp, store.sync_state(0).await.unwrap().number);
    let physical = PhysicalKeys::new("default", 0);
    for name in [physical.view(&key), physical.cells(&key)] {
        let name = String::from_utf8(name).unwrap();
        let found = inspection.physical.iter().find(|(key, _)| *key == name);
        assert!(found.is_some_and(|(_, holds)| !holds.is_empty()), "{name} in {:?}", inspection.physical);
    }
}

pub async fn reads_answer_as_native_commands(case: Case) {
    let store = &*case.a;
    assign(store, Kind::SortedSet, "z", &[("a", "1"), ("b", "2"), ("c", "2"), ("d", "inf"), ("e", "0.5")]).await;
    assign(store, Kind::Hash, "h", &[("f", "1"), ("g", "")]).await;
    let open = |score| Bound { score, exclusive: true };
    let all = Bound::inclusive(f64::INFINITY);
    let by_rank = |start, stop, reverse| Query::RangeByRank { start, stop, reverse };
    let by_score = |min, max, reverse, limit| Query::RangeByScore { min, max, reverse, limit };
    for (kind, name, query, expected) in [
        (Kind::SortedSet, "z", by_rank(0, -1, false), "e 0.5 a 1 b 2 c 2 d inf"),
        (Kind::SortedSet, "z", by_rank(1, 2, true), "c 2 b 2"),
        (Kind::SortedSet, "z", by_rank(-2, 9, false), "c 2 d inf"),
        (Kind::SortedSet, "z", by_rank(3, 1, false), ""),
        (Kind::SortedSet, "z", by_score(open(0.5), Bound::inclusive(2.0), false, None), "a 1 b 2 c 2"),
        (Kind::SortedSet, "z", by_score(open(0.5), all, true, Some((1, 2))), "c 2 b 2"),
        (Kind::SortedSet, "z", by_score(open(f64::NEG_INFINITY), all, false, Some((3, -1))), "c 2 d inf"),
        (Kind::SortedSet, "z", Query::CountByScore { min: open(1.0), max: all }, "3"),
        (Kind::SortedSet, "z", Query::Rank { member: "c".into(), reverse: false }, "3"),
        (Kind::SortedSet, "z", Query::Rank { member: "c".into(), reverse: true }, "1"),
        (Kind::SortedSet, "z", Query::Rank { member: "x".into(), reverse: false }, "nil"),
        (Kind::SortedSet, "z", Query::Score("e".into()), "0.5"),
        (Kind::SortedSet, "z", Query::Score("x".into()), "nil"),
        (Kind::SortedSet, "z", Query::Count, "5"),
        (Kind::SortedSet, "none", by_rank(0, -1, false), ""),
        (Kind::Hash, "h", Query::Fields(vec!["g".into(), "x".into(), "f".into()]), " nil 1"),
        (Kind::Hash, "h", Query::HasField("g".into()), "1"),
        (Kind::Hash, "h", Query::Field("x".into()), "nil"),
        (Kind::Hash, "none", Query::All, ""),
        (Kind::Set, "none", Query::Members, ""),
        (Kind::Set, "none", Query::Contains("x".into()), "0"),
        (Kind::String, "none", Query::Value, "nil"),
        (Kind::String, "none", Query::TimeToLive, "-2"),
    ] {
        assert_eq!(line(&read(store, kind, name, query.clone()).await), expected, "{kind} {name} {query:?}");
    }
    assert_eq!(read(store, Kind::Hash, "h", Query::TimeToLive).await, Reply::Int(-1));
}

pub async fn a_partition_that_does_not_exist_is_an_error(case: Case) {
    assert_eq!(case.a.partitions(), 1);
    assert!(matches!(case.a.sync_state(1).await, Err(StoreError::Protocol(_))));
    assert!(matches!(case.a.open(9, 0).await, Err(StoreError::Protocol(_))));
    assert!(case.a.publish_vector(1).await.is_err());
    assert!(case.a.sweep(1, Duration::ZERO, 1).await.is_err());
}

pub async fn clocks_are_read_from_the_regions(case: Case) {
    let [a, b] = [case.a.clock().await.unwrap(), case.b.clock().await.unwrap()];
    let apart = b.as_micros().abs_diff(a.as_micros());
    assert!(apart < 30_000_000, "one machine: {a} and {b}");
    assert!(case.clients[0].clock_skew().await.is_empty());
}

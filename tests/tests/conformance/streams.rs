//! Streams: ids, trimming, and what two regions append at once.

use archipelago::{
    engine::{Append, EntryId, Keep, Kind, Mutation, MutationError, Outcome},
    store::{Query, Reply, Store, StoreError},
};
use archipelago_tests::{
    carry::carry,
    world::{b, read, write},
};
use bytes::Bytes;

use crate::Case;

fn append(id: Option<EntryId>, payload: &str) -> Append {
    Append { id, payload: b(payload), existing: false, keep: None }
}

async fn add(store: &dyn Store, append: Append) -> EntryId {
    match write(store, Kind::Stream, "s", Mutation::Append(append)).await.unwrap() {
        Outcome::Appended(Some(id)) => id,
        other => panic!("{other:?}"),
    }
}

async fn entries(store: &dyn Store) -> Vec<(EntryId, Bytes)> {
    let all = Query::Between { from: Bytes::new(), to: None, reverse: false, limit: None };
    let Reply::Array(members) = read(store, Kind::Stream, "s", all).await else { panic!("no array") };
    let entry = |member: &Reply| match member {
        Reply::Bytes(member) => EntryId::split(member).unwrap(),
        other => panic!("{other:?}"),
    };
    members.iter().map(entry).collect()
}

const fn id(millis: u64, sequence: u64) -> EntryId {
    EntryId { millis, sequence }
}

pub async fn ids_grow_and_no_two_regions_give_one(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    let (mut given, mut last) = (Vec::new(), EntryId::ZERO);
    for _ in 0..50 {
        let next = add(a, append(None, "a")).await;
        assert!(next > last, "{next} after {last}");
        last = next;
        given.extend([next, add(b_, append(None, "b")).await]);
    }
    carry(a, b_, 0).await;
    carry(b_, a, 0).await;
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 100);
    for store in [a, b_] {
        assert_eq!(entries(store).await.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), given);
    }
    assert!(add(a, append(None, "c")).await > given[99], "past what it has seen of others");
}

pub async fn an_id_of_the_callers_own_has_to_be_above_what_is_there(case: Case) {
    let store = &*case.a;
    add(store, append(Some(id(5, 3)), "x")).await;
    for (given, error) in [
        (id(5, 3), MutationError::IdTooSmall),
        (id(4, 9), MutationError::IdTooSmall),
        (EntryId::ZERO, MutationError::IdZero),
    ] {
        let refused = write(store, Kind::Stream, "s", Mutation::Append(append(Some(given), "y"))).await;
        assert!(matches!(&refused, Err(StoreError::Refused(found)) if *found == error), "{refused:?}");
    }
    assert_eq!(entries(store).await, [(id(5, 3), b("x"))]);
    let absent = Mutation::Append(Append { existing: true, ..append(None, "z") });
    let answer = write(store, Kind::Stream, "none", absent).await.unwrap();
    assert_eq!(answer, Outcome::Appended(None));
    assert_eq!(read(store, Kind::Stream, "none", Query::Exists).await, Reply::Int(0));
}

pub async fn the_oldest_entries_go_and_what_was_not_seen_stays(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    for n in 1..=4 {
        add(a, append(Some(id(n, 0)), "x")).await;
    }
    carry(a, b_, 0).await;
    add(b_, append(Some(id(9, 0)), "unseen")).await;
    add(a, Append { keep: Some(Keep::Newest(2)), ..append(Some(id(6, 0)), "new") }).await;
    let ids = async |store| entries(store).await.into_iter().map(|(id, _)| id.millis).collect::<Vec<_>>();
    assert_eq!(ids(a).await, [4, 6]);
    carry(a, b_, 0).await;
    carry(b_, a, 0).await;
    assert_eq!((ids(a).await, ids(b_).await), (vec![4, 6, 9], vec![4, 6, 9]));
    let evict = async |keep| write(a, Kind::Stream, "s", Mutation::Evict(keep)).await.unwrap();
    assert_eq!(evict(Keep::From(id(6, 0))).await, Outcome::Removed(1));
    assert_eq!(evict(Keep::Lately(60_000)).await, Outcome::Removed(2), "1970 is long ago");
    assert_eq!(read(a, Kind::Stream, "s", Query::Exists).await, Reply::Int(0));
    add(a, append(None, "now")).await;
    assert_eq!(evict(Keep::Lately(60_000)).await, Outcome::Removed(0));
}

//! HyperLogLogs: the counts of Redis, unions, removals that win, and views and payloads that somebody spoilt.

use std::ops::Range;

use archipelago::{
    PhysicalKeys,
    engine::{Assign, Batch, Cell, Delta, Expiry, Field, Key, Kind, Mutation, Outcome, Registers, Version},
    store::{Query, Store, StoreError},
};
use archipelago_tests::{
    carry::{carry, next_batch},
    world::{line, read, write},
};
use bytes::Bytes;

use crate::Case;

const KIND: Kind = Kind::HyperLogLog;

async fn observe<E: Into<Bytes>>(store: &dyn Store, name: &str, elements: impl IntoIterator<Item = E>) -> bool {
    let elements = elements.into_iter().map(Into::into).collect();
    match write(store, KIND, name, Mutation::Observe { elements, union: None }).await.unwrap() {
        Outcome::Observed(changed) => changed,
        other => panic!("{other:?}"),
    }
}

async fn merge(store: &dyn Store, name: &str, union: Registers) -> bool {
    let merged = write(store, KIND, name, Mutation::Observe { elements: Vec::new(), union: Some(union) }).await;
    merged.unwrap() == Outcome::Observed(true)
}

async fn count(store: &dyn Store, name: &str) -> String {
    line(&read(store, KIND, name, Query::Cardinality).await)
}

async fn exists(store: &dyn Store, name: &str) -> String {
    line(&read(store, KIND, name, Query::Exists).await)
}

fn elements(range: Range<u32>) -> impl Iterator<Item = String> {
    range.map(|n| format!("e:{n}"))
}

fn registers(range: Range<u32>) -> Registers {
    let mut registers = Registers::default();
    elements(range).for_each(|element| _ = registers.observe(element.as_bytes()));
    registers
}

async fn everywhere(case: &Case) {
    for _ in 0..2 {
        for (from, to) in archipelago_tests::world::pairs() {
            let stores = [&case.a, &case.b, &case.c];
            carry(&**stores[from], &**stores[to], 0).await;
        }
    }
}

/// The numbers are those that PFCOUNT of Redis 7.0 gave for these elements, sparse and dense.
pub async fn counts_are_those_of_redis(case: Case) {
    let store = &*case.a;
    assert_eq!(count(store, "h").await, "0");
    let mut from = 0;
    for (to, expected) in [
        (1, "1"),
        (2, "2"),
        (10, "10"),
        (100, "100"),
        (1000, "995"),
        (3000, "2981"),
        (10_000, "10077"),
        (40_000, "40177"),
    ] {
        while from < to {
            let end = to.min(from + 10_000);
            assert!(observe(store, "h", elements(from..end)).await);
            from = end;
        }
        assert_eq!(count(store, "h").await, expected, "{to} elements");
        assert_eq!(registers(0..to).count().to_string(), expected, "{to} elements in registers of Rust");
    }
    assert!(!observe(store, "h", elements(100..300)).await, "all of them are known");
    assert!(observe(store, "none", Vec::<Bytes>::new()).await, "nothing at all makes an empty one");
    assert!(!observe(store, "none", Vec::<Bytes>::new()).await);
    assert_eq!((exists(store, "none").await, count(store, "none").await), ("1".into(), "0".into()));
}

pub async fn what_changes_no_register_writes_nothing(case: Case) {
    let store = &*case.a;
    assert!(observe(store, "h", ["x", "y"]).await);
    assert!(merge(store, "h", registers(0..2000)).await);
    let before = store.sync_state(0).await.unwrap();
    assert!(!observe(store, "h", ["x", "y", "x"]).await);
    assert!(!merge(store, "h", registers(5..1000)).await);
    assert!(!merge(store, "h", Registers::default()).await);
    assert_eq!(store.sync_state(0).await.unwrap(), before);
}

pub async fn unions_of_all_regions_count_each_element_once(case: Case) {
    everywhere(&case).await;
    observe(&*case.a, "h", elements(0..2000)).await;
    observe(&*case.b, "h", elements(1000..2500)).await;
    observe(&*case.c, "h", ["x"]).await;
    everywhere(&case).await;
    let mut expected = registers(0..2500);
    expected.observe(b"x");
    for store in [&case.a, &case.b, &case.c] {
        assert_eq!(count(&**store, "h").await, expected.count().to_string(), "{}", store.region());
        assert!(!observe(&**store, "h", ["x", "e:7", "e:2499"]).await, "{} knows them all", store.region());
    }
    // One write takes in the three of them: one live cell is left.
    assert!(observe(&*case.b, "h", ["y"]).await);
    let state = case.b.inspect(&Key::new(KIND, "h")).await.unwrap().state.unwrap();
    assert_eq!(state.fields[&Field::VALUE].cells.iter().filter(|(_, cell)| cell.is_live()).count(), 1);
    everywhere(&case).await;
    expected.observe(b"y");
    assert_eq!(count(&*case.a, "h").await, expected.count().to_string());
}

pub async fn a_removal_wins_over_additions_it_has_not_seen(case: Case) {
    observe(&*case.a, "h", elements(0..100)).await;
    everywhere(&case).await;
    let removed = write(&*case.a, KIND, "h", Mutation::Clear { previous: false }).await.unwrap();
    assert_eq!(removed, Outcome::Cleared { existed: true, previous: None });
    observe(&*case.b, "h", ["late"]).await;
    observe(&*case.c, "h", ["later"]).await;
    everywhere(&case).await;
    for store in [&case.a, &case.b, &case.c] {
        assert_eq!((count(&**store, "h").await, exists(&**store, "h").await), ("0".into(), "0".into()));
    }
    let again = write(&*case.c, KIND, "h", Mutation::Clear { previous: false }).await.unwrap();
    assert_eq!(again, Outcome::Cleared { existed: false, previous: None });
    assert!(observe(&*case.c, "h", ["e:5"]).await, "it begins anew");
    everywhere(&case).await;
    assert_eq!(count(&*case.a, "h").await, "1");
}

pub async fn an_expired_one_begins_anew(case: Case) {
    let store = &*case.a;
    observe(store, "h", ["x", "y"]).await;
    write(store, KIND, "h", Mutation::Expire(Expiry::In(30))).await.unwrap();
    archipelago::testing::poll::until("it expires", || async { (exists(store, "h").await == "0").then_some(()) }).await;
    assert!(observe(store, "h", ["x"]).await);
    assert_eq!(count(store, "h").await, "1");
    assert_eq!(line(&read(store, KIND, "h", Query::TimeToLive).await), "-1");
    // An expiry that goes on is kept, and a change of the registers does not touch it.
    write(store, KIND, "h", Mutation::Expire(Expiry::In(1_000_000))).await.unwrap();
    observe(store, "h", ["z"]).await;
    everywhere(&case).await;
    observe(&*case.b, "h", ["b"]).await;
    everywhere(&case).await;
    for store in [&case.a, &case.b, &case.c] {
        let left: i64 = line(&read(&**store, KIND, "h", Query::TimeToLive).await).parse().unwrap();
        assert!((1..=1_000_000).contains(&left), "{left}");
        assert_eq!(count(&**store, "h").await, "3");
    }
}

/// A peer's bytes are what somebody wrote there: whatever they are, the link goes on and they show nothing.
pub async fn registers_that_cannot_be_read_stop_no_link(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    let dense = |length: usize| [&b"\0\0\0\0\0\x01HYLL\0\0\0\0\0\0\0\0\0\0\0\0"[..], &vec![7; length]].concat();
    let sparse = |body: &[u8]| [&b"\0\0\0\0\0\x01HYLL\x01\0\0\0\0\0\0\0\0\0\0\0"[..], body].concat();
    let spoilt = [
        b"".to_vec(),
        b"\0\0\0".to_vec(),
        b"\0\0\0\0\0\x01".to_vec(),
        b"\xff\xff\xff\xff\xff\xffHYLL".to_vec(),
        dense(12_287),
        dense(12_289),
        sparse(b""),
        sparse(b"\x7f"),
        sparse(b"\x7f\xfe"),
        sparse(b"\x7f\xff\x00"),
        sparse(&b"\x7f\xff".repeat(9)),
        sparse(&b"\xff".repeat(5000)),
        b"\0\0\0\0\0\x01HYLL\x02 another encoding".to_vec(),
        b"\0\0\0\0\0\x01not a HyperLogLog".to_vec(),
    ];
    for (n, payload) in spoilt.into_iter().enumerate() {
        let name = format!("h{n}");
        write(a, KIND, &name, Mutation::Observe { elements: vec!["x".into()], union: None }).await.unwrap();
        let batch = next_batch(a, b, 0, 100).await.unwrap();
        let mut delta = Delta::new(Key::new(KIND, name.clone()));
        let assign = Some(Assign { version: batch.applied, payload: payload.into() });
        let cells = [(batch.origin.clone(), Cell { assign, ..Cell::default() })].into_iter().collect();
        delta.fields.insert(Field::VALUE, cells);
        b.join(0, &Batch { deltas: vec![delta], ..batch }).await.unwrap();
        assert_eq!((exists(b, &name).await, count(b, &name).await), ("0".into(), "0".into()), "payload {n}");
        let removed = write(b, KIND, &name, Mutation::Clear { previous: false }).await.unwrap();
        assert_eq!(removed, Outcome::Cleared { existed: false, previous: None }, "payload {n}");
        assert!(observe(b, &name, ["y"]).await, "payload {n}");
        assert_eq!(count(b, &name).await, "1", "payload {n}");
    }
    carry(b, a, 0).await;
    assert_eq!(count(a, "h8").await, "1", "the link back goes on, too");
}

/// A count that a peer wrote into the header is not believed.
pub async fn the_count_in_a_header_is_not_taken_over(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    observe(a, "h", ["x", "y"]).await;
    let mut batch = next_batch(a, b, 0, 100).await.unwrap();
    let cells = batch.deltas[0].fields.get_mut(&Field::VALUE).unwrap();
    let mut cell = cells.get(&batch.origin).unwrap().clone();
    let mut payload = cell.assign.as_ref().unwrap().payload.to_vec();
    payload[6 + 8..6 + 16].copy_from_slice(&[57, 5, 0, 0, 0, 0, 0, 0]);
    cell.assign.as_mut().unwrap().payload = payload.into();
    cells.insert(batch.origin.clone(), cell);
    b.join(0, &batch).await.unwrap();
    assert_eq!(count(b, "h").await, "2", "1337 is what the header says");
}

/// A view that was evicted, deleted or overwritten by hand comes back from the cells, and nothing that was seen is lost.
pub async fn a_view_that_was_spoilt_comes_back_with_the_next_write(case: Case) {
    let store = &*case.a;
    for (n, spoil) in ["DEL", "SET", "LPUSH"].into_iter().enumerate() {
        let name = format!("h{n}");
        observe(store, &name, ["x", "y"]).await;
        if case.ground != archipelago_tests::world::Ground::Embedded {
            let mut raw = case.world.servers[0].connect().await.unwrap();
            let view = PhysicalKeys::new("default", 0).view(&Key::new(KIND, name.clone()));
            let mut unlink = redis::cmd("DEL");
            let _: i64 = unlink.arg(&view).query_async(&mut raw).await.unwrap();
            if spoil != "DEL" {
                let _: redis::Value = redis::cmd(spoil).arg(&view).arg("rubbish").query_async(&mut raw).await.unwrap();
            }
        }
        assert!(!observe(store, &name, ["x"]).await, "{spoil}: x is known");
        assert!(observe(store, &name, ["z"]).await, "{spoil}");
        assert_eq!(count(store, &name).await, "3", "{spoil}");
    }
}

/// The native command works on the view: a write that is refused must not have done so.
pub async fn a_write_of_a_broken_history_changes_nothing(case: Case) {
    let store = &*case.a;
    observe(store, "h", ["x"]).await;
    if case.ground != archipelago_tests::world::Ground::Embedded {
        let mut raw = case.world.servers[0].connect().await.unwrap();
        let incarnation = store.sync_state(0).await.unwrap().record.unwrap().incarnation;
        let log = PhysicalKeys::new("default", 0).log(incarnation);
        let _: i64 = redis::cmd("DEL").arg(log).query_async(&mut raw).await.unwrap();
    }
    // Refused, opened anew and repeated: had the first try left its mark, the second would find nothing new.
    assert!(observe(store, "h", ["y"]).await);
    assert_eq!(count(store, "h").await, "2");
    assert!(!observe(store, "h", ["x", "y"]).await);
    let log = store.log_after(0, Version::ZERO, 100).await.unwrap();
    carry(store, &*case.b, 0).await;
    assert_eq!(count(&*case.b, "h").await, "2", "{} entries", log.entries.len());
}

pub async fn writes_of_other_types_are_refused(case: Case) {
    let store = &*case.a;
    observe(store, "h", ["x"]).await;
    let refused = |outcome: Result<Outcome, StoreError>| matches!(outcome, Err(StoreError::Refused(_)));
    let observation = Mutation::Observe { elements: vec!["y".into()], union: None };
    assert!(refused(write(store, KIND, "h", Mutation::set("v")).await));
    assert!(refused(write(store, KIND, "h", Mutation::Remove { members: vec![Bytes::new()] }).await));
    assert!(refused(write(store, Kind::String, "h", observation).await));
    assert_eq!(count(store, "h").await, "1");
}

//! Joins: once, in order, and what they make of concurrent writes.

use archipelago::{
    engine::{Amount, Batch, Expiry, JoinReply, Kind, Mutation, SetAside, Version},
    store::{Query, Reply},
};
use archipelago_tests::{
    carry::{self, carry, next_batch},
    world::{read, settle, write},
};

use crate::{
    Case,
    writes::{add, assign, get, remove, sorted},
};

pub async fn a_batch_is_applied_once_and_then_known(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    add(a, Kind::String, "n", "", Amount::Integer(5)).await.unwrap();
    let batch = next_batch(a, b, 0, 100).await.unwrap();
    let JoinReply::Applied(cursor) = b.join(0, &batch).await.unwrap() else { panic!("not applied") };
    assert_eq!((cursor.number, cursor.id, cursor.incarnation), (batch.to, batch.id, batch.origin.incarnation));
    assert_eq!(get(b, "n").await, "5");
    assert_eq!(b.join(0, &batch).await.unwrap(), JoinReply::Known(cursor));
    assert_eq!(get(b, "n").await, "5", "nothing counts twice");
    let state = b.sync_state(0).await.unwrap();
    assert_eq!(state.applied[&batch.origin], batch.applied);
    assert_eq!(state.cursors[a.region()], cursor);
    assert!(state.vector_due);
    // A batch that overlaps what is known: its first half again, and one more entry.
    add(a, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    let slice = a.log_after(0, Version::ZERO, 100).await.unwrap();
    let whole = carry::batch(&slice, slice_start(&slice)).unwrap();
    assert!(matches!(b.join(0, &whole).await.unwrap(), JoinReply::Applied(_)));
    assert_eq!(get(b, "n").await, "6");
}

pub async fn concurrent_writes_that_a_rule_decides_are_counted_by_type(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    carry(b, a, 0).await;
    for (store, value) in [(a, "1"), (b, "2")] {
        write(store, Kind::String, "k", Mutation::set(value)).await.unwrap();
        assign(store, Kind::Hash, "h", &[("f", value), ("g", "same")]).await;
        assign(store, Kind::Set, "s", &[("m", "")]).await;
        add(store, Kind::String, "n", "", Amount::Integer(5)).await.unwrap();
        let millis = 1_000_000 * value.parse::<i64>().unwrap();
        write(store, Kind::Set, "s", Mutation::Expire(Expiry::In(millis))).await.unwrap();
    }
    let batch = next_batch(a, b, 0, 100).await.unwrap();
    for _ in 0..2 {
        b.join(0, &batch).await.unwrap();
        let resolved = b.sync_state(0).await.unwrap().resolved;
        let shown: Vec<_> = resolved.iter().map(|(what, count)| format!("{what} {} {count}", what.rule())).collect();
        assert_eq!(shown, ["string value latest 1", "set expiry longest 1", "hash value latest 1"]);
    }
    // One after the other is no conflict; and each region counts what arrives there.
    write(b, Kind::String, "k", Mutation::set("3")).await.unwrap();
    carry(b, a, 0).await;
    assert_eq!(a.sync_state(0).await.unwrap().resolved.values().sum::<u64>(), 2, "hash and expiry");
}

fn slice_start(slice: &archipelago::engine::LogSlice) -> u64 {
    archipelago::engine::codec::peek_number(&slice.entries[0].bytes).unwrap() - 1
}

pub async fn a_batch_with_something_missing_before_it_changes_nothing(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    add(a, Kind::String, "n", "", Amount::Integer(5)).await.unwrap();
    let slice = a.log_after(0, Version::ZERO, 100).await.unwrap();
    let batch = carry::batch(&slice, slice_start(&slice)).unwrap();
    assert_eq!(b.join(0, &batch).await.unwrap(), JoinReply::Gap(None), "no position is a gap, not zero");
    carry(a, b, 0).await;
    let at = carry::cursor(a, b, 0).await.unwrap();
    let later = Batch { from: batch.to + 5, to: batch.to + 9, ..batch.clone() };
    assert_eq!(b.join(0, &later).await.unwrap(), JoinReply::Gap(Some(at)));
    let foreign = Batch { origin: "eu-west-9/00000000000000ff".parse().unwrap(), ..batch };
    assert_eq!(b.join(0, &foreign).await.unwrap(), JoinReply::Gap(None));
    assert_eq!(get(b, "n").await, "5");
}

pub async fn another_membership_epoch_is_refused(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    add(a, Kind::String, "n", "", Amount::Integer(5)).await.unwrap();
    let batch = Batch { epoch: 9, ..next_batch(a, b, 0, 100).await.unwrap() };
    assert_eq!(b.join(0, &batch).await.unwrap(), JoinReply::Epoch(1));
    assert_eq!(get(b, "n").await, "nil");
}

pub async fn an_undecodable_entry_is_set_aside_and_recovered(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    write(a, Kind::String, "first", Mutation::set("1")).await.unwrap();
    let batch = next_batch(a, b, 0, 100).await.unwrap();
    let spoilt = SetAside { id: batch.id, bytes: vec![9, 0, 255].into() };
    let delta = batch.deltas[0].clone();
    let aside = Batch { deltas: Vec::new(), aside: vec![spoilt.clone()], ..batch };
    assert!(matches!(b.join(0, &aside).await.unwrap(), JoinReply::Applied(_)));
    assert_eq!(b.aside(0, &aside.origin).await.unwrap(), [spoilt]);
    let held = |state: archipelago::engine::SyncState| state.applied.get(&aside.origin).copied().unwrap_or_default();
    let state = b.sync_state(0).await.unwrap();
    assert_eq!(state.aside[&aside.origin], 1);
    assert!(held(state) < aside.id, "applied does not pass what is not held");
    write(a, Kind::String, "second", Mutation::set("2")).await.unwrap();
    carry(a, b, 0).await;
    assert_eq!(get(b, "second").await, "2", "the link goes on");
    assert!(held(b.sync_state(0).await.unwrap()) < aside.id);
    b.recover(0, &aside.origin, aside.id, Some(&delta)).await.unwrap();
    assert_eq!(get(b, "first").await, "1");
    assert!(b.aside(0, &aside.origin).await.unwrap().is_empty());
    write(a, Kind::String, "third", Mutation::set("3")).await.unwrap();
    carry(a, b, 0).await;
    let state = b.sync_state(0).await.unwrap();
    assert!(state.aside.is_empty() && held(state) > aside.id, "and now it follows");
}

pub async fn increments_of_two_regions_add_up_and_a_set_overrides_what_it_saw(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    add(a, Kind::String, "n", "", Amount::Integer(5)).await.unwrap();
    add(b, Kind::String, "n", "", Amount::Integer(7)).await.unwrap();
    add(a, Kind::SortedSet, "z", "m", Amount::Float(0.5)).await.unwrap();
    add(b, Kind::SortedSet, "z", "m", Amount::Float(0.25)).await.unwrap();
    assign(a, Kind::Set, "s", &[("x", ""), ("y", "")]).await;
    settle(&case.clients[0]).await;
    for store in [a, b, &*case.c] {
        assert_eq!(get(store, "n").await, "12");
        assert_eq!(
            archipelago_tests::world::line(&read(store, Kind::SortedSet, "z", Query::Score("m".into())).await),
            "0.75"
        );
    }
    write(a, Kind::String, "n", Mutation::set("100")).await.unwrap();
    add(b, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    remove(a, Kind::Set, "s", &["x"]).await;
    assign(b, Kind::Set, "s", &[("x", "")]).await;
    remove(b, Kind::Set, "s", &["y"]).await;
    settle(&case.clients[1]).await;
    for store in [a, b, &*case.c] {
        assert_eq!(get(store, "n").await, "101", "the increment that SET had not seen counts on top");
        assert_eq!(sorted(store, Kind::Set, "s", Query::Members).await, ["x"], "an add wins over a concurrent remove");
    }
}

/// Counterexample 17: O assigns; A has it, the link O to B is cut. A removes; B and O apply the removal. Then O's log
/// delivers the assignment to B.
pub async fn a_late_assignment_does_not_bring_back_what_was_removed(case: Case) {
    let (o, a, b) = (&*case.c, &*case.a, &*case.b);
    for (from, to) in [(o, a), (o, b), (a, b), (a, o)] {
        carry(from, to, 0).await;
    }
    assign(o, Kind::Set, "s", &[("e", "")]).await;
    carry(o, a, 0).await;
    remove(a, Kind::Set, "s", &["e"]).await;
    carry(a, b, 0).await;
    carry(a, o, 0).await;
    carry(o, b, 0).await;
    for store in [o, a, b] {
        assert_eq!(read(store, Kind::Set, "s", Query::Count).await, Reply::Int(0));
    }
}

pub async fn a_clock_follows_what_it_has_seen(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    add(a, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    let batch = next_batch(a, b, 0, 10).await.unwrap();
    // As if a's clock were 10 s ahead, and then an hour: more than the limit of 60 s.
    let now = b.clock().await.unwrap();
    let ahead = Batch { applied: now.plus(10_000_000), ..batch.clone() };
    assert!(matches!(b.join(0, &ahead).await.unwrap(), JoinReply::Applied(_)));
    write(b, Kind::String, "k", Mutation::set("v")).await.unwrap();
    let version = super::logs::entries(b).await.last().unwrap().version;
    assert!(version > ahead.applied, "{version} is not above {}", ahead.applied);
    let far = Batch { from: batch.to, to: batch.to + 1, applied: now.plus(3_600_000_000), ..batch };
    assert!(matches!(b.join(0, &far).await.unwrap(), JoinReply::Applied(_)));
    write(b, Kind::String, "k", Mutation::set("v")).await.unwrap();
    let version = super::logs::entries(b).await.last().unwrap().version;
    assert!(version < now.plus(1_800_000_000), "a clock is pulled ahead by the limit at most");
}

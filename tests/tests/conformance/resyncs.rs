//! Resyncs: what the log can no longer tell.

use archipelago::{
    engine::{Amount, Key, Kind, Mutation, RegionId},
    store::{Query, Reply, ResyncFailure, Store},
};
use archipelago_tests::{
    carry::{self, carry, resync},
    world::{b, read, write},
};
use bytes::Bytes;

use crate::{
    Case,
    writes::{add, assign, get, remove},
};

async fn fill(store: &dyn Store) {
    for n in 0..10 {
        write(store, Kind::String, &format!("k{n}"), Mutation::set(n.to_string())).await.unwrap();
        assign(store, Kind::Hash, &format!("k{n}"), &[("f", "1"), ("g", "2")]).await;
    }
}

async fn all(store: &dyn Store) -> u64 {
    let plan = store.begin_resync(0, None).await.unwrap();
    let slice = store.walk(0, &plan, &Bytes::new(), 1000).await.unwrap();
    slice.walked
}

pub async fn a_resync_ships_everything_and_leaves_a_position(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    fill(a).await;
    let plan = resync(a, b, 0).await.unwrap();
    assert_eq!(plan.above, 0);
    for n in 0..10 {
        assert_eq!(get(b, &format!("k{n}")).await, n.to_string());
        assert_eq!(read(b, Kind::Hash, &format!("k{n}"), Query::Count).await, Reply::Int(2));
    }
    let state = b.sync_state(0).await.unwrap();
    assert_eq!(state.cursors[a.region()].number, plan.number);
    assert_eq!(state.cursors[a.region()].id, plan.id);
    assert_eq!(state.resynced[a.region()], (plan.sender.incarnation, plan.number));
    assert_eq!(state.known[a.region()], (plan.sender.incarnation, plan.opening));
    assert_eq!(state.applied[&plan.sender], plan.vector[&plan.sender]);
    assert!(state.resyncs.is_empty() && state.vector_due);
    add(a, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    carry(a, b, 0).await;
    assert_eq!(get(b, "n").await, "1", "and the log goes on from there");
}

pub async fn what_was_trimmed_is_a_gap_and_a_resync_closes_it(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    let old = carry::cursor(a, b, 0).await.unwrap();
    fill(a).await;
    let end = a.begin_resync(0, None).await.unwrap();
    let everything = archipelago::engine::Cursor { incarnation: old.incarnation, number: end.number, id: end.id };
    let only_c: [RegionId; 2] = [a.region().clone(), case.c.region().clone()];
    a.acknowledge(0, case.c.region(), everything, &only_c).await.unwrap();
    write(a, Kind::String, "last", Mutation::set("v")).await.unwrap();
    let slice = a.log_after(0, old.id, 100).await.unwrap();
    let first = archipelago::engine::codec::peek_number(&slice.entries[0].bytes).unwrap();
    assert!(first > old.number + 1, "the log was trimmed past the position, and its number shows it");
    carry::resync(a, b, 0).await.unwrap();
    assert_eq!(get(b, "k9").await, "9");
    assert_eq!(get(b, "last").await, "v");
}

pub async fn a_second_resync_ships_only_what_changed_since(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    fill(a).await;
    resync(a, b, 0).await.unwrap();
    write(a, Kind::String, "k3", Mutation::set("new")).await.unwrap();
    remove(a, Kind::Hash, "k4", &["f"]).await;
    let remembered = b.sync_state(0).await.unwrap().resynced[a.region()];
    let plan = a.begin_resync(0, Some(remembered)).await.unwrap();
    assert_eq!(plan.above, remembered.1);
    let slice = a.walk(0, &plan, &Bytes::new(), 1000).await.unwrap();
    let keys: Vec<_> = slice.deltas.iter().map(|delta| delta.key.clone()).collect();
    assert_eq!(keys, [Key::new(Kind::Hash, "k4"), Key::new(Kind::String, "k3")]);
    assert_eq!(slice.walked, 20);
    let forgotten = a.begin_resync(0, Some((archipelago::engine::Incarnation::new(3), 1000))).await.unwrap();
    assert_eq!(forgotten.above, 0, "the number of another incarnation means nothing");
}

/// A key announces its changes ahead, so that not every write has to note the number of the last one: those beyond what was
/// announced must be found as well, by whatever path they came.
pub async fn what_changed_is_found_however_many_changes_ago(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    async fn change(store: &dyn Store) {
        assign(store, Kind::Set, "assigned", &[("m", "")]).await;
        assign(store, Kind::Hash, "assigned", &[("m", "v")]).await;
        assign(store, Kind::SortedSet, "assigned", &[("m", "1")]).await;
        add(store, Kind::Hash, "added", "m", Amount::Integer(1)).await.unwrap();
        add(store, Kind::SortedSet, "added", "m", Amount::Integer(1)).await.unwrap();
        remove(store, Kind::Set, "removed", &["m"]).await;
        assign(store, Kind::Set, "removed", &[("m", "")]).await;
        remove(store, Kind::Set, "removed", &["m"]).await;
        assign(store, Kind::Set, "joined by several", &[("m", ""), ("n", "")]).await;
    }
    async fn changed_above(store: &dyn Store, number: u64) -> usize {
        let own = store.sync_state(0).await.unwrap().record.unwrap().incarnation;
        let plan = store.begin_resync(0, Some((own, number))).await.unwrap();
        store.walk(0, &plan, &Bytes::new(), 1000).await.unwrap().deltas.len()
    }
    assign(a, Kind::Set, "untouched", &[("m", "")]).await;
    change(a).await;
    carry(a, b, 0).await;
    for _ in 0..600 {
        add(a, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
        add(b, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    }
    let (at_a, at_b) = (a.begin_resync(0, None).await.unwrap().number, b.begin_resync(0, None).await.unwrap().number);
    assert_eq!((changed_above(a, at_a).await, changed_above(b, at_b).await), (0, 0));
    change(a).await;
    assert_eq!(changed_above(a, at_a).await, 7);
    carry(a, b, 0).await;
    assert_eq!(changed_above(b, at_b).await, 8, "and the counter");
}

pub async fn a_resync_goes_on_where_another_driver_left_it(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    fill(a).await;
    let plan = a.begin_resync(0, None).await.unwrap();
    b.start_resync(0, &plan).await.unwrap();
    let first = a.walk(0, &plan, &Bytes::new(), 7).await.unwrap();
    assert_eq!((first.walked, first.deltas.len()), (7, 7));
    b.apply_slice(0, &plan, &first).await.unwrap();
    let progress = b.sync_state(0).await.unwrap().resyncs[a.region()].clone();
    assert_eq!(progress.plan, plan);
    assert_eq!(Some(&progress.after), first.last.as_ref());
    let second = a.walk(0, &progress.plan, &progress.after, 100).await.unwrap();
    assert_eq!(second.walked, 13);
    b.apply_slice(0, &plan, &second).await.unwrap();
    let end = a.walk(0, &plan, second.last.as_ref().unwrap(), 100).await.unwrap();
    assert!(end.deltas.is_empty() && end.last.is_none());
    b.complete_resync(0, &plan).await.unwrap();
    assert_eq!(all(b).await, 20);
}

pub async fn a_slice_of_another_plan_is_refused(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    fill(a).await;
    let old = a.begin_resync(0, None).await.unwrap();
    let new = a.begin_resync(0, None).await.unwrap();
    let slice = a.walk(0, &old, &Bytes::new(), 100).await.unwrap();
    let start_over = |result| matches!(result, Err(ResyncFailure::StartOver(_)));
    assert!(start_over(b.apply_slice(0, &old, &slice).await), "nothing is under way");
    b.start_resync(0, &new).await.unwrap();
    assert!(start_over(b.apply_slice(0, &old, &slice).await));
    assert!(start_over(b.complete_resync(0, &old).await));
    assert_eq!(get(b, "k1").await, "nil");
    let other_epoch = archipelago::engine::ResyncPlan { epoch: 5, ..new.clone() };
    assert!(start_over(b.start_resync(0, &other_epoch).await));
    a.open(0, u64::MAX >> 12).await.unwrap();
    assert!(matches!(a.walk(0, &new, &Bytes::new(), 5).await, Err(ResyncFailure::StartOver(_))), "a new incarnation");
}

/// What the sender's vector covers and the sender no longer holds was removed there, and its remains collected.
pub async fn what_the_sender_removed_and_forgot_goes_here_too(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    assign(a, Kind::Set, "s", &[("kept", ""), ("forgotten", "")]).await;
    add(a, Kind::Hash, "h", "kept", Amount::Integer(1)).await.unwrap();
    add(a, Kind::Hash, "h", "forgotten", Amount::Integer(1)).await.unwrap();
    carry(a, b_, 0).await;
    assign(b_, Kind::Set, "s", &[("own", "")]).await;
    // As a sender that collected the cells of `forgotten` would ship it.
    let plan = a.begin_resync(0, None).await.unwrap();
    let mut slice = a.walk(0, &plan, &Bytes::new(), 100).await.unwrap();
    for delta in &mut slice.deltas {
        delta.fields.retain(|field, _| *field != archipelago::engine::Field::Member(b("forgotten")));
    }
    b_.start_resync(0, &plan).await.unwrap();
    b_.apply_slice(0, &plan, &slice).await.unwrap();
    b_.complete_resync(0, &plan).await.unwrap();
    let members = super::writes::sorted(b_, Kind::Set, "s", Query::Members).await;
    assert_eq!(members, ["kept", "own"]);
    assert_eq!(super::writes::sorted(b_, Kind::Hash, "h", Query::All).await, ["1", "kept"]);
}

/// Counterexamples 10 and 13: C writes, only B has it, and C is gone for good.
pub async fn a_resync_brings_what_a_third_region_wrote(case: Case) {
    let (a, b, c) = (&*case.a, &*case.b, &*case.c);
    carry(b, a, 0).await;
    add(c, Kind::String, "n", "", Amount::Integer(9)).await.unwrap();
    assign(c, Kind::SortedSet, "z", &[("m", "1.5")]).await;
    carry(c, b, 0).await;
    carry(b, a, 0).await;
    assert_eq!(get(a, "n").await, "nil", "a log carries its own region's writes only");
    resync(b, a, 0).await.unwrap();
    assert_eq!(get(a, "n").await, "9");
    let state = a.sync_state(0).await.unwrap();
    let origin = c.log_after(0, archipelago::engine::Version::MAX, 1).await.unwrap().origin;
    assert_eq!(state.applied.get(&origin), b.sync_state(0).await.unwrap().applied.get(&origin));
    carry(c, a, 0).await;
    assert_eq!(get(a, "n").await, "9", "and its own log adds nothing to it");
}

/// A removal leaves no version of its own in a cell: what the sender has met goes along with each slice.
pub async fn a_slice_says_what_its_sender_has_met(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    assign(b_, Kind::Set, "s", &[("m", "")]).await;
    carry(b_, a, 0).await;
    remove(a, Kind::Set, "s", &["m"]).await;
    let here = a.standing(0).await.unwrap();
    let plan = a.begin_resync(0, None).await.unwrap();
    let slice = a.walk(0, &plan, &Bytes::new(), 10).await.unwrap();
    b_.start_resync(0, &plan).await.unwrap();
    b_.apply_slice(0, &plan, &slice).await.unwrap();
    let there = b_.standing(0).await.unwrap();
    assert!(there.seen[&here.origin] >= here.last, "the removal was met before the resync was completed");
    assert!(there.held(&here.origin) < here.last, "and is not yet held");
}

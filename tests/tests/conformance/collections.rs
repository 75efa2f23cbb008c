//! The collection of dead cells, step by step.

use archipelago::{
    engine::{Amount, Collection, Field, Key, Kind, Mutation, RegionId, Slice},
    store::{Query, Reply, ResyncFailure, Store},
};
use archipelago_tests::{
    carry::{carry, resync},
    world::{b, read, write},
};
use bytes::Bytes;

use crate::{
    Case,
    writes::{add, assign, get, remove},
};

const KINDS: [Kind; 3] = [Kind::Set, Kind::Hash, Kind::SortedSet];

fn members(case: &Case) -> Vec<RegionId> {
    [&case.a, &case.b, &case.c].map(|store| store.region().clone()).into()
}

async fn cells(store: &dyn Store, kind: Kind, name: &str) -> usize {
    let state = store.inspect(&Key::new(kind, name.to_owned())).await.unwrap().state;
    state.map_or(0, |state| state.fields.values().map(|stamped| stamped.cells.len()).sum())
}

async fn walked(store: &dyn Store) -> u64 {
    let plan = store.begin_resync(0, None).await.unwrap();
    store.walk(0, &plan, &Bytes::new(), 1000).await.unwrap().walked
}

/// Everybody hears everybody, and says what they hold.
async fn exchange(case: &Case) {
    for _ in 0..2 {
        for (from, to) in [
            (&case.a, &case.b),
            (&case.a, &case.c),
            (&case.b, &case.a),
            (&case.b, &case.c),
            (&case.c, &case.a),
            (&case.c, &case.b),
        ] {
            carry(&**from, &**to, 0).await;
        }
        for store in [&case.a, &case.b, &case.c] {
            store.republish_vector(0).await.unwrap();
        }
    }
}

async fn collect(case: &Case, store: &dyn Store) -> Collection {
    store.collect(0, &members(case), 1000).await.unwrap()
}

/// Collects until nothing is left to collect; answers how many cells went.
async fn collect_all(case: &Case, store: &dyn Store) -> u64 {
    let mut cells = 0;
    for _ in 0..5 {
        exchange(case).await;
        cells += collect(case, store).await.cells;
    }
    cells
}

pub async fn where_nothing_is_dead_nothing_is_done(case: Case) {
    let a = &*case.a;
    assign(a, Kind::Set, "s", &[("m", "")]).await;
    write(a, Kind::String, "k", Mutation::set("v")).await.unwrap();
    exchange(&case).await;
    let before = a.sync_state(0).await.unwrap();
    assert_eq!(collect(&case, a).await, Collection::default());
    assert_eq!(a.sync_state(0).await.unwrap(), before, "no mark, no entry");
}

pub async fn what_was_removed_goes_once_every_member_has_said_that_it_knows(case: Case) {
    let (a, c) = (&*case.a, &*case.c);
    for kind in KINDS {
        assign(a, kind, "gone", &[("1", "1"), ("2", "2")]).await;
        assign(a, kind, "kept", &[("1", "1"), ("2", "2")]).await;
    }
    write(a, Kind::String, "gone", Mutation::set("v")).await.unwrap();
    exchange(&case).await;
    for kind in KINDS {
        write(c, kind, "gone", Mutation::Clear { previous: false }).await.unwrap();
        remove(c, kind, "kept", &["1"]).await;
    }
    write(c, Kind::String, "gone", Mutation::Clear { previous: false }).await.unwrap();
    let first = collect(&case, c).await;
    assert_eq!(first.cells, 0);
    let waiting: Vec<_> = first.waits.iter().map(|wait| wait.member.clone()).collect();
    assert!(waiting.contains(a.region()) && waiting.contains(case.b.region()), "{waiting:?}");
    assert_eq!(first.waits, c.sync_state(0).await.unwrap().waits(c.region(), &members(&case)));
    assert_eq!(collect_all(&case, c).await, 3 * 3 + 1);
    for kind in KINDS {
        assert_eq!((cells(c, kind, "gone").await, cells(c, kind, "kept").await), (0, 1));
        assert_eq!(read(c, kind, "kept", Query::Count).await, Reply::Int(1));
    }
    assert_eq!(cells(c, Kind::String, "gone").await, 0);
    assert_eq!(walked(c).await, 3, "a key without cells is in no index");
    assert_eq!(cells(a, Kind::Set, "gone").await, 2, "each region forgets for itself");
    assert_eq!(collect_all(&case, a).await, 3 * 3 + 1);
}

pub async fn a_step_takes_no_more_fields_than_it_is_asked_to(case: Case) {
    let a = &*case.a;
    let all: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|member| (member.as_str(), "1")).collect();
    assign(a, Kind::Hash, "h", &all).await;
    write(a, Kind::Hash, "h", Mutation::Clear { previous: false }).await.unwrap();
    collect(&case, a).await;
    exchange(&case).await;
    let members = members(&case);
    let mut steps = Vec::new();
    loop {
        let done = a.collect(0, &members, 10).await.unwrap();
        assert!(done.waits.is_empty(), "{done:?}");
        steps.push(done.cells);
        if !done.more {
            break;
        }
    }
    assert_eq!(steps, [10, 10, 5]);
    assert_eq!(a.sync_state(0).await.unwrap().mark, None);
}

pub async fn a_field_that_came_back_or_died_after_the_mark_stays(case: Case) {
    let a = &*case.a;
    assign(a, Kind::Set, "s", &[("back", ""), ("later", ""), ("gone", "")]).await;
    exchange(&case).await;
    remove(a, Kind::Set, "s", &["back", "gone"]).await;
    assert!(!collect(&case, a).await.waits.is_empty(), "a mark was taken");
    assign(a, Kind::Set, "s", &[("back", "")]).await;
    remove(a, Kind::Set, "s", &["later"]).await;
    exchange(&case).await;
    assert_eq!(collect(&case, a).await.cells, 1);
    assert_eq!(super::writes::sorted(a, Kind::Set, "s", Query::Members).await, ["back"]);
    assert_eq!(cells(a, Kind::Set, "s").await, 2);
    assert_eq!(collect_all(&case, a).await, 1);
    assert_eq!(super::writes::sorted(a, Kind::Set, "s", Query::Members).await, ["back"]);
}

pub async fn a_counter_begins_anew_where_its_cells_were_collected(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    add(a, Kind::String, "n", "", Amount::Integer(100)).await.unwrap();
    exchange(&case).await;
    write(a, Kind::String, "n", Mutation::Clear { previous: false }).await.unwrap();
    collect_all(&case, a).await;
    assert_eq!((cells(a, Kind::String, "n").await, cells(b_, Kind::String, "n").await), (0, 1));
    add(a, Kind::String, "n", "", Amount::Integer(3)).await.unwrap();
    exchange(&case).await;
    assert_eq!((get(a, "n").await.as_str(), get(b_, "n").await.as_str()), ("3", "3"));
}

/// Counterexample 19: a has collected what b has not heard of, so that b's keys are held against all of a's.
pub async fn a_walk_of_every_key_removes_what_was_collected_meanwhile(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    for kind in KINDS {
        assign(a, kind, "gone", &[("1", "1")]).await;
        assign(a, kind, "kept", &[("1", "1"), ("2", "2")]).await;
    }
    exchange(&case).await;
    assign(b_, Kind::Set, "own", &[("1", "")]).await;
    // A walk as a would answer it without any trace of what is gone.
    let plan = a.begin_resync(0, None).await.unwrap();
    let mut slice = a.walk(0, &plan, &Bytes::new(), 1000).await.unwrap();
    slice.deltas.retain(|delta| delta.key.name != b("gone"));
    for delta in &mut slice.deltas {
        delta.fields.retain(|field, _| *field != Field::Member(b("1")));
    }
    slice.last = None;
    b_.start_resync(0, &plan).await.unwrap();
    b_.apply_slice(0, &plan, &slice).await.unwrap();
    b_.complete_resync(0, &plan).await.unwrap();
    for kind in KINDS {
        assert_eq!(read(b_, kind, "gone", Query::Count).await, Reply::Int(0));
        assert_eq!(read(b_, kind, "kept", Query::Count).await, Reply::Int(1));
    }
    assert_eq!(read(b_, Kind::Set, "own", Query::Count).await, Reply::Int(1), "a has not seen that");
    // A walk that leaves out what did not change says nothing of keys that it lacks.
    let remembered = b_.sync_state(0).await.unwrap().resynced[a.region()];
    let plan = a.begin_resync(0, Some(remembered)).await.unwrap();
    b_.start_resync(0, &plan).await.unwrap();
    let nothing = Slice { deltas: Vec::new(), last: None, ..slice };
    b_.apply_slice(0, &plan, &nothing).await.unwrap();
    assert_eq!(read(b_, Kind::Hash, "kept", Query::Count).await, Reply::Int(1));
}

pub async fn a_slice_of_a_sender_that_collected_what_was_missed_is_refused(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    assign(a, Kind::Set, "s", &[("e", "")]).await;
    let remembered = resync(a, b_, 0).await.unwrap();
    let remembered = (remembered.sender.incarnation, remembered.number);
    let held = b_.sync_state(0).await.unwrap().applied[&a.standing(0).await.unwrap().origin];
    for (above, collected, accepted) in
        [(Some(remembered), held, true), (Some(remembered), held.next(), false), (None, held.next(), true)]
    {
        let plan = a.begin_resync(0, above).await.unwrap();
        let mut slice = a.walk(0, &plan, &Bytes::new(), 100).await.unwrap();
        slice.collected.insert(plan.sender.clone(), collected);
        b_.start_resync(0, &plan).await.unwrap();
        let answer = b_.apply_slice(0, &plan, &slice).await;
        let refused = matches!(answer, Err(ResyncFailure::StartOver(_)));
        assert_eq!(refused, !accepted, "{above:?} {collected}: {answer:?}");
    }
    // Not even a walk of every key tells what was collected after it began.
    let plan = a.begin_resync(0, None).await.unwrap();
    let mut slice = a.walk(0, &plan, &Bytes::new(), 100).await.unwrap();
    slice.collected.insert(plan.sender.clone(), plan.vector[&plan.sender].next());
    b_.start_resync(0, &plan).await.unwrap();
    assert!(matches!(b_.apply_slice(0, &plan, &slice).await, Err(ResyncFailure::StartOver(_))));
}

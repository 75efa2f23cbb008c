//! Keys of more fields than one step clears: counterexample 29, on every store.

use std::time::Duration;

use archipelago::{
    engine::{
        Body, ClearStep, End, Expiry, Key, Kind, ListEdit, Mutation, Outcome, Version, codec, limits::CLEARED_AT_ONCE,
        position,
    },
    store::{Query, Reply, Store, Write},
};
use archipelago_tests::{
    carry::{self, next_batch},
    world::{b, read, write},
};
use bytes::Bytes;

use crate::{Case, writes::assign};

const DEL: Mutation = Mutation::Clear { previous: false };
const MANY: usize = CLEARED_AT_ONCE * 5 / 2;
const KINDS: [Kind; 4] = [Kind::Set, Kind::Hash, Kind::SortedSet, Kind::List];

fn member(n: usize) -> Bytes {
    b(format!("member-{n:06}"))
}

/// Fills a key; a list holds its numbers.
async fn fill(store: &dyn Store, kind: Kind, name: &str, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(400) {
        let values = some.iter().map(|n| b(n.to_string()));
        let mutation = match kind {
            Kind::List => Mutation::List(ListEdit::Push { end: End::Back, values: values.collect(), existing: false }),
            Kind::Set => Mutation::assign(some.iter().map(|n| (member(*n), Bytes::new()))),
            _ => Mutation::assign(some.iter().map(|n| member(*n)).zip(values)),
        };
        write(store, kind, name, mutation).await.unwrap();
    }
}

async fn count(store: &dyn Store, kind: Kind, name: &str) -> i64 {
    match read(store, kind, name, Query::Count).await {
        Reply::Int(count) => count,
        other => panic!("{other:?}"),
    }
}

/// Where the log ends.
async fn end(store: &dyn Store) -> Version {
    store.sync_state(0).await.unwrap().clock
}

/// How many cells the largest entry behind a place has, and how many entries there are.
async fn entries_behind(store: &dyn Store, place: Version) -> (usize, usize) {
    let slice = store.log_after(0, place, 1000).await.unwrap();
    let entries = slice.entries.iter().map(|raw| codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap());
    let cells = entries.filter_map(|entry| match entry.body {
        Body::Data(delta) => Some(delta.len()),
        Body::Vector { .. } => None,
    });
    cells.fold((0, 0), |(largest, entries), cells| (largest.max(cells), entries + 1))
}

/// Steps of at most 500 members, and the expiry.
async fn assert_steps(store: &dyn Store, place: Version) {
    let (largest, entries) = entries_behind(store, place).await;
    assert!(largest <= 501 && entries >= MANY / 500, "{entries} entries, the largest of {largest} cells");
}

/// A few entries at a time: all at once would be a join that blocks for long.
async fn carry(from: &dyn Store, to: &dyn Store) {
    while let Some(batch) = next_batch(from, to, 0, 3).await {
        to.join(0, &batch).await.unwrap();
    }
}

fn cleared(existed: bool) -> Outcome {
    Outcome::Cleared { existed, previous: None }
}

pub async fn n29_a_large_key_goes_in_steps_and_a_concurrent_unseen_add_survives(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    for kind in KINDS {
        fill(a, kind, "large", MANY).await;
    }
    carry::carry(b_, a, 0).await;
    carry::resync(a, b_, 0).await.unwrap();
    assign(b_, Kind::Set, "large", &[("unseen", "")]).await;
    for kind in KINDS {
        let before = end(a).await;
        assert_eq!(write(a, kind, "large", DEL).await.unwrap(), cleared(true), "{kind}");
        assert_steps(a, before).await;
        assert_eq!(count(a, kind, "large").await, 0, "{kind}");
        assert_eq!(write(a, kind, "large", DEL).await.unwrap(), cleared(false), "{kind}: nothing is left to see");
    }
    carry(a, b_).await;
    carry(b_, a).await;
    for store in [a, b_] {
        assert_eq!(
            read(store, Kind::Set, "large", Query::Members).await,
            Reply::Array(vec![Reply::Bytes(b("unseen"))])
        );
        assert_eq!(count(store, Kind::Hash, "large").await, 0);
    }
}

pub async fn dead_members_do_not_keep_a_key_from_being_deleted(case: Case) {
    let a = &*case.a;
    fill(a, Kind::Set, "s", MANY).await;
    let all: Vec<Bytes> = (3..MANY).map(member).collect();
    write(a, Kind::Set, "s", Mutation::Remove { members: all }).await.unwrap();
    assert_eq!(count(a, Kind::Set, "s").await, 3);
    assert_eq!(write(a, Kind::Set, "s", DEL).await.unwrap(), cleared(true));
    assert_eq!(write(a, Kind::Set, "s", DEL).await.unwrap(), cleared(false));
    assign(a, Kind::Set, "s", &[("new", "")]).await;
    assert_eq!(count(a, Kind::Set, "s").await, 1);
}

pub async fn what_follows_a_clear_in_a_batch_comes_after_it(case: Case) {
    let a = &*case.a;
    for kind in [Kind::Set, Kind::Hash] {
        fill(a, kind, "k", MANY).await;
    }
    let of = |kind, mutation| Write { key: Key::new(kind, "k"), mutation, exclusive: false };
    let add = || Mutation::assign([(b("after"), b(""))]);
    let batch = [
        of(Kind::Set, add()),
        of(Kind::Set, DEL),
        of(Kind::Hash, DEL),
        of(Kind::String, Mutation::set("v")),
        of(Kind::Set, add()),
        of(Kind::Hash, add()),
    ];
    let done: Vec<Outcome> = a.write_all(&batch).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((&done[1], &done[2]), (&cleared(true), &cleared(true)));
    for kind in [Kind::Set, Kind::Hash] {
        assert_eq!(count(a, kind, "k").await, 1, "{kind}");
    }
    assert_eq!(read(a, Kind::String, "k", Query::Value).await, Reply::Bytes(b("v")));
}

async fn expire(store: &dyn Store, kind: Kind, name: &str, expiry: Expiry) -> Outcome {
    write(store, kind, name, Mutation::Expire(expiry)).await.unwrap()
}

async fn gone(store: &dyn Store, kind: Kind, name: &str) {
    archipelago::testing::poll::until("the key expires", || async {
        (read(store, kind, name, Query::Exists).await == Reply::Int(0)).then_some(())
    })
    .await;
}

pub async fn an_expired_large_key_is_swept_in_steps(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    for kind in KINDS {
        fill(a, kind, "large", MANY).await;
        assert_eq!(expire(a, kind, "large", Expiry::In(20)).await, Outcome::Expiry(true));
        gone(a, kind, "large").await;
    }
    carry::carry(b_, a, 0).await;
    carry::resync(a, b_, 0).await.unwrap();
    let before = end(a).await;
    assert_eq!(a.sweep(0, Duration::from_secs(3600), 10).await.unwrap(), 0, "within the grace");
    assert_eq!(end(a).await, before);
    assert_eq!(a.expired(0, Duration::ZERO).await.unwrap(), 4);
    assert_eq!(a.sweep(0, Duration::ZERO, 10).await.unwrap(), 4);
    assert_eq!(a.expired(0, Duration::ZERO).await.unwrap(), 0);
    assert_steps(a, before).await;
    carry(a, b_).await;
    for kind in KINDS {
        let state = b_.inspect(&Key::new(kind, "large")).await.unwrap().state.unwrap();
        assert!(!state.has_data(kind) && state.deadline().is_none(), "{kind}");
    }
}

/// A key past its expiry shows nothing of what still stands, at no step.
pub async fn a_step_of_an_expired_key_leaves_it_hidden_and_one_of_a_living_key_nothing(case: Case) {
    let a = &*case.a;
    fill(a, Kind::Set, "s", MANY).await;
    let step =
        |grace, is_last| Mutation::ClearStep(ClearStep { members: (0..500).map(member).collect(), grace, is_last });
    assert_eq!(write(a, Kind::Set, "s", step(Some(0), true)).await.unwrap(), Outcome::Stepped(None));
    expire(a, Kind::Set, "s", Expiry::In(100_000)).await;
    assert_eq!(write(a, Kind::Set, "s", step(Some(0), true)).await.unwrap(), Outcome::Stepped(None));
    assert_eq!(count(a, Kind::Set, "s").await, i64::try_from(MANY).unwrap());
    expire(a, Kind::Set, "s", Expiry::In(20)).await;
    gone(a, Kind::Set, "s").await;
    assert_eq!(write(a, Kind::Set, "s", step(Some(100_000), false)).await.unwrap(), Outcome::Stepped(None));
    assert_eq!(write(a, Kind::Set, "s", step(Some(0), false)).await.unwrap(), Outcome::Stepped(Some(0)));
    assert_eq!(count(a, Kind::Set, "s").await, 0);
    let state = a.inspect(&Key::new(Kind::Set, "s")).await.unwrap().state.unwrap();
    let live = state.fields.values().filter(|stamped| stamped.cells.is_live()).count();
    assert_eq!(live, MANY - 500 + 1, "the rest, and the expiry");
}

pub async fn a_write_to_an_expired_large_key_begins_anew(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    for kind in KINDS {
        fill(a, kind, "large", MANY).await;
        expire(a, kind, "large", Expiry::In(20)).await;
        gone(a, kind, "large").await;
        let before = end(a).await;
        let one = match kind {
            Kind::List => Mutation::List(ListEdit::Push { end: End::Front, values: vec![b("new")], existing: false }),
            _ => Mutation::assign([(member(7), b("1"))]),
        };
        match write(a, kind, "large", one).await.unwrap() {
            Outcome::Assigned { added, .. } => assert_eq!(added, 1, "{kind}: not what stood there"),
            Outcome::Length(length) => assert_eq!(length, Some(1), "{kind}"),
            other => panic!("{other:?}"),
        }
        assert_steps(a, before).await;
        assert_eq!(count(a, kind, "large").await, 1, "{kind}");
        assert_eq!(read(a, kind, "large", Query::TimeToLive).await, Reply::Int(-1), "{kind}: and for ever");
    }
    carry::carry(b_, a, 0).await;
    carry::resync(a, b_, 0).await.unwrap();
    for kind in KINDS {
        assert_eq!(count(b_, kind, "large").await, 1, "{kind}");
    }
}

pub async fn an_expiry_in_the_past_removes_a_large_key(case: Case) {
    let a = &*case.a;
    for kind in KINDS {
        for expiry in [Expiry::In(-5), Expiry::At(1)] {
            fill(a, kind, "large", MANY).await;
            let before = end(a).await;
            assert_eq!(expire(a, kind, "large", expiry).await, Outcome::Expiry(true), "{kind}");
            assert_steps(a, before).await;
            assert_eq!(count(a, kind, "large").await, 0, "{kind}");
            assert_eq!(expire(a, kind, "large", expiry).await, Outcome::Expiry(false), "{kind}");
        }
    }
}

pub async fn whoever_goes_on_with_a_clear_finishes_it(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    fill(a, Kind::Set, "s", 4 * MANY).await;
    carry::carry(b_, a, 0).await;
    carry::resync(a, b_, 0).await.unwrap();
    // Dropped as soon as somebody sees that it has begun.
    let begun = async {
        while count(a, Kind::Set, "s").await == i64::try_from(4 * MANY).unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = write(a, Kind::Set, "s", DEL) => assert_eq!(done.unwrap(), cleared(true)),
        () = begun => assert_ne!(count(a, Kind::Set, "s").await, 0),
    }
    carry(a, b_).await;
    assert_eq!(count(a, Kind::Set, "s").await, count(b_, Kind::Set, "s").await, "what is left is an ordinary key");
    write(b_, Kind::Set, "s", DEL).await.unwrap();
    carry(b_, a).await;
    assert_eq!((count(a, Kind::Set, "s").await, count(b_, Kind::Set, "s").await), (0, 0));
}

async fn values(store: &dyn Store) -> Vec<String> {
    let Reply::Array(members) = read(store, Kind::List, "l", Query::Range { start: 0, stop: -1 }).await else {
        panic!("no array")
    };
    let value = |member: Reply| match member {
        Reply::Bytes(member) => String::from_utf8(position::split(&member).unwrap().1.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    members.into_iter().map(value).collect()
}

pub async fn a_long_list_is_cut_in_steps(case: Case) {
    let a = &*case.a;
    let many = i64::try_from(MANY).unwrap();
    for (start, stop) in [(0, 9), (-10, -1), (1100, 1109), (-1500, -1400), (5, 2), (many, -1), (1300, -1), (0, -1200)] {
        fill(a, Kind::List, "l", MANY).await;
        let (skip, take) = archipelago::engine::window(start, stop, MANY);
        let before = end(a).await;
        let trim = Mutation::List(ListEdit::Trim { start, stop });
        let removed = write(a, Kind::List, "l", trim).await.unwrap();
        assert_eq!(removed, Outcome::Removed((MANY - take) as u64), "{start} {stop}");
        let stay: Vec<String> = (skip..skip + take).map(|n| n.to_string()).collect();
        assert_eq!(values(a).await, stay, "{start} {stop}");
        assert!(entries_behind(a, before).await.0 <= 500, "{start} {stop}");
        write(a, Kind::List, "l", DEL).await.unwrap();
    }
}

pub async fn many_equal_elements_are_removed_in_steps(case: Case) {
    let a = &*case.a;
    for (count, left) in [(0, 0), (1700, 800), (-1700, 800), (5000, 0)] {
        for _ in 0..5 {
            let values = std::iter::repeat_n(b("v"), 500).chain([b("w")]).collect();
            let push = ListEdit::Push { end: End::Back, values, existing: false };
            write(a, Kind::List, "l", Mutation::List(push)).await.unwrap();
        }
        let before = end(a).await;
        let remove = ListEdit::Remove { value: b("v"), count };
        let removed = write(a, Kind::List, "l", Mutation::List(remove)).await.unwrap();
        assert_eq!(removed, Outcome::Removed(2500 - left), "{count}");
        assert!(entries_behind(a, before).await.0 <= 500, "{count}");
        let held = values(a).await;
        assert_eq!(held.iter().filter(|value| *value == "v").count() as u64, left);
        assert_eq!(held.iter().filter(|value| *value == "w").count(), 5);
        if left > 0 {
            assert_eq!(held.first().unwrap() == "v", count < 0, "from which side");
        }
        write(a, Kind::List, "l", DEL).await.unwrap();
    }
}

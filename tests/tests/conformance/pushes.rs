//! Pushes: cells from another region, past its log; and what they are made of.

use std::time::Duration;

use archipelago::{
    engine::{Field, Key, Kind, Mutation, Push, PushReply},
    store::{Excerpt, Query, Reply, Store, Write},
};
use archipelago_tests::{
    carry::carry,
    world::{b, line, read, write},
};

use crate::Case;

const JOINED: PushReply = PushReply::Joined { left_out: 0 };

fn tags() -> Key {
    Key::new(Kind::Set, "tags")
}

fn add(member: &'static str) -> Mutation {
    Mutation::assign([(b(member), b(""))])
}

fn remove(member: &'static str) -> Mutation {
    Mutation::Remove { members: vec![b(member)] }
}

async fn push_of(store: &dyn Store, key: Key) -> Push {
    let excerpt = Excerpt::whole(key);
    let (state, standing) = store.cells_and_stand(&excerpt).await.unwrap();
    standing.push(vec![excerpt.delta(&state)])
}

async fn members(store: &dyn Store) -> String {
    let mut members: Vec<String> =
        line(&read(store, Kind::Set, "tags", Query::Members).await).split(' ').map(str::to_owned).collect();
    members.sort();
    members.join(" ")
}

pub async fn a_push_is_shown_at_once_and_moves_no_position(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    carry(a, b_, 0).await;
    write(a, Kind::Set, "tags", add("x")).await.unwrap();
    let before = b_.sync_state(0).await.unwrap();
    let push = push_of(a, tags()).await;
    for _ in 0..2 {
        assert_eq!(b_.push(0, &push).await.unwrap(), JOINED);
    }
    assert_eq!(members(b_).await, "x");
    let after = b_.sync_state(0).await.unwrap();
    assert_eq!((after.applied, after.cursors), (before.applied, before.cursors));
    assert_eq!((after.number, after.vector_due), (before.number, before.vector_due));
    carry(a, b_, 0).await;
    assert_eq!(members(b_).await, "x");
}

pub async fn a_late_push_brings_nothing_back(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    carry(a, b_, 0).await;
    write(a, Kind::Set, "tags", add("x")).await.unwrap();
    let late = push_of(a, tags()).await;
    write(a, Kind::Set, "tags", remove("x")).await.unwrap();
    carry(a, b_, 0).await;
    assert_eq!(b_.push(0, &late).await.unwrap(), JOINED);
    assert_eq!(members(b_).await, "");
}

pub async fn a_push_from_the_wrong_place_changes_nothing(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    write(a, Kind::Set, "tags", add("x")).await.unwrap();
    let push = push_of(a, tags()).await;
    assert_eq!(b_.push(0, &push).await.unwrap(), PushReply::Unheard);
    carry(a, b_, 0).await;
    let mut of_another_epoch = push.clone();
    of_another_epoch.epoch += 1;
    assert_eq!(b_.push(0, &of_another_epoch).await.unwrap(), PushReply::Epoch(1));
    write(a, Kind::Set, "tags", add("y")).await.unwrap();
    let closed = push_of(a, tags()).await;
    a.open(0, a.sync_state(0).await.unwrap().record.unwrap().opening + 1).await.unwrap();
    let before = members(b_).await;
    write(a, Kind::String, "news", Mutation::set("1")).await.unwrap();
    carry(a, b_, 0).await;
    assert_eq!(b_.push(0, &closed).await.unwrap(), PushReply::Closed);
    assert_eq!((before.as_str(), members(b_).await.as_str()), ("x", "x y"), "the resync brought it");
}

pub async fn cells_of_an_unheard_third_region_are_left_out_of_a_push(case: Case) {
    let (a, b_, c) = (&*case.a, &*case.b, &*case.c);
    carry(a, b_, 0).await;
    write(c, Kind::Set, "tags", add("of c")).await.unwrap();
    carry(c, a, 0).await;
    write(a, Kind::Set, "tags", add("x")).await.unwrap();
    let push = push_of(a, tags()).await;
    assert_eq!(b_.push(0, &push).await.unwrap(), PushReply::Joined { left_out: 1 });
    assert_eq!(members(b_).await, "x");
}

pub async fn a_standing_covers_what_a_push_showed(case: Case) {
    let (a, b_, c) = (&*case.a, &*case.b, &*case.c);
    write(c, Kind::Set, "tags", add("x")).await.unwrap();
    for (from, to) in [(c, a), (c, b_), (a, b_)] {
        carry(from, to, 0).await;
    }
    write(a, Kind::Set, "tags", remove("x")).await.unwrap();
    let removed = a.standing(0).await.unwrap();
    assert_eq!(b_.push(0, &push_of(a, tags()).await).await.unwrap(), JOINED);
    let shown = b_.standing(0).await.unwrap();
    assert!(shown.held(&removed.origin) < removed.last && shown.visible()[&removed.origin] >= removed.last);
}

pub async fn an_excerpt_has_the_fields_asked_for(case: Case) {
    let a = &*case.a;
    for member in ["x", "y", "z"] {
        write(a, Kind::Set, "tags", add(member)).await.unwrap();
    }
    let fields = Some(vec![Field::Member(b("y")), Field::Member(b("none")), Field::Expiry]);
    let (state, standing) = a.cells_and_stand(&Excerpt { key: tags(), fields }).await.unwrap();
    assert_eq!(state.fields.keys().collect::<Vec<_>>(), [&Field::Member(b("y"))]);
    assert_eq!(standing.epoch, 1);
    assert_eq!(a.cells_and_stand(&Excerpt::whole(tags())).await.unwrap().0.fields.len(), 3);
}

pub async fn replicas_that_do_not_exist_confirm_nothing(case: Case) {
    let a = &*case.a;
    let of = |name: &str| Write {
        key: Key::new(Kind::String, name.to_owned()),
        mutation: Mutation::set("1"),
        exclusive: false,
    };
    let done = a.write_replicated(&[of("k"), of("l")], 1, Duration::from_millis(20)).await;
    assert!(done.outcomes.len() == 2 && done.outcomes.iter().all(Result::is_ok));
    assert_eq!(done.replication.unwrap().confirmed, 0);
    for name in ["k", "l"] {
        assert_eq!(read(a, Kind::String, name, Query::Value).await, Reply::Bytes(b("1")));
    }
}

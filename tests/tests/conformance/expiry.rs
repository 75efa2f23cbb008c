//! Expiry: what a reader sees, what the next write does, and the sweeper.

use std::time::Duration;

use archipelago::testing::poll;
use archipelago::{
    engine::{Amount, Assignment, Expiry, Kind, Mutation, Outcome, Retention},
    store::{Query, Reply, Store},
};
use archipelago_tests::{
    carry::carry,
    world::{b, read, write},
};
use bytes::Bytes;

use crate::{
    Case,
    writes::{add, assign, get, remove},
};

fn set_for(value: &str, millis: i64) -> Mutation {
    Mutation::Assign(Assignment {
        entries: vec![(Bytes::new(), b(value))],
        retention: Retention::Set(Expiry::In(millis)),
        ..Assignment::default()
    })
}

async fn expire(store: &dyn Store, kind: Kind, name: &str, expiry: Expiry) -> bool {
    write(store, kind, name, Mutation::Expire(expiry)).await.unwrap() == Outcome::Expiry(true)
}

async fn ttl(store: &dyn Store, kind: Kind, name: &str) -> i64 {
    match read(store, kind, name, Query::TimeToLive).await {
        Reply::Int(left) => left,
        other => panic!("{other:?}"),
    }
}

async fn gone(store: &dyn Store, kind: Kind, name: &str) {
    poll::until("the key expires", || async {
        (read(store, kind, name, Query::Exists).await == Reply::Int(0)).then_some(())
    })
    .await;
}

pub async fn a_key_past_its_expiry_is_absent_and_the_next_write_begins_anew(case: Case) {
    let store = &*case.a;
    write(store, Kind::String, "n", set_for("100", 30)).await.unwrap();
    assign(store, Kind::Set, "s", &[("a", ""), ("b", "")]).await;
    assert!(expire(store, Kind::Set, "s", Expiry::In(30)).await);
    gone(store, Kind::String, "n").await;
    gone(store, Kind::Set, "s").await;
    assert_eq!(add(store, Kind::String, "n", "", Amount::Integer(1)).await.unwrap(), "1", "not 101");
    assert_eq!(ttl(store, Kind::String, "n").await, -1, "and for ever");
    assign(store, Kind::Set, "s", &[("c", "")]).await;
    assert_eq!(read(store, Kind::Set, "s", Query::Count).await, Reply::Int(1));
    carry(store, &*case.b, 0).await;
    assert_eq!(get(&*case.b, "n").await, "1");
    assert_eq!(ttl(&*case.b, Kind::String, "n").await, -1);
    assert_eq!(read(&*case.b, Kind::Set, "s", Query::Count).await, Reply::Int(1));
}

pub async fn a_plain_set_removes_the_expiry_and_other_writes_keep_it(case: Case) {
    let store = &*case.a;
    write(store, Kind::String, "k", set_for("1", 100_000)).await.unwrap();
    add(store, Kind::String, "k", "", Amount::Integer(1)).await.unwrap();
    let left = ttl(store, Kind::String, "k").await;
    assert!((60_000..=100_000).contains(&left), "{left}");
    let keep = Mutation::assign([(Bytes::new(), b("5"))]);
    write(store, Kind::String, "k", keep).await.unwrap();
    assert!(ttl(store, Kind::String, "k").await > 0, "KEEPTTL");
    write(store, Kind::String, "k", Mutation::set("6")).await.unwrap();
    assert_eq!(ttl(store, Kind::String, "k").await, -1);
    assert!(expire(store, Kind::String, "k", Expiry::In(50_000)).await);
    assert!(expire(store, Kind::String, "k", Expiry::Never).await, "PERSIST");
    assert!(!expire(store, Kind::String, "k", Expiry::Never).await, "there was none any more");
    assert_eq!(ttl(store, Kind::String, "k").await, -1);
    assert!(!expire(store, Kind::String, "none", Expiry::In(1000)).await);
    assert_eq!(ttl(store, Kind::String, "none").await, -2);
    assign(store, Kind::Hash, "h", &[("f", "1")]).await;
    assert!(expire(store, Kind::Hash, "h", Expiry::In(80_000)).await);
    assign(store, Kind::Hash, "h", &[("g", "1")]).await;
    assert!(ttl(store, Kind::Hash, "h").await > 40_000);
    carry(store, &*case.b, 0).await;
    let left = ttl(&*case.b, Kind::Hash, "h").await;
    assert!((40_000..=80_000).contains(&left), "{left}");
}

pub async fn the_sweeper_clears_what_expired_long_enough_ago(case: Case) {
    let store = &*case.a;
    for name in ["a", "b", "c"] {
        write(store, Kind::String, name, set_for("v", 20)).await.unwrap();
    }
    write(store, Kind::String, "later", set_for("v", 500_000)).await.unwrap();
    for name in ["a", "b", "c"] {
        gone(store, Kind::String, name).await;
    }
    assert_eq!(store.sweep(0, Duration::from_secs(3600), 10).await.unwrap(), 0, "within the grace");
    assert_eq!(store.sweep(0, Duration::ZERO, 2).await.unwrap(), 2);
    assert_eq!(store.sweep(0, Duration::ZERO, 2).await.unwrap(), 1);
    assert_eq!(store.sweep(0, Duration::ZERO, 2).await.unwrap(), 0);
    assert_eq!(get(store, "later").await, "v");
}

pub async fn an_expiry_in_the_past_removes_the_key(case: Case) {
    let store = &*case.a;
    for expiry in [Expiry::In(0), Expiry::In(-5), Expiry::At(1), Expiry::At(-1)] {
        write(store, Kind::String, "k", Mutation::set("v")).await.unwrap();
        assert!(expire(store, Kind::String, "k", expiry).await, "{expiry:?}");
        assert_eq!(get(store, "k").await, "nil", "{expiry:?}");
    }
    assert_eq!(add(store, Kind::String, "k", "", Amount::Integer(1)).await.unwrap(), "1");
    assert_eq!(ttl(store, Kind::String, "k").await, -1);
    write(store, Kind::String, "l", set_for("v", -1)).await.unwrap();
    assert_eq!(get(store, "l").await, "nil", "assigned with an expiry in the past");
}

pub async fn the_last_member_takes_the_expiry_with_it(case: Case) {
    let store = &*case.a;
    assign(store, Kind::Set, "s", &[("a", ""), ("b", "")]).await;
    expire(store, Kind::Set, "s", Expiry::In(100_000)).await;
    assert_eq!(remove(store, Kind::Set, "s", &["a"]).await, 1);
    assert!(ttl(store, Kind::Set, "s").await > 0);
    assert_eq!(remove(store, Kind::Set, "s", &["b"]).await, 1);
    assign(store, Kind::Set, "s", &[("c", "")]).await;
    assert_eq!(ttl(store, Kind::Set, "s").await, -1);
}

/// Counterexample 22, on real clocks: the extension was made before the clear, and arrives after the view has gone.
pub async fn an_extension_that_arrives_late_revives_the_key(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    write(a, Kind::String, "k", set_for("v", 1500)).await.unwrap();
    assign(a, Kind::Hash, "h", &[("f", "1"), ("g", "2")]).await;
    expire(a, Kind::Hash, "h", Expiry::In(1500)).await;
    carry(a, b, 0).await;
    assert!(expire(b, Kind::String, "k", Expiry::In(500_000)).await);
    assert!(expire(b, Kind::Hash, "h", Expiry::In(500_000)).await);
    gone(a, Kind::String, "k").await;
    gone(a, Kind::Hash, "h").await;
    carry(b, a, 0).await;
    for store in [a, b] {
        assert_eq!(get(store, "k").await, "v");
        assert_eq!(read(store, Kind::Hash, "h", Query::Count).await, Reply::Int(2));
        assert!(ttl(store, Kind::String, "k").await > 100_000);
        assert!(ttl(store, Kind::Hash, "h").await > 100_000);
    }
    assert_eq!(a.sweep(0, Duration::ZERO, 10).await.unwrap(), 0);
}

//! Expiry: a removal that someone writes down.

use super::*;

const SECOND: u64 = 1_000_000;

fn set_for(value: &'static str, millis: i64) -> Mutation {
    Mutation::Assign(Assignment {
        entries: vec![(Bytes::new(), value.into())],
        retention: Retention::Set(Expiry::In(millis)),
        ..Assignment::default()
    })
}

fn expire(millis: i64) -> Mutation {
    Mutation::Expire(Expiry::In(millis))
}

// 22. SET at A for 60 s; cut; B: EXPIRE one day at 30 s; A's clock passes 60 s, and its view is gone; heal. One answer
// everywhere, and it is B's: expiry is a removal that someone writes down, and nobody had yet.
#[test]
fn n22_an_extension_that_arrives_before_the_clear_revives_the_key_everywhere() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.act(0, &k, &set_for("x", 60_000));
    b.pull(&mut a);
    b.act(30 * SECOND, &k, &expire(86_400_000));
    assert_eq!(a.partition.view(&k, v(61 * SECOND)), View::Absent);
    let within_grace = a.act(63 * SECOND, &k, &Mutation::Sweep { grace: 5_000 });
    assert_eq!(within_grace, Outcome::Cleared { existed: false, previous: None });
    a.pull(&mut b);
    let extended = a.act(66 * SECOND, &k, &Mutation::Sweep { grace: 5_000 });
    assert_eq!(extended, Outcome::Cleared { existed: false, previous: None });
    exchange(&mut [&mut a, &mut b]);
    let day = 86_400 * 1000 + v(30 * SECOND).as_millis();
    for server in [&a, &b] {
        assert_eq!(server.partition.view(&k, v(67 * SECOND)), View::String("x".into()));
        assert_eq!(server.partition.expires_at(&k), Some(day));
    }
}

// 22, continued: the clear was written before the extension arrived. It removed the value that B had only extended, so
// the key is gone, in all regions alike.
#[test]
fn n22_a_clear_concurrent_with_an_extension_is_one_answer_everywhere() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.act(0, &k, &set_for("x", 60_000));
    b.pull(&mut a);
    b.act(30 * SECOND, &k, &expire(86_400_000));
    a.act(66 * SECOND, &k, &Mutation::Sweep { grace: 5_000 });
    exchange(&mut [&mut a, &mut b]);
    for server in [&a, &b] {
        assert_eq!(server.partition.view(&k, v(67 * SECOND)), View::Absent);
        assert_eq!(server.partition.expires_at(&k), None);
    }
}

// 23. A's copy is gone, B's clock is behind and does INCRBY 1: never "1 without an expiry" in one region only.
#[test]
fn n23_an_increment_on_a_slow_clock_ends_alike_in_all_regions() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.act(0, &k, &set_for("5", 10_000));
    b.pull(&mut a);
    a.act(16 * SECOND, &k, &Mutation::Sweep { grace: 5_000 });
    b.incr(9 * SECOND, &k, 1); // B still sees 5 with an expiry
    exchange(&mut [&mut a, &mut b]);
    for at in [9, 11, 17, 100].map(|s| v(s * SECOND)) {
        assert_eq!(a.partition.view(&k, at), b.partition.view(&k, at));
    }
    assert_eq!(a.partition.expires_at(&k), b.partition.expires_at(&k));
}

// 24. A: expired, writes 1. B: extended, concurrently. Both end on the same value and expiry.
#[test]
fn n24_a_write_after_expiry_and_a_concurrent_extension_end_alike() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.act(0, &k, &set_for("5", 10_000));
    b.pull(&mut a);
    assert_eq!(a.incr(11 * SECOND, &k, 1), Outcome::Sum("1".into()), "an expired value counts as absent");
    b.act(9 * SECOND, &k, &expire(60_000));
    exchange(&mut [&mut a, &mut b]);
    for server in [&a, &b] {
        assert_eq!(server.partition.view(&k, v(20 * SECOND)), View::String("1".into()));
        assert_eq!(server.partition.expires_at(&k), Some(v(69 * SECOND).as_millis()));
    }
}

// 25. An expiry left over without data (A removed the value, B extended it concurrently) never kills a new value.
#[test]
fn n25_an_expiry_left_over_without_data_is_cleared_by_the_next_write() {
    let k = string("k");
    let left_over = || {
        let (mut a, mut b) = two();
        a.set(0, &k, "x");
        b.pull(&mut a);
        b.act(1, &k, &expire(10_000));
        a.act(2, &k, &DEL);
        exchange(&mut [&mut a, &mut b]);
        assert_eq!((a.partition.view(&k, v(3)), a.partition.expires_at(&k)), (View::Absent, None));
        (a, b)
    };
    let keep = |presence| {
        let entries = vec![(Bytes::new(), "new".into())];
        Mutation::Assign(Assignment { entries, presence, ..Assignment::default() })
    };
    for write in [add("", Amount::Integer(1)), keep(Presence::Any), keep(Presence::Absent)] {
        let (mut a, mut b) = left_over();
        a.act(5, &k, &write);
        exchange(&mut [&mut a, &mut b]);
        for server in [&a, &b] {
            assert_ne!(server.partition.view(&k, v(3600 * SECOND)), View::Absent, "{write:?}");
            assert_eq!(server.partition.expires_at(&k), None);
        }
    }
    // A condition that is not met finds no key, and the sweeper takes what is left at its time.
    let (mut a, _) = left_over();
    let Outcome::Assigned { assigned, .. } = a.act(5, &k, &keep(Presence::Present)) else { panic!("no assignment") };
    assert_eq!(assigned, 0);
    let (mut a, _) = left_over();
    assert_eq!(
        a.act(20 * SECOND, &k, &Mutation::Sweep { grace: 0 }),
        Outcome::Cleared { existed: true, previous: None }
    );
    assert_eq!(a.act(6, &k, &expire(1)), Outcome::Expiry(false));
}

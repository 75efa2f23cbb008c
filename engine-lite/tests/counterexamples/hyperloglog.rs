//! HyperLogLogs.

use archipelago_engine::{Assign, Batch, Cell, Delta};

use super::*;

fn hll(name: &'static str) -> Key {
    Key::new(Kind::HyperLogLog, name)
}

fn count(server: &Server, key: &Key) -> Option<u64> {
    match server.partition.view(key, v(0)) {
        View::HyperLogLog(registers) => Some(registers.count()),
        View::Absent => None,
        other => panic!("{other:?}"),
    }
}

// 28. A union that the removal has not seen holds what it removed: by its version it would win.
#[test]
fn n28_a_removal_wins_over_a_concurrent_addition_with_a_higher_version() {
    let (mut a, mut b) = two();
    let k = hll("k");
    a.act(10, &k, &observe("x"));
    b.pull(&mut a);
    a.act(20, &k, &DEL);
    b.act(30, &k, &observe("y"));
    assert_eq!((count(&a, &k), count(&b, &k)), (None, Some(2)));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((count(&a, &k), count(&b, &k)), (None, None));
    // What was removed is absent, and whoever adds next begins anew.
    assert_eq!(a.act(40, &k, &DEL), Outcome::Cleared { existed: false, previous: None });
    assert_eq!(b.act(50, &k, &observe("z")), Outcome::Observed(true));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((count(&a, &k), count(&b, &k)), (Some(1), Some(1)));
}

// 28, continued: two removals are one epoch, so what follows either of them stays.
#[test]
fn n28_what_is_added_after_one_of_two_concurrent_removals_stays() {
    let (mut a, mut b, mut c) = three();
    let k = hll("k");
    a.act(10, &k, &observe("x"));
    exchange(&mut [&mut a, &mut b, &mut c]);
    a.act(20, &k, &DEL);
    a.act(21, &k, &observe("y"));
    b.act(90, &k, &DEL);
    c.act(95, &k, &observe("z"));
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!([&a, &b, &c].map(|server| count(server, &k)), [Some(1); 3]);
}

#[test]
fn concurrent_additions_are_a_union_and_an_old_one_counts_once() {
    let (mut a, mut b) = two();
    let k = hll("k");
    a.act(10, &k, &observe("x"));
    b.act(10, &k, &observe("x"));
    b.act(11, &k, &observe("y"));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((count(&a, &k), count(&b, &k)), (Some(2), Some(2)));
    let before = a.partition.clone();
    assert_eq!(a.act(20, &k, &observe("y")), Outcome::Observed(false));
    assert_eq!(a.partition, before, "what changes no register writes nothing");
}

#[test]
fn an_expired_one_begins_anew_and_leaves_nothing_of_the_old_elsewhere() {
    let (mut a, mut b) = two();
    let k = hll("k");
    a.act(10, &k, &observe("x"));
    a.act(11, &k, &Mutation::Expire(Expiry::In(1)));
    exchange(&mut [&mut a, &mut b]);
    b.act(500, &k, &observe("y"));
    assert_eq!(a.act(5_000, &k, &observe("z")), Outcome::Observed(true));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((count(&a, &k), count(&b, &k)), (Some(1), Some(1)));
    assert_eq!(a.partition.expires_at(&k), None);
}

// Bytes of a peer are bytes of whoever wrote there: a join takes them, and they show nothing.
#[test]
fn registers_that_cannot_be_read_join_and_count_as_none() {
    let (mut a, mut b) = two();
    let k = hll("k");
    a.act(10, &k, &observe("x"));
    b.pull(&mut a);
    let origin = a.partition.origin().unwrap();
    let at = b.cursor(&a).unwrap();
    for (n, payload) in
        [&b"\0\0\0\0\0\0HYLL"[..], b"", b"\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\0\x02rubbish"].into_iter().enumerate()
    {
        let mut b = b.clone();
        let assign = Some(Assign { version: v(100), payload: Bytes::from_static(payload) });
        let mut delta = Delta::new(k.clone());
        delta.fields.insert(Field::VALUE, [(origin.clone(), Cell { assign, ..Cell::default() })].into_iter().collect());
        let batch = Batch {
            origin: origin.clone(),
            from: at.number,
            to: at.number + 1,
            id: v(100),
            applied: v(100),
            epoch: 1,
            deltas: vec![delta],
            vector: None,
            aside: Vec::new(),
        };
        assert!(matches!(b.partition.join(b.history, v(0), MAX_SKEW, &batch), Ok(JoinReply::Applied(_))));
        assert_eq!(count(&b, &k), None, "payload {n}");
        assert_eq!(b.act(200, &k, &DEL), Outcome::Cleared { existed: false, previous: None });
        b.act(300, &k, &observe("y"));
        assert_eq!(count(&b, &k), Some(1), "payload {n}");
    }
}

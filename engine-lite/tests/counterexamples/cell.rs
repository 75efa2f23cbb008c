//! The cell: runs, repeated members, versions issued twice, joins that never refuse, ties.

use super::*;

// 1. A: INCRBY 100, DEL; A collects the dead cell and begins again with 3. A plain running sum shows -97 for ever.
#[test]
fn n01_a_counter_begins_a_new_run_after_it_was_removed() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.incr(1, &k, 100);
    a.act(2, &k, &DEL);
    b.pull(&mut a);
    a.incr(3, &k, 3);
    b.pull(&mut a);
    assert_eq!((a.text(&k), b.text(&k)), (Some("3".into()), Some("3".into())));
    // What a region sees that collected the base, or one that never collects.
    let own = a.partition.origin().unwrap();
    let cell = a.partition.key(&k).unwrap().fields[&Field::VALUE].cells.get(&own).unwrap().clone();
    assert_eq!(archipelago_engine::Cell { base: None, ..cell }.contribution(), Some(3.0));
}

// 1, continued: rounding and overflow do not outlive a removal either.
#[test]
fn n01_fractions_huge_scores_and_huge_sums_begin_afresh_after_a_removal() {
    let (mut a, _) = two();
    let (f, z, n) = (string("f"), Key::new(Kind::SortedSet, "z"), string("n"));
    for at in 1..=3 {
        a.act(at, &f, &add("", Amount::Float(0.1)));
    }
    a.act(4, &f, &DEL);
    assert_eq!(a.act(5, &f, &add("", Amount::Float(0.1))), Outcome::Sum("0.1".into()));
    a.act(6, &z, &add("m", Amount::Float(1e16)));
    a.act(7, &z, &remove("m"));
    assert_eq!(a.act(8, &z, &add("m", Amount::Float(1.0))), Outcome::Sum("1".into()));
    a.incr(9, &n, 9_000_000_000_000_000);
    a.act(10, &n, &DEL);
    assert_eq!(a.incr(11, &n, 9_000_000_000_000_000), Outcome::Sum("9000000000000000".into()));
}

// 2. Every cell change takes its own version: of a member that one write names twice the second wins, nothing dies.
#[test]
fn n02_a_member_named_twice_in_one_write_keeps_its_second_value() {
    let (mut a, mut b) = two();
    let (z, h, s, k) =
        (Key::new(Kind::SortedSet, "z"), Key::new(Kind::Hash, "h"), Key::new(Kind::Set, "s"), string("k"));
    a.act(1, &z, &assign(&[("m", "1"), ("m", "2")]));
    a.act(1, &h, &assign(&[("f", "1"), ("f", "2")]));
    a.act(1, &s, &assign(&[("a", ""), ("a", "")]));
    a.set(1, &k, "1");
    a.set(1, &k, "2"); // in the same microsecond
    b.pull(&mut a);
    for server in [&a, &b] {
        let view = |key| server.partition.view(key, v(2));
        assert_eq!(view(&z), View::SortedSet(vec![("m".into(), 2.0)]));
        assert_eq!(view(&h), View::Hash(vec![("f".into(), "2".into())]));
        assert_eq!(view(&s), View::Set(vec!["a".into()]));
        assert_eq!(server.text(&k).as_deref(), Some("2"));
    }
}

// 3. State lost behind the back of the history check: one version is issued twice, with two payloads, and each reaches
// another peer. `applied` covers the version at all of them; they still have to end on the same one, and say so.
#[test]
fn n03_a_version_issued_twice_ends_as_one_everywhere_and_is_reported() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    let mut twin = a.clone();
    a.set(5, &k, "one");
    twin.set(5, &k, "two");
    b.pull(&mut a);
    c.pull(&mut twin);
    assert_eq!((b.text(&k).as_deref(), c.text(&k).as_deref()), (Some("one"), Some("two")));
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(server.text(&k).as_deref(), Some("two"));
    }
    let reported = |s: &Server| s.partition.sync_state().conflicts;
    assert!(reported(&a) + reported(&b) + reported(&c) > 0);
}

// 4. A join never refuses. What does not fit is settled by the rule, and the next local command answers the error.
#[test]
fn n04_a_sum_meets_a_word_and_the_word_is_shown_until_a_number_is_set() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.incr(1, &k, 5);
    b.set(2, &k, "abc");
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((a.text(&k).as_deref(), b.text(&k).as_deref()), (Some("abc"), Some("abc")));
    let before = a.partition.clone();
    let refused = a.try_do(v(3), &k, &add("", Amount::Integer(1)));
    assert_eq!(refused, Err(Refusal::Mutation(MutationError::NotAnInteger)));
    assert_eq!(a.partition, before);
    a.set(4, &k, "1");
    a.incr(5, &k, 1);
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(b.text(&k).as_deref(), Some("2"));
}

#[test]
fn n04_two_sums_too_large_together_are_joined_and_the_next_increment_overflows() {
    let (mut a, mut b) = two();
    let k = string("k");
    for server in [&mut a, &mut b] {
        server.incr(1, &k, 9_000_000_000_000_000);
    }
    exchange(&mut [&mut a, &mut b]);
    for server in [&mut a, &mut b] {
        assert_eq!(server.text(&k).as_deref(), Some("18000000000000000"));
        assert!(server.partition.sync_state().inexact > 0);
        for amount in [1, -1] {
            let refused = server.try_do(v(9), &k, &add("", Amount::Integer(amount)));
            assert_eq!(refused, Err(Refusal::Mutation(MutationError::Overflow)));
        }
    }
}

// 4, at the bound: 2^53 + 1 rounds to 2^53, so the increment looked as if it fitted, and moved nothing.
#[test]
fn n04_an_increment_past_the_last_exact_integer_overflows() {
    let (mut a, _) = two();
    let k = string("k");
    let mut expect = |value: &'static str, amount, expected: Result<&'static str, MutationError>| {
        a.set(1, &k, value);
        let sum = a.try_do(v(2), &k, &add("", Amount::Integer(amount)));
        assert_eq!(sum, expected.map(|s| Outcome::Sum(s.into())).map_err(Refusal::Mutation), "{value} + {amount}");
    };
    expect("9007199254740991", 1, Ok("9007199254740992"));
    expect("9007199254740992", 1, Err(MutationError::Overflow));
    expect("9007199254740992", -1, Ok("9007199254740991"));
    expect("-9007199254740992", -1, Err(MutationError::Overflow));
    expect("9007199254740993", -5, Err(MutationError::Overflow)); // no double holds it
    expect("0", 9_007_199_254_740_993, Err(MutationError::Overflow));
    expect("9223372036854775808", 1, Err(MutationError::NotAnInteger));
}

// 5. Two incarnations of one region may carry one version: region id decides, then incarnation.
#[test]
fn n05_equal_versions_are_settled_by_region_and_then_incarnation() {
    let origin = |region: &str, i| Origin::new(region.parse().unwrap(), Incarnation::new(i));
    let mut cells = Cells::default();
    for (region, incarnation, value) in [("b", 1, "b1"), ("a", 9, "a9"), ("a", 2, "a2")] {
        cells.insert(origin(region, incarnation), {
            let mut cell = archipelago_engine::Cell::default();
            cell.assign(v(5), Bytes::from(value));
            cell
        });
    }
    assert_eq!(cells.winner(), Some((&origin("a", 2), &Bytes::from("a2"))));
}

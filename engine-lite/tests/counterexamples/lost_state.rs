//! Lost state: promotions, flushes, backups, and what peers give back.

use super::*;

// 6. Replica Q stands at 7. Clients of P count on to 10, and B has it. Q is promoted; P is attached to Q and promoted
// again. The next increment must not pull B from 10 to 8.
#[test]
fn n06_a_promoted_replica_counts_on_without_taking_from_its_peers() {
    let (mut p, mut b) = two();
    let k = string("k");
    p.incr(1, &k, 7);
    b.pull(&mut p);
    let mut q = p.under("promoted");
    p.incr(2, &k, 3);
    b.pull(&mut p);
    assert_eq!(q.try_do(v(3), &k, &add("", Amount::Integer(1))), Err(Refusal::Stale(Stale)));
    assert_eq!(q.text(&k).as_deref(), Some("7"));
    q.open(2, v(3));
    assert_eq!(q.incr(3, &k, 1), Outcome::Sum("8".into()));
    b.pull(&mut q);
    assert_eq!(b.text(&k).as_deref(), Some("11"));
    // P holds Q's data now, under a third history; nobody wrote there in between.
    let mut p = q.under("promoted again");
    p.open(3, v(4));
    p.incr(5, &k, 1);
    exchange(&mut [&mut p, &mut b]);
    assert_eq!((p.text(&k).as_deref(), b.text(&k).as_deref()), (Some("12"), Some("12")));
}

// 6, continued: FLUSHALL changes no identity of the server, but it takes the record along.
#[test]
fn n06_a_flushed_server_is_stale_and_gets_everything_back() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.incr(1, &k, 7);
    b.pull(&mut a);
    let mut a = Server { partition: Partition::new("a".parse().unwrap()), history: "first" };
    assert_eq!(a.try_do(v(2), &k, &add("", Amount::Integer(1))), Err(Refusal::Stale(Stale)));
    a.open(2, v(2));
    a.incr(3, &k, 1);
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(a.text(&k).as_deref(), Some("8"));
}

// 7. A connection opened to a replica survives its promotion: its next write, join, log read and resync are stale.
#[test]
fn n07_nothing_is_done_on_a_history_that_is_not_the_one_on_record() {
    let (a, mut b) = two();
    let mut q = a.under("promoted");
    let before = q.partition.clone();
    let slice = b.partition.log_after(b.history, Version::ZERO, 10).unwrap();
    let any = batch(&slice, Cursor::start(Incarnation::new(1))).unwrap();
    let plan = b.partition.begin_resync(b.history, v(1), None).unwrap();
    let (history, region) = (q.history, "b".parse::<RegionId>().unwrap());
    assert_eq!(q.try_do(v(1), &string("k"), &Mutation::set("x")), Err(Refusal::Stale(Stale)));
    assert_eq!(q.partition.join(history, v(1), MAX_SKEW, &any), Err(Stale));
    assert_eq!(q.partition.log_after(history, Version::ZERO, 1), Err(Stale));
    assert_eq!(q.partition.publish_vector(history, v(1)), Err(Stale));
    assert_eq!(q.partition.begin_resync(history, v(1), None), Err(Stale));
    assert_eq!(q.partition.start_resync(history, &plan), Err(ResyncError::Stale(Stale)));
    assert_eq!(q.partition.complete_resync(history, &plan), Err(ResyncError::Stale(Stale)));
    let cursor = Cursor::start(Incarnation::new(1));
    assert_eq!(q.partition.acknowledge(history, &region, cursor, std::slice::from_ref(&region), 0), Err(Stale));
    assert_eq!(q.partition, before);
}

// 8. A region restored from yesterday's file reuses neither yesterday's incarnation nor its versions.
#[test]
fn n08_a_restored_backup_takes_a_new_incarnation_and_gets_its_own_tail_back() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.incr(1, &k, 1);
    let backup = a.clone();
    let old = a.partition.origin().unwrap();
    a.incr(2, &k, 10);
    b.pull(&mut a);
    let mut a = backup.under("restored");
    let new = a.open(2, v(1));
    assert_ne!(old, new);
    a.incr(2, &k, 100); // at the very clock reading of the lost write
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((a.text(&k).as_deref(), b.text(&k).as_deref()), (Some("111"), Some("111")));
    assert_eq!(b.partition.sync_state().conflicts, 0);
}

// 8, continued: one file restored twice, on a clock set back, gives two incarnations one opening number.
#[test]
fn n08_a_second_restore_of_one_file_finds_a_number_above_the_first() {
    let (a, mut b) = two();
    let early = Version::from_micros(1);
    let mut first = a.under("restored");
    first.open(2, early);
    b.resync(&mut first);
    let mut second = a.under("restored again");
    second.open(3, early);
    let plan = second.partition.begin_resync(second.history, v(1), None).unwrap();
    let Err(ResyncError::Superseded(floor)) = b.partition.start_resync(b.history, &plan) else { panic!("accepted") };
    let record = second.partition.open(second.history, Incarnation::new(4), floor, early);
    assert_eq!(record.incarnation, Incarnation::new(4));
    b.resync(&mut second);
}

// 9. B: SET 100 having seen x1's 5. Nobody folds x1's 5 into x2: it must show 100, not 105.
#[test]
fn n09_what_an_overwrite_saw_of_an_old_incarnation_stays_overwritten() {
    let (mut x, mut b) = two();
    let k = string("k");
    x.incr(1, &k, 5);
    b.pull(&mut x);
    x.history = "restarted";
    x.open(2, v(2));
    b.set(3, &k, "100");
    exchange(&mut [&mut x, &mut b]);
    assert_eq!((x.text(&k).as_deref(), b.text(&k).as_deref()), (Some("100"), Some("100")));
    x.incr(4, &k, 1);
    exchange(&mut [&mut x, &mut b]);
    assert_eq!(b.text(&k).as_deref(), Some("101"));
}

// 10. x loses a tail that B had pulled, and gets it back from B.
#[test]
fn n10_a_lost_tail_comes_back_from_a_peer_that_had_it() {
    let (mut x, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    let old = x.clone();
    x.act(1, &s, &assign(&[("lost", "")]));
    b.pull(&mut x);
    let mut x = old.under("restarted");
    x.open(2, v(2));
    x.pull(&mut b);
    assert_eq!(x.partition.view(&s, v(3)), View::Set(vec!["lost".into()]));
}

// 10, continued: C is pulled by B only and dies for good. A gets C's writes from B.
#[test]
fn n10_the_writes_of_a_dead_region_are_relayed_by_the_one_that_has_them() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    c.set(1, &k, "last words");
    b.pull(&mut c);
    drop(c);
    a.pull(&mut b); // B's log does not hold C's writes
    assert_eq!(a.text(&k), None);
    a.resync(&mut b);
    assert_eq!(a.text(&k).as_deref(), Some("last words"));
}

//! Removals and membership, as far as they can be told before tombstones are collected.

use super::*;

// 17. (Without collection yet.) O assigns e; A has it, the link O to B is cut. A removes e and B applies that. The link
// heals and O's log delivers the assignment to B: e stays removed.
#[test]
fn n17_a_removal_that_arrives_before_what_it_removed_still_removes_it() {
    let (mut a, mut b, mut o) = three();
    let s = Key::new(Kind::Set, "s");
    o.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut o);
    a.act(2, &s, &remove("e"));
    b.pull(&mut a);
    b.pull(&mut o);
    assert_eq!(b.partition.view(&s, v(3)), View::Absent);
    exchange(&mut [&mut a, &mut b, &mut o]);
    assert_eq!(o.partition.view(&s, v(3)), View::Absent);
}

// 18. (Without collection yet.) A paused driver read e before its removal and delivers it after.
#[test]
fn n18_a_paused_driver_brings_nothing_back() {
    let (mut a, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", "")]));
    let at = b.cursor(&a).unwrap();
    let paused = batch(&a.partition.log_after(a.history, at.id, 10).unwrap(), at).unwrap();
    a.act(2, &s, &remove("e"));
    b.pull(&mut a);
    let before = b.partition.clone();
    assert!(matches!(b.partition.join(b.history, v(3), MAX_SKEW, &paused), Ok(JoinReply::Known(_))));
    assert_eq!(b.partition, before);
}

// 19. (Without collection yet.) A applied the removal, then loses a second of its data: e must not stay alive at A.
#[test]
fn n19_a_region_that_lost_a_removal_hears_of_it_again() {
    let (mut a, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    b.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut b);
    let old = a.clone();
    b.act(2, &s, &remove("e"));
    a.pull(&mut b);
    let mut a = old.under("restarted");
    a.open(2, v(3));
    a.pull(&mut b);
    assert_eq!(a.partition.view(&s, v(4)), View::Absent);
    // And a removal of its own that only its peer still knows of.
    a.act(5, &s, &assign(&[("f", "")]));
    b.pull(&mut a);
    let old = a.clone();
    a.act(6, &s, &remove("f"));
    b.pull(&mut a);
    let mut a = old.under("restarted again");
    a.open(3, v(7));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(a.partition.view(&s, v(8)), View::Absent);
}

// 20. (Without membership yet.) A region that joins late copies e; its removal follows by log.
#[test]
fn n20_what_is_removed_after_a_region_copied_it_is_removed_there() {
    let mut a = Server::new("a");
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", ""), ("f", "")]));
    let mut b = Server::new("b");
    b.resync(&mut a);
    a.act(2, &s, &remove("e"));
    b.pull(&mut a);
    assert_eq!(b.partition.view(&s, v(3)), View::Set(vec!["f".into()]));
}

// 21. (Without membership yet.) What another epoch sends changes nothing.
#[test]
fn n21_a_batch_or_plan_of_another_epoch_is_refused() {
    let (mut a, mut b) = two();
    a.set(1, &string("k"), "x");
    let at = b.cursor(&a).unwrap();
    let mut old = batch(&a.partition.log_after(a.history, at.id, 10).unwrap(), at).unwrap();
    old.epoch += 1;
    let mut plan = a.partition.begin_resync(a.history, v(2), None).unwrap();
    plan.epoch += 1;
    let before = b.partition.clone();
    assert_eq!(b.partition.join(b.history, v(2), MAX_SKEW, &old), Ok(JoinReply::Epoch(1)));
    assert_eq!(b.partition.start_resync(b.history, &plan), Err(ResyncError::Epoch(1)));
    assert_eq!(b.partition, before);
}

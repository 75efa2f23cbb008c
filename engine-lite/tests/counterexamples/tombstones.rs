//! Removals, what is left of them and when that goes; membership, as far as it exists.

use super::*;

// 17. O assigns e; A has it, the link O to B is cut. A removes e; B and O apply the removal; all members know it, and A and O
// have what they waited for. B must not forget the removal before it has O's assignment: the link heals, O's log delivers
// it, and e stays removed.
#[test]
fn n17_a_removal_outlives_the_link_that_still_has_to_deliver_what_it_removed() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    c.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut c);
    a.act(2, &s, &remove("e"));
    for round in 3..9 {
        for server in [&mut a, &mut b, &mut c] {
            assert_eq!(server.collect(round), 0, "the assignment is still on its way to b");
            server.partition.republish_vector(server.history, v(round)).unwrap();
        }
        a.pull(&mut b);
        a.pull(&mut c);
        b.pull(&mut a);
        c.pull(&mut a);
        c.pull(&mut b);
    }
    assert_eq!((a.cells(&s), b.cells(&s)), (1, 1));
    b.pull(&mut c);
    assert_eq!(b.partition.view(&s, v(9)), View::Absent);
    collect_all(&mut [&mut a, &mut b, &mut c], 10);
    assert_eq!((a.cells(&s), b.cells(&s), c.cells(&s)), (0, 0, 0));
    assert_eq!(a.partition.keys().count(), 0, "a key without cells is no key");
}

// 18. A paused driver, and a walk that was read before the removal, deliver e after everything of it was collected.
#[test]
fn n18_what_was_read_before_a_removal_brings_nothing_back_after_its_collection() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", "")]));
    let at = b.cursor(&a).unwrap();
    let paused = batch(&a.partition.log_after(a.history, at.id, 10).unwrap(), at).unwrap();
    c.pull(&mut a);
    let plan = c.partition.begin_resync(c.history, v(1), None).unwrap();
    let late = c.partition.walk(c.history, &plan, &Bytes::new(), 10).unwrap();
    assert_eq!(late.deltas.len(), 1);
    b.partition.start_resync(b.history, &plan).unwrap();
    a.act(2, &s, &remove("e"));
    collect_all(&mut [&mut a, &mut b, &mut c], 3);
    assert_eq!((a.cells(&s), b.cells(&s), c.cells(&s)), (0, 0, 0));
    assert!(matches!(b.partition.join(b.history, v(4), MAX_SKEW, &paused), Ok(JoinReply::Known(_))));
    b.partition.apply_slice(b.history, &plan, &late).unwrap();
    b.partition.complete_resync(b.history, &plan).unwrap();
    assert_eq!((b.cells(&s), b.partition.view(&s, v(5))), (0, View::Absent));
}

// 19. A applied the removal, it is collected everywhere, and A loses a second of its data: e must not stay alive at A,
// although nobody holds anything of it any more.
#[test]
fn n19_a_region_that_lost_a_removal_hears_of_it_after_its_collection() {
    let (mut a, mut b, mut c) = three();
    let (s, k) = (Key::new(Kind::Set, "s"), string("k"));
    b.act(1, &s, &assign(&[("e", "")]));
    b.incr(2, &k, 5);
    a.pull(&mut b);
    let old = a.clone();
    b.act(3, &s, &remove("e"));
    c.pull(&mut b);
    c.act(4, &k, &DEL);
    collect_all(&mut [&mut a, &mut b, &mut c], 5);
    assert_eq!((a.cells(&s), b.cells(&s), c.cells(&s), b.cells(&k)), (0, 0, 0, 0));
    let mut a = old.under("restarted");
    a.open(2, v(6));
    assert_eq!(a.text(&k).as_deref(), Some("5"));
    a.pull(&mut b);
    assert_eq!((a.partition.view(&s, v(7)), a.text(&k)), (View::Absent, None));
    collect_all(&mut [&mut a, &mut b, &mut c], 8);
    assert_eq!((a.cells(&s), a.cells(&k), c.cells(&s)), (0, 0, 0));
}

// 19, continued. A takes what it lost from C, which has not heard of the removal, while B, which has collected it, walks.
#[test]
fn n19_two_resyncs_at_once_bring_nothing_back_behind_each_other() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    let old = a.clone();
    b.act(1, &s, &assign(&[("e", ""), ("f", "")]));
    c.pull(&mut b);
    let mut unheard = c.clone();
    b.act(2, &s, &remove("e"));
    collect_all(&mut [&mut a, &mut b, &mut c], 3);
    let mut a = old.under("restarted");
    a.open(2, v(4));
    // C's part of the walk was read before it heard of the removal.
    let from_c = unheard.partition.begin_resync(unheard.history, v(4), None).unwrap();
    let late = unheard.partition.walk(unheard.history, &from_c, &Bytes::new(), 10).unwrap();
    let from_b = b.partition.begin_resync(b.history, v(4), None).unwrap();
    let walked = b.partition.walk(b.history, &from_b, &Bytes::new(), 10).unwrap();
    a.partition.start_resync(a.history, &from_c).unwrap();
    a.partition.start_resync(a.history, &from_b).unwrap();
    a.partition.apply_slice(a.history, &from_b, &walked).unwrap();
    a.partition.apply_slice(a.history, &from_c, &late).unwrap();
    a.partition.complete_resync(a.history, &from_b).unwrap();
    assert_eq!(a.partition.view(&s, v(5)), View::Set(vec!["f".into()]));
}

// 19, by way of a region that begins anew. B applied the removal and then lost everything; A collects what it waited for and
// walks every key for B, so that B holds no trace of e. C goes back to a copy in which e lives and which has had all of B
// but the changes since: none of s. B's vector covers the removal, and C would have taken that for its own.
#[test]
fn n19_whoever_was_walked_through_by_a_collector_tells_as_much_as_it() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", "")]));
    b.pull(&mut a);
    c.pull(&mut a);
    a.act(2, &s, &remove("e"));
    assert_eq!(a.collect(3), 0, "nobody else has heard of the removal");
    b.pull(&mut a);
    b.partition.republish_vector(b.history, v(3)).unwrap();
    a.pull(&mut b);
    let mut b = Server::new("b").under("begun anew");
    b.open(2, v(4));
    c.resync(&mut b);
    let old = c.clone();
    c.pull(&mut a);
    c.partition.republish_vector(c.history, v(5)).unwrap();
    a.pull(&mut c);
    assert_eq!(a.collect(6), 1, "by what B said before it lost everything");
    b.resync(&mut a);
    let mut c = old.under("restarted");
    c.open(3, v(6));
    assert_eq!(c.partition.view(&s, v(6)), View::Set(vec!["e".into()]));
    c.resync(&mut b);
    assert_eq!(c.partition.view(&s, v(7)), View::Absent);
}

// What nobody holds any more blocks nothing for ever: B overwrote what A wrote and lost before anybody else had it.
#[test]
fn a_closed_incarnation_that_nobody_holds_wholly_is_settled_when_something_waits_for_it() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    let before = (a.clone(), b.clone());
    a.set(100, &k, "lost");
    b.pull(&mut a);
    b.act(101, &k, &DEL);
    c.pull(&mut b);
    let closed = a.partition.origin().unwrap();
    let (mut a, mut b) = (before.0.under("restarted"), before.1.under("restarted"));
    a.open(2, v(102));
    b.open(3, v(102));
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert!(c.partition.sync_state().applied[&closed] < v(100), "c has met a write of a that nobody holds");
    let mut settled = Vec::new();
    for round in 103..106 {
        collect_all(&mut [&mut a, &mut b, &mut c], round);
        settled.push(c.partition.sync_state().applied[&closed]);
        // What a relay does for a peer that is ahead.
        a.resync(&mut c);
        b.resync(&mut c);
    }
    assert_eq!(settled.last(), Some(&Version::MAX));
    assert_eq!((a.cells(&k), b.cells(&k), c.cells(&k)), (0, 0, 0));
}

// Rule 2: what a base took away is forgotten only once the origin of the sum has said, behind all that it wrote before, that
// it knows. A counts on without having heard of B's removal; B must not forget it on the word of others.
#[test]
fn a_removed_sum_is_not_forgotten_before_its_origin_has_heard() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    a.incr(1, &k, 5);
    b.pull(&mut a);
    c.pull(&mut a);
    b.act(2, &k, &DEL);
    for round in 3..6 {
        c.pull(&mut b);
        b.pull(&mut c);
        for server in [&mut b, &mut c] {
            assert_eq!(server.collect(round), 0, "a has not heard of the removal");
            server.partition.republish_vector(server.history, v(round)).unwrap();
        }
    }
    a.incr(7, &k, 1);
    b.pull(&mut a);
    assert_eq!(b.text(&k).as_deref(), Some("1"));
    collect_all(&mut [&mut a, &mut b, &mut c], 8);
    assert_eq!((a.text(&k).as_deref(), c.text(&k).as_deref()), (Some("1"), Some("1")));
}

// 20. (Without membership yet: nobody holds anything for it.) A region that joins late copies e; its removal follows by log,
// or, where that was collected and trimmed away meanwhile, by a walk of every key.
#[test]
fn n20_what_is_removed_after_a_region_copied_it_is_removed_there() {
    let mut a = Server::new("a");
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", ""), ("f", "")]));
    let mut b = Server::new("b");
    b.resync(&mut a);
    a.act(2, &s, &remove("e"));
    let late = b.clone();
    b.pull(&mut a);
    assert_eq!(b.partition.view(&s, v(3)), View::Set(vec!["f".into()]));
    // As if nobody knew of it: the removal is collected before it is heard.
    assert_eq!(a.partition.collect(a.history, v(4), &[], 10).unwrap().cells, 1);
    let mut b = late;
    b.resync(&mut a);
    assert_eq!(b.partition.view(&s, v(5)), View::Set(vec!["f".into()]));
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

// A slice of a resync says what its sender has met: a removal leaves no version of its own in a cell, so the cells alone would
// say too little. C hears of a removal by a slice, and must not forget it before B has heard of it, too.
#[test]
fn what_a_slice_removed_is_kept_until_everybody_holds_what_its_sender_had_met() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    b.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut b);
    c.pull(&mut b);
    a.act(2, &s, &remove("e"));
    let removal = a.partition.sync_state().clock;
    let plan = a.partition.begin_resync(a.history, v(3), None).unwrap();
    c.partition.start_resync(c.history, &plan).unwrap();
    let slice = a.partition.walk(a.history, &plan, &Bytes::new(), 10).unwrap();
    c.partition.apply_slice(c.history, &plan, &slice).unwrap();
    assert_eq!((c.partition.view(&s, v(3)), c.cells(&s)), (View::Absent, 1));
    let of_a = a.partition.origin().unwrap();
    assert!(c.partition.standing(c.history, v(3)).unwrap().seen[&of_a] >= removal);
    let members = ["a", "b", "c"].map(|name| name.parse().unwrap());
    let waits = c.partition.collect(c.history, v(4), &members, 10).unwrap().waits;
    let waits_for_b = |wait: &&archipelago_engine::Wait| wait.member == *b.partition.region() && wait.origin == of_a;
    assert!(waits.iter().find(waits_for_b).is_some_and(|wait| wait.needs >= removal), "{waits:?}");
}

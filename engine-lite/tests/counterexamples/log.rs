//! Log and cursor: gaps, batches ahead of the data, late versions, digits.

use super::*;

// 11. A log trimmed to 90, a cursor at 50: reading gives 90 as if nothing were missing. Its number tells.
#[test]
fn n11_a_trimmed_log_is_a_gap_and_not_a_silent_skip() {
    let (mut a, mut b) = two();
    let k = string("k");
    let at = b.cursor(&a).unwrap();
    for i in 1..=50 {
        a.incr(i, &k, 1);
    }
    let members: Vec<RegionId> = ["a", "b"].map(|r| r.parse().unwrap()).to_vec();
    a.partition.acknowledge(a.history, &members[1], at, &members, 10).unwrap();
    let slice = a.partition.log_after(a.history, at.id, 1000).unwrap();
    assert_eq!(slice.entries.len(), 10);
    assert_eq!(batch(&slice, at), None, "the first entry is not the successor");
    // A driver that names the entries it has, rather than those it should have, is answered GAP.
    let first = archipelago_engine::codec::peek_number(&slice.entries[0].bytes).unwrap();
    let late = batch(&slice, Cursor { number: first - 1, ..at }).unwrap();
    let before = b.partition.clone();
    assert_eq!(b.partition.join(b.history, v(60), MAX_SKEW, &late), Ok(JoinReply::Gap(Some(at))));
    assert_eq!(b.partition, before);
    b.pull(&mut a);
    assert_eq!(b.text(&k).as_deref(), Some("50"));
}

// 11, continued: all of it trimmed reads as nothing new, and a regressed log whose ids lie below the cursor would
// never be read again. The log's end and its incarnation tell.
#[test]
fn n11_a_log_trimmed_to_nothing_or_begun_anew_is_a_gap_too() {
    let (mut a, mut b) = two();
    let k = string("k");
    let old = a.clone();
    a.incr(1, &k, 1);
    let at = b.cursor(&a).unwrap();
    let everyone: Vec<RegionId> = ["a", "b"].map(|r| r.parse().unwrap()).to_vec();
    a.partition.acknowledge(a.history, &everyone[1], at, &everyone, 0).unwrap();
    let slice = a.partition.log_after(a.history, at.id, 10).unwrap();
    assert!(slice.entries.is_empty() && slice.end > at.number);
    assert_eq!(batch(&slice, at), None);
    b.pull(&mut a);
    assert_eq!(b.text(&k).as_deref(), Some("1"));
    let mut a = old.under("restarted");
    a.open(2, Version::from_micros(1)); // its clock was set back, too
    a.incr(0, &k, 5);
    b.pull(&mut a);
    assert_eq!(b.text(&k).as_deref(), Some("6"));
}

// 12. B restarts at its old cursor while a driver holds what follows the new one: 21 to 40 must still come.
#[test]
fn n12_a_batch_ahead_of_the_data_changes_nothing() {
    let (mut a, mut b) = two();
    let k = string("k");
    let piece = |a: &mut Server, from: u64, at: Cursor| {
        for i in from..from + 20 {
            a.incr(i, &k, 1);
        }
        batch(&a.partition.log_after(a.history, at.id, 20).unwrap(), at).unwrap()
    };
    let start = b.cursor(&a).unwrap();
    let one = piece(&mut a, 1, start);
    let join = |b: &mut Server, batch| b.partition.join(b.history, v(99), MAX_SKEW, batch).unwrap();
    let JoinReply::Applied(at_20) = join(&mut b, &one) else { panic!("refused") };
    let old = b.clone();
    let two = piece(&mut a, 21, at_20);
    let JoinReply::Applied(at_40) = join(&mut b, &two) else { panic!("refused") };
    let three = piece(&mut a, 41, at_40);
    // B lost a second of its data without anybody noticing: the cursor went back with it.
    let mut b = old;
    let before = b.partition.clone();
    assert_eq!(join(&mut b, &three), JoinReply::Gap(Some(at_20)));
    assert_eq!(b.partition, before);
    // The slower of two drivers neither sets the cursor back nor skips.
    assert_eq!(join(&mut b, &two), JoinReply::Applied(at_40));
    assert_eq!(join(&mut b, &one), JoinReply::Known(at_40));
    assert_eq!(join(&mut b, &two), JoinReply::Known(at_40));
    let slice = a.partition.log_after(a.history, at_20.id, 100).unwrap();
    let overlapping = batch(&slice, at_20).unwrap();
    assert!(matches!(join(&mut b, &overlapping), JoinReply::Applied(_)));
    assert_eq!(b.text(&k).as_deref(), Some("60"));
}

// 12, continued: a resync that ends after the link went on does not set the cursor back.
#[test]
fn n12_a_slow_resync_leaves_a_cursor_that_is_ahead_of_it() {
    let (mut a, mut b) = two();
    let k = string("k");
    let plan = a.partition.begin_resync(a.history, v(100), None).unwrap();
    b.partition.start_resync(b.history, &plan).unwrap();
    a.incr(200, &k, 1);
    b.pull(&mut a);
    let ahead = b.cursor(&a);
    assert!(ahead.unwrap().number > plan.number);
    b.partition.complete_resync(b.history, &plan).unwrap();
    assert_eq!(b.cursor(&a), ahead);
    assert_eq!(b.partition.complete_resync(b.history, &plan), Err(ResyncError::NotUnderWay), "it ends once");
}

// 12, continued: a step of a resync of a history that is over, at either side, is refused.
#[test]
fn n12_a_new_incarnation_at_either_side_ends_a_resync() {
    let (mut a, mut b) = two();
    a.set(1, &string("k"), "x");
    let plan = a.partition.begin_resync(a.history, v(100), None).unwrap();
    b.partition.start_resync(b.history, &plan).unwrap();
    let slice = a.partition.walk(a.history, &plan, &Bytes::new(), 10).unwrap();
    b.history = "restarted";
    b.open(2, v(200));
    assert_eq!(b.partition.apply_slice(b.history, &plan, &slice), Err(ResyncError::NotUnderWay));
    assert_eq!(b.partition.complete_resync(b.history, &plan), Err(ResyncError::NotUnderWay));
    a.history = "restarted";
    a.open(3, v(200));
    assert_eq!(a.partition.walk(a.history, &plan, &Bytes::new(), 10), Err(ResyncError::NotUnderWay));
}

// 12, continued: no cursor is a gap, not zero.
#[test]
fn n12_the_first_entry_of_a_log_does_not_join_where_no_resync_ever_completed() {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    a.set(1, &string("k"), "x");
    let slice = a.partition.log_after(a.history, Version::ZERO, 10).unwrap();
    let first = batch(&slice, Cursor::start(slice.origin.incarnation)).unwrap();
    assert_eq!(b.partition.join(b.history, v(2), MAX_SKEW, &first), Ok(JoinReply::Gap(None)));
}

// 13. C writes v100 and is cut off; A's cursor on B is 200; B joins C's delta at its local time 300.
#[test]
fn n13_a_resync_ships_old_versions_that_reached_the_sender_late() {
    let (mut a, mut b, mut c) = three();
    let (k, l) = (string("k"), string("l"));
    c.set(100, &k, "early");
    b.set(200, &l, "x");
    a.pull(&mut b);
    a.resync(&mut b);
    b.pull(&mut c);
    a.resync(&mut b);
    assert_eq!(a.text(&k).as_deref(), Some("early"));
}

// 13, continued: a walk in small slices looks at every key once, whatever its kind, and resumes anywhere.
#[test]
fn n13_a_walk_in_slices_sees_every_key_once() {
    let (mut a, _) = two();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.assigns()).collect();
    for kind in kinds.iter().copied() {
        for name in ["", "a", "a:b", "z"] {
            let write = assign(&[("", "1")]);
            a.act(1, &Key::new(kind, name), &write);
        }
    }
    let plan = a.partition.begin_resync(a.history, v(2), None).unwrap();
    for limit in [1, 3, 100] {
        let (mut after, mut seen) = (Bytes::new(), Vec::new());
        while let Some(last) = {
            let slice = a.partition.walk(a.history, &plan, &after, limit).unwrap();
            seen.extend(slice.deltas.iter().map(|delta| delta.key.index_entry()));
            slice.last
        } {
            after = last;
        }
        assert!(seen.len() == 4 * kinds.len() && seen.is_sorted(), "{seen:?}");
    }
    // A position that names no key is a position all the same.
    let slice = a.partition.walk(a.history, &plan, &Bytes::from_static(b"string"), 100).unwrap();
    assert_eq!(slice.walked, 8);
}

// 16. A version has 16 digits: a codec through doubles printed with 14 would lose the last two.
#[test]
fn n16_every_digit_of_a_version_and_a_sum_survives_the_log() {
    let (mut a, mut b) = two();
    let k = string("k");
    a.act(123_457, &k, &add("", Amount::Integer(9_007_199_254_740_991)));
    b.pull(&mut a);
    assert_eq!(cells_of(&a.partition), cells_of(&b.partition));
    let own = a.partition.origin().unwrap();
    let total = b.partition.key(&k).unwrap().fields[&Field::VALUE].cells.get(&own).unwrap().total.unwrap();
    assert_eq!(total.version.as_micros(), 1_790_000_000_123_457);
    assert_eq!(number::show(total.number), "9007199254740991");
}

//! Entries that cannot be read, and clocks that no entry expects: found while these tests were written.

use super::*;

// An entry that cannot be decoded is kept, and `applied` stays below it, so that a resync or an upgrade still brings it.
#[test]
fn an_entry_set_aside_holds_back_applied_until_it_is_recovered_or_resynced() {
    let (mut a, mut b) = two();
    let (k, l) = (string("k"), string("l"));
    let at = b.cursor(&a).unwrap();
    a.set(100, &k, "lost on the way");
    a.set(200, &l, "x");
    let slice = a.partition.log_after(a.history, at.id, 10).unwrap();
    let torn = batch_with(&slice, at, |number| number != at.number + 1).unwrap();
    let own = a.partition.origin().unwrap();
    let mut resynced = b.clone();
    let before = b.partition.sync_state().applied[&own];
    for server in [&mut b, &mut resynced] {
        assert!(matches!(server.partition.join(server.history, v(300), MAX_SKEW, &torn), Ok(JoinReply::Applied(_))));
        assert_eq!((server.text(&k), server.text(&l).as_deref()), (None, Some("x")));
        let state = server.partition.sync_state();
        assert_eq!((state.applied[&own], state.aside[&own]), (before, 1));
    }
    // After an upgrade.
    let aside = b.partition.aside(&own).remove(0);
    let entry = archipelago_engine::codec::decode_entry(&own, aside.id, &aside.bytes).unwrap();
    let archipelago_engine::Body::Data(delta) = entry.body else { panic!("no data") };
    b.partition.recover(b.history, &own, aside.id, Some(&delta)).unwrap();
    assert_eq!(b.text(&k).as_deref(), Some("lost on the way"));
    a.set(400, &l, "y");
    b.pull(&mut a);
    assert_eq!(b.partition.sync_state().applied[&own], v(400));
    // By a resync.
    resynced.resync(&mut a);
    assert_eq!(resynced.text(&k).as_deref(), Some("lost on the way"));
    assert!(resynced.partition.sync_state().aside.is_empty());
}

// An entry that cannot be decoded stood at another id than that of the write it held. With all claimed that came before that id, B
// held A's 5 by its own word and lacked it: behind a restart of B, which resyncs every link, A gave it up.
#[test]
fn an_entry_set_aside_claims_nothing_by_its_id() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    a.incr(100, &k, 5);
    let at = b.cursor(&a).unwrap();
    let slice = a.partition.log_after(a.history, at.id, 10).unwrap();
    let mut torn = batch_with(&slice, at, |_| false).unwrap();
    torn.aside[0].id = torn.aside[0].id.next();
    (torn.id, torn.applied) = (torn.aside[0].id, torn.aside[0].id);
    assert!(matches!(b.partition.join(b.history, v(300), MAX_SKEW, &torn), Ok(JoinReply::Applied(_))));
    let mut b = b.under("restarted");
    b.open(2, v(301));
    a.resync(&mut b);
    b.resync(&mut a);
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(server.text(&k).as_deref(), Some("5"));
    }
}

// A relay brought an entry's cells before the link met the entry and could not decode it. Setting it aside would hold
// `applied` where it is for ever, although nothing is missing.
#[test]
fn an_entry_that_a_relay_brought_already_is_not_set_aside() {
    let (mut a, mut b, mut c) = three();
    let k = string("k");
    let at = b.cursor(&a).unwrap();
    a.set(100, &k, "x");
    c.pull(&mut a);
    b.resync(&mut c);
    assert_eq!(b.text(&k).as_deref(), Some("x"));
    a.set(200, &k, "y");
    let slice = a.partition.log_after(a.history, at.id, 10).unwrap();
    let torn = batch_with(&slice, at, |number| number != at.number + 1).unwrap();
    b.partition.join(b.history, v(300), MAX_SKEW, &torn).unwrap();
    let state = b.partition.sync_state();
    assert_eq!((state.applied[&a.partition.origin().unwrap()], state.aside.len()), (v(200), 0));
    assert_eq!(b.text(&k).as_deref(), Some("y"));
}

// A server that starts without a battery believes in 1970. A log entry tells versions from offsets by their size.
#[test]
fn a_server_whose_clock_starts_in_1970_writes_entries_that_read_back() {
    let mut a = Server { partition: Partition::new("a".parse().unwrap()), history: "first" };
    a.open(1, Version::from_micros(5));
    let k = string("k");
    a.try_do(Version::from_micros(6), &k, &Mutation::set("x")).unwrap();
    let mut b = Server::new("b");
    b.resync(&mut a);
    a.try_do(Version::from_micros(7), &k, &Mutation::set("y")).unwrap();
    b.pull(&mut a);
    assert_eq!(cells_of(&a.partition), cells_of(&b.partition));
    assert_eq!(b.text(&k).as_deref(), Some("y"));
}

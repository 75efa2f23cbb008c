//! Histories that broke earlier drafts of the design, each under its number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use archipelago_engine::{
    Amount, Assignment, Cells, Cursor, Expiry, Field, Incarnation, JoinReply, Key, Kind, Mutation, MutationError,
    Origin, Outcome, Partition, Presence, Refusal, RegionId, ResyncError, Retention, Stale, Version, View, number,
};
use bytes::Bytes;
use support::{batch, batch_with, cells_of, string, v};

const MAX_SKEW: u64 = 60_000_000;

/// A server of a region. A clone is a backup or a replica; another history is another server, or one started again.
#[derive(Clone)]
struct Server {
    partition: Partition,
    history: &'static str,
}

impl Server {
    fn new(region: &str) -> Self {
        let mut server = Self { partition: Partition::new(region.parse().unwrap()), history: "first" };
        server.open(1, v(0));
        server
    }

    /// This data under another history, before anybody opened it.
    fn under(&self, history: &'static str) -> Self {
        Self { partition: self.partition.clone(), history }
    }

    fn open(&mut self, incarnation: u64, now: Version) -> Origin {
        self.partition.open(self.history, Incarnation::new(incarnation), 0, now);
        self.partition.origin().unwrap()
    }

    fn try_do(&mut self, at: Version, key: &Key, mutation: &Mutation) -> Result<Outcome, Refusal> {
        self.partition.mutate(self.history, at, key, mutation)
    }

    fn act(&mut self, at: u64, key: &Key, mutation: &Mutation) -> Outcome {
        self.try_do(v(at), key, mutation).unwrap()
    }

    fn set(&mut self, at: u64, key: &Key, value: &'static str) {
        self.act(at, key, &Mutation::set(value));
    }

    fn incr(&mut self, at: u64, key: &Key, amount: i64) -> Outcome {
        self.act(at, key, &add("", Amount::Integer(amount)))
    }

    fn text(&self, key: &Key) -> Option<String> {
        match self.partition.view(key, v(0)) {
            View::String(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            _ => None,
        }
    }

    fn cursor(&self, of: &Self) -> Option<Cursor> {
        self.partition.sync_state().cursors.get(of.partition.region()).copied()
    }

    /// Reads the other's log and joins it, as a driver does; a gap is answered by a resync.
    fn pull(&mut self, from: &mut Self) {
        let Some(at) = self.cursor(from) else { return self.resync(from) };
        let slice = from.partition.log_after(from.history, at.id, 1000).unwrap();
        match batch(&slice, at) {
            Some(batch) if batch.from == batch.to => {}
            Some(batch) => {
                let reply = self.partition.join(self.history, v(0), MAX_SKEW, &batch).unwrap();
                assert!(matches!(reply, JoinReply::Applied(_)), "{reply:?}");
            }
            None => self.resync(from),
        }
    }

    fn resync(&mut self, from: &mut Self) {
        let remembered = self.partition.sync_state().resynced.get(from.partition.region()).copied();
        let plan = from.partition.begin_resync(from.history, v(0), remembered).unwrap();
        self.partition.start_resync(self.history, &plan).unwrap();
        let mut after = Bytes::new();
        loop {
            let slice = from.partition.walk(from.history, &plan, &after, 1).unwrap();
            let Some(last) = slice.last.clone() else { break };
            self.partition.apply_slice(self.history, &plan, &slice).unwrap();
            after = last;
        }
        self.partition.complete_resync(self.history, &plan).unwrap();
    }
}

fn add(member: &str, amount: Amount) -> Mutation {
    Mutation::Add { member: Bytes::from(member.to_owned()), amount }
}

fn assign(entries: &[(&'static str, &'static str)]) -> Mutation {
    Mutation::assign(entries.iter().map(|(member, payload)| (Bytes::from(*member), Bytes::from(*payload))))
}

fn remove(member: &'static str) -> Mutation {
    Mutation::Remove { members: vec![Bytes::from(member)] }
}

const DEL: Mutation = Mutation::Clear { previous: false };

/// Everybody hears everything, by every way there is.
fn exchange(servers: &mut [&mut Server]) {
    for by_resync in [false, true, false] {
        for to in 0..servers.len() {
            for from in 0..servers.len() {
                if from == to {
                    continue;
                }
                let mut sender = servers[from].clone();
                if by_resync {
                    servers[to].resync(&mut sender)
                } else {
                    servers[to].pull(&mut sender)
                }
                *servers[from] = sender;
            }
        }
    }
    for pair in servers.windows(2) {
        assert_eq!(cells_of(&pair[0].partition), cells_of(&pair[1].partition), "regions that exchanged all differ");
    }
}

fn two() -> (Server, Server) {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    exchange(&mut [&mut a, &mut b]);
    (a, b)
}

fn three() -> (Server, Server, Server) {
    let (mut a, mut b, mut c) = (Server::new("a"), Server::new("b"), Server::new("c"));
    exchange(&mut [&mut a, &mut b, &mut c]);
    (a, b, c)
}

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
    for server in [&mut b, &mut resynced] {
        assert!(matches!(server.partition.join(server.history, v(300), MAX_SKEW, &torn), Ok(JoinReply::Applied(_))));
        assert_eq!((server.text(&k), server.text(&l).as_deref()), (None, Some("x")));
        let state = server.partition.sync_state();
        assert_eq!((state.applied[&own], state.aside[&own]), (Version::from_micros(v(100).as_micros() - 1), 1));
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

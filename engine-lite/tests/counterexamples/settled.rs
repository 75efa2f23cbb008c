//! Backups that come back after the others have agreed that nobody holds any more what is in them.

use super::*;
use archipelago_engine::{Registers, StockChange, StockOutcome};

/// Everybody has B's -2; its +5 in the same sum B alone has. And B as it was before that.
fn a_sum_that_goes_on(k: &Key) -> (Server, Server, Server, Server) {
    let (mut a, mut b, mut c) = three();
    b.incr(100, k, -2);
    exchange(&mut [&mut a, &mut b, &mut c]);
    let before = b.clone();
    b.incr(101, k, 5);
    (a, b, c, before)
}

/// B writes on after `before`, and A hears that it did but not what. B goes back to `before`, something dies that waits for
/// what was lost, and B's incarnation is settled in every region. Then the backup of what B wrote is restored.
fn restored_too_late(a: &mut Server, b: Server, c: &mut Server, before: &Server) -> Server {
    let (backup, closed) = (b.clone(), b.partition.origin().unwrap());
    let said = b.partition.standing(b.history, v(200)).unwrap().push(Vec::new());
    a.partition.push(a.history, &said).unwrap();
    let mut b = before.under("went back");
    b.open(2, v(201));
    exchange(&mut [a, &mut b, c]);
    let other = string("other");
    a.set(202, &other, "gone");
    a.act(203, &other, &DEL);
    for round in 204..209 {
        collect_all(&mut [a, &mut b, c], round);
        exchange(&mut [a, &mut b, c]);
    }
    for server in [a, &mut b, c] {
        assert_eq!(server.partition.sync_state().applied[&closed], Version::MAX, "it is settled");
    }
    let mut b = backup.under("restored");
    b.open(3, v(300));
    b
}

// Everybody has B's -2; its +5 is lost, and settled as lost. The backup that holds 3 in one sum is too late. Whoever retracted
// that sum would retract the -2 with it, in every region.
#[test]
fn a_sum_that_grew_and_came_back_too_late_takes_nothing_of_what_everybody_holds() {
    let k = string("k");
    let (mut a, b, mut c, before) = a_sum_that_goes_on(&k);
    let mut b = restored_too_late(&mut a, b, &mut c, &before);
    assert_eq!((a.text(&k).as_deref(), b.text(&k).as_deref()), (Some("-2"), Some("3")));
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(server.text(&k).as_deref(), Some("-2"));
    }
    // Who overwrites it later overwrites what there is.
    c.set(400, &k, "7");
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!((a.text(&k).as_deref(), b.text(&k).as_deref()), (Some("7"), Some("7")));
}

// The same sum, where everybody else has seen the -2 removed: then nothing of it comes back.
#[test]
fn a_sum_that_everybody_removed_stays_removed_when_more_of_it_comes_back_too_late() {
    let k = string("k");
    let (mut a, b, mut c, before) = a_sum_that_goes_on(&k);
    c.act(102, &k, &DEL);
    let mut b = restored_too_late(&mut a, b, &mut c, &before);
    assert_eq!(b.text(&k).as_deref(), Some("3"));
    for other in [&mut a, &mut c] {
        b.resync(other);
        other.resync(&mut b);
    }
    collect_all(&mut [&mut a, &mut b, &mut c], 400);
    for server in [&a, &b, &c] {
        assert_eq!((server.text(&k), server.cells(&k)), (None, 0));
    }
}

// B's delivery of 9, of which it gave C 3, was settled as lost. B has it back and counts it, for of a stock nothing is ever
// taken back: so everybody takes it, however late. C sells the 3 that it was given, and not one more.
#[test]
fn stock_that_came_back_too_late_is_counted_by_everybody() {
    let (mut a, mut b, mut c) = three();
    let tickets = Key::new(Kind::Stock, "tickets");
    let before = b.clone();
    let stock = |change| Mutation::Stock(change);
    b.act(100, &tickets, &stock(StockChange::Restock { id: "d".parse().unwrap(), units: 9 }));
    let to = c.partition.origin().unwrap();
    b.act(101, &tickets, &stock(StockChange::Transfer { to, units: 3, partial: false }));
    let mut b = restored_too_late(&mut a, b, &mut c, &before);
    assert_eq!((a.text(&tickets), b.text(&tickets).as_deref()), (None, Some("9")));
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(server.text(&tickets).as_deref(), Some("9"));
    }
    let take =
        |id: &str, units| stock(StockChange::Take { id: id.parse().unwrap(), units, partial: false, hold: None });
    let short = Outcome::Stock(StockOutcome::Short { local: 3, elsewhere: 6 });
    assert_eq!(c.act(400, &tickets, &take("four", 4)), short);
    assert_eq!(c.act(401, &tickets, &take("three", 3)), Outcome::Stock(StockOutcome::Done { units: 3, left: 6 }));
    // What a closed incarnation may spend stays with it.
    assert!(matches!(b.act(402, &tickets, &take("one", 1)), Outcome::Stock(StockOutcome::Short { local: 0, .. })));
}

// A union holds all that it overwrote. Everybody has C's "x"; B added "y" to it, in one union, and that was settled as lost.
// Without B's union, and with what it overwrote gone, nobody would hold "x" any more.
#[test]
fn a_union_that_came_back_too_late_is_taken_with_what_it_overwrote() {
    let (mut a, mut b, mut c) = three();
    let visitors = Key::new(Kind::HyperLogLog, "visitors");
    c.act(100, &visitors, &observe("x"));
    exchange(&mut [&mut a, &mut b, &mut c]);
    let before = b.clone();
    b.act(101, &visitors, &observe("y"));
    let mut b = restored_too_late(&mut a, b, &mut c, &before);
    exchange(&mut [&mut a, &mut b, &mut c]);
    let mut both = Registers::default();
    both.observe(b"x");
    both.observe(b"y");
    for server in [&a, &b, &c] {
        assert_eq!(server.partition.view(&visitors, v(400)), View::HyperLogLog(both.clone()));
    }
    // A removal hides it as it hides every union it may have missed.
    c.act(401, &visitors, &DEL);
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(a.partition.view(&visitors, v(402)), View::Absent);
}

// Everybody has B's -2, and its removal. B's +5 in the same sum is lost, but for a backup, and not settled as lost. Every member
// holds all that was met, so that the removed sum was forgotten; then the backup came back with 3, where 5 were never removed.
#[test]
fn what_was_removed_of_a_sum_is_known_until_no_more_of_it_can_come_back() {
    let k = string("k");
    let (mut a, backup, mut c, before) = a_sum_that_goes_on(&k);
    let mut b = before.under("went back");
    b.open(2, v(102));
    exchange(&mut [&mut a, &mut b, &mut c]);
    c.act(103, &k, &DEL);
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&mut a, &mut b, &mut c] {
        server.collect(104);
        server.partition.republish_vector(server.history, v(104)).unwrap();
    }
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&mut a, &mut b, &mut c] {
        assert_eq!((server.collect(105), server.cells(&k)), (0, 1));
    }
    let mut b = backup.under("restored");
    b.open(3, v(200));
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(server.text(&k).as_deref(), Some("5"));
    }
    // What is dead for good goes as ever, once the incarnation is settled.
    c.act(300, &k, &DEL);
    for round in 301..305 {
        collect_all(&mut [&mut a, &mut b, &mut c], round);
        exchange(&mut [&mut a, &mut b, &mut c]);
    }
    for server in [&a, &b, &c] {
        assert_eq!((server.text(&k), server.cells(&k)), (None, 0));
    }
}

// The same where there is nobody else: nothing more can come, and nothing waits for those who would have shipped it.
#[test]
fn a_region_alone_forgets_the_sums_of_its_own_past() {
    let mut a = Server::new("a");
    let k = string("k");
    a.incr(100, &k, 5);
    a.history = "restarted";
    a.open(2, v(101));
    a.act(102, &k, &DEL);
    let members = [a.partition.region().clone()];
    for round in 103..106 {
        a.partition.collect(a.history, v(round), &members, 1000).unwrap();
    }
    assert_eq!((a.cells(&k), a.partition.sync_state().mark), (0, None));
}

//! Best scores, first writes: a write that does not beat what is visible is none.

use super::*;

// 26. Best score: 100 then 50 stays 100. A plain assignment of 50 would have retracted the 100 it saw.
#[test]
fn n26_a_score_that_is_no_better_is_no_write() {
    let (mut a, mut b) = two();
    let board = Key::new(Kind::HighScores, "board");
    a.act(1, &board, &assign(&[("m", "100")]));
    b.pull(&mut a);
    assert_eq!(
        b.act(2, &board, &assign(&[("m", "50")])),
        Outcome::Assigned { added: 0, assigned: 0, changed: 0, previous: None }
    );
    a.pull(&mut b);
    for server in [&a, &b] {
        assert_eq!(server.partition.view(&board, v(3)), View::SortedSet(vec![("m".into(), 100.0)]));
    }
}

// 26, continued. First write: the later local write is a no-op; a concurrent earlier one replaces it.
#[test]
fn n26_the_first_write_is_provisional_until_regions_met() {
    let (mut a, mut b) = two();
    let first = Key::new(Kind::First, "opener");
    a.set(5, &first, "later");
    a.set(6, &first, "latest");
    assert_eq!(a.text(&first).as_deref(), Some("later"));
    b.set(1, &first, "earlier");
    a.pull(&mut b);
    b.pull(&mut a);
    assert_eq!((a.text(&first).as_deref(), b.text(&first).as_deref()), (Some("earlier"), Some("earlier")));
}

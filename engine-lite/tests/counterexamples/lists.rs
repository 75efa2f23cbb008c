//! Lists: concurrent runs, many inserts at one spot, inserts between what was pushed concurrently.

use archipelago_engine::{End, ListEdit, Side};

use super::*;

fn key() -> Key {
    Key::new(Kind::List, "l")
}

/// As in [`super::two`], each with its own incarnation: positions trust in its 64 random bits.
fn two() -> (Server, Server) {
    let mut b = Server { partition: Partition::new("b".parse().unwrap()), history: "first" };
    b.open(2, v(0));
    let mut a = Server::new("a");
    exchange(&mut [&mut a, &mut b]);
    (a, b)
}

fn push(server: &mut Server, at: u64, value: &str) {
    let values = vec![Bytes::from(value.to_owned())];
    server.act(at, &key(), &Mutation::List(ListEdit::Push { end: End::Back, values, existing: false }));
}

fn insert(server: &mut Server, at: u64, side: Side, pivot: &str, value: &str) {
    let (pivot, value) = (Bytes::from(pivot.to_owned()), Bytes::from(value.to_owned()));
    let outcome = server.act(at, &key(), &Mutation::List(ListEdit::Insert { side, pivot, value }));
    assert!(matches!(outcome, Outcome::Length(Some(1..))), "{outcome:?}");
}

fn shown(server: &Server) -> String {
    let View::Ordered(elements) = server.partition.view(&key(), v(0)) else { return String::new() };
    let words: Vec<_> = elements.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
    words.join(" ")
}

// 27. Elements ordered by time alone would alternate: A0 B0 A1 B1 A2 B2.
#[test]
fn n27_runs_that_two_regions_push_at_the_same_time_do_not_interleave() {
    let (mut a, mut b) = two();
    for i in 0..3 {
        push(&mut a, 100 * i, &format!("A{i}"));
        push(&mut b, 100 * i + 50, &format!("B{i}"));
    }
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(shown(&a), "A0 A1 A2 B0 B1 B2");
    assert_eq!(shown(&b), shown(&a));
}

// 27, continued. Fractions as positions run out of digits; paths that grow a step for each insert run out of room.
#[test]
fn n27_a_thousand_inserts_at_one_spot_keep_their_order_and_their_positions_stay_short() {
    for side in [Side::Before, Side::After] {
        let (mut a, mut b) = two();
        push(&mut b, 1, "first");
        push(&mut b, 2, "last");
        exchange(&mut [&mut a, &mut b]);
        let pivot = if side == Side::Before { "last" } else { "first" };
        for i in 0..1000 {
            insert(&mut a, 100 + i, side, pivot, &i.to_string());
        }
        exchange(&mut [&mut a, &mut b]);
        let mut middle: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        if side == Side::After {
            middle.reverse();
        }
        assert_eq!(shown(&b), format!("first {} last", middle.join(" ")));
        let View::Ordered(elements) = a.partition.view(&key(), v(0)) else { panic!("no list") };
        let longest = elements.iter().map(|(position, _)| position.len()).max().unwrap();
        assert!(longest <= 32, "{longest} bytes");
    }
}

// 27, continued. Positions that are times, or equal where two regions pushed at once, leave no room between.
#[test]
fn n27_there_is_room_between_two_elements_that_were_pushed_concurrently() {
    let (mut a, mut b) = two();
    push(&mut a, 100, "a");
    push(&mut b, 100, "b");
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(shown(&a), "a b");
    insert(&mut a, 200, Side::After, "a", "x");
    insert(&mut b, 200, Side::Before, "b", "y");
    exchange(&mut [&mut a, &mut b]);
    let words = shown(&b);
    assert!(words == "a x y b" || words == "a y x b", "{words}");
    assert_eq!(shown(&a), words);
}

// Two regions that push by turns into a queue: each turn stands behind the other's, but not below it in the tree.
#[test]
fn positions_of_a_queue_do_not_grow_with_its_past() {
    let (mut a, mut b) = two();
    for turn in 0..300_u64 {
        let (here, there) = if turn % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        push(here, 1000 * turn, "job");
        there.pull(here);
        there.act(1000 * turn + 500, &key(), &Mutation::List(ListEdit::Pop { end: End::Front, count: turn % 2 }));
        here.pull(there);
    }
    let View::Ordered(elements) = a.partition.view(&key(), v(0)) else { panic!("no list") };
    assert_eq!(elements.len(), 150);
    let longest = elements.iter().map(|(position, _)| position.len()).max().unwrap();
    assert!(longest <= 18, "{longest} bytes");
}

// A pop removes what it saw, and so does the same pop elsewhere: once taken twice, it is gone.
#[test]
fn two_regions_may_pop_one_element_and_it_does_not_come_back() {
    let (mut a, mut b) = two();
    push(&mut a, 1, "job");
    exchange(&mut [&mut a, &mut b]);
    let pop = Mutation::List(ListEdit::Pop { end: End::Front, count: 1 });
    for server in [&mut a, &mut b] {
        assert_eq!(server.act(2, &key(), &pop), Outcome::Popped(vec!["job".into()]));
    }
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(shown(&a), "");
}

// What no writer makes is refused where it arrives: scripts and readers trust the positions they find.
#[test]
fn an_entry_with_a_damaged_position_is_not_decoded() {
    let (mut a, _) = two();
    push(&mut a, 1, "x");
    let slice = a.partition.log_after(a.history, Version::ZERO, 100).unwrap();
    let raw = slice.entries.last().unwrap();
    let mut bytes = raw.bytes.to_vec();
    assert!(archipelago_engine::codec::decode_entry(&slice.origin, raw.id, &bytes).is_ok());
    let at = bytes.windows(2).rposition(|pair| pair == [0x80, 0]).unwrap();
    bytes[at + 2] = 9; // neither a side nor the end
    assert!(archipelago_engine::codec::decode_entry(&slice.origin, raw.id, &bytes).is_err());
}

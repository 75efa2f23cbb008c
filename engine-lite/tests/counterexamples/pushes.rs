//! Pushes: what comes past the log, late or from the wrong place.

use archipelago_engine::{Delta, Push, PushReply};

use super::*;

impl Server {
    /// The key as it stands here, to be pushed.
    fn push_of(&self, key: &Key) -> Push {
        let state = self.partition.key(key).cloned().unwrap_or_default();
        let fields = state.fields.into_iter().map(|(field, stamped)| (field, stamped.cells)).collect();
        let standing = self.partition.standing(self.history, v(0)).unwrap();
        standing.push(vec![Delta { key: key.clone(), fields }])
    }

    fn take(&mut self, push: &Push) -> PushReply {
        self.partition.push(self.history, push).unwrap()
    }
}

const JOINED: PushReply = PushReply::Joined { left_out: 0 };

// 18. A push that read e before its removal delivers it after.
#[test]
fn n18_a_late_push_brings_nothing_back() {
    let (mut a, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    a.act(1, &s, &assign(&[("e", "")]));
    let late = a.push_of(&s);
    a.act(2, &s, &remove("e"));
    b.pull(&mut a);
    let before = b.partition.clone();
    assert_eq!(b.take(&late), JOINED);
    assert_eq!(cells_of(&b.partition), cells_of(&before), "all of it was held already");
    assert_eq!(b.partition.view(&s, v(3)), View::Absent);
}

// 12, 18. A push is ahead of the log and claims nothing: what lies between still comes.
#[test]
fn n18_a_push_is_shown_at_once_and_moves_no_position() {
    let (mut a, mut b) = two();
    a.set(1, &string("earlier"), "x");
    a.incr(2, &string("n"), 5);
    let before = b.partition.sync_state();
    assert_eq!(b.take(&a.push_of(&string("n"))), JOINED);
    assert_eq!(b.text(&string("n")).as_deref(), Some("5"));
    let after = b.partition.sync_state();
    assert_eq!((after.applied, after.cursors), (before.applied, before.cursors));
    b.pull(&mut a);
    assert_eq!((b.text(&string("earlier")).as_deref(), b.text(&string("n")).as_deref()), (Some("x"), Some("5")));
    a.incr(3, &string("n"), 1);
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(b.text(&string("n")).as_deref(), Some("6"), "nothing counts twice");
}

// 18, 21. Refused as a whole: the sender's incarnation was never heard of, or is closed, or its membership is another.
#[test]
fn n21_a_push_from_the_wrong_place_changes_nothing() {
    let (mut a, mut b) = two();
    a.set(1, &string("k"), "x");
    let push = a.push_of(&string("k"));
    let mut other = push.clone();
    other.epoch += 1;
    let before = b.partition.clone();
    assert_eq!(b.take(&other), PushReply::Epoch(1));
    assert_eq!(b.partition, before);

    let mut empty = Server { partition: Partition::new("b".parse().unwrap()), history: "flushed" };
    empty.open(7, v(2));
    let before = empty.partition.clone();
    assert_eq!(empty.take(&push), PushReply::Unheard);
    assert_eq!(empty.partition, before);

    let mut again = a.under("restarted");
    again.open(8, v(3));
    b.resync(&mut again);
    let before = b.partition.clone();
    assert_eq!(b.take(&push), PushReply::Closed);
    assert_eq!(b.partition, before);
}

// 19. A cell of somebody whose log was never joined here is left out, and the answer says so: nobody can tell here whether
// it was removed since.
#[test]
fn n19_cells_of_an_unheard_third_region_are_left_out_of_a_push() {
    let (mut a, mut b) = two();
    let mut c = Server::new("c");
    let s = Key::new(Kind::Set, "s");
    c.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut c);
    a.act(2, &s, &assign(&[("f", "")]));
    assert_eq!(b.take(&a.push_of(&s)), PushReply::Joined { left_out: 1 });
    assert_eq!(b.partition.view(&s, v(3)), View::Set(vec!["f".into()]));
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(b.partition.view(&s, v(3)), View::Set(vec!["e".into(), "f".into()]));
}

// 8, 19. What a closed incarnation wrote is taken from resyncs only; what others hid of it is taken from a push, too.
#[test]
fn n19_a_push_brings_no_write_of_a_closed_incarnation_and_hides_it_all_the_same() {
    let (mut a, mut b, mut c) = three();
    let (k, s) = (string("k"), Key::new(Kind::Set, "s"));
    c.act(1, &s, &assign(&[("e", "")]));
    exchange(&mut [&mut a, &mut b, &mut c]);
    let tail_lost = c.under("restarted");
    c.set(2, &k, "lost");
    a.pull(&mut c);
    a.act(3, &s, &remove("e"));
    let mut c = tail_lost;
    c.open(9, v(4));
    b.resync(&mut c);
    assert_eq!(b.take(&a.push_of(&k)), JOINED);
    assert_eq!(b.text(&k), None);
    assert_eq!(b.take(&a.push_of(&s)), JOINED);
    assert_eq!(b.partition.view(&s, v(5)), View::Absent);
}

// 34. Whoever reads a removal that came by a push asks elsewhere for that removal, although no cell names its version.
#[test]
fn n34_a_standing_covers_what_a_push_showed() {
    let (mut a, mut b, mut o) = three();
    let s = Key::new(Kind::Set, "s");
    o.act(1, &s, &assign(&[("e", "")]));
    a.pull(&mut o);
    b.pull(&mut o);
    a.act(2, &s, &remove("e"));
    let removed = a.partition.standing(a.history, v(3)).unwrap();
    assert_eq!(b.take(&a.push_of(&s)), JOINED);
    let shown = b.partition.standing(b.history, v(3)).unwrap();
    assert!(shown.held(&removed.origin) < removed.last, "the log has not brought it");
    assert!(shown.visible()[&removed.origin] >= removed.last);
}

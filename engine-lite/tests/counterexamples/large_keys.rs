//! Keys of many members, removed in steps.

use archipelago_engine::{ClearStep, codec, limits};

use super::*;

/// Members in one step, as a store does it.
const STEP: usize = 500;

fn member(n: usize) -> Bytes {
    format!("member-{n:09}").into()
}

fn fill(server: &mut Server, at: u64, key: &Key, members: usize) {
    let all: Vec<_> = (0..members).map(|n| (member(n), Bytes::new())).collect();
    for some in all.chunks(limits::MEMBERS) {
        server.act(at, key, &Mutation::assign(some.to_vec()));
    }
}

/// Live members behind one, as a store finds them.
fn page(server: &Server, key: &Key, after: Option<&Bytes>) -> Vec<Bytes> {
    let state = server.partition.key(key).unwrap();
    let live = state.fields.iter().filter_map(|(field, stamped)| match field {
        Field::Member(member) if stamped.cells.is_live() && after.is_none_or(|after| member > after) => Some(member),
        Field::Member(_) | Field::Expiry => None,
    });
    live.take(STEP).cloned().collect()
}

fn step(server: &mut Server, at: u64, key: &Key, members: Vec<Bytes>, is_last: bool) -> Option<u64> {
    let step = ClearStep { members, grace: None, is_last };
    match server.act(at, key, &Mutation::ClearStep(step)) {
        Outcome::Stepped(removed) => removed,
        other => panic!("{other:?}"),
    }
}

/// Removes all that is found from one end to the other; answers how many members went.
fn clear(server: &mut Server, at: u64, key: &Key) -> u64 {
    let (mut removed, mut after) = (0, None);
    loop {
        let members = page(server, key, after.as_ref());
        let is_last = members.len() < STEP;
        after = members.last().cloned().or(after);
        removed += step(server, at, key, members, is_last).unwrap();
        if is_last {
            return removed;
        }
    }
}

/// How many cells the largest entry of a log has, and how many bytes.
fn largest_entry(server: &Server, after: u64) -> (usize, usize) {
    let slice = server.partition.log_after(server.history, Version::ZERO, usize::MAX).unwrap();
    let entries = slice.entries.iter().filter_map(|raw| {
        let entry = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap();
        let archipelago_engine::Body::Data(delta) = entry.body else { return None };
        (entry.number > after).then(|| (delta.len(), raw.bytes.len()))
    });
    entries.fold((0, 0), |(cells, bytes), (c, b)| (cells.max(c), bytes.max(b)))
}

fn members(server: &Server, key: &Key) -> Vec<Bytes> {
    match server.partition.view(key, v(0)) {
        View::Set(members) => members,
        View::Absent => Vec::new(),
        other => panic!("{other:?}"),
    }
}

// 29. DEL of a set of a million members: no delta of a million cells in one script; a concurrent unseen add survives.
#[test]
fn n29_a_set_of_many_members_goes_in_steps_and_a_concurrent_unseen_add_survives() {
    let (mut a, mut b, mut c) = three();
    let s = Key::new(Kind::Set, "s");
    let many = 5_000;
    fill(&mut a, 1, &s, many);
    exchange(&mut [&mut a, &mut b, &mut c]);
    let before = a.partition.sync_state().number;
    assert_eq!(a.try_do(v(2), &s, &DEL), Err(Refusal::Mutation(MutationError::TooManyFields)));
    assert_eq!(a.partition.sync_state().number, before, "refused, and nothing changed");
    // In b one is added that a has not seen; and one that a removes is written once more.
    b.act(3, &s, &assign(&[("unseen", "")]));
    b.act(3, &s, &Mutation::assign([(member(7), Bytes::new())]));
    assert_eq!(clear(&mut a, 4, &s), many as u64);
    assert_eq!(a.partition.view(&s, v(4)), View::Absent);
    let (cells, bytes) = largest_entry(&a, before);
    assert!(cells <= STEP && bytes < 40 * 1024, "{cells} cells, {bytes} bytes");
    exchange(&mut [&mut a, &mut b, &mut c]);
    for server in [&a, &b, &c] {
        assert_eq!(members(server, &s), [member(7), Bytes::from("unseen")]);
    }
    // Dead members do not keep it from being removed, nor from being forgotten.
    assert_eq!(clear(&mut c, 5, &s), 2);
    for at in 6..20 {
        collect_all(&mut [&mut a, &mut b, &mut c], at);
    }
    assert_eq!((a.partition.keys().count(), b.partition.keys().count(), c.partition.keys().count()), (0, 0, 0));
}

// 29, continued. One client ends half way, another goes on: what is left is an ordinary key.
#[test]
fn n29_whoever_goes_on_with_a_clear_finds_what_is_left() {
    let (mut a, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    fill(&mut a, 1, &s, 3_000);
    for _ in 0..3 {
        let members = page(&a, &s, None);
        step(&mut a, 2, &s, members, false);
    }
    b.pull(&mut a);
    assert_eq!((members(&a, &s).len(), members(&b, &s).len()), (1_500, 1_500));
    assert_eq!(clear(&mut b, 3, &s), 1_500);
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((members(&a, &s).len(), members(&b, &s).len()), (0, 0));
}

// 29, and 22: a key past its expiry shows nothing while it goes in steps, and one that is extended meanwhile stays as it is.
#[test]
fn n29_a_step_after_an_extension_removes_nothing() {
    let second = 1_000_000;
    let (mut a, mut b) = two();
    let s = Key::new(Kind::Set, "s");
    fill(&mut a, 0, &s, 3_000);
    a.act(0, &s, &Mutation::Expire(Expiry::In(60_000)));
    exchange(&mut [&mut a, &mut b]);
    b.act(30 * second, &s, &Mutation::Expire(Expiry::In(3_600_000)));
    let refused = Err(Refusal::Mutation(MutationError::TooManyFields));
    assert_eq!(a.try_do(v(70 * second), &s, &assign(&[("m", "")])), refused, "it would clear the rest first");
    assert_eq!(a.try_do(v(70 * second), &s, &Mutation::Sweep { grace: 5_000 }), refused);
    let within = Outcome::Cleared { existed: false, previous: None };
    assert_eq!(a.try_do(v(62 * second), &s, &Mutation::Sweep { grace: 5_000 }), Ok(within));
    let some = page(&a, &s, None);
    let swept = Mutation::ClearStep(ClearStep { members: some, grace: Some(5_000), is_last: false });
    assert_eq!(a.act(70 * second, &s, &swept), Outcome::Stepped(Some(0)), "nothing that was visible");
    assert_eq!(a.partition.view(&s, v(70 * second)), View::Absent);
    a.pull(&mut b);
    let some = page(&a, &s, None);
    let swept = Mutation::ClearStep(ClearStep { members: some, grace: Some(5_000), is_last: false });
    assert_eq!(a.act(71 * second, &s, &swept), Outcome::Stepped(None));
    exchange(&mut [&mut a, &mut b]);
    assert_eq!((members(&a, &s).len(), members(&b, &s).len()), (2_500, 2_500));
}

// Counterexample 25 for keys of many dead members: an expiry left over never kills a new value.
#[test]
fn an_expiry_left_over_goes_with_the_last_member() {
    let (mut a, _) = two();
    let s = Key::new(Kind::Set, "s");
    fill(&mut a, 0, &s, 1_500);
    a.act(0, &s, &Mutation::Expire(Expiry::In(60_000)));
    for first in [0, 500, 1000] {
        let some = (first..first + 500).map(member).collect();
        step(&mut a, 1, &s, some, false);
    }
    let state = a.partition.key(&s).unwrap();
    assert!(state.deadline().is_none(), "else the next write would have to look at every dead member");
    a.act(2, &s, &assign(&[("new", "")]));
    assert_eq!(a.partition.expires_at(&s), None);
    assert_eq!(a.partition.view(&s, v(1_000_000_000)), View::Set(vec!["new".into()]));
}

//! Random writes: few names, many odd values.

use archipelago::engine::{
    Amount, Assignment, ClearStep, Expiry, Key, Kind, Mutation, Native, Order, Origin, Presence, Registers, Retention,
    Version,
};
use archipelago_tests::random::Rng;
use bytes::Bytes;

use crate::{entries, lists};

const MEMBERS: [&[u8]; 6] = [b"", b"a", b"b", b"\0\xff", b"\n:{}", b"%d."];

const PAYLOADS: [&str; 26] = [
    "",
    "0",
    "1",
    "-1",
    "007",
    "+5",
    "-0",
    "0.1",
    "0.2",
    "-0.5",
    ".5",
    "5.",
    "1e3",
    "1e-7",
    "1e999",
    "inf",
    "nan",
    "0x10",
    "word",
    " 1",
    "9007199254740992",
    "9007199254740991",
    "-9007199254740992",
    "9223372036854775807",
    "123456789012345678901234567890",
    "1234567890123456.5",
];

const SCORES: [&str; 14] =
    ["0", "1", "-1", "2.5", "inf", "-inf", "-0", "1e16", "0.1", "9007199254740993", "1e-300", "007", "1.0", "word"];

const INTEGERS: [i64; 10] = [0, 1, -1, 5, 1000, 1 << 53, (1 << 53) - 1, -(1 << 53), 9_000_000_000_000_000, i64::MAX];

const FLOATS: [f64; 12] = [0.1, 0.2, -0.5, 1.0, 0.0, -0.0, 1e16, 1e-7, 1e300, f64::INFINITY, f64::NEG_INFINITY, 3.0];

fn key(rng: &mut Rng, kinds: &[Kind]) -> Key {
    let name: &[u8] = rng.pick::<&[u8]>(&[&b"k"[..], b"l", b"", b"\0{}:\xff\n"]);
    Key::new(*rng.pick(kinds), Bytes::copy_from_slice(name))
}

fn is_string(kind: Kind) -> bool {
    kind.native() == Native::String
}

fn member(rng: &mut Rng, kind: Kind) -> Bytes {
    if is_string(kind) { Bytes::new() } else { Bytes::from_static(rng.pick::<&[u8]>(&MEMBERS)) }
}

fn payload(rng: &mut Rng, kind: Kind) -> Bytes {
    match kind {
        Kind::Set => Bytes::new(),
        Kind::EnableWins | Kind::DisableWins => Bytes::from_static(rng.pick(&["0", "1", "0", "1", "on"]).as_bytes()),
        kind if kind.is_scored() => Bytes::from_static(rng.pick(&SCORES).as_bytes()),
        _ if rng.one_in(8) => Bytes::from_static(b"\0\xff\n"),
        _ => Bytes::from_static(rng.pick(&PAYLOADS).as_bytes()),
    }
}

/// An expiry that does not pass while the test runs, or has passed before it began. None is relative: Redis reads its
/// clock for it apart from the id of the entry.
fn expiry(rng: &mut Rng) -> Expiry {
    match rng.below(6) {
        0 => Expiry::Never,
        1 => Expiry::At(-5),
        2 => Expiry::At(1000),
        n => Expiry::At(4_000_000_000_000 + i64::try_from(n).unwrap()),
    }
}

fn assignment(rng: &mut Rng, kind: Kind) -> Assignment {
    let count = if is_string(kind) || rng.one_in(2) { 1 } else { 1 + rng.below(4) };
    let order = if kind.is_scored() && rng.one_in(3) { *rng.pick(&[Order::Greater, Order::Less]) } else { Order::Any };
    let retention = match rng.below(4) {
        0 if is_string(kind) => Retention::Set(expiry(rng)),
        1 | 2 if is_string(kind) => Retention::Clear,
        _ => Retention::Keep,
    };
    Assignment {
        entries: (0..count).map(|_| (member(rng, kind), payload(rng, kind))).collect(),
        presence: *rng.pick(&[Presence::Any, Presence::Any, Presence::Any, Presence::Absent, Presence::Present]),
        order,
        retention,
        previous: is_string(kind) && rng.one_in(3),
    }
}

/// Few elements, so that many are known; or many, so that the sparse form is left.
fn observation(rng: &mut Rng) -> Mutation {
    let few = |rng: &mut Rng| (0..rng.below(4)).map(|_| Bytes::from(rng.below(12).to_string())).collect::<Vec<_>>();
    let many = |rng: &mut Rng| (0..1500).map(|_| Bytes::from(rng.below(100_000).to_string())).collect::<Vec<_>>();
    let some = |rng: &mut Rng| if rng.one_in(40) { many(rng) } else { few(rng) };
    let union = rng.one_in(4).then(|| {
        let mut registers = Registers::default();
        for element in some(rng) {
            registers.observe(&element);
        }
        registers
    });
    Mutation::Observe { elements: some(rng), union }
}

/// A random write of a random key of these kinds; `context` tells a key's siblings.
pub fn write(rng: &mut Rng, kinds: &[Kind], context: impl FnOnce(&Key) -> Vec<(Origin, Version)>) -> (Key, Mutation) {
    let key = key(rng, kinds);
    let kind = key.kind;
    let mutation = match rng.below(16) {
        0..=10 if kind == Kind::HyperLogLog => observation(rng),
        11 if kind == Kind::HyperLogLog => Mutation::Clear { previous: false },
        0..=3 if kind == Kind::Siblings => {
            let mut seen = context(&key);
            if rng.one_in(3) {
                seen.pop();
            }
            Mutation::Resolve { payload: payload(rng, kind), seen }
        }
        0..=11 if kind == Kind::List => Mutation::List(lists::edit(rng)),
        0..=11 if kind.has_entries() => entries::write(rng),
        0..=6 => Mutation::Assign(assignment(rng, kind)),
        7..=10 if kind.adds() || rng.one_in(8) => {
            let amount =
                if rng.one_in(2) { Amount::Integer(*rng.pick(&INTEGERS)) } else { Amount::Float(*rng.pick(&FLOATS)) };
            Mutation::Add { member: member(rng, kind), amount }
        }
        7..=11 if !is_string(kind) => {
            Mutation::Remove { members: (0..=rng.below(3)).map(|_| member(rng, kind)).collect() }
        }
        12 => Mutation::Clear { previous: is_string(kind) },
        13 if !is_string(kind) && rng.one_in(2) => Mutation::ClearStep(ClearStep {
            members: (0..rng.below(3)).map(|_| member(rng, kind)).collect(),
            grace: rng.one_in(2).then(|| rng.below(50) as u64),
            is_last: rng.one_in(3),
        }),
        13 => Mutation::Sweep { grace: rng.below(50) as u64 },
        _ => Mutation::Expire(expiry(rng)),
    };
    (key, mutation)
}

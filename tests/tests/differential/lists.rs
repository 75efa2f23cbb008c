//! Random writes of lists: few values, so that they are found, and indexes about the ends.

use archipelago::engine::{End, Key, Kind, ListEdit, Mutation, Side};
use archipelago_tests::random::Rng;
use bytes::Bytes;

const VALUES: [&[u8]; 5] = [b"", b"a", b"b", b"\0\xff\x01", b"1.50"];

fn value(rng: &mut Rng) -> Bytes {
    Bytes::from_static(rng.pick::<&[u8]>(&VALUES))
}

fn end(rng: &mut Rng) -> End {
    *rng.pick(&[End::Front, End::Back])
}

fn index(rng: &mut Rng) -> i64 {
    *rng.pick(&[0, 1, 2, 5, -1, -2, -3, -9, i64::MAX, i64::MIN])
}

/// A random write of one list, which seldom loses much.
pub fn write(rng: &mut Rng, _: &crate::pair::Pair) -> (Key, Mutation) {
    let mutation = loop {
        let edit = edit(rng);
        if !matches!(edit, ListEdit::Trim { .. } | ListEdit::Remove { .. }) || rng.one_in(8) {
            break Mutation::List(edit);
        }
    };
    (Key::new(Kind::List, "l"), mutation)
}

/// A random write.
pub fn edit(rng: &mut Rng) -> ListEdit {
    match rng.below(14) {
        0..=4 => ListEdit::Push {
            end: end(rng),
            values: (0..=rng.below(3)).map(|_| value(rng)).collect(),
            existing: rng.one_in(4),
        },
        5..=8 => {
            ListEdit::Insert { side: *rng.pick(&[Side::Before, Side::After]), pivot: value(rng), value: value(rng) }
        }
        9 | 10 => ListEdit::Set { index: index(rng), value: value(rng) },
        11 => ListEdit::Pop { end: end(rng), count: rng.below(4) as u64 },
        12 => ListEdit::Remove { value: value(rng), count: i64::try_from(rng.below(5)).unwrap() - 2 },
        _ if rng.one_in(2) => ListEdit::Trim { start: index(rng), stop: index(rng) },
        _ => ListEdit::Trim { start: *rng.pick(&[0, 1]), stop: *rng.pick(&[-1, -2]) },
    }
}

//! Joins of any cells, also of those that no history would send: older, newer and equal versions of few origins, whose
//! contents may differ at one version, in batches whose vector says little.

use archipelago::engine::{
    Assign, Base, Batch, Cell, Cells, Cursor, Delta, Field, Incarnation, JoinReply, Key, Kind, Origin, Total, Version,
};
use archipelago_tests::random::Rng;

use crate::pair::Pair;

const KINDS: [Kind; 6] = [Kind::String, Kind::Set, Kind::Hash, Kind::SortedSet, Kind::Max, Kind::First];
const PAYLOADS: [&str; 5] = ["1", "2.5", "-0", "1", "7"];
const NUMBERS: [f64; 8] = [1.0, -1.0, 0.0, -0.0, 3.0, 0.5, 4_503_599_627_370_495.0, 9_007_199_254_740_992.0];

/// Where the versions of a step lie: behind what was held of the sender at first, a little later with every step.
#[derive(Clone, Copy)]
pub struct Times {
    pub first: Version,
    pub step: usize,
}

fn version(rng: &mut Rng, times: Times) -> Version {
    Version::from_micros(times.first.as_micros() + u64::try_from(times.step / 4 + rng.below(8)).unwrap())
}

fn cell(rng: &mut Rng, kind: Kind, times: Times) -> Cell {
    let mut cell = Cell::default();
    let payload = if kind == Kind::Set { "" } else { *rng.pick(&PAYLOADS) };
    let adds = matches!(kind, Kind::String | Kind::Hash | Kind::SortedSet) && rng.one_in(2);
    if !adds || rng.one_in(20) {
        cell.assign = Some(Assign { version: version(rng, times), payload: payload.into() });
    }
    if adds {
        let (a, b) = (version(rng, times), version(rng, times));
        cell.total = Some(Total { version: a.max(b), number: *rng.pick(&NUMBERS), since: a.min(b) });
    }
    if rng.one_in(if adds { 20 } else { 3 }) {
        cell.retracted = version(rng, times);
    }
    if adds && rng.one_in(20) {
        cell.base = Some(Base { version: version(rng, times), number: *rng.pick(&NUMBERS) });
    }
    // As it would be stored: what is retracted has no payload.
    cell.join(&Cell::default());
    cell
}

fn delta(rng: &mut Rng, origins: &[Origin], times: Times) -> Delta {
    let kind = *rng.pick(&KINDS);
    // New names all the time: a key that has seen everything once is never simple again.
    let mut delta = Delta::new(Key::new(kind, format!("k{}", times.step / 24)));
    let is_value = matches!(kind, Kind::String | Kind::Max | Kind::First);
    for _ in 0..if rng.one_in(6) { 2 } else { 1 } {
        let member = if is_value { "" } else { *rng.pick(&["a", "b"]) };
        let count = if rng.one_in(8) { 2 } else { 1 };
        let cells: Cells = (0..count).map(|_| (rng.pick(origins).clone(), cell(rng, kind, times))).collect();
        delta.fields.insert(Field::Member(member.into()), cells);
    }
    delta
}

/// Joins a batch from `from`, of a cell or more, behind what the destination holds of its log.
pub async fn join(pairs: &mut [Pair], from: usize, to: usize, cursor: &mut Cursor, rng: &mut Rng, times: Times) {
    let place = format!("step {}", times.step);
    let sender = pairs[from].origin();
    let origins = [
        sender.clone(),
        Origin::new(sender.region.clone(), Incarnation::new(1)),
        pairs[to].origin(),
        pairs[2].origin(),
    ];
    let mut deltas: Vec<Delta> = (0..1 + rng.below(6)).map(|_| delta(rng, &origins, times)).collect();
    deltas.sort_by(|a, b| a.key.cmp(&b.key));
    deltas.dedup_by(|a, b| a.key == b.key);
    let to_number = cursor.number + 1;
    let batch = Batch {
        origin: sender,
        from: cursor.number,
        to: to_number,
        id: cursor.id.next(),
        applied: if rng.one_in(6) { version(rng, times) } else { Version::ZERO },
        epoch: 1,
        deltas,
        vector: None,
        aside: Vec::new(),
    };
    *cursor = Cursor { number: to_number, id: batch.id, ..*cursor };
    let reply = pairs[to].join(&batch, &place).await;
    assert_eq!(reply, JoinReply::Applied(*cursor), "{place}");
    for key in batch.deltas.iter().map(|delta| &delta.key) {
        pairs[to].compare_key(key, &place).await;
    }
    if times.step.is_multiple_of(10) {
        pairs[to].compare(&place).await;
    }
}

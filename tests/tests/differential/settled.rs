//! Resyncs of a region in which an incarnation is settled, and that holds less of it than the receiver.

use std::collections::BTreeMap;

use archipelago::engine::{
    Amount, Cells, Delta, Expiry, Field, Key, Kind, Mutation, Origin, Partition, ResyncPlan, Slice, Vector, Version,
};
use archipelago::testing::servers::Program;
use archipelago_tests::random::Rng;
use bytes::Bytes;

use crate::{
    pair::{Pair, link},
    pairs, stock, values, world,
};

/// All that a region holds, as it was read at one moment.
struct Copy(BTreeMap<(Key, Field), Cells>);

impl Copy {
    fn of(partition: &Partition) -> Self {
        let fields = partition.keys().flat_map(|(key, state)| state.fields.iter().map(move |field| (key, field)));
        Self(fields.map(|(key, (field, stamped))| ((key.clone(), field.clone()), stamped.cells.clone())).collect())
    }

    /// This, but of one origin only what an older copy held.
    fn with_older(&self, origin: &Origin, older: &Self) -> Self {
        let places = self.0.keys().chain(older.0.keys());
        let cells = places.map(|place| {
            let here = self.0.get(place).into_iter().flat_map(Cells::iter).filter(|(by, _)| *by != origin);
            let then = older.0.get(place).into_iter().flat_map(Cells::iter).filter(|(by, _)| *by == origin);
            let mut cells = Cells::default();
            for (by, cell) in here.chain(then) {
                cells.insert(by.clone(), cell.clone());
            }
            (place.clone(), cells)
        });
        Self(cells.collect())
    }

    fn deltas(&self) -> Vec<Delta> {
        let mut deltas: BTreeMap<&Key, Delta> = BTreeMap::new();
        for ((key, field), cells) in self.0.iter().filter(|(_, cells)| !cells.is_empty()) {
            let delta = deltas.entry(key).or_insert_with(|| Delta::new(key.clone()));
            delta.fields.insert(field.clone(), cells.clone());
        }
        deltas.into_values().collect()
    }
}

/// One region settles an origin with what an older copy of it held, and tells another; then the other is shipped the newer
/// cells of that origin, too.
async fn settle(pairs: &mut [Pair], (from, to): (usize, usize), settled: &Origin, older: &Copy, place: &str) {
    let plan = pairs[from].begin_walk(place).await;
    let newer = Copy::of(&pairs[from].partition);
    let plan = ResyncPlan { vector: with_settled(&plan.vector, settled), ..plan };
    for copy in [newer.with_older(settled, older), newer] {
        let mut deltas = copy.deltas();
        deltas.sort_by_key(|delta| delta.key.index_entry());
        let last = deltas.last().map(|delta| delta.key.index_entry());
        let mut slices = vec![Slice { deltas, last, ..Slice::default() }];
        slices.push(Slice { after: slices[0].last.clone().unwrap_or_default(), ..Slice::default() });
        pairs[to].take_walk(&plan, &slices, place).await;
        pairs[to].compare(place).await;
    }
}

fn with_settled(vector: &Vector, settled: &Origin) -> Vector {
    vector.clone().into_iter().chain([(settled.clone(), Version::MAX)]).collect()
}

/// Random writes of every type, of which the last ones of one region are lost to one of the others.
pub async fn history(program: Program, seed: u64) {
    let Some(world) = world(program).await else { return };
    let mut pairs = pairs(&world).await;
    let mut rng = Rng::new(seed);
    random_steps(&mut pairs, &mut rng, 160, true, &format!("seed {seed} before")).await;
    let older = Copy::of(&pairs[1].partition);
    // Whoever is told has some of what was lost, and gives it up; or none, and hears of it later.
    let has_some = rng.one_in(2);
    random_steps(&mut pairs, &mut rng, 80, has_some, &format!("seed {seed} behind")).await;
    let place = format!("seed {seed} end");
    link(&mut pairs, 2, 1, 1000, &place).await;
    let lost = pairs[2].partition.origin().unwrap();
    settle(&mut pairs, (1, 0), &lost, &older, &place).await;
}

/// `all`: the links to the first region run, too.
async fn random_steps(pairs: &mut [Pair], rng: &mut Rng, steps: usize, all: bool, place: &str) {
    for step in 0..steps {
        let place = format!("{place} {step}");
        let at = rng.below(3);
        let to = (at + 1 + rng.below(2)) % 3;
        if rng.one_in(3) {
            if all || to != 0 {
                link(pairs, at, to, 100, &place).await;
            }
            continue;
        }
        if rng.one_in(3) {
            let (key, mutation) = growing(rng);
            pairs[at].write(&key, &mutation, &place).await;
            continue;
        }
        let (key, mutation) = values::write(rng, &Kind::ALL, |key| pairs[at].context(key));
        let mutation = match key.kind {
            Kind::Stock => Mutation::Stock(stock::change(rng, pairs, at, &key)),
            _ => mutation,
        };
        pairs[at].write(&key, &mutation, &place).await;
    }
}

/// Sums, unions and expiries that are seldom removed.
fn growing(rng: &mut Rng) -> (Key, Mutation) {
    let sum = *rng.pick(&[Kind::String, Kind::SortedSet, Kind::Hash]);
    let union = Key::new(Kind::HyperLogLog, "growing");
    match rng.below(4) {
        0 => (union, Mutation::Observe { elements: vec![Bytes::from(rng.below(100).to_string())], union: None }),
        1 => (union, Mutation::Expire(Expiry::At(4_000_000_000_000 + rng.below(1000) as i64))),
        _ => {
            let amount = Amount::Integer(rng.below(9) as i64 - 4);
            (Key::new(sum, "growing"), Mutation::Add { member: Bytes::new(), amount })
        }
    }
}

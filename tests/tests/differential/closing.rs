//! Sums of an incarnation that was closed: they are collected no sooner than it is settled, and then everywhere.

use archipelago::engine::{Amount, Key, Kind, Mutation, Version};
use archipelago::testing::servers::Program;
use archipelago_tests::{random::Rng, world::pairs as ways};
use bytes::Bytes;

use crate::{
    pair::{Pair, link, resync},
    pairs, world,
};

/// Sums that grow, are overwritten and are removed; of which one region is opened anew in between. Answers how often a
/// collection waited until an incarnation was settled.
pub async fn history(program: Program, seed: u64) -> usize {
    let Some(world) = world(program).await else { return 0 };
    let mut pairs = pairs(&world).await;
    let mut rng = Rng::new(seed);
    random_steps(&mut pairs, &mut rng, &format!("seed {seed} before")).await;
    let closed = rng.below(3);
    pairs[closed].open_anew(&world.servers[closed], &format!("seed {seed} opening")).await;
    random_steps(&mut pairs, &mut rng, &format!("seed {seed} behind")).await;
    let place = format!("seed {seed} end");
    for (from, to) in ways() {
        resync(&mut pairs, from, to, true, &place).await;
    }
    let mut awaited = 0;
    for round in 0..12 {
        let place = format!("{place}, round {round}");
        for at in 0..3 {
            let is_alone = rng.one_in(2);
            let pair = &mut pairs[at];
            let waits = if is_alone { pair.collect(&place).await } else { pair.collect_twice(&place).await }.waits;
            awaited += waits.iter().filter(|wait| wait.needs == Version::MAX).count();
            if waits.iter().any(|wait| wait.is_closed) {
                for other in (0..3).filter(|other| *other != at) {
                    resync(&mut pairs, at, other, true, &place).await;
                    resync(&mut pairs, other, at, true, &place).await;
                }
            }
            pairs[at].republish(&place).await;
        }
        for (from, to) in ways() {
            link(&mut pairs, from, to, 1000, &place).await;
        }
    }
    for pair in &mut pairs {
        pair.compare(&place).await;
        let dead = pair.partition.keys().flat_map(|(_, state)| state.fields.values()).filter(|f| f.cells.has_dead());
        assert_eq!(dead.count(), 0, "{place}: dead cells stay");
    }
    awaited
}

async fn random_steps(pairs: &mut [Pair], rng: &mut Rng, place: &str) {
    for step in 0..40 {
        let place = format!("{place} {step}");
        let at = rng.below(3);
        if rng.one_in(4) {
            let to = (at + 1 + rng.below(2)) % 3;
            let cursor = pairs[to].partition.sync_state().cursors.get(pairs[at].partition.region()).copied();
            if cursor.is_some_and(|cursor| cursor.incarnation == pairs[at].record.incarnation) {
                link(pairs, at, to, 100, &place).await;
            } else {
                resync(pairs, at, to, true, &place).await;
            }
            continue;
        }
        let key = Key::new(*rng.pick(&[Kind::String, Kind::SortedSet, Kind::Hash]), "sum");
        let mutation = match rng.below(6) {
            0 => Mutation::Clear { previous: false },
            1 => Mutation::assign([(Bytes::new(), Bytes::from("1"))]),
            _ => Mutation::Add { member: Bytes::new(), amount: Amount::Integer(rng.below(9) as i64 - 4) },
        };
        pairs[at].write(&key, &mutation, &place).await;
    }
}

//! Properties of positions on random histories: unique, in one order, with room everywhere, and runs that stay together.
//!
//! `LIST_SEEDS=first..last` runs a longer campaign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use archipelago_engine::{
    Incarnation,
    position::{Maker, between, is_position},
};
use bytes::Bytes;
use support::{Rng, named, seeds};

/// A list as one region sees it: positions in order, and who made each.
type List = Vec<(Bytes, usize)>;

struct Region {
    name: usize,
    incarnation: Incarnation,
    entries: u64,
    list: List,
}

impl Region {
    fn insert(&mut self, at: usize, count: usize) -> List {
        self.entries += 1;
        let left = at.checked_sub(1).map(|left| &self.list[left].0[..]);
        let right = self.list.get(at).map(|(position, _)| &position[..]);
        let maker = Maker { incarnation: self.incarnation, number: self.entries };
        let made: List = between(left, right, count, maker).into_iter().map(|made| (made, self.name)).collect();
        let mut order: Vec<&[u8]> = left.into_iter().collect();
        order.extend(made.iter().map(|(position, _)| &position[..]));
        order.extend(right);
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        assert!(order.windows(2).all(|pair| !pair[1].starts_with(pair[0])), "a position begins another: {order:?}");
        assert!(made.iter().all(|(position, _)| is_position(position)));
        self.list.splice(at..at, made.iter().cloned());
        made
    }
}

fn merge(regions: &mut [Region]) {
    let mut all: List = regions.iter().flat_map(|region| region.list.iter().cloned()).collect();
    all.sort();
    all.dedup();
    assert!(all.windows(2).all(|pair| pair[0].0 != pair[1].0), "two regions made one position");
    regions.iter_mut().for_each(|region| region.list = all.clone());
}

fn world(rng: &mut Rng) -> Vec<Region> {
    let region = |name| Region { name, incarnation: Incarnation::new(rng.next()), entries: 0, list: List::new() };
    (0..3).map(region).collect()
}

#[test]
fn runs_that_regions_insert_into_one_gap_at_the_same_time_stay_together() {
    for seed in seeds("LIST_SEEDS", 0..300) {
        named(seed, || {
            let mut rng = Rng::new(seed);
            let mut regions = world(&mut rng);
            for _ in 0..12 {
                let gap = rng.below(regions[0].list.len() + 1);
                let before = regions[0].list.len();
                let mut runs: Vec<List> = Vec::new();
                for region in &mut regions {
                    // Forwards, backwards, or wherever in its own run.
                    let way = rng.below(3);
                    for _ in 0..rng.below(6) {
                        let len = region.list.len() - before;
                        let at = [0, len, rng.below(len + 1)][way];
                        let count = 1 + rng.below(2);
                        region.insert(gap + at, count);
                    }
                    runs.push(region.list[gap..gap + region.list.len() - before].to_vec());
                }
                merge(&mut regions);
                for run in runs.iter().filter(|run| !run.is_empty()) {
                    let list = &regions[0].list;
                    let start = list.iter().position(|element| *element == run[0]).unwrap();
                    assert_eq!(&list[start..start + run.len()], &run[..], "a run was split");
                }
                let kept = rng.below(4);
                if kept > 0 {
                    continue;
                }
                let gone: Vec<bool> = regions[0].list.iter().map(|_| rng.one_in(3)).collect();
                for region in &mut regions {
                    let mut gone = gone.iter();
                    region.list.retain(|_| !*gone.next().unwrap());
                }
            }
        });
    }
}

#[test]
fn positions_are_unique_and_there_is_room_everywhere_whatever_regions_have_seen() {
    for seed in seeds("LIST_SEEDS", 0..100) {
        named(seed, || {
            let mut rng = Rng::new(seed);
            let mut regions = world(&mut rng);
            let mut ever: std::collections::BTreeSet<Bytes> = Default::default();
            for _ in 0..200 {
                let here = rng.below(3);
                let len = regions[here].list.len();
                match rng.below(8) {
                    0 => {
                        // Some of what another region has, in any order.
                        let there = regions[(here + 1 + rng.below(2)) % 3].list.clone();
                        let mut list = regions[here].list.clone();
                        list.extend(there.into_iter().filter(|_| rng.one_in(2)));
                        list.sort();
                        list.dedup();
                        regions[here].list = list;
                    }
                    1 if len > 0 => drop(regions[here].list.remove(rng.below(len))),
                    _ => {
                        let count = 1 + rng.below(3);
                        let anywhere = rng.below(len + 1);
                        let at = *rng.pick(&[0, len, len / 2, anywhere]);
                        for (position, _) in regions[here].insert(at, count) {
                            assert!(ever.insert(position), "made twice");
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn a_run_grows_by_the_bytes_of_a_number_in_either_direction() {
    let mut rng = Rng::new(1);
    for backwards in [false, true] {
        let mut region = world(&mut rng).remove(0);
        region.insert(0, 2);
        for i in 0..100_000 {
            let at = if backwards { 1 } else { 1 + i };
            let left = region.list[at - 1].0.clone();
            let right = region.list[at].0.clone();
            region.entries += 1;
            let maker = Maker { incarnation: region.incarnation, number: region.entries };
            let made = between(Some(&left), Some(&right), 1, maker).remove(0);
            assert!(made.len() <= 34 && left < made && made < right, "{} bytes", made.len());
            // Only the neighbours count: what lies behind them is forgotten, or the test would take quadratic time.
            if backwards { region.list[1].0 = made } else { region.list.insert(at, (made, 0)) }
        }
    }
}

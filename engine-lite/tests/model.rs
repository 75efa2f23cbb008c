//! Random histories of several regions, held against the slow obvious model at every step.
//!
//! `MODEL_SEEDS=first..last` runs a longer campaign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::World;

#[test]
fn regions_show_what_the_model_says_whatever_the_order_of_deltas() {
    let (mut writes, mut joins) = (0, 0);
    for seed in support::seeds("MODEL_SEEDS", 0..10_000) {
        let regions = 3 + usize::try_from(seed % 3).unwrap();
        let world = support::named(seed, || {
            let mut world = World::new(seed, regions);
            world.claims = seed % 2 == 0;
            for _ in 0..120 {
                world.step_without_faults();
            }
            world.settle();
            world
        });
        writes += world.writes;
        joins += world.joins;
    }
    println!("{writes} writes and {joins} joins, each compared with the model");
}

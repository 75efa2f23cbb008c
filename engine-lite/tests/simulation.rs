//! A seeded simulation of regions that lose data, links that gap, drivers that pause and clocks that jump.
//!
//! After everything healed, all regions have the same cells and show what the model says of all that any of them still
//! held. A failure prints its seed. `SIMULATION_SEEDS=first..last` runs a longer campaign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::World;

#[test]
fn regions_that_exchanged_everything_are_the_same_whatever_happened_before() {
    let mut totals = [0; 8];
    for seed in support::seeds("SIMULATION_SEEDS", 0..400) {
        let world = support::named(seed, || {
            let mut world = World::new(seed, 3 + usize::try_from(seed % 3).unwrap());
            for round in 1..=3 {
                for _ in 0..120 {
                    world.step_with_faults();
                }
                if round > 1 {
                    world.heal();
                }
            }
            world
        });
        for (total, n) in totals.iter_mut().zip([
            world.writes,
            world.joins,
            world.gaps,
            world.resynced,
            world.openings,
            world.collected,
            world.settled,
            world.pushed,
        ]) {
            *total += n;
        }
    }
    let [writes, joins, gaps, resyncs, openings, collected, settled, pushes] = totals;
    println!("{writes} writes, {joins} joins, {gaps} gaps, {resyncs} resyncs, {openings} incarnations");
    println!("{collected} cells collected, {settled} incarnations settled, {pushes} pushes");
    assert!(pushes > 0, "no push was ever taken");
}

#[test]
fn entries_set_aside_are_missed_by_nobody_once_they_are_recovered() {
    let mut aside = 0;
    for seed in support::seeds("SIMULATION_SEEDS", 0..400) {
        support::named(seed, || {
            let mut world = World::new(seed, 3 + usize::try_from(seed % 3).unwrap());
            world.torn = true;
            for _ in 0..2 {
                for _ in 0..120 {
                    world.step_with_faults();
                }
                world.heal();
            }
            aside += world.aside;
        });
    }
    println!("{aside} entries set aside");
}

// Whoever is restored holds what the others agreed without it that nobody holds any more.
#[test]
fn regions_restored_after_the_others_have_settled_without_them_are_the_same_again() {
    let mut settled = 0;
    for seed in support::seeds("SIMULATION_SEEDS", 0..200) {
        support::named(seed, || {
            let mut world = World::new(seed, 3);
            for _ in 0..3 {
                for _ in 0..30 {
                    world.step_with_faults();
                }
                world.restore_what_was_settled();
            }
            settled += world.settled;
        });
    }
    println!("{settled} incarnations settled");
    assert!(settled > 0, "no incarnation was ever settled");
}

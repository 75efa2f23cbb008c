//! Reads and writes that ask for more than the local region.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod calls;
mod quorums;
mod replicas;
mod sessions;

use std::{future::Future, time::Duration};

use archipelago::{Client, Keyspace, ReadStrength, WriteStrength, testing::servers::Options};
use archipelago_tests::{
    carry, suite,
    world::{self, Ground, World},
};

/// Three regions that know each other, and whose links nobody drives.
pub struct Case {
    pub world: World,
    pub clients: Vec<Client>,
}

impl Case {
    pub fn at(&self, region: usize) -> Keyspace {
        // Long: only what certainly fails waits for it.
        self.clients[region].keyspace("default").unwrap().with_deadline(Duration::from_secs(20))
    }

    pub fn reader(&self, region: usize, read: ReadStrength) -> Keyspace {
        self.at(region).with_read(read)
    }

    pub fn writer(&self, region: usize, write: WriteStrength) -> Keyspace {
        self.at(region).with_write(write)
    }

    pub async fn carry(&self, from: usize, to: usize) {
        let (from, to) = (world::store(&self.clients[from]), world::store(&self.clients[to]));
        for partition in 0..from.partitions() {
            carry::carry(&*from, &*to, partition).await;
        }
    }
}

async fn on<F: Future<Output = ()>>(ground: Ground, case: impl FnOnce(Case) -> F) {
    let Some(world) = World::with(ground, Options::durable(), world::settings()).await else {
        suite::not_run();
        return;
    };
    let clients = world.idle_clients().await;
    let of = Case { world, clients };
    for (from, to) in world::pairs() {
        of.carry(from, to).await;
    }
    case(of).await;
}

suite! {
    #[tokio::test]
    calls {
        a_write_of_a_majority_is_seen_by_a_read_of_a_majority_and_by_the_other_region_itself
        every_type_and_a_batch_are_pushed
        a_merged_read_answers_every_query
        a_write_that_changed_nothing_is_pushed_all_the_same
        what_an_expired_key_held_is_hidden_elsewhere_too
        too_few_regions_are_an_error_that_names_them
        a_removal_that_the_deadline_ends_says_how_much_is_gone
        a_region_that_never_heard_of_the_writer_does_not_count
        a_region_that_does_not_know_whom_a_removal_is_about_does_not_count
        a_merged_read_repairs_the_local_region
        a_read_at_home_goes_there
        strengths_that_cannot_be_are_refused
    }
    sessions {
        counterexample_34_a_pushed_cell_that_was_read_is_not_missed_elsewhere
        a_merged_read_covers_all_that_it_showed
        a_sessions_own_strong_writes_are_seen
    }
}

//! Sessions on the active-active plane: what a user has seen, in whatever region they go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod choices;
mod cost;
mod counterexamples;
mod faults;
mod lost_state;
mod merging;
mod moving;
mod order;
mod promoted;
mod tokens;

use std::{future::Future, sync::Arc, time::Duration};

use archipelago::{
    Client,
    config::KeyspaceConfig,
    sessions::{Session, SessionBuilder},
    store::Store,
    testing::servers::Options,
};
use archipelago_tests::{
    carry, suite,
    world::{self, Ground, World},
};

/// Three regions whose links are driven by hand.
pub struct Case {
    pub world: World,
    pub clients: Vec<Client>,
    stores: Vec<Arc<dyn Store>>,
}

impl Case {
    /// Brings everything from one region to another.
    pub async fn carry(&self, from: usize, to: usize) {
        for partition in 0..self.stores[from].partitions() {
            carry::carry(&*self.stores[from], &*self.stores[to], partition).await;
        }
    }

    /// All that one region holds, of whomever, to another.
    pub async fn resync(&self, from: usize, to: usize) {
        for partition in 0..self.stores[from].partitions() {
            carry::resync(&*self.stores[from], &*self.stores[to], partition).await.unwrap();
        }
    }

    /// Everything everywhere.
    pub async fn carry_all(&self) {
        for (from, to) in world::pairs() {
            self.carry(from, to).await;
        }
    }

    pub fn store(&self, at: usize) -> &dyn Store {
        &*self.stores[at]
    }

    /// A client in a region, with a session in front.
    pub fn at(&self, region: usize, session: &Session) -> Client {
        self.clients[region].with_session(session)
    }
}

/// A session that does not wait long for what nobody carries.
pub fn impatient() -> SessionBuilder {
    Session::builder().wait(Duration::from_millis(30))
}

async fn on<F: Future<Output = ()>>(ground: Ground, case: impl FnOnce(Case) -> F) {
    on_partitions(ground, 2, case).await;
}

/// The same with so many partitions.
pub async fn on_partitions<F: Future<Output = ()>>(ground: Ground, partitions: u16, case: impl FnOnce(Case) -> F) {
    let settings = KeyspaceConfig { partitions, ..world::settings() };
    let Some(world) = World::with(ground, Options::default(), settings).await else {
        suite::not_run();
        return;
    };
    let clients = world.idle_clients().await;
    let stores = clients.iter().map(world::store).collect();
    let case_of = Case { world, clients, stores };
    // Positions everywhere, before anything is told apart by them.
    case_of.carry_all().await;
    case(case_of).await;
}

suite! {
    #[tokio::test]
    counterexamples {
        counterexample_34_a_cell_read_ahead_of_applied_is_not_missed_elsewhere
        counterexample_35_a_write_that_changed_nothing_covers_what_it_saw
        refusals_and_removals_of_nothing_cover_what_they_saw
    }
    choices {
        a_region_that_is_behind_is_an_error_until_it_has_caught_up
        ask_origin_answers_from_the_region_that_wrote
        merge_answers_what_no_region_has_alone
        merge_brings_back_nothing_that_was_removed
        every_type_and_a_batch_see_the_sessions_own_writes
    }
    lost_state {
        a_write_that_its_region_lost_is_said_once_and_not_asked_for_again
        what_another_region_still_has_is_waited_for
        a_restart_with_all_data_loses_no_session
        a_token_of_other_regions_costs_one_wait
    }
}

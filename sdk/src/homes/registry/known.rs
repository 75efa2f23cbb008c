//! The homes that this process knows.

use std::time::Duration;

use moka::{ops::compute::Op, sync::Cache};
use tokio::time::Instant;

use super::user::User;
use crate::homes::assignment::{Assignment, Epoch};

/// How many are kept, about 200 bytes each.
const MOST: u64 = 100_000;

/// For so long a record is used without asking again.
pub(super) const FRESH: Duration = Duration::from_secs(60);

/// How many users with shut gates are watched.
const MOST_SHUT: u64 = 10_000;

/// The homes that this process knows. What is old is kept, too: it is better than nothing while the owner is away.
pub(super) struct Known {
    records: Cache<User, (Assignment, Instant)>,
    /// Since when the gate has been found shut while a move is under way, by the move's epoch.
    shut: Cache<User, (Epoch, Instant)>,
}

impl Known {
    pub(super) fn new() -> Self {
        let shut = Cache::builder().max_capacity(MOST_SHUT).time_to_idle(Duration::from_secs(600));
        Self { records: Cache::new(MOST), shut: shut.build() }
    }

    /// However old.
    pub(super) fn get(&self, user: &User) -> Option<Assignment> {
        self.records.get(user).map(|(record, _)| record)
    }

    pub(super) fn fresh(&self, user: &User) -> Option<Assignment> {
        self.records.get(user).filter(|(_, read)| read.elapsed() < FRESH).map(|(record, _)| record)
    }

    /// A record that was read, unless a later one is known.
    pub(super) fn learn(&self, user: &User, record: &Assignment) {
        let next = (record.clone(), Instant::now());
        self.records.entry_by_ref(user).and_compute_with(|held| match held {
            Some(held) if is_later(&held.value().0, record) => Op::Nop,
            Some(_) | None => Op::Put(next),
        });
    }

    /// For how long this process has found the gate shut during the move of this epoch.
    pub(super) fn shut_for(&self, user: &User, epoch: Epoch) -> Duration {
        let fresh = (epoch, Instant::now());
        let (of, since) = self.shut.get_with_by_ref(user, || fresh);
        if of == epoch {
            return since.elapsed();
        }
        self.shut.insert(user.clone(), fresh);
        Duration::ZERO
    }

    /// There is no record.
    pub(super) fn forget(&self, user: &User) {
        self.records.invalidate(user);
    }

    /// The move is over.
    pub(super) fn settled(&self, user: &User) {
        self.shut.invalidate(user);
    }
}

/// A commit keeps the epoch of its move.
fn is_later(held: &Assignment, record: &Assignment) -> bool {
    let rank = |record: &Assignment| (record.epoch(), record.moving_to().is_none());
    rank(held) > rank(record)
}

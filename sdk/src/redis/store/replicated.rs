//! Writes that wait for replicas.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{super::durable::Durable, RedisStore, stepwise::Durably};
use crate::store::{
    ReplicatedWrites, Replication, StoreError, Write,
    steps::{Patience, finish_all, runs},
};

impl RedisStore {
    pub(super) async fn write_and_wait(&self, writes: &[Write], replicas: u16, wait: Duration) -> ReplicatedWrites {
        match self.region.durable() {
            Ok(durable) => self.write_durably(durable, writes, replicas, wait).await,
            Err(what) => {
                let error = StoreError::Unavailable(what);
                ReplicatedWrites { outcomes: vec![Err(error.clone()); writes.len()], replication: Err(error) }
            }
        }
    }

    async fn write_durably(
        &self,
        durable: &Durable,
        writes: &[Write],
        replicas: u16,
        wait: Duration,
    ) -> ReplicatedWrites {
        let until = Instant::now() + wait;
        let left = || until.saturating_duration_since(Instant::now());
        let mut all = ReplicatedWrites { outcomes: Vec::new(), replication: Ok(Replication::default()) };
        for run in runs(writes) {
            let done = durable.write(&self.name, run, replicas, left()).await;
            let steps = Durably { store: self, durable, replicas, until, shortfall: Mutex::new(None) };
            all.outcomes.extend(finish_all(&steps, run, done.outcomes, Patience::until(until)).await);
            let shortfall = steps.shortfall.into_inner().unwrap_or_else(PoisonError::into_inner);
            // One WAIT covers all before it.
            all.replication = shortfall.unwrap_or(done.replication);
        }
        all
    }
}

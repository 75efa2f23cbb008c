//! Writes that wait for replicas.

use std::time::Duration;

use super::RedisStore;
use crate::store::{ReplicatedWrites, StoreError, Write};

impl RedisStore {
    pub(super) async fn write_and_wait(&self, writes: &[Write], replicas: u16, wait: Duration) -> ReplicatedWrites {
        match self.region.durable() {
            Ok(durable) => durable.write(&self.name, writes, replicas, wait).await,
            Err(what) => {
                let error = StoreError::Unavailable(what);
                ReplicatedWrites { outcomes: vec![Err(error.clone()); writes.len()], replication: Err(error) }
            }
        }
    }
}

//! The sweeper: clears what expired long enough ago, once nobody can have extended it unheard.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_engine::RegionId;

use super::convergence::entries_behind;
use crate::store::{Store, StoreError};

/// How often expired keys are looked for.
const PACE: Duration = Duration::from_secs(5);

/// Keys cleared in one sweep of a partition.
const KEYS: usize = 100;

/// Sweeps one region for ever. Any number of processes may do it at once.
pub(super) async fn sweep(store: Arc<dyn Store>, stores: BTreeMap<RegionId, Arc<dyn Store>>, grace: Duration) {
    loop {
        tokio::time::sleep(PACE).await;
        for partition in 0..store.partitions() {
            if let Err(error) = sweep_partition(&store, &stores, partition, grace).await {
                tracing::debug!(region = %store.region(), partition, %error, "sweep interrupted");
                break;
            }
        }
    }
}

/// A peer that is cut off may have extended the key while it was still alive: clearing it now would take the
/// extension's data away. So nothing is cleared before this region holds all that every peer holds. While a region is
/// away, what expires keeps its cells, hidden from readers.
async fn sweep_partition(
    store: &Arc<dyn Store>,
    stores: &BTreeMap<RegionId, Arc<dyn Store>>,
    partition: u16,
    grace: Duration,
) -> Result<(), StoreError> {
    if store.expired(partition, grace).await? == 0 {
        return Ok(());
    }
    let here = store.sync_state(partition).await?;
    for (region, peer) in stores.iter().filter(|(region, _)| *region != store.region()) {
        let there = peer.sync_state(partition).await?;
        if entries_behind(region, store.region(), &here, &there) > 0 {
            return Ok(());
        }
    }
    store.sweep(partition, grace, KEYS).await.map(drop)
}

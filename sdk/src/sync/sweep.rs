//! The sweeper: clears what expired long enough ago, once nobody can have extended it unheard, and returns units of stock
//! whose reservation has run out: that nobody but their own region decides.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_engine::RegionId;

use super::convergence::entries_behind;
use crate::store::{Store, StoreError};

/// How often expired keys are looked for.
const PACE: Duration = Duration::from_secs(5);

/// Keys cleared in one sweep of a partition, and stocks tidied.
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
    store.tidy(partition, KEYS).await?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use std::time::SystemTime;

    use archipelago_engine::{Assignment, Expiry, Key, Kind, Mutation, Retention};

    use super::*;
    use crate::{
        Embedded,
        store::{Query, Read, Reply, Write},
    };

    fn write(mutation: Mutation) -> Write {
        Write { key: Key::new(Kind::String, "k"), mutation, exclusive: false }
    }

    /// Counterexample 22: a region whose clock passes the expiry and the grace must not clear what a region that is cut
    /// off has extended meanwhile.
    #[tokio::test]
    async fn nothing_is_swept_before_every_peer_was_heard() {
        let regions = Embedded::builder().region("a").region("b").partitions(1).manual_clock(SystemTime::now()).build();
        let regions = regions.unwrap();
        let [a, b] = ["a", "b"].map(|name| name.parse::<RegionId>().unwrap());
        let stores: BTreeMap<_, _> =
            [&a, &b].map(|region| (region.clone(), regions.store(&a, region, "default").unwrap())).into();
        let (here, there) = (&stores[&a], &stores[&b]);
        let minute = Retention::Set(Expiry::In(60_000));
        let entries = vec![("".into(), "v".into())];
        let set = Mutation::Assign(Assignment { entries, retention: minute, ..Assignment::default() });
        here.write(&write(set)).await.unwrap();
        super::super::resync::resync(here, there, 0).await.unwrap();

        there.write(&write(Mutation::Expire(Expiry::In(86_400_000)))).await.unwrap();
        regions.cut("a", "b").unwrap();
        regions.advance(Duration::from_secs(180));
        let grace = Duration::from_secs(60);
        assert!(
            sweep_partition(here, &stores, 0, grace).await.is_err(),
            "a peer that cannot be asked may have extended"
        );
        regions.heal();
        sweep_partition(here, &stores, 0, grace).await.unwrap();
        assert_eq!(here.expired(0, grace).await.unwrap(), 1, "heard, but not yet joined");

        super::super::resync::resync(there, here, 0).await.unwrap();
        sweep_partition(here, &stores, 0, grace).await.unwrap();
        let read = Read { key: Key::new(Kind::String, "k"), query: Query::Value };
        assert_eq!(here.read(&read).await.unwrap(), Reply::Bytes("v".into()), "the extension holds");

        // Once it is over everywhere and everybody was heard, it goes.
        regions.advance(Duration::from_secs(90_000));
        sweep_partition(here, &stores, 0, grace).await.unwrap();
        assert_eq!(here.expired(0, grace).await.unwrap(), 0);
    }
}

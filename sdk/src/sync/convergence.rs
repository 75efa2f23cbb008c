//! Whether every region holds everything every other region has.

use std::{collections::BTreeMap, time::Duration};

use archipelago_engine::{Origin, RegionId, SyncState, Version};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Islands;
use crate::store::StoreError;

/// Between two looks.
const PACE: Duration = Duration::from_millis(25);

/// What keeps regions from holding the same, in words; empty when they do.
pub(crate) async fn missing(islands: &[Islands]) -> Vec<String> {
    let mut out = Vec::new();
    for island in islands {
        let looks = island.stores.iter().map(|(region, store)| async move {
            let partitions = (0..store.partitions()).map(|partition| store.sync_state(partition));
            (region, join_all(partitions).await.into_iter().collect::<Result<Vec<_>, StoreError>>())
        });
        let mut states = BTreeMap::new();
        for (region, state) in join_all(looks).await {
            match state {
                Ok(state) => {
                    states.insert(region, state);
                }
                Err(error) => out.push(format!("keyspace {}: region {region}: {error}", island.keyspace)),
            }
        }
        for (to, here) in &states {
            for (from, there) in states.iter().filter(|(from, _)| *from != to) {
                let (mut partitions, mut entries) = (0, 0);
                for (here, there) in here.iter().zip(there) {
                    let behind = entries_behind(from, to, here, there);
                    partitions += u64::from(behind > 0);
                    entries += behind;
                }
                if entries > 0 {
                    let lacks = format!(
                        "keyspace {}: {to} lacks about {entries} entries of {from} in {partitions} partitions",
                        island.keyspace
                    );
                    out.push(match island.interruptions.of(from, to, Instant::now()) {
                        Some(why) => format!("{lacks}; {why}"),
                        None => lacks,
                    });
                }
            }
            for (partition, state) in here.iter().enumerate() {
                for (origin, count) in &state.aside {
                    out.push(format!(
                        "keyspace {}: {count} log entries of {origin} could not be decoded and are set aside at {to}, partition \
                         {partition}; what they changed comes by a resync when the link starts anew: run `sync` again",
                        island.keyspace
                    ));
                }
            }
        }
    }
    out
}

/// How many entries of a region's log the other lacks; one where it lacks what that region holds of a third.
pub(super) fn entries_behind(from: &RegionId, to: &RegionId, here: &SyncState, there: &SyncState) -> u64 {
    let Some(record) = &there.record else { return 0 };
    let joined = here.cursors.get(from).filter(|cursor| cursor.incarnation == record.incarnation);
    let Some(cursor) = joined else { return there.number.max(1) };
    if cursor.number < there.number {
        return there.number - cursor.number;
    }
    let own = here.record.as_ref().map(|record| Origin::new(to.clone(), record.incarnation));
    let lacks = |(origin, version): (&Origin, &Version)| {
        // What one region has settled and another not yet is nothing that anybody lacks.
        Some(origin) != own.as_ref()
            && *version != Version::MAX
            && here.applied.get(origin).copied().unwrap_or_default() < *version
    };
    u64::from(there.applied.iter().any(lacks))
}

/// Waits until nothing is missing; at the end of `limit` answers what still is.
pub(crate) async fn wait_until(islands: &[Islands], limit: Duration) -> Result<(), Vec<String>> {
    let end = Instant::now() + limit;
    loop {
        let what = missing(islands).await;
        if what.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(what);
        }
        tokio::time::sleep(PACE).await;
    }
}

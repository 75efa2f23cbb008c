//! A link by hand: what a sync driver does, one step at a time.

use archipelago::{
    engine::{Batch, Body, Cursor, Delta, Incarnation, JoinReply, Key, LogSlice, ResyncPlan, SetAside, Version, codec},
    store::{ResyncFailure, Store, StoreError},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// All entries of a slice as one batch behind `from`; `None` when there are none.
#[must_use]
pub fn batch(slice: &LogSlice, from: u64) -> Option<Batch> {
    let (mut to, mut id, mut applied, mut vector) = (from, Version::ZERO, Version::ZERO, None);
    let mut deltas: BTreeMap<Key, Delta> = BTreeMap::new();
    let mut aside = Vec::new();
    for raw in &slice.entries {
        (to, id, applied) = (to + 1, raw.id, raw.id);
        match codec::decode_entry(&slice.origin, raw.id, &raw.bytes) {
            Ok(entry) => {
                (to, applied) = (entry.number, entry.last());
                match entry.body {
                    Body::Data(delta) => {
                        deltas.entry(delta.key.clone()).or_insert_with(|| Delta::new(delta.key.clone())).absorb(&delta);
                    }
                    Body::Vector { applied, .. } => vector = Some(applied),
                }
            }
            Err(_) => aside.push(SetAside { id: raw.id, bytes: raw.bytes.clone() }),
        }
    }
    (!slice.entries.is_empty()).then(|| Batch {
        origin: slice.origin.clone(),
        from,
        to,
        id,
        applied,
        epoch: slice.epoch,
        deltas: deltas.into_values().collect(),
        vector,
        aside,
    })
}

/// Where `to` stands in the log of `from`.
pub async fn cursor(from: &dyn Store, to: &dyn Store, partition: u16) -> Option<Cursor> {
    to.sync_state(partition).await.expect("a state").cursors.get(from.region()).copied()
}

/// The next batch of a link; `None` when there is nothing new.
///
/// # Panics
/// When a store fails, or when the destination has no position.
pub async fn next_batch(from: &dyn Store, to: &dyn Store, partition: u16, limit: usize) -> Option<Batch> {
    let cursor = cursor(from, to, partition).await.expect("a position: resync first");
    let slice = from.log_after(partition, cursor.id, limit).await.expect("a slice");
    batch(&slice, cursor.number)
}

/// Carries what is new; resyncs where there is no position.
///
/// # Panics
/// When a store fails.
pub async fn carry(from: &dyn Store, to: &dyn Store, partition: u16) {
    let incarnation = from.log_after(partition, Version::MAX, 1).await.expect("a slice").origin.incarnation;
    if cursor(from, to, partition).await.is_none_or(|cursor| cursor.incarnation != incarnation) {
        resync(from, to, partition).await.expect("a resync");
    }
    while let Some(batch) = next_batch(from, to, partition, 500).await {
        match to.join(partition, &batch).await.expect("a join") {
            JoinReply::Applied(_) | JoinReply::Known(_) => {}
            JoinReply::Gap(_) => drop(resync(from, to, partition).await.expect("a resync")),
            JoinReply::Epoch(epoch) => panic!("epoch {epoch}"),
        }
    }
}

/// A whole resync, begun anew; answers its plan. Where what is remembered is not enough, of every key.
///
/// # Errors
/// As the stores.
pub async fn resync(from: &dyn Store, to: &dyn Store, partition: u16) -> Result<ResyncPlan, ResyncFailure> {
    let remembered = to.sync_state(partition).await?.resynced.get(from.region()).copied();
    match walked_through(from, to, partition, remembered).await {
        Err(ResyncFailure::StartOver(_)) if remembered.is_some() => walked_through(from, to, partition, None).await,
        done => done,
    }
}

async fn walked_through(
    from: &dyn Store,
    to: &dyn Store,
    partition: u16,
    remembered: Option<(Incarnation, u64)>,
) -> Result<ResyncPlan, ResyncFailure> {
    let plan = from.begin_resync(partition, remembered).await?;
    to.start_resync(partition, &plan).await?;
    let mut after = Bytes::new();
    loop {
        let slice = from.walk(partition, &plan, &after, 3).await?;
        to.apply_slice(partition, &plan, &slice).await?;
        let Some(last) = slice.last else { break };
        after = last;
    }
    to.complete_resync(partition, &plan).await?;
    Ok(plan)
}

/// The whole log of a partition, as far as it was kept.
///
/// # Errors
/// As the store.
pub async fn log(store: &dyn Store, partition: u16) -> Result<LogSlice, StoreError> {
    store.log_after(partition, Version::ZERO, 1_000_000).await
}

//! A resync of one partition, from its beginning or from where another driver left it.

use std::sync::Arc;

use archipelago_engine::{Cursor, Delta, ResyncPlan, Slice};
use bytes::Bytes;

use crate::store::{ResyncFailure, Store, StoreError};

/// Keys looked at in one step of the walk.
const WALK: usize = 200;

/// Cells joined in one step: more would block the server.
const CELLS: usize = 400;

/// Ships what the destination cannot learn from the log any more, and returns the position to go on from.
pub(super) async fn resync(
    origin: &Arc<dyn Store>,
    destination: &Arc<dyn Store>,
    partition: u16,
) -> Result<Cursor, StoreError> {
    // Bounded: each start over means that an incarnation or a plan changed meanwhile.
    let mut last = String::new();
    for attempts in 0..5 {
        match attempt(origin, destination, partition, attempts == 0).await {
            Ok(cursor) => return Ok(cursor),
            Err(ResyncFailure::StartOver(why)) => last = why,
            Err(ResyncFailure::Superseded(opening)) => {
                origin.open(partition, opening).await?;
                last = format!("opening {opening} is known");
            }
            Err(ResyncFailure::Store(error)) => return Err(error),
        }
    }
    Err(StoreError::Stale(last))
}

async fn attempt(
    origin: &Arc<dyn Store>,
    destination: &Arc<dyn Store>,
    partition: u16,
    remembers: bool,
) -> Result<Cursor, ResyncFailure> {
    let (plan, mut after) = plan(origin, destination, partition, remembers).await?;
    let mut walked = 0;
    loop {
        let slice = origin.walk(partition, &plan, &after, WALK).await?;
        walked += slice.walked;
        let last = slice.last.clone();
        for part in split(slice) {
            destination.apply_slice(partition, &plan, &part).await?;
        }
        let Some(last) = last else { break };
        after = last;
    }
    destination.complete_resync(partition, &plan).await?;
    tracing::debug!(from = %origin.region(), to = %destination.region(), partition, walked, "resynced");
    Ok(Cursor { incarnation: plan.sender.incarnation, number: plan.number, id: plan.id })
}

/// The unfinished resync, if its sender is still the same incarnation; else a new one. After a refusal a new one of every
/// key: what the destination remembers may not be enough, when the origin has collected what it missed.
async fn plan(
    origin: &Arc<dyn Store>,
    destination: &Arc<dyn Store>,
    partition: u16,
    remembers: bool,
) -> Result<(ResyncPlan, Bytes), ResyncFailure> {
    let here = destination.sync_state(partition).await?;
    if let Some(progress) = here.resyncs.get(origin.region()).filter(|_| remembers) {
        let current = origin.sync_state(partition).await?.record.map(|record| record.incarnation);
        if current == Some(progress.plan.sender.incarnation) && !progress.after.is_empty() {
            return Ok((progress.plan.clone(), progress.after.clone()));
        }
    }
    let plan =
        origin.begin_resync(partition, here.resynced.get(origin.region()).copied().filter(|_| remembers)).await?;
    destination.start_resync(partition, &plan).await?;
    Ok((plan, Bytes::new()))
}

/// Parts of a slice with not too many cells, each with its own range of keys.
fn split(mut slice: Slice) -> Vec<Slice> {
    let deltas = std::mem::take(&mut slice.deltas);
    let mut parts: Vec<Slice> = Vec::new();
    let mut part = slice.clone();
    let mut cells = 0;
    for delta in deltas {
        let count = Delta::len(&delta);
        if cells + count > CELLS
            && let Some(end) = part.deltas.last().map(|delta| delta.key.index_entry())
        {
            let next = Slice { after: end.clone(), ..slice.clone() };
            parts.push(Slice { last: Some(end), ..std::mem::replace(&mut part, next) });
            cells = 0;
        }
        cells += count;
        part.deltas.push(delta);
    }
    parts.push(part);
    parts
}

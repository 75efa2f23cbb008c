//! One partition of a link: reads the origin's log and joins it at the destination, many joins in flight.

use std::sync::Arc;

use archipelago_engine::{Batch, Body, Cursor, JoinReply, LogSlice, Origin, Version, codec};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{sync::Notify, time::Instant};

use super::{
    batch::{Gap, assemble},
    chores::{Chores, look_pace},
    resync::resync,
};
use crate::{
    config::defaults,
    conflicts::Conflicts,
    store::{Store, StoreError},
};

/// Entries read from the log at once.
const READ: usize = 500;

/// One partition of a link.
pub(super) struct Pump {
    pub(super) origin: Arc<dyn Store>,
    pub(super) destination: Arc<dyn Store>,
    pub(super) partition: u16,
    pub(super) chores: Chores,
    pub(super) conflicts: Conflicts,
    /// Rung when the origin's log has news.
    pub(super) news: Arc<Notify>,
    /// Where reading goes on, shown to whoever waits for entries behind it.
    pub(super) read_to: Arc<std::sync::Mutex<Version>>,
    /// Rung when a read is done.
    pub(super) has_read: Arc<Notify>,
}

type Reading = BoxFuture<'static, Result<LogSlice, StoreError>>;
type Join = BoxFuture<'static, (bool, Result<JoinReply, StoreError>)>;

impl Pump {
    /// Runs until the future is dropped or a store fails.
    pub(super) async fn run(&self) -> Result<(), StoreError> {
        tokio::select! {
            result = self.carry() => result,
            result = self.chores.run() => result,
        }
    }

    async fn carry(&self) -> Result<(), StoreError> {
        let mut position = self.position().await?;
        self.chores.stands_at(position);
        let mut in_flight: FuturesOrdered<Join> = FuturesOrdered::new();
        let mut at_end = false;
        // Kept across the turns of the loop: begun anew with every answer it might never end.
        let mut reading: Option<Reading> = None;
        let pace = look_pace(self.origin.partitions());
        let mut look = Instant::now() + pace;
        loop {
            self.show(position.id);
            if reading.is_none() && !at_end && in_flight.len() < defaults::JOINS_IN_FLIGHT {
                reading = Some(self.read(position));
            }
            tokio::select! {
                // First, so that what was queued is on its way before the next read.
                biased;
                Some((had_data, reply)) = in_flight.next() => match reply? {
                    JoinReply::Applied(cursor) | JoinReply::Known(cursor) => self.chores.joined(cursor, had_data),
                    JoinReply::Gap(_) => {
                        // What was sent behind it is refused as well.
                        while in_flight.next().await.is_some() {}
                        position = self.position().await?;
                        self.chores.stands_at(position);
                        (at_end, reading) = (false, None);
                    }
                    JoinReply::Epoch(theirs) => {
                        return Err(StoreError::Server(format!("membership epoch {theirs} at the destination")));
                    }
                },
                slice = next(&mut reading), if reading.is_some() => {
                    reading = None;
                    let slice = slice?;
                    at_end = slice.entries.is_empty();
                    if let Some(last) = slice.entries.last() {
                        self.show(last.id);
                    }
                    self.has_read.notify_one();
                    match assemble(&slice, position, defaults::BATCH_CELLS) {
                        Ok(batches) => for batch in batches {
                            position = Cursor { number: batch.to, id: batch.id, ..position };
                            if let Some(vector) = &batch.vector {
                                self.chores.vector_seen(vector);
                            }
                            in_flight.push_back(self.join(batch));
                        },
                        Err(Gap) => {
                            while in_flight.next().await.is_some() {}
                            position = resync(&self.origin, &self.destination, self.partition).await?;
                            self.chores.stands_at(position);
                        }
                    }
                }
                () = self.news.notified(), if at_end => at_end = false,
                () = tokio::time::sleep_until(look), if at_end => {
                    // The read makes the history check at the origin.
                    at_end = false;
                    look = Instant::now() + pace;
                }
            }
        }
    }

    fn read(&self, position: Cursor) -> Reading {
        let (origin, partition) = (self.origin.clone(), self.partition);
        Box::pin(async move { origin.log_after(partition, position.id, READ).await })
    }

    fn show(&self, id: Version) {
        *self.read_to.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = id;
    }

    fn join(&self, batch: Batch) -> Join {
        let (destination, conflicts, partition) = (self.destination.clone(), self.conflicts.clone(), self.partition);
        let had_data = !batch.deltas.is_empty();
        Box::pin(async move { (had_data, conflicts.join(destination.as_ref(), partition, &batch).await) })
    }

    /// Where the destination stands; a resync if it stands nowhere in the origin's current log.
    async fn position(&self) -> Result<Cursor, StoreError> {
        let here = self.destination.sync_state(self.partition).await?;
        let there = self.origin.log_after(self.partition, Version::MAX, 1).await?;
        match here.cursors.get(self.origin.region()) {
            Some(cursor) if cursor.incarnation == there.origin.incarnation => {
                if self.retry_set_aside(&there.origin).await? {
                    return Ok(*cursor);
                }
                // What they changed comes by a resync, unless that cannot be read either: then the link goes on as it did.
                match resync(&self.origin, &self.destination, self.partition).await {
                    Ok(position) => Ok(position),
                    Err(error) => {
                        let (from, to) = (self.origin.region(), self.destination.region());
                        tracing::warn!(%from, %to, partition = self.partition, %error, "entries stay set aside");
                        Ok(*cursor)
                    }
                }
            }
            Some(_) | None => resync(&self.origin, &self.destination, self.partition).await,
        }
    }

    /// Entries that an older build could not decode. Answers whether none is left.
    async fn retry_set_aside(&self, origin: &Origin) -> Result<bool, StoreError> {
        let mut none_is_left = true;
        for entry in self.destination.aside(self.partition, origin).await? {
            let Ok(decoded) = codec::decode_entry(origin, entry.id, &entry.bytes) else {
                none_is_left = false;
                continue;
            };
            let delta = match &decoded.body {
                Body::Data(delta) => Some(delta),
                Body::Vector { .. } => None,
            };
            self.destination.recover(self.partition, origin, entry.id, delta).await?;
        }
        Ok(none_is_left)
    }
}

async fn next(reading: &mut Option<Reading>) -> Result<LogSlice, StoreError> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

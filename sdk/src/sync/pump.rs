//! One partition of a link: reads the origin's log and joins it at the destination, many joins in flight.

use std::{sync::Arc, time::Duration};

use archipelago_engine::{Batch, Body, Cursor, JoinReply, LogSlice, Origin, RegionId, Vector, Version, codec};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{sync::Notify, time::Instant};

use super::{
    batch::{Gap, assemble},
    resync::resync,
};
use crate::{
    config::defaults,
    store::{Store, StoreError},
};

/// Entries read from the log at once.
const READ: usize = 500;

/// How often a destination's position is told to the origin, which trims its log behind it.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// How often a region that received data writes into its own log what it holds: at most three times a second.
const PUBLISH: Duration = Duration::from_millis(350);

/// How long a peer may stay ahead on a third region before its writes are relayed: a live link would have caught up.
const RELAY: Duration = Duration::from_secs(2);

/// One partition of a link.
pub(super) struct Pump {
    pub(super) origin: Arc<dyn Store>,
    pub(super) destination: Arc<dyn Store>,
    pub(super) partition: u16,
    pub(super) members: Arc<Vec<RegionId>>,
    /// Rung when the origin's log has news.
    pub(super) news: Arc<Notify>,
    /// Where reading goes on, shown to whoever waits for entries behind it.
    pub(super) read_to: Arc<std::sync::Mutex<Version>>,
}

type Reading = BoxFuture<'static, Result<LogSlice, StoreError>>;
type Join = BoxFuture<'static, (bool, Result<JoinReply, StoreError>)>;

/// When the chores are due; idle partitions have none.
#[derive(Default)]
struct Chores {
    acknowledge: Option<Instant>,
    publish: Option<Instant>,
    relay: Option<Instant>,
    acknowledged: u64,
    published: Option<Instant>,
    vector: Option<Vector>,
    before: Option<Vector>,
}

impl Pump {
    /// Runs until the future is dropped or a store fails.
    pub(super) async fn run(&self) -> Result<(), StoreError> {
        let mut position = self.position().await?;
        let mut chores = Chores { relay: Some(Instant::now() + RELAY), ..Chores::default() };
        let mut in_flight: FuturesOrdered<Join> = FuturesOrdered::new();
        let mut at_end = false;
        // Kept across the turns of the loop: begun anew with every answer it might never end.
        let mut reading: Option<Reading> = None;
        loop {
            self.show(position.id);
            if reading.is_none() && !at_end && in_flight.len() < defaults::JOINS_IN_FLIGHT {
                reading = Some(self.read(position));
            }
            tokio::select! {
                // First, so that what was queued is on its way before the next read.
                biased;
                Some((had_data, reply)) = in_flight.next() => match reply? {
                    JoinReply::Applied(cursor) | JoinReply::Known(cursor) => chores.joined(cursor, had_data),
                    JoinReply::Gap(_) => {
                        // What was sent behind it is refused as well.
                        while in_flight.next().await.is_some() {}
                        position = self.position().await?;
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
                    match assemble(&slice, position, defaults::BATCH_CELLS) {
                        Ok(batches) => for batch in batches {
                            position = Cursor { number: batch.to, id: batch.id, ..position };
                            chores.vector_seen(batch.vector.as_ref());
                            in_flight.push_back(self.join(batch));
                        },
                        Err(Gap) => {
                            while in_flight.next().await.is_some() {}
                            position = resync(&self.origin, &self.destination, self.partition).await?;
                            chores.vector_seen(None);
                        }
                    }
                }
                () = self.news.notified(), if at_end => at_end = false,
                () = chores.due() => self.do_chores(&mut chores, position).await?,
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
        let (destination, partition) = (self.destination.clone(), self.partition);
        let had_data = !batch.deltas.is_empty();
        Box::pin(async move { (had_data, destination.join(partition, &batch).await) })
    }

    /// Where the destination stands; a resync if it stands nowhere in the origin's current log.
    async fn position(&self) -> Result<Cursor, StoreError> {
        let here = self.destination.sync_state(self.partition).await?;
        let there = self.origin.log_after(self.partition, Version::MAX, 1).await?;
        match here.cursors.get(self.origin.region()) {
            Some(cursor) if cursor.incarnation == there.origin.incarnation => {
                self.retry_set_aside(&there.origin).await?;
                Ok(*cursor)
            }
            Some(_) | None => resync(&self.origin, &self.destination, self.partition).await,
        }
    }

    /// Entries that an older build could not decode.
    async fn retry_set_aside(&self, origin: &Origin) -> Result<(), StoreError> {
        for entry in self.destination.aside(self.partition, origin).await? {
            if let Ok(decoded) = codec::decode_entry(origin, entry.id, &entry.bytes) {
                let delta = match &decoded.body {
                    Body::Data(delta) => Some(delta),
                    Body::Vector { .. } => None,
                };
                self.destination.recover(self.partition, origin, entry.id, delta).await?;
            }
        }
        Ok(())
    }

    async fn do_chores(&self, chores: &mut Chores, position: Cursor) -> Result<(), StoreError> {
        let now = Instant::now();
        if chores.publish.is_some_and(|due| due <= now) {
            chores.publish = None;
            chores.published = Some(now);
            self.destination.publish_vector(self.partition).await?;
        }
        if chores.acknowledge.is_some_and(|due| due <= now) {
            chores.acknowledge = None;
            let here = self.destination.sync_state(self.partition).await?;
            if let Some(cursor) = here.cursors.get(self.origin.region())
                && cursor.incarnation == position.incarnation
            {
                let known = self.destination.region();
                self.origin.acknowledge(self.partition, known, *cursor, &self.members).await?;
            }
        }
        if chores.relay.is_some_and(|due| due <= now) {
            chores.relay = None;
            self.relay(chores).await?;
        }
        Ok(())
    }

    /// A peer that stays ahead on an origin whose own link does not deliver ships what it holds of it.
    async fn relay(&self, chores: &mut Chores) -> Result<(), StoreError> {
        let here = self.destination.sync_state(self.partition).await?;
        let theirs = match chores.vector.take() {
            Some(vector) => vector,
            None => self.origin.sync_state(self.partition).await?.applied,
        };
        let own = here.record.as_ref().map(|r| Origin::new(self.destination.region().clone(), r.incarnation));
        let behind: Vector = theirs
            .iter()
            .filter(|(origin, version)| {
                Some(*origin) != own.as_ref() && here.applied.get(*origin).is_none_or(|held| held < *version)
            })
            .map(|(origin, _)| (origin.clone(), here.applied.get(origin).copied().unwrap_or_default()))
            .collect();
        if behind.is_empty() {
            chores.before = None;
        } else if chores
            .before
            .as_ref()
            .is_some_and(|before| before.iter().any(|entry| behind.get(entry.0) == Some(entry.1)))
        {
            // Behind as before, and nothing came meanwhile: its own link does not deliver.
            chores.before = None;
            resync(&self.origin, &self.destination, self.partition).await?;
        } else {
            chores.before = Some(behind);
            chores.vector = Some(theirs);
            chores.relay = Some(Instant::now() + RELAY);
        }
        Ok(())
    }
}

async fn next(reading: &mut Option<Reading>) -> Result<LogSlice, StoreError> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

impl Chores {
    fn joined(&mut self, cursor: Cursor, had_data: bool) {
        let now = Instant::now();
        if had_data && self.publish.is_none() {
            self.publish = Some(self.published.map_or(now, |last| (last + PUBLISH).max(now)));
        }
        if cursor.number > self.acknowledged {
            self.acknowledged = cursor.number;
            self.acknowledge.get_or_insert(now + ACKNOWLEDGE);
        }
    }

    fn vector_seen(&mut self, vector: Option<&Vector>) {
        if let Some(vector) = vector {
            self.vector = Some(vector.clone());
            self.relay.get_or_insert_with(|| Instant::now() + RELAY);
        }
    }

    async fn due(&self) {
        match [self.acknowledge, self.publish, self.relay].into_iter().flatten().min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

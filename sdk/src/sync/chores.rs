//! The chores of one partition of a link, beside its pump so that no round trip of theirs holds a join up: telling the
//! origin what may be trimmed, publishing what the destination holds, and relaying what a third region's link does not
//! deliver. Idle partitions have none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use archipelago_engine::{Cursor, Origin, RegionId, Vector, Version};
use tokio::{sync::Notify, time::Instant};

use super::resync::resync;
use crate::store::{Store, StoreError};

/// How often a destination's position is told to the origin, which trims its log behind it.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// How often a region that received data writes into its own log what it holds: at most three times a second.
const PUBLISH: Duration = Duration::from_millis(350);

/// How long a peer may stay ahead on a third region before its writes are relayed: a live link would have caught up.
const RELAY: Duration = Duration::from_secs(2);

/// How often a link that hears nothing looks whether both regions still know of it: this, and so much more for each
/// partition. A region that was flushed, or restarted without its files, says nothing by itself. A wait for entries of
/// a log that is gone never ends with any, and a position that was lost is not missed before the next join.
const LOOK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));

/// The time between two looks of a link with so many partitions.
pub(super) fn look_pace(partitions: u16) -> Duration {
    LOOK.0 + LOOK.1 * u32::from(partitions)
}

/// What there is to do, and when.
#[derive(Debug, Default)]
struct Due {
    acknowledge: Option<(Instant, Cursor)>,
    publish: Option<Instant>,
    relay: Option<Instant>,
    look: Option<Instant>,
    /// Where the destination stood when it was last heard of.
    position: Option<Cursor>,
    published: Option<Instant>,
    acknowledged: Option<Cursor>,
    /// What the origin said last that it holds.
    vector: Option<Vector>,
    /// What the destination lacked at the last look, and how far it was.
    behind: Option<Vector>,
}

/// The chores of one partition of a link.
#[derive(Debug)]
pub(super) struct Chores {
    origin: Arc<dyn Store>,
    destination: Arc<dyn Store>,
    partition: u16,
    members: Arc<Vec<RegionId>>,
    due: Mutex<Due>,
    changed: Notify,
}

impl Chores {
    pub(super) fn new(
        origin: Arc<dyn Store>,
        destination: Arc<dyn Store>,
        partition: u16,
        members: Arc<Vec<RegionId>>,
    ) -> Self {
        // One look at the start: what a third region's link failed to deliver may have been there before us.
        let due = Due { relay: Some(Instant::now() + RELAY), ..Due::default() };
        Self { origin, destination, partition, members, due: Mutex::new(due), changed: Notify::new() }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch was joined.
    pub(super) fn joined(&self, cursor: Cursor, had_data: bool) {
        let now = Instant::now();
        let mut due = self.due();
        due.position = Some(cursor);
        due.look = Some(now + look_pace(self.origin.partitions()));
        if had_data && due.publish.is_none() {
            due.publish = Some(due.published.map_or(now, |last| (last + PUBLISH).max(now)));
        }
        if due.acknowledged != Some(cursor) {
            let at = due.acknowledge.map_or(now + ACKNOWLEDGE, |(at, _)| at);
            due.acknowledge = Some((at, cursor));
        }
        drop(due);
        self.changed.notify_one();
    }

    /// The destination stands here: after a start, a gap or a resync.
    pub(super) fn stands_at(&self, cursor: Cursor) {
        let mut due = self.due();
        due.position = Some(cursor);
        due.look = Some(Instant::now() + look_pace(self.origin.partitions()));
        drop(due);
        self.changed.notify_one();
    }

    /// The origin said what it holds.
    pub(super) fn vector_seen(&self, vector: &Vector) {
        let mut due = self.due();
        due.vector = Some(vector.clone());
        due.relay.get_or_insert_with(|| Instant::now() + RELAY);
        drop(due);
        self.changed.notify_one();
    }

    /// Runs until the future is dropped or a store fails.
    pub(super) async fn run(&self) -> Result<(), StoreError> {
        loop {
            let next = {
                let due = self.due();
                [due.acknowledge.map(|(at, _)| at), due.publish, due.relay, due.look].into_iter().flatten().min()
            };
            match next {
                Some(at) if at <= Instant::now() => self.do_what_is_due().await?,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    async fn do_what_is_due(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        let (publish, acknowledge, relay, look) = {
            let mut due = self.due();
            let publish = due.publish.take_if(|at| *at <= now).is_some();
            if publish {
                due.published = Some(now);
            }
            let acknowledge = due.acknowledge.take_if(|(at, _)| *at <= now).map(|(_, cursor)| cursor);
            due.acknowledged = acknowledge.or(due.acknowledged);
            let relay = due.relay.take_if(|at| *at <= now).is_some();
            (publish, acknowledge, relay, due.look.take_if(|at| *at <= now).is_some())
        };
        if publish {
            self.destination.publish_vector(self.partition).await?;
        }
        if let Some(cursor) = acknowledge {
            let destination = self.destination.region();
            match self.origin.acknowledge(self.partition, destination, cursor, &self.members).await {
                // The log it was about is closed; the pump will find out and resync.
                Ok(()) | Err(StoreError::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if relay {
            self.relay().await?;
        }
        if look {
            self.look().await?;
        }
        Ok(())
    }

    /// Whether the destination still stands where this link left it. An error starts the link over.
    async fn look(&self) -> Result<(), StoreError> {
        let here = self.destination.sync_state(self.partition).await?;
        let mut due = self.due();
        let cursor = here.cursors.get(self.origin.region());
        let is_lost = |left: Cursor| {
            cursor.is_none_or(|cursor| cursor.incarnation != left.incarnation || cursor.number < left.number)
        };
        // What was joined meanwhile is newer than this answer.
        let unmoved = due.look.is_none();
        due.look.get_or_insert(Instant::now() + look_pace(self.origin.partitions()));
        if unmoved && due.position.is_some_and(is_lost) {
            return Err(StoreError::Stale("the destination lost its position".to_owned()));
        }
        Ok(())
    }

    /// A peer that stays ahead on an origin whose own link does not deliver ships what it holds of it.
    async fn relay(&self) -> Result<(), StoreError> {
        let here = self.destination.sync_state(self.partition).await?;
        let said = self.due().vector.take();
        let theirs = match said {
            Some(vector) => vector,
            None => self.origin.sync_state(self.partition).await?.applied,
        };
        let own = here.record.as_ref().map(|r| Origin::new(self.destination.region().clone(), r.incarnation));
        let lacks = |origin: &Origin, version: &Version| {
            Some(origin) != own.as_ref() && here.applied.get(origin).copied().unwrap_or_default() < *version
        };
        let behind: Vector = theirs
            .iter()
            .filter(|(origin, version)| lacks(origin, version))
            .map(|(origin, _)| (origin.clone(), here.applied.get(origin).copied().unwrap_or_default()))
            .collect();
        let before = self.due().behind.take();
        if behind.is_empty() {
            return Ok(());
        }
        let stuck = before.is_some_and(|before| before.iter().any(|entry| behind.get(entry.0) == Some(entry.1)));
        if stuck {
            // Behind as before, and nothing came meanwhile: its own link does not deliver.
            return resync(&self.origin, &self.destination, self.partition).await.map(drop);
        }
        let mut due = self.due();
        due.behind = Some(behind);
        due.vector = due.vector.take().or(Some(theirs));
        due.relay.get_or_insert_with(|| Instant::now() + RELAY);
        Ok(())
    }
}

//! The store contract on embedded regions, call by call.

use std::{sync::Arc, time::Duration};

use archipelago_engine::{
    Arrived, Batch, Collection, Conflict, Cursor, Deadline, Delta, Incarnation, JoinReply, Key, KeyState, Kind,
    LogSlice, Mutation, Origin, Outcome, Partition, Push, PushReply, Record, RegionId, ResyncPlan, SetAside, Since,
    Slice, Standing, StockChange, SyncState, Version, View,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    calls::{EmbeddedStore, no_randomness},
    clock::micros,
    region::{Lease, fresh_incarnation},
};
use crate::{
    config::defaults,
    keyspace::PhysicalKeys,
    store::{
        Excerpt, Inspection, Read, ReplicatedWrites, Replication, Reply, ResyncFailure, Store, StoreError, Write, steps,
    },
};

#[async_trait]
impl Store for EmbeddedStore {
    fn region(&self) -> &RegionId {
        &self.region.id
    }

    fn partitions(&self) -> u16 {
        self.world.partitions
    }

    async fn write(&self, write: &Write) -> Result<Outcome, StoreError> {
        steps::finish(self, write, self.call(|state, now| self.write_at(state, now, write)).await).await
    }

    async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        steps::write_all(self, writes, None).await
    }

    async fn write_all_within(&self, writes: &[Write], wait: Duration) -> Vec<Result<Outcome, StoreError>> {
        steps::write_all(self, writes, Some(Instant::now() + wait)).await
    }

    async fn read(&self, read: &Read) -> Result<Reply, StoreError> {
        self.call(|state, now| self.read_at(state, now, read)).await
    }

    async fn read_all(&self, reads: &[Read]) -> Vec<Result<Reply, StoreError>> {
        self.pipeline(reads.len(), |state, now| reads.iter().map(|read| self.read_at(state, now, read)).collect()).await
    }

    async fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        self.call(|state, now| self.stand_at(state, now, &slot)).await
    }

    async fn read_and_stand(&self, read: &Read) -> Result<(Reply, Standing), StoreError> {
        let slot = self.slot_of(&read.key);
        self.call(|state, now| Ok((self.read_at(state, now, read)?, self.stand_at(state, now, &slot)?))).await
    }

    async fn write_and_stand(&self, write: &Write) -> (Result<Outcome, StoreError>, Option<Standing>) {
        let slot = self.slot_of(&write.key);
        let done = self.call(|state, now| {
            let outcome = self.write_at(state, now, write);
            Ok((outcome, self.stand_at(state, now, &slot).ok()))
        });
        let done = done.await.unwrap_or_else(|error| (Err(error), None));
        steps::finish_and_stand(self, write, done).await
    }

    async fn cells_and_stand(&self, excerpt: &Excerpt) -> Result<(KeyState, Standing), StoreError> {
        let slot = self.slot_of(&excerpt.key);
        self.call(|state, now| {
            let standing = self.stand_at(state, now, &slot)?;
            let cells = state.partition(&slot).key(&excerpt.key).map(|state| excerpt.cut(state));
            Ok((cells.unwrap_or_default(), standing))
        })
        .await
    }

    async fn arrived(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, StoreError> {
        let (_, partition) = self.slot_of(key);
        self.stale_step(partition, |partition, history, now| partition.arrived(history, now, key, since, limit)).await
    }

    async fn push(&self, partition: u16, push: &Push) -> Result<PushReply, StoreError> {
        self.stale_step(partition, |partition, history, _| {
            let reply = partition.push(history, push);
            self.tell(push.deltas.iter().map(|delta| &delta.key));
            reply
        })
        .await
    }

    async fn push_and_tell(&self, partition: u16, push: &Push) -> Result<(PushReply, Vec<Conflict>), StoreError> {
        self.stale_step(partition, |partition, history, _| {
            let reply = partition.push_and_tell(history, push);
            self.tell(push.deltas.iter().map(|delta| &delta.key));
            reply
        })
        .await
    }

    /// Replicas of embedded regions hold the keys of routed keyspaces only: none ever confirms.
    async fn write_replicated(&self, writes: &[Write], _: u16, wait: Duration) -> ReplicatedWrites {
        let outcomes = self.write_all_within(writes, wait).await;
        ReplicatedWrites { outcomes, replication: Ok(Replication::default()) }
    }

    async fn clock(&self) -> Result<Version, StoreError> {
        self.call(|_, now| Ok(now)).await
    }

    async fn sync_state(&self, partition: u16) -> Result<SyncState, StoreError> {
        self.check_partition(partition)?;
        self.call(|state, _| Ok(state.partition(&self.slot(partition)).sync_state())).await
    }

    async fn open(&self, partition: u16, floor: u64) -> Result<Record, StoreError> {
        self.check_partition(partition)?;
        let fresh = fresh_incarnation().map_err(no_randomness)?;
        self.call(|state, now| {
            let record = state.open(&self.slot(partition), fresh, floor, now);
            self.region.news.notify_waiters();
            Ok(record)
        })
        .await
    }

    async fn log_after(&self, partition: u16, after: Version, limit: usize) -> Result<LogSlice, StoreError> {
        self.stale_step(partition, |partition, history, _| partition.log_after(history, after, limit)).await
    }

    /// The wait is the caller's patience: it passes by the machine's clock, a manual one or not.
    async fn wait_for_entries(&self, after: &[(u16, Version)], wait: Duration) -> Result<Vec<u16>, StoreError> {
        let connection = self.go().await?;
        let found = match tokio::time::timeout(wait, self.first_entries(connection, after)).await {
            Ok(found) => found?,
            Err(_) => Vec::new(),
        };
        self.come_back(connection).await?;
        Ok(found)
    }

    async fn join(&self, partition: u16, batch: &Batch) -> Result<JoinReply, StoreError> {
        let skew = micros(defaults::MAX_CLOCK_SKEW);
        self.stale_step(partition, |partition, history, now| {
            let joined = partition.join(history, now, skew, batch);
            self.tell(batch.deltas.iter().map(|delta| &delta.key));
            joined
        })
        .await
    }

    async fn join_and_tell(&self, partition: u16, batch: &Batch) -> Result<(JoinReply, Vec<Conflict>), StoreError> {
        let skew = micros(defaults::MAX_CLOCK_SKEW);
        self.stale_step(partition, |partition, history, now| {
            let joined = partition.join_and_tell(history, now, skew, batch);
            self.tell(batch.deltas.iter().map(|delta| &delta.key));
            joined
        })
        .await
    }

    async fn aside(&self, partition: u16, origin: &Origin) -> Result<Vec<SetAside>, StoreError> {
        self.check_partition(partition)?;
        self.call(|state, _| Ok(state.partition(&self.slot(partition)).aside(origin))).await
    }

    async fn recover(
        &self,
        partition: u16,
        origin: &Origin,
        id: Version,
        delta: Option<&Delta>,
    ) -> Result<(), StoreError> {
        self.stale_step(partition, |partition, history, _| {
            let recovered = partition.recover(history, origin, id, delta);
            self.tell(delta.map(|delta| &delta.key));
            recovered
        })
        .await
    }

    async fn begin_resync(
        &self,
        partition: u16,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, StoreError> {
        self.stale_step(partition, |partition, history, now| partition.begin_resync(history, now, remembered)).await
    }

    async fn walk(
        &self,
        partition: u16,
        plan: &ResyncPlan,
        after: &Bytes,
        limit: usize,
    ) -> Result<Slice, ResyncFailure> {
        self.resync_step(partition, |partition, history| partition.walk(history, plan, after, limit)).await
    }

    async fn start_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        self.resync_step(partition, |partition, history| partition.start_resync(history, plan)).await
    }

    async fn apply_slice(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure> {
        self.resync_step(partition, |partition, history| {
            let applied = partition.apply_slice(history, plan, slice);
            // A slice also says what the sender lacks, without naming it.
            self.region.listeners.all_changed();
            applied
        })
        .await
    }

    async fn complete_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        self.resync_step(partition, |partition, history| partition.complete_resync(history, plan)).await
    }

    async fn acknowledge(
        &self,
        partition: u16,
        destination: &RegionId,
        cursor: Cursor,
        members: &[RegionId],
    ) -> Result<(), StoreError> {
        let cap = self.world.log_cap;
        self.stale_step(partition, |partition, history, _| {
            partition.acknowledge(history, destination, cursor, members, cap)
        })
        .await
    }

    async fn publish_vector(&self, partition: u16) -> Result<bool, StoreError> {
        self.stale_step(partition, |partition, history, now| partition.publish_vector(history, now)).await
    }

    async fn republish_vector(&self, partition: u16) -> Result<(), StoreError> {
        self.stale_step(partition, |partition, history, now| partition.republish_vector(history, now)).await
    }

    async fn collect(&self, partition: u16, members: &[RegionId], limit: usize) -> Result<Collection, StoreError> {
        self.stale_step(partition, |partition, history, now| partition.collect(history, now, members, limit)).await
    }

    async fn expired(&self, partition: u16, grace: Duration) -> Result<u64, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        self.call(|state, now| Ok(expired(state.partition(&slot), now, grace).len() as u64)).await
    }

    async fn sweep(&self, partition: u16, grace: Duration, limit: usize) -> Result<u64, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        let over = self.call(|state, now| Ok(expired(state.partition(&slot), now, grace))).await?;
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let mut cleared = 0;
        for (_, key) in over.into_iter().take(limit) {
            let write = Write { key, mutation: Mutation::Sweep { grace }, exclusive: false };
            if let Outcome::Cleared { existed: true, .. } = self.write(&write).await? {
                cleared += 1;
            }
        }
        Ok(cleared)
    }

    async fn stocks(&self, partition: u16, after: Option<&Bytes>, limit: usize) -> Result<Vec<Key>, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        self.call(|state, _| {
            let names = state.partition(&slot).keys().map(|(key, _)| key);
            let stocks = names.filter(|key| key.kind == Kind::Stock && after.is_none_or(|after| key.name > *after));
            Ok(stocks.take(limit).cloned().collect())
        })
        .await
    }

    async fn tidy(&self, partition: u16, limit: usize) -> Result<u64, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        self.call(|state, now| {
            let overdue = state.partition(&slot).overdue(now, limit);
            for key in &overdue {
                let mutation = Mutation::Stock(StockChange::Tidy);
                self.write_at(state, now, &Write { key: key.clone(), mutation, exclusive: false })?;
            }
            Ok(overdue.len() as u64)
        })
        .await
    }

    async fn reclaim(&self, partition: u16) -> Result<Vec<Incarnation>, StoreError> {
        self.stale_step(partition, |partition, history, _| partition.reclaim(history)).await
    }

    async fn take_lease(&self, name: &str, holder: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let lease = (Arc::clone(&self.keyspace), name.to_owned());
        self.call(|state, now| {
            let other = state.data.leases.get(&lease).is_some_and(|held| held.holder != holder && held.until > now);
            if !other {
                let until = now.plus(micros(lifetime));
                state.data.leases.insert(lease, Lease { holder: holder.to_owned(), until });
            }
            Ok(!other)
        })
        .await
    }

    async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let lease = (Arc::clone(&self.keyspace), name.to_owned());
        self.call(|state, _| {
            if state.data.leases.get(&lease).is_some_and(|held| held.holder == holder) {
                state.data.leases.remove(&lease);
            }
            Ok(())
        })
        .await
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, StoreError> {
        let slot = self.slot_of(key);
        let names = PhysicalKeys::new(&self.keyspace, slot.1);
        self.call(|state, now| {
            let partition = state.partition(&slot);
            let cells = partition.key(key);
            let count = cells.map_or(0, |state| state.fields.values().map(|stamped| stamped.cells.len()).sum());
            let mut physical = vec![
                (lossy(&names.view(key)), describe(&partition.view(key, now))),
                (lossy(&names.cells(key)), format!("{count} cells")),
            ];
            if let Some(origin) = partition.origin() {
                physical.push((
                    lossy(&names.log(origin.incarnation)),
                    format!("{} entries so far", partition.sync_state().number),
                ));
            }
            Ok(Inspection { state: cells.cloned(), physical })
        })
        .await
    }
}

fn describe(view: &View) -> String {
    match view {
        View::Absent => "absent".into(),
        View::String(value) => format!("string of {} bytes", value.len()),
        View::Set(members) => format!("set of {} members", members.len()),
        View::Hash(fields) => format!("hash of {} fields", fields.len()),
        View::SortedSet(scores) => format!("sorted set of {} members", scores.len()),
        View::HyperLogLog(registers) => format!("HyperLogLog of about {} elements", registers.count()),
        View::Ordered(elements) => format!("sorted set of {} elements in order", elements.len()),
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The keys that expired at least `grace` ago, the longest ago first.
fn expired(partition: &Partition, now: Version, grace: Duration) -> Vec<(u64, Key)> {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let due = |at: u64| now.as_millis() >= at.saturating_add(grace);
    let mut over: Vec<(u64, Key)> = partition
        .keys()
        .filter_map(|(key, state)| match state.deadline()? {
            Deadline::At(at) if due(at) => Some((at, key.clone())),
            Deadline::At(_) | Deadline::Never => None,
        })
        .collect();
    over.sort();
    over
}

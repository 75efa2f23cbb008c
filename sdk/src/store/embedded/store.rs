//! The store contract on embedded regions: the way there, the engine, the way back.

use std::{sync::Arc, time::Duration};

use archipelago_engine::{
    Batch, Cursor, Deadline, Delta, Incarnation, JoinReply, Key, Kind, LogSlice, Mutation, MutationError, Origin,
    Outcome, Partition, Record, Refusal, RegionId, ResyncError, ResyncPlan, SetAside, Slice, Stale, SyncState, Version,
    View,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    World,
    clock::micros,
    reads,
    region::{Lease, MayBeStale, Region, Slot, State, fresh_incarnation},
};
use crate::{
    config::defaults,
    keyspace::{PhysicalKeys, partition_of},
    store::{Inspection, Read, Reply, ResyncFailure, Store, StoreError, Write},
};

/// One keyspace of an embedded region, as an app server somewhere sees it.
#[derive(Debug)]
pub(super) struct EmbeddedStore {
    world: Arc<World>,
    vantage: RegionId,
    region: Arc<Region>,
    keyspace: Arc<str>,
}

impl EmbeddedStore {
    pub(super) fn new(world: Arc<World>, vantage: RegionId, region: Arc<Region>, keyspace: &str) -> Self {
        Self { world, vantage, region, keyspace: keyspace.into() }
    }

    fn slot(&self, partition: u16) -> Slot {
        (Arc::clone(&self.keyspace), partition)
    }

    fn slot_of(&self, key: &Key) -> Slot {
        self.slot(partition_of(&key.name, self.world.partitions))
    }

    /// A call: there, the work, and back.
    async fn call<T>(&self, work: impl FnOnce(&mut State, Version) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.go().await?;
        let answer = self.at_region(work);
        self.come_back().await?;
        answer
    }

    /// What refuses here was never sent.
    async fn go(&self) -> Result<(), StoreError> {
        if self.world.network.is_cut(&self.vantage, &self.region.id) {
            return Err(StoreError::Unavailable(format!("no way from {} to {}", self.vantage, self.region.id)));
        }
        if !self.region.state().up {
            return Err(StoreError::Unavailable("connection refused".into()));
        }
        self.travel().await;
        Ok(())
    }

    /// What refuses here was on its way: the caller cannot know.
    fn at_region<T>(&self, work: impl FnOnce(&mut State, Version) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.world.network.is_cut(&self.vantage, &self.region.id) {
            return Err(no_answer());
        }
        let mut state = self.region.state();
        if !state.up {
            return Err(no_answer());
        }
        let now = self.world.clock.now(state.skew);
        work(&mut state, now)
    }

    async fn come_back(&self) -> Result<(), StoreError> {
        self.travel().await;
        let network = &self.world.network;
        if network.is_cut(&self.vantage, &self.region.id) || network.loses_replies(&self.vantage, &self.region.id) {
            return Err(no_answer());
        }
        Ok(())
    }

    async fn travel(&self) {
        let delay = self.world.network.one_way(&self.vantage, &self.region.id);
        if delay.is_zero() || self.world.clock.is_manual() {
            // A real connection gives way to other tasks at every call. Without this a loop of calls would not.
            tokio::task::coop::consume_budget().await;
        } else {
            tokio::time::sleep(delay).await;
        }
    }

    /// A step of the engine on one partition, with a new incarnation where it needs one.
    async fn step<T: Send, E: MayBeStale + Send>(
        &self,
        partition: u16,
        step: impl Fn(&mut Partition, &str, Version) -> Result<T, E> + Send,
    ) -> Result<Result<T, E>, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        self.call(|state, now| self.change(state, &slot, now, |partition, history| step(partition, history, now))).await
    }

    /// A step that may write to the log. Waiters hear of it here: a caller who gives up on the way back must not take
    /// the news along.
    fn change<T, E: MayBeStale>(
        &self,
        state: &mut State,
        slot: &Slot,
        now: Version,
        step: impl Fn(&mut Partition, &str) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        let done = state.step(slot, now, step).map_err(no_randomness);
        self.region.news.notify_waiters();
        done
    }

    async fn stale_step<T: Send>(
        &self,
        partition: u16,
        step: impl Fn(&mut Partition, &str, Version) -> Result<T, Stale> + Send,
    ) -> Result<T, StoreError> {
        self.step(partition, step).await?.map_err(|stale| StoreError::Stale(stale.to_string()))
    }

    async fn resync_step<T: Send>(
        &self,
        partition: u16,
        step: impl Fn(&mut Partition, &str) -> Result<T, ResyncError> + Send,
    ) -> Result<T, ResyncFailure> {
        let done = self.step(partition, move |partition, history, _| step(partition, history)).await?;
        done.map_err(|error| match error {
            ResyncError::Superseded(opening) => ResyncFailure::Superseded(opening),
            ResyncError::Stale(_) | ResyncError::NotUnderWay | ResyncError::Epoch(_) => {
                ResyncFailure::StartOver(error.to_string())
            }
        })
    }

    fn check_partition(&self, partition: u16) -> Result<(), StoreError> {
        if partition < self.world.partitions {
            return Ok(());
        }
        Err(StoreError::Protocol(format!("partition {partition} of {}", self.world.partitions)))
    }

    /// One write, within the region's lock: the look at other types and the write are one step.
    fn write_at(&self, state: &mut State, now: Version, write: &Write) -> Result<Outcome, StoreError> {
        let slot = self.slot_of(&write.key);
        if write.exclusive {
            let partition = state.partition(&slot);
            let taken = |kind: &Kind| {
                *kind != write.key.kind && reads::exists(partition, now, &Key::new(*kind, write.key.name.clone()))
            };
            if Kind::ALL.iter().any(taken) {
                return Err(StoreError::Refused(MutationError::WrongType));
            }
        }
        let done = self.change(state, &slot, now, |partition, history| {
            partition.mutate(history, now, &write.key, &write.mutation)
        });
        done?.map_err(|refusal| match refusal {
            Refusal::Stale(stale) => StoreError::Stale(stale.to_string()),
            Refusal::Mutation(error) => StoreError::Refused(error),
        })
    }

    fn read_at(&self, state: &mut State, now: Version, read: &Read) -> Result<Reply, StoreError> {
        reads::answer(state.partition(&self.slot_of(&read.key)), now, read)
    }

    /// The partitions with entries behind these ids.
    fn entries_behind(
        &self,
        state: &mut State,
        now: Version,
        after: &[(u16, Version)],
    ) -> Result<Vec<u16>, StoreError> {
        let mut found = Vec::new();
        for (partition, id) in after {
            self.check_partition(*partition)?;
            // A broken history is opened anew here, and the new log begins with an entry: that is news, too.
            let slice =
                state.step(&self.slot(*partition), now, |partition, history| partition.log_after(history, *id, 1));
            if slice.map_err(no_randomness)?.is_ok_and(|slice| !slice.entries.is_empty()) {
                found.push(*partition);
            }
        }
        Ok(found)
    }

    /// Waits at the region, without a limit of its own.
    async fn first_entries(&self, after: &[(u16, Version)]) -> Result<Vec<u16>, StoreError> {
        loop {
            // Before the look: news between the look and the wait would be missed.
            let news = self.region.news.notified();
            let found = self.at_region(|state, now| self.entries_behind(state, now, after))?;
            if !found.is_empty() {
                return Ok(found);
            }
            news.await;
        }
    }

    /// Several steps in one go; an error of the way is everyone's.
    async fn pipeline<T: Clone>(
        &self,
        count: usize,
        work: impl FnOnce(&mut State, Version) -> Vec<Result<T, StoreError>>,
    ) -> Vec<Result<T, StoreError>> {
        match self.call(|state, now| Ok(work(state, now))).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn region(&self) -> &RegionId {
        &self.region.id
    }

    fn partitions(&self) -> u16 {
        self.world.partitions
    }

    async fn write(&self, write: &Write) -> Result<Outcome, StoreError> {
        self.call(|state, now| self.write_at(state, now, write)).await
    }

    async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        self.pipeline(writes.len(), |state, now| writes.iter().map(|write| self.write_at(state, now, write)).collect())
            .await
    }

    async fn read(&self, read: &Read) -> Result<Reply, StoreError> {
        self.call(|state, now| self.read_at(state, now, read)).await
    }

    async fn read_all(&self, reads: &[Read]) -> Vec<Result<Reply, StoreError>> {
        self.pipeline(reads.len(), |state, now| reads.iter().map(|read| self.read_at(state, now, read)).collect()).await
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
            let history = state.history.clone();
            let record = state.partition(&self.slot(partition)).open(&history, fresh, floor, now);
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
        self.go().await?;
        let found = match tokio::time::timeout(wait, self.first_entries(after)).await {
            Ok(found) => found?,
            Err(_) => Vec::new(),
        };
        self.come_back().await?;
        Ok(found)
    }

    async fn join(&self, partition: u16, batch: &Batch) -> Result<JoinReply, StoreError> {
        let skew = micros(defaults::MAX_CLOCK_SKEW);
        self.stale_step(partition, |partition, history, now| partition.join(history, now, skew, batch)).await
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
        self.stale_step(partition, |partition, history, _| partition.recover(history, origin, id, delta)).await
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
        self.resync_step(partition, |partition, history| partition.apply_slice(history, plan, slice)).await
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

    async fn sweep(&self, partition: u16, grace: Duration, limit: usize) -> Result<u64, StoreError> {
        self.check_partition(partition)?;
        let slot = self.slot(partition);
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.call(|state, now| {
            let due = |at: u64| now.as_millis() >= at.saturating_add(grace);
            let mut over: Vec<(u64, Key)> = state
                .partition(&slot)
                .keys()
                .filter_map(|(key, state)| match state.deadline()? {
                    Deadline::At(at) if due(at) => Some((at, key.clone())),
                    Deadline::At(_) | Deadline::Never => None,
                })
                .collect();
            over.sort();
            let mut cleared = 0;
            for (_, key) in over.into_iter().take(limit) {
                let write = Write { key, mutation: Mutation::Sweep { grace }, exclusive: false };
                if let Outcome::Cleared { existed: true, .. } = self.write_at(state, now, &write)? {
                    cleared += 1;
                }
            }
            Ok(cleared)
        })
        .await
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
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn no_answer() -> StoreError {
    StoreError::NoAnswer("the connection was lost before the answer came".into())
}

fn no_randomness(error: getrandom::Error) -> StoreError {
    StoreError::Server(format!("the system gives no random bits: {error}"))
}

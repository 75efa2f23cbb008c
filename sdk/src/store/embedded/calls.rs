//! What all calls of an embedded store have in common: the way there, a step of the engine, the way back.

use std::sync::Arc;

use archipelago_engine::{
    Key, Kind, MutationError, Outcome, Partition, Refusal, RegionId, ResyncError, Stale, Standing, Version,
};

use super::{
    World, reads,
    region::{MayBeStale, Region, Slot, State},
    replica::Change,
};
use crate::{
    keyspace::partition_of,
    store::{Read, Reply, ResyncFailure, StoreError, Write},
};

/// Where plain keys are: the keys of routed keyspaces, which share a server as they do on Redis. No keyspace can have this
/// name.
pub(super) const PLAIN: &str = "";

/// One keyspace of an embedded region, as an app server somewhere sees it.
#[derive(Debug)]
pub(super) struct EmbeddedStore {
    pub(super) world: Arc<World>,
    /// Where the app server stands; `None` for calls from within the server itself, which have no way to go.
    vantage: Option<RegionId>,
    pub(super) region: Arc<Region>,
    pub(super) keyspace: Arc<str>,
}

/// To one process of the region's server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    starts: u64,
}

impl Connection {
    /// To the process that serves at present, if one does.
    pub(super) fn to(state: &State) -> Option<Self> {
        state.up.then_some(Self { starts: state.starts })
    }

    /// A connection ends with the process at its other end.
    pub(super) const fn is_to(self, state: &State) -> bool {
        state.up && state.starts == self.starts
    }
}

impl EmbeddedStore {
    pub(super) fn new(world: Arc<World>, vantage: RegionId, region: Arc<Region>, keyspace: &str) -> Self {
        Self { world, vantage: Some(vantage), region, keyspace: keyspace.into() }
    }

    /// Plain keys, as the server itself sees them. A call is over at once: nothing in it waits.
    pub(super) fn within(world: Arc<World>, server: Arc<Region>) -> Self {
        Self { world, vantage: None, region: server, keyspace: PLAIN.into() }
    }

    pub(super) fn slot(&self, partition: u16) -> Slot {
        (Arc::clone(&self.keyspace), partition)
    }

    pub(super) fn slot_of(&self, key: &Key) -> Slot {
        self.slot(partition_of(&key.name, self.world.partitions))
    }

    /// A call: there, the work, and back.
    pub(super) async fn call<T>(
        &self,
        work: impl FnOnce(&mut State, Version) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.go().await?;
        let answer = self.at_region(connection, work);
        self.come_back(connection).await?;
        answer
    }

    /// What refuses here was never sent.
    pub(super) async fn go(&self) -> Result<Connection, StoreError> {
        if let Some(vantage) = self.vantage.as_ref().filter(|_| self.is_cut()) {
            return Err(StoreError::Unavailable(format!("no way from {vantage} to {}", self.region.id)));
        }
        let connection = Connection::to(&self.region.state());
        let connection = connection.ok_or_else(|| StoreError::Unavailable("connection refused".into()))?;
        self.travel().await;
        Ok(connection)
    }

    /// What refuses here was on its way: the caller cannot know.
    pub(super) fn at_region<T>(
        &self,
        connection: Connection,
        work: impl FnOnce(&mut State, Version) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.region.state();
        self.check_connection(connection, &state)?;
        let now = self.world.clock.now(state.skew);
        work(&mut state, now)
    }

    pub(super) async fn come_back(&self, connection: Connection) -> Result<(), StoreError> {
        self.travel().await;
        self.check_connection(connection, &self.region.state())?;
        let loses = |vantage| self.world.network.loses_replies(vantage, &self.region.id);
        if self.vantage.as_ref().is_some_and(loses) { Err(no_answer()) } else { Ok(()) }
    }

    /// A connection ends with the process at its other end, so no call of before a restart is done after it.
    fn check_connection(&self, connection: Connection, state: &State) -> Result<(), StoreError> {
        if self.is_cut() || !connection.is_to(state) { Err(no_answer()) } else { Ok(()) }
    }

    fn is_cut(&self) -> bool {
        self.vantage.as_ref().is_some_and(|vantage| self.world.network.is_cut(vantage, &self.region.id))
    }

    async fn travel(&self) {
        if let Some(vantage) = &self.vantage {
            self.world.travel(vantage, &self.region.id).await;
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

    pub(super) async fn stale_step<T: Send>(
        &self,
        partition: u16,
        step: impl Fn(&mut Partition, &str, Version) -> Result<T, Stale> + Send,
    ) -> Result<T, StoreError> {
        self.step(partition, step).await?.map_err(|stale| StoreError::Stale(stale.to_string()))
    }

    pub(super) async fn resync_step<T: Send>(
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

    pub(super) fn check_partition(&self, partition: u16) -> Result<(), StoreError> {
        if partition < self.world.partitions {
            return Ok(());
        }
        Err(StoreError::Protocol(format!("partition {partition} of {}", self.world.partitions)))
    }

    /// One write, within the region's lock: the look at other types and the write are one step.
    pub(super) fn write_at(&self, state: &mut State, now: Version, write: &Write) -> Result<Outcome, StoreError> {
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
        let outcome = done?.map_err(|refusal| match refusal {
            Refusal::Stale(stale) => StoreError::Stale(stale.to_string()),
            Refusal::Mutation(error) => StoreError::Refused(error),
        })?;
        self.tell([&write.key]);
        if *self.keyspace == *PLAIN {
            state.drop_log(&slot);
            state.unsent.push(Change::Write {
                slot,
                at: now,
                key: write.key.clone(),
                mutation: write.mutation.clone(),
            });
        }
        Ok(outcome)
    }

    /// Within the region's lock: who gives up on the way back must not take the news along.
    pub(super) fn tell<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) {
        self.region.listeners.changed(&self.keyspace, keys);
    }

    pub(super) fn read_at(&self, state: &mut State, now: Version, read: &Read) -> Result<Reply, StoreError> {
        reads::answer(state.partition(&self.slot_of(&read.key)), now, read)
    }

    /// Where a partition stands, with a new incarnation if it needs one.
    pub(super) fn stand_at(&self, state: &mut State, now: Version, slot: &Slot) -> Result<Standing, StoreError> {
        let standing = self.change(state, slot, now, |partition, history| partition.standing(history, now))?;
        standing.map_err(|stale| StoreError::Stale(stale.to_string()))
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
    pub(super) async fn first_entries(
        &self,
        connection: Connection,
        after: &[(u16, Version)],
    ) -> Result<Vec<u16>, StoreError> {
        loop {
            // Before the look: news between the look and the wait would be missed.
            let news = self.region.news.notified();
            let found = self.at_region(connection, |state, now| self.entries_behind(state, now, after))?;
            if !found.is_empty() {
                return Ok(found);
            }
            news.await;
        }
    }

    /// Several steps in one go; an error of the way is everyone's.
    pub(super) async fn pipeline<T: Clone>(
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

fn no_answer() -> StoreError {
    StoreError::NoAnswer("the connection was lost before the answer came".into())
}

pub(super) fn no_randomness(error: getrandom::Error) -> StoreError {
    StoreError::Server(format!("the system gives no random bits: {error}"))
}

//! The store of one keyspace in a Redis region.

mod arrivals;
mod claims;
mod collect;
mod conflicts;
mod damage;
mod entries;
mod inspect;
mod links;
mod lists;
mod push;
mod reads;
mod replicated;
mod resyncs;
mod searches;
mod standing;
mod state;
mod stepwise;
mod stock;
mod writes;

use std::{sync::Arc, time::Duration};

use archipelago_engine::{
    Arrived, Batch, Collection, Conflict, Cursor, Delta, Incarnation, JoinReply, Key, KeyState, LogSlice, Origin,
    Outcome, Push, PushReply, Record, RegionId, ResyncPlan, SetAside, Since, Slice, Standing, SyncState, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{
    call::{CallError, parse},
    region::RedisRegion,
    scripts::{SCRIPTS, Script},
    wire::{Keyspace, Slot, Wire, partition_keys, script},
};
use crate::{
    keyspace::{PhysicalKeys, partition_of},
    store::{Excerpt, Inspection, Read, ReplicatedWrites, Reply, ResyncFailure, Store, StoreError, Write, steps},
};

/// How often a call is repeated that certainly changed nothing.
const ATTEMPTS: usize = 4;

/// One keyspace in a Redis region.
#[derive(Debug)]
pub(crate) struct RedisStore {
    region: Arc<RedisRegion>,
    name: String,
}

impl RedisStore {
    pub(crate) fn new(region: Arc<RedisRegion>, keyspace: &str) -> Self {
        Self { region, name: keyspace.to_owned() }
    }

    fn keyspace(&self) -> Result<&Keyspace, StoreError> {
        let known = self.region.keyspaces.get(&self.name);
        known.ok_or_else(|| StoreError::Protocol(format!("unknown keyspace {}", self.name)))
    }

    fn keys(&self, partition: u16) -> Result<&PhysicalKeys, StoreError> {
        partition_keys(self.keyspace()?, partition)
    }

    /// The partition of a name, and its keys.
    fn locate(&self, key: &Key) -> Result<(u16, &PhysicalKeys), StoreError> {
        let keyspace = self.keyspace()?;
        let partition = partition_of(&key.name, keyspace.config.partitions);
        Ok((partition, partition_keys(keyspace, partition)?))
    }

    /// Sends a script that names the incarnation it expects. STALE opens a new one, and NOSCRIPT loads the scripts; both
    /// mean that nothing was done, so the call is repeated. What is rare is boxed: every call's future had room for it.
    async fn call_checked(
        &self,
        partition: u16,
        build: impl Fn(&Wire, &Slot) -> Result<Cmd, StoreError> + Sync,
    ) -> Result<Value, StoreError> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let now = self.region.wire_now();
            let waited;
            let wire = match now.as_ref().and_then(|wire| wire.as_deref()) {
                Some(wire) => wire,
                None => {
                    waited = Box::pin(self.region.wire()).await?;
                    &waited
                }
            };
            let slot = match wire.slot(&self.name, partition) {
                Ok(slot) => slot,
                Err(_) => {
                    Box::pin(wire.reopen(&self.name, partition, 0)).await?;
                    continue;
                }
            };
            match wire.call(&build(wire, &slot)?).await {
                Ok(value) => return Ok(value),
                Err(CallError::Stale) => {
                    last = "another history or incarnation".to_owned();
                    Box::pin(wire.reopen(&self.name, partition, 0)).await?;
                }
                Err(CallError::NoScript) => {
                    last = "scripts flushed".to_owned();
                    Box::pin(wire.load_scripts()).await.map_err(CallError::into_store)?;
                }
                Err(error @ (CallError::Server { .. } | CallError::NoAnswer { .. })) => return Err(error.into_store()),
            }
        }
        Err(StoreError::Stale(last))
    }

    /// Sends a plain command.
    async fn call(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        let answer = match self.region.wire_now().as_ref().and_then(|wire| wire.as_deref()) {
            Some(wire) => wire.call(cmd).await,
            None => Box::pin(self.region.wire()).await?.call(cmd).await,
        };
        answer.map_err(CallError::into_store)
    }

    /// Sends a script that names no incarnation. Scripts may be flushed at any time, and nobody else may come to load
    /// them: a link whose lease cannot be renewed writes nothing that would.
    async fn call_script(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        let wire = self.region.wire().await?;
        wire.call_script(cmd).await.map_err(CallError::into_store)
    }

    /// A script over the partition's meta hash and more keys, with the history and incarnation it expects.
    fn checked_script(&self, body: &Script, wire: &Wire, slot: &Slot, keys: &[Vec<u8>]) -> Result<Cmd, StoreError> {
        let mut cmd = script(body, keys.len());
        cmd.arg(keys);
        cmd.arg(wire.history_argument(&self.keyspace()?.config)).arg(&slot.incarnation);
        Ok(cmd)
    }
}

/// What TIME answers.
fn parse_time(answer: Value) -> Result<Version, StoreError> {
    let [seconds, micros] = parse::tuple(answer)?;
    let micros = parse::unsigned(&seconds)?.saturating_mul(1_000_000).saturating_add(parse::unsigned(&micros)?);
    Ok(Version::from_micros(micros))
}

#[async_trait]
impl Store for RedisStore {
    fn region(&self) -> &RegionId {
        &self.region.id
    }

    fn partitions(&self) -> u16 {
        self.keyspace().map_or(0, |keyspace| keyspace.config.partitions)
    }

    async fn write(&self, write: &Write) -> Result<Outcome, StoreError> {
        steps::finish(self, write, self.write_one(write).await).await
    }

    async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        steps::write_all(self, writes, None).await
    }

    async fn write_all_within(&self, writes: &[Write], wait: Duration) -> Vec<Result<Outcome, StoreError>> {
        steps::write_all(self, writes, Some(Instant::now() + wait)).await
    }

    async fn read(&self, read: &Read) -> Result<Reply, StoreError> {
        self.read_one(read).await
    }

    async fn read_all(&self, reads: &[Read]) -> Vec<Result<Reply, StoreError>> {
        self.read_pipelined(reads).await
    }

    async fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        self.ask_standing(partition).await
    }

    async fn read_and_stand(&self, read: &Read) -> Result<(Reply, Standing), StoreError> {
        self.read_in_step(read).await
    }

    async fn write_and_stand(&self, write: &Write) -> (Result<Outcome, StoreError>, Option<Standing>) {
        steps::finish_and_stand(self, write, self.write_in_step(write).await).await
    }

    async fn cells_and_stand(&self, excerpt: &Excerpt) -> Result<(KeyState, Standing), StoreError> {
        self.cells_in_step(excerpt).await
    }

    async fn arrived(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, StoreError> {
        self.read_arrivals(key, since, limit).await
    }

    async fn push(&self, partition: u16, push: &Push) -> Result<PushReply, StoreError> {
        Ok(self.push_cells(partition, push, false).await?.0)
    }

    async fn push_and_tell(&self, partition: u16, push: &Push) -> Result<(PushReply, Vec<Conflict>), StoreError> {
        self.push_cells(partition, push, true).await
    }

    async fn write_replicated(&self, writes: &[Write], replicas: u16, wait: Duration) -> ReplicatedWrites {
        self.write_and_wait(writes, replicas, wait).await
    }

    async fn clock(&self) -> Result<Version, StoreError> {
        parse_time(self.call(&redis::cmd("TIME")).await?)
    }

    async fn sync_state(&self, partition: u16) -> Result<SyncState, StoreError> {
        self.read_sync_state(partition).await
    }

    async fn open(&self, partition: u16, floor: u64) -> Result<Record, StoreError> {
        self.region.wire().await?.reopen(&self.name, partition, floor).await
    }

    async fn log_after(&self, partition: u16, after: Version, limit: usize) -> Result<LogSlice, StoreError> {
        self.read_log(partition, after, limit).await
    }

    async fn wait_for_entries(&self, after: &[(u16, Version)], wait: Duration) -> Result<Vec<u16>, StoreError> {
        self.block_for_entries(after, wait).await
    }

    async fn join(&self, partition: u16, batch: &Batch) -> Result<JoinReply, StoreError> {
        Ok(self.join_batch(partition, batch, false).await?.0)
    }

    async fn join_and_tell(&self, partition: u16, batch: &Batch) -> Result<(JoinReply, Vec<Conflict>), StoreError> {
        self.join_batch(partition, batch, true).await
    }

    async fn aside(&self, partition: u16, origin: &Origin) -> Result<Vec<SetAside>, StoreError> {
        self.read_aside(partition, origin).await
    }

    async fn recover(
        &self,
        partition: u16,
        origin: &Origin,
        id: Version,
        delta: Option<&Delta>,
    ) -> Result<(), StoreError> {
        self.recover_entry(partition, origin, id, delta).await
    }

    async fn begin_resync(
        &self,
        partition: u16,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, StoreError> {
        self.begin(partition, remembered).await
    }

    async fn walk(
        &self,
        partition: u16,
        plan: &ResyncPlan,
        after: &Bytes,
        limit: usize,
    ) -> Result<Slice, ResyncFailure> {
        self.walk_keys(partition, plan, after, limit).await
    }

    async fn start_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        self.start(partition, plan).await
    }

    async fn apply_slice(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure> {
        self.apply(partition, plan, slice).await
    }

    async fn complete_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        self.complete(partition, plan).await
    }

    async fn acknowledge(
        &self,
        partition: u16,
        destination: &RegionId,
        cursor: Cursor,
        members: &[RegionId],
    ) -> Result<(), StoreError> {
        let cap = self.keyspace()?.config.log_cap;
        let meta = self.keys(partition)?.meta();
        self.call_checked(partition, |wire, slot| {
            let keys = [meta.clone(), slot.log.clone(), slot.number.clone()];
            let mut cmd = self.checked_script(&SCRIPTS.acknowledge, wire, slot, &keys)?;
            // What is said of a closed log is of no more interest; the script compares.
            cmd.arg(cursor.incarnation.to_string());
            cmd.arg(destination.as_str()).arg(cursor.number).arg(cursor.id.as_micros()).arg(cap);
            for member in members.iter().filter(|member| **member != self.region.id) {
                cmd.arg(member.as_str());
            }
            Ok(cmd)
        })
        .await
        .map(drop)
    }

    async fn publish_vector(&self, partition: u16) -> Result<bool, StoreError> {
        let meta = self.keys(partition)?.meta();
        // Asking costs one cheap command; the script runs only when there is something to say.
        let mut asked = redis::cmd("HEXISTS");
        asked.arg(&meta).arg("due");
        if parse::integer(&self.call(&asked).await?)? == 0 {
            return Ok(false);
        }
        let done = self
            .call_checked(partition, |wire, slot| {
                let keys = [meta.clone(), slot.log.clone(), slot.number.clone()];
                self.checked_script(&SCRIPTS.publish, wire, slot, &keys)
            })
            .await?;
        Ok(parse::integer(&done)? == 1)
    }

    async fn republish_vector(&self, partition: u16) -> Result<(), StoreError> {
        self.publish_at_once(partition).await
    }

    async fn collect(&self, partition: u16, members: &[RegionId], limit: usize) -> Result<Collection, StoreError> {
        self.collect_dead(partition, members, limit).await
    }

    async fn expired(&self, partition: u16, grace: Duration) -> Result<u64, StoreError> {
        self.count_expired(partition, grace).await
    }

    async fn sweep(&self, partition: u16, grace: Duration, limit: usize) -> Result<u64, StoreError> {
        self.sweep_expired(partition, grace, limit).await
    }

    async fn stocks(&self, partition: u16, after: Option<&Bytes>, limit: usize) -> Result<Vec<Key>, StoreError> {
        self.list_stocks(partition, after, limit).await
    }

    async fn tidy(&self, partition: u16, limit: usize) -> Result<u64, StoreError> {
        self.tidy_overdue(partition, limit).await
    }

    async fn reclaim(&self, partition: u16) -> Result<Vec<Incarnation>, StoreError> {
        self.reclaim_closed(partition).await
    }

    async fn take_lease(&self, name: &str, holder: &str, lifetime: Duration) -> Result<bool, StoreError> {
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let mut cmd = script(&SCRIPTS.lease, 1);
        cmd.arg(self.keys(0)?.lease(name)).arg(holder).arg(millis);
        Ok(parse::integer(&self.call_script(&cmd).await?)? == 1)
    }

    async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let mut cmd = script(&SCRIPTS.release, 1);
        cmd.arg(self.keys(0)?.lease(name)).arg(holder);
        self.call_script(&cmd).await.map(drop)
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, StoreError> {
        self.inspect_key(key).await
    }
}

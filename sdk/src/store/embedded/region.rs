//! One embedded region: what a server holds in memory, and the identity of its history.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use archipelago_engine::{Cursor, Incarnation, Partition, Record, Refusal, RegionId, ResyncError, Stale, Version};
use tokio::sync::Notify;

use super::{lineage::Lineage, listeners::Listeners, replica::Change};

/// One region.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) id: RegionId,
    /// Told of everything a waiter may want to look at again: log entries, crashes, cuts.
    pub(super) news: Notify,
    /// Told of every key that changes.
    pub(super) listeners: Listeners,
    /// Held while a plain command runs, or a transaction of them: a server runs one after the other.
    serving: Mutex<()>,
    state: Mutex<State>,
}

/// What a region's one thread works on.
#[derive(Debug)]
pub(super) struct State {
    pub(super) id: RegionId,
    pub(super) up: bool,
    /// How many processes have served this region.
    pub(super) starts: u64,
    /// What `run_id:master_replid` is to a Redis server: another one after every restart.
    pub(super) history: String,
    /// Histories that ended without a loss, if the region keeps rights to stock over such an end.
    pub(super) ended_whole: BTreeSet<String>,
    pub(super) is_lossless: bool,
    /// Microseconds by which the region's clock is off.
    pub(super) skew: i64,
    pub(super) data: Data,
    /// What the plain command under way has changed: replicas hear of it when it is done.
    pub(super) unsent: Vec<Change>,
    /// Where the history of the plain keys stands, without what is unsent. Of a replica: its primary's, as far as it has
    /// arrived.
    pub(super) lineage: Lineage,
}

/// What a backup holds: all of it goes back together.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    pub(super) partitions: BTreeMap<Slot, Partition>,
    pub(super) leases: BTreeMap<(Arc<str>, String), Lease>,
}

/// A keyspace and one of its partitions.
pub(super) type Slot = (Arc<str>, u16);

/// Who holds a lease, and until when by the region's clock.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) holder: String,
    pub(super) until: Version,
}

/// The data of an embedded region as it stood once; see [`Embedded::backup`](super::Embedded::backup).
#[derive(Clone)]
pub struct Backup {
    pub(super) region: RegionId,
    pub(super) data: Data,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.data.partitions.len();
        f.debug_struct("Backup").field("region", &self.region).field("partitions", &partitions).finish()
    }
}

impl Region {
    pub(super) fn new(id: RegionId) -> Result<Self, getrandom::Error> {
        let history = fresh_history()?;
        let (data, unsent, lineage) = (Data::default(), Vec::new(), Lineage::new(&history));
        let (ended_whole, is_lossless) = (BTreeSet::new(), false);
        let state = State {
            id: id.clone(),
            up: true,
            starts: 1,
            history,
            ended_whole,
            is_lossless,
            skew: 0,
            data,
            unsent,
            lineage,
        };
        let (news, listeners) = (Notify::new(), Listeners::default());
        Ok(Self { id, news, listeners, serving: Mutex::new(()), state: Mutex::new(state) })
    }

    /// The right to run a plain command.
    pub(super) fn serving(&self) -> MutexGuard<'_, ()> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The engine changes nothing before it has checked everything, so a panic elsewhere leaves no half a write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer of the engine that may mean "open a new incarnation and repeat".
pub(super) trait MayBeStale {
    fn is_stale(&self) -> bool;
}

impl MayBeStale for Stale {
    fn is_stale(&self) -> bool {
        true
    }
}

impl MayBeStale for Refusal {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }
}

impl MayBeStale for ResyncError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }
}

impl State {
    /// Another process takes over, on whatever data there is.
    pub(super) fn start(&mut self, history: String) {
        self.history = history;
        self.starts += 1;
    }

    /// The partition, empty if it was never touched.
    pub(super) fn partition(&mut self, slot: &Slot) -> &mut Partition {
        let id = &self.id;
        self.data.partitions.entry(slot.clone()).or_insert_with(|| Partition::new(id.clone()))
    }

    /// Forgets what a partition would tell links: plain keys have none.
    pub(super) fn drop_log(&mut self, slot: &Slot) {
        let (history, id) = (self.history.clone(), self.id.clone());
        let partition = self.partition(slot);
        if let Some(origin) = partition.origin() {
            let cursor = Cursor { incarnation: origin.incarnation, number: 0, id: Version::ZERO };
            // Stale only after a restart, and then the next write opens a new log anyway.
            let _ = partition.acknowledge(&history, &id, cursor, &[], 0);
        }
    }

    /// Opens a new incarnation, if there has to be one.
    pub(super) fn open(&mut self, slot: &Slot, fresh: Incarnation, floor: u64, now: Version) -> Record {
        let history = self.history.clone();
        let bound = self.partition(slot).sync_state().record.map(|record| record.history);
        let is_whole = self.is_lossless && bound.is_some_and(|bound| self.ended_whole.contains(&bound));
        let partition = self.partition(slot);
        if is_whole {
            partition.open_without_loss(&history, fresh, floor, now)
        } else {
            partition.open(&history, fresh, floor, now)
        }
    }

    /// Does a step; if the history broke or never began, opens a new incarnation and does it again.
    ///
    /// The lock is held all along, so the history cannot change in between and once is enough.
    pub(super) fn step<T, E: MayBeStale>(
        &mut self,
        slot: &Slot,
        now: Version,
        step: impl Fn(&mut Partition, &str) -> Result<T, E>,
    ) -> Result<Result<T, E>, getrandom::Error> {
        let history = self.history.clone();
        match step(self.partition(slot), &history) {
            Err(refusal) if refusal.is_stale() => {
                self.open(slot, fresh_incarnation()?, 0, now);
                Ok(step(self.partition(slot), &history))
            }
            done => Ok(done),
        }
    }
}

pub(super) fn fresh_incarnation() -> Result<Incarnation, getrandom::Error> {
    getrandom::u64().map(Incarnation::new)
}

pub(super) fn fresh_history() -> Result<String, getrandom::Error> {
    getrandom::u64().map(|bits| format!("{bits:016x}"))
}

//! A partition: one region's replica of one slice of a keyspace, as a pure state machine.
//!
//! Everything here goes back together when a region loses data: cells, log, cursors, vectors. Cloning a partition is a
//! backup; putting an older clone in its place is a lost tail. The Redis scripts keep the same state in the keys of one
//! hash slot and do the same steps; a differential test holds the two equal.

mod arrivals;
mod claims;
mod collect;
mod conflict;
mod entries;
mod history;
mod join;
mod lists;
mod log;
mod mutate;
mod push;
mod resolved;
mod resync;
mod standing;
mod stock;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use thiserror::Error;

use self::{
    arrivals::Arrivals,
    stock::Side,
    view::{is_inexact, view},
};
pub use self::{
    arrivals::{Arrived, Place, Since},
    collect::{Collection, Mark, Wait},
    conflict::{Conflict, Contender},
    history::Record,
    join::{Batch, JoinReply, SetAside},
    log::{Cursor, LogSlice, RawEntry},
    push::{Push, PushReply},
    resolved::{Resolved, UnknownResolved},
    resync::{ResyncError, ResyncPlan, ResyncProgress, Slice},
    standing::Standing,
    view::{KeyState, Stamped, View},
};
use crate::{
    cells::{Cells, Deadline},
    delta::{Delta, Vector},
    key::{Field, Key},
    mutation::MutationError,
    origin::{Incarnation, Origin, RegionId},
    version::Version,
};

/// The server's history is not the one the partition's record names, or there is no record: nothing was done.
///
/// The caller opens a new incarnation ([`Partition::open`]) and repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("STALE the region's history is not the one on record")]
pub struct Stale;

/// Why a mutation was not done; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The history broke: open a new incarnation and repeat.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The mutation itself is at fault.
    #[error(transparent)]
    Mutation(#[from] MutationError),
}

/// Entries of one origin that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Aside {
    /// What was held of the origin before the first of them. Not the version before its id: nothing of the entry can be
    /// trusted, and whoever claims a write that it lacks takes it from those who have it.
    behind: Version,
    entries: BTreeMap<Version, Bytes>,
}

/// One region's replica of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    region: RegionId,
    record: Option<Record>,
    epoch: u64,
    clock: Version,
    number: u64,
    keys: BTreeMap<Key, KeyState>,
    log: VecDeque<RawEntry>,
    acks: BTreeMap<RegionId, Cursor>,
    applied: Vector,
    seen: Vector,
    cursors: BTreeMap<RegionId, Cursor>,
    resynced: BTreeMap<RegionId, (Incarnation, u64)>,
    resyncs: BTreeMap<RegionId, ResyncProgress>,
    known: BTreeMap<RegionId, (Incarnation, u64)>,
    vectors: BTreeMap<RegionId, Vector>,
    aside: BTreeMap<Origin, Aside>,
    /// What a region knows of its own stocks beside their cells. No other region does.
    sides: BTreeMap<Key, Side>,
    /// In which order this region came to see the entries of its feeds. Every region has an order of its own.
    arrivals: Arrivals,
    /// Closed incarnations of this region whose rights the current one may spend.
    inherited: BTreeSet<Incarnation>,
    vector_due: bool,
    dying: BTreeSet<(u64, Key, Field)>,
    mark: Option<Mark>,
    collected: Vector,
    settling: BTreeMap<Origin, BTreeSet<RegionId>>,
    conflicts: u64,
    inexact: u64,
    resolved: BTreeMap<Resolved, u64>,
}

/// What a sync driver needs to know of a partition, read in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncState {
    /// The current incarnation's record; `None` before the first opening and after a loss of everything.
    pub record: Option<Record>,
    /// The membership epoch.
    pub epoch: u64,
    /// The number of the last log entry.
    pub number: u64,
    /// The last version issued.
    pub clock: Version,
    /// Everything of these origins up to these versions is held.
    pub applied: Vector,
    /// How far each origin's log was joined here.
    pub cursors: BTreeMap<RegionId, Cursor>,
    /// How far each destination has this region's log.
    pub acks: BTreeMap<RegionId, Cursor>,
    /// The numbers of the last completed resyncs, by sender.
    pub resynced: BTreeMap<RegionId, (Incarnation, u64)>,
    /// Unfinished resyncs, by sender.
    pub resyncs: BTreeMap<RegionId, ResyncProgress>,
    /// What each peer said last that it holds, in its log or in a resync: it counts, for all before it was joined.
    pub vectors: BTreeMap<RegionId, Vector>,
    /// The mark of a collection under way.
    pub mark: Option<Mark>,
    /// Up to these versions cells may have been collected here.
    pub collected: Vector,
    /// Which peers shipped all they hold of a closed incarnation, knowing that it is closed.
    pub settling: BTreeMap<Origin, BTreeSet<RegionId>>,
    /// The current incarnation of each peer, and its opening number.
    pub known: BTreeMap<RegionId, (Incarnation, u64)>,
    /// How many entries of each origin were set aside because they could not be decoded.
    pub aside: BTreeMap<Origin, u64>,
    /// Whether data arrived since the last vector entry.
    pub vector_due: bool,
    /// How often one version came with two contents.
    pub conflicts: u64,
    /// How often a join made a number too large to be exact.
    pub inexact: u64,
    /// How often a join of a log changed a field that then had live assignments of several origins that differ: concurrent
    /// writes between which a rule decided. Each region counts what arrives there. Resyncs are not counted, and one that
    /// changes again before the other region has seen it is counted again.
    pub resolved: BTreeMap<Resolved, u64>,
}

impl Partition {
    /// An empty partition of a region; it takes no writes before [`Partition::open`].
    #[must_use]
    pub const fn new(region: RegionId) -> Self {
        Self {
            region,
            record: None,
            epoch: 1,
            clock: Version::ZERO,
            number: 0,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            acks: BTreeMap::new(),
            applied: BTreeMap::new(),
            seen: BTreeMap::new(),
            cursors: BTreeMap::new(),
            resynced: BTreeMap::new(),
            resyncs: BTreeMap::new(),
            known: BTreeMap::new(),
            vectors: BTreeMap::new(),
            aside: BTreeMap::new(),
            sides: BTreeMap::new(),
            arrivals: Arrivals::new(),
            inherited: BTreeSet::new(),
            vector_due: false,
            dying: BTreeSet::new(),
            mark: None,
            collected: BTreeMap::new(),
            settling: BTreeMap::new(),
            conflicts: 0,
            inexact: 0,
            resolved: BTreeMap::new(),
        }
    }

    /// The region whose replica this is.
    #[must_use]
    pub const fn region(&self) -> &RegionId {
        &self.region
    }

    /// The origin of writes made here now; `None` before the first opening.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.record.as_ref().map(|record| Origin::new(self.region.clone(), record.incarnation))
    }

    /// The cells of every key that has any.
    pub fn keys(&self) -> impl Iterator<Item = (&Key, &KeyState)> {
        self.keys.iter()
    }

    /// The cells of one key.
    #[must_use]
    pub fn key(&self, key: &Key) -> Option<&KeyState> {
        self.keys.get(key)
    }

    /// What a reader sees of a key at `now`.
    #[must_use]
    pub fn view(&self, key: &Key, now: Version) -> View {
        match self.keys.get(key) {
            Some(state) if !state.deadline().is_some_and(|deadline| deadline.is_past(now)) => view(key.kind, state),
            Some(_) | None => View::Absent,
        }
    }

    /// When a key with data expires, past or not; `None` when it has no data or never expires.
    #[must_use]
    pub fn expires_at(&self, key: &Key) -> Option<u64> {
        match self.keys.get(key).filter(|state| state.has_data(key.kind))?.deadline()? {
            Deadline::At(millis) => Some(millis),
            Deadline::Never => None,
        }
    }

    /// What a sync driver needs to know.
    #[must_use]
    pub fn sync_state(&self) -> SyncState {
        SyncState {
            record: self.record.clone(),
            epoch: self.epoch,
            number: self.number,
            clock: self.clock,
            applied: self.applied.clone(),
            cursors: self.cursors.clone(),
            acks: self.acks.clone(),
            resynced: self.resynced.clone(),
            resyncs: self.resyncs.clone(),
            vectors: self.vectors.clone(),
            mark: self.mark.clone(),
            collected: self.collected.clone(),
            settling: self.settling.clone(),
            known: self.known.clone(),
            aside: self.aside.iter().map(|(o, aside)| (o.clone(), aside.entries.len() as u64)).collect(),
            vector_due: self.vector_due,
            conflicts: self.conflicts,
            inexact: self.inexact,
            resolved: self.resolved.clone(),
        }
    }

    /// The version of the next write: a clock that never goes back, and never below what a log entry can tell from an
    /// offset, whatever a server without a battery takes for the year.
    fn next_version(&self, now: Version) -> Version {
        now.max(self.clock.next()).max(Version::FLOOR)
    }

    /// The record, if the server's history is the one it names.
    fn check(&self, history: &str) -> Result<&Record, Stale> {
        self.record.as_ref().filter(|record| record.history == history).ok_or(Stale)
    }

    /// Everything above is held of an origin: the own one always wholly.
    fn applied_of(&self, origin: &Origin) -> Version {
        let own =
            self.record.as_ref().is_some_and(|r| origin.region == self.region && r.incarnation == origin.incarnation);
        if own { Version::MAX } else { self.applied.get(origin).copied().unwrap_or_default() }
    }

    /// What this region holds of every origin, its own included.
    fn vector(&self) -> Vector {
        let mut vector = self.applied.clone();
        if let Some(own) = self.origin() {
            vector.insert(own, self.clock);
        }
        vector
    }
}

impl Delta {
    /// The highest version of each origin in any register: what `seen` learns.
    #[must_use]
    pub fn seen(&self) -> Vector {
        let mut seen = Vector::new();
        for (origin, cell) in self.fields.values().flat_map(Cells::iter) {
            let highest = seen.entry(origin.clone()).or_insert(Version::ZERO);
            *highest = (*highest).max(cell.highest());
        }
        seen
    }
}

//! Stores: one keyspace in one region. Redis and the embedded engine implement one contract, and one conformance suite
//! runs over both.

pub mod embedded;
mod excerpt;
pub(crate) mod steps;

use std::{fmt::Debug, time::Duration};

use archipelago_engine::{
    Arrived, Batch, Collection, Conflict, Cursor, Delta, Incarnation, JoinReply, Key, KeyState, LogSlice, Mutation,
    MutationError, Origin, Outcome, Push, PushReply, Record, RegionId, ResyncPlan, SetAside, Since, Slice, Standing,
    SyncState, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use self::excerpt::Excerpt;
use crate::geo::{Search, Unit};

/// One write of one key.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which key.
    pub key: Key,
    /// What to do.
    pub mutation: Mutation,
    /// Whether the name must not be in use by another type (then `WRONGTYPE`): the command interpreter asks for it,
    /// typed handles, whose type is in the handle, do not pay for it.
    pub exclusive: bool,
}

/// One read of one key's view.
#[derive(Clone, Debug)]
pub struct Read {
    /// Which key.
    pub key: Key,
    /// What to read.
    pub query: Query,
}

/// What to read of a view: each is one native command.
#[derive(Clone, Debug)]
pub enum Query {
    /// GET: the string, or nil; of a HyperLogLog Redis's bytes of its registers.
    Value,
    /// EXISTS: 0 or 1.
    Exists,
    /// PTTL: milliseconds left, -1 without expiry, -2 without key.
    TimeToLive,
    /// SMEMBERS.
    Members,
    /// SISMEMBER: 0 or 1.
    Contains(Bytes),
    /// SCARD, HLEN, ZCARD.
    Count,
    /// PFCOUNT of one key.
    Cardinality,
    /// HGET.
    Field(Bytes),
    /// HMGET.
    Fields(Vec<Bytes>),
    /// HGETALL: fields and values, flat.
    All,
    /// HEXISTS: 0 or 1.
    HasField(Bytes),
    /// ZSCORE: the score in the server's format, or nil.
    Score(Bytes),
    /// ZRANK, or ZREVRANK.
    Rank {
        /// Of which member.
        member: Bytes,
        /// From the highest score down.
        reverse: bool,
    },
    /// ZRANGE with scores: members and scores, flat. Indexes count from 0, or from the end when negative.
    RangeByRank {
        /// First index.
        start: i64,
        /// Last index, included.
        stop: i64,
        /// From the highest score down.
        reverse: bool,
    },
    /// ZRANGE without scores, of an ordered view: positions with the value behind each. Indexes as above.
    Range {
        /// First index.
        start: i64,
        /// Last index, included.
        stop: i64,
    },
    /// ZRANGEBYLEX or ZREVRANGEBYLEX, of an ordered view: positions with the value behind each.
    Between {
        /// The lowest position, included; empty for the first.
        from: Bytes,
        /// The lowest position above; `None` for no bound.
        to: Option<Bytes>,
        /// From the last to the first.
        reverse: bool,
        /// How many at most.
        limit: Option<u64>,
    },
    /// ZRANGEBYSCORE or ZREVRANGEBYSCORE with scores: members and scores, flat.
    RangeByScore {
        /// The lower bound.
        min: Bound,
        /// The upper bound.
        max: Bound,
        /// From the highest score down.
        reverse: bool,
        /// How many to skip, and how many to return at most (negative: all).
        limit: Option<(i64, i64)>,
    },
    /// GEOPOS: for each member longitude and latitude, or nil.
    Positions(Vec<Bytes>),
    /// GEOHASH: for each member its eleven letters, or nil.
    GeoHashes(Vec<Bytes>),
    /// GEODIST: with four places, or nil.
    Distance {
        /// One member.
        from: Bytes,
        /// The other.
        to: Bytes,
        /// In which unit.
        unit: Unit,
    },
    /// GEOSEARCH: for each place found the member, distance, score, and longitude with latitude; nil where the member to
    /// search around is absent.
    Search(Search),
    /// ZCOUNT.
    CountByScore {
        /// The lower bound.
        min: Bound,
        /// The upper bound.
        max: Bound,
    },
}

/// A bound on scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The score.
    pub score: f64,
    /// Whether the score itself is left out.
    pub exclusive: bool,
}

impl Bound {
    /// The score and what lies on its inner side.
    #[must_use]
    pub const fn inclusive(score: f64) -> Self {
        Self { score, exclusive: false }
    }

    /// Redis's text for it.
    #[must_use]
    pub fn to_text(self) -> String {
        let open = if self.exclusive { "(" } else { "" };
        format!("{open}{}", archipelago_engine::number::show(self.score))
    }
}

/// What a read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A number.
    Int(i64),
    /// A value.
    Bytes(Bytes),
    /// Several.
    Array(Vec<Self>),
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing was sent: the region is not connected. Certainly not applied.
    #[error("{0}")]
    Unavailable(String),
    /// It was sent, or may have been, and no answer came: a write may have been applied.
    #[error("{0}")]
    NoAnswer(String),
    /// The write itself is at fault; nothing was changed.
    #[error(transparent)]
    Refused(#[from] MutationError),
    /// The history broke again and again: not applied.
    #[error("the region's history keeps changing: {0}")]
    Stale(String),
    /// A write of a large key, which goes in steps, ended before its end. What was done stands; repeating it goes on.
    #[error("{0}")]
    Partly(String),
    /// The server answered an error; nothing was changed.
    #[error("{0}")]
    Server(String),
    /// The answer was not what the protocol says.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

/// A step of a resync that the receiver or sender did not take.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ResyncFailure {
    /// Start over: another incarnation, another plan, or another epoch.
    #[error("the resync has to start over: {0}")]
    StartOver(String),
    /// The sender's incarnation is closed in the eyes of the receiver: it has to open a new one above this number.
    #[error("the sender's incarnation is superseded by opening {0}")]
    Superseded(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of writes that were to reach replicas.
#[derive(Clone, Debug)]
pub struct ReplicatedWrites {
    /// One for each write, in order.
    pub outcomes: Vec<Result<Outcome, StoreError>>,
    /// How far those that were done have come; an error when that is not known.
    pub replication: Result<Replication, StoreError>,
}

/// How far writes have come among a region's replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// How many replicas said in time that they have them.
    pub confirmed: u64,
    /// Replicas that had not said so, by address, as far as the primary knows them; only told when too few had.
    pub behind: Vec<String>,
}

/// Everything known of one key, for operators.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Its cells; `None` when there never were any.
    pub state: Option<KeyState>,
    /// The physical keys, with what each holds.
    pub physical: Vec<(String, String)>,
}

/// One keyspace in one region.
///
/// Every method ends within the store's own deadline. Dropping a future abandons the wait, not the write: what was sent
/// may still be applied. Implemented for Redis and for embedded regions; called by the typed handles, the command
/// interpreter and the sync driver.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Whose store.
    fn region(&self) -> &RegionId;

    /// How many partitions the keyspace has.
    fn partitions(&self) -> u16;

    /// Executes one write: one round trip, atomic.
    ///
    /// A clear of more than [`limits::CLEARED_AT_ONCE`](archipelago_engine::limits::CLEARED_AT_ONCE) fields, and what needs
    /// one first, goes in steps, each of which is that: for up to half a minute, then it fails with [`StoreError::Partly`].
    /// Dropped, it leaves a key with some members removed.
    async fn write(&self, write: &Write) -> Result<Outcome, StoreError>;

    /// Executes writes in order, pipelined. One result for each; a failure of one does not stop the next.
    async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>>;

    /// The same, and it ends after `wait`: each result says what is known by then, also of a write that goes in steps.
    async fn write_all_within(&self, writes: &[Write], wait: Duration) -> Vec<Result<Outcome, StoreError>>;

    /// Executes one read: one native command.
    async fn read(&self, read: &Read) -> Result<Reply, StoreError>;

    /// Executes reads in order, pipelined.
    async fn read_all(&self, reads: &[Read]) -> Vec<Result<Reply, StoreError>>;

    /// Where a partition stands. One round trip.
    async fn standing(&self, partition: u16) -> Result<Standing, StoreError>;

    /// Executes one read and says where its partition stood: one round trip, and both of one moment.
    ///
    /// One after the other would not do. A standing from before the read says too little of what was read, one from
    /// behind it too much of what the read could see.
    async fn read_and_stand(&self, read: &Read) -> Result<(Reply, Standing), StoreError>;

    /// Executes one write and says where its partition stood right behind it, also of a write that was refused or
    /// changed nothing: one round trip. `None` when that is not known.
    async fn write_and_stand(&self, write: &Write) -> (Result<Outcome, StoreError>, Option<Standing>);

    /// Cells of one key, and where its partition stood: one round trip, and both of one moment.
    async fn cells_and_stand(&self, excerpt: &Excerpt) -> Result<(KeyState, Standing), StoreError>;

    /// Up to `limit` entries of a feed in the order in which they arrived in this region: one round trip. Fewer where they are
    /// large; reading on from the answer's place tells whether there are more.
    async fn arrived(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, StoreError>;

    /// Joins cells that were read in another region, past its log. May be late, and may be repeated.
    async fn push(&self, partition: u16, push: &Push) -> Result<PushReply, StoreError>;

    /// The same, and which concurrent writes met there: those that [`SyncState::resolved`] counts.
    async fn push_and_tell(&self, partition: u16, push: &Push) -> Result<(PushReply, Vec<Conflict>), StoreError>;

    /// Executes writes in order as [`Store::write_all`] does, and then waits, for up to `wait`, until as many replicas of
    /// this region as asked for have them all. No other call waits behind that.
    async fn write_replicated(&self, writes: &[Write], replicas: u16, wait: Duration) -> ReplicatedWrites;

    /// The server's own clock.
    async fn clock(&self) -> Result<Version, StoreError>;

    /// What a sync driver needs to know of a partition, read in one step.
    async fn sync_state(&self, partition: u16) -> Result<SyncState, StoreError>;

    /// Opens a new incarnation if the history broke, or if a peer knows an opening above the present one.
    async fn open(&self, partition: u16, floor: u64) -> Result<Record, StoreError>;

    /// Reads entries of the log behind an id.
    async fn log_after(&self, partition: u16, after: Version, limit: usize) -> Result<LogSlice, StoreError>;

    /// Waits until one of the logs has an entry behind the given id, and names those; empty after `wait`.
    async fn wait_for_entries(&self, after: &[(u16, Version)], wait: Duration) -> Result<Vec<u16>, StoreError>;

    /// Joins a batch of a peer's log.
    async fn join(&self, partition: u16, batch: &Batch) -> Result<JoinReply, StoreError>;

    /// The same, and which concurrent writes met there: those that [`SyncState::resolved`] counts.
    async fn join_and_tell(&self, partition: u16, batch: &Batch) -> Result<(JoinReply, Vec<Conflict>), StoreError>;

    /// Entries of an origin that were set aside.
    async fn aside(&self, partition: u16, origin: &Origin) -> Result<Vec<SetAside>, StoreError>;

    /// Joins what an entry set aside turned out to hold, and forgets the entry.
    async fn recover(
        &self,
        partition: u16,
        origin: &Origin,
        id: Version,
        delta: Option<&Delta>,
    ) -> Result<(), StoreError>;

    /// Begins a resync at the sender.
    async fn begin_resync(
        &self,
        partition: u16,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, StoreError>;

    /// Looks at keys of the sender behind one of them.
    async fn walk(
        &self,
        partition: u16,
        plan: &ResyncPlan,
        after: &Bytes,
        limit: usize,
    ) -> Result<Slice, ResyncFailure>;

    /// Notes a resync at the receiver.
    async fn start_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure>;

    /// Joins a slice at the receiver.
    async fn apply_slice(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure>;

    /// Ends a resync at the receiver.
    async fn complete_resync(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure>;

    /// Notes how far a destination has this region's log, and trims behind `members`.
    async fn acknowledge(
        &self,
        partition: u16,
        destination: &RegionId,
        cursor: Cursor,
        members: &[RegionId],
    ) -> Result<(), StoreError>;

    /// Writes what this region holds into its log, if data arrived since it last did.
    async fn publish_vector(&self, partition: u16) -> Result<bool, StoreError>;

    /// Writes what this region holds into its log, whether or not data arrived: a peer's collection waits to hear of it.
    async fn republish_vector(&self, partition: u16) -> Result<(), StoreError>;

    /// One step of the collection of dead cells: settles what can be settled, takes a mark if anything is dead and none is
    /// pending, and forgets the dead cells of up to `limit` fields once the mark has been passed.
    ///
    /// `members` are all regions of the keyspace. Where nothing is dead it is one cheap read.
    async fn collect(&self, partition: u16, members: &[RegionId], limit: usize) -> Result<Collection, StoreError>;

    /// How many keys expired at least `grace` ago and still have their cells.
    async fn expired(&self, partition: u16, grace: Duration) -> Result<u64, StoreError>;

    /// Clears up to `limit` keys that expired at least `grace` ago; says how many.
    async fn sweep(&self, partition: u16, grace: Duration, limit: usize) -> Result<u64, StoreError>;

    /// Up to `limit` stocks in the order of their names, behind one of them.
    async fn stocks(&self, partition: u16, after: Option<&Bytes>, limit: usize) -> Result<Vec<Key>, StoreError>;

    /// Returns what is set aside and has run out, of up to `limit` stocks; says of how many.
    async fn tidy(&self, partition: u16, limit: usize) -> Result<u64, StoreError>;

    /// Lets the current incarnation spend the rights to stock of every closed one of this region; says of which. What was
    /// sold and lost with a closed incarnation is sold again.
    async fn reclaim(&self, partition: u16) -> Result<Vec<Incarnation>, StoreError>;

    /// Takes or renews a lease kept in this region; says whether it is the holder's.
    async fn take_lease(&self, name: &str, holder: &str, lifetime: Duration) -> Result<bool, StoreError>;

    /// Gives a lease back.
    async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError>;

    /// Everything known of one key.
    async fn inspect(&self, key: &Key) -> Result<Inspection, StoreError>;
}

//! The feed: entries in the order of their ids, and in that of their arrival.

mod cursor;
mod follow;

use std::{
    fmt,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
    time::{Duration, SystemTime},
};

use archipelago_engine::{Append, EntryId, Keep, Key, Mutation, Outcome, Since, limits};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    cursor::{FeedCursor, FeedCursorError},
    follow::Follow,
};
use super::{
    Codec, Handle, Json, array, common_methods, optional, unexpected,
    unreadable::{of_entry, of_member},
};
use crate::{
    error::Error,
    store::{Query, Reply},
};

/// An entry of a [`Feed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry<T> {
    /// Its id: no two entries of a feed have one, wherever they were appended.
    pub id: EntryId,
    /// What was appended.
    pub value: T,
}

impl<T> FeedEntry<T> {
    /// When it was appended, to the millisecond: by the clock of the region that took it, or later where that region had
    /// seen entries from further ahead.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.id.millis)
    }
}

/// What a reader with a cursor is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrived<T> {
    /// The entries in the order in which they arrived in the local region.
    pub entries: Vec<FeedEntry<T>>,
    /// Where to read on: write it down once the entries are dealt with.
    pub cursor: FeedCursor,
    /// Whether the region may have lost data since the cursor was given, or the cursor is another region's or feed's. Then
    /// reading began from the start: what was given before comes again.
    pub restarted: bool,
    /// Entries that are no `T`. The cursor is behind them, too: one of them must not hold up all that follow.
    pub unreadable: Vec<EntryId>,
    /// Entries that are in the feed and in no order of arrival: no cursor comes to them, [`Feed::range`] shows them. Zero,
    /// unless somebody has deleted or changed `{KEYSPACE:PARTITION}:arrivals:NAME` in the region, past this library.
    pub unordered: u64,
}

impl<T> Arrived<T> {
    /// Whether there is nothing behind the cursor now, be it readable or not.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreadable.is_empty()
    }
}

/// Entries that only grow in number, until they are evicted or removed: chat, activity, an agent's memory.
///
/// What regions append at the same time is all kept, in one order everywhere: that of [ids](EntryId), which is the time of
/// the append, then the region. A cap ([`Feed::keep_newest`], [`Feed::keep_for`]) goes along with every append and evicts
/// the oldest entries that the local region has seen. So a feed may hold a few more than its cap for a while, by entries
/// that other regions append and evict at the same time, and none is evicted by a region that has not seen it.
///
/// There are two ways to read. [`Feed::range`] and [`Feed::newest`] go by ids: what a page shows. **[`Feed::arrived`] goes
/// by the order in which entries came to be in the local region**: what a consumer needs. An entry of another region may
/// arrive late, with an id below some that are here; by id it would be missed, by arrival it comes behind them.
///
/// # What a cursor promises
///
/// Who reads on from the cursor of each answer is given every entry at least once that arrives in the local region and is
/// not evicted, removed or deleted before it is read: also what comes late by a link, a push or a resync. Cursors are
/// text, and outlive processes and restarts of the region. After a restart, or a promotion, nobody knows whether the region
/// still has all that it had, so reading starts over and says so ([`Arrived::restarted`]): the same entries come again, and
/// [ids](FeedEntry::id) tell which. A region with `lossless_restart` goes on where it was after a restart that lost
/// nothing.
///
/// **Not promised**: that an entry comes once only; what was gone before it was read; the same order in two regions (sort
/// by id for that); a cursor of one region in another (it starts over). There are no consumer groups: to share the work,
/// let one process follow, or give each consumer a feed.
///
/// Values are JSON unless [`Feed::with_codec`] says otherwise. An append is one round trip, at local latency, and so is
/// each read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// use archipelago::FeedCursor;
///
/// # let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// # let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").without_sync().build().await?;
/// # let us = archipelago::Client::builder().embedded(&regions).local_region("us").without_sync().build().await?;
/// let (here, there) = (eu.feed::<String>("room:7").keep_newest(1000), us.feed::<String>("room:7"));
/// there.append("sent first, and it takes its time").await?;
/// here.append("hello").await?;
/// let read = here.arrived(&FeedCursor::start(), 100).await?;
/// assert_eq!(read.entries[0].value, "hello");
/// let place = read.cursor.to_string();                       // kept in a database, say
///
/// eu.sync_until_idle(Duration::from_secs(5)).await?;         // the links have come round
/// let read = here.arrived(&place.parse()?, 100).await?;      // by another process
/// assert_eq!(read.entries[0].value, "sent first, and it takes its time");
/// assert_eq!(here.newest(10).await?.len(), 2);               // by id: one order everywhere
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
pub struct Feed<T, C = Json> {
    pub(crate) handle: Handle,
    keep: Option<Keep>,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for Feed<T, C> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), keep: self.keep, types: PhantomData }
    }
}

impl<T, C> fmt::Debug for Feed<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("key", &self.handle.key).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl<T, C> Feed<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, keep: None, types: PhantomData }
    }

    /// The same feed with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> Feed<T, D> {
        Feed { handle: self.handle, keep: self.keep, types: PhantomData }
    }

    /// The same feed with a cap: each append through this handle evicts the oldest entries beyond so many, at most 10,000 of
    /// them at once. Zero is taken for one. It replaces another cap of the handle.
    #[must_use]
    pub fn keep_newest(self, entries: u64) -> Self {
        Self { keep: Some(Keep::Newest(entries.max(1))), ..self }
    }

    /// The same feed with a cap: each append through this handle evicts entries that are older by the clock of the local
    /// region, at most 10,000 of them at once. It replaces another cap of the handle.
    ///
    /// Nothing is evicted while nobody appends: for a feed that falls silent let the key expire
    /// ([`Feed::expire_in`]), or call [`Feed::trim`].
    #[must_use]
    pub fn keep_for(self, age: Duration) -> Self {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { keep: Some(Keep::Lately(millis)), ..self }
    }

    /// Removes entries; says how many were there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn remove(&self, ids: impl IntoIterator<Item = EntryId>) -> Result<u64, Error> {
        self.handle.remove(ids.into_iter().map(EntryId::to_bytes).collect()).await
    }

    /// Removes the oldest entries but for what is to stay; says how many, at most 10,000.
    ///
    /// # Errors
    /// As [`Feed::remove`].
    pub async fn trim(&self, keep: Keep) -> Result<u64, Error> {
        match self.handle.write(Mutation::Evict(keep)).await? {
            Outcome::Removed(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn len(&self) -> Result<u64, Error> {
        self.handle.count().await
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// A cursor behind all that has arrived in the local region: for who wants only what comes from now on.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn cursor_now(&self) -> Result<FeedCursor, Error> {
        let arrived = self.handle.keyspace()?.arrived(&self.handle.key, Since::Now, 0).await?;
        Ok(FeedCursor::at(&self.handle.key.name, arrived.place))
    }
}

impl<T, C: Codec> Feed<T, C> {
    /// Appends a value; answers the id that the local region gives it. At most 8 MiB.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came: appended again, it may be there twice. Else see
    /// [`crate::ErrorKind`].
    pub async fn append<V: Serialize + ?Sized>(&self, value: &V) -> Result<EntryId, Error> {
        appended(self.handle.write(Self::appending(value, self.keep)?).await?)
    }

    /// Appends values in one round trip, in order; answers their ids. The cap is applied behind the last.
    ///
    /// Each is appended by itself: another region or process may append in between, and a reader may look.
    ///
    /// # Errors
    /// The first failure of any, as [`Feed::append`] has them; the others may be appended all the same.
    pub async fn append_all<V: Serialize>(&self, values: &[V]) -> Result<Vec<EntryId>, Error> {
        let keep = |at: usize| if at + 1 == values.len() { self.keep } else { None };
        let mutations = values.iter().enumerate().map(|(at, value)| Self::appending(value, keep(at)));
        let writes = mutations.map(|mutation| mutation.map(|mutation| self.handle.to_write(mutation)));
        let writes: Vec<_> = writes.collect::<Result<_, Error>>()?;
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = self.handle.keyspace()?.write_all(&writes).await;
        outcomes.into_iter().map(|outcome| appended(outcome?)).collect()
    }

    fn appending<V: Serialize + ?Sized>(value: &V, keep: Option<Keep>) -> Result<Mutation, Error> {
        Ok(Mutation::Append(Append { id: None, payload: C::encode(value)?, existing: false, keep }))
    }
}

impl<T: DeserializeOwned, C: Codec> Feed<T, C> {
    /// The entries with these ids, the oldest first; at most so many. A time stands for its first id:
    /// `EntryId::from(hour_ago)..` is what was appended since.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when one of them is no `T`: it names the key and the entry's id.
    /// [`Feed::arrived`] passes such entries over and lists them. Else see [`crate::ErrorKind`].
    pub async fn range(&self, ids: impl RangeBounds<EntryId>, limit: u64) -> Result<Vec<FeedEntry<T>>, Error> {
        self.read(&ids, false, limit).await
    }

    /// The same, the newest first: the last of a range, and page by page back from an id.
    ///
    /// # Errors
    /// As [`Feed::range`].
    pub async fn range_back(&self, ids: impl RangeBounds<EntryId>, limit: u64) -> Result<Vec<FeedEntry<T>>, Error> {
        self.read(&ids, true, limit).await
    }

    /// The newest entries, the newest first; at most so many.
    ///
    /// # Errors
    /// As [`Feed::range`].
    pub async fn newest(&self, limit: u64) -> Result<Vec<FeedEntry<T>>, Error> {
        self.read(&.., true, limit).await
    }

    async fn read(
        &self,
        ids: &impl RangeBounds<EntryId>,
        reverse: bool,
        limit: u64,
    ) -> Result<Vec<FeedEntry<T>>, Error> {
        let Some(query) = between(ids, reverse, Some(limit)) else { return Ok(Vec::new()) };
        let entries = entries_of(&self.handle.key, self.handle.read(query).await?)?;
        let mut decoded = Vec::with_capacity(entries.len());
        let mut bad = Vec::new();
        for (id, payload) in entries {
            match C::decode(&payload) {
                Ok(value) => decoded.push(FeedEntry { id, value }),
                Err(why) => bad.push((id, why)),
            }
        }
        match bad.first() {
            Some((id, why)) => Err(of_entry(&self.handle.key, *id, bad.len() - 1, why)),
            None => Ok(decoded),
        }
    }

    /// Up to `limit` entries in the order in which they arrived in the local region, behind a cursor; see [`Feed`] for what
    /// it promises. At most 1,000, and fewer where they are large: none means that there are no more.
    ///
    /// Reads of another [strength](crate::strength) than the local region are none of this one's: the order is that
    /// region's own.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] when somebody else's value stands where the region keeps the order: the text names
    /// the physical key. Else see [`crate::ErrorKind`]. A cursor that does not fit is no error: reading starts over.
    pub async fn arrived(&self, cursor: &FeedCursor, limit: u64) -> Result<Arrived<T>, Error> {
        let key = &self.handle.key;
        let limit = usize::try_from(limit).unwrap_or(limits::ARRIVALS);
        let found = self.handle.keyspace()?.arrived(key, cursor.since(&key.name), limit).await?;
        let mut arrived = Arrived {
            entries: Vec::with_capacity(found.entries.len()),
            cursor: FeedCursor::at(&key.name, found.place),
            restarted: found.restarted,
            unreadable: Vec::new(),
            unordered: found.unordered,
        };
        for (id, payload) in found.entries {
            match C::decode(&payload) {
                Ok(value) => arrived.entries.push(FeedEntry { id, value }),
                Err(_) => arrived.unreadable.push(id),
            }
        }
        Ok(arrived)
    }
}

impl<T: DeserializeOwned + Send + 'static, C: Codec> Feed<T, C> {
    /// Entries as they arrive, behind a cursor: a stream of what [`Feed::arrived`] answers; see [`Follow`].
    pub fn follow(&self, cursor: FeedCursor) -> Follow<T> {
        Follow::new(self.clone(), cursor)
    }
}

fn appended(outcome: Outcome) -> Result<EntryId, Error> {
    match outcome {
        Outcome::Appended(Some(id)) => Ok(id),
        other => Err(unexpected(&other)),
    }
}

/// The query for the entries with these ids; `None` where there can be none.
fn between(ids: &impl RangeBounds<EntryId>, reverse: bool, limit: Option<u64>) -> Option<Query> {
    let from = match ids.start_bound() {
        Bound::Included(id) => *id,
        Bound::Excluded(id) => id.next()?,
        Bound::Unbounded => EntryId::ZERO,
    };
    let to = match ids.end_bound() {
        Bound::Included(id) => id.next(),
        Bound::Excluded(id) => Some(*id),
        Bound::Unbounded => None,
    };
    if to.is_some_and(|to| to <= from) {
        return None;
    }
    Some(Query::Between { from: from.to_bytes(), to: to.map(EntryId::to_bytes), reverse, limit })
}

/// The ids and payloads of what a query answers.
pub(crate) fn entries_of(key: &Key, reply: Reply) -> Result<Vec<(EntryId, Bytes)>, Error> {
    let entry = |member| {
        let member = optional(member)?.unwrap_or_default();
        EntryId::split(&member).ok_or_else(|| of_member(key, &member))
    };
    array(reply)?.into_iter().map(entry).collect()
}

common_methods!(Feed<T, C>);

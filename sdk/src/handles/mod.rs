//! Typed handles: what applications call. A handle names a key and its type; it is cheap to make and to clone.

mod batch;
mod batched;
mod best;
mod claim;
mod codec;
mod constructors;
mod counter;
mod ending;
mod extreme;
pub(crate) mod feed;
mod first;
mod flag;
mod geo;
mod hyperloglog;
mod list;
mod map;
mod merge;
mod register;
mod seen;
mod set;
mod siblings;
mod sorted_set;
mod stock;
pub(crate) mod stream;
mod strong;
pub(crate) mod unreadable;

use std::time::Duration;

use archipelago_engine::{Expiry, Key, KeyState, Kind, Mutation, Outcome, Version};
use bytes::Bytes;

pub use self::{
    batch::Batch,
    batched::{BatchAdd, BatchDelete, BatchRemove, BatchSet},
    best::BestScores,
    claim::Claimed,
    codec::{Codec, Json, MessagePack},
    counter::Counter,
    extreme::ExtremeRegister,
    feed::{Arrived, Feed, FeedCursor, FeedCursorError, FeedEntry, Follow},
    first::FirstRegister,
    flag::Flag,
    geo::{Geo, Place},
    hyperloglog::HyperLogLog,
    list::List,
    map::Map,
    register::Register,
    set::Set,
    siblings::Siblings,
    sorted_set::{ScoreRange, SortedSet},
    stock::{Reservation, Stock},
    stream::{Stream, StreamEntry},
};
pub(crate) use self::{
    constructors::constructors, counter::integer_from, flag::on_or_off, geo::payload as geo_payload,
};
use crate::{
    client::Keyspace,
    error::{Error, ErrorKind},
    store::{Excerpt, Query, Read, Reply, Write},
};

/// A key in a keyspace of the local region: what every handle is made of.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    home: Home,
    key: Key,
}

/// Where handles read and write, or why nowhere: making a handle never fails, its calls say what is missing.
pub(crate) type Home = Result<Keyspace, Error>;

impl Handle {
    pub(crate) fn new(home: Home, kind: Kind, name: impl Into<Bytes>) -> Self {
        Self { home, key: Key::new(kind, name) }
    }

    fn keyspace(&self) -> Result<&Keyspace, Error> {
        self.home.as_ref().map_err(Error::clone)
    }

    fn to_write(&self, mutation: Mutation) -> Write {
        Write { key: self.key.clone(), mutation, exclusive: false }
    }

    async fn write(&self, mutation: Mutation) -> Result<Outcome, Error> {
        self.keyspace()?.write(&self.to_write(mutation)).await
    }

    async fn read(&self, query: Query) -> Result<Reply, Error> {
        self.keyspace()?.read(&Read { key: self.key.clone(), query }).await
    }

    /// Assigns; says how many members were, how many of them are new, and how many changed what a reader sees.
    async fn assign(&self, mutation: Mutation) -> Result<Assigned, Error> {
        match self.write(mutation).await? {
            Outcome::Assigned { assigned, added, changed, .. } => Ok(Assigned { assigned, added, changed }),
            other => Err(unexpected(&other)),
        }
    }

    async fn delete(&self) -> Result<bool, Error> {
        match self.write(Mutation::Clear { previous: false }).await? {
            Outcome::Cleared { existed, .. } => Ok(existed),
            other => Err(unexpected(&other)),
        }
    }

    async fn exists(&self) -> Result<bool, Error> {
        Ok(integer(&self.read(Query::Exists).await?)? == 1)
    }

    async fn expire(&self, expiry: Expiry) -> Result<bool, Error> {
        match self.write(Mutation::Expire(expiry)).await? {
            Outcome::Expiry(applied) => Ok(applied),
            other => Err(unexpected(&other)),
        }
    }

    async fn time_to_live(&self) -> Result<Option<Duration>, Error> {
        let millis = integer(&self.read(Query::TimeToLive).await?)?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis))
    }

    /// The cells that a read is answered from, and the time there.
    async fn cells(&self) -> Result<(KeyState, Version), Error> {
        self.keyspace()?.cells(&Excerpt::whole(self.key.clone())).await
    }

    async fn count(&self) -> Result<u64, Error> {
        Ok(integer(&self.read(Query::Count).await?)?.unsigned_abs())
    }

    async fn score(&self, member: Bytes) -> Result<Option<f64>, Error> {
        optional(self.read(Query::Score(member)).await?)?.as_ref().map(number).transpose()
    }

    async fn rank(&self, member: Bytes, reverse: bool) -> Result<Option<u64>, Error> {
        match self.read(Query::Rank { member, reverse }).await? {
            Reply::Nil => Ok(None),
            Reply::Int(rank) => Ok(Some(rank.unsigned_abs())),
            other @ (Reply::Bytes(_) | Reply::Array(_)) => Err(unexpected(&other)),
        }
    }

    /// The `count` members behind the first `skip`.
    async fn page(&self, skip: u32, count: u32, reverse: bool) -> Result<Vec<(Bytes, f64)>, Error> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let (start, stop) = (i64::from(skip), i64::from(skip) + i64::from(count) - 1);
        self.scored(Query::RangeByRank { start, stop, reverse }).await
    }

    async fn scored(&self, query: Query) -> Result<Vec<(Bytes, f64)>, Error> {
        let members = pairs(self.read(query).await?)?;
        members.into_iter().map(|(member, score)| Ok((member, number(&score)?))).collect()
    }

    async fn remove(&self, members: Vec<Bytes>) -> Result<u64, Error> {
        match self.write(Mutation::Remove { members }).await? {
            Outcome::Removed(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }
}

/// What became of an assignment.
#[derive(Clone, Copy, Debug)]
struct Assigned {
    assigned: u64,
    added: u64,
    changed: u64,
}

/// The expiry after so long, by the clock of the region that executes the write.
pub(crate) fn after(duration: Duration) -> Expiry {
    Expiry::In(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

pub(crate) fn unexpected(what: &impl std::fmt::Debug) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected answer {what:?}"))
}

pub(crate) fn integer(reply: &Reply) -> Result<i64, Error> {
    match reply {
        Reply::Int(n) => Ok(*n),
        Reply::Nil | Reply::Bytes(_) | Reply::Array(_) => Err(unexpected(reply)),
    }
}

pub(crate) fn optional(reply: Reply) -> Result<Option<Bytes>, Error> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Bytes(bytes) => Ok(Some(bytes)),
        Reply::Int(_) | Reply::Array(_) => Err(unexpected(&reply)),
    }
}

pub(crate) fn array(reply: Reply) -> Result<Vec<Reply>, Error> {
    match reply {
        Reply::Array(replies) => Ok(replies),
        Reply::Nil | Reply::Int(_) | Reply::Bytes(_) => Err(unexpected(&reply)),
    }
}

pub(crate) fn pairs(reply: Reply) -> Result<Vec<(Bytes, Bytes)>, Error> {
    let mut replies = array(reply)?.into_iter();
    let mut out = Vec::with_capacity(replies.len() / 2);
    while let (Some(first), Some(second)) = (replies.next(), replies.next()) {
        out.push((optional(first)?.unwrap_or_default(), optional(second)?.unwrap_or_default()));
    }
    Ok(out)
}

pub(crate) fn number(bytes: &Bytes) -> Result<f64, Error> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::new(ErrorKind::Protocol, "a score is no number"))
}

/// The methods that every handle has.
macro_rules! common_methods {
    ($handle:ident $(<$($generic:ident),+>)?) => {
        impl $(<$($generic),+>)? $handle $(<$($generic),+>)? {
            /// Deletes the key; says whether there was anything to see.
            ///
            /// Removes what this region has seen: a concurrent write elsewhere survives.
            ///
            /// Atomic up to 1,000 members, those included that were removed and wait to be forgotten. A larger key goes in
            /// steps of 500, for up to half a minute: readers see them go, here and in the other regions, and what
            /// others add meanwhile may stay.
            ///
            /// # Errors
            /// [`Error`]; see [`crate::ErrorKind`]. [`PartlyApplied`](crate::ErrorKind::PartlyApplied) when a large key
            /// was not gone in time: call it again, to go on.
            ///
            /// # Cancel safety
            /// Dropped, it may have deleted the key, or removed some of a large one's members. It can be called again.
            pub async fn delete(&self) -> Result<bool, Error> {
                self.handle.delete().await
            }

            /// Whether there is anything to see.
            ///
            /// # Errors
            /// [`Error`]; see [`crate::ErrorKind`].
            pub async fn exists(&self) -> Result<bool, Error> {
                self.handle.exists().await
            }

            /// Lets the key expire after `duration`, by the clock of the local region; says whether the key exists.
            ///
            /// Concurrent expiries of several regions: the longest holds.
            ///
            /// # Errors
            /// [`Error`]; see [`crate::ErrorKind`].
            pub async fn expire_in(&self, duration: std::time::Duration) -> Result<bool, Error> {
                self.handle.expire(crate::handles::after(duration)).await
            }

            /// Removes the expiry; says whether there was one.
            ///
            /// # Errors
            /// [`Error`]; see [`crate::ErrorKind`].
            pub async fn persist(&self) -> Result<bool, Error> {
                self.handle.expire(archipelago_engine::Expiry::Never).await
            }

            /// How long the key still lives; `None` without expiry or without key.
            ///
            /// # Errors
            /// [`Error`]; see [`crate::ErrorKind`].
            pub async fn time_to_live(&self) -> Result<Option<std::time::Duration>, Error> {
                self.handle.time_to_live().await
            }
        }
    };
}
pub(crate) use common_methods;

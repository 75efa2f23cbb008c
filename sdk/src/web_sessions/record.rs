//! One session in one region: the few writes it consists of.

use std::{sync::Arc, time::Duration};

use archipelago_engine::{Assignment, Expiry, Key, Mutation, Outcome, Presence, Retention};
use bytes::Bytes;

use super::address::Address;
use crate::{
    error::Error,
    handles::{after, array, integer, optional, unexpected},
    store::{Query, Read, Reply, Store, StoreError, Write},
};

/// Assigned once, by the creation: whether the session is valid.
const LIVE: Bytes = Bytes::from_static(b"live");
/// What the application keeps in it.
const DATA: Bytes = Bytes::from_static(b"data");
const YES: Bytes = Bytes::from_static(b"1");

/// How long a region answers "revoked" by itself. Afterwards it asks the home as for any session that it does not have,
/// and by then the home knows unless it was cut off for all that time.
const MARKED: Duration = Duration::from_secs(24 * 3600);

/// One session, as one region has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) address: &'a Address,
}

/// What a region sees of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is valid; its data.
    Live(Bytes),
    /// It was revoked.
    Revoked,
    /// Nothing: never created, expired, revoked long ago, or not arrived yet.
    Absent,
}

impl Record<'_> {
    async fn write(self, mutation: Mutation) -> Result<Outcome, Error> {
        let write = Write { key: self.address.session(), mutation, exclusive: false };
        self.store.write(&write).await.map_err(|error| self.of_write(error))
    }

    fn of_write(self, error: StoreError) -> Error {
        Error::of_write(error, self.store.region())
    }

    /// One round trip.
    pub(super) async fn look(self) -> Result<Sight, Error> {
        let fields = Query::Fields(vec![LIVE, DATA]);
        let reads = [(self.address.mark(), Query::Exists), (self.address.session(), fields)];
        let reads = reads.map(|(key, query)| Read { key, query });
        let mut replies = self.store.read_all(&reads).await.into_iter();
        let mut next = || {
            let reply = replies.next().unwrap_or_else(|| Err(StoreError::Protocol("an answer is missing".to_owned())));
            reply.map_err(|error| Error::of_read(error, self.store.region()))
        };
        if integer(&next()?)? == 1 {
            return Ok(Sight::Revoked);
        }
        let mut fields = array(next()?)?.into_iter();
        let mut field = || optional(fields.next().unwrap_or(Reply::Nil));
        match (field()?, field()?) {
            (Some(_), Some(data)) => Ok(Sight::Live(data)),
            // Data alone: a save that met a revocation on the way. They go with their expiry.
            (Some(_) | None, _) => Ok(Sight::Absent),
        }
    }

    /// How long it still lives; `None` when it is over.
    pub(super) async fn time_left(self) -> Result<Option<Expiry>, Error> {
        let read = Read { key: self.address.session(), query: Query::TimeToLive };
        let reply = self.store.read(&read).await.map_err(|error| Error::of_read(error, self.store.region()))?;
        match integer(&reply)? {
            -1 => Ok(Some(Expiry::Never)),
            millis if millis > 0 => Ok(Some(Expiry::In(millis))),
            _ => Ok(None),
        }
    }

    /// Creates it; says whether the name was free.
    pub(super) async fn create(self, data: Bytes, expiry: Expiry) -> Result<bool, Error> {
        let entries = vec![(LIVE, YES), (DATA, data)];
        Ok(self.assign(entries, Presence::Absent, expiry).await? == 2)
    }

    /// Replaces its data if it is here; says whether it is. Never assigns `live`.
    ///
    /// With an expiry of its own: the one it found may be swept elsewhere at this moment, and data would stay for ever.
    pub(super) async fn save(self, data: Bytes, presence: Presence, expiry: Expiry) -> Result<bool, Error> {
        Ok(self.assign(vec![(DATA, data)], presence, expiry).await? == 1)
    }

    async fn assign(self, entries: Vec<(Bytes, Bytes)>, presence: Presence, expiry: Expiry) -> Result<u64, Error> {
        let assignment = Assignment { entries, presence, retention: Retention::Set(expiry), ..Assignment::default() };
        match self.write(Mutation::Assign(assignment)).await? {
            Outcome::Assigned { assigned, .. } => Ok(assigned),
            other => Err(unexpected(&other)),
        }
    }

    /// Moves its expiry if it is here; says whether it is. An expiry alone is nothing to see.
    pub(super) async fn renew(self, expiry: Expiry) -> Result<bool, Error> {
        match self.write(Mutation::Expire(expiry)).await? {
            Outcome::Expiry(applied) => Ok(applied),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes `live`, for good; says whether it was seen here. Writes nothing where it was not, so that forged ids
    /// leave nothing behind.
    pub(super) async fn retract(self) -> Result<bool, Error> {
        match self.write(Mutation::Remove { members: vec![LIVE] }).await? {
            Outcome::Removed(count) => Ok(count == 1),
            other => Err(unexpected(&other)),
        }
    }

    /// Marks it as revoked, and removes what is left of it.
    pub(super) async fn mark(self) -> Result<(), Error> {
        let mark = Assignment {
            entries: vec![(Bytes::new(), YES)],
            retention: Retention::Set(after(MARKED)),
            ..Assignment::default()
        };
        let write = |key: Key, mutation| Write { key, mutation, exclusive: false };
        let writes = [
            write(self.address.mark(), Mutation::Assign(mark)),
            write(self.address.session(), Mutation::Clear { previous: false }),
        ];
        let outcomes = self.store.write_all(&writes).await;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop).map_err(|error| self.of_write(error)))
    }
}

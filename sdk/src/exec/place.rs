//! What commands run on: a store alone, or a keyspace that may ask for more than the local region.

use std::sync::Arc;

use archipelago_engine::{Arrived, End, Key, KeyState, MutationError, Outcome, Since};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    client::Keyspace,
    error::{Error, ErrorKind},
    store::{Excerpt, Read, Reply, Store, StoreError, Write},
    strength::ReadStrength,
};

/// What commands run on.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Store(Arc<dyn Store>),
    Keyspace(Box<Keyspace>),
}

/// Why a call was not done.
pub(super) enum Undone {
    /// The write itself is at fault.
    Refused(MutationError),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        let is_its = |refusal: &MutationError| refusal.to_string() == error.message();
        let refusal = (error.kind() == ErrorKind::Refused).then(|| MutationError::ALL.into_iter().find(is_its));
        refusal.flatten().map_or(Self::Failed(error), Self::Refused)
    }
}

impl Place {
    pub(super) async fn write(&self, write: &Write) -> Result<Outcome, Undone> {
        match self {
            Self::Store(store) => store.write(write).await.map_err(|error| of_write(store.as_ref(), error)),
            Self::Keyspace(keyspace) => keyspace.write(write).await.map_err(Undone::from),
        }
    }

    pub(super) async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, Undone>> {
        match self {
            Self::Store(store) => {
                let done = store.write_all(writes).await.into_iter();
                done.map(|done| done.map_err(|error| of_write(store.as_ref(), error))).collect()
            }
            Self::Keyspace(keyspace) => {
                keyspace.write_all(writes).await.into_iter().map(|done| done.map_err(Undone::from)).collect()
            }
        }
    }

    /// Takes an element that no other claim takes: its position or id, and what it held.
    pub(super) async fn claim(&self, key: &Key, end: End) -> Result<Option<(Bytes, Bytes)>, Undone> {
        match self {
            Self::Store(_) => {
                let what = "a claim needs a client, which knows the homes of elements";
                Err(Undone::Failed(Error::new(ErrorKind::Config, what)))
            }
            Self::Keyspace(keyspace) => {
                let claimed = keyspace.claim(key, end).await.map_err(Undone::from)?;
                Ok(claimed.map(|claimed| claimed.value))
            }
        }
    }

    /// In one pipeline where one region answers, else side by side.
    pub(super) async fn read_all(&self, reads: &[Read]) -> Result<Vec<Reply>, Undone> {
        let store = match self {
            Self::Store(store) => store,
            Self::Keyspace(keyspace) if keyspace.strengths.read == ReadStrength::Local => &keyspace.store,
            Self::Keyspace(keyspace) => {
                let replies = join_all(reads.iter().map(|read| keyspace.read(read))).await;
                return replies.into_iter().map(|reply| reply.map_err(Undone::from)).collect();
            }
        };
        let replies = store.read_all(reads).await.into_iter();
        replies.map(|reply| reply.map_err(|error| of_read(store.as_ref(), error))).collect()
    }

    pub(super) async fn arrived(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, Undone> {
        match self {
            Self::Store(store) => {
                store.arrived(key, since, limit).await.map_err(|error| of_read(store.as_ref(), error))
            }
            Self::Keyspace(keyspace) => keyspace.arrived(key, since, limit).await.map_err(Undone::from),
        }
    }

    pub(super) async fn cells(&self, excerpt: &Excerpt) -> Result<KeyState, Undone> {
        match self {
            Self::Store(store) => {
                let cells = store.cells_and_stand(excerpt).await;
                cells.map(|(state, _)| state).map_err(|error| of_read(store.as_ref(), error))
            }
            Self::Keyspace(keyspace) => keyspace.cells(excerpt).await.map(|(state, _)| state).map_err(Undone::from),
        }
    }
}

fn of_write(store: &dyn Store, error: StoreError) -> Undone {
    match error {
        StoreError::Refused(refusal) => Undone::Refused(refusal),
        error => Undone::Failed(Error::of_write(error, store.region())),
    }
}

fn of_read(store: &dyn Store, error: StoreError) -> Undone {
    match error {
        StoreError::Refused(refusal) => Undone::Refused(refusal),
        error => Undone::Failed(Error::of_read(error, store.region())),
    }
}

//! Single steps of writes that take several, and pages of what a key holds.

use std::sync::{Mutex, PoisonError};

use archipelago_engine::{Field, Key, Outcome};
use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use tokio::time::Instant;

use super::{
    super::{call::parse, durable::Durable},
    RedisStore,
    resyncs::stored_cells,
};
use crate::store::{
    Query, Read, Replication, Reply, StoreError, Write,
    steps::{Page, Pipelined, Stepwise},
};

/// Fields in one page, about: a server looks at whole buckets.
const PAGE: usize = 500;

#[async_trait]
impl Stepwise for RedisStore {
    async fn attempt(&self, write: &Write) -> Result<Outcome, StoreError> {
        self.write_one(write).await
    }

    /// From the cells, not from the view: a key past its expiry has none.
    async fn page(&self, key: &Key, from: &Bytes) -> Result<Page, StoreError> {
        let (_, keys) = self.locate(key)?;
        let mut cmd = redis::cmd("HSCAN");
        cmd.arg(keys.cells(key)).arg(if from.is_empty() { &b"0"[..] } else { from.as_ref() }).arg("COUNT").arg(PAGE);
        let [next, fields] = parse::tuple(self.call(&cmd).await?)?;
        let next = parse::bytes(next)?.filter(|cursor| cursor.as_ref() != b"0");
        let mut members = Vec::new();
        let mut fields = parse::array(fields)?.into_iter();
        while let (Some(name), Some(stored)) = (fields.next(), fields.next()) {
            members.extend(live_member(name, stored)?);
        }
        Ok(Page { members, next })
    }

    async fn length(&self, key: &Key) -> Result<usize, StoreError> {
        match self.read_one(&Read { key: key.clone(), query: Query::Count }).await? {
            Reply::Int(length) => Ok(usize::try_from(length).unwrap_or(0)),
            other => Err(StoreError::Protocol(format!("{other:?}"))),
        }
    }
}

#[async_trait]
impl Pipelined for RedisStore {
    async fn pipelined(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        self.write_pipelined(writes).await
    }
}

fn live_member(name: Value, stored: Value) -> Result<Option<Bytes>, StoreError> {
    let Some(Field::Member(member)) = Field::from_bytes(&parse::bytes(name)?.unwrap_or_default()) else {
        return Ok(None);
    };
    Ok(stored_cells(stored)?.1.is_live().then_some(member))
}

/// The same, each step with replicas that have it.
pub(super) struct Durably<'s> {
    pub(super) store: &'s RedisStore,
    pub(super) durable: &'s Durable,
    pub(super) replicas: u16,
    pub(super) until: Instant,
    /// What became of the last step that too few replicas have confirmed.
    pub(super) shortfall: Mutex<Option<Result<Replication, StoreError>>>,
}

#[async_trait]
impl Stepwise for Durably<'_> {
    async fn attempt(&self, write: &Write) -> Result<Outcome, StoreError> {
        let wait = self.until.saturating_duration_since(Instant::now());
        let mut done = self.durable.write(&self.store.name, std::slice::from_ref(write), self.replicas, wait).await;
        let is_short = !matches!(&done.replication, Ok(r) if r.confirmed >= u64::from(self.replicas));
        if is_short {
            *self.shortfall.lock().unwrap_or_else(PoisonError::into_inner) = Some(done.replication);
        }
        done.outcomes.pop().unwrap_or_else(|| Err(StoreError::Protocol("an answer is missing".to_owned())))
    }

    async fn page(&self, key: &Key, from: &Bytes) -> Result<Page, StoreError> {
        self.store.page(key, from).await
    }

    async fn length(&self, key: &Key) -> Result<usize, StoreError> {
        self.store.length(key).await
    }
}

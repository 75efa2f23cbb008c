//! Single steps of writes that take several, and pages of what a key holds.

use std::ops::Bound;

use archipelago_engine::{Field, Key, Outcome};
use async_trait::async_trait;
use bytes::Bytes;

use super::{calls::EmbeddedStore, region::State};
use crate::store::{
    Query, Read, Reply, StoreError, Write,
    steps::{Page, Pipelined, Stepwise},
};

/// Fields in one page.
const PAGE: usize = 500;

#[async_trait]
impl Pipelined for EmbeddedStore {
    async fn pipelined(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        let done = |state: &mut State, now| writes.iter().map(|write| self.write_at(state, now, write)).collect();
        self.pipeline(writes.len(), done).await
    }
}

#[async_trait]
impl Stepwise for EmbeddedStore {
    async fn attempt(&self, write: &Write) -> Result<Outcome, StoreError> {
        self.call(|state, now| self.write_at(state, now, write)).await
    }

    async fn page(&self, key: &Key, from: &Bytes) -> Result<Page, StoreError> {
        let slot = self.slot_of(key);
        self.call(|state, _| {
            let mut page = Page::default();
            let Some(held) = state.partition(&slot).key(key) else { return Ok(page) };
            // Behind the one that the last page ended with, by the name that it has in a hash of cells.
            let low = Field::from_bytes(from).map_or(Bound::Unbounded, Bound::Excluded);
            let mut fields = held.fields.range((low, Bound::Unbounded));
            for (field, stamped) in fields.by_ref().take(PAGE) {
                page.next = Some(field.to_bytes());
                if let Field::Member(member) = field
                    && stamped.cells.is_live()
                {
                    page.members.push(member.clone());
                }
            }
            if fields.next().is_none() {
                page.next = None;
            }
            Ok(page)
        })
        .await
    }

    async fn length(&self, key: &Key) -> Result<usize, StoreError> {
        let read = Read { key: key.clone(), query: Query::Count };
        match self.call(|state, now| self.read_at(state, now, &read)).await? {
            Reply::Int(length) => Ok(usize::try_from(length).unwrap_or(0)),
            other => Err(StoreError::Protocol(format!("{other:?}"))),
        }
    }
}

//! The collection of dead cells, in steps of a bounded number of fields.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_engine::{Collection, Key, Mark, Origin, RegionId};
use bytes::Bytes;

use super::{
    super::{call::parse, scripts::SCRIPTS},
    RedisStore,
};
use crate::store::StoreError;

/// Fields with dead cells stand in the sweeper's list behind every expire-at: this, and the number at which they changed.
const DYING: u64 = 10_000_000_000_000;

impl RedisStore {
    pub(super) async fn publish_at_once(&self, partition: u16) -> Result<(), StoreError> {
        let meta = self.keys(partition)?.meta();
        self.call_checked(partition, |wire, slot| {
            let keys = [meta.clone(), slot.log.clone(), slot.number.clone()];
            let mut cmd = self.checked_script(&SCRIPTS.publish, wire, slot, &keys)?;
            cmd.arg("now");
            Ok(cmd)
        })
        .await
        .map(drop)
    }

    pub(super) async fn collect_dead(
        &self,
        partition: u16,
        members: &[RegionId],
        limit: usize,
    ) -> Result<Collection, StoreError> {
        if self.dying_until(partition, "+inf".to_owned(), 1).await?.is_empty() {
            return Ok(Collection::default());
        }
        let region = &self.region.id;
        let mut state = self.read_sync_state(partition).await?;
        let settled = state.settled(region, members);
        if !settled.is_empty() {
            self.settle(partition, &settled).await?;
        }
        let is_marked = state.mark.is_some() || self.take_mark(partition).await?;
        if !settled.is_empty() || state.mark.is_none() {
            state = self.read_sync_state(partition).await?;
        }
        let waits = state.waits(region, members);
        let unsettled = state.unsettled(region);
        let Some(mark) = state.mark.filter(|_| is_marked && waits.is_empty()) else {
            return Ok(Collection { waits, ..Collection::default() });
        };
        let until = DYING.saturating_add(mark.number).to_string();
        let dying = self.dying_until(partition, until, limit).await?;
        let more = dying.len() == limit;
        let Some([cells, awaited]) = self.forget(partition, &mark, &unsettled, &dying, !more).await? else {
            // Another process has gone on from this mark meanwhile.
            return Ok(Collection { more, ..Collection::default() });
        };
        if awaited == 0 {
            return Ok(Collection { cells, more, waits });
        }
        let waits = self.read_sync_state(partition).await?.waits(region, members);
        Ok(Collection { cells, more: true, waits })
    }

    /// Fields with dead cells, the longest unchanged first: members of the list.
    async fn dying_until(&self, partition: u16, until: String, limit: usize) -> Result<Vec<Bytes>, StoreError> {
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(self.keys(partition)?.expiring()).arg(DYING).arg(until).arg("LIMIT").arg(0).arg(limit);
        let members = parse::array(self.call(&cmd).await?)?;
        members.into_iter().map(|member| Ok(parse::bytes(member)?.unwrap_or_default())).collect()
    }

    async fn take_mark(&self, partition: u16) -> Result<bool, StoreError> {
        let keys = self.keys(partition)?;
        let (meta, expiring) = (keys.meta(), keys.expiring());
        let taken = self
            .call_checked(partition, |wire, slot| {
                let keys = [meta.clone(), slot.log.clone(), slot.number.clone(), expiring.clone()];
                let mut cmd = self.checked_script(&SCRIPTS.mark, wire, slot, &keys)?;
                cmd.arg(Origin::new(self.region.id.clone(), slot.record.incarnation).to_string());
                Ok(cmd)
            })
            .await?;
        Ok(parse::integer(&taken)? == 1)
    }

    async fn settle(&self, partition: u16, origins: &[Origin]) -> Result<(), StoreError> {
        let meta = self.keys(partition)?.meta();
        self.call_checked(partition, |wire, slot| {
            let mut cmd = self.checked_script(&SCRIPTS.settle, wire, slot, std::slice::from_ref(&meta))?;
            for origin in origins {
                cmd.arg(origin.to_string());
            }
            Ok(cmd)
        })
        .await
        .map(drop)
    }

    /// How many cells it forgot, and for how many incarnations the mark waits now; nothing when another mark is pending.
    async fn forget(
        &self,
        partition: u16,
        mark: &Mark,
        unsettled: &BTreeSet<Origin>,
        dying: &[Bytes],
        is_last: bool,
    ) -> Result<Option<[u64; 2]>, StoreError> {
        let physical = self.keys(partition)?;
        let mut fields: BTreeMap<Bytes, Vec<Bytes>> = BTreeMap::new();
        for (entry, field) in dying.iter().filter_map(read_member) {
            fields.entry(entry).or_default().push(field);
        }
        let mut keys = vec![physical.meta(), physical.index(), physical.expiring()];
        fields.retain(|entry, _| match Key::from_index_entry(entry) {
            Some(key) => {
                keys.push(physical.cells(&key));
                true
            }
            None => false,
        });
        let forgotten = self
            .call_checked(partition, |wire, slot| {
                let mut cmd = self.checked_script(&SCRIPTS.collect, wire, slot, &keys)?;
                cmd.arg(mark.number).arg(u8::from(is_last)).arg(unsettled.len());
                for origin in unsettled {
                    cmd.arg(origin.to_bytes()).arg(origin.to_string());
                }
                for (entry, names) in &fields {
                    cmd.arg(entry.as_ref()).arg(names.len());
                    for name in names {
                        cmd.arg(name.as_ref());
                    }
                }
                Ok(cmd)
            })
            .await?;
        if forgotten == redis::Value::Nil {
            return Ok(None);
        }
        let [cells, awaited] = parse::tuple(forgotten)?;
        Ok(Some([parse::unsigned(&cells)?, parse::unsigned(&awaited)?]))
    }
}

/// A member of the list: the length of the index entry in four bytes, the entry, and the field's name.
fn read_member(member: &Bytes) -> Option<(Bytes, Bytes)> {
    let (length, _) = member.split_first_chunk::<4>()?;
    let end = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_add(4)?;
    (end <= member.len()).then(|| (member.slice(4..end), member.slice(end..)))
}

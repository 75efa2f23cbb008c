//! What resyncs need, at the sender and at the receiver.

use archipelago_engine::{Cells, Delta, Field, Incarnation, Key, Origin, ResyncPlan, Slice, Vector, Version, codec};
use bytes::Bytes;
use redis::Value;

use super::{
    super::{
        call::parse,
        scripts::{SCRIPTS, Script},
        texts::{encode_plan, encode_vector, parse_record},
    },
    RedisStore,
    links::joined_keys,
};
use crate::store::{ResyncFailure, StoreError};

impl RedisStore {
    pub(super) async fn begin(
        &self,
        partition: u16,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, StoreError> {
        let meta = self.keys(partition)?.meta();
        let answer = self
            .call_checked(partition, |wire, slot| {
                let keys = [meta.clone(), slot.log.clone(), slot.number.clone()];
                let mut cmd = self.checked_script(&SCRIPTS.begin, wire, slot, &keys)?;
                cmd.arg(&slot.origin);
                Ok(cmd)
            })
            .await?;
        let [record, epoch, number, id, vector] = parse::tuple(answer)?;
        let text = parse::text(record)?.unwrap_or_default();
        let record = parse_record(&text).ok_or_else(|| StoreError::Protocol(format!("record {text:?}")))?;
        let mut held = Vector::new();
        let mut pairs = parse::array(vector)?.into_iter();
        while let (Some(origin), Some(version)) = (pairs.next(), pairs.next()) {
            let origin = parse::bytes(origin)?.unwrap_or_default();
            let origin = Origin::from_bytes(&origin).map_err(|e| StoreError::Protocol(e.to_string()))?;
            held.insert(origin, Version::from_micros(parse::unsigned(&version)?));
        }
        Ok(ResyncPlan {
            sender: Origin::new(self.region.id.clone(), record.incarnation),
            opening: record.opening,
            epoch: parse::unsigned(&epoch)?,
            number: parse::unsigned(&number)?,
            id: Version::from_micros(parse::unsigned(&id)?),
            vector: held,
            above: remembered.filter(|(i, _)| *i == record.incarnation).map_or(0, |(_, n)| n),
        })
    }

    pub(super) async fn walk_keys(
        &self,
        partition: u16,
        plan: &ResyncPlan,
        after: &Bytes,
        limit: usize,
    ) -> Result<Slice, ResyncFailure> {
        let physical = self.keys(partition)?;
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        let from = if after.is_empty() { b"-".to_vec() } else { [b"(", after.as_ref()].concat() };
        cmd.arg(physical.index()).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit);
        let mut entries = Vec::new();
        for entry in parse::array(self.call(&cmd).await?)? {
            entries.push(parse::bytes(entry)?.unwrap_or_default());
        }
        // An empty index goes through the checked script all the same: it may be empty because everything was lost, and a
        // walk that ended there would have the receiver believe that it holds what it never got.
        let keys: Vec<Key> = entries
            .iter()
            .map(|entry| Key::from_index_entry(entry).ok_or_else(|| StoreError::Protocol("index entry".to_owned())))
            .collect::<Result<_, _>>()?;
        let answer = self
            .call_checked(partition, |wire, slot| {
                if slot.record.incarnation != plan.sender.incarnation {
                    return Err(StoreError::Stale("the sender opened a new incarnation".to_owned()));
                }
                let mut names = vec![physical.meta()];
                names.extend(keys.iter().map(|key| physical.cells(key)));
                let mut cmd = self.checked_script(&SCRIPTS.walk, wire, slot, &names)?;
                cmd.arg(plan.above);
                Ok(cmd)
            })
            .await;
        let answer = match answer {
            Err(StoreError::Stale(why)) => return Err(ResyncFailure::StartOver(why)),
            other => other?,
        };
        let hashes = parse::array(answer)?;
        let walked = hashes.len();
        let last = walked.checked_sub(1).and_then(|at| entries.get(at)).cloned();
        let mut deltas = Vec::new();
        for (key, hash) in keys.into_iter().zip(hashes) {
            if hash != Value::Nil {
                deltas.push(whole_key(key, hash)?);
            }
        }
        Ok(Slice { deltas, last, walked: walked as u64 })
    }

    pub(super) async fn start(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        let keys = [self.keys(partition)?.meta()];
        self.resync_step(partition, &SCRIPTS.start, &keys, plan, |cmd, _| {
            cmd.arg(plan.above);
        })
        .await
    }

    pub(super) async fn apply(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure> {
        let physical = self.keys(partition)?;
        let mut keys = vec![physical.meta(), physical.index(), physical.expiring()];
        keys.push(Vec::new()); // the log and the numbers of the incarnation here, filled in below
        keys.push(Vec::new());
        keys.extend(joined_keys(physical, &slice.deltas));
        let mut seen = Vector::new();
        for delta in &slice.deltas {
            for (origin, version) in delta.seen() {
                let highest = seen.entry(origin).or_insert(Version::ZERO);
                *highest = (*highest).max(version);
            }
        }
        let blocks: Vec<Vec<u8>> = slice.deltas.iter().map(codec::encode_delta).collect();
        self.resync_step(partition, &SCRIPTS.slice, &keys, plan, |cmd, own| {
            cmd.arg(slice.last.as_ref().map_or(&b""[..], |last| last.as_ref())).arg(own);
            cmd.arg(plan.vector.len()).arg(seen.len()).arg(blocks.len());
            for (origin, version) in &plan.vector {
                cmd.arg(origin.to_bytes()).arg(version.as_micros());
            }
            for (origin, version) in &seen {
                cmd.arg(origin.to_string()).arg(version.as_micros());
            }
            cmd.arg(&blocks);
        })
        .await
    }

    pub(super) async fn complete(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        let physical = self.keys(partition)?;
        let keys = [physical.meta(), physical.aside()];
        self.resync_step(partition, &SCRIPTS.complete, &keys, plan, |cmd, own| {
            let own = Origin::from_bytes(own).map(|origin| origin.to_string()).unwrap_or_default();
            cmd.arg(plan.number).arg(plan.id.as_micros()).arg(own).arg(encode_vector(&plan.vector));
            for (origin, version) in &plan.vector {
                cmd.arg(origin.to_string()).arg(version.as_micros());
            }
        })
        .await
    }

    /// A step at the receiver: it names its plan, and is refused when that is not the one under way.
    async fn resync_step(
        &self,
        partition: u16,
        body: &Script,
        keys: &[Vec<u8>],
        plan: &ResyncPlan,
        more: impl Fn(&mut redis::Cmd, &[u8]) + Sync,
    ) -> Result<(), ResyncFailure> {
        let answer = self
            .call_checked(partition, |wire, slot| {
                let mut keys = keys.to_vec();
                if let [_, _, _, log, number, ..] = keys.as_mut_slice() {
                    *log = slot.log.clone();
                    *number = slot.number.clone();
                }
                let mut cmd = self.checked_script(body, wire, slot, &keys)?;
                cmd.arg(plan.sender.region.as_str()).arg(plan.sender.incarnation.to_string());
                cmd.arg(plan.opening).arg(plan.epoch).arg(encode_plan(plan));
                more(&mut cmd, &slot.origin);
                Ok(cmd)
            })
            .await?;
        let mut parts = parse::array(answer)?.into_iter();
        let what = parts.next().map(parse::text).transpose()?.flatten().unwrap_or_default();
        let number = parts.next().map(|n| parse::unsigned(&n)).transpose()?.unwrap_or_default();
        match what.as_str() {
            "done" => Ok(()),
            "superseded" => Err(ResyncFailure::Superseded(number)),
            "epoch" => Err(ResyncFailure::StartOver(format!("membership epoch {number}"))),
            _ => Err(ResyncFailure::StartOver("another resync is under way".to_owned())),
        }
    }
}

fn whole_key(key: Key, hash: Value) -> Result<Delta, StoreError> {
    let mut delta = Delta::new(key);
    let mut values = parse::array(hash)?.into_iter();
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        let field = parse::bytes(field)?.unwrap_or_default();
        let Some(field) = Field::from_bytes(&field) else { continue };
        delta.fields.insert(field, stored_cells(value)?.1);
    }
    Ok(delta)
}

/// A stored field's stamp and cells.
pub(super) fn stored_cells(value: Value) -> Result<(u64, Cells), StoreError> {
    let bytes = parse::bytes(value)?.unwrap_or_default();
    codec::decode_stored(&bytes).map_err(|error| StoreError::Protocol(format!("stored cells: {error}")))
}

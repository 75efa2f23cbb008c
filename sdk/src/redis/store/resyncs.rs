//! What resyncs need, at the sender and at the receiver.

use std::collections::BTreeSet;

use archipelago_engine::{Cells, Delta, Field, Incarnation, Key, Origin, ResyncPlan, Slice, Version, codec};
use bytes::Bytes;
use redis::Value;

use super::{
    super::{
        call::parse,
        scripts::{SCRIPTS, Script},
        texts::{aside_field, encode_plan, encode_vector, version_of},
    },
    RedisStore,
    links::{joined_keys, pairs},
    state::meta_state,
};
use crate::store::{ResyncFailure, StoreError};

/// Keys of its own that a receiver looks at in one step of a walk of every key.
const RANGE: usize = 500;

impl RedisStore {
    pub(super) async fn begin(
        &self,
        partition: u16,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, StoreError> {
        let physical = self.keys(partition)?;
        let (meta, aside) = (physical.meta(), physical.aside());
        let answer = self
            .call_checked(partition, |wire, slot| {
                let keys = [meta.clone(), slot.log.clone(), slot.number.clone(), aside.clone()];
                self.checked_script(&SCRIPTS.begin, wire, slot, &keys)
            })
            .await?;
        let [number, id, meta, aside] = parse::tuple(answer)?;
        let state = meta_state(meta)?;
        let record = state.record.ok_or_else(|| StoreError::Protocol("no record".to_owned()))?;
        let sender = Origin::new(self.region.id.clone(), record.incarnation);
        let id = Version::from_micros(parse::unsigned(&id)?);
        let mut vector = state.applied;
        vector.insert(sender.clone(), id);
        let mut set_aside = BTreeSet::new();
        for field in parse::array(aside)? {
            set_aside.extend(parse::bytes(field)?.as_ref().and_then(aside_field).map(|(origin, _)| origin));
        }
        Ok(ResyncPlan {
            sender,
            opening: record.opening,
            epoch: state.epoch,
            number: parse::unsigned(&number)?,
            id,
            vector,
            known: state.known,
            aside: set_aside,
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
                let mut names = vec![physical.meta(), slot.log.clone()];
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
        let [hashes, meta, own] = parse::tuple(answer)?;
        let mut slice = Slice { after: after.clone(), ..Slice::default() };
        let own = parse::text(own)?.map(|id| version_of(&id)).transpose()?;
        for (field, version) in pairs(meta)? {
            read_seen(&mut slice, &field, &version);
        }
        let own = own.map_or(plan.id, |own| own.max(plan.id));
        let seen = slice.seen.entry(plan.sender.clone()).or_insert(own);
        *seen = own.max(*seen);
        let hashes = parse::array(hashes)?;
        let walked = hashes.len();
        slice.last = walked.checked_sub(1).and_then(|at| entries.get(at)).cloned();
        slice.walked = walked as u64;
        for (key, hash) in keys.into_iter().zip(hashes) {
            if hash != Value::Nil {
                slice.deltas.push(whole_key(key, hash)?);
            }
        }
        Ok(slice)
    }

    pub(super) async fn start(&self, partition: u16, plan: &ResyncPlan) -> Result<(), ResyncFailure> {
        let keys = [self.keys(partition)?.meta()];
        self.resync_step(partition, &SCRIPTS.start, &keys, plan, |cmd, _| {
            cmd.arg(plan.above);
        })
        .await
    }

    /// With a plan that ships every key, what this region holds in the slice's range and the sender does not goes along as
    /// shipped without cells: in pieces, for there may be many.
    pub(super) async fn apply(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure> {
        if plan.above > 0 {
            return self.apply_piece(partition, plan, slice).await;
        }
        let mut rest = slice.clone();
        loop {
            let held = self.held_behind(partition, &rest).await?;
            let is_last = held.len() < RANGE;
            let end = if is_last { slice.last.clone() } else { held.last().cloned() };
            let within = |entry: &Bytes| end.as_ref().is_none_or(|end| entry <= end);
            let (here, behind): (Vec<_>, _) =
                rest.deltas.into_iter().partition(|delta| within(&delta.key.index_entry()));
            let shipped: BTreeSet<Bytes> = here.iter().map(|delta| delta.key.index_entry()).collect();
            let missing = held.into_iter().filter(|entry| !shipped.contains(entry));
            let missing = missing.filter_map(|entry| Key::from_index_entry(&entry)).map(Delta::new);
            let deltas = here.into_iter().chain(missing).collect();
            rest = Slice { deltas, last: end.clone(), ..rest };
            self.apply_piece(partition, plan, &rest).await?;
            match end {
                Some(end) if !is_last => rest = Slice { deltas: behind, after: end, ..rest },
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Keys that this region holds in a slice's range, at most [`RANGE`] of them.
    async fn held_behind(&self, partition: u16, slice: &Slice) -> Result<Vec<Bytes>, StoreError> {
        let bound = |open: &[u8], entry: &Bytes| [open, entry.as_ref()].concat();
        let from = if slice.after.is_empty() { b"-".to_vec() } else { bound(b"(", &slice.after) };
        let to = slice.last.as_ref().map_or_else(|| b"+".to_vec(), |last| bound(b"[", last));
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(self.keys(partition)?.index()).arg(from).arg(to).arg("LIMIT").arg(0).arg(RANGE);
        let entries = parse::array(self.call(&cmd).await?)?;
        entries.into_iter().map(|entry| Ok(parse::bytes(entry)?.unwrap_or_default())).collect()
    }

    async fn apply_piece(&self, partition: u16, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncFailure> {
        let physical = self.keys(partition)?;
        let mut keys = vec![physical.meta(), physical.index(), physical.expiring()];
        keys.push(Vec::new()); // the log and the numbers of the incarnation here, filled in below
        keys.push(Vec::new());
        keys.extend(joined_keys(physical, &slice.deltas));
        let blocks: Vec<Vec<u8>> = slice.deltas.iter().map(codec::encode_delta).collect();
        self.resync_step(partition, &SCRIPTS.slice, &keys, plan, |cmd, own| {
            cmd.arg(slice.last.as_ref().map_or(&b""[..], |last| last.as_ref())).arg(own);
            cmd.arg(plan.vector.len()).arg(slice.seen.len()).arg(slice.collected.len()).arg(blocks.len());
            for (origin, version) in plan.vector.iter() {
                cmd.arg(origin.to_bytes()).arg(version.as_micros());
            }
            for (origin, version) in &slice.seen {
                cmd.arg(origin.to_string()).arg(version.as_micros());
            }
            for (origin, version) in &slice.collected {
                cmd.arg(origin.to_bytes()).arg(version.as_micros());
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

/// A field of the sender's meta hash that goes along with a slice.
fn read_seen(slice: &mut Slice, field: &Bytes, version: &Bytes) {
    let Some((what, of)) = std::str::from_utf8(field).ok().and_then(|field| field.split_once(':')) else { return };
    let version = std::str::from_utf8(version).ok().and_then(|text| text.parse().ok()).map(Version::from_micros);
    if let (Ok(origin), Some(version)) = (of.parse(), version) {
        let vector = if what == "seen" { &mut slice.seen } else { &mut slice.collected };
        vector.insert(origin, version);
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

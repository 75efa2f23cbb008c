//! What links need: the log, joins, and entries set aside.

use std::time::Duration;

use archipelago_engine::{
    Batch, Conflict, Delta, JoinReply, Kind, LogSlice, Origin, RawEntry, SetAside, Version, codec,
};
use bytes::Bytes;
use deadpool::managed::Object;
use redis::Value;

use super::{
    super::{
        call::{CallError, checked, parse},
        scripts::SCRIPTS,
        texts::{aside_field, encode_vector, parse_cursor, parse_record, stream_id, version_of},
    },
    RedisStore,
    conflicts::with_told,
};
use crate::{keyspace::PhysicalKeys, store::StoreError};

impl RedisStore {
    pub(super) async fn read_log(&self, partition: u16, after: Version, limit: usize) -> Result<LogSlice, StoreError> {
        let meta = self.keys(partition)?.meta();
        let answer = self
            .call_checked(partition, |wire, slot| {
                let keys = [meta.clone(), slot.log.clone(), slot.number.clone()];
                let mut cmd = self.checked_script(&SCRIPTS.read, wire, slot, &keys)?;
                cmd.arg(stream_id(after)).arg(limit);
                Ok(cmd)
            })
            .await?;
        let [record, epoch, number, entries] = parse::tuple(answer)?;
        let text = parse::text(record)?.unwrap_or_default();
        let record = parse_record(&text).ok_or_else(|| StoreError::Protocol(format!("record {text:?}")))?;
        let entries = parse::array(entries)?.into_iter().map(raw_entry).collect::<Result<_, _>>()?;
        Ok(LogSlice {
            origin: Origin::new(self.region.id.clone(), record.incarnation),
            opening: record.opening,
            epoch: parse::unsigned(&epoch)?,
            end: parse::unsigned(&number)?,
            entries,
        })
    }

    /// Blocks on a connection of its own: on the shared one everybody would wait. What it says is only a hint to read:
    /// the read itself makes the history check.
    pub(super) async fn block_for_entries(
        &self,
        after: &[(u16, Version)],
        wait: Duration,
    ) -> Result<Vec<u16>, StoreError> {
        let wire = self.region.wire().await?;
        let slots =
            after.iter().map(|(partition, _)| wire.slot(&self.name, *partition)).collect::<Result<Vec<_>, _>>()?;
        let mut connection = self
            .region
            .blocking
            .get()
            .await
            .map_err(|error| StoreError::Unavailable(format!("no connection for a blocking read: {error}")))?;
        // The crate's own response timeout would end the wait early.
        connection.set_response_timeout(wait + self.region.config.response_timeout);
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
            .arg("STREAMS");
        for slot in &slots {
            cmd.arg(&slot.log);
        }
        for (_, id) in after {
            cmd.arg(stream_id(*id));
        }
        let answer =
            connection.send_packed_command(&cmd).await.map_err(|error| CallError::of(&error)).and_then(checked);
        let streams = match answer {
            Ok(answer) => parse::array(answer)?,
            Err(error) => {
                // Not back into the pool: a late answer would be the next caller's.
                drop(Object::take(connection));
                return Err(error.into_store());
            }
        };
        let mut news = Vec::new();
        for stream in streams {
            let [name, _] = parse::tuple(stream)?;
            let name = parse::bytes(name)?.unwrap_or_default();
            let place = slots.iter().position(|slot| slot.log == name.as_ref());
            news.extend(place.and_then(|at| after.get(at)).map(|(partition, _)| *partition));
        }
        Ok(news)
    }

    pub(super) async fn join_batch(
        &self,
        partition: u16,
        batch: &Batch,
        tell: bool,
    ) -> Result<(JoinReply, Vec<Conflict>), StoreError> {
        let config = &self.keyspace()?.config;
        let max_skew = u64::try_from(config.max_clock_skew.as_micros()).unwrap_or(u64::MAX);
        let physical = self.keys(partition)?;
        let seen = batch.seen();
        // The comma tells an empty vector from none.
        let vector = batch.vector.as_ref().map(|vector| encode_vector(vector) + ",").unwrap_or_default();
        let blocks: Vec<Vec<u8>> = batch.deltas.iter().map(codec::encode_delta).collect();
        let answer = self
            .call_checked(partition, |wire, slot| {
                let mut keys = vec![
                    physical.meta(),
                    physical.index(),
                    physical.expiring(),
                    slot.log.clone(),
                    slot.number.clone(),
                    physical.aside(),
                ];
                keys.extend(joined_keys(physical, &batch.deltas));
                let mut cmd = self.checked_script(&SCRIPTS.join, wire, slot, &keys)?;
                cmd.arg(batch.origin.region.as_str()).arg(batch.origin.incarnation.to_string());
                cmd.arg(batch.origin.to_bytes()).arg(&slot.origin).arg(batch.from).arg(batch.to);
                cmd.arg(batch.id.as_micros())
                    .arg(batch.applied.as_micros())
                    .arg(batch.epoch)
                    .arg(max_skew)
                    .arg(&vector);
                cmd.arg(seen.len()).arg(batch.aside.len()).arg(blocks.len());
                for (origin, version) in &seen {
                    cmd.arg(origin.to_string()).arg(version.as_micros());
                }
                for entry in &batch.aside {
                    cmd.arg(entry.id.as_micros()).arg(entry.bytes.as_ref());
                }
                cmd.arg(&blocks);
                if tell {
                    cmd.arg("tell");
                }
                Ok(cmd)
            })
            .await?;
        let ([what, position], told) = with_told(answer)?;
        let what = parse::text(what)?.unwrap_or_default();
        let position = parse::text(position)?;
        let cursor = position.as_deref().and_then(parse_cursor);
        let broken = || StoreError::Protocol(format!("join answered {what} {position:?}"));
        let epoch = || position.as_ref().and_then(|epoch| epoch.parse().ok());
        let reply = match what.as_str() {
            "applied" => cursor.map(JoinReply::Applied),
            "known" => cursor.map(JoinReply::Known),
            "gap" => Some(JoinReply::Gap(cursor)),
            "epoch" => epoch().map(JoinReply::Epoch),
            _ => None,
        };
        Ok((reply.ok_or_else(broken)?, told))
    }

    pub(super) async fn read_aside(&self, partition: u16, origin: &Origin) -> Result<Vec<SetAside>, StoreError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(self.keys(partition)?.aside());
        let mut entries = Vec::new();
        for (field, value) in pairs(self.call(&cmd).await?)? {
            if let Some((whose, id)) = aside_field(&field)
                && whose == *origin
            {
                entries.push(SetAside { id, bytes: value });
            }
        }
        entries.sort_by_key(|entry| entry.id);
        Ok(entries)
    }

    pub(super) async fn recover_entry(
        &self,
        partition: u16,
        origin: &Origin,
        id: Version,
        delta: Option<&Delta>,
    ) -> Result<(), StoreError> {
        let physical = self.keys(partition)?;
        self.call_checked(partition, |wire, slot| {
            let mut keys = vec![
                physical.meta(),
                physical.index(),
                physical.expiring(),
                slot.log.clone(),
                slot.number.clone(),
                physical.aside(),
            ];
            keys.extend(joined_keys(physical, delta));
            let mut cmd = self.checked_script(&SCRIPTS.recover, wire, slot, &keys)?;
            cmd.arg(origin.to_string()).arg(origin.to_bytes()).arg(&slot.origin).arg(id.as_micros());
            cmd.arg(delta.map(codec::encode_delta).unwrap_or_default());
            Ok(cmd)
        })
        .await
        .map(drop)
    }
}

/// What a join of these deltas works on: cells and view of each, the arrivals of feeds, and where registers are merged.
pub(super) fn joined_keys<'a>(physical: &PhysicalKeys, deltas: impl IntoIterator<Item = &'a Delta>) -> Vec<Vec<u8>> {
    let (mut keys, mut arrivals, mut merges) = (Vec::new(), Vec::new(), false);
    for delta in deltas {
        keys.push(physical.cells(&delta.key));
        keys.push(physical.view(&delta.key));
        arrivals.extend((delta.key.kind == Kind::Feed).then(|| physical.arrivals(&delta.key.name)));
        merges |= delta.key.kind == Kind::HyperLogLog;
    }
    keys.extend(arrivals);
    keys.extend(merges.then(|| physical.scratch()));
    keys
}

pub(super) fn pairs(value: Value) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let mut values = parse::array(value)?.into_iter();
    let mut out = Vec::new();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        out.push((parse::bytes(key)?.unwrap_or_default(), parse::bytes(value)?.unwrap_or_default()));
    }
    Ok(out)
}

fn raw_entry(value: Value) -> Result<RawEntry, StoreError> {
    let [id, fields] = parse::tuple(value)?;
    let id = version_of(&parse::text(id)?.unwrap_or_default())?;
    // An entry without our field is undecodable, not a failure of the read: the link sets it aside.
    let bytes = pairs(fields)?.into_iter().find(|(field, _)| field.as_ref() == b"d").map(|(_, value)| value);
    Ok(RawEntry { id, bytes: bytes.unwrap_or_default() })
}

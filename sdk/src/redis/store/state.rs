//! What a sync driver needs to know of a partition, read in one step.

use archipelago_engine::{Record, ResyncProgress, SyncState, Version};
use bytes::Bytes;
use redis::Value;

use super::{
    super::{
        call::{CallError, parse},
        scripts::SCRIPTS,
        texts::{aside_field, decode_mark, decode_plan, decode_vector, parse_cursor, parse_record, version_of},
        wire::script,
    },
    ATTEMPTS, RedisStore,
    links::pairs,
};
use crate::store::StoreError;

impl RedisStore {
    pub(super) async fn read_sync_state(&self, partition: u16) -> Result<SyncState, StoreError> {
        let keys = self.keys(partition)?;
        let mut attempts = 0;
        loop {
            let wire = self.region.wire().await?;
            let slot = wire.slot(&self.name, partition)?;
            let mut cmd = script(&SCRIPTS.state, 4);
            cmd.arg(keys.meta()).arg(&slot.log).arg(&slot.number).arg(keys.aside());
            let state = sync_state(wire.call_script(&cmd).await.map_err(CallError::into_store)?)?;
            attempts += 1;
            // Of a log that another client has closed the number says nothing: look again, at the new one.
            let is_other = |record: &Record| record.incarnation != slot.record.incarnation;
            if attempts < ATTEMPTS && state.record.as_ref().is_some_and(is_other) {
                wire.reopen(&self.name, partition, 0).await?;
                continue;
            }
            return Ok(state);
        }
    }
}

fn sync_state(answer: Value) -> Result<SyncState, StoreError> {
    let [meta, number, last, aside] = parse::tuple(answer)?;
    let mut state = meta_state(meta)?;
    state.number = if number == Value::Nil { 0 } else { parse::unsigned(&number)? };
    state.clock = version_of(&parse::text(last)?.unwrap_or_default())?;
    for field in parse::array(aside)? {
        if let Some((origin, _)) = parse::bytes(field)?.as_ref().and_then(aside_field) {
            *state.aside.entry(origin).or_default() += 1;
        }
    }
    Ok(state)
}

/// What the meta hash says.
pub(super) fn meta_state(meta: Value) -> Result<SyncState, StoreError> {
    let mut state = SyncState { epoch: 1, ..SyncState::default() };
    for (field, value) in pairs(meta)? {
        read_meta(&mut state, &field, &value);
    }
    Ok(state)
}

/// One field of the meta hash. What does not parse is another version's, and left alone.
fn read_meta(state: &mut SyncState, field: &Bytes, value: &Bytes) {
    let (Ok(field), text) = (std::str::from_utf8(field), std::str::from_utf8(value).unwrap_or_default()) else {
        return;
    };
    let (what, of) = field.split_once(':').unwrap_or((field, ""));
    let count = || text.parse::<u64>().unwrap_or_default();
    let numbered = || {
        let (incarnation, number) = text.split_once(' ')?;
        Some((incarnation.parse().ok()?, number.parse().ok()?))
    };
    match what {
        "record" => state.record = parse_record(text),
        "epoch" => state.epoch = count(),
        "due" => state.vector_due = true,
        "conflicts" => state.conflicts = count(),
        "inexact" => state.inexact = count(),
        "resolved" => {
            if let Ok(resolved) = of.parse() {
                state.resolved.insert(resolved, count());
            }
        }
        "applied" | "collected" => {
            if let Ok(origin) = of.parse() {
                let vector = if what == "applied" { &mut state.applied } else { &mut state.collected };
                vector.insert(origin, Version::from_micros(count()));
            }
        }
        "vector" => {
            if let (Ok(region), Some(vector)) = (of.parse(), decode_vector(text)) {
                state.vectors.insert(region, vector);
            }
        }
        "mark" => state.mark = decode_mark(text),
        "closing" => {
            if let Ok(origin) = of.parse() {
                let regions = text.split(',').filter_map(|region| region.parse().ok());
                state.settling.insert(origin, regions.collect());
            }
        }
        "cursor" | "ack" => {
            if let (Ok(region), Some(cursor)) = (of.parse(), parse_cursor(text)) {
                if what == "ack" {
                    state.acks.insert(region, cursor)
                } else {
                    state.cursors.insert(region, cursor)
                };
            }
        }
        "resynced" | "known" => {
            if let (Ok(region), Some(pair)) = (of.parse(), numbered()) {
                if what == "known" {
                    state.known.insert(region, pair)
                } else {
                    state.resynced.insert(region, pair)
                };
            }
        }
        "resync" => {
            if let Ok(region) = of.parse()
                && let Some(end) = value.iter().position(|b| *b == b'\n')
                && let Some(plan) = value.get(..end).and_then(|p| std::str::from_utf8(p).ok()).and_then(decode_plan)
            {
                state.resyncs.insert(region, ResyncProgress { plan, after: value.slice(end + 1..) });
            }
        }
        _ => {}
    }
}

//! Everything known of one key, for operators.

use archipelago_engine::{Field, Key, KeyState, Kind, Stamped};
use bytes::Bytes;
use redis::Value;

use super::{
    super::call::{CallError, checked, parse},
    RedisStore,
    resyncs::stored_cells,
};
use crate::store::{Inspection, StoreError};

impl RedisStore {
    pub(super) async fn inspect_key(&self, key: &Key) -> Result<Inspection, StoreError> {
        let (partition, keys) = self.locate(key)?;
        let wire = self.region.wire().await?;
        let slot = wire.slot(&self.name, partition)?;
        let named = [
            ("view", keys.view(key)),
            ("cells", keys.cells(key)),
            ("meta", keys.meta()),
            ("log", slot.log.clone()),
            ("numbers", slot.number.clone()),
            ("index", keys.index()),
            ("expiring", keys.expiring()),
            ("aside", keys.aside()),
        ];
        let arrivals = (key.kind == Kind::Feed).then(|| ("arrivals", keys.arrivals(&key.name)));
        let physical = named
            .iter()
            .chain(&arrivals)
            .map(|(what, key)| (String::from_utf8_lossy(key).into_owned(), (*what).to_owned()));
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(keys.cells(key));
        let answer = wire.call(&cmd).await.and_then(checked).map_err(CallError::into_store)?;
        let state = key_state(answer)?;
        Ok(Inspection { state: (!state.fields.is_empty()).then_some(state), physical: physical.collect() })
    }
}

/// The cells of one key, from the hash that holds them.
pub(super) fn key_state(answer: Value) -> Result<KeyState, StoreError> {
    let mut values = parse::array(answer)?.into_iter();
    let mut state = KeyState::default();
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        let name = parse::bytes(field)?.unwrap_or_default();
        // What is no field is what the key announced, see `cells.lua`: the fields' own stamps are exact.
        if let Some(field) = Field::from_bytes(&name) {
            let (stamp, cells) = stored_cells(value)?;
            state.stamp = state.stamp.max(stamp);
            state.fields.insert(field, Stamped { stamp, cells });
        }
    }
    Ok(state)
}

/// The cells of these fields, from what HMGET answers.
pub(super) fn named_fields(names: Vec<Bytes>, answer: Value) -> Result<KeyState, StoreError> {
    let mut state = KeyState::default();
    for (name, value) in names.into_iter().zip(parse::array(answer)?) {
        if let Some(field) = Field::from_bytes(&name).filter(|_| value != Value::Nil) {
            let (stamp, cells) = stored_cells(value)?;
            state.stamp = state.stamp.max(stamp);
            state.fields.insert(field, Stamped { stamp, cells });
        }
    }
    Ok(state)
}

//! What a join tells: fields of which several live assignments differ.

use archipelago_engine::{Conflict, Field, Key};
use redis::Value;

use super::{super::call::parse, resyncs::stored_cells};
use crate::store::StoreError;

/// The two parts of a join's answer, and what it tells behind them.
pub(super) fn with_told(answer: Value) -> Result<([Value; 2], Vec<Conflict>), StoreError> {
    let broken = || StoreError::Protocol("not what a join answers".to_owned());
    let mut parts = parse::array(answer)?.into_iter();
    let (what, position) = (parts.next().ok_or_else(broken)?, parts.next().ok_or_else(broken)?);
    let mut told = parts.next().map(parse::array).transpose()?.unwrap_or_default().into_iter();
    let mut conflicts = Vec::new();
    while let (Some(key), Some(field), Some(cells)) = (told.next(), told.next(), told.next()) {
        let key = parse::bytes(key)?.as_ref().and_then(Key::from_index_entry).ok_or_else(broken)?;
        let field = parse::bytes(field)?.as_ref().and_then(Field::from_bytes).ok_or_else(broken)?;
        conflicts.push(Conflict { key, field, cells: stored_cells(cells)?.1 });
    }
    Ok(([what, position], conflicts))
}

//! Writes of streams and feeds: what the script takes and answers.

use archipelago_engine::{Append, EntryId, Keep, Outcome};
use bytes::Bytes;
use redis::{Cmd, Value};

use super::super::call::parse;
use crate::store::StoreError;

fn keep_arguments(cmd: &mut Cmd, keep: Option<Keep>) {
    match keep {
        None => cmd.arg("").arg(""),
        Some(Keep::Newest(count)) => cmd.arg("newest").arg(count),
        Some(Keep::From(id)) => cmd.arg("from").arg(id.to_bytes().as_ref()),
        Some(Keep::Lately(millis)) => cmd.arg("lately").arg(millis),
    };
}

/// The operation's own arguments of an append, from the sixth on.
pub(super) fn append_arguments(cmd: &mut Cmd, append: &Append) {
    let id = append.id.map(EntryId::to_bytes).unwrap_or_default();
    cmd.arg("append").arg(id.as_ref()).arg(append.payload.as_ref()).arg(u8::from(append.existing));
    keep_arguments(cmd, append.keep);
}

/// The same of an eviction.
pub(super) fn evict_arguments(cmd: &mut Cmd, keep: Keep) {
    cmd.arg("evict");
    keep_arguments(cmd, Some(keep));
}

pub(super) fn appended(answer: Value) -> Result<Outcome, StoreError> {
    let read = |id: Bytes| EntryId::split(&id).ok_or_else(|| StoreError::Protocol("no id of an entry".to_owned()));
    let id = parse::bytes(answer)?.map(read).transpose()?;
    Ok(Outcome::Appended(id.map(|(id, _)| id)))
}

//! What could not be read, and where it is: bytes that are not what the handle reads.

use archipelago_engine::{EntryId, Key};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Codec;
use crate::{
    error::{Error, ErrorKind},
    text::shown,
};

/// The value of some bytes of a key.
pub(super) fn decode<C: Codec, T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, Error> {
    C::decode(bytes).map_err(|error| error.within(named(key)))
}

/// The same of one of several: `place` says which in words.
pub(super) fn decode_at<C: Codec, T: DeserializeOwned>(
    key: &Key,
    place: impl FnOnce() -> String,
    bytes: &[u8],
) -> Result<T, Error> {
    C::decode(bytes).map_err(|error| error.within(format_args!("{}, {}", named(key), place())))
}

/// Of an entry of a feed that is none of the reader's type, and so many more of one answer.
pub(super) fn of_entry(key: &Key, id: EntryId, more: usize, why: &Error) -> Error {
    let others = if more == 0 { String::new() } else { format!(" (and {more} more of this answer)") };
    let help = "`arrived` gives the entries around it and lists it as unreadable; `range` reads it as another type, and \
                `remove` takes it away";
    Error::new(ErrorKind::Serialization, format!("{}, entry {id}{others}: {}; {help}", named(key), why.message()))
}

/// Of what somebody else has written among the entries of a stream or feed.
pub(crate) fn of_member(key: &Key, member: &Bytes) -> Error {
    let (name, kind) = (named(key), key.kind);
    let what = match EntryId::split(member) {
        Some((id, _)) => format!("{name}, entry {id}: its bytes are no fields; remove it by its id"),
        None => {
            let begin = shown(member.get(..64).unwrap_or(member));
            format!(
                "{name}: {begin} has no id, so it was not written by this library; ZREM it from the view of the {kind}"
            )
        }
    };
    Error::new(ErrorKind::Serialization, what)
}

fn named(key: &Key) -> String {
    format!("{} {}", key.kind, shown(&key.name))
}

//! Bytes: how cells are stored, how a log entry is written, and how deltas travel.
//!
//! All numbers are big-endian. A version takes seven bytes, a length four, a stored number (a stamp, or an entry's
//! number) six, a sum is an IEEE double. The Redis scripts read and write the same bytes; `golden.rs` among the tests
//! pins them.
//!
//! ```text
//! origin   := region 00 incarnation(8)
//! cell     := len(1) origin flags(1) [assign: version len payload]  flags & 8
//!                                    [retracted: version]           flags & 4
//!                                    [total: version double since]  flags & 2
//!                                    [base: version double]         flags & 1
//! stored   := 01 stamp(6) cell*                       a field's value in the Redis hash of cells
//! delta    := kind(1) len name count(4) field*        field := tag(1) len member len cell*
//! entry    := 01 'D' number(6) span(4) delta          a write
//!           | 01 'V' number(6) span(4) opening(7) count(4) (len(1) origin version)*
//! ```
//!
//! In a log entry the log's own origin is written as the empty one, and a version of its cells that the entry itself
//! took is written as its offset from the entry's id: the id is not known before Redis has appended the entry.
//! Offsets are below [`Version::FLOOR`], versions above.

mod put;
mod take;

use bytes::BufMut;
use thiserror::Error;

use self::{
    put::{put_cells, put_delta, put_key, put_len, put_member, put_origin, put_version},
    take::{check_format, take_cells, take_delta, take_len, take_origin, take_u8, take_uint, take_version},
};
use crate::{
    cells::Cells,
    delta::{Body, Delta, Entry, Vector},
    key::Key,
    origin::Origin,
    version::Version,
};

/// The format's version byte.
pub const FORMAT: u8 = 1;

/// The longest encoded entry that is decoded at all.
pub const MAX_ENTRY: usize = 64 * 1024 * 1024;

const DATA: u8 = b'D';
const VECTOR: u8 = b'V';
const ASSIGN: u8 = 8;
const RETRACTED: u8 = 4;
const TOTAL: u8 = 2;
const BASE: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Written by another version of the format.
    #[error("format version {0}, this build reads {FORMAT}")]
    Format(u8),
    /// The bytes end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// More than a limit allows.
    #[error("longer than its limit")]
    TooLong,
    /// A field holds what it cannot hold.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// How versions and origins are written: as they are, or relative to a log entry.
#[derive(Clone, Copy)]
struct Frame<'a> {
    own: Option<&'a Origin>,
    id: Version,
}

const ABSOLUTE: Frame<'static> = Frame { own: None, id: Version::ZERO };

/// Encodes a field's cells as they are stored: the stamp is the local number of their last change.
#[must_use]
pub fn encode_stored(stamp: u64, cells: &Cells) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.put_uint(stamp, 6);
    put_cells(&mut out, cells, ABSOLUTE);
    out
}

/// Reads what [`encode_stored`] writes.
///
/// # Errors
/// [`DecodeError`] for anything else.
pub fn decode_stored(bytes: &[u8]) -> Result<(u64, Cells), DecodeError> {
    let mut input = bytes;
    check_format(&mut input)?;
    let stamp = take_uint(&mut input, 6)?;
    Ok((stamp, take_cells(&mut input, ABSOLUTE)?))
}

/// Encodes a delta as it travels between regions.
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    let mut out = Vec::new();
    put_delta(&mut out, delta, ABSOLUTE);
    out
}

/// The first bytes of a delta: its key, and of a delta of one member all but the cells.
///
/// What a write knows before it has read anything: a script need not put it together.
#[must_use]
pub fn encode_delta_head(key: &Key, member: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + key.name.len() + member.map_or(0, <[u8]>::len));
    put_key(&mut out, key);
    if let Some(member) = member {
        put_len(&mut out, 1);
        put_member(&mut out, member);
    }
    out
}

/// Reads what [`encode_delta`] writes.
///
/// # Errors
/// [`DecodeError`] for anything else.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta, DecodeError> {
    let mut input = bytes;
    let delta = take_delta(&mut input, ABSOLUTE)?;
    if input.is_empty() { Ok(delta) } else { Err(DecodeError::Malformed("end of delta")) }
}

/// Encodes an entry of `own`'s log.
#[must_use]
pub fn encode_entry(own: &Origin, entry: &Entry) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let head = |out: &mut Vec<u8>, tag: u8| {
        out.put_u8(tag);
        out.put_uint(entry.number, 6);
        out.put_u32(entry.span);
    };
    match &entry.body {
        Body::Data(delta) => {
            head(&mut out, DATA);
            put_delta(&mut out, delta, Frame { own: Some(own), id: entry.version });
        }
        Body::Vector { opening, applied } => {
            head(&mut out, VECTOR);
            out.put_uint(*opening, 7);
            put_len(&mut out, applied.len());
            for (origin, version) in applied {
                put_origin(&mut out, origin, ABSOLUTE);
                put_version(&mut out, *version);
            }
        }
    }
    out
}

/// Reads an entry of `own`'s log with this id.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged or of another format: a link sets such an entry aside.
pub fn decode_entry(own: &Origin, id: Version, bytes: &[u8]) -> Result<Entry, DecodeError> {
    if bytes.len() > MAX_ENTRY {
        return Err(DecodeError::TooLong);
    }
    let mut input = bytes;
    check_format(&mut input)?;
    let tag = take_u8(&mut input)?;
    let number = take_uint(&mut input, 6)?;
    let span = take_len(&mut input)?;
    if span == 0 {
        return Err(DecodeError::Malformed("span"));
    }
    let span = u32::try_from(span).map_err(|_| DecodeError::TooLong)?;
    let body = match tag {
        DATA => Body::Data(take_delta(&mut input, Frame { own: Some(own), id })?),
        VECTOR => {
            let opening = take_uint(&mut input, 7)?;
            let count = take_len(&mut input)?;
            let mut applied = Vector::new();
            for _ in 0..count {
                let origin = take_origin(&mut input, ABSOLUTE)?;
                applied.insert(origin, take_version(&mut input)?);
            }
            Body::Vector { opening, applied }
        }
        _ => return Err(DecodeError::Malformed("kind of entry")),
    };
    if !input.is_empty() {
        return Err(DecodeError::Malformed("end of entry"));
    }
    Ok(Entry { number, version: id, span, body })
}

/// The number of an entry, without reading the rest of it: an undecodable one is set aside by its number.
///
/// The eight bytes of format, kind and number stand there in every version of the format: an entry of a later one has
/// to be numbered too, or a link could not step over it.
#[must_use]
pub fn peek_number(bytes: &[u8]) -> Option<u64> {
    let mut input = bytes;
    take_u8(&mut input).ok()?;
    take_u8(&mut input).ok()?;
    take_uint(&mut input, 6).ok()
}

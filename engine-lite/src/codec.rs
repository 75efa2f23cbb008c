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

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};
use thiserror::Error;

use crate::{
    cell::{Assign, Base, Cell, Total},
    cells::Cells,
    delta::{Body, Delta, Entry, Vector},
    key::{Field, Key, Kind},
    mutation::limits,
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

// The lengths written below fit their fields: encoders only see what passed `limits` or a decoder.
fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

fn put_version(out: &mut Vec<u8>, version: Version) {
    out.put_uint(version.as_micros(), 7);
}

fn put_origin(out: &mut Vec<u8>, origin: &Origin, frame: Frame<'_>) {
    let bytes = if frame.own == Some(origin) { Vec::new() } else { origin.to_bytes() };
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(&bytes);
}

fn put_cells(out: &mut Vec<u8>, cells: &Cells, frame: Frame<'_>) {
    for (origin, cell) in cells.iter() {
        put_origin(out, origin, frame);
        let is_own = frame.own == Some(origin);
        let put_own = |out: &mut Vec<u8>, version: Version| {
            let offset = version.as_micros().checked_sub(frame.id.as_micros()).map(Version::from_micros);
            // Further ahead than any entry reaches, an offset would read as a version.
            put_version(out, offset.filter(|o| is_own && *o < Version::FLOOR).unwrap_or(version));
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(
            flag(cell.assign.is_some(), ASSIGN)
                | flag(!cell.retracted.is_zero(), RETRACTED)
                | flag(cell.total.is_some(), TOTAL)
                | flag(cell.base.is_some(), BASE),
        );
        if let Some(assign) = &cell.assign {
            put_own(out, assign.version);
            put_bytes(out, &assign.payload);
        }
        if !cell.retracted.is_zero() {
            put_own(out, cell.retracted);
        }
        if let Some(total) = cell.total {
            put_own(out, total.version);
            out.put_f64(total.number);
            put_own(out, total.since);
        }
        if let Some(base) = cell.base {
            put_own(out, base.version);
            out.put_f64(base.number);
        }
    }
}

fn put_delta(out: &mut Vec<u8>, delta: &Delta, frame: Frame<'_>) {
    out.put_u8(delta.key.kind.code());
    put_bytes(out, &delta.key.name);
    put_len(out, delta.fields.len());
    for (field, cells) in &delta.fields {
        match field {
            Field::Member(member) => {
                out.put_u8(0);
                put_bytes(out, member);
            }
            Field::Expiry => {
                out.put_u8(1);
                put_len(out, 0);
            }
        }
        let mut records = Vec::new();
        put_cells(&mut records, cells, frame);
        put_bytes(out, &records);
    }
}

fn check_format(input: &mut &[u8]) -> Result<(), DecodeError> {
    match take_u8(input)? {
        FORMAT => Ok(()),
        other => Err(DecodeError::Format(other)),
    }
}

fn take_u8(input: &mut &[u8]) -> Result<u8, DecodeError> {
    input.try_get_u8().map_err(|_| DecodeError::Truncated)
}

fn take_uint(input: &mut &[u8], bytes: usize) -> Result<u64, DecodeError> {
    input.try_get_uint(bytes).map_err(|_| DecodeError::Truncated)
}

fn take_len(input: &mut &[u8]) -> Result<usize, DecodeError> {
    let len = input.try_get_u32().map_err(|_| DecodeError::Truncated)?;
    usize::try_from(len).map_err(|_| DecodeError::TooLong)
}

fn take_slice<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (head, tail) = input.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *input = tail;
    Ok(head)
}

fn take_bytes<'a>(input: &mut &'a [u8], limit: usize) -> Result<&'a [u8], DecodeError> {
    let len = take_len(input)?;
    if len > limit {
        return Err(DecodeError::TooLong);
    }
    take_slice(input, len)
}

fn take_version(input: &mut &[u8]) -> Result<Version, DecodeError> {
    let micros = take_uint(input, 7)?;
    if micros > Version::MAX.as_micros() {
        return Err(DecodeError::Malformed("version"));
    }
    Ok(Version::from_micros(micros))
}

fn take_number(input: &mut &[u8]) -> Result<f64, DecodeError> {
    let number = input.try_get_f64().map_err(|_| DecodeError::Truncated)?;
    if number.is_nan() { Err(DecodeError::Malformed("number")) } else { Ok(number) }
}

fn take_origin(input: &mut &[u8], frame: Frame<'_>) -> Result<Origin, DecodeError> {
    let len = take_u8(input)?;
    let bytes = take_slice(input, usize::from(len))?;
    match frame.own {
        Some(own) if bytes.is_empty() => Ok(own.clone()),
        Some(_) | None => Origin::from_bytes(bytes).map_err(|_| DecodeError::Malformed("origin")),
    }
}

fn take_cells(input: &mut &[u8], frame: Frame<'_>) -> Result<Cells, DecodeError> {
    let mut cells = Cells::default();
    while !input.is_empty() {
        let origin = take_origin(input, frame)?;
        let is_own = frame.own == Some(&origin);
        let take_own = |input: &mut &[u8]| {
            let version = take_version(input)?;
            match (is_own && version < Version::FLOOR, version < Version::FLOOR) {
                (true, _) => Ok(frame.id.plus(version.as_micros())),
                (false, false) => Ok(version),
                (false, true) => Err(DecodeError::Malformed("version")),
            }
        };
        let flags = take_u8(input)?;
        if flags == 0 || flags > (ASSIGN | RETRACTED | TOTAL | BASE) {
            return Err(DecodeError::Malformed("flags"));
        }
        let mut cell = Cell::default();
        if flags & ASSIGN != 0 {
            let version = take_own(input)?;
            let payload = Bytes::copy_from_slice(take_bytes(input, limits::VALUE)?);
            cell.assign = Some(Assign { version, payload });
        }
        if flags & RETRACTED != 0 {
            cell.retracted = take_own(input)?;
        }
        if flags & TOTAL != 0 {
            let version = take_own(input)?;
            let number = take_number(input)?;
            cell.total = Some(Total { version, number, since: take_own(input)? });
        }
        if flags & BASE != 0 {
            let version = take_own(input)?;
            cell.base = Some(Base { version, number: take_number(input)? });
        }
        // Another writer may have kept a payload that is dead. Cells that mean the same have to be the same.
        cell.forget_dead_payload();
        if cells.insert(origin, cell).is_some() {
            return Err(DecodeError::Malformed("repeated origin"));
        }
    }
    Ok(cells)
}

fn take_delta(input: &mut &[u8], frame: Frame<'_>) -> Result<Delta, DecodeError> {
    let kind = Kind::from_code(take_u8(input)?).ok_or(DecodeError::Malformed("kind of key"))?;
    let name = Bytes::copy_from_slice(take_bytes(input, limits::NAME)?);
    let count = take_len(input)?;
    let mut fields = BTreeMap::new();
    for _ in 0..count {
        let tag = take_u8(input)?;
        let member = take_bytes(input, limits::MEMBER)?;
        let field = match tag {
            0 => Field::Member(Bytes::copy_from_slice(member)),
            1 if member.is_empty() => Field::Expiry,
            _ => return Err(DecodeError::Malformed("field")),
        };
        let len = take_len(input)?;
        let mut records = take_slice(input, len)?;
        if fields.insert(field, take_cells(&mut records, frame)?).is_some() {
            return Err(DecodeError::Malformed("repeated field"));
        }
    }
    Ok(Delta { key: Key::new(kind, name), fields })
}

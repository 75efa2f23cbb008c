//! Reading: bounded, and never trusting a length or a flag.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::{ASSIGN, BASE, DecodeError, FORMAT, Frame, RETRACTED, TOTAL};
use crate::{
    cell::{Assign, Base, Cell, Total},
    cells::Cells,
    delta::Delta,
    key::{Field, Key, Kind},
    mutation::limits,
    origin::Origin,
    version::Version,
};

pub(super) fn check_format(input: &mut &[u8]) -> Result<(), DecodeError> {
    match take_u8(input)? {
        FORMAT => Ok(()),
        other => Err(DecodeError::Format(other)),
    }
}

pub(super) fn take_u8(input: &mut &[u8]) -> Result<u8, DecodeError> {
    input.try_get_u8().map_err(|_| DecodeError::Truncated)
}

pub(super) fn take_uint(input: &mut &[u8], bytes: usize) -> Result<u64, DecodeError> {
    input.try_get_uint(bytes).map_err(|_| DecodeError::Truncated)
}

pub(super) fn take_len(input: &mut &[u8]) -> Result<usize, DecodeError> {
    let len = input.try_get_u32().map_err(|_| DecodeError::Truncated)?;
    usize::try_from(len).map_err(|_| DecodeError::TooLong)
}

pub(super) fn take_slice<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (head, tail) = input.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *input = tail;
    Ok(head)
}

pub(super) fn take_bytes<'a>(input: &mut &'a [u8], limit: usize) -> Result<&'a [u8], DecodeError> {
    let len = take_len(input)?;
    if len > limit {
        return Err(DecodeError::TooLong);
    }
    take_slice(input, len)
}

pub(super) fn take_version(input: &mut &[u8]) -> Result<Version, DecodeError> {
    let micros = take_uint(input, 7)?;
    if micros > Version::MAX.as_micros() {
        return Err(DecodeError::Malformed("version"));
    }
    Ok(Version::from_micros(micros))
}

pub(super) fn take_number(input: &mut &[u8]) -> Result<f64, DecodeError> {
    let number = input.try_get_f64().map_err(|_| DecodeError::Truncated)?;
    if number.is_nan() { Err(DecodeError::Malformed("number")) } else { Ok(number) }
}

pub(super) fn take_origin(input: &mut &[u8], frame: Frame<'_>) -> Result<Origin, DecodeError> {
    let len = take_u8(input)?;
    let bytes = take_slice(input, usize::from(len))?;
    match frame.own {
        Some(own) if bytes.is_empty() => Ok(own.clone()),
        Some(_) | None => Origin::from_bytes(bytes).map_err(|_| DecodeError::Malformed("origin")),
    }
}

pub(super) fn take_cells(input: &mut &[u8], frame: Frame<'_>) -> Result<Cells, DecodeError> {
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

pub(super) fn take_delta(input: &mut &[u8], frame: Frame<'_>) -> Result<Delta, DecodeError> {
    let kind = Kind::from_code(take_u8(input)?).ok_or(DecodeError::Malformed("kind of key"))?;
    let name = Bytes::copy_from_slice(take_bytes(input, limits::NAME)?);
    let count = take_len(input)?;
    let mut fields = BTreeMap::new();
    for _ in 0..count {
        let tag = take_u8(input)?;
        let member = take_bytes(input, limits::MEMBER)?;
        let field = match tag {
            0 if kind.admits(member) => Field::Member(Bytes::copy_from_slice(member)),
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

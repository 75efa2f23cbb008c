//! Writing: what the format's grammar says, left to right.

use bytes::BufMut;

use super::{ASSIGN, BASE, Frame, RETRACTED, TOTAL};
use crate::{
    cells::Cells,
    delta::Delta,
    key::{Field, Key},
    origin::Origin,
    version::Version,
};

// The lengths written below fit their fields: encoders only see what passed `limits` or a decoder.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

pub(super) fn put_version(out: &mut Vec<u8>, version: Version) {
    out.put_uint(version.as_micros(), 7);
}

pub(super) fn put_origin(out: &mut Vec<u8>, origin: &Origin, frame: Frame<'_>) {
    let bytes = if frame.own == Some(origin) { Vec::new() } else { origin.to_bytes() };
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(&bytes);
}

pub(super) fn put_cells(out: &mut Vec<u8>, cells: &Cells, frame: Frame<'_>) {
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

pub(super) fn put_key(out: &mut Vec<u8>, key: &Key) {
    out.put_u8(key.kind.code());
    put_bytes(out, &key.name);
}

pub(super) fn put_member(out: &mut Vec<u8>, member: &[u8]) {
    out.put_u8(0);
    put_bytes(out, member);
}

pub(super) fn put_delta(out: &mut Vec<u8>, delta: &Delta, frame: Frame<'_>) {
    put_key(out, &delta.key);
    put_len(out, delta.fields.len());
    for (field, cells) in &delta.fields {
        match field {
            Field::Member(member) => put_member(out, member),
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

//! Redis's bytes of the registers: a header of 16, then dense or sparse.
//!
//! ```text
//! header := "HYLL" encoding(1: 0 dense, 1 sparse) 00 00 00 count(8)     count: a cache, its last bit set means "unknown"
//! dense  := 16384 registers of six bits, lowest bits first
//! sparse := 00xxxxxx            x + 1 registers of 0
//!         | 01xxxxxx yyyyyyyy   xy + 1 registers of 0
//!         | 1vvvvvxx            x + 1 registers of v + 1
//! ```

use super::REGISTERS;

const MAGIC: &[u8] = b"HYLL";
const HEADER: usize = 16;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const DENSE_BODY: usize = REGISTERS / 8 * 6;
/// The largest value that the sparse form can say.
const SPARSE_VALUE: u8 = 32;
/// The longest sparse form: `hll-sparse-max-bytes` of Redis, by default.
const SPARSE_BYTES: usize = 3000;

/// The count in the header is never trusted, nor given away: a peer could write anything there, and PFCOUNT believes it.
fn header(encoding: u8) -> Vec<u8> {
    [MAGIC, &[encoding, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 0x80]].concat()
}

pub(super) fn encode(registers: &[u8]) -> Vec<u8> {
    sparse(registers).unwrap_or_else(|| dense(registers))
}

/// Reads the registers; `None` for what [`is_well_formed`] refuses.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(match body(bytes)? {
        Body::Dense(body) => from_dense(body),
        Body::Sparse(body) => {
            let mut registers = Vec::with_capacity(REGISTERS);
            for (value, length) in runs(body) {
                registers.resize(registers.len() + length, value);
            }
            registers
        }
    })
}

/// Whether these bytes are registers, exactly all of them.
pub(super) fn is_well_formed(bytes: &[u8]) -> bool {
    body(bytes).is_some()
}

enum Body<'a> {
    Dense(&'a [u8]),
    Sparse(&'a [u8]),
}

/// The body, once it is known to hold exactly all registers: Redis itself has written past its buffer where there were more.
fn body(bytes: &[u8]) -> Option<Body<'_>> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    match *header.strip_prefix(MAGIC)?.first()? {
        DENSE if body.len() == DENSE_BODY => Some(Body::Dense(body)),
        SPARSE if covers_all(body) => Some(Body::Sparse(body)),
        _ => None,
    }
}

fn covers_all(sparse: &[u8]) -> bool {
    runs(sparse).map(|(_, length)| length).sum::<usize>() == REGISTERS
}

fn dense(registers: &[u8]) -> Vec<u8> {
    let mut out = header(DENSE);
    for four in registers.chunks(4) {
        let bits = four.iter().rev().fold(0_u32, |bits, value| bits << 6 | u32::from(value & 63));
        out.extend(bits.to_le_bytes().into_iter().take(3));
    }
    out
}

fn from_dense(body: &[u8]) -> Vec<u8> {
    let words = body.chunks(3).map(|three| three.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)));
    let six_bits = |word: u32| [0, 6, 12, 18].map(|shift| u8::try_from(word >> shift & 63).unwrap_or(0));
    words.flat_map(six_bits).collect()
}

/// `None` when it would be long, or a value too large for it.
fn sparse(registers: &[u8]) -> Option<Vec<u8>> {
    let mut out = header(SPARSE);
    for run in registers.chunk_by(|a, b| a == b) {
        let value = *run.first()?;
        if value > SPARSE_VALUE {
            return None;
        }
        let longest = if value == 0 { REGISTERS } else { 4 };
        for piece in run.chunks(longest) {
            let length = u16::try_from(piece.len() - 1).unwrap_or(0);
            let [high, low] = length.to_be_bytes();
            match value {
                0 if length < 64 => out.push(low),
                0 => out.extend([0x40 | high, low]),
                _ => out.push(0x80 | (value - 1) << 2 | low),
            }
        }
        if out.len() > SPARSE_BYTES {
            return None;
        }
    }
    Some(out)
}

/// Values and how many registers in a row have them. An opcode that lacks its second byte is too long for any.
fn runs(sparse: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let mut bytes = sparse.iter().copied();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        Some(match byte {
            0..0x40 => (0, usize::from(byte) + 1),
            0x40..0x80 => match bytes.next() {
                Some(low) => (0, (usize::from(byte & 0x3f) << 8 | usize::from(low)) + 1),
                None => (0, REGISTERS + 1),
            },
            0x80.. => ((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_registers_back() {
        let mut registers = vec![0; REGISTERS];
        assert_eq!(encode(&registers).len(), HEADER + 2);
        for (at, value) in [(0, 1), (1, 1), (70, 32), (71, 31), (16_383, 5)] {
            registers[at] = value;
            assert_eq!(decode(&sparse(&registers).unwrap()).unwrap(), registers);
            assert_eq!(decode(&dense(&registers)).unwrap(), registers);
        }
        registers[9] = 33;
        assert_eq!(encode(&registers), dense(&registers), "a value that only the dense form can say");
        let busy: Vec<u8> = (0..REGISTERS).map(|at| u8::try_from(at % 3).unwrap()).collect();
        assert_eq!(encode(&busy), dense(&busy), "too long to be sparse");
    }

    #[test]
    fn what_is_no_hyperloglog_is_not_read() {
        let zeros = [header(SPARSE), vec![0x7f, 0xff]].concat();
        assert!(decode(&zeros).is_some());
        for wrong in [
            b"".to_vec(),
            b"HYLL".to_vec(),
            [b"HYLM", &zeros[4..]].concat(),
            [header(2), vec![0x7f, 0xff]].concat(),
            [header(DENSE), vec![0; DENSE_BODY - 1]].concat(),
            [header(DENSE), vec![0; DENSE_BODY + 1]].concat(),
            header(SPARSE),
            [header(SPARSE), vec![0x7f]].concat(),
            [header(SPARSE), vec![0x7f, 0xfe]].concat(),
            [header(SPARSE), vec![0x7f, 0xff, 0x00]].concat(),
            [header(SPARSE), vec![0x7f, 0xfe, 0x81]].concat(),
        ] {
            assert_eq!(decode(&wrong), None, "{wrong:x?}");
        }
    }
}

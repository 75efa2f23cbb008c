//! Which register an element is for, and what it says there.

/// Redis's seed.
const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;
/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = 14;

/// The register of an element, and the place of the first one bit in the rest of its hash.
pub(super) fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = hash & ((1 << INDEX_BITS) - 1);
    // A one behind the last bit ends the run.
    let rest = (hash >> INDEX_BITS) | 1 << (u64::BITS - INDEX_BITS);
    let run = rest.trailing_zeros() + 1;
    (usize::try_from(index).unwrap_or(0), u8::try_from(run).unwrap_or(u8::MAX))
}

/// `MurmurHash64A` of Austin Appleby, read as little-endian on every machine.
fn murmur(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = little_endian(chunk).wrapping_mul(MULTIPLIER);
        hash = (hash ^ (word ^ word >> SHIFT).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash = (hash ^ little_endian(rest)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

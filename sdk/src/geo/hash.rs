//! Positions as scores: 26 bits each of latitude and longitude, interleaved. And as geohash texts.

use super::Position;

/// Bits of each coordinate.
const STEP: u32 = 26;
const CELLS: f64 = 67_108_864.0;

/// The score of a position: the bits of the small cell it lies in.
pub(crate) fn score_of(position: Position) -> f64 {
    as_score(interleaved(position, Position::MAX_LATITUDE))
}

/// The middle of the cell that a score means. Any number means one: what is out of range is cut to it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scores of positions are whole numbers of 52 bits, and others mean nothing"
)]
pub(crate) fn position_of(score: f64) -> Position {
    let bits = score as u64;
    let longitude = middle(separated(bits >> 1), Position::MAX_LONGITUDE);
    let latitude = middle(separated(bits), Position::MAX_LATITUDE);
    Position { longitude, latitude }
}

/// The geohash of eleven letters. The scores hold 52 bits and the letters 55: Redis puts a zero last.
pub(crate) fn geohash(score: f64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    // The usual geohash divides all latitudes up to the poles, the scores do not.
    let bits = interleaved(position_of(score), 90.0);
    let letter = |at: u32| bits >> (2 * STEP - 5 * (at + 1)) & 31;
    let letters = (0..10).map(letter).chain([0]);
    letters.filter_map(|index| LETTERS.get(usize::try_from(index).ok()?).map(|letter| char::from(*letter))).collect()
}

fn interleaved(position: Position, max_latitude: f64) -> u64 {
    let latitude = cell_of(position.latitude, max_latitude);
    let longitude = cell_of(position.longitude, Position::MAX_LONGITUDE);
    spread(latitude) | spread(longitude) << 1
}

/// The number of the cell that a coordinate lies in.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 2^26; Redis cuts off what is behind the point, too"
)]
fn cell_of(degrees: f64, max: f64) -> u32 {
    ((degrees - -max) / (max - -max) * CELLS) as u32
}

fn middle(cell: u32, max: f64) -> f64 {
    let scale = max - -max;
    let edge = |cell: f64| -max + cell / CELLS * scale;
    ((edge(f64::from(cell)) + edge(f64::from(cell) + 1.0)) / 2.0).clamp(-max, max)
}

/// The bits of a number with a gap before each.
fn spread(n: u32) -> u64 {
    (0..u32::BITS).fold(0, |out, bit| out | (u64::from(n) >> bit & 1) << (2 * bit))
}

/// Every second bit of a number.
fn separated(bits: u64) -> u32 {
    (0..u32::BITS).fold(0, |out, bit| out | u32::from(bits >> (2 * bit) & 1 == 1) << bit)
}

#[allow(clippy::cast_precision_loss, reason = "52 bits are exact")]
fn as_score(bits: u64) -> f64 {
    bits as f64
}

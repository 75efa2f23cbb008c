//! The estimate: from a histogram of the registers to a number of elements.

use super::REGISTERS;

/// 1 / (2 ln 2), with the digits that Redis has.
const ALPHA: f64 = 0.721_347_520_444_481_7;
/// The longest run a register can hold: 64 bits of hash without the 14 of the index, and one.
const LONGEST: usize = 51;

/// As `hllCount` of Redis, term by term: another order of the same sum may round to another count.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of registers are small; the estimate is not negative, and an infinite one is cut to the largest"
)]
pub(super) fn cardinality(registers: &[u8]) -> u64 {
    let mut histogram = [0_u32; 64];
    for value in registers {
        if let Some(count) = histogram.get_mut(usize::from(*value)) {
            *count += 1;
        }
    }
    let m = REGISTERS as f64;
    let share = |value: usize| f64::from(histogram.get(value).copied().unwrap_or(0));
    let mut z = m * tau((m - share(LONGEST)) / m);
    for value in (1..LONGEST).rev() {
        z = (z + share(value)) * 0.5;
    }
    z += m * sigma(share(0) / m);
    (ALPHA * m * m / z).round() as u64
}

/// Of registers that are full. The loop ends where a term no longer changes the sum.
#[allow(clippy::float_cmp, reason = "the sum stands still to the last bit")]
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// Of registers that are empty.
#[allow(clippy::float_cmp, reason = "the sum stands still to the last bit")]
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

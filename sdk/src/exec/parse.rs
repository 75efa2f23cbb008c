//! Arguments: numbers, bounds and options as Redis reads them.

use archipelago_engine::number;

use super::call::Failure;
use crate::store::Bound;

pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const NOT_A_FLOAT: &str = "ERR value is not a valid float";
const NOT_A_BOUND: &str = "ERR min or max is not a float";

/// An integer by Redis's strict reading: no plus sign, no leading zeros, 64 bits.
pub(super) fn integer(text: &[u8]) -> Result<i64, Failure> {
    let text = Some(text).filter(|text| number::is_integer(text)).and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| NOT_AN_INTEGER.into())
}

/// A number, or an infinity written as such. What no double can hold is refused, too large or too small.
pub(super) fn float(text: &[u8]) -> Result<f64, Failure> {
    let digit = |byte: &u8| (b'1'..=b'9').contains(byte);
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    double(text)
        .filter(|n| !(n.is_infinite() && text.iter().any(u8::is_ascii_digit)))
        .filter(|n| *n != 0.0 || !mantissa.iter().any(digit))
        .ok_or_else(|| NOT_A_FLOAT.into())
}

/// A bound on scores: a number, `(` before one that is left out, or an infinity.
pub(super) fn bound(text: &[u8]) -> Result<Bound, Failure> {
    let (text, exclusive) = text.strip_prefix(b"(").map_or((text, false), |inner| (inner, true));
    // Here Redis takes all that `strtod` does: space before the number, and nothing at all for zero.
    let score = if text.is_empty() { Some(0.0) } else { double(text.trim_ascii_start()) };
    score.map(|score| Bound { score, exclusive }).ok_or_else(|| NOT_A_BOUND.into())
}

/// `strtod` without its hexadecimal, its leading space and its NaN.
fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|n: &f64| !n.is_nan())
}

/// Whether an argument is this option, in whatever letters.
pub(super) fn is(argument: &[u8], option: &str) -> bool {
    argument.eq_ignore_ascii_case(option.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn floats_are_what_redis_takes() {
        for (text, n) in [("1", 1.0), ("-1.5e2", -150.0), (".5", 0.5), ("5.", 5.0), ("+2", 2.0), ("0e-999", 0.0)] {
            assert_eq!(float(text.as_bytes()), Ok(n), "{text}");
        }
        for text in ["inf", "+INF", "infinity"] {
            assert_eq!(float(text.as_bytes()), Ok(f64::INFINITY), "{text}");
        }
        for text in ["", " 1", "1 ", "nan", "1e999", "1e-999", "1x", "e5", "--1", "\u{661}"] {
            assert!(float(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_strict() {
        assert_eq!(integer(b"-9223372036854775808"), Ok(i64::MIN));
        for text in ["", "+1", "01", " 1", "1.0", "9223372036854775808"] {
            assert!(integer(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_may_be_open_or_infinite() {
        assert_eq!(bound(b"(1.5").unwrap(), Bound { score: 1.5, exclusive: true });
        assert_eq!(bound(b"-inf").unwrap(), Bound::inclusive(f64::NEG_INFINITY));
        assert!(bound(b"((1").is_err() && bound(b"[1").is_err() && bound(b"nan").is_err());
    }
}

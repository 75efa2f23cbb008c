//! Numbers as Redis shows and reads them, and the bound up to which integers are exact.

/// Integers are exact up to this magnitude (2^53): both Lua and the view compute in doubles.
pub const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The longest text that may be a number, in bytes.
const MAX_TEXT: usize = 400;

/// The number a stored text means, or `None` when it is not a finite decimal number.
///
/// The grammar is narrower than C's `strtod` (no hexadecimal, no surrounding space, no `inf`), because it has
/// to mean the same to this crate and to the Redis scripts.
///
/// ```
/// use archipelago_engine::number::parse;
/// assert_eq!(parse(b"-1.5e3"), Some(-1500.0));
/// assert_eq!(parse(b"0x10"), None);
/// ```
#[must_use]
pub fn parse(text: &[u8]) -> Option<f64> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (unsigned.get(..at)?, unsigned.get(at + 1..)),
        None => (unsigned, None),
    };
    let digits = mantissa.iter().filter(|b| b.is_ascii_digit()).count();
    let points = mantissa.iter().filter(|&&b| b == b'.').count();
    if digits == 0 || points > 1 || digits + points != mantissa.len() {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The number a sorted set's payload means: as [`parse`], and `inf` and `-inf`.
#[must_use]
pub fn parse_score(text: &[u8]) -> Option<f64> {
    match text {
        b"inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        _ => parse(text),
    }
}

/// Whether a text is an integer by Redis's strict reading (no plus sign, no leading zeros), within 64 bits.
#[must_use]
pub fn is_integer(text: &[u8]) -> bool {
    let canonical = match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    canonical && std::str::from_utf8(text).is_ok_and(|t| t.parse::<i64>().is_ok())
}

/// A number as text: integers in all their digits (`%.0f`), fractions with the fewest digits that read back the same, never
/// with an exponent, as Redis's INCRBYFLOAT writes them.
///
/// The digits are the correctly rounded ones of 15, 16 or 17 places, the first that reads back: what `printf` in
/// the Redis scripts can do too. (Rust's own shortest form differs from it at a few powers of two.)
///
/// ```
/// use archipelago_engine::number::show;
/// assert_eq!(show(3.0), "3");
/// assert_eq!(show(0.1), "0.1");
/// assert_eq!(show(-1e-7), "-0.0000001");
/// ```
#[must_use]
pub fn show(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.fract() == 0.0 || !number.is_finite() {
        return format!("{number:.0}");
    }
    let scientific = (14..=16)
        .map(|places| format!("{number:.places$e}"))
        .find(|text| text.parse() == Ok(number))
        .unwrap_or_else(|| format!("{number:.16e}"));
    positional(&scientific)
}

/// `d.ddde±x` as plain digits without trailing zeros.
fn positional(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let point = exponent + 1;
    match usize::try_from(point) {
        Ok(point) if point > 0 && point < digits.len() => {
            let (whole, fraction) = digits.split_at(point);
            format!("{sign}{whole}.{fraction}")
        }
        Ok(point) if point > 0 => format!("{sign}{digits:0<point$}"),
        _ => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    }
}

/// Whether the sum of two integers is one that a double holds exactly, within ±2^53.
///
/// 2^53 + 1 rounds to 2^53, so at the bound the sum has to give the first number back.
#[must_use]
pub fn sum_is_exact(a: f64, b: f64) -> bool {
    let sum = a + b;
    sum.abs() < MAX_EXACT || (sum.abs() == MAX_EXACT && sum - b == a)
}

/// A sum that is always a number: opposite infinities cancel to zero, as in Redis's ZUNIONSTORE, and minus zero
/// is zero.
#[must_use]
pub fn plus(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if sum.is_nan() || sum == 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_and_show_as_redis_does() {
        for (text, number) in
            [("1", 1.0), ("-0.5", -0.5), (".5", 0.5), ("5.", 5.0), ("+2", 2.0), ("1e3", 1000.0), ("007", 7.0)]
        {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-", ".", "e5", "1e", "1e+", "0x1p3", " 1", "1 ", "inf", "nan", "1e999", "1.2.3", "1-2"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        for (number, text) in [
            (1e21, "1000000000000000000000"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.5e-10, "0.00000000015"),
            (-123.25, "-123.25"),
            (MAX_EXACT, "9007199254740992"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-0.0, "0"),
            // 2^-44: sixteen correctly rounded places (…801) fall below the half of the narrower gap under a power of
            // two and read back as its neighbour. Rust's shortest form (…802) is not what printf can write.
            (5.684_341_886_080_802e-14, "0.000000000000056843418860808015"),
        ] {
            assert_eq!(show(number), text);
        }
    }

    #[test]
    fn a_sum_past_the_exact_range_is_noticed_although_it_rounds_back_into_it() {
        assert!(sum_is_exact(MAX_EXACT, 0.0) && sum_is_exact(MAX_EXACT - 1.0, 1.0) && sum_is_exact(-MAX_EXACT, 1.0));
        for (a, b) in [(MAX_EXACT, 1.0), (-MAX_EXACT, -1.0), (MAX_EXACT - 1.0, 2.0), (1.0, MAX_EXACT)] {
            assert!(!sum_is_exact(a, b), "{a} + {b}");
        }
    }

    #[test]
    fn strict_integers_are_the_ones_redis_accepts() {
        for text in ["0", "-1", "10", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_integer(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "-0", "+1", "01", "1.0", " 1", "9223372036854775808", "abc"] {
            assert!(!is_integer(text.as_bytes()), "{text}");
        }
    }
}

//! Bytes and versions as people read them.

use std::fmt::Write as _;

use archipelago_engine::Version;

/// Text as it is, in double quotes; bytes that are none as redis-cli shows them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| quoted(bytes), |text| format!("{text:?}"))
}

/// In double quotes; what is not printable ASCII is escaped, so that the line can be typed back in.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// A version as a time in UTC, to the microsecond.
pub(crate) fn time(version: Version) -> String {
    let micros = version.as_micros();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Days since 1970 as a date: Howard Hinnant's `civil_from_days`, for dates from 1970 on.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_show_as_times() {
        assert_eq!(time(Version::from_micros(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(Version::from_micros(951_782_400_000_001)), "2000-02-29T00:00:00.000001Z");
        assert_eq!(time(Version::from_micros(1_790_000_000_123_456)), "2026-09-21T14:13:20.123456Z");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(shown("caf\u{e9}\n\"".as_bytes()), "\"caf\u{e9}\\n\\\"\"");
        assert_eq!(shown(b"caf\xe9\n"), r#""caf\xe9\n""#);
    }
}

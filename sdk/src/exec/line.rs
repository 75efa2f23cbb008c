//! Lines as people type them: words, quoted as in redis-cli.

use bytes::Bytes;
use thiserror::Error;

/// A quote that is not closed, or not followed by a space: redis-cli's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Invalid argument(s)")]
pub struct UnbalancedQuotes;

/// Splits a line into words.
///
/// `"..."` knows `\n \r \t \b \a \" \\ \xHH`; `'...'` knows only `\'`; a quote ends a word. An empty line has no words.
///
/// # Errors
/// [`UnbalancedQuotes`] when a quote is left open, or something sticks to a closing one.
///
/// ```
/// use archipelago::exec::split_line;
/// assert_eq!(split_line(r#"SET k "a b\x21" 'it\'s'"#)?, ["SET", "k", "a b!", "it's"]);
/// assert!(split_line("SET k \"open").is_err());
/// # Ok::<(), archipelago::exec::UnbalancedQuotes>(())
/// ```
pub fn split_line(line: impl AsRef<[u8]>) -> Result<Vec<Bytes>, UnbalancedQuotes> {
    let mut rest = line.as_ref();
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = word(rest)?;
        words.push(word.into());
        rest = after;
    }
}

/// One word, and what follows it.
fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), UnbalancedQuotes> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [byte, ..] if is_space(*byte) => return Ok((word, rest)),
            // A quote opens in the middle of a word, too: `a"b c"` is one word.
            [b'"', inner @ ..] => return double_quoted(inner, &mut word).map(|after| (word, after)),
            [b'\'', inner @ ..] => return single_quoted(inner, &mut word).map(|after| (word, after)),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return closed(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) * 16 + hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescaped(*escaped), after),
            [byte, after @ ..] => (*byte, after),
            [] => return Err(UnbalancedQuotes),
        };
        word.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return closed(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return Err(UnbalancedQuotes),
        };
        word.push(byte);
        rest = after;
    }
}

/// After a closing quote there is a space or nothing.
fn closed(after: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    if after.first().is_none_or(|byte| is_space(*byte)) { Ok(after) } else { Err(UnbalancedQuotes) }
}

/// The spaces that `trim_ascii_start` skips, or a word of none of them would never end.
const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

const fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// Of a byte that is a hexadecimal digit.
const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_redis_cli_does() {
        for (line, words) in [
            ("", vec![]),
            (" \t\r\n", vec![]),
            ("  get  k ", vec!["get", "k"]),
            (r#""" ''"#, vec!["", ""]),
            (r#""a\n\t\"\\\x41\q""#, vec!["a\n\t\"\\Aq"]),
            (r#""\xZZ""#, vec!["xZZ"]),
            (r"'a\nb\'c'", vec![r"a\nb'c"]),
            (r#"pre"fix ed""#, vec!["prefix ed"]),
            (r"back\slash", vec![r"back\slash"]),
        ] {
            assert_eq!(split_line(line).unwrap(), words, "{line:?}");
        }
        assert_eq!(split_line(r#""\xff\x00""#).unwrap(), [Bytes::from_static(b"\xff\0")]);
    }

    #[test]
    fn a_quote_has_to_be_closed_and_to_end_its_word() {
        for line in [r#"""#, "'", r#""a"b"#, "'a'b", r#""a\"#, r#""a\""#, r#"a""" "#, "'a\\'"] {
            assert_eq!(split_line(line), Err(UnbalancedQuotes), "{line:?}");
        }
    }
}

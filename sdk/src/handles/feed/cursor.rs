//! How far a reader has come.

use std::{fmt, str::FromStr};

use archipelago_engine::{Incarnation, Place, Since};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// A place in the order in which entries of one feed arrived in one region; see [`Feed`](super::Feed).
///
/// A short text in a database, a file or a cookie (letters and digits, at most 40), or what serde makes of that text. Who
/// forges one is given entries that are there, and nothing else: it is no secret, and proves nothing.
///
/// ```
/// use archipelago::FeedCursor;
///
/// let cursor: FeedCursor = "1f00dcafe00000000000000070000000000002a".parse()?;
/// assert_eq!(cursor.to_string().parse(), Ok(cursor));
/// assert_eq!(FeedCursor::start().to_string(), "0");
/// # Ok::<(), archipelago::FeedCursorError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeedCursor {
    place: Option<(FeedTag, Place)>,
}

/// Four bytes of a hash of the feed's name, so that a cursor that was mistaken for another feed's starts over, rather than
/// skip what it has not read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FeedTag(u32);

impl FeedTag {
    fn of(name: &[u8]) -> Self {
        let [.., a, b, c, d] = xxh3_64(name).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeedCursorError {
    /// Cut short, or changed on its way.
    #[error("not a cursor of a feed")]
    NotACursor,
    /// Written by a newer version of this library.
    #[error("a cursor of a feed of version {0}, which this library does not know")]
    Version(char),
}

/// What cursors of this form begin with; the start is the one that begins with none.
const VERSION: char = '1';
const START: &str = "0";
/// Of the feed's tag, the line, and the number: hexadecimal.
const DIGITS: [usize; 3] = [8, 16, 14];
/// Where a number no longer fits in its digits. None grows so far: they are counted in doubles.
const NUMBERS: u64 = 1 << 56;

impl FeedCursor {
    /// Before every entry: all that are there come first, then what arrives.
    #[must_use]
    pub const fn start() -> Self {
        Self { place: None }
    }

    pub(crate) fn at(feed: &[u8], place: Place) -> Self {
        Self { place: Some((FeedTag::of(feed), place)) }
    }

    /// From where to read this feed.
    pub(crate) fn since(&self, feed: &[u8]) -> Since {
        match self.place {
            None => Since::Start,
            Some((tag, place)) if tag == FeedTag::of(feed) => Since::Place(place),
            // Of no line: nobody has come so far.
            Some((_, place)) => Since::Place(Place { number: u64::MAX, ..place }),
        }
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            None => f.write_str(START),
            Some((FeedTag(tag), Place { line, number })) => {
                write!(f, "{VERSION}{tag:08x}{line}{number:014x}", number = number.min(NUMBERS - 1))
            }
        }
    }
}

impl FromStr for FeedCursor {
    type Err = FeedCursorError;

    /// Takes what `Display` writes and nothing else: one cursor has one text.
    fn from_str(text: &str) -> Result<Self, FeedCursorError> {
        if text == START {
            return Ok(Self::start());
        }
        // `from_str_radix` would also take a sign and capitals.
        if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) || text.len() > 64 {
            return Err(FeedCursorError::NotACursor);
        }
        let digits = match text.chars().next() {
            Some(VERSION) => text.get(1..).unwrap_or_default(),
            Some(newer @ '2'..='9') => return Err(FeedCursorError::Version(newer)),
            Some(_) | None => return Err(FeedCursorError::NotACursor),
        };
        let [tag, line, _] = DIGITS;
        if digits.len() != DIGITS.iter().sum::<usize>() {
            return Err(FeedCursorError::NotACursor);
        }
        let number = |from: usize, to: usize| {
            let digits = digits.get(from..to).unwrap_or_default();
            u64::from_str_radix(digits, 16).map_err(|_| FeedCursorError::NotACursor)
        };
        let place =
            Place { line: Incarnation::new(number(tag, tag + line)?), number: number(tag + line, digits.len())? };
        let tag = u32::try_from(number(0, tag)?).map_err(|_| FeedCursorError::NotACursor)?;
        Ok(Self { place: Some((FeedTag(tag), place)) })
    }
}

impl Serialize for FeedCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FeedCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = FeedCursor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cursor of a feed")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FeedCursor, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "11dcafe00f00dfeedcafebabe0000000000002a";

    fn cursor() -> FeedCursor {
        let place = Place { line: Incarnation::new(0xf00d_feed_cafe_babe), number: 42 };
        FeedCursor { place: Some((FeedTag(0x1dca_fe00), place)) }
    }

    // What readers have written down stays valid: these may not change.
    #[test]
    fn texts_are_golden() {
        assert_eq!(cursor().to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(cursor()));
        assert_eq!(FeedTag::of(b"room:7"), FeedTag(816_356_579));
        assert_eq!(serde_json::to_string(&cursor()).unwrap(), format!("{TEXT:?}"));
        assert_eq!(serde_json::from_str::<FeedCursor>("\"0\"").unwrap(), FeedCursor::start());
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let cases = ["", "1", "00", "0 ", " 0", &TEXT[1..], &TEXT[..38], &TEXT.to_uppercase(), "é", &"1".repeat(99)];
        for text in cases {
            assert_eq!(text.parse::<FeedCursor>(), Err(FeedCursorError::NotACursor), "{text:?}");
        }
        assert_eq!(TEXT.replacen('1', "2", 1).parse::<FeedCursor>(), Err(FeedCursorError::Version('2')));
        assert!(serde_json::from_str::<FeedCursor>("7").is_err());
    }

    #[test]
    fn a_cursor_of_another_feed_starts_over_there() {
        let place = Place { line: Incarnation::new(1), number: 5 };
        let cursor = FeedCursor::at(b"room:7", place);
        assert_eq!(cursor.since(b"room:7"), Since::Place(place));
        assert_eq!(cursor.since(b"room:8"), Since::Place(Place { number: u64::MAX, ..place }));
        assert_eq!(FeedCursor::start().since(b"room:8"), Since::Start);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in "[0-9a-fA-F+ ]{0,45}|1[0-9a-f]{38}") {
            if let Ok(cursor) = text.parse::<FeedCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}

//! Entries of streams and feeds: their ids, what a write of one asks for, and fields as bytes.

use std::{fmt, str::FromStr, time::SystemTime};

use bytes::{Buf, BufMut, Bytes};

use crate::{
    mutation::{MutationError, limits},
    origin::Incarnation,
    position::Maker,
};

/// The id of an entry: milliseconds since 1970, and a sequence. It is the entry's position: 16 bytes, big-endian.
///
/// The sequence of an id that a region gives has the low three bytes of the number of the write's log entry, then the
/// low five of the incarnation's random bits: so no two regions give one id, and no region gives one twice. Ids of one
/// region grow with every entry, and past every entry it has seen of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since 1970, by the clock of the region that gave it.
    pub millis: u64,
    /// What tells the entries of a millisecond, and of regions, apart.
    pub sequence: u64,
}

impl EntryId {
    /// Below every entry's.
    pub const ZERO: Self = Self { millis: 0, sequence: 0 };

    /// Above every entry's.
    pub const MAX: Self = Self { millis: u64::MAX, sequence: u64::MAX };

    /// The position of the entry.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        [self.millis.to_be_bytes(), self.sequence.to_be_bytes()].concat().into()
    }

    /// Cuts an id off the front of what a view's member holds: the id, and the payload behind it.
    #[must_use]
    pub fn split(member: &Bytes) -> Option<(Self, Bytes)> {
        let mut payload = member.clone();
        let id = Self { millis: payload.try_get_u64().ok()?, sequence: payload.try_get_u64().ok()? };
        Some((id, payload))
    }

    /// The next higher id; `None` behind the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { millis: self.millis, sequence }),
            None => match self.millis.checked_add(1) {
                Some(millis) => Some(Self { millis, sequence: 0 }),
                None => None,
            },
        }
    }

    /// Whether it is one that this incarnation gives: 40 bits say so.
    #[must_use]
    pub fn is_given_by(self, incarnation: Incarnation) -> bool {
        const RANDOM: u64 = (1 << 40) - 1;
        self.sequence & RANDOM == incarnation.bits() & RANDOM
    }

    /// The id that a write gives: now, or past what is there.
    pub(crate) fn give(now: u64, last: Option<Self>, maker: Maker) -> Option<Self> {
        let [_, _, _, low @ ..] = maker.incarnation.bits().to_be_bytes();
        let [_, _, _, _, _, number @ ..] = maker.number.to_be_bytes();
        let mut sequence = [0; 8];
        sequence.iter_mut().zip(number.into_iter().chain(low)).for_each(|(to, from)| *to = from);
        let sequence = u64::from_be_bytes(sequence);
        let millis = last.map_or(now, |last| last.millis.max(now));
        let is_past = last.is_none_or(|last| Self { millis, sequence } > last);
        // Only a caller's own id can be so high: the scripts compute in doubles.
        let millis = if is_past { Some(millis) } else { millis.checked_add(1) };
        millis.filter(|millis| *millis < 1 << 53).map(|millis| Self { millis, sequence })
    }
}

impl From<SystemTime> for EntryId {
    /// The first id of the time's millisecond; of a time before 1970 the first of all.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), sequence: 0 }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

impl FromStr for EntryId {
    type Err = NotAnId;

    /// Reads `MILLISECONDS-SEQUENCE`, in digits alone.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().map_err(|_| NotAnId) } else { Err(NotAnId) }
        };
        let (millis, sequence) = text.split_once('-').ok_or(NotAnId)?;
        Ok(Self { millis: number(millis)?, sequence: number(sequence)? })
    }
}

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no id of an entry: MILLISECONDS-SEQUENCE")]
pub struct NotAnId;

/// An entry to append to a stream or feed: XADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Its id; `None` for one that the region gives.
    pub id: Option<EntryId>,
    /// What it holds.
    pub payload: Bytes,
    /// Only to what is there already (NOMKSTREAM).
    pub existing: bool,
    /// What is to stay, the new entry included.
    pub keep: Option<Keep>,
}

/// Which entries stay; at most 10,000 of the others go in one write, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many, the newest (MAXLEN).
    Newest(u64),
    /// Those with this id or a higher one (MINID).
    From(EntryId),
    /// Those of the last so many milliseconds, by the clock of the region that executes the write.
    Lately(u64),
}

impl Append {
    /// Checks a write against the [`limits`].
    pub(crate) fn check_limits(&self) -> Result<(), MutationError> {
        if self.payload.len() <= limits::VALUE { Ok(()) } else { Err(MutationError::TooLarge) }
    }
}

/// The fields of a stream's entry as one payload: length and bytes of each field and each value, by turns. Lengths take
/// four bytes, big-endian.
#[must_use]
pub fn encode_fields(fields: &[(Bytes, Bytes)]) -> Bytes {
    let mut out = Vec::new();
    for text in fields.iter().flat_map(|(field, value)| [field, value]) {
        out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        out.put_slice(text);
    }
    out.into()
}

/// Reads what [`encode_fields`] writes; `None` for anything else.
#[must_use]
pub fn decode_fields(payload: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut rest = payload.clone();
    let take = |rest: &mut Bytes| {
        let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        (len <= rest.len()).then(|| rest.split_to(len))
    };
    let mut fields = Vec::new();
    while !rest.is_empty() {
        fields.push((take(&mut rest)?, take(&mut rest)?));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_past_all_that_is_there_and_tell_regions_and_writes_apart() {
        let maker = |incarnation, number| Maker { incarnation: Incarnation::new(incarnation), number };
        let id = EntryId::give(5, None, maker(0xaabb_ccdd_ee00_1122, 0x0102_0304)).unwrap();
        assert_eq!((id.millis, id.sequence), (5, 0x0203_04dd_ee00_1122));
        assert_ne!(Some(id), EntryId::give(5, None, maker(0xaabb_ccdd_ee00_1123, 0x0102_0304)));
        assert_ne!(Some(id), EntryId::give(5, None, maker(0xaabb_ccdd_ee00_1122, 0x0102_0305)));
        for last in [id, EntryId { millis: 5, sequence: u64::MAX }, EntryId { millis: 9, sequence: 0 }] {
            for now in [4, 5, 6, 10] {
                let given = EntryId::give(now, Some(last), maker(1, 1)).unwrap();
                assert!(given > last && given.millis >= now, "{given} after {last}");
            }
        }
        assert_eq!(EntryId::give(5, Some(EntryId::MAX), maker(1, 1)), None);
        assert!(id.is_given_by(Incarnation::new(0xaabb_ccdd_ee00_1122)));
        assert!(!id.is_given_by(Incarnation::new(0xaabb_ccdd_ee00_1123)));
    }

    #[test]
    fn ids_and_fields_read_back_and_what_is_damaged_does_not() {
        for id in [EntryId::ZERO, EntryId::MAX, EntryId { millis: 1_589_929_244_828, sequence: 1 }] {
            assert_eq!(id.to_string().parse(), Ok(id));
            let member: Bytes = [&id.to_bytes()[..], b"payload"].concat().into();
            assert_eq!(EntryId::split(&member), Some((id, "payload".into())));
        }
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", "1- 2", "18446744073709551616-0"] {
            assert_eq!(text.parse::<EntryId>(), Err(NotAnId), "{text}");
        }
        assert_eq!(EntryId { millis: 1, sequence: u64::MAX }.next(), Some(EntryId { millis: 2, sequence: 0 }));
        assert_eq!(EntryId::MAX.next(), None);
        let fields = vec![("a".into(), Bytes::new()), (Bytes::from_static(b"\0"), "v".into())];
        let payload = encode_fields(&fields);
        assert_eq!(decode_fields(&payload), Some(fields));
        for len in 1..payload.len() {
            assert!(len == 9 || decode_fields(&payload.slice(..len)).is_none(), "{len} bytes");
        }
    }
}

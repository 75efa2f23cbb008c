//! Lists: what a write of one asks for.

use bytes::Bytes;

use crate::mutation::{MutationError, limits};

/// A write of a list. Values are any bytes; an element is named by its place, or found by its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListEdit {
    /// Put values at an end, one by one: LPUSH, RPUSH.
    Push {
        /// At which end.
        end: End,
        /// The values, in the order in which they are pushed.
        values: Vec<Bytes>,
        /// Only onto a list that is there: LPUSHX, RPUSHX.
        existing: bool,
    },
    /// Put a value beside the first element that holds another: LINSERT.
    Insert {
        /// On which side of that element.
        side: Side,
        /// What that element holds.
        pivot: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Give an element another value: LSET.
    Set {
        /// Which, from 0, or from the end when negative.
        index: i64,
        /// The value.
        value: Bytes,
    },
    /// Take elements off an end: LPOP, RPOP.
    Pop {
        /// Off which end.
        end: End,
        /// At most so many.
        count: u64,
    },
    /// Remove the elements that hold a value: LREM.
    Remove {
        /// The value.
        value: Bytes,
        /// At most so many from the front, or from the back when negative; 0 for all.
        count: i64,
    },
    /// Remove all but a range: LTRIM.
    Trim {
        /// The first index that stays, from 0, or from the end when negative.
        start: i64,
        /// The last index that stays.
        stop: i64,
    },
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where index 0 is.
    Front,
    /// Where index -1 is.
    Back,
}

/// A side of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the front.
    Before,
    /// Towards the back.
    After,
}

impl ListEdit {
    /// Checks a write against the [`limits`].
    pub(crate) fn check_limits(&self) -> Result<(), MutationError> {
        let is_within = |value: &Bytes| value.len() <= limits::VALUE;
        let fits = match self {
            Self::Push { values, .. } => {
                let total: usize = values.iter().map(Bytes::len).sum();
                values.len() <= limits::MEMBERS && values.iter().all(is_within) && total <= 2 * limits::VALUE
            }
            Self::Insert { pivot, value, .. } => is_within(pivot) && is_within(value),
            Self::Set { value, .. } | Self::Remove { value, .. } => is_within(value),
            Self::Pop { count, .. } => *count <= limits::MEMBERS as u64,
            Self::Trim { .. } => true,
        };
        if fits { Ok(()) } else { Err(MutationError::TooLarge) }
    }
}

/// Redis's indexes, from the end when negative, cut to what there is: how many to skip, and how many to take.
///
/// ```
/// use archipelago_engine::window;
/// assert_eq!(window(-2, -1, 3), (1, 2));
/// assert_eq!(window(0, -4, 3), (0, 0));
/// ```
#[must_use]
pub fn window(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_the_end = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let start = from_the_end(start).max(0);
    let stop = from_the_end(stop).min(len - 1);
    let take = if start > stop { 0 } else { stop - start + 1 };
    (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(take).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_count_as_in_redis() {
        for (start, stop, len, expected) in [
            (0, -1, 3, (0, 3)),
            (-2, -1, 3, (1, 2)),
            (-9, 0, 3, (0, 1)),
            (1, 9, 3, (1, 2)),
            (2, 1, 3, (2, 0)),
            (3, 5, 3, (3, 0)),
            (0, -4, 3, (0, 0)),
            (0, -1, 0, (0, 0)),
            (i64::MIN, i64::MAX, 3, (0, 3)),
        ] {
            assert_eq!(window(start, stop, len), expected, "{start} {stop} of {len}");
        }
    }
}

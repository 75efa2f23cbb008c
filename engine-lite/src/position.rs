//! Positions: where the elements of a list stand, as bytes whose order is the list's order.
//!
//! A list is a map from positions to values. A position is made once, between the two neighbours that a region sees, and
//! never changes; all regions order positions by their bytes, so all show one order. They are paths in the tree of Fugue
//! (Weidner and Kleppmann, "The Art of the Fugue", 2023), written as strings after Weidner's `position-strings`:
//!
//! ```text
//! position := sequence waypoint counter (side waypoint counter)* 01
//! sequence := signed(var)                 orders what was pushed at the ends
//! waypoint := incarnation(8) var          by the write that made it: the number of its entry in that incarnation's log
//! counter  := signed(var var)             entries since the waypoint's own, and which element of the write
//! side     := 00 | 02                     left or right of the element named so far
//! var      := 00..6f | 70 byte | 71 byte byte | ..          the shortest, big-endian
//! signed   := the top bit of the first byte set; of a negative number every byte is inverted
//! ```
//!
//! - **A run stays together.** Whoever goes on beside an element under a waypoint of its own extends that waypoint, to
//!   either side, by a counter: runs that two regions insert at one place at the same time never interleave element
//!   by element, and a position grows by bytes of a number, not by a step.
//! - **There is always room**: between any two elements fits a child of one of them.
//! - **Pushes at the ends do not deepen the tree.** They make or extend a waypoint at its root, whose sequence is one
//!   more than the last's. In the plain tree each region's turn would go one level below the other's: two regions that
//!   push by turns into a queue would soon carry positions of kilobytes.
//! - **No position is made twice**: a waypoint belongs to one incarnation, which numbers its entries.
//! - No position begins another, so a value can stand right behind one.
//!
//! Pushes at the ends take 14 to 24 bytes: 14 for the first ones, 18 after a hundred thousand writes of one partition.
//! An insert elsewhere takes what its neighbour has, and 12 to 18 bytes where it begins a run. Only inserts into one inner
//! spot by turns of two regions, or always between the last two, add a step each.

use bytes::Bytes;

use crate::origin::Incarnation;

const LEFT: u8 = 0;
const END: u8 = 1;
const RIGHT: u8 = 2;

/// The first byte of a number that does not fit one byte, less one: the length in bytes is added to it.
const LONG: u8 = 0x6f;

/// Numbers take at most six bytes, as those of log entries.
const MAX_BYTES: u8 = 6;

/// As far as sequences go: nobody pushes by turns so often, but a peer may say so.
const MAX_SEQUENCE: i64 = 1 << 47;

/// Who makes positions: an incarnation, with the number of the log entry that will hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The incarnation that executes the write.
    pub incarnation: Incarnation,
    /// The number of the write's entry.
    pub number: u64,
}

/// Makes `count` positions between two neighbours, in order; `None` is the list's own end on that side.
///
/// The neighbours are those which the region shows. What is no position counts as none.
///
/// ```
/// use archipelago_engine::{Incarnation, position::{Maker, between}};
///
/// let maker = |number| Maker { incarnation: Incarnation::new(7), number };
/// let [a, c] = &between(None, None, 2, maker(1))[..] else { panic!() };
/// let [b] = &between(Some(a), Some(c), 1, maker(2))[..] else { panic!() };
/// assert!(a < b && b < c);
/// ```
#[must_use]
pub fn between(left: Option<&[u8]>, right: Option<&[u8]>, count: usize, maker: Maker) -> Vec<Bytes> {
    let spot = Spot::between(left.and_then(parse), right.and_then(parse), maker);
    (0..count as u64).map(|at| spot.position(at, count as u64)).collect()
}

/// Cuts a position off the front of what a view's member holds: the position, and the value behind it.
///
/// `None` when there is none.
#[must_use]
pub fn split(member: &Bytes) -> Option<(Bytes, Bytes)> {
    let len = parse(member)?.body.len() + 1;
    Some((member.slice(..len), member.slice(len..)))
}

/// Whether these bytes are one position, and nothing else.
#[must_use]
pub fn is_position(bytes: &[u8]) -> bool {
    parse(bytes).is_some_and(|position| position.body.len() + 1 == bytes.len())
}

/// The incarnation that made a position; `None` for what is none.
#[must_use]
pub fn made_by(bytes: &[u8]) -> Option<Incarnation> {
    let position = parse(bytes)?;
    (position.body.len() + 1 == bytes.len()).then_some(position.last.maker.incarnation)
}

/// A position, taken apart.
#[derive(Clone, Copy)]
struct Position<'a> {
    sequence: i64,
    /// All but the closing byte.
    body: &'a [u8],
    root: Waypoint<'a>,
    last: Waypoint<'a>,
}

/// A waypoint on a position's path.
#[derive(Clone, Copy)]
struct Waypoint<'a> {
    /// The path up to here, waypoint included: what all positions below it begin with.
    path: &'a [u8],
    maker: Maker,
}

impl Position<'_> {
    /// Whether this one, further right, stands below the other in the tree: below its right side, or where the other's
    /// waypoint was extended to the right later on. Then the place between the two is left of this one, else right of the
    /// other: always right of the other would split a run that is inserted backwards behind an element of its own region.
    fn is_below(&self, other: &Self) -> bool {
        self.body.starts_with(other.body) || self.age_under(other.last) > other.age_under(other.last)
    }

    /// The number of the entry that made it.
    fn made(&self) -> u64 {
        self.last.maker.number.saturating_add(self.age_under(self.last).unwrap_or_default())
    }

    /// How many entries after a waypoint the element was made that this one is, or stands below.
    fn age_under(&self, waypoint: Waypoint<'_>) -> Option<u64> {
        let mut counter = self.body.strip_prefix(waypoint.path)?;
        take_signed(&mut counter).map(|(age, _)| age)
    }
}

fn parse(bytes: &[u8]) -> Option<Position<'_>> {
    let mut input = bytes;
    let (sequence, is_negative) = take_signed(&mut input)?;
    let sequence = i64::try_from(sequence).ok()?;
    let mut root = None;
    loop {
        let (incarnation, rest) = input.split_first_chunk::<8>()?;
        input = rest;
        let maker =
            Maker { incarnation: Incarnation::new(u64::from_be_bytes(*incarnation)), number: take(&mut input, 0)? };
        let last = Waypoint { path: read(bytes, input)?, maker };
        let root = *root.get_or_insert(last);
        let (_, inverted) = take_signed(&mut input)?;
        take(&mut input, if inverted { 0xff } else { 0 })?;
        let body = read(bytes, input)?;
        let (side, rest) = input.split_first()?;
        input = rest;
        match *side {
            END => {
                let sequence = if is_negative { -sequence } else { sequence };
                return Some(Position { sequence, body, root, last });
            }
            LEFT | RIGHT => {}
            _ => return None,
        }
    }
}

/// What was read of `bytes` when this is left.
fn read<'a>(bytes: &'a [u8], left: &[u8]) -> Option<&'a [u8]> {
    bytes.get(..bytes.len().checked_sub(left.len())?)
}

/// The first number behind a sign, and whether the sign says that it is inverted.
fn take_signed(input: &mut &[u8]) -> Option<(u64, bool)> {
    let is_negative = *input.first()? < 0x80;
    let mask = if is_negative { 0xff } else { 0 };
    Some((take(input, mask)?, is_negative))
}

fn take(input: &mut &[u8], mask: u8) -> Option<u64> {
    let (head, rest) = input.split_first()?;
    *input = rest;
    let head = (head ^ mask) & 0x7f;
    let Some(bytes) = head.checked_sub(LONG).filter(|bytes| *bytes > 0) else {
        return Some(u64::from(head));
    };
    if bytes > MAX_BYTES {
        return None;
    }
    let (digits, rest) = input.split_at_checked(usize::from(bytes))?;
    *input = rest;
    Some(digits.iter().fold(0, |n, byte| n << 8 | u64::from(byte ^ mask)))
}

fn put(out: &mut Vec<u8>, n: u64) {
    if n <= u64::from(LONG) {
        out.push(n.to_be_bytes()[7]);
        return;
    }
    let digits = n.to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros..).unwrap_or_default();
    out.push(LONG + u8::try_from(digits.len()).unwrap_or(MAX_BYTES));
    out.extend_from_slice(digits);
}

/// Signs what `fill` writes.
fn put_signed(out: &mut Vec<u8>, is_negative: bool, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    fill(out);
    let written = out.get_mut(start..).unwrap_or_default();
    if let Some(first) = written.first_mut() {
        *first |= 0x80;
    }
    if is_negative {
        written.iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Where new elements go: below which waypoint, and in which direction from what is there.
struct Spot {
    path: Vec<u8>,
    /// How many entries the waypoint is old; zero for one that this write makes.
    age: u64,
    downwards: bool,
}

impl Spot {
    fn between(left: Option<Position<'_>>, right: Option<Position<'_>>, maker: Maker) -> Self {
        match (left, right) {
            (Some(last), None) if is_own(last.root, maker) => Self::beside(last.root, maker, false),
            (Some(last), None) if last.sequence < MAX_SEQUENCE => Self::root(last.sequence + 1, maker),
            (None, Some(first)) if is_own(first.root, maker) => Self::beside(first.root, maker, true),
            (None, Some(first)) if first.sequence > -MAX_SEQUENCE => Self::root(first.sequence - 1, maker),
            (left, right) => Self::within(left, right, maker),
        }
    }

    /// Where one of the neighbours' own trees has to hold it.
    fn within(left: Option<Position<'_>>, right: Option<Position<'_>>, maker: Maker) -> Self {
        let leaves = |other: Option<Position<'_>>, path| !other.is_some_and(|other| other.body.starts_with(path));
        let extends_left = left.filter(|left| is_own(left.last, maker) && leaves(right, left.last.path));
        let extends_right = right.filter(|right| is_own(right.last, maker) && leaves(left, right.last.path));
        match (extends_left, extends_right) {
            // Of two, the one made later: it belongs to the run that is under way.
            (Some(left), Some(right)) if right.made() > left.made() => Self::beside(right.last, maker, true),
            (Some(left), _) => Self::beside(left.last, maker, false),
            (None, Some(right)) => Self::beside(right.last, maker, true),
            (None, None) => match (left, right) {
                (Some(left), Some(right)) if right.is_below(&left) => Self::child(right, LEFT, maker),
                (Some(left), _) => Self::child(left, RIGHT, maker),
                (None, Some(right)) => Self::child(right, LEFT, maker),
                (None, None) => Self::root(0, maker),
            },
        }
    }

    /// Beside everything below a waypoint that is the maker's own. Every entry has a higher number than those before, so
    /// the counter lies beyond all that the maker ever put there, removed elements included.
    fn beside(waypoint: Waypoint<'_>, maker: Maker, downwards: bool) -> Self {
        let age = maker.number.saturating_sub(waypoint.maker.number);
        Self { path: waypoint.path.to_vec(), age, downwards }
    }

    fn root(sequence: i64, maker: Maker) -> Self {
        let mut path = Vec::new();
        put_signed(&mut path, sequence < 0, |out| put(out, sequence.unsigned_abs()));
        Self::below(path, maker)
    }

    fn child(parent: Position<'_>, side: u8, maker: Maker) -> Self {
        let mut path = parent.body.to_vec();
        path.push(side);
        Self::below(path, maker)
    }

    fn below(mut path: Vec<u8>, maker: Maker) -> Self {
        path.extend_from_slice(&maker.incarnation.bits().to_be_bytes());
        put(&mut path, maker.number);
        Self { path, age: 0, downwards: false }
    }

    fn position(&self, at: u64, count: u64) -> Bytes {
        let mut out = self.path.clone();
        let index = if self.downwards { count - 1 - at } else { at };
        put_signed(&mut out, self.downwards, |out| {
            put(out, self.age);
            put(out, index);
        });
        out.push(END);
        out.into()
    }
}

/// Whether the maker made this waypoint, in an earlier entry.
fn is_own(waypoint: Waypoint<'_>, maker: Maker) -> bool {
    waypoint.maker.incarnation == maker.incarnation && waypoint.maker.number < maker.number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(incarnation: u64, number: u64) -> Maker {
        Maker { incarnation: Incarnation::new(incarnation), number }
    }

    #[test]
    fn numbers_order_as_their_bytes_and_none_begins_another() {
        let numbers = [0, 1, 0x6f, 0x70, 0xff, 0x100, 0xffff, 0x1_0000, 1 << 40, (1 << 48) - 1];
        let mut written: Vec<(i64, Vec<u8>)> = Vec::new();
        for n in numbers {
            for is_negative in [false, true] {
                let mut out = Vec::new();
                put_signed(&mut out, is_negative, |out| put(out, n));
                let mut input = &out[..];
                assert_eq!(take_signed(&mut input), Some((n, is_negative)));
                assert!(input.is_empty());
                if n > 0 || !is_negative {
                    written.push((if is_negative { -(n as i64) } else { n as i64 }, out));
                }
            }
        }
        for (a, a_bytes) in &written {
            for (b, b_bytes) in &written {
                assert_eq!(a.cmp(b), a_bytes.cmp(b_bytes), "{a} {b}");
                assert!(a == b || !a_bytes.starts_with(b_bytes), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_is_damaged_is_no_position() {
        let whole = &between(None, None, 1, maker(7, 300))[0];
        assert!(is_position(whole));
        for len in 0..whole.len() {
            assert!(!is_position(&whole[..len]), "{len} bytes");
        }
        let mut longer = whole.to_vec();
        longer.push(b'v');
        assert!(!is_position(&longer));
        assert_eq!(split(&Bytes::from(longer)), Some((whole.clone(), Bytes::from_static(b"v"))));
        assert!(!is_position(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 1, 2, 3]));
    }

    #[test]
    fn sequences_that_a_peer_drove_to_their_end_leave_room() {
        for (sequence, is_negative) in [(1_u64 << 47, false), (1 << 47, true), ((1 << 48) - 1, false)] {
            let mut edge = Vec::new();
            put_signed(&mut edge, is_negative, |out| put(out, sequence));
            edge.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 1, 0x80, 0, END]);
            assert!(is_position(&edge));
            let behind = &between(Some(&edge), None, 1, maker(7, 3))[0];
            let before = &between(None, Some(&edge), 1, maker(7, 3))[0];
            assert!(before[..] < edge[..] && edge[..] < behind[..] && is_position(before) && is_position(behind));
        }
    }
}

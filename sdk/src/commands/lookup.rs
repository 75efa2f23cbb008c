//! Finding a row by the words of a command: one hash, no allocation.

use super::table::{ROWS, Row};

/// Longer than any name in the table, as a test checks.
const LONGEST: usize = 32;

/// The row of a command, or of its subcommand. `None` when there is none.
///
/// A container stands for the subcommands that have no row of their own.
pub(super) fn row_of(name: &[u8], subcommand: Option<&[u8]>) -> Option<&'static Row> {
    // A space would otherwise find the row of a subcommand; for the servers it is just an unknown name.
    if name.contains(&b' ') {
        return None;
    }
    let mut wanted = Capitals::default();
    let at = wanted.push(name).and_then(position)?;
    let is_container = ROWS.get(at.saturating_add(1)).is_some_and(|next| wanted.is_container_of(next));
    let of_subcommand = subcommand.filter(|_| is_container).and_then(|subcommand| {
        wanted.push(b" ")?;
        wanted.push(subcommand).and_then(position)
    });
    ROWS.get(of_subcommand.unwrap_or(at))
}

/// A name in capitals, on the stack.
#[derive(Default)]
struct Capitals {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Capitals {
    /// The whole name so far. `None` when it is longer than any in the table.
    fn push(&mut self, part: &[u8]) -> Option<&[u8]> {
        let end = self.len.saturating_add(part.len());
        let place = self.bytes.get_mut(self.len..end)?;
        place.copy_from_slice(part);
        place.make_ascii_uppercase();
        self.len = end;
        self.bytes.get(..end)
    }

    /// Whether that row is one of its subcommands: these follow their container, for a space sorts before every letter.
    fn is_container_of(&self, row: &Row) -> bool {
        let name = self.bytes.get(..self.len).unwrap_or_default();
        row.name.as_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b" "))
    }
}

/// Where in the table a name stands. A binary search needs nine comparisons of strings, and took 100 ns.
fn position(name: &[u8]) -> Option<usize> {
    let first = slot_of(name);
    let slots = (0..SLOTS).map_while(|probe| INDEX.get((first + probe) % SLOTS).filter(|at| **at != EMPTY));
    let mut positions = slots.map(|at| usize::from(*at));
    positions.find(|at| ROWS.get(*at).is_some_and(|row| row.name.as_bytes() == name))
}

/// A power of two, and twice the rows or more, so that most names are found at once.
const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// Position in the table by the hash of the name; a name whose slot is taken has the next free one.
#[allow(clippy::indexing_slicing, reason = "evaluated at compile time, within the tables")]
static INDEX: [u16; SLOTS] = {
    assert!(ROWS.len() * 2 <= SLOTS);
    let mut index = [EMPTY; SLOTS];
    let mut at = 0;
    while at < ROWS.len() {
        let mut slot = slot_of(ROWS[at].name.as_bytes());
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = at as u16;
        at += 1;
    }
    index
};

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: a multiplication for each byte.
const fn slot_of(mut name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    while let [byte, rest @ ..] = name {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        name = rest;
    }
    // The high bits are mixed better than the low ones.
    ((hash >> 16) ^ hash) as usize % SLOTS
}

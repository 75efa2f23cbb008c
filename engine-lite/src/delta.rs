//! Deltas: the cells one write changed, and the entries of the log that carries them.

use std::collections::BTreeMap;

use crate::{
    cells::Cells,
    key::{Field, Key},
    origin::Origin,
    version::Version,
};

/// Cells of one key: what a write changed, or what a resync ships.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Whose cells.
    pub key: Key,
    /// The cells, by field.
    pub fields: BTreeMap<Field, Cells>,
}

impl Delta {
    /// A delta of this key without cells.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key, fields: BTreeMap::new() }
    }

    /// How many cells it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.values().map(Cells::len).sum()
    }

    /// Whether it holds no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.values().all(Cells::is_empty)
    }

    /// Joins the cells of another delta of the same key into this one.
    pub fn absorb(&mut self, other: &Self) {
        for (field, cells) in &other.fields {
            let ours = self.fields.entry(field.clone()).or_default();
            for (origin, cell) in cells.iter() {
                ours.join(origin, cell);
            }
        }
    }
}

/// The highest version of each origin: up to there everything is held.
pub type Vector = BTreeMap<Origin, Version>;

/// One entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Entries are numbered without gaps, so `number - 1` names the predecessor.
    pub number: u64,
    /// The entry's id: the first of the versions it took.
    pub version: Version,
    /// How many versions it took, at least one.
    pub span: u32,
    /// What it says.
    pub body: Body,
}

/// What a log entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The cells a write changed: whole cells of the log's own origin, and only what was observed of foreign ones.
    Data(Delta),
    /// What the region holds of every origin it met: counts at a reader once the log before it is applied.
    Vector {
        /// The opening number of the log's incarnation: the highest of a region is its current one.
        opening: u64,
        /// Everything of these origins up to these versions is held.
        applied: Vector,
    },
}

impl Entry {
    /// The last of the versions the entry took: what `applied` becomes once it is joined.
    #[must_use]
    pub const fn last(&self) -> Version {
        self.version.plus(self.span.saturating_sub(1) as u64)
    }
}

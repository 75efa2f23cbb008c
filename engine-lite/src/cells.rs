//! The cells of one field, by origin: the operations on them and what a reader sees.

use std::collections::{BTreeMap, btree_map};

use bytes::Bytes;

use crate::{
    cell::{Assign, Cell, Joined, Total},
    key::Kind,
    number,
    origin::Origin,
    version::Version,
};

/// The cells of one field, by origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(BTreeMap<Origin, Cell>);

impl Cells {
    /// The cell of one origin.
    #[must_use]
    pub fn get(&self, origin: &Origin) -> Option<&Cell> {
        self.0.get(origin)
    }

    /// All cells, in origin order.
    pub fn iter(&self) -> btree_map::Iter<'_, Origin, Cell> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> btree_map::IterMut<'_, Origin, Cell> {
        self.0.iter_mut()
    }

    /// How many origins have a cell here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no origin has a cell here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a cell in place, as a decoder does.
    pub fn insert(&mut self, origin: Origin, cell: Cell) -> Option<Cell> {
        self.0.insert(origin, cell)
    }

    /// Retracts every observed cell, then assigns; says which origins' cells moved.
    pub fn assign(&mut self, own: &Origin, version: Version, payload: Bytes) -> Vec<Origin> {
        let mut moved = self.retract();
        self.assign_own(own, version, payload);
        if !moved.contains(own) {
            moved.push(own.clone());
        }
        moved
    }

    pub(crate) fn assign_own(&mut self, own: &Origin, version: Version, payload: Bytes) {
        self.0.entry(own.clone()).or_default().assign(version, payload);
    }

    /// Adds to the own origin's running sum.
    pub fn add(&mut self, own: &Origin, version: Version, amount: f64) {
        let cell = self.0.entry(own.clone()).or_default();
        cell.total = Some(cell.total_after(version, amount));
    }

    /// Adds to the own origin's total, whatever was observed of it: what a stock counts is never taken back.
    pub fn grow(&mut self, own: &Origin, version: Version, amount: f64) {
        let cell = self.0.entry(own.clone()).or_default();
        let (number, since) = cell.total.map_or((0.0, version), |total| (total.number, total.since));
        cell.total = Some(Total { version, number: number::plus(number, amount), since });
    }

    /// Retracts every observed cell; says which origins' cells moved.
    pub fn retract(&mut self) -> Vec<Origin> {
        self.0.iter_mut().filter_map(|(origin, cell)| cell.retract().then(|| origin.clone())).collect()
    }

    /// Retracts the cells of these origins; says which of them moved.
    pub(crate) fn retract_of(&mut self, origins: &[Origin]) -> Vec<Origin> {
        let cells = self.0.iter_mut().filter(|(origin, _)| origins.contains(origin));
        cells.filter_map(|(origin, cell)| cell.retract().then(|| origin.clone())).collect()
    }

    /// The live assignments, in origin order.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&Origin, &Assign)> {
        self.0.iter().filter_map(|(origin, cell)| Some((origin, cell.live()?)))
    }

    /// Whether any cell is dead: no reader sees anything of it.
    #[must_use]
    pub fn has_dead(&self) -> bool {
        self.0.values().any(|cell| !cell.is_live())
    }

    /// Forgets the dead cells; says how many there were.
    pub(crate) fn forget_dead(&mut self) -> u64 {
        let before = self.0.len();
        self.0.retain(|_, cell| cell.is_live());
        (before - self.0.len()) as u64
    }

    /// Joins a sight of one origin's cell.
    pub fn join(&mut self, origin: &Origin, cell: &Cell) -> Joined {
        if cell.is_empty() {
            return Joined::default();
        }
        self.0.entry(origin.clone()).or_default().join(cell)
    }

    /// Whether any cell is live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.values().any(Cell::is_live)
    }

    /// Whether a reader sees this field of a key of this type at all.
    #[must_use]
    pub fn shows(&self, kind: Kind) -> bool {
        // The removal of a HyperLogLog is an assignment, too.
        if kind == Kind::HyperLogLog { self.has_registers() } else { self.is_live() }
    }

    /// The latest live assignment; at equal versions the smaller origin's.
    #[must_use]
    pub fn winner(&self) -> Option<(&Origin, &Bytes)> {
        let mut best: Option<(&Origin, &Assign)> = None;
        for (origin, assign) in self.live() {
            if best.is_none_or(|(_, b)| assign.version > b.version) {
                best = Some((origin, assign));
            }
        }
        best.map(|(origin, assign)| (origin, &assign.payload))
    }

    /// The live contributions, summed in origin order so that every region gets the same bits.
    #[must_use]
    pub fn contributions(&self) -> Option<f64> {
        self.0.values().filter_map(Cell::contribution).reduce(number::plus)
    }

    /// The rule of strings and hash fields: the latest live assignment plus all live contributions.
    ///
    /// While the winner is not a number it is shown as it is.
    #[must_use]
    pub fn text(&self) -> Option<Bytes> {
        let shown = |n: f64| Bytes::from(number::show(n));
        match (self.winner(), self.contributions()) {
            (None, sum) => sum.map(shown),
            (Some((_, payload)), None) => Some(payload.clone()),
            (Some((_, payload)), Some(sum)) => {
                Some(number::parse(payload).map_or_else(|| payload.clone(), |n| shown(number::plus(n, sum))))
            }
        }
    }

    /// The rule of sorted sets: the latest live score plus all live contributions.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        // A payload that is no score can only come from a broken writer. It counts as zero: a join is total.
        let assigned = self.winner().map(|(_, payload)| number::parse_score(payload).unwrap_or(0.0));
        match (assigned, self.contributions()) {
            (Some(score), Some(sum)) => Some(number::plus(score, sum)),
            // Minus zero is zero, for it would sort below it.
            (Some(score), None) => Some(number::plus(score, 0.0)),
            (None, sum) => sum,
        }
    }

    /// The rule of expiry: the largest live expire-at, in milliseconds since 1970.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.live().map(|(_, a)| Deadline::from_payload(&a.payload)).max()
    }
}

impl FromIterator<(Origin, Cell)> for Cells {
    fn from_iter<I: IntoIterator<Item = (Origin, Cell)>>(cells: I) -> Self {
        Self(cells.into_iter().collect())
    }
}

/// When a key expires: what an expiry cell assigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// At this many milliseconds since 1970.
    At(u64),
    /// Not at all: what PERSIST writes. It is the largest, so it wins over a concurrent EXPIRE.
    Never,
}

impl Deadline {
    /// Whether data with this deadline is past it.
    #[must_use]
    pub fn is_past(self, now: Version) -> bool {
        match self {
            Self::At(millis) => now.as_millis() >= millis,
            Self::Never => false,
        }
    }

    /// The cell's payload: plain digits, or `inf`.
    #[must_use]
    pub fn to_payload(self) -> Bytes {
        match self {
            Self::At(millis) => Bytes::from(millis.to_string()),
            Self::Never => Bytes::from_static(b"inf"),
        }
    }

    /// Reads a payload. What is not a number is `Never`: a join is total, and losing data would be worse.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Self {
        let digits = payload.len() <= 15 && !payload.is_empty() && payload.iter().all(u8::is_ascii_digit);
        let text = if digits { std::str::from_utf8(payload).ok() } else { None };
        text.and_then(|t| t.parse().ok()).map_or(Self::Never, Self::At)
    }
}

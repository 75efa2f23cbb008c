//! Conflicts: values that regions wrote without knowing of each other's, and which of them a rule chose.

use std::fmt;

use bytes::Bytes;

use super::Resolved;
use crate::{
    cells::{Cells, Deadline},
    key::{Field, Key, Kind},
    number,
    origin::Origin,
    version::Version,
};

/// A field that a join left with live assignments that differ.
///
/// `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// The field.
    pub field: Field,
    /// Its cells behind the join.
    pub cells: Cells,
}

/// One of the values.
#[derive(Clone, PartialEq, Eq)]
pub struct Contender {
    /// Who wrote it.
    pub origin: Origin,
    /// When.
    pub version: Version,
    /// What; of an expiry the milliseconds since 1970, or `inf`.
    pub value: Bytes,
    /// Whether a reader sees it. Of several with the same value, and where all are kept, more than one wins.
    pub wins: bool,
}

impl fmt::Debug for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, cells, .. } = self;
        f.debug_struct("Conflict").field("kind", &key.kind).field("origins", &cells.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version, value, wins } = self;
        let mut shown = f.debug_struct("Contender");
        shown.field("origin", origin).field("version", version).field("bytes", &value.len()).field("wins", wins);
        shown.finish()
    }
}

impl Conflict {
    /// The type, and which of its rules decided.
    #[must_use]
    pub fn resolved(&self) -> Resolved {
        Resolved { kind: self.key.kind, is_expiry: self.field == Field::Expiry }
    }

    /// Whether the rule is a union of what an application never sees one by one: the registers of a HyperLogLog.
    #[must_use]
    pub fn is_union(&self) -> bool {
        self.key.kind == Kind::HyperLogLog && self.field != Field::Expiry
    }

    /// The values, in the order of their origins.
    #[must_use]
    pub fn contenders(&self) -> Vec<Contender> {
        let contender = |(origin, assign): (&Origin, &crate::cell::Assign)| Contender {
            origin: origin.clone(),
            version: assign.version,
            value: assign.payload.clone(),
            wins: self.wins(origin, &assign.payload),
        };
        self.cells.live().map(contender).collect()
    }

    fn wins(&self, origin: &Origin, value: &Bytes) -> bool {
        let cells = &self.cells;
        if self.field == Field::Expiry {
            return cells.deadline() == Some(Deadline::from_payload(value));
        }
        match self.key.kind {
            Kind::HighScores | Kind::LowScores | Kind::Max | Kind::Min => {
                let points = number::plus(number::parse_score(value).unwrap_or(0.0), 0.0);
                cells.points(self.key.kind).is_some_and(|best| best.total_cmp(&points).is_eq())
            }
            Kind::EnableWins | Kind::DisableWins => cells.value(self.key.kind).as_ref() == Some(value),
            Kind::First => {
                let first = cells.live().min_by_key(|(_, assign)| assign.version);
                first.is_some_and(|(first, _)| first == origin)
            }
            Kind::Siblings | Kind::HyperLogLog | Kind::Set => true,
            Kind::String | Kind::Hash | Kind::SortedSet | Kind::List | Kind::Stream | Kind::Feed | Kind::Stock => {
                cells.winner().is_some_and(|(winner, _)| winner == origin)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(kind: Kind, field: Field, values: [&'static str; 2]) -> Conflict {
        let mut cells = Cells::default();
        for ((region, version), value) in [("a", 1), ("b", 2)].into_iter().zip(values) {
            let origin: Origin = format!("{region}/0000000000000001").parse().unwrap();
            let mut one = Cells::default();
            one.assign(&origin, Version::from_micros(version), Bytes::from_static(value.as_bytes()));
            cells.join(&origin, one.get(&origin).unwrap());
        }
        Conflict { key: Key::new(kind, "k"), field, cells }
    }

    #[test]
    fn the_winner_is_the_one_that_is_shown() {
        for (kind, values, wins) in [
            (Kind::String, ["2", "1"], [false, true]),
            (Kind::First, ["2", "1"], [true, false]),
            (Kind::Max, ["2", "1"], [true, false]),
            (Kind::LowScores, ["2", "1"], [false, true]),
            (Kind::EnableWins, ["1", "0"], [true, false]),
            (Kind::DisableWins, ["1", "0"], [false, true]),
            (Kind::Siblings, ["2", "1"], [true, true]),
        ] {
            let conflict = conflict(kind, Field::VALUE, values);
            assert_eq!(conflict.contenders().iter().map(|c| c.wins).collect::<Vec<_>>(), wins, "{kind}");
            assert!(!format!("{conflict:?}{:?}", conflict.contenders()).contains("\"2\""));
        }
        let expiry = conflict(Kind::Set, Field::Expiry, ["inf", "5"]);
        assert_eq!(expiry.contenders().iter().map(|c| c.wins).collect::<Vec<_>>(), [true, false]);
        assert_eq!(expiry.resolved().rule(), "longest");
    }
}

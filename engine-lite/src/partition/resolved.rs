//! Concurrent assignments that a rule decided between, counted where a join brings them together.

use std::{fmt, str::FromStr};

use super::{Conflict, Partition};
use crate::{
    cells::Cells,
    key::{Field, Key, Kind},
};

/// A type, and which of its rules decided: that of its values, or that of expiries.
///
/// Shown as the type's word and `value` or `expiry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolved {
    /// The type of the key.
    pub kind: Kind,
    /// Whether it was its expiry: the longest holds.
    pub is_expiry: bool,
}

impl Resolved {
    /// The rule that decided, in a word.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        if self.is_expiry {
            return "longest";
        }
        match self.kind {
            // Of an entry and of a stock's sums there is one writer: the latest is the only one.
            Kind::String | Kind::Hash | Kind::SortedSet | Kind::List | Kind::Stream | Kind::Feed | Kind::Stock => {
                "latest"
            }
            Kind::Set => "present",
            Kind::HighScores | Kind::Max => "highest",
            Kind::LowScores | Kind::Min => "lowest",
            Kind::First => "first",
            Kind::Siblings => "all",
            Kind::EnableWins => "on",
            Kind::DisableWins => "off",
            Kind::HyperLogLog => "union",
        }
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, if self.is_expiry { "expiry" } else { "value" })
    }
}

impl FromStr for Resolved {
    type Err = UnknownResolved;

    fn from_str(text: &str) -> Result<Self, UnknownResolved> {
        let (kind, what) = text.split_once(' ').ok_or(UnknownResolved)?;
        let is_expiry = match what {
            "expiry" => true,
            "value" => false,
            _ => return Err(UnknownResolved),
        };
        Ok(Self { kind: kind.parse().map_err(|_| UnknownResolved)?, is_expiry })
    }
}

/// A text that names no type and rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a type and `value` or `expiry`")]
pub struct UnknownResolved;

impl Partition {
    /// Counts a field that a join of a log changed, if it now has live assignments that differ, and tells of it.
    pub(super) fn count_resolved(&mut self, key: &Key, field: &Field, told: &mut Option<&mut Vec<Conflict>>) {
        let cells = self.keys.get(key).and_then(|state| state.cells(field));
        if let Some(cells) = cells.filter(|cells| is_contested(cells)) {
            let resolved = Resolved { kind: key.kind, is_expiry: *field == Field::Expiry };
            *self.resolved.entry(resolved).or_default() += 1;
            if let Some(told) = told {
                told.push(Conflict { key: key.clone(), field: field.clone(), cells: cells.clone() });
            }
        }
    }
}

fn is_contested(cells: &Cells) -> bool {
    let mut live = cells.iter().filter_map(|(_, cell)| cell.live()).map(|assign| &assign.payload);
    live.next().is_some_and(|first| live.any(|other| other != first))
}

//! The cells of one key, and what a reader sees of them.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    cells::{Cells, Deadline},
    hyperloglog::Registers,
    key::{Field, Kind, Native},
    number,
    stock::Books,
};

/// A field's cells and the local number of their last change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stamped {
    /// The number of the log's next entry at the time of the change (the entry itself, for a mutation).
    pub stamp: u64,
    /// The cells.
    pub cells: Cells,
}

/// The cells of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyState {
    /// The highest stamp among the fields: a resync ships keys above the receiver's last number.
    pub stamp: u64,
    /// The cells, by field.
    pub fields: BTreeMap<Field, Stamped>,
}

impl KeyState {
    pub(super) fn cells(&self, field: &Field) -> Option<&Cells> {
        self.fields.get(field).map(|stamped| &stamped.cells)
    }

    pub(super) fn member(&self, member: &Bytes) -> Option<&Cells> {
        self.cells(&Field::Member(member.clone()))
    }

    pub(super) fn members(&self) -> impl DoubleEndedIterator<Item = (&Bytes, &Cells)> {
        self.fields.iter().filter_map(|(field, stamped)| match field {
            Field::Member(member) => Some((member, &stamped.cells)),
            Field::Expiry => None,
        })
    }

    /// The largest live expire-at.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.cells(&Field::Expiry).and_then(Cells::deadline)
    }

    /// Whether a reader of a key of this type sees anything, whatever the clock says.
    #[must_use]
    pub fn has_data(&self, kind: Kind) -> bool {
        self.members().any(|(_, cells)| cells.shows(kind))
    }
}

/// What a reader sees of one key: a function of its cells and the clock.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// Nothing: no live data, or past its expiry.
    Absent,
    /// A string's value, or the units left of a stock.
    String(Bytes),
    /// A set's members.
    Set(Vec<Bytes>),
    /// A hash's fields and values.
    Hash(Vec<(Bytes, Bytes)>),
    /// A sorted set's members and scores, lowest score first, equal scores by member.
    SortedSet(Vec<(Bytes, f64)>),
    /// The registers of a HyperLogLog.
    HyperLogLog(Registers),
    /// The positions and values of a list, or the ids and payloads of a stream, in order.
    Ordered(Vec<(Bytes, Bytes)>),
}

pub(super) fn view(kind: Kind, state: &KeyState) -> View {
    let view = match kind.native() {
        Native::String if kind == Kind::Stock => {
            (!state.fields.is_empty()).then(|| View::String(Books::of(state).left().to_string().into()))
        }
        Native::String if kind == Kind::HyperLogLog => {
            state.member(&Bytes::new()).and_then(Cells::registers).map(View::HyperLogLog)
        }
        Native::String => state.member(&Bytes::new()).and_then(|cells| cells.value(kind)).map(View::String),
        Native::Set => {
            let members: Vec<_> = state.members().filter(|(_, c)| c.is_live()).map(|(m, _)| m.clone()).collect();
            (!members.is_empty()).then_some(View::Set(members))
        }
        Native::Hash => {
            let fields: Vec<_> = state.members().filter_map(|(m, c)| Some((m.clone(), c.value(kind)?))).collect();
            (!fields.is_empty()).then_some(View::Hash(fields))
        }
        Native::SortedSet => {
            let mut scores: Vec<_> = state.members().filter_map(|(m, c)| Some((m.clone(), c.points(kind)?))).collect();
            scores.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            (!scores.is_empty()).then_some(View::SortedSet(scores))
        }
        Native::Ordered => {
            let elements: Vec<_> = state.members().filter_map(|(m, c)| Some((m.clone(), c.value(kind)?))).collect();
            (!elements.is_empty()).then_some(View::Ordered(elements))
        }
    };
    view.unwrap_or(View::Absent)
}

/// Whether a string or field shows an integer that is no longer exact.
pub(super) fn is_inexact(cells: &Cells) -> bool {
    cells.contributions().is_some()
        && cells.text().and_then(|t| number::parse(&t)).is_some_and(|n| n.abs() > number::MAX_EXACT)
}

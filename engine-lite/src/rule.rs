//! Rules: what a reader sees of one field's cells, by the kind of its key.

use bytes::Bytes;

use crate::{
    cell::Assign,
    cells::Cells,
    key::Kind,
    mutation::{Order, Presence},
    number,
    origin::Origin,
    version::Version,
};

/// What a flag holds while it is on.
pub(crate) const ON: &[u8] = b"1";
/// What a flag holds while it is off.
pub(crate) const OFF: &[u8] = b"0";

impl Kind {
    /// The conditions under which a write of this kind is one at all, whatever it asks for itself.
    ///
    /// A score that is no better than the one visible, and a value where the first one stands, change nothing: written
    /// down, they would retract what they do not beat.
    #[must_use]
    pub const fn conditions(self) -> (Presence, Order) {
        match self {
            Self::HighScores | Self::Max => (Presence::Any, Order::Greater),
            Self::LowScores | Self::Min => (Presence::Any, Order::Less),
            Self::First => (Presence::Absent, Order::Any),
            _ => (Presence::Any, Order::Any),
        }
    }

    /// Whether members are assigned by name. The others have writes of their own.
    #[must_use]
    pub const fn assigns(self) -> bool {
        !matches!(self, Self::List | Self::HyperLogLog | Self::Stream | Self::Feed | Self::Stock)
    }

    /// Whether increments of several regions add up.
    #[must_use]
    pub const fn adds(self) -> bool {
        matches!(self, Self::String | Self::Hash | Self::SortedSet)
    }

    /// Whether what is assigned has to be a number.
    #[must_use]
    pub const fn is_scored(self) -> bool {
        matches!(self, Self::SortedSet | Self::HighScores | Self::LowScores | Self::Max | Self::Min)
    }
}

impl Cells {
    /// What a reader sees of one value: a string, or a field of a hash.
    #[must_use]
    pub fn value(&self, kind: Kind) -> Option<Bytes> {
        match kind {
            Kind::First => self.earliest().cloned(),
            Kind::SortedSet | Kind::HighScores | Kind::LowScores | Kind::Max | Kind::Min => {
                self.points(kind).map(|points| number::show(points).into())
            }
            Kind::HyperLogLog => self.registers().map(|registers| registers.encode().into()),
            Kind::EnableWins => self.flag(ON),
            Kind::DisableWins => self.flag(OFF),
            _ => self.text(),
        }
    }

    /// What a reader sees of one number: a member's score, or the value of a register of numbers.
    #[must_use]
    pub fn points(&self, kind: Kind) -> Option<f64> {
        match kind {
            Kind::HighScores | Kind::Max => self.extreme(f64::max),
            Kind::LowScores | Kind::Min => self.extreme(f64::min),
            _ => self.score(),
        }
    }

    /// The extreme among the live assignments: what the best-score rules and the registers of numbers show.
    fn extreme(&self, better: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let live = self.live().map(|(_, assign)| number::parse_score(&assign.payload).unwrap_or(0.0));
        live.reduce(better).map(|best| number::plus(best, 0.0))
    }

    /// The earliest live assignment; at equal versions the smaller origin's.
    fn earliest(&self) -> Option<&Bytes> {
        // The first of equals wins: cells come in origin order.
        self.live().min_by_key(|(_, assign)| assign.version).map(|(_, assign)| &assign.payload)
    }

    /// The value that wins if any live assignment has it, else the other; nothing live is no flag at all.
    fn flag(&self, winner: &'static [u8]) -> Option<Bytes> {
        let loser = if winner == ON { OFF } else { ON };
        let mut live = self.live().peekable();
        live.peek()?;
        let wins = live.any(|(_, assign)| assign.payload == winner);
        Some(Bytes::from_static(if wins { winner } else { loser }))
    }

    /// All live assignments, the earliest first; at equal versions by origin. Equal payloads count once, as the latest.
    #[must_use]
    pub fn siblings(&self) -> Vec<&Bytes> {
        let mut live: Vec<_> = self.live().collect();
        live.sort_by_key(|(_, assign)| assign.version);
        let payloads: Vec<&Bytes> = live.into_iter().map(|(_, assign)| &assign.payload).collect();
        let is_last = |at: &usize| !payloads.iter().skip(at + 1).any(|later| payloads.get(*at) == Some(later));
        (0..payloads.len()).filter(is_last).filter_map(|at| payloads.get(at).copied()).collect()
    }

    /// The live assignments by origin and version: what a decision about them has seen.
    #[must_use]
    pub fn context(&self) -> Vec<(Origin, Version)> {
        self.live().map(|(origin, assign)| (origin.clone(), assign.version)).collect()
    }

    /// Assigns a decision about what was seen, and retracts no more than that; says which origins' cells moved.
    ///
    /// What another region wrote meanwhile stays beside it. `None`, and nothing changed, where the own origin wrote
    /// meanwhile: it has one assignment, and the new one would take the place of one that nobody has decided about.
    pub fn resolve(
        &mut self,
        own: &Origin,
        version: Version,
        payload: Bytes,
        seen: &[(Origin, Version)],
    ) -> Option<Vec<Origin>> {
        let has_seen = |origin: &Origin, assign: &Assign| {
            seen.iter().any(|(other, version)| other == origin && *version >= assign.version)
        };
        if self.get(own).and_then(|cell| cell.live()).is_some_and(|assign| !has_seen(own, assign)) {
            return None;
        }
        let live: Vec<Origin> =
            self.live().filter(|(origin, assign)| has_seen(origin, assign)).map(|(origin, _)| origin.clone()).collect();
        let mut moved = self.retract_of(&live);
        self.assign_own(own, version, payload);
        if !moved.contains(own) {
            moved.push(own.clone());
        }
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(region: &str) -> Origin {
        format!("{region}/0000000000000001").parse().unwrap()
    }

    fn v(micros: u64) -> Version {
        Version::from_micros(micros)
    }

    /// What two regions wrote without having seen each other.
    fn concurrent(a: (u64, &'static str), b: (u64, &'static str)) -> Cells {
        let mut cells = Cells::default();
        for (region, (version, payload)) in [("a", a), ("b", b)] {
            let mut one = Cells::default();
            one.assign(&origin(region), v(version), Bytes::from_static(payload.as_bytes()));
            for (origin, cell) in one.iter() {
                cells.join(origin, cell);
            }
        }
        cells
    }

    #[test]
    fn each_rule_decides_in_its_own_way() {
        let scores = concurrent((1, "100"), (2, "50"));
        for (kind, shown) in [
            (Kind::String, "50"),
            (Kind::Siblings, "50"),
            (Kind::First, "100"),
            (Kind::Max, "100"),
            (Kind::HighScores, "100"),
            (Kind::Min, "50"),
            (Kind::LowScores, "50"),
        ] {
            assert_eq!(scores.value(kind).unwrap(), shown, "{kind}");
        }
        for flags in [concurrent((1, "1"), (2, "0")), concurrent((1, "0"), (2, "1"))] {
            assert_eq!(flags.value(Kind::EnableWins).unwrap(), ON);
            assert_eq!(flags.value(Kind::DisableWins).unwrap(), OFF);
        }
        assert_eq!(Cells::default().value(Kind::EnableWins), None);
    }

    #[test]
    fn equal_versions_are_settled_by_origin() {
        assert_eq!(concurrent((1, "x"), (1, "y")).value(Kind::First).unwrap(), "x");
        assert_eq!(concurrent((1, "y"), (1, "x")).siblings(), ["y", "x"]);
        assert_eq!(concurrent((1, "x"), (2, "x")).siblings(), ["x"]);
    }

    #[test]
    fn a_decision_retracts_what_it_saw_and_nothing_else() {
        let (a, c) = (origin("a"), origin("c"));
        let mut cells = concurrent((1, "x"), (2, "y"));
        let seen = cells.context();
        let mut other = Cells::default();
        other.assign(&c, v(3), Bytes::from_static(b"late"));
        cells.join(&c, other.get(&c).unwrap());
        let moved = cells.resolve(&a, v(4), Bytes::from_static(b"xy"), &seen).unwrap();
        assert_eq!(moved, [a.clone(), origin("b")]);
        assert_eq!(cells.siblings(), ["late", "xy"]);
        // The own origin wrote since: a decision from before would wipe that out unseen.
        assert_eq!(cells.resolve(&a, v(5), Bytes::from_static(b"old"), &seen), None);
        assert_eq!(cells.siblings(), ["late", "xy"]);
    }
}

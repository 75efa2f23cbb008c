//! The cell: what one origin did to one member, and the join that merges two sights of it.

use bytes::Bytes;

use crate::{number, version::Version};

/// The latest assignment an origin made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assign {
    /// When it was made.
    pub version: Version,
    /// What was assigned; empty once the assignment is dead.
    pub payload: Bytes,
}

/// The running sum of an origin's increments. Equal means the same bytes, so that equal cells are stored alike.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    /// When the last increment was made.
    pub version: Version,
    /// The sum of the run.
    pub number: f64,
    /// The version of the run's first increment.
    pub since: Version,
}

/// An origin's sum as it stood when an overwrite or a remove last observed it. Equal means the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// The version of the observed total.
    pub version: Version,
    /// The observed sum.
    pub number: f64,
}

// A double's own equality takes 0 and -0 for one and NaN for none: a join would then move bytes and say it did not.
impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && total_bytes(*self) == total_bytes(*other)
    }
}

impl Eq for Total {}

impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && bits(self.number) == bits(other.number)
    }
}

impl Eq for Base {}

/// What one origin did to one member: four registers, each of which only moves to a higher version.
///
/// The content of each register is fixed by its origin and version. [`Cell::join`] keeps the higher version of
/// each, so it is commutative, associative and idempotent. It never refuses a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The latest assignment.
    pub assign: Option<Assign>,
    /// The version of the latest assignment known to be overwritten or removed.
    pub retracted: Version,
    /// The running sum.
    pub total: Option<Total>,
    /// The part of the sum that was overwritten or removed.
    pub base: Option<Base>,
}

/// What a join did to a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Whether the cell moved.
    pub changed: bool,
    /// Whether one version came with two contents: a sign of lost state. The greater bytes won.
    pub conflict: bool,
}

impl Cell {
    /// The payload of the assignment, while it is live (not overwritten or removed).
    #[must_use]
    pub fn live(&self) -> Option<&Assign> {
        self.assign.as_ref().filter(|assign| assign.version > self.retracted)
    }

    /// What the origin's increments add to the value, while some of them are unobserved.
    #[must_use]
    pub fn contribution(&self) -> Option<f64> {
        let total = self.total?;
        match self.base {
            Some(base) if base.version >= total.version => None,
            // Only a base taken within this run is part of its sum: an older one belongs to a run that is over.
            Some(base) if base.version >= total.since => Some(number::plus(total.number, -base.number)),
            Some(_) | None => Some(number::plus(total.number, 0.0)),
        }
    }

    /// Whether a reader can see anything of this cell.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live().is_some() || self.contribution().is_some()
    }

    /// Whether nothing of the cell is visible, and a sum was observed in it.
    #[must_use]
    pub fn is_dead_sum(&self) -> bool {
        self.base.is_some() && !self.is_live()
    }

    /// Whether the cell says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Marks everything visible here as observed by an overwrite or a remove; says whether there was anything.
    pub fn retract(&mut self) -> bool {
        let live = self.is_live();
        if let Some(assign) = &self.assign {
            self.retracted = self.retracted.max(assign.version);
        }
        if let Some(total) = self.total {
            let observed = Base { version: total.version, number: total.number };
            self.base = later(self.base, Some(observed), |b| b.version);
        }
        self.forget_dead_payload();
        live
    }

    /// Records a new assignment by the cell's own origin.
    pub fn assign(&mut self, version: Version, payload: Bytes) {
        self.assign = Some(Assign { version, payload });
    }

    /// The run that an increment by `amount` at `version` leaves.
    ///
    /// A total that was wholly observed is over: the next increment begins a new run, or a removed counter would
    /// come back with its old sum once the observing base has been collected.
    #[must_use]
    pub fn total_after(&self, version: Version, amount: f64) -> Total {
        match self.total {
            Some(run) if self.contribution().is_some() => {
                Total { version, number: number::plus(run.number, amount), since: run.since }
            }
            Some(_) | None => Total { version, number: number::plus(amount, 0.0), since: version },
        }
    }

    /// Keeps the later of each register.
    pub fn join(&mut self, other: &Self) -> Joined {
        let mut joined = Joined::default();
        let before = self.clone();
        self.assign = match (self.assign.take(), other.assign.clone()) {
            (Some(ours), Some(theirs)) if ours.version == theirs.version => {
                // A dead payload was dropped, not replaced: it contradicts nothing.
                let dead = ours.version <= self.retracted || theirs.version <= other.retracted;
                joined.conflict |= !dead && ours.payload != theirs.payload;
                Some(if theirs.payload > ours.payload { theirs } else { ours })
            }
            (ours, theirs) => later(ours, theirs, |a| a.version),
        };
        self.retracted = self.retracted.max(other.retracted);
        self.total = match (self.total, other.total) {
            (Some(ours), Some(theirs)) if ours.version == theirs.version => {
                joined.conflict |= total_bytes(ours) != total_bytes(theirs);
                Some(if total_bytes(theirs) > total_bytes(ours) { theirs } else { ours })
            }
            (ours, theirs) => later(ours, theirs, |t| t.version),
        };
        self.base = match (self.base, other.base) {
            (Some(ours), Some(theirs)) if ours.version == theirs.version => {
                joined.conflict |= bits(ours.number) != bits(theirs.number);
                Some(if bits(theirs.number) > bits(ours.number) { theirs } else { ours })
            }
            (ours, theirs) => later(ours, theirs, |b| b.version),
        };
        self.forget_dead_payload();
        joined.changed = *self != before;
        joined
    }

    /// Gives up what is live here, up to `covered`, and above what a sender that knows everything up to there holds itself;
    /// says whether there was anything.
    ///
    /// The sender has seen it removed, and its remains collected: it is retracted. But where the sender's own sum is live,
    /// nobody removed anything: its incarnation was settled there, and a backup brought back more of it, too late. Then the
    /// sender's sum takes the place of this one. A base would take the sender's along, in every region.
    pub(crate) fn give_up(&mut self, theirs: &Self, covered: Version) -> bool {
        let is_missing = |version, held: Option<Version>| version <= covered && held.is_none_or(|held| version > held);
        let assigned = self.live().map(|assign| assign.version);
        let assigned = assigned.filter(|version| is_missing(*version, theirs.assign.as_ref().map(|a| a.version)));
        let summed = self.contribution().and(self.total);
        let summed = summed.filter(|total| is_missing(total.version, theirs.total.map(|t| t.version)));
        if let Some(version) = assigned {
            self.retracted = version;
            self.forget_dead_payload();
        }
        if let Some(Total { version, number, .. }) = summed {
            match theirs.contribution() {
                Some(_) => self.total = theirs.total,
                None => self.base = Some(Base { version, number }),
            }
        }
        assigned.is_some() || summed.is_some()
    }

    /// Only the registers that a foreign region may move: what an overwrite or remove observed.
    #[must_use]
    pub fn observations(&self) -> Self {
        Self { assign: None, retracted: self.retracted, total: None, base: self.base }
    }

    /// The highest version in any of the four registers.
    #[must_use]
    pub fn highest(&self) -> Version {
        let assign = self.assign.as_ref().map_or(Version::ZERO, |a| a.version);
        let total = self.total.map_or(Version::ZERO, |t| t.version);
        let base = self.base.map_or(Version::ZERO, |b| b.version);
        assign.max(total).max(base).max(self.retracted)
    }

    /// A dead payload is dropped, so that cells which mean the same are the same.
    pub(crate) fn forget_dead_payload(&mut self) {
        if let Some(assign) = &mut self.assign
            && assign.version <= self.retracted
        {
            assign.payload = Bytes::new();
        }
    }
}

fn later<T>(ours: Option<T>, theirs: Option<T>, version: impl Fn(&T) -> Version) -> Option<T> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(if version(&theirs) > version(&ours) { theirs } else { ours }),
        (ours, theirs) => ours.or(theirs),
    }
}

fn bits(number: f64) -> [u8; 8] {
    number.to_bits().to_be_bytes()
}

fn total_bytes(total: Total) -> ([u8; 8], Version) {
    (bits(total.number), total.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(micros: u64) -> Version {
        Version::from_micros(micros)
    }

    #[test]
    fn a_run_begins_again_after_everything_was_observed() {
        let mut cell = Cell { total: Some(Cell::default().total_after(v(1), 100.0)), ..Cell::default() };
        cell.retract();
        assert_eq!(cell.contribution(), None);
        cell.total = Some(cell.total_after(v(3), 3.0));
        assert_eq!(cell.contribution(), Some(3.0));
        // Even where the base was collected, 3 is the answer; a plain running sum would show -97 or 103.
        let collected = Cell { base: None, ..cell };
        assert_eq!(collected.contribution(), Some(3.0));
    }

    #[test]
    fn one_version_with_two_payloads_is_reported_and_settled_by_bytes() {
        let cell = |payload: &'static str| {
            let mut cell = Cell::default();
            cell.assign(v(5), Bytes::from_static(payload.as_bytes()));
            cell
        };
        let (mut a, mut b) = (cell("a"), cell("b"));
        assert!(a.join(&cell("b")).conflict);
        assert!(b.join(&cell("a")).conflict);
        assert_eq!(a, b);
    }

    #[test]
    fn dead_payloads_are_dropped_without_a_conflict() {
        let mut live = Cell::default();
        live.assign(v(5), Bytes::from_static(b"x"));
        let mut dead = live.clone();
        dead.retract();
        assert_eq!(dead.assign.as_ref().map(|a| a.payload.len()), Some(0));
        assert_eq!(live.join(&dead), Joined { changed: true, conflict: false });
        assert_eq!(live, dead);
    }
}

//! The slow obvious model: every operation ever made, and what each of them hides.
//!
//! It knows no registers, no runs and no bases. A value is computed from the set of operations a region holds: those
//! which no held operation hides are visible, and a reader sees the visible ones.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{Deadline, Field, Key, Kind, Native, Origin, Registers, Vector, Version, View, number};

/// An operation, by the order in which the model heard of it.
pub type OperationId = usize;

/// What an operation does to one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Assigns a payload, and hides what its region saw there.
    Assign(Bytes),
    /// Adds to the number.
    Add(f64),
    /// Hides what its region saw there.
    Retract,
    /// Notes what a HyperLogLog holds from now on.
    Observe(Registers),
    /// Begins a new epoch of a HyperLogLog, if anything is visible there.
    Reset,
    /// Assigns a decision, and hides the assignments it was about: those of these origins up to these versions.
    Resolve(Bytes, Vec<(Origin, Version)>),
}

#[derive(Clone, Debug)]
struct Operation {
    origin: Origin,
    field: Field,
    version: Version,
    change: Change,
    hides: BTreeSet<OperationId>,
    /// How many resets lie behind it, its own included.
    epoch: u64,
}

/// Every operation of a history, whoever holds it.
///
/// A region is a set of operation ids: make it grow as deltas reach the region, put an older one back when the region
/// loses data. [`Model::view`] then says what the region has to show.
#[derive(Clone, Debug, Default)]
pub struct Model {
    operations: Vec<Operation>,
    by_key: BTreeMap<Key, Vec<OperationId>>,
    remains: BTreeMap<OperationId, OperationId>,
}

impl Model {
    /// Records an operation that a region makes while it holds `held`, and adds it there.
    ///
    /// A retraction where nothing is visible is none: it is not recorded.
    pub fn record(
        &mut self,
        held: &mut BTreeSet<OperationId>,
        origin: &Origin,
        version: Version,
        (key, field): (&Key, &Field),
        change: Change,
    ) -> Option<OperationId> {
        let here = self.held(key, field, held);
        let hidden = self.hidden(key, held);
        let visible = here.iter().filter(|(id, _)| !hidden.contains(id));
        let observed: BTreeSet<&Origin> = visible.map(|(_, o)| &o.origin).collect();
        let epoch = here.iter().map(|(_, o)| o.epoch).max().unwrap_or(0);
        let hides: BTreeSet<OperationId> = match &change {
            Change::Reset if !self.is_present(key, field, held) => return None,
            Change::Observe(_) | Change::Reset => BTreeSet::new(),
            Change::Retract if observed.is_empty() => return None,
            // What it overwrites or removes is what it saw. A region's word on one origin is its last word: it repeats
            // what was hidden of that origin before.
            Change::Assign(_) | Change::Retract => {
                let own = matches!(change, Change::Assign(_)).then_some(origin);
                let of = |o: &Origin| observed.contains(o) || Some(o) == own;
                here.iter().filter(|(_, o)| of(&o.origin)).map(|(id, _)| *id).collect()
            }
            Change::Resolve(_, seen) => {
                let visible = || here.iter().filter(|(id, _)| !hidden.contains(id));
                let has_seen = |o: &Operation| seen.iter().any(|(origin, v)| *origin == o.origin && *v >= o.version);
                if visible().next().is_none() || visible().any(|(_, o)| o.origin == *origin && !has_seen(o)) {
                    return None;
                }
                let decided: BTreeSet<&Origin> =
                    visible().filter(|(_, o)| has_seen(o)).map(|(_, o)| &o.origin).chain([origin]).collect();
                here.iter().filter(|(_, o)| decided.contains(&o.origin)).map(|(id, _)| *id).collect()
            }
            // An addition hides nothing that was visible, but it too travels with what its region knew to be hidden
            // of its own earlier operations.
            Change::Add(_) => {
                here.iter().filter(|(id, o)| o.origin == *origin && hidden.contains(id)).map(|(id, _)| *id).collect()
            }
        };
        let change = match change {
            Change::Resolve(payload, _) => Change::Assign(payload),
            other => other,
        };
        let id = self.operations.len();
        let epoch = epoch + u64::from(change == Change::Reset);
        self.operations.push(Operation { origin: origin.clone(), field: field.clone(), version, change, hides, epoch });
        self.by_key.entry(key.clone()).or_default().push(id);
        held.insert(id);
        Some(id)
    }

    /// The operations on these keys among those held: what travels when keys are shipped whole.
    #[must_use]
    pub fn on_key(&self, key: &Key, held: &BTreeSet<OperationId>) -> BTreeSet<OperationId> {
        self.by_key.get(key).into_iter().flatten().copied().filter(|id| held.contains(id)).collect()
    }

    /// The assignments and additions that a vector claims to be held, and that are not.
    ///
    /// What `applied` covers is ignored when it arrives again, and one day collected: a claim too many loses a write.
    #[must_use]
    pub fn claimed_in_vain(&self, applied: &Vector, held: &BTreeSet<OperationId>) -> Vec<OperationId> {
        let operations = self.operations.iter().enumerate().filter(|(_, o)| o.change != Change::Retract);
        let claimed = operations.filter(|(_, o)| applied.get(&o.origin).is_some_and(|version| o.version <= *version));
        claimed.map(|(id, _)| id).filter(|id| !held.contains(id)).collect()
    }

    /// Whether an operation would change nothing beside those held: one of them hides it, and all that it hides itself.
    #[must_use]
    pub fn says_nothing_beside(&self, id: OperationId, held: &BTreeSet<OperationId>) -> bool {
        let is_hidden =
            |id: &OperationId| held.iter().filter_map(|by| self.operations.get(*by)).any(|by| by.hides.contains(id));
        let hides = self.operations.get(id).into_iter().flat_map(|operation| &operation.hides);
        is_hidden(&id) && hides.filter(|hidden| held.contains(hidden)).all(is_hidden)
    }

    /// What is left of an operation on this key that came back too late: it hides what it hid, and says nothing itself.
    pub fn remains(&mut self, key: &Key, id: OperationId) -> Option<OperationId> {
        let operation = self.operations.get(id)?.clone();
        if operation.change == Change::Retract {
            return Some(id);
        }
        if operation.hides.is_empty() {
            return None;
        }
        if let Some(known) = self.remains.get(&id) {
            return Some(*known);
        }
        let left = self.operations.len();
        self.operations.push(Operation { change: Change::Retract, ..operation });
        self.by_key.entry(key.clone()).or_default().push(left);
        self.remains.insert(id, left);
        Some(left)
    }

    /// Whether nothing can take back what an operation on this key says: others only take it along, or go beyond it.
    #[must_use]
    pub fn only_grows(&self, key: &Key, id: OperationId) -> bool {
        let grows = |o: &Operation| matches!(o.change, Change::Observe(_) | Change::Reset);
        key.kind == Kind::Stock || self.operations.get(id).is_some_and(grows)
    }

    /// The operations of some origins among those held.
    #[must_use]
    pub fn made_by(&self, whose: impl Fn(&Origin) -> bool, held: &BTreeSet<OperationId>) -> BTreeSet<OperationId> {
        let is_theirs = |id: &OperationId| self.operations.get(*id).is_some_and(|o| whose(&o.origin));
        held.iter().copied().filter(is_theirs).collect()
    }

    /// The fields of a key on which any held operation was made.
    #[must_use]
    pub fn fields(&self, key: &Key, held: &BTreeSet<OperationId>) -> BTreeSet<Field> {
        self.on_key(key, held).iter().filter_map(|id| self.operations.get(*id)).map(|o| o.field.clone()).collect()
    }

    /// What a string or hash field shows.
    #[must_use]
    pub fn text(&self, key: &Key, field: &Field, held: &BTreeSet<OperationId>) -> Option<Bytes> {
        text(key.kind, &self.visible(key, held).remove(field)?)
    }

    /// The score of a member, or the number of a register of numbers.
    #[must_use]
    pub fn score(&self, key: &Key, field: &Field, held: &BTreeSet<OperationId>) -> Option<f64> {
        score(key.kind, &self.visible(key, held).remove(field)?)
    }

    /// The visible assignments of a field: the origin and the version of each.
    #[must_use]
    pub fn assigned(&self, key: &Key, field: &Field, held: &BTreeSet<OperationId>) -> Vec<(Origin, Version)> {
        let visible = self.visible(key, held).remove(field).unwrap_or_default();
        let assigned = visible.into_iter().filter(|o| matches!(o.change, Change::Assign(_)));
        assigned.map(|o| (o.origin.clone(), o.version)).collect()
    }

    /// What a HyperLogLog holds.
    #[must_use]
    pub fn registers(&self, key: &Key, held: &BTreeSet<OperationId>) -> Option<Registers> {
        registers(&self.visible(key, held).remove(&Field::VALUE)?)
    }

    /// Whether anything of a field is visible.
    #[must_use]
    pub fn is_present(&self, key: &Key, field: &Field, held: &BTreeSet<OperationId>) -> bool {
        self.visible(key, held).contains_key(field)
    }

    /// Whether any member of a key is visible, whatever the clock says.
    #[must_use]
    pub fn has_data(&self, key: &Key, held: &BTreeSet<OperationId>) -> bool {
        self.visible(key, held).keys().any(|field| *field != Field::Expiry)
    }

    /// The largest visible expire-at.
    #[must_use]
    pub fn deadline(&self, key: &Key, held: &BTreeSet<OperationId>) -> Option<Deadline> {
        deadline(self.visible(key, held).get(&Field::Expiry)?)
    }

    /// What a reader of a region has to see.
    #[must_use]
    pub fn view(&self, key: &Key, held: &BTreeSet<OperationId>, now: Version) -> View {
        let visible = self.visible(key, held);
        let is_over = visible.get(&Field::Expiry).and_then(|v| deadline(v)).is_some_and(|d| d.is_past(now));
        let members: Vec<_> = visible
            .iter()
            .filter_map(|(field, visible)| match field {
                Field::Member(member) => Some((member.clone(), visible)),
                Field::Expiry => None,
            })
            .collect();
        if is_over || members.is_empty() {
            return View::Absent;
        }
        let members = members.into_iter();
        let kind = key.kind;
        match kind.native() {
            Native::String if kind == Kind::Stock => {
                let counted = |member: &str| self.counted(key, member, None, held);
                let left = counted("mint") + counted("returned") - counted("used");
                View::String(number::show(left.max(0.0)).into())
            }
            Native::String if kind == Kind::HyperLogLog => {
                members.filter_map(|(_, v)| registers(v)).next().map_or(View::Absent, View::HyperLogLog)
            }
            Native::String => members.filter_map(|(_, v)| text(kind, v)).next().map_or(View::Absent, View::String),
            Native::Set => View::Set(members.map(|(member, _)| member).collect()),
            Native::Hash => View::Hash(members.filter_map(|(member, v)| Some((member, text(kind, v)?))).collect()),
            Native::Ordered => {
                View::Ordered(members.filter_map(|(member, v)| Some((member, text(kind, v)?))).collect())
            }
            Native::SortedSet => {
                let mut scores: Vec<_> = members.filter_map(|(member, v)| Some((member, score(kind, v)?))).collect();
                scores.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
                View::SortedSet(scores)
            }
        }
    }

    /// What the held operations added to a member of a stock: those of one origin, or of all.
    fn counted(&self, key: &Key, member: &str, origin: Option<&Origin>, held: &BTreeSet<OperationId>) -> f64 {
        let field = Field::Member(Bytes::copy_from_slice(member.as_bytes()));
        let here = self.held(key, &field, held).into_iter().map(|(_, operation)| operation);
        let counts: Vec<_> = here.filter(|o| origin.is_none_or(|origin| o.origin == *origin)).collect();
        sum(&counts).unwrap_or_default()
    }

    /// The rights of an origin to a stock: what it minted, returned and received, less what it used and gave away.
    #[must_use]
    pub fn stock_rights(&self, key: &Key, origin: &Origin, held: &BTreeSet<OperationId>) -> f64 {
        let own = |member: &str| self.counted(key, member, Some(origin), held);
        let given: f64 = self
            .fields(key, held)
            .iter()
            .filter_map(|field| match field {
                Field::Member(member) => std::str::from_utf8(member).ok().filter(|member| member.starts_with("to:")),
                Field::Expiry => None,
            })
            .map(own)
            .sum();
        let received = self.counted(key, &format!("to:{origin}"), None, held);
        own("mint") + own("returned") + received - own("used") - given
    }

    fn held(&self, key: &Key, field: &Field, held: &BTreeSet<OperationId>) -> Vec<(OperationId, &Operation)> {
        let ids = self.by_key.get(key).into_iter().flatten().copied().filter(|id| held.contains(id));
        let here = ids.filter_map(|id| Some((id, self.operations.get(id)?)));
        here.filter(|(_, o)| o.field == *field && o.change != Change::Retract).collect()
    }

    fn hidden(&self, key: &Key, held: &BTreeSet<OperationId>) -> BTreeSet<OperationId> {
        let ids = self.by_key.get(key).into_iter().flatten().filter(|id| held.contains(id));
        ids.filter_map(|id| self.operations.get(*id)).flat_map(|o| &o.hides).copied().collect()
    }

    /// The operations that no held one hides, by field; of a HyperLogLog the observations of the latest epoch.
    fn visible(&self, key: &Key, held: &BTreeSet<OperationId>) -> BTreeMap<Field, Vec<&Operation>> {
        let hidden = self.hidden(key, held);
        let mut visible: BTreeMap<Field, Vec<&Operation>> = BTreeMap::new();
        for id in self.by_key.get(key).into_iter().flatten().filter(|id| held.contains(id) && !hidden.contains(id)) {
            if let Some(operation) = self.operations.get(*id).filter(|o| o.change != Change::Retract) {
                visible.entry(operation.field.clone()).or_default().push(operation);
            }
        }
        if key.kind == Kind::HyperLogLog {
            for operations in visible.values_mut() {
                let latest = operations.iter().map(|o| o.epoch).max();
                operations.retain(|o| Some(o.epoch) == latest && o.change != Change::Reset);
            }
            visible.retain(|_, operations| !operations.is_empty());
        }
        visible
    }
}

/// All that any of the operations holds.
fn registers(visible: &[&Operation]) -> Option<Registers> {
    visible.iter().fold(None, |union, o| match &o.change {
        Change::Observe(registers) => {
            let mut union = union.unwrap_or_default();
            union.union(registers);
            Some(union)
        }
        Change::Assign(_) | Change::Add(_) | Change::Retract | Change::Resolve(..) | Change::Reset => union,
    })
}

fn text(kind: Kind, visible: &[&Operation]) -> Option<Bytes> {
    let shown = |n: f64| Bytes::from(number::show(n));
    let any = |value: &'static str| payloads(visible).any(|(.., payload)| payload == value);
    match kind {
        Kind::First => payloads(visible).min().map(|(.., payload)| payload.clone()),
        Kind::Max | Kind::Min => score(kind, visible).map(shown),
        Kind::EnableWins | Kind::DisableWins if visible.is_empty() => None,
        Kind::EnableWins => Some(Bytes::from_static(if any("1") { b"1" } else { b"0" })),
        Kind::DisableWins => Some(Bytes::from_static(if any("0") { b"0" } else { b"1" })),
        _ => {
            let sum = sum(visible);
            let Some(winner) = winner(visible) else {
                return sum.map(shown);
            };
            match (sum, number::parse(&winner)) {
                (Some(sum), Some(n)) => Some(shown(n + sum)),
                _ => Some(winner),
            }
        }
    }
}

fn score(kind: Kind, visible: &[&Operation]) -> Option<f64> {
    let mut numbers = payloads(visible).map(|(.., payload)| number::parse_score(payload).unwrap_or(0.0));
    match kind {
        Kind::HighScores | Kind::Max => numbers.max_by(f64::total_cmp),
        Kind::LowScores | Kind::Min => numbers.min_by(f64::total_cmp),
        _ => match (numbers.next(), sum(visible)) {
            (None, None) => None,
            (_, sum) => {
                let assigned = winner(visible).map(|payload| number::parse_score(&payload).unwrap_or(0.0));
                Some(assigned.unwrap_or(0.0) + sum.unwrap_or(0.0))
            }
        },
    }
}

/// The visible assignments, with what orders them in time: the smaller origin counts as the earlier one.
fn payloads<'a>(visible: &'a [&Operation]) -> impl Iterator<Item = (Version, &'a Origin, &'a Bytes)> {
    visible.iter().filter_map(|o| match &o.change {
        Change::Assign(payload) => Some((o.version, &o.origin, payload)),
        Change::Add(_) | Change::Retract | Change::Resolve(..) | Change::Observe(_) | Change::Reset => None,
    })
}

fn deadline(visible: &[&Operation]) -> Option<Deadline> {
    payloads(visible).map(|(.., payload)| Deadline::from_payload(payload)).max()
}

/// The latest assignment; at equal versions the smaller origin's.
fn winner(visible: &[&Operation]) -> Option<Bytes> {
    payloads(visible).max_by_key(|(v, origin, _)| (*v, std::cmp::Reverse(*origin))).map(|(.., payload)| payload.clone())
}

/// Exact for numbers whose sums are: use integers and halves.
fn sum(visible: &[&Operation]) -> Option<f64> {
    let added = visible.iter().filter_map(|o| match o.change {
        Change::Add(amount) => Some(amount),
        Change::Assign(_) | Change::Retract | Change::Resolve(..) | Change::Observe(_) | Change::Reset => None,
    });
    // An empty sum of doubles is -0 to Rust, and a missing one is no sum at all.
    added.reduce(|a, b| a + b).map(|sum| sum + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_hides_what_it_saw_and_nothing_else() {
        let (a, b): (Origin, Origin) = ("a/0000000000000001".parse().unwrap(), "b/0000000000000001".parse().unwrap());
        let key = Key::new(Kind::String, "k");
        let at = (&key, &Field::VALUE);
        let (mut model, mut at_a, mut at_b) = (Model::default(), BTreeSet::new(), BTreeSet::new());
        model.record(&mut at_a, &a, Version::from_micros(1), at, Change::Add(5.0));
        at_b.extend(&at_a);
        model.record(&mut at_a, &a, Version::from_micros(2), at, Change::Add(2.0));
        model.record(&mut at_b, &b, Version::from_micros(3), at, Change::Retract);
        assert_eq!(model.text(&key, &Field::VALUE, &at_b), None);
        at_b.extend(&at_a);
        assert_eq!(model.text(&key, &Field::VALUE, &at_b), Some(Bytes::from_static(b"2")));
        assert_eq!(model.text(&key, &Field::VALUE, &at_a), Some(Bytes::from_static(b"7")));
    }

    #[test]
    fn a_retraction_of_nothing_is_none() {
        let origin = "a/0000000000000001".parse().unwrap();
        let key = Key::new(Kind::Set, "k");
        let mut held = BTreeSet::new();
        let at = (&key, &Field::VALUE);
        assert_eq!(Model::default().record(&mut held, &origin, Version::from_micros(1), at, Change::Retract), None);
    }
}
